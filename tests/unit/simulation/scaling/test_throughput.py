"""What a replica serves, learned from signals."""

from typing import Any

import pytest

from penstock.domain.simulation.scaling.throughput import Throughput
from tests.unit.simulation.scaling.told import signals


def window(learner: Throughput, ready: int = 2, ticks: int = 12, left: int = 0, **told: Any) -> float | None:
    for _ in range(ticks):
        learner.observe(signals(0, ready, **told))
    learner.learn(left)
    return learner.rps


def test_tokens_in_flight_grow_with_the_rate() -> None:
    # 2 a second on 2 replicas take 20 % of the memory: at 60 % a replica serves 3
    assert window(Throughput(0.6), arrivals=30, tokens_in_flight=400) == pytest.approx(3)


def test_while_requests_wait_everywhere_all_the_time_what_is_served_is_the_most() -> None:
    learner = Throughput(0.5)
    learner.observe(signals(0, 2, waiting=10, interval_s=0.0))
    # 360 came, 80 more wait than before: 280 in 180 s on 2 replicas, half of which is wanted
    assert window(learner, arrivals=30, waiting=50, left=90) == pytest.approx(280 / 360 / 2)


def test_the_smaller_of_both_counts() -> None:
    learner = Throughput(0.5)
    assert window(learner, arrivals=30, tokens_in_flight=400) == pytest.approx(2.5)
    jammed = window(learner, arrivals=30, waiting=50, left=50)
    assert jammed == pytest.approx(0.5 * 310 / 360)
    assert window(learner, arrivals=30, tokens_in_flight=300) == jammed


def test_newer_windows_count_for_three_tenths() -> None:
    learner = Throughput(0.6)
    window(learner, arrivals=30, tokens_in_flight=400)
    assert window(learner, arrivals=30, tokens_in_flight=200) == pytest.approx(3 + 0.3 * 3)


@pytest.mark.parametrize("told", [{}, {"ready": 0, "waiting": 9, "arrivals": 3}, {"tokens_in_flight": 400}])
def test_nothing_is_learned_while_nothing_is_served(told: dict[str, Any]) -> None:
    assert window(Throughput(0.6), left=told.get("waiting", 0), **told) is None


def test_nothing_is_learned_of_a_window_in_which_some_waited_some_time() -> None:
    learner = Throughput(0.6)
    learner.observe(signals(0, 2, arrivals=30, tokens_in_flight=900, waiting=9))
    assert window(learner, arrivals=30, tokens_in_flight=400) is None
