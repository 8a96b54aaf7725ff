"""`spec.behavior`: how fast an autoscaler may go, and how long it hesitates."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.simulation.scaling.behaviour import DEFAULT, Behaving, Behaviour, Rules, Step
from penstock.domain.simulation.scaling.keda import ARTICLE
from tests.unit.simulation.scaling.told import changes

TICK_S = 15.0


def gone(behaviour: Behaviour, start: int, wanted: list[int]) -> list[int]:
    behaving, replicas, counts = Behaving(behaviour), start, []
    for number, want in enumerate(wanted):
        replicas = behaving.limited(want, replicas, number * TICK_S)
        counts.append(replicas)
    return counts


def test_down_a_quarter_a_minute_after_ten_minutes() -> None:
    counts = gone(ARTICLE, 20, [20, *[1] * 80])
    assert changes(counts) == [20, 15, 11, 8, 6, 4, 3, 2, 1]
    at = [counts.index(count) for count in changes(counts)[1:]]
    assert at[0] * TICK_S == 600 and {after - before for before, after in pairwise(at)} == {4}


def test_up_four_pods_a_minute_after_half_a_minute() -> None:
    counts = gone(ARTICLE, 1, [1, *[20] * 30])
    assert changes(counts) == [1, 5, 9, 13, 17, 20]
    assert counts.index(5) * TICK_S == 30


def test_a_short_dip_is_not_followed() -> None:
    assert gone(DEFAULT, 8, [8, 2, 2, 2, 8] * 10) == [8] * 50
    assert gone(DEFAULT, 8, [8] + [2] * 20)[-1] == 2


def test_kubernetes_doubles_or_adds_four_whichever_is_more() -> None:
    assert gone(DEFAULT, 1, [100] * 6) == [5, 10, 20, 40, 80, 100]


def test_min_takes_the_smaller_step_and_no_step_stands_still() -> None:
    slow = Rules(window_s=0, steps=(Step("Percent", 100, 15), Step("Pods", 1, 15)), select="Min")
    assert gone(Behaviour(slow, slow), 8, [20, 20, 0]) == [9, 10, 9]
    still = Rules(window_s=0, steps=())
    assert gone(Behaviour(still, still), 8, [20, 0]) == [8, 8]


def test_steps_within_a_period_are_counted_together() -> None:
    four = Rules(window_s=0, steps=(Step("Pods", 4, 60),))
    assert gone(Behaviour(four, four), 1, [3, 20, 20, 20, 20, 20]) == [3, 5, 5, 5, 7, 9]


@given(st.integers(0, 40), st.lists(st.integers(0, 40), min_size=1, max_size=40))
def test_never_past_what_was_wanted_within_the_windows(start: int, wanted: list[int]) -> None:
    counts = [start, *gone(ARTICLE, start, wanted)]
    asked = [start, *wanted]
    for at, (before, count) in enumerate(pairwise(counts), 1):
        assert min(before, max(asked[max(0, at - 39) : at + 1])) <= count <= max(before, asked[at])
