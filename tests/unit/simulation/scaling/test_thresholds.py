"""Thresholds for a while: strictly beyond them, for the whole time, one replica each."""

import pytest

from penstock.domain.simulation.scaling.fixed import Static
from penstock.domain.simulation.scaling.sustained import Sustained
from penstock.domain.simulation.scaling.thresholds import Queue, Ttft, Utilization
from tests.unit.simulation.scaling.told import changes, played, signals


def test_a_condition_must_hold_all_the_time() -> None:
    high = Sustained(60)
    assert [high.holds(True, at) for at in (0, 30, 59, 60, 75)] == [False, False, False, True, True]
    assert not high.holds(False, 90)
    assert [high.holds(True, at) for at in (105, 150, 165)] == [False, False, True]
    high.again()
    assert [high.holds(True, at) for at in (180, 225, 240)] == [False, False, True]


def test_no_time_is_at_once() -> None:
    assert Sustained(0).holds(True, 5)


def test_more_than_ten_waiting_for_a_minute_add_a_replica() -> None:
    assert played(Queue(), 2, [{"waiting": 11}] * 5) == [2, 2, 2, 2, 3]
    assert played(Queue(), 2, [{"waiting": 10}] * 9) == [2] * 9
    assert played(Queue(), 2, ([{"waiting": 99}] * 4 + [{"waiting": 5}]) * 3) == [2] * 15


def test_fewer_than_two_waiting_for_five_minutes_take_one_away_down_to_the_least() -> None:
    counts = played(Queue(), 3, [{"waiting": 1}] * 80)
    assert counts.index(2) == 300 / 15 and changes(counts) == [3, 2, 1]
    assert played(Queue(), 3, [{"waiting": 2}] * 80) == [3] * 80


def test_gpu_use_scales_after_two_and_ten_minutes() -> None:
    up = played(Utilization(), 2, [{"active": 0.81}] * 10)
    down = played(Utilization(), 2, [{"active": 0.19}] * 41)
    assert up.index(3) == 120 / 15 and down.index(1) == 600 / 15
    assert played(Utilization(), 2, [{"active": 0.8}, {"active": 0.2}] * 40) == [2] * 80


@pytest.mark.parametrize(("p95", "tick", "count"), [(4.1, 4, 3), (4.0, None, 2), (1.0, None, 2), (0.99, 20, 1)])
def test_first_tokens_against_twice_and_half_of_the_objective(p95: float, tick: int | None, count: int) -> None:
    counts = played(Ttft(sla_s=2), 2, [{"ttft_p95_s": p95}] * 21)
    assert counts[-1] == (count if tick == 20 else counts[-1])
    assert (counts.index(count) == tick) if tick is not None else counts == [2] * 21


def test_without_first_tokens_an_idle_fleet_shrinks_and_a_stuck_one_stays() -> None:
    assert played(Ttft(), 2, [{}] * 21)[-1] == 1
    assert played(Ttft(), 2, [{"waiting": 7}] * 21) == [2] * 21


def test_a_static_fleet_stays_as_it_is_found_or_as_told() -> None:
    found, told = Static().begin(), Static(replicas=7).begin()
    assert [found.desired(signals(0, 3, starting=1)), found.desired(signals(60, 9, waiting=99))] == [4, 4]
    assert told.desired(signals(0, 3)) == 7
