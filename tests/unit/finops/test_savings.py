"""The levers: they add up whatever the records are, and each is worth what its definition says."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.record import CacheDecision, UsageRecord, booked_of
from penstock.finops.savings import Savings, savings, savings_by
from tests.ledger_entries import RECORD, record
from tests.unit.finops.ledgers import EVER, Ledger, usage_records

LOOKED = CacheDecision(verdict="refused", mode="zero-trust")
NOTHING = dict.fromkeys(
    ("routing", "processing", "exact_cache", "normalised_cache", "semantic_cache", "embedding", "asides", "wasted_tries"), (0, 0)
)


def of(*records: UsageRecord) -> Savings:
    return savings(Ledger(records), EVER)


def made(id: str, **fields: Any) -> UsageRecord:
    given = {"model": "small", "baseline": "large", "cost": 10, "list_cost": 10, "counterfactual": 100}
    return record(id, **{**given, **fields})


def amounts(found: Savings) -> dict[str, tuple[int, int]]:
    return {lever.name: (lever.amount, lever.requests) for lever in found.levers}


@given(st.lists(usage_records() | RECORD, max_size=12))
def test_the_levers_add_up_to_the_last_nano_usd(records: list[UsageRecord]) -> None:
    found = of(*records)
    assert found.counterfactual - sum(lever.amount for lever in found.levers) == found.paid
    answered = [each for each in records if each.outcome != "refused"]
    assert found.compared + found.apart == sum(each.purpose is None for each in answered)
    assert found.paid + found.apart_cost == sum(booked_of(each) or 0 for each in answered)


def test_each_lever_has_its_own() -> None:
    routed = made("1")
    stayed = made("2", model="large", cost=100, list_cost=100)
    replayed = made("3", cache="exact", cost=0)
    wasteful = made("4", cost=17, wasted_cost=7)
    found = of(routed, stayed, replayed, wasteful)
    assert amounts(found) == NOTHING | {"routing": (270, 3), "exact_cache": (10, 1), "wasted_tries": (-7, 1)}
    assert (found.counterfactual, found.paid, found.saved, found.compared) == (400, 127, 273, 4)
    assert found.baselines == ("large",)


def test_what_was_called_beside_requests_is_a_lever_that_costs() -> None:
    draft = made("2", purpose="draft", parent="1", cost=8, wasted_cost=3)
    verifier = made("3", purpose="verifier", parent="1", model="large", cost=2, counterfactual=None)
    shadow = made("4", purpose="shadow", parent="1", cost=None)
    found = of(made("1"), draft, verifier, shadow)
    assert amounts(found) == NOTHING | {"routing": (90, 1), "asides": (-10, 2)}
    assert (found.counterfactual, found.paid, found.saved, found.compared, found.apart) == (100, 20, 80, 1, 0)
    assert (found.unpriced, found.asides_unpriced) == (0, 1)


def test_each_layer_of_the_cache_has_its_own_and_what_looks_for_answers_costs() -> None:
    same_words = made("1", cache="normalised", cost=0)
    other_words = made("2", cache="semantic", cost=2, embedding_cost=2)
    hedged = made("3", cache="semantic", cost=7, embedding_cost=2, wasted_cost=5)
    in_vain = made("4", cost=12, embedding_cost=2)
    free = made("5", cache_decision=LOOKED, embedding_cost=None)
    found = of(same_words, other_words, hedged, in_vain, free)
    assert amounts(found) == NOTHING | {
        "routing": (450, 5), "normalised_cache": (10, 1), "semantic_cache": (20, 2), "embedding": (-6, 3), "wasted_tries": (-5, 1),
    }  # fmt: skip
    assert (found.counterfactual, found.paid) == (500, 31)


def test_a_processing_class_is_a_lever_of_its_own_where_nothing_else_differs() -> None:
    batch = made("1", model="large", cost=50, list_cost=50, processing="batch")
    priority = made("2", model="large", cost=180, list_cost=180, processing="priority")
    routed = made("3", processing="batch", cost=5, list_cost=5)
    found = of(batch, priority, routed)
    assert amounts(found)["processing"] == (50 - 80, 2)
    assert amounts(found)["routing"] == (95, 1), "model and class differ: one cannot be told from the other"


def test_a_dear_route_is_a_negative_lever() -> None:
    assert amounts(of(made("1", cost=150, list_cost=150)))["routing"] == (-50, 1)


def test_without_a_baseline_only_the_cache_earns() -> None:
    found = of(
        made("1", baseline=None, counterfactual=10),
        made("2", baseline=None, counterfactual=10, cache="exact", cost=0),
    )
    assert amounts(found) == NOTHING | {"exact_cache": (10, 1)}
    assert "No baseline" in found.definition


def test_what_cannot_be_compared_is_told_apart_with_its_cost() -> None:
    found = of(made("1"), made("2", counterfactual=None, cost=33), made("3", cost=None, counterfactual=None), made("4", outcome="refused"))
    assert (found.compared, found.apart, found.apart_cost, found.unpriced) == (1, 2, 33, 1)


def test_an_empty_ledger_saves_nothing_and_no_share() -> None:
    assert (of().saved, of().saved_share) == (0, None)


@given(st.lists(usage_records(), max_size=12))
def test_the_parts_by_day_add_up_to_the_whole(records: list[UsageRecord]) -> None:
    ledger, whole = Ledger(records), of(*records)
    query = msgspec.structs.replace(EVER, by=("day",))
    rows = savings_by(ledger, query)
    assert [row.keys for row in rows] == sorted(row.keys for row in rows)
    for name in ("compared", "counterfactual", "paid", "apart", "apart_cost", "unpriced"):
        assert sum(getattr(row.savings, name) for row in rows) == getattr(whole, name)
    for index, lever in enumerate(whole.levers):
        assert sum(row.savings.levers[index].amount for row in rows) == lever.amount
