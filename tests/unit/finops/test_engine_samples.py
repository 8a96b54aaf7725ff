"""Laws of samples: counters that restart, shares of GPUs, steps of running units."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from penstock.finops.meters.samples import BRIDGE, Grid, increase, merged, p95, run_steps, within
from penstock.ports.telemetry import Series

growth = st.lists(st.integers(0, 1000), min_size=2, max_size=60)


def test_an_hour_is_read_every_half_minute() -> None:
    grid = Grid.of(1_700_000_000, 1_700_003_600)
    assert (grid.step_s, grid.count) == (30, 120)
    assert grid.at_s(grid.count) == 1_700_003_600
    series = Series({}, ((1_699_999_970.0, 1.0), (1_700_000_000.0, 2.0), (1_700_000_030.0, 3.0)))
    assert grid.samples(series) == {-1: 1.0, 0: 2.0, 1: 3.0}


def test_a_short_span_is_read_every_second_at_most() -> None:
    grid = Grid.of(100.5, 110.5)
    assert (grid.step_s, grid.count, grid.at_s(10)) == (1, 10, 110.5)


@given(growth, st.integers(1, 59))
def test_growth_adds_up_over_spans_that_follow_each_other(steps: list[int], cut: int) -> None:
    total, values = 0, []
    for step in steps:
        total += step
        values.append(float(total))
    cut = min(cut, len(values) - 1)
    whole = increase(dict(enumerate(values)))
    first = increase({index: values[index] for index in range(cut + 1)})
    second = increase({index - cut: value for index, value in enumerate(values)})
    assert whole == total - steps[0]
    assert (first or 0) + (second or 0) == whole


@given(growth, growth)
def test_a_restart_loses_nothing_that_was_read(before: list[int], after: list[int]) -> None:
    values: list[float] = []
    for life in (before, after):
        total = 0
        for step in life:
            total += step
            values.append(float(total))
    found = increase(dict(enumerate(values)))
    restarted = after[0] < sum(before)
    assert found == (sum(before) - before[0] + sum(after) if restarted else values[-1] - values[0])


def test_a_counter_that_appears_late_counts_from_its_first_reading() -> None:
    assert increase({5: 1000.0, 6: 1003.0}) == 3
    assert increase({-3: 1.0, 5: 4.0}) == 3, "its last reading before the span is its begin"
    assert increase({-3: 1.0, -2: 2.0}) is None
    assert increase({5: 1000.0}) is None
    assert increase({}) is None
    assert increase({0: 7.0, 1: 7.0}) == 0, "no work is 0, which is known"


def test_p95_is_a_reading() -> None:
    assert p95([]) is None
    assert p95([0.3]) == 0.3
    assert p95([value / 100 for value in range(1, 101)]) == 0.95
    assert p95([0.0] * 19 + [1.0]) == 0.0
    assert p95([0.0] * 18 + [1.0, 1.0]) == 1.0


def test_one_gpu_told_by_two_pods_is_one() -> None:
    assert merged([{0: 0.5, 1: 0.5}, {1: 0.5, 2: 0.7}]) == {0: 0.5, 1: 0.5, 2: 0.7}
    grid = Grid.of(0, 10)
    assert sorted(within({-1: 9.0, 0: 1.0, 9: 2.0, 10: 9.0}, grid)) == [1.0, 2.0]


HOUR = Grid.of(0, 3600)


def test_runs_are_steps() -> None:
    counts = dict.fromkeys(range(-20, 40), 2) | dict.fromkeys(range(60, 121), 3)
    assert run_steps(counts, set(), HOUR) == ((0, 2), (1_200_000_000_000, 0), (1_800_000_000_000, 3))
    assert run_steps({}, set(), HOUR) == ((0, 0),), "none of them, and somebody looked"


def test_what_nobody_saw_is_unknown() -> None:
    counts = dict.fromkeys(range(-20, 121), 2)
    short, long = set(range(50, 50 + BRIDGE)), set(range(50, 51 + BRIDGE))
    assert run_steps(counts, short, HOUR) == ((0, 2),)
    assert run_steps(counts, {0, 1, 119, 120}, HOUR) is None, "nothing after its last reading says that they ran on"
    assert run_steps(counts, {0, 1, 118, 119}, HOUR) == ((0, 2),), "what lies around the hour helps"
    assert run_steps(counts, long, HOUR) is None
    changed = counts | dict.fromkeys(range(60, 121), 1)
    assert run_steps(changed, short, HOUR) is None, "2 before and 1 after: when it changed is unknown"
    assert run_steps(counts, set(range(-20, 121)), HOUR) is None


@given(st.lists(st.integers(0, 3), min_size=141, max_size=141), st.sets(st.integers(-20, 120), max_size=30))
def test_steps_say_what_was_seen(values: list[int], unseen: set[int]) -> None:
    counts = dict(zip(range(-20, 121), values, strict=True))
    steps = run_steps(counts, unseen, HOUR)
    if steps is None:
        assert unseen
        return
    assert steps[0][0] == 0
    assert all(before[1] != after[1] for before, after in itertools.pairwise(steps))
    for index in set(range(120)) - unseen:
        assert next(units for since, units in reversed(steps) if since <= index * 30 * 10**9) == counts[index]
