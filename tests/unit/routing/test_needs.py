"""The rules of thumb: their cut-offs, a small error budget in every branch, and the cheapest tier that is quick enough."""

from typing import get_args

import pytest

from penstock.domain.routing.complexity import features
from penstock.domain.routing.needs import CLASSES, Class, Option, Task, class_of, place_of, quick_enough, task_of

LADDER = (Option("fast", 0.1), Option("balanced", 0.2), Option("frontier", 0.6))


@pytest.mark.parametrize(
    ("score", "wanted"), [(0.0, "fast"), (0.299, "fast"), (0.3, "balanced"), (0.699, "balanced"), (0.7, "frontier"), (1.0, "frontier")]
)
def test_the_cut_offs(score: float, wanted: Class) -> None:
    assert class_of(score, "open") == wanted


def test_a_simple_task_goes_to_the_fast_tier_up_to_the_frontier() -> None:
    assert [class_of(score, "simple") for score in (0.3, 0.699, 0.7)] == ["fast", "fast", "frontier"]


@pytest.mark.parametrize("task", get_args(Task))
@pytest.mark.parametrize("score", [0.0, 0.2, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("budget", [0.0, 0.001, 0.02])
def test_no_branch_passes_a_small_error_budget_by(task: Task, score: float, budget: float) -> None:
    assert class_of(score, task, budget) == "frontier"


def test_a_budget_just_above_the_least_is_enough() -> None:
    assert class_of(0.1, "open", 0.021) == "fast"
    assert class_of(0.5, "open", 0.021) == "balanced"


def test_a_classification_of_complexity_09_with_a_budget_of_a_thousandth_is_no_fast_one() -> None:
    assert class_of(0.9, "simple", 0.001) == "frontier"


@pytest.mark.parametrize(("tiers", "places"), [(1, (0, 0, 0)), (2, (0, 0, 1)), (3, (0, 1, 2)), (4, (0, 1, 3)), (5, (0, 2, 4))])
def test_where_a_class_stands_on_a_ladder(tiers: int, places: tuple[int, ...]) -> None:
    assert tuple(place_of(each, tiers) for each in CLASSES) == places


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Classify the sentiment of this review: I liked it.", "simple"),
        ("Extract the date: we meet on May 4th.", "simple"),
        ("Classify this: " + "word " * 600, "open"),
        ("Prove that there are infinitely many primes.", "demanding"),
        ("Explain how a heat pump works.", "demanding"),
        ("def f(x): return x\n\nWhat does it return for 3?", "code"),
        ("```\nselect * from t\n```", "code"),
        ("The integral of a polynomial is?", "maths"),
        ("Go there, and then come back, and then rest.", "steps"),
        ("Hello there!", "open"),
    ],
)
def test_the_task_that_a_text_looks_like(text: str, task: Task) -> None:
    assert task_of(features({"messages": [{"role": "user", "content": text}]})) == task


@pytest.mark.parametrize(
    ("place", "latency_s", "tier", "met"),
    [
        (0, 0.1, "fast", True),
        (1, 0.25, "balanced", True),
        (1, 0.05, "balanced", False),
        (2, 0.1, "frontier", False),  # the quick ones are not good enough
    ],
)
def test_the_cheapest_that_is_good_and_quick_enough(place: int, latency_s: float, tier: str, met: bool) -> None:
    choice = quick_enough(LADDER, place, latency_s)
    assert (choice.tier, choice.met) == (tier, met)


def test_a_dearer_tier_that_is_quicker_is_taken() -> None:
    choice = quick_enough((Option("small", 3.0), Option("large", 0.4)), 0, 0.5)
    assert (choice.tier, choice.met) == ("large", True)
    assert "large answers within 400 ms" in choice.why


def test_what_is_not_known_to_be_quick_is_not_taken_for_it() -> None:
    choice = quick_enough((Option("small", 3.0), Option("mid"), Option("large", 0.4)), 0, 0.5)
    assert choice.tier == "large"
    nothing = quick_enough((Option("small"), Option("large")), 0, 12.0)
    assert (nothing.tier, nothing.met) == ("small", False)
    assert "not known yet, so 12 s is not looked at" in nothing.why


def test_where_none_is_quick_enough_the_reason_names_what_is_known() -> None:
    assert "(p95: balanced 200 ms, frontier 600 ms)" in quick_enough(LADDER, 1, 0.05).why
