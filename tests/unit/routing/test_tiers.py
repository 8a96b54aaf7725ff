"""The tier for a score."""

import pytest

from penstock.domain.routing.tiers import Condition, TierLaw, choose_tier, parse_condition


@pytest.mark.parametrize(
    ("text", "score", "holds"),
    [
        ("> 0.7", 0.7, False),
        (">0.7", 0.71, True),
        (" >= 0.7 ", 0.7, True),
        ("< 0.3", 0.3, False),
        ("<= 0.3", 0.3, True),
        ("< 1", 0.99, True),
    ],
)
def test_conditions(text: str, score: float, holds: bool) -> None:
    assert parse_condition(text).holds(score) is holds


@pytest.mark.parametrize("text", ["", "0.7", "= 0.7", "> x", "> 1.5", "> 0.7.1", "> -1", "> 0.7 and < 0.9"])
def test_other_conditions_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as `> 0\.7`"):
        parse_condition(text)


SMALL, LARGE = TierLaw("small"), TierLaw("large", Condition(">", 0.7))
FAST, BALANCED, FRONTIER = TierLaw("fast", Condition("<", 0.3)), TierLaw("balanced", Condition("<", 0.7)), TierLaw("frontier")


@pytest.mark.parametrize(("score", "name"), [(0.0, "small"), (0.7, "small"), (0.701, "large")])
def test_two_tiers_with_one_condition(score: float, name: str) -> None:
    assert choose_tier([SMALL, LARGE], score) == name


@pytest.mark.parametrize(("score", "name"), [(0.299, "fast"), (0.3, "balanced"), (0.699, "balanced"), (0.7, "frontier"), (1.0, "frontier")])
def test_three_tiers_with_the_usual_cut_offs(score: float, name: str) -> None:
    assert choose_tier([FAST, BALANCED, FRONTIER], score) == name


def test_when_nothing_holds_the_dearest_serves() -> None:
    assert choose_tier([FAST, BALANCED], 0.9) == "balanced"
    assert choose_tier([TierLaw("a"), TierLaw("b")], 0.9) == "a"


def test_no_tiers_are_an_error() -> None:
    with pytest.raises(ValueError, match="no tier"):
        choose_tier([], 0.5)
