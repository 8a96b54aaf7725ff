"""Explaining a request: every line and the rounding add up to what was booked, and what cannot be shown is said."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import PARTS, Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.rates import CALL_PARTS, Rates, compile_rates
from penstock.domain.prices.schedule import Schedule, Window, constant
from penstock.finops.explain import UnknownRequest, exact_decimal, explain, explanation_json, find_record, reserved_words, steered_words
from tests.unit.finops.ledgers import Ledger

_CLASSES = ("uncached_input", "cache_read", "cache_write", "visible_output", "reasoning")
_tokens = st.builds(Tokens, *[st.integers(0, 10**6)] * 5)
_prices = st.fractions(0, 100, max_denominator=30)


class Book:
    """A price book of the given schedules."""

    def __init__(self, **schedules: Schedule) -> None:
        self._schedules = schedules

    def schedule(self, model: str, processing: str | None = None) -> Schedule | None:
        return self._schedules.get(model if processing is None else f"{model}_{processing}")

    def why(self, model: str) -> str:
        return f"unpriced: `{model}` has no price in the config"


def rates(version: str = "v1", **usd: Fraction | int) -> Rates:
    return compile_rates("config:m", version, {name: Fraction(usd.get(name, 1)) for name in _CLASSES})


def record(**fields: Any) -> UsageRecord:
    given: dict[str, Any] = {"id": "req_1", "admitted_ns": 10, "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "m"}
    return UsageRecord(**given | fields)


@given(_tokens, st.tuples(*[_prices] * 5))
def test_lines_and_rounding_add_up_to_the_cost(tokens: Tokens, usd: tuple[Fraction, ...]) -> None:
    entry = compile_rates("config:m", "v1", dict(zip(_CLASSES, usd, strict=True)))
    booked = entry.cost(tokens)
    found = explain(record(tokens=tokens, cost=booked, price_id="config:m", price_version="v1"), Book(m=constant(entry)))
    if tokens.total == 0:
        assert found.cost is None
        return
    assert found.cost is not None
    amounts = [line.amount for line in found.cost.lines]
    assert sum((amount for amount in amounts if amount is not None), found.cost.rounding) == booked
    assert abs(found.cost.rounding) <= Fraction(1, 2)
    assert {line.token_class: line.tokens for line in found.cost.lines} == {
        name: count for name, count in msgspec.structs.asdict(tokens).items() if count
    }


@given(st.fractions())
def test_exact_decimals_are_exact(value: Fraction) -> None:
    assert Fraction(exact_decimal(value)) == value


def test_the_entry_that_the_record_names_counts_not_the_newest() -> None:
    book = Book(m=Schedule((0, 5), (rates("old"), rates("new", uncached_input=9))))
    found = explain(record(tokens=Tokens(10, 0, 0, 0, 0), cost=10_000, price_id="config:m", price_version="old"), book)
    assert found.cost is not None
    assert found.cost.price_version == "old"


def test_an_entry_that_is_gone_or_changed_is_said() -> None:
    spent = record(tokens=Tokens(10, 0, 0, 0, 0), cost=10_000, price_id="config:m", price_version="v1")
    gone = explain(spent, Book(m=constant(rates("v2"))))
    assert gone.cost is None
    assert "no longer in the price book" in gone.cost_note
    changed = explain(spent, Book(m=constant(rates(uncached_input=2))))
    assert changed.cost is None
    assert "would now give 0.000020000 USD" in changed.cost_note


@pytest.mark.parametrize(
    ("fields", "cost_note", "counterfactual_note"),
    [
        ({"outcome": "refused", "status": 402}, "refused", "nothing to compare"),
        ({"outcome": "interrupted", "cost": 5}, "worst case", "usage was lost"),
        ({"model": "new"}, "unpriced: `new` has no price in the config", "the request is unpriced"),
        (
            {"cost": 1, "price_id": "p", "price_version": "1", "baseline": "big", "tokens": Tokens(1)},
            "no longer",
            "unknown: `big` has no price",
        ),
        ({"outcome": "error", "cost": 0}, "no model processed", "unknown"),
    ],
)
def test_what_has_no_arithmetic_says_why(fields: dict[str, Any], cost_note: str, counterfactual_note: str) -> None:
    found = explain(record(**fields), Book(m=constant(rates())))
    assert found.cost is None
    assert found.counterfactual is None
    assert cost_note in found.cost_note
    assert counterfactual_note in found.counterfactual_note
    assert "None" not in found.cost_note + found.counterfactual_note


@given(
    _tokens,
    st.tuples(*[_prices] * 5),
    st.dictionaries(st.sampled_from(PARTS), st.integers(0, 10**6), max_size=5),
    st.dictionaries(st.sampled_from(PARTS), _prices, max_size=5),
)
def test_lines_of_parts_add_up_and_cover_every_token(
    tokens: Tokens, usd: tuple[Fraction, ...], parts: dict[str, int], own: dict[str, Fraction]
) -> None:
    of_tokens = {name: price for name, price in own.items() if name not in CALL_PARTS}
    fees = {name: price for name, price in own.items() if name in CALL_PARTS}
    entry = compile_rates("config:m", "v1", dict(zip(_CLASSES, usd, strict=True)) | of_tokens, calls=fees)
    booked = entry.cost(tokens, parts)
    spent = record(tokens=tokens, parts=parts, cost=booked, price_id="config:m", price_version="v1", processing="batch")
    found = explain(spent, Book(m_batch=constant(entry))).cost
    if found is None:
        assert tokens.total == 0 and not any(parts.get(name) for name in CALL_PARTS)
        return
    assert sum((line.amount for line in found.lines if line.amount is not None), found.rounding) == booked
    assert sum(line.tokens for line in found.lines if line.usd_per_million is not None) == tokens.total
    assert all((line.usd_per_call is None) != (line.usd_per_million is None) for line in found.lines)
    assert (found.processing, set(found.lacking)) == ("batch", {name for name, count in parts.items() if count and name not in own})


def test_a_class_and_its_parts_are_named() -> None:
    entry = compile_rates(
        "book:m#batch",
        "v1",
        {name: Fraction(1) for name in _CLASSES} | {"cache_write_1h": Fraction(2)},
        calls={"web_searches": Fraction("0.01")},
    )
    parts = {"cache_write_1h": 60, "web_searches": 2, "input_audio": 5}
    tokens = Tokens(10, 0, 100, 0, 0)
    spent = record(
        tokens=tokens, parts=parts, cost=entry.cost(tokens, parts), processing="batch", price_id="book:m#batch", price_version="v1",
        counterfactual=200_000, baseline="big",
    )  # fmt: skip
    found = explain(spent, Book(m=constant(rates()), m_batch=constant(entry), big=constant(rates(uncached_input=2))))
    assert found.cost is not None
    assert [(line.token_class, line.tokens, line.usd_per_million, line.usd_per_call) for line in found.cost.lines] == [
        ("uncached_input", 10, 1, None), ("cache_write", 40, 1, None), ("cache_write_1h", 60, 2, None),
        ("web_searches", 2, None, Fraction("0.01")),
    ]  # fmt: skip
    assert "input audio: no rate of its own, charged as its class" in found.cost_note
    shown = explanation_json(found)
    assert isinstance(shown["cost_sum"], dict)
    assert (shown["cost_sum"]["processing"], shown["cost_sum"]["lacking"]) == ("batch", ["input_audio"])


def test_the_standard_price_never_explains_another_class() -> None:
    tokens = Tokens(10)
    spent = record(tokens=tokens, cost=10_000, price_id="config:m", price_version="v1", processing="turbo")
    booked = explain(spent, Book(m=constant(rates())))
    assert booked.cost is None and "no longer in the price book" in booked.cost_note
    unpriced = explain(msgspec.structs.replace(spent, cost=None), Book(m=constant(rates())))
    assert "no price for processing class `turbo`" in unpriced.cost_note


def test_an_entry_that_only_the_ledger_keeps_still_explains() -> None:
    spent = record(tokens=Tokens(10), cost=10_000, price_id="config:m", price_version="v1")
    kept = {("config:m", "v1"): rates()}
    for book in (Book(), Book(m=constant(rates("v2"))), Book(m=constant(rates(uncached_input=2)))):
        found = explain(spent, book, kept)
        assert found.cost is not None and found.cost.nano_usd == 10_000
        assert "as the ledger keeps" in found.cost_note
    assert explain(msgspec.structs.replace(spent, cost=11_000), Book(), kept).cost is None, "it gives another amount"


def test_a_replayed_answer_costs_nothing_and_is_compared_by_its_recalled_tokens() -> None:
    hit = record(cache="exact", cache_source="req_0", recalled=Tokens(100, 0, 0, 50, 0), cost=0, counterfactual=350_000, baseline="big")
    found = explain(hit, Book(m=constant(rates()), big=constant(rates(uncached_input=2, visible_output=3))))
    assert found.cost is None
    assert "of request req_0" in found.cost_note
    assert found.counterfactual is not None
    assert [(line.token_class, line.amount) for line in found.counterfactual.lines] == [
        ("uncached_input", Fraction(200_000)),
        ("visible_output", Fraction(150_000)),
    ]
    assert explanation_json(found)["saved_usd"] == "0.000350000"


def test_json_is_the_record_in_its_own_words_and_exact_sums() -> None:
    entry = rates(uncached_input=Fraction(1, 3), visible_output=Fraction("0.15"))
    found = explain(
        record(tokens=Tokens(10, 0, 0, 3, 0), cost=entry.cost(Tokens(10, 0, 0, 3, 0)), price_id="config:m", price_version="v1"),
        Book(m=constant(entry)),
    )
    shown = msgspec.json.decode(msgspec.json.encode(explanation_json(found)))
    assert (shown["id"], shown["admitted"], shown["cost_usd"]) == ("req_1", "1970-01-01T00:00:00.00000001Z", "0.000003783")
    assert shown["cost_sum"]["lines"] == [
        {"token_class": "uncached_input", "tokens": 10, "usd_per_million": "1/3", "usd_per_call": None, "amount_usd": "1/300000"},
        {"token_class": "visible_output", "tokens": 3, "usd_per_million": "0.15", "usd_per_call": None, "amount_usd": "0.00000045"},
    ]
    assert sum(Fraction(line["amount_usd"]) for line in shown["cost_sum"]["lines"]) + Fraction(
        shown["cost_sum"]["rounding_usd"]
    ) == Fraction(shown["cost_usd"])


def test_records_are_found_in_the_store_on_the_journal_and_by_a_beginning() -> None:
    stored, tail = record(id="req_abc1"), record(id="req_abd2")
    ledger = Ledger([stored])
    assert find_record(ledger, [tail], "req_abc1") is stored
    assert find_record(ledger, [tail], "req_abd2") is tail
    assert find_record(ledger, [tail], "req_abd") is tail
    assert find_record(ledger, [record(id="req_ab"), tail], "req_ab").id == "req_ab"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("req_ab", "2 requests start with", "req_abc1, req_abd2"),
        ("req_abx1", "no request", "did you mean"),
        ("", "no request", "the newest are"),
    ],
)
def test_an_id_that_is_not_one_request_gets_a_hint(text: str, message: str, hint: str) -> None:
    with pytest.raises(UnknownRequest, match=message) as caught:
        find_record(Ledger([record(id="req_abc1")]), [record(id="req_abd2")], text)
    assert hint in caught.value.hint


def test_an_empty_ledger_says_so() -> None:
    with pytest.raises(UnknownRequest) as caught:
        find_record(Ledger([]), [], "req_1")
    assert "the ledger is empty" in caught.value.hint


def test_of_entries_by_one_name_the_one_then_in_force_explains() -> None:
    """A fleet whose price changed: every entry is `fleet:f (planned)`."""
    schedule = Schedule((0, 100, 200), tuple(rates("planned", visible_output=usd) for usd in (1, 2, 3)))
    tokens = Tokens(0, 0, 0, 10, 0)
    found = explain(record(admitted_ns=150, tokens=tokens, cost=20_000, price_id="config:m", price_version="planned"), Book(m=schedule))
    assert found.cost is not None
    assert (found.cost.nano_usd, found.cost.price_from) == (20_000, 100)


def test_rates_of_an_hour_of_the_day_are_found() -> None:
    night = rates("night", visible_output=1)
    schedule = Schedule((0,), (rates("day", visible_output=2),), ((Window(0, 3600 * 10**9, night),),))
    booked = record(admitted_ns=5, tokens=Tokens(0, 0, 0, 10, 0), cost=10_000, price_id="config:m", price_version="night")
    found = explain(booked, Book(m=schedule))
    assert found.cost is not None
    assert found.cost.price_version == "night"


@pytest.mark.parametrize(
    ("reserved", "cost", "said"),
    [
        (None, 5, None),
        (2_000_000_000, 500_000_000, "2.000000000 USD at most, of which 1.500000000 USD went back"),
        (7, 7, "0.000000007 USD at most, and all of it was booked"),
        (7, 9, "0.000000007 USD at most, and it cost 0.000000002 USD more: booked whole, and every cap counts it"),
        (7, None, "0.000000007 USD at most; what it cost is unknown"),
    ],
)
def test_what_was_held_against_what_it_cost(reserved: int | None, cost: int | None, said: str | None) -> None:
    assert reserved_words(record(reserved=reserved, cost=cost)) == said


def test_what_sent_it_elsewhere() -> None:
    assert steered_words(record()) is None
    by_budget = steered_words(record(steered="budget:support", steered_from="large"))
    assert by_budget == "budget support, which goes to cheaper models at its limit; large would have been asked first"
    by_directive = steered_words(record(steered="cheap-shift_traffic", steered_from=None))
    assert by_directive == "directive cheap-shift_traffic; another model would have been asked first"
