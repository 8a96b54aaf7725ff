"""The forecasting policy on signals: what it counts, when it answers, and that a queue is drained."""

from itertools import pairwise
from typing import Any

import pytest

from penstock.domain.simulation.scaling.forecast import Forecast
from tests.unit.simulation.scaling.told import played, signals


def test_requests_a_second_are_counted_where_a_replica_is_known() -> None:
    counts = played(Forecast(rps_per_replica=2), 3, [{"arrivals": 300}] * 2400)
    assert counts[:11] == [3] * 11  # until the first window of 180 s is over
    assert counts[11] == 13 and counts[-1] == 10  # 20 a second: at first a quarter more, in the end what is needed


def test_where_it_is_not_known_it_is_learned() -> None:
    """A replica that holds 1,000 tokens has 350 in flight at one request a second, so it serves 2 at 70 %."""
    scaler, ready = Forecast().begin(), 4
    for tick in range(1, 2400):
        told = {"arrivals": 177, "running": 12, "tokens_in_flight": 4130, "token_capacity": 1000 * ready}
        ready = scaler.desired(signals(tick * 15, ready, **told))
    assert ready == 6


def test_a_queue_adds_replicas_that_drain_it_until_the_window_ends() -> None:
    calm: list[dict[str, Any]] = [{"arrivals": 300}] * 60
    counts = played(Forecast(rps_per_replica=2), 10, [*calm, {"arrivals": 300, "waiting": 1440}, *calm])
    assert counts[60] - counts[59] == 4 and counts[59] == counts[72]
    assert played(Forecast(rps_per_replica=2), 10, [{"arrivals": 300, "waiting": 359}] * 3) == [10] * 3


def test_while_nothing_is_ready_or_known_the_fleet_is_left_alone() -> None:
    scaler = Forecast().begin()
    waits = {"waiting": 9, "tokens_in_flight": 900, "token_capacity": 0}
    assert [scaler.desired(signals(at * 15, 0, starting=2, **waits)) for at in range(60)] == [2] * 60


def test_it_looks_ahead_window_by_window_only() -> None:
    counts = played(Forecast(rps_per_replica=1, window_s=600), 5, [{"arrivals": 15 * (tick % 97)} for tick in range(400)])
    assert {at % 40 for at, (before, after) in enumerate(pairwise(counts), 1) if before != after} == {39}
    assert [Forecast(cold_start_s=seconds).window() for seconds in (5, 400)] == [60, 400]


def test_a_policy_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="share"):
        Forecast(quantile=1.0)
    with pytest.raises(ValueError, match="ratio of costs"):
        Forecast(cost=0.5)
