"""The search for the smallest fleet, the busiest hour, and interruptions: with made-up step times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.capacity.replaying import MOST_SOUGHT, Spot, busiest, fitting, interruptions, needed, room, smallest
from penstock.domain.simulation.replica import ReplicaKind, StepTimes
from penstock.domain.simulation.trace import Trace

KIND = ReplicaKind(
    name="one", times=StepTimes(np.linspace(0.02, 0.08, 257), 1e-8, 1e-5, 1e-10), kv_tokens=100_000, max_sequences=256,
)  # fmt: skip


def even(rates: list[float], window_s: float = 3600.0) -> Trace:
    """So many requests a second in each window, evenly."""
    arrivals = np.concatenate([at * window_s + np.arange(int(rate * window_s)) / rate for at, rate in enumerate(rates) if rate])
    return Trace(arrivals, np.full(len(arrivals), 500), np.full(len(arrivals), 100))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_the_smallest_that_does(least: int, most: int, enough: int) -> None:
    most = max(least, most)
    tried: list[int] = []

    def meets(replicas: int) -> bool:
        tried.append(replicas)
        return replicas >= enough

    assert smallest(meets, least, most) == (max(least, enough) if enough <= most else None)
    assert len(tried) == len(set(tried)) and all(least <= each <= most for each in tried)


def test_the_busiest_hour_begins_at_0() -> None:
    part = busiest(even([1, 4, 2]), KIND)
    assert part.requests == 4 * 3600 and part.arrival_s[0] == 0 and part.duration_s < 3600
    short = even([1], 600)
    assert busiest(short, KIND).requests == short.requests
    assert busiest(even([20, 1]), KIND).requests == MOST_SOUGHT


def test_what_is_needed_follows_the_arrivals() -> None:
    load = needed(even([2, 6]), KIND, np.array([0.0, 3600.0, 7200.0]))
    assert load[1] == pytest.approx(3 * load[0], rel=0.01) and load[0] > 0


def test_what_no_replica_holds_is_no_work() -> None:
    both = even([2])
    long = np.arange(both.requests) % 2 == 0
    mixed = both._replace(input_tokens=np.where(long, 200_000, both.input_tokens))
    edges = np.array([0.0, 3600.0])
    assert (fitting(mixed, KIND) == ~long).all() and room(KIND) == 100_000
    assert needed(mixed, KIND, edges)[0] == pytest.approx(needed(both, KIND, edges)[0] / 2, rel=1e-3)


def test_interruptions_come_as_often_as_is_said() -> None:
    found = interruptions(Spot(3600.0, 300.0), 10, 100 * 3600.0, seed=1)
    assert 850 < len(found) < 1150
    assert found == interruptions(Spot(3600.0, 300.0), 10, 100 * 3600.0, seed=1)
    assert all(each.until_s == each.at_s + 300 and 0 <= each.at_s < 360_000 for each in found)
