"""What the cache is worth: answers and amounts by layer, what wrong ones are expected to cost, and what it would have saved."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.caching import SemanticCache
from penstock.domain.ledger.record import CacheDecision, UsageRecord
from penstock.finops.caching_value import NO_PRICE, NOT_MEASURED, CachingValue, caching_value, error_gauges, measured
from penstock.finops.metrics import MetricsAggregator
from penstock.finops.savings import CACHE_LEVERS, savings
from penstock.ports.cache_truth import ScopeTruth
from tests.ledger_entries import record
from tests.unit.finops.ledgers import EVER, Ledger, usage_records

HALF_A_DOLLAR = SemanticCache(mode="learned", wrong_answer="0.50 USD")
LOOKED = CacheDecision(verdict="refused", mode="zero-trust")


def hit(id: str, layer: str = "semantic", **fields: Any) -> UsageRecord:
    given = {"model": "m", "cost": 2, "list_cost": 100, "counterfactual": 100, "embedding_cost": 2, "cache": layer}
    return record(id, **{**given, **fields})


def truth(**fields: Any) -> ScopeTruth:
    given = {"scope": "a", "mode": "learned", "requests": 1000, "served": 400, "compared": 40, "promised": 0.005}
    return ScopeTruth(**{**given, **fields})


def value(*records: UsageRecord, scopes: tuple[ScopeTruth, ...] = (), config: SemanticCache = HALF_A_DOLLAR) -> CachingValue:
    return caching_value(Ledger(records), EVER, scopes, config)


def test_net_is_what_was_avoided_less_embeddings_less_wrong_answers() -> None:
    records = [hit(str(n), cost=2_000_000, embedding_cost=2_000_000, list_cost=10**9) for n in range(10)]
    records += [record("miss", cost=7_000_000, list_cost=5_000_000, counterfactual=5_000_000, embedding_cost=2_000_000)]
    found = value(*records, scopes=(truth(estimate=0.25, low=0.125, high=0.5),))
    assert found.layer("semantic").avoided == 10 * 10**9
    assert found.embedding_cost == 11 * 2_000_000
    assert (found.wrong.answers, found.wrong.cost) == (Fraction(10, 4), 10 * 500_000_000 // 4)
    assert (found.wrong.least, found.wrong.most) == (625_000_000, 2_500_000_000)
    assert found.net == 10 * 10**9 - 22_000_000 - 1_250_000_000


@pytest.mark.parametrize(
    ("scopes", "config", "why"),
    [
        ((), HALF_A_DOLLAR, NOT_MEASURED),
        ((truth(),), HALF_A_DOLLAR, NOT_MEASURED),
        ((truth(estimate=0.0, low=0.0, high=0.1),), SemanticCache(), NO_PRICE),
    ],
)
def test_what_is_not_known_makes_the_net_unknown_and_says_why(scopes: tuple[ScopeTruth, ...], config: SemanticCache, why: str) -> None:
    found = value(hit("1"), scopes=scopes, config=config)
    assert (found.wrong.cost, found.wrong.why, found.net) == (None, why, None)
    assert value(hit("1", "normalised"), scopes=scopes, config=config).wrong.cost == 0, "of no answer by meaning none is wrong"


def test_an_embedding_without_a_price_is_unknown_and_not_free() -> None:
    found = value(hit("1"), hit("2", embedding_cost=None, cache_decision=LOOKED), scopes=(truth(estimate=0.0, low=0.0, high=0.1),))
    assert (found.embedding_cost, found.embedding_known, found.net) == (None, 2, None)


def test_scopes_weigh_as_much_as_they_served() -> None:
    scopes = (
        truth(scope="a", estimate=0.5, low=0.25, high=1.0, served=300),
        truth(scope="b", estimate=0.0, low=0.0, high=0.5, served=100, requests=3000, compared=2),
        truth(scope="c", alarm=True, promised=0.001),
    )
    found = measured(scopes)
    assert found is not None
    assert (found.estimate, found.low, found.high) == (Fraction(3, 8), Fraction(3, 16), Fraction(7, 8))
    assert found.served == Fraction(400, 4000)
    assert (found.compared, found.scopes, found.unmeasured) == (42, 3, 1)
    whole = value(scopes=scopes)
    assert (whole.promised, whole.alarms) == (0.001, ("c",))


def test_a_scope_that_has_served_nothing_yet_is_known_by_what_was_compared() -> None:
    found = measured((truth(served=0, estimate=0.25, low=0.125, high=0.5),))
    assert found is not None
    assert found.estimate == Fraction(1, 4)
    assert found.served == 0


def test_what_it_would_have_saved_is_told_by_layer() -> None:
    found = value(
        record("1", cost=12, embedding_cost=2, would_cache="semantic", cache_decision=LOOKED),
        record("2", cost=30, would_cache="normalised", cache_decision=LOOKED),
        record("3", cost=None, would_cache="semantic", cache_decision=LOOKED),
        record("4", cost=50, cache_decision=LOOKED),
        record("5", cost=50),
        record("6", outcome="refused", would_cache="semantic", cache_decision=LOOKED),
        scopes=(truth(estimate=0.25, low=0.125, high=0.5),),
    ).potential
    assert (found.looked, found.answers, found.priced) == (4, 3, 2)
    assert (found.normalised, found.normalised_cost, found.semantic, found.semantic_cost) == (1, 30, 2, 10)
    assert found.cost == 40
    assert (found.wrong.answers, found.wrong.cost) == (Fraction(1, 2), 250_000_000)


def test_without_a_promise_of_a_scope_the_config_promises_only_in_learned() -> None:
    assert value(config=SemanticCache(mode="learned", max_error=0.01)).promised == 0.01
    assert value(config=SemanticCache(max_error=0.01)).promised is None


@given(st.lists(usage_records(), max_size=12))
def test_layers_are_worth_what_their_levers_say(records: list[UsageRecord]) -> None:
    found, levers = value(*records), {lever.name: lever for lever in savings(Ledger(records), EVER).levers}
    for layer in found.layers:
        lever = levers[CACHE_LEVERS[layer.name]]
        assert (layer.avoided, layer.compared) == (lever.amount, lever.requests)
    assert found.embedding_known == -levers["embedding"].amount
    answered = [each for each in records if each.outcome != "refused" and each.purpose is None]
    assert sum(layer.answers for layer in found.layers) == sum(each.cache in CACHE_LEVERS for each in answered)
    would = [each for each in answered if each.would_cache is not None]
    assert found.potential.answers == len(would)
    assert found.potential.cost == sum(each.cost - (each.embedding_cost or 0) for each in would if each.cost is not None)


def test_a_layer_is_the_same_with_the_refused_left_out() -> None:
    refused = msgspec.structs.replace(hit("r"), outcome="refused")
    assert value(hit("1"), refused) == value(hit("1"))


def test_gauges_tell_errors_of_requests_as_the_promise_does() -> None:
    scopes = (truth(estimate=0.25, low=0.125, high=0.5), truth(scope="b", alarm=True, promised=0.25))
    gauges = error_gauges(scopes)
    assert gauges["penstock_cache_wrong_ratio"] == [(("estimate",), 0.1), (("low",), 0.05), (("high",), 0.2)]
    assert (gauges["penstock_cache_alarms"], gauges["penstock_cache_promised_ratio"]) == ([((), 1.0)], [((), 0.005)])
    page = MetricsAggregator((), "1").render(gauges).decode()
    assert 'penstock_cache_wrong_ratio{bound="high"} 0.2' in page
    assert error_gauges(()) == {}
    by_risk = error_gauges((truth(expected=0.001, at_most=0.004), truth(scope="b", expected=0.003, at_most=0.0035, requests=3000)))
    assert by_risk["penstock_cache_expected_ratio"] == [(("expected",), 0.0025), (("at_most",), 0.004)]
    assert set(error_gauges((truth(promised=None),))) == {"penstock_cache_alarms"}, "nothing measured, nothing promised"
