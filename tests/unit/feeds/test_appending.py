"""New entries of the price file: they say exactly the rates that they were made from, and never touch what is there."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.feeds.appending import HEADER, appended, holds_prices, offer_entry, price_entry
from penstock.adapters.feeds.gpus import gpu_offers
from penstock.adapters.feeds.overrides import parse_overrides
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.difference import differences
from penstock.domain.prices.rates import CALL_PARTS, TOKEN_CLASSES, TOKEN_PARTS, Rates, compile_rates
from penstock.domain.prices.schedule import midnight_ns

DAY = date(2026, 11, 21)
usd = st.decimals(0, 500, places=6).map(Fraction)
tables = st.fixed_dictionaries({"uncached_input": usd}, optional=dict.fromkeys((*TOKEN_CLASSES[1:], *TOKEN_PARTS), usd))
rates = st.builds(
    lambda table, bands, calls, fee: compile_rates(
        "x", "1", table, bands={start: table | more for start, more in bands.items()}, calls=calls, usd_per_call=fee
    ),
    tables,
    st.dictionaries(st.integers(1, 10**6), tables, max_size=2),
    st.dictionaries(st.sampled_from(CALL_PARTS), usd.filter(bool), max_size=3),
    usd,
)
names = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1)


@given(rates, names, st.none() | names, st.none() | st.sampled_from(["batch", "flex"]), names)
def test_an_entry_says_the_price_that_it_was_made_from(
    price: Rates, model: str, provider: str | None, processing: str | None, source: str
) -> None:
    entry = price_entry(provider, model, processing, DAY, price, source)
    read = parse_overrides(appended(HEADER, [entry], "prices.toml"), "prices.toml")
    schedule = read.schedule(provider, model, processing)
    assert schedule is not None and schedule.starts == (midnight_ns(DAY),)
    assert differences(price, schedule.rates[0]) == []
    assert (schedule.rates[0].id, schedule.rates[0].version) in read.read


def test_what_is_there_is_kept_byte_for_byte() -> None:
    before = b'# mine\r\n[[price]]\nmodel = "m"\nfrom = 2026-01-01\ninput = 1\noutput = 2'
    entry = price_entry(None, "m", None, DAY, compile_rates("x", "1", {"uncached_input": Fraction(3)}), "page")
    assert appended(before, [entry], "prices.toml").startswith(before)
    assert appended(before, [], "prices.toml") == before


def test_an_entry_of_a_day_that_has_one_is_refused() -> None:
    entry = price_entry(None, "m", None, DAY, compile_rates("x", "1", {"uncached_input": Fraction(3)}), "page")
    with pytest.raises(PriceError, match="another price from 2026-11-21"):
        appended(HEADER, [entry, entry], "prices.toml")


def test_what_an_entry_cannot_say_is_refused() -> None:
    with pytest.raises(PriceError, match="no price of input"):
        price_entry(None, "m", None, DAY, compile_rates("x", "1", {"visible_output": Fraction(3)}), "page")
    with pytest.raises(PriceError, match="no decimal"):
        price_entry(None, "m", None, DAY, compile_rates("x", "1", {"uncached_input": Fraction(1, 3)}), "page")


def test_offers_of_hardware_are_read_back() -> None:
    offers = gpu_offers()[:3]
    assert parse_overrides(appended(b"", [offer_entry(each) for each in offers], "prices.toml"), "prices.toml").offers == offers


def test_a_price_file_is_told_from_other_files() -> None:
    assert holds_prices(HEADER) and holds_prices(b'[[price]]\nmodel = "m"\n')
    assert not holds_prices(b"[1, 2]") and not holds_prices(b"a,b,c\n1,2,3\n") and not holds_prices(b"version = 1\n")
