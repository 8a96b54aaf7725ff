"""Replicas for the next window from the windows before: what is known when, by how much it leads, and how often it turns."""

from itertools import pairwise
from math import ceil, inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.simulation.scaling.forecasting import FIRST, HOLD_WINDOWS, RateForecaster, over_capacity

RATES = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


def answers(rates: list[float], rps_per_replica: float = 10.0, **given: float) -> list[int]:
    forecaster = RateForecaster(**given)  # type: ignore[arg-type]
    asked = []
    for rate in rates:
        asked.append(forecaster.replicas(rps_per_replica))
        forecaster.observe(rate)
    return asked


def turns(asked: list[int]) -> int:
    ways = [after > before for before, after in pairwise(asked) if after != before]
    return sum(one != other for one, other in pairwise(ways))


def test_the_first_windows_by_hand() -> None:
    forecaster = RateForecaster()
    assert forecaster.replicas(10) == FIRST
    forecaster.observe(200)
    # 200, and 2.5 times a tenth of it
    assert forecaster.rate() == pytest.approx(250) and forecaster.replicas(10) == 25
    forecaster.observe(260)
    # fast: 20 + 0.3 * 40; slow: 20 + 0.03 * 40. 26 were needed, 25 stood, nobody before saw to it, a little is learned
    over = (0.3 * 10 + 0.7 * 10) / 230
    steps = 2.5 * np.exp(0.5 * (over - 0.0025) + 0.05 * (1.26 - 25 / 26) * 260 / 230)
    assert forecaster.rate() == pytest.approx(260 + steps * (32 + 21.2) / 2)
    forecaster.observe(160)
    # the peak of 260 sinks to 0.6 * 260 + 0.4 * 160, and half of what is left of it is held
    assert 160 + (220 - 160) / 2 < forecaster.rate() < 160 + 30 + 6 * 45


@given(RATES, RATES, RATES)
def test_nothing_is_known_of_what_is_to_come(known: list[float], one: list[float], other: list[float]) -> None:
    asked = len(known) + 1
    assert answers(known + one)[:asked] == answers(known + other)[:asked]


@given(RATES, st.integers(-8, 8))
def test_only_the_ratio_to_a_replica_counts(rates: list[float], power: int) -> None:
    times = 2.0**power
    whole = [float(round(rate)) for rate in rates]
    assert answers([rate * times for rate in whole], 8 * times) == answers(whole, 8)


@given(RATES)
def test_asking_twice_changes_nothing(rates: list[float]) -> None:
    forecaster = RateForecaster()
    for rate, once in zip(rates, answers(rates), strict=True):
        assert forecaster.replicas(77) >= 1
        assert [forecaster.replicas(10), forecaster.replicas(10)] == [once, once]
        forecaster.observe(rate)


def test_steady_traffic_ends_without_a_spare_replica() -> None:
    asked = answers([400.0] * 400)
    assert asked[1] == 50 and asked[-1] == 40


def test_traffic_that_stops_leaves_one_replica() -> None:
    assert answers([300.0] * 50 + [0.0] * 200)[-1] == 1


def test_traffic_that_begins_after_weeks_is_followed() -> None:
    asked = answers([0.0] * 5000 + [1e6] * 3)
    assert asked[5000] == 1 and min(asked[5001:]) >= 1e5


def test_head_room_follows_the_moves_of_the_traffic() -> None:
    dice = np.random.default_rng(1)
    calm = [float(400 * np.exp(dice.normal(0, 0.02))) for _ in range(200)]
    wild = [float(400 * np.exp(dice.normal(0, 0.3))) for _ in range(200)]
    spare = [sum(answers(rates, 4)[50:]) / sum(ceil(rate / 4) for rate in rates[50:]) for rates in (calm, wild)]
    assert spare[0] < 1.13 and spare[1] > 1.35


@given(st.integers(0, 2**32), st.floats(0.02, 0.6))
def test_two_reversals_an_hour_at_most(seed: int, spread: float) -> None:
    dice = np.random.default_rng(seed)
    rates = [float(rate) for rate in 300 * np.exp(dice.normal(0, spread, 288))]
    assert turns(answers(rates, 5.0)) <= 2 * 48


def test_it_shrinks_by_a_twentieth_or_when_less_has_been_enough_for_an_hour() -> None:
    asked = answers([float(400 - at) for at in range(60)], 1.0, hold_windows=1000)
    assert all(after >= before or after <= 0.95 * before for before, after in pairwise(asked)) and asked[-1] < asked[1]
    steady = answers([400.0] * 10 + [390.0] * 300, 1.0)
    small = [at for at, (before, after) in enumerate(pairwise(steady)) if 0.95 * before < after < before]
    assert small and min(after - before for before, after in pairwise(small)) > 2 * HOLD_WINDOWS and steady[-1] == 390


def test_bursts_cost_less_and_are_served_better_than_with_a_third_more_than_last_time() -> None:
    """Calm for 18 hours, then jumps as of batch jobs for 6, for ten days."""
    dice = np.random.default_rng(7)
    hour = np.arange(1440) % 144 // 6
    rates = 300 * np.exp(np.cumsum(dice.normal(0, 0.004, 1440))) * (1 + (hour >= 18) * dice.choice([0, 0.4, 0.8], 1440, p=[0.5, 0.3, 0.2]))
    ours = answers([float(rate) for rate in rates])
    reactive = [FIRST, *(ceil(1.3 * rate / 10) for rate in rates[:-1])]
    over = [
        sum(over_capacity(rate, now, before, 10, 0.3) for rate, now, before in zip(rates, asked, [asked[0], *asked], strict=False))
        for asked in (ours, reactive)
    ]
    assert sum(ours) < 0.99 * sum(reactive) and over[0] < 0.8 * over[1]


def test_over_capacity_is_what_does_not_fit_until_what_is_new_serves() -> None:
    assert over_capacity(100, asked=10, stood=10, rps_per_replica=10, late_share=0.3) == 0
    assert over_capacity(100, asked=10, stood=6, rps_per_replica=10, late_share=0.3) == pytest.approx(12)
    assert over_capacity(100, asked=8, stood=10, rps_per_replica=10, late_share=0.3) == pytest.approx(20)


@pytest.mark.parametrize("rate", [-1.0, inf, nan])
def test_what_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="no rate"):
        RateForecaster().observe(rate)


@pytest.mark.parametrize("size", [0.0, -2.0, inf, nan])
def test_what_no_replica_serves_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="replica"):
        RateForecaster().replicas(size)


@pytest.mark.parametrize("given", [{"late_share": 1.1}, {"over_share": 0}, {"cost_ratio": 0.9}, {"hold_windows": -1}, {"cost_ratio": nan}])
def test_what_makes_no_sense_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        RateForecaster(**given)  # type: ignore[arg-type]
