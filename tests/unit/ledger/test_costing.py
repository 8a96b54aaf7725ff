"""The money fields of a record: what was paid, what it would have cost, and that unknown stays unknown."""

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import UNPRICED, counterfactual, price_call, price_recall, rerated
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.book import Offer, PriceBook
from penstock.domain.prices.rates import TOKEN_CLASSES, PriceBasis, Rates, compile_rates
from penstock.domain.prices.schedule import Schedule, constant


def rates(name: str, price: int, basis: PriceBasis = "measured") -> Rates:
    return compile_rates(name, "v1", {"uncached_input": Fraction(price), "visible_output": Fraction(price * 2)}, basis=basis)


BOOK = PriceBook(
    {
        "small": [Offer(Schedule((100, 200), (rates("old", 1), rates("new", 2))), "")],
        "large": [Offer(constant(rates("large", 10)), "")],
        "fleet": [Offer(constant(rates("fleet", 1, "estimated")), "")],
        "embed": [Offer(constant(compile_rates("embed", "v1", {"uncached_input": Fraction(1)})), "")],
        "none": [],
    }
)
TOKENS = Tokens(uncached_input=10, visible_output=5)


def test_the_price_in_force_at_admission_counts() -> None:
    before, after = price_call(BOOK, "small", TOKENS, 199), price_call(BOOK, "small", TOKENS, 200)
    assert (before.cost, before.price_id, before.price_version, before.cost_basis) == (20_000, "old", "v1", "measured")
    assert (after.cost, after.price_id) == (40_000, "new")
    assert before.list_cost == before.cost


def test_an_unpriced_model_has_an_unknown_cost() -> None:
    assert price_call(BOOK, "none", TOKENS, 0) == UNPRICED
    assert price_call(BOOK, "small", TOKENS, 99) == UNPRICED
    assert UNPRICED.cost is None


def test_a_class_without_a_price_leaves_the_cost_unknown_but_names_the_entry() -> None:
    priced = price_call(BOOK, "embed", TOKENS, 0)
    assert (priced.cost, priced.cost_basis, priced.price_id) == (None, "unknown", "embed")


def test_a_fleet_is_marked_estimated() -> None:
    assert price_call(BOOK, "fleet", TOKENS, 0).cost_basis == "estimated"


def test_a_replay_costs_nothing_and_its_list_cost_says_what_it_saved() -> None:
    replay = price_recall(BOOK, "large", TOKENS, 0)
    assert (replay.cost, replay.list_cost, replay.price_id, replay.cost_basis) == (0, 200_000, "large", "measured")
    assert price_recall(BOOK, "none", TOKENS, 0).cost == 0
    assert price_recall(BOOK, "none", TOKENS, 0).list_cost is None


def test_the_counterfactual_is_the_baseline_or_the_same_model() -> None:
    assert counterfactual(BOOK, "large", "small", TOKENS, 100) == 200_000
    assert counterfactual(BOOK, None, "small", TOKENS, 100) == price_call(BOOK, "small", TOKENS, 100).cost
    assert counterfactual(BOOK, "none", "small", TOKENS, 100) is None
    assert counterfactual(BOOK, "large", "none", TOKENS, 100) == 200_000


def test_a_part_without_a_rate_makes_the_cost_an_estimate() -> None:
    priced = price_call(BOOK, "large", TOKENS, 0, {"input_audio": 4})
    assert (priced.cost, priced.cost_basis, priced.lacking) == (200_000, "estimated", ("input_audio",))
    assert price_call(BOOK, "large", TOKENS, 0, {"input_audio": 0}).cost_basis == "measured"


def test_input_and_output_are_the_cost() -> None:
    priced = price_call(BOOK, "large", TOKENS, 0)
    assert (priced.input_cost, priced.list_cost) == (100_000, 200_000)


def test_an_unknown_class_is_unpriced() -> None:
    assert price_call(BOOK, "large", TOKENS, 0, processing="batch") == UNPRICED
    assert counterfactual(BOOK, None, "large", TOKENS, 0, processing="batch") is None
    assert counterfactual(BOOK, "large", "small", TOKENS, 100, processing="batch") == 200_000, "a baseline is standard processing"


counts = st.integers(0, 10**7)
usd = st.fractions(0, 100, max_denominator=10**6)


@given(st.builds(Tokens, counts, counts, counts, counts, counts), st.tuples(usd, usd, usd, usd, usd), st.integers(0, 10**9))
def test_a_past_record_comes_to_what_was_booked_by_its_own_entry(tokens: Tokens, prices: tuple[Fraction, ...], wasted: int) -> None:
    entry = compile_rates("e", "1", dict(zip(TOKEN_CLASSES, prices, strict=True)))
    book = PriceBook({"m": [Offer(constant(entry), "")]})
    parts = {"input_audio": tokens.uncached_input // 2}
    priced = price_call(book, "m", tokens, 0, parts)
    booked = (priced.cost or 0) + wasted
    record = UsageRecord(
        id="1", admitted_ns=0, endpoint="e", status=200, outcome="ok", tokens=tokens, parts=parts, cost=booked, wasted_cost=wasted,
        price_id=priced.price_id, price_version=priced.price_version,
    )  # fmt: skip
    kept = {(rates.id, rates.version): rates for rates in book.entries()}
    assert rerated(record, kept["e", "1"]) == booked


def test_a_replay_stays_free_whatever_the_price() -> None:
    record = UsageRecord(id="1", admitted_ns=0, endpoint="e", status=200, outcome="ok", recalled=TOKENS, cost=0)
    assert rerated(record, rates("large", 10)) == 0
    looked = msgspec.structs.replace(record, cost=7, embedding_cost=4, wasted_cost=3)
    assert rerated(looked, rates("large", 10)) == 7, "what looked for it, and a try that was begun meanwhile, stand as they were booked"
    assert rerated(msgspec.structs.replace(looked, embedding_cost=None), rates("large", 10)) is None
