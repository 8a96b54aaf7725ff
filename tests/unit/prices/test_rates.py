"""Rates: exact in every class and band, rounded once, half to even; a class without a price makes the cost unknown."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.prices.rates import TOKEN_CLASSES, compile_rates

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
