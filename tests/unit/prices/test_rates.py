"""Rates: exact in every class, part and band, rounded once, half to even; a class without a price makes the cost unknown."""

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import CLASS_OF_PART, NO_TOKENS, Tokens
from penstock.domain.prices.rates import CALL_PARTS, INPUT_CLASSES, TOKEN_CLASSES, TOKEN_PARTS, Rates, compile_rates

usd = st.fractions(min_value=0, max_value=200, max_denominator=10**7)
counts = st.integers(0, 10**9)
classes = st.builds(Tokens, counts, counts, counts, counts, counts)


def by_hand(table: dict[str, Fraction], tokens: Tokens, fee: Fraction = Fraction(0)) -> int:
    total = sum((getattr(tokens, name) * table[name] for name in TOKEN_CLASSES), Fraction(0)) / 10**6
    return round((total + (fee if tokens.total else 0)) * 10**9)


@given(st.tuples(usd, usd, usd, usd, usd), classes, usd)
def test_cost_is_the_exact_sum_rounded_once(prices: tuple[Fraction, ...], tokens: Tokens, fee: Fraction) -> None:
    table = dict(zip(TOKEN_CLASSES, prices, strict=True))
    assert compile_rates("x", "1", table, usd_per_call=fee).cost(tokens) == by_hand(table, tokens, fee)


@given(classes)
def test_the_whole_call_is_priced_in_its_band(tokens: Tokens) -> None:
    low, high = dict.fromkeys(TOKEN_CLASSES, Fraction(1)), dict.fromkeys(TOKEN_CLASSES, Fraction(2))
    rates = compile_rates("x", "1", low, bands={200_000: high})
    assert rates.cost(tokens) == by_hand(high if tokens.input > 200_000 else low, tokens)


def test_a_band_begins_above_its_threshold() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1)}, bands={10: {"uncached_input": Fraction(3)}})
    assert (rates.cost(Tokens(10)), rates.cost(Tokens(11))) == (10_000, 33_000)


def test_ties_go_to_the_even_nano() -> None:
    half = compile_rates("x", "1", {"uncached_input": Fraction(1, 2000)})
    assert [half.cost(Tokens(count)) for count in (1, 3, 5, 7)] == [0, 2, 2, 4]


def test_classes_without_a_rate_of_their_own_follow_the_provider_rule() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1), "visible_output": Fraction(2)})
    assert rates.cost(Tokens(0, 1, 1, 0, 1)) == 4000


def test_a_class_without_a_price_makes_the_cost_unknown_only_when_used() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1)})
    assert rates.cost(Tokens(5)) == 5000
    assert rates.cost(Tokens(5, 0, 0, 1)) is None


def test_a_call_that_used_no_tokens_owes_no_fee() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1)}, usd_per_call=Fraction("0.012"))
    assert rates.cost(NO_TOKENS) == 0
    assert rates.cost(Tokens(1)) == 12_001_000


part_counts = st.dictionaries(st.sampled_from([*CLASS_OF_PART, "odd"]), st.integers(0, 10**6), max_size=6)
tables = st.fixed_dictionaries(dict.fromkeys(TOKEN_CLASSES, usd), optional=dict.fromkeys(TOKEN_PARTS, usd))
fees = st.dictionaries(st.sampled_from(CALL_PARTS), usd, max_size=3)


def within(tokens: Tokens, parts: dict[str, int]) -> dict[str, int]:
    """Parts as meters tell them: those of one class are at most the class."""
    left, kept = {name: getattr(tokens, name) for name in TOKEN_CLASSES}, {}
    for name, count in parts.items():
        token_class = CLASS_OF_PART.get(name)
        kept[name] = count if token_class is None else min(count, left[token_class])
        if token_class is not None:
            left[token_class] -= kept[name]
    return kept


@given(tables, fees, classes, part_counts, usd)
def test_a_part_is_charged_at_its_own_rate_instead_of_its_class(
    table: dict[str, Fraction], calls: dict[str, Fraction], tokens: Tokens, told: dict[str, int], fee: Fraction
) -> None:
    parts = within(tokens, told)
    rates = compile_rates("x", "1", table, calls=calls, usd_per_call=fee)
    total = sum((getattr(tokens, name) * table[name] for name in TOKEN_CLASSES), Fraction(0)) / 10**6
    for name, count in parts.items():
        token_class = CLASS_OF_PART.get(name)
        if token_class is not None and name in table:
            total += count * (table[name] - table[token_class]) / 10**6
        elif name in calls:
            total += count * calls[name]
    assert rates.cost(tokens, parts) == round((total + (fee if tokens.total else 0)) * 10**9)
    assert set(rates.lacks(parts)) == {name for name, count in parts.items() if count and name not in table and name not in calls}


@given(tables, fees, classes, part_counts)
def test_lines_are_disjoint_and_the_input_side_never_exceeds_the_cost(
    table: dict[str, Fraction], calls: dict[str, Fraction], tokens: Tokens, told: dict[str, int]
) -> None:
    rates = compile_rates("x", "1", table, calls=calls)
    charges = rates.charges(tokens, told)
    counted = dict.fromkeys(TOKEN_CLASSES, 0)
    for charge in charges:
        token_class = CLASS_OF_PART.get(charge.name, charge.name)
        if token_class is not None:
            counted[token_class] += charge.count
            assert charge.input == (token_class in INPUT_CLASSES)
    assert counted == {name: getattr(tokens, name) for name in TOKEN_CLASSES}, "a part that is told too large is cut to its class"
    cost, entering = rates.cost(tokens, told), rates.input_cost(tokens, told)
    assert cost is not None and entering is not None and 0 <= entering <= cost


@given(st.tuples(usd, usd, usd, usd, usd), classes)
def test_the_short_way_gives_what_the_long_one_gives(prices: tuple[Fraction, ...], tokens: Tokens) -> None:
    rates = compile_rates("x", "1", dict(zip(TOKEN_CLASSES, prices, strict=True)))
    odd = {"odd": 1}
    assert (rates.cost(tokens), rates.input_cost(tokens)) == (rates.cost(tokens, odd), rates.input_cost(tokens, odd))


def test_a_part_with_a_rate_needs_none_of_its_class() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1), "output_image": Fraction(40)})
    assert rates.cost(Tokens(10, 0, 0, 5, 0), {"output_image": 5}) == 210_000
    assert rates.cost(Tokens(10, 0, 0, 6, 0), {"output_image": 5}) is None
    assert rates.input_cost(Tokens(10, 0, 0, 6, 0), {"output_image": 5}) == 10_000


def test_the_worst_case_counts_the_dearest_part() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1), "visible_output": Fraction(2), "input_audio": Fraction(40)})
    assert rates.bands[0].dearest == (40_000, 2_000)


def test_calls_alone_cost_their_fee() -> None:
    rates = compile_rates("x", "1", {"uncached_input": Fraction(1)}, calls={"web_searches": Fraction(1, 100)})
    assert rates.cost(NO_TOKENS, {"web_searches": 3}) == 30_000_000
    assert rates.lacks({"web_searches": 3, "file_searches": 1, "code_runs": 0}) == ("file_searches",)


@given(tables, fees)
def test_rates_survive_being_kept(table: dict[str, Fraction], calls: dict[str, Fraction]) -> None:
    rates = compile_rates("x", "1", table, calls=calls, bands={1000: table})
    assert msgspec.json.decode(msgspec.json.encode(rates), type=Rates) == rates
