"""What differs between two prices, and what a price that does not know all figures leaves as it was."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.difference import Change, differences, filled
from penstock.domain.prices.rates import CALL_PARTS, TOKEN_CLASSES, TOKEN_PARTS, Rates, compile_rates

usd = st.fractions(0, 100, max_denominator=10**6)
tables = st.fixed_dictionaries({"uncached_input": usd}, optional=dict.fromkeys((*TOKEN_CLASSES[1:], *TOKEN_PARTS), usd))
rates = st.builds(
    lambda table, bands, calls, fee: compile_rates("x", "1", table, bands=bands, calls=calls, usd_per_call=fee),
    tables,
    st.dictionaries(st.integers(1, 10**6), tables, max_size=2),
    st.dictionaries(st.sampled_from(CALL_PARTS), usd, max_size=2),
    usd,
)


@given(rates)
def test_a_price_does_not_differ_from_itself_under_another_name(price: Rates) -> None:
    other = Rates("y", "2", price.denominator * 3, price.bands)
    assert differences(price, price) == []
    assert differences(price, filled(price, price)) == []
    assert other.id != price.id


@given(rates, rates, st.integers(0, 10**6))
def test_prices_without_a_difference_cost_the_same(one: Rates, two: Rates, count: int) -> None:
    tokens, parts = Tokens(count, count, count, count, count), dict.fromkeys(TOKEN_PARTS[:1], count)
    if not differences(one, two):
        assert one.cost(tokens, parts) == two.cost(tokens, parts)
    if one.cost(tokens, parts) != two.cost(tokens, parts):
        assert differences(one, two)


def test_what_follows_from_another_figure_is_not_told_twice() -> None:
    before, after = (compile_rates("x", "1", {"uncached_input": Fraction(usd), "visible_output": Fraction(8)}) for usd in (2, 3))
    assert differences(before, after) == [Change("uncached_input", 0, "million tokens", Fraction(2), Fraction(3))]


def test_no_price_at_all_differs_in_every_figure() -> None:
    price = compile_rates("x", "1", {"uncached_input": Fraction(2)}, calls={"web_searches": Fraction(1, 100)})
    told = differences(None, price)
    assert [(change.figure, change.before, change.after) for change in told] == [
        ("uncached_input", None, Fraction(2)),
        ("web_searches", None, Fraction(1, 100)),
    ]


def test_what_a_source_says_nothing_of_stays() -> None:
    before = compile_rates(
        "old", "1", {"uncached_input": Fraction(2), "input_audio": Fraction(30)}, calls={"web_searches": Fraction(1, 100)},
        usd_per_call=Fraction(1, 3),
    )  # fmt: skip
    after = filled(compile_rates("new", "2", {"uncached_input": Fraction(1)}, bands={100: {"uncached_input": Fraction(5)}}), before)
    assert (after.id, after.parts_per_million(200), after.usd_per_call()) == (
        "new", {"input_audio": Fraction(30)}, {"web_searches": Fraction(1, 100)},
    )  # fmt: skip
    assert after.per_million(200)["uncached_input"] == 5
    assert Fraction(after.per_call, after.denominator * 10**9) == Fraction(1, 3)
