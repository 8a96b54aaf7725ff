"""What a course would have made of a request that all tiers have answered."""

import pytest

from penstock.domain.ledger.routed import Observation, Seen
from penstock.domain.routing.course import Course, Stage, by_signals
from penstock.domain.routing.replaying import replayed

TIERS = ("small", "mid", "large")
LAST = Stage("direct", ("large",))


def observed(*, agree: bool = True, confidence: float | None = 0.9, right: tuple[float | None, ...] = (0.0, 1.0, 1.0)) -> Observation:
    answers = ("a", "a" if agree else "b", "b")
    seen = tuple(
        Seen(tier=tier, quality=quality, cost=cost, answer=answer, confidence=confidence)
        for tier, quality, cost, answer in zip(TIERS, right, (1, 3, 30), answers, strict=True)
    )
    return Observation(id="r", at_ns=1, route="auto", tag="chat", seen=seen, judge="check")


def test_a_tier_alone() -> None:
    found = replayed(Course((Stage("direct", ("small",)),)), observed())
    assert found is not None and (found.quality, found.cost, found.reached, found.reference_quality) == (0.0, 1, (1.0,), 1.0)


def test_a_kept_answer_ends_the_course_and_another_pays_for_all_calls() -> None:
    gate = Course((Stage("gate", ("small", "mid"), {"agree": 1.0}), LAST))
    kept, escalated = replayed(gate, observed()), replayed(gate, observed(agree=False))
    assert kept is not None and escalated is not None
    assert (kept.quality, kept.cost, kept.reached) == (0.0, 4, (1.0, 0.0))
    assert (escalated.quality, escalated.cost, escalated.reached) == (1.0, 34, (1.0, 1.0))


def test_a_coin_is_taken_by_its_mean() -> None:
    found = replayed(Course((Stage("cascade", ("small",), {"confident": 0.4}, 0.85), LAST)), observed())
    assert found is not None
    assert found.quality == pytest.approx(0.6) and found.cost == pytest.approx(1 + 0.6 * 30) and found.reached == (1.0, 0.6)


def test_every_stage_is_paid_by_how_often_it_is_reached() -> None:
    stages = (Stage("cascade", ("small",), {"confident": 0.5}, 0.85), Stage("cascade", ("mid",), {"confident": 0.5}, 0.85), LAST)
    found = replayed(Course(stages), observed(right=(0.0, 0.5, 1.0)))
    assert found is not None
    assert found.reached == (1.0, 0.5, 0.25)
    assert found.cost == pytest.approx(1 + 0.5 * 3 + 0.25 * 30) and found.quality == pytest.approx(0.25 * 0.5 + 0.25 * 1.0)


def test_the_last_stage_is_kept_whatever_its_answer_shows() -> None:
    found = replayed(Course((Stage("cascade", ("small",), {}, 0.85),)), observed(confidence=0.1))
    assert found is not None and (found.quality, found.cost) == (0.0, 1)


def test_what_a_stage_goes_by_has_to_be_known() -> None:
    cascade = Course(by_signals("cascade", ("small", "large"), 0.85))
    assert replayed(cascade, observed(confidence=None)) is None


def test_an_unknown_quality_is_unknown_only_where_it_is_served() -> None:
    gate = Course((Stage("gate", ("small", "mid"), {"agree": 1.0}), LAST))
    served, passed_by = replayed(gate, observed(right=(None, 1.0, 1.0))), replayed(gate, observed(agree=False, right=(None, 1.0, 1.0)))
    assert served is not None and served.quality is None
    assert passed_by is not None and passed_by.quality == 1.0


def test_courses_without_evidence() -> None:
    assert by_signals("fixed", TIERS, 0.85) == (Stage("direct", ("small",)),)
    assert [stage.tiers for stage in by_signals("cascade", TIERS, 0.85)] == [("small",), ("mid",), ("large",)]
    assert [stage.tiers for stage in by_signals("gate", TIERS, 0.85)] == [("small", "mid"), ("large",)]
    assert by_signals("gate", TIERS[1:], 0.85) == (LAST,), "a gate of two tiers would have nothing to go on to"
    assert by_signals("learned", TIERS, 0.85) == (LAST,)
