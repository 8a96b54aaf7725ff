"""The forecast: from the first hour on, shapes of day and week, outliers, gaps, its band, and laws that hold for any history."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.budgets.forecast import DAY, WEEK, Forecast, forecast


def made(hours: list[float], horizon: int = DAY) -> Forecast:
    found = forecast(hours, horizon)
    assert found is not None
    return found


def daily(days: int, *, seed: int = 1, noise: float = 0.1, weekend: float = 1.0) -> list[float]:
    """Traffic that is ten times as much at noon as at midnight; days begin on a Monday."""
    dice = random.Random(seed)
    return [
        100 * (1.1 - math.cos(hour % DAY / DAY * 2 * math.pi)) * (weekend if hour // DAY % 7 >= 5 else 1) * math.exp(dice.gauss(0, noise))
        for hour in range(days * DAY)
    ]


def off(found: Forecast, came: list[float]) -> float:
    return abs(sum(found.hours) - sum(came)) / sum(came)


@given(st.lists(st.integers(0, 10**12), max_size=200), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_any_history_gives_an_ordered_forecast(hours: list[int], horizon: int) -> None:
    found = forecast(hours, horizon)
    if not hours:
        assert found is None
        return
    assert found is not None and found == forecast(list(hours), horizon)
    assert len(found.hours) == len(found.low) == len(found.high) == horizon
    middle = 0.0
    for value, low, high in zip(found.hours, found.low, found.high, strict=True):
        assert value >= 0 and math.isfinite(high)
        middle += value
        assert low <= middle * (1 + 1e-9) + 1e-6 and middle <= high * (1 + 1e-9) + 1e-6
    assert list(found.low) == sorted(found.low) and list(found.high) == sorted(found.high)


@given(st.integers(1, 10**12), st.integers(1, 300), st.integers(1, 744))
@settings(max_examples=30, deadline=None)
def test_what_never_changes_goes_on(amount: int, known: int, horizon: int) -> None:
    assert sum(made([amount] * known, horizon).hours) == pytest.approx(amount * horizon, rel=0.001)


def test_the_first_hour_is_enough_and_the_band_is_wide() -> None:
    found = made([10.0])
    assert sum(found.hours) == pytest.approx(240)
    assert found.high[-1] > 1.5 * sum(found.hours) and found.low[-1] < 0.7 * sum(found.hours)


def test_what_hardly_varies_has_a_narrow_band() -> None:
    found = made([100.0] * 10 * DAY, 10 * DAY)
    assert found.high[-1] - found.low[-1] < 0.08 * sum(found.hours)


def test_nothing_spent_expects_nothing() -> None:
    assert sum(made([0.0] * 50).high) == 0


def test_hours_before_the_first_spend_say_nothing() -> None:
    assert made([0.0] * 500 + daily(3)) == made(daily(3))


def test_two_days_teach_the_shape_of_the_day() -> None:
    hours = daily(4)
    morning = made(hours[: 2 * DAY + 6], 6)
    assert off(morning, hours[2 * DAY + 6 : 2 * DAY + 12]) < 0.25, "the level at six in the morning is a third of what comes"


def test_two_weeks_teach_the_weekend() -> None:
    hours = daily(23, weekend=0.2)
    friday_night = 2 * WEEK + 5 * DAY
    assert off(made(hours[:friday_night], 2 * DAY), hours[friday_night : friday_night + 2 * DAY]) < 0.35
    assert made(hours[:friday_night], 2 * DAY).weights != ()


def test_growth_goes_on_damped() -> None:
    hours = [value * 1.05 ** (hour / DAY) for hour, value in enumerate(daily(14, noise=0.02))]
    week = sum(made(hours, WEEK).hours)
    assert sum(hours[-WEEK:]) < week < sum(hours[-WEEK:]) * 1.05**7


@pytest.mark.parametrize("lasted", [1, 6, DAY])
def test_a_runaway_of_yesterday_does_not_make_the_month(lasted: int) -> None:
    calm = daily(20)
    wild = list(calm)
    for hour in range(len(wild) - DAY - lasted, len(wild) - DAY):
        wild[hour] *= 20
    assert sum(made(wild, 30 * DAY).hours) < 1.35 * sum(made(calm, 30 * DAY).hours)


def test_a_runaway_that_goes_on_is_expected_to_go_on_for_a_while() -> None:
    calm = [10.0] * 20 * DAY
    wild = [*calm[:-3], 200.0, 200.0, 200.0]
    assert 6 * 100 < sum(made(wild, 6).hours) < 6 * 200
    assert sum(made(wild, 30 * DAY).hours) < 1.5 * sum(made(calm, 30 * DAY).hours)


def test_a_job_of_every_night_is_no_runaway() -> None:
    hours = [500.0 if hour % DAY == 2 else 1.0 for hour in range(10 * DAY)]
    assert sum(made(hours, DAY).hours) == pytest.approx(523, rel=0.05)


def test_gaps_and_nights_without_anything_are_fine() -> None:
    hours = [value if 8 <= hour % DAY < 20 else 0.0 for hour, value in enumerate(daily(12))]
    hours[5 * DAY : 5 * DAY + 9] = [0.0] * 9
    found = made(hours, DAY)
    assert sum(found.hours[:8]) < 0.1 * sum(found.hours)
    assert off(found, hours[-DAY:]) < 0.3


def test_the_band_holds_about_as_often_as_it_says() -> None:
    held = []
    for seed in range(4):
        hours = daily(14, seed=seed, noise=0.5)
        for origin in range(4 * DAY, len(hours) - DAY, 17):
            found = made(hours[:origin], DAY)
            held.append(found.low[-1] <= sum(hours[origin : origin + DAY]) <= found.high[-1])
    assert 0.7 <= sum(held) / len(held) <= 0.97
