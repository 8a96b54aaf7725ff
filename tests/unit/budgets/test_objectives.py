"""Objectives: when they count as missed, that no sequence of readings makes them flap, and that responses always end."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.budgets.objectives import (
    GOOD_NEEDED,
    MIN_COST,
    MIN_REQUESTS,
    Course,
    Pace,
    Reading,
    Verdict,
    hold_ns,
    judge,
    pace,
)

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
TARGET = Fraction(4_000_000)
"""nano-USD per 1,000 tokens"""
SIX_HOURS = pace(6 * HOUR)
NOW = 1_790_000_000 * SECOND


def reading(burn: float | None, requests: int = 100, unpriced: int = 0) -> Reading:
    """One of a hundred thousand tokens, at this burn rate."""
    return Reading(None if burn is None else round(burn * 100) * 4_000_000, 100_000, requests, unpriced)


NOTHING = Reading(None, 0, 0)


def judged(long: Reading, short: Reading, course: Course | None = None, now: int = NOW, times: Pace = SIX_HOURS) -> Verdict:
    return judge(course or Course(), times, TARGET, long, short, now)


@pytest.mark.parametrize(
    ("window", "short", "change"),
    [
        (6 * HOUR, 30 * MINUTE, 5 * MINUTE),
        (1 * HOUR, 5 * MINUTE, 5 * MINUTE),
        (30 * MINUTE, 5 * MINUTE, 5 * MINUTE),
        (MINUTE, 15 * SECOND, 15 * SECOND),
    ],
)
def test_times_follow_the_window(window: int, short: int, change: int) -> None:
    times = pace(window)
    assert (times.short_ns, times.change_ns, times.begins_ns) == (short, change, max(window // 4, change))


@pytest.mark.parametrize(
    ("long", "short", "state"),
    [
        (reading(1.1), reading(1.1), "missed"),
        (reading(1.1), reading(1.0), "met"),
        (reading(1.0), reading(9.0), "met"),
        (reading(1.1), NOTHING, "met"),
        (reading(9.0, requests=MIN_REQUESTS - 1), reading(9.0), "no data"),
        (reading(9.0, requests=MIN_REQUESTS), reading(9.0), "missed"),
        (Reading(None, 100_000, 100), reading(9.0), "no data"),
        (NOTHING, NOTHING, "no data"),
        (Reading(MIN_COST - 1, 100, 100), Reading(MIN_COST - 1, 100, 100), "met"),
    ],
)
def test_a_miss_shows_in_both_windows_and_matters(long: Reading, short: Reading, state: str) -> None:
    verdict = judged(long, short)
    assert verdict.state == state
    assert verdict.change == ("begin" if state == "missed" else None)


def test_responses_end_after_two_clear_evaluations_not_before_they_stood_a_while() -> None:
    course = judged(reading(2.0), reading(2.0)).course
    course = judged(reading(1.9), reading(0.5), course, NOW + MINUTE).course
    early = judged(reading(1.8), reading(0.5), course, NOW + 2 * MINUTE)
    assert early.change is None and early.course.good == GOOD_NEEDED
    late = judged(reading(1.7), reading(0.5), early.course, NOW + 6 * MINUTE)
    assert late.change == "end" and not late.course.acting


@pytest.mark.parametrize(
    ("long", "short", "ends"),
    [
        (reading(1.9), reading(0.89), True),
        (reading(1.9), reading(0.9), False),
        (reading(2.1), reading(0.5), False),
        (reading(0.9), reading(0.5), True),
        (reading(1.9), NOTHING, True),
        (reading(1.9), Reading(None, 0, 0, unpriced=3), False),
        (NOTHING, Reading(None, 0, 0, unpriced=3), True),
    ],
)
def test_what_lets_responses_end(long: Reading, short: Reading, ends: bool) -> None:
    course = judged(reading(2.0), reading(2.0)).course
    course = judged(long, short, course, NOW + 10 * MINUTE).course
    after = long if long.cost is None else Reading(long.cost - (1 if ends else -1), long.tokens, long.requests)
    assert (judged(after, short, course, NOW + 20 * MINUTE).change == "end") is ends


def test_what_begins_again_soon_stands_twice_as_long() -> None:
    course, now = Course(), NOW
    held = []
    for _ in range(9):
        course = judged(reading(2.0), reading(2.0), course, now).course
        assert course.acting
        held.append(hold_ns(course, SIX_HOURS))
        for _ in range(GOOD_NEEDED):
            now += held[-1]
            course = judged(reading(0.5), reading(0.5), course, now).course
        assert not course.acting
        now += SIX_HOURS.begins_ns
    assert held == [min(5 * MINUTE << flaps, 6 * HOUR) for flaps in range(9)]
    calm = judged(reading(2.0), reading(2.0), course, now + 7 * HOUR)
    assert calm.course.flaps == 0


def test_a_clock_that_was_set_back_holds_nothing_for_longer() -> None:
    course = judged(reading(2.0), reading(2.0)).course
    earlier = NOW - 30 * HOUR
    for _ in range(GOOD_NEEDED):
        course = judged(reading(0.5), reading(0.5), course, earlier).course
    assert not course.acting


READINGS = st.one_of(
    st.just(NOTHING),
    st.builds(reading, st.none() | st.floats(0, 5), st.integers(0, 200), st.integers(0, 3)),
    st.builds(reading, st.sampled_from([0.5, 0.89, 0.91, 1.0, 1.01, 3.0])),
)
STEPS = st.lists(st.tuples(st.integers(1, 40 * 60), READINGS, READINGS), max_size=60)
WINDOWS = st.sampled_from([MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, 72 * HOUR])


@given(WINDOWS, STEPS)
def test_no_sequence_of_readings_makes_it_flap(window: int, steps: list[tuple[int, Reading, Reading]]) -> None:
    times, course, now = pace(window), Course(), NOW
    changes: list[tuple[str, int]] = []
    for seconds, long, short in steps:
        now += seconds * SECOND
        verdict = judge(course, times, TARGET, long, short, now)
        assert verdict.course.acting == (course.acting if verdict.change is None else verdict.change == "begin")
        course = verdict.course
        if verdict.change is not None:
            changes.append((verdict.change, now))
    assert [change for change, _ in changes] == ["begin", "end"] * (len(changes) // 2) + ["begin"] * (len(changes) % 2)
    times_of = [at for _, at in changes]
    assert all(later - earlier >= times.change_ns for earlier, later in itertools.pairwise(times_of))
    begins = times_of[::2]
    assert all(later - earlier >= times.begins_ns for earlier, later in itertools.pairwise(begins))


@given(WINDOWS, STEPS, st.sampled_from([reading(0.5), NOTHING]))
def test_whatever_happened_before_responses_end_when_all_is_well(
    window: int, steps: list[tuple[int, Reading, Reading]], calm: Reading
) -> None:
    times, course, now = pace(window), Course(), NOW
    for seconds, long, short in steps:
        now += seconds * SECOND
        course = judge(course, times, TARGET, long, short, now).course
    for _ in range(GOOD_NEEDED + 1):
        now += hold_ns(course, times)
        course = judge(course, times, TARGET, calm, calm, now).course
    assert not course.acting


def test_a_lasting_reason_keeps_the_response_standing_as_much_as_the_promise_needs() -> None:
    """Traffic that is dear whenever nothing stands, cheap while something does: two days of it, evaluated every 20 seconds."""
    times, tick = SIX_HOURS, 20 * SECOND
    spent = [0]
    course, changes, acted = Course(), 0, 0
    for step in range(1, 2 * 24 * 180):
        spent.append(spent[-1] + (500_000 if course.acting else 8_000_000))
        long, short = (_over(spent, step, span // tick) for span in (times.window_ns, times.short_ns))
        verdict = judge(course, times, TARGET, long, short, NOW + step * tick)
        course, changes, acted = verdict.course, changes + (verdict.change is not None), acted + verdict.course.acting
    assert changes <= 2 * (2 * 24 / 1.5) + 1
    assert TARGET / 2 < Fraction(spent[-1], step) < TARGET, "on the mean of the two days the promise is kept, and not by far"
    assert 0.5 < acted / step < 0.8


def _over(spent: list[int], step: int, ticks: int) -> Reading:
    begin = max(0, step - ticks)
    return Reading(spent[step] - spent[begin], (step - begin) * 1_000, step - begin)
