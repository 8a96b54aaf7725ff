"""Prices from the user's files: exact as written, fleets by their plan, faults named."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.prices.config_price import (
    FleetPlan,
    PriceError,
    always,
    exact,
    fleet_gap,
    fleet_rates,
    fleet_schedule,
    rates_from_config,
    usd_per_hour,
)
from penstock.domain.units import UnitError


def test_a_price_is_read_as_written() -> None:
    rates = rates_from_config("llama-8b", {"input": 0.05, "cached_input": "0.01", "output": 0.1, "reasoning": None})
    assert (rates.id, rates.version.partition("-")[0], rates.basis) == ("config:llama-8b", "config", "measured")
    assert rates.per_million() == {
        "uncached_input": Fraction(5, 100),
        "cache_read": Fraction(1, 100),
        "cache_write": Fraction(5, 100),
        "visible_output": Fraction(1, 10),
        "reasoning": Fraction(1, 10),
    }
    assert rates.cost(Tokens(1000, 500, 0, 200, 0)) == 50_000 + 5_000 + 20_000


def test_a_price_of_the_config_has_a_version_for_every_figure_that_it_ever_had() -> None:
    cheap, dear = {"input": 0.05, "output": 0.1}, {"input": 0.05, "output": 0.2}
    assert rates_from_config("m", cheap).version == rates_from_config("m", {"input": "0.050", "output": "0.1"}).version
    assert rates_from_config("m", cheap).version != rates_from_config("m", dear).version
    assert rates_from_config("m", cheap, "batch").id == "config:m#batch"
    assert fleet_rates("f", Fraction(1), Fraction(5)).version != fleet_rates("f", Fraction(2), Fraction(5)).version


def test_parts_and_calls_of_tools_have_keys_of_their_own() -> None:
    rates = rates_from_config(
        "m", {"input": 1, "output": 4, "cached_input_audio": "0.3", "output_image": 40, "web_search": 10, "request": 5}
    )
    assert rates.parts_per_million() == {"cache_read_audio": Fraction(3, 10), "output_image": 40}
    assert rates.usd_per_call() == {"web_searches": Fraction(1, 100)}
    assert (
        rates.cost(Tokens(1, 1, 0, 1, 0), {"cache_read_audio": 1, "output_image": 1, "web_searches": 2}) == 5_000_000 + 20_000_000 + 41_300
    )


@given(st.decimals(min_value=0, max_value=10_000, places=6))
def test_text_and_float_give_the_same_fraction(price: object) -> None:
    assert exact(str(price)) == exact(float(str(price))) == Fraction(str(price))


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "free", "", "-0.1", "1,5"])
def test_what_is_no_price_is_refused(bad: float | str) -> None:
    with pytest.raises(PriceError, match=r"price of input .* not a"):
        rates_from_config("m", {"input": bad})


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(PriceError, match="`inputs` is not part of a price"):
        rates_from_config("m", {"inputs": 1.0})


@pytest.mark.parametrize(("text", "usd"), [("0.79 USD/gpu-hour", "0.79"), ("24 USD/day", "1"), ("730 USD/month", "1"), ("2 USD/hour", "2")])
def test_hardware_prices_come_per_hour(text: str, usd: str) -> None:
    assert usd_per_hour(text) == Fraction(usd)


@pytest.mark.parametrize("text", ["0.79 USD/fortnight", "0.79", "cheap"])
def test_other_units_of_hardware_are_refused(text: str) -> None:
    with pytest.raises(UnitError):
        usd_per_hour(text)


def test_a_fleet_at_its_planned_work_earns_exactly_its_price() -> None:
    # 2 x 0.79 USD an hour, 2,500 output tokens a second: 9,000,000 output tokens an hour
    rates = fleet_rates("l40s", 2 * Fraction("0.79"), Fraction(2500))
    assert rates.cost(Tokens(visible_output=9_000_000)) == 1_580_000_000
    assert rates.cost(Tokens(uncached_input=45_000_000)) == 1_580_000_000
    assert rates.cost(Tokens(cache_read=10**9)) == 0
    assert (rates.id, rates.basis) == ("fleet:l40s", "estimated")


def plan(name: str, *prices: tuple[int, str], rate: int | None = 100) -> FleetPlan:
    hourly = tuple((start, Fraction(usd)) for start, usd in prices)
    return FleetPlan(name, hourly, 1, None if rate is None else Fraction(rate))


def test_fleets_without_a_plan_say_what_is_missing() -> None:
    assert fleet_schedule([]) is None
    assert fleet_schedule([plan("a", (0, "1"), rate=None)]) is None
    assert "no fleet" in (fleet_gap([]) or "")
    assert "`a` has no `planned_tokens_per_second`" in (fleet_gap([plan("a", (0, "1"), rate=None)]) or "")
    assert "`b` has no price" in (fleet_gap([plan("a", (0, "1")), plan("b")]) or "")
    assert fleet_gap([plan("a", (0, "1"))]) is None


def test_fleets_behind_one_upstream_are_one_pool_by_date() -> None:
    schedule = fleet_schedule([plan("a", (0, "1"), (200, "3")), plan("b", (100, "2"))])
    assert schedule is not None
    assert schedule.starts == (100, 200)
    assert [rates.id for rates in schedule.rates] == ["fleet:a+b", "fleet:a+b"]
    outputs = [rates.per_million()["visible_output"] for rates in schedule.rates]
    assert outputs == [Fraction(3 * 10**6, 3600 * 200), Fraction(5 * 10**6, 3600 * 200)]


def test_a_price_that_never_changed_holds_for_all_time() -> None:
    schedule = fleet_schedule([FleetPlan("a", always(Fraction(1)), 2, Fraction(1))])
    assert schedule is not None
    assert schedule.at(0) is not None
