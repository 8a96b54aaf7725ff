"""Which stages a request really goes through, and who is asked when none of their answers is kept."""

import pytest

from penstock.domain.routing.course import Course, Stage
from penstock.gateway.exchange import Exchange, begin
from penstock.gateway.routing.path import path_of
from penstock.gateway.targets import Candidate, Target
from penstock.wire.message import Request

GATE = Stage("gate", ("small", "mid"), {"agree": 1.0})
SMALL, MID = (Stage("cascade", (tier,), {"confident": 1.0}, 0.8) for tier in ("small", "mid"))
LARGE = Stage("direct", ("large",))


def tier(name: str, model: str = "") -> Candidate:
    return Candidate(model or f"{name}-model", "here", name, name, None, None, None, None, None)


def asked(*stages: Stage, plan: str, fallback: str = "") -> Exchange:
    """A request with this course, whose plan has these tiers."""
    x = begin("chat.completions", Request("POST", "/", "/", "", [], b""), None)  # type: ignore[arg-type]
    x.course = Course(stages)
    x.plan = tuple(tier(name) for name in plan.split())
    x.target = Target("r", "cascade", (), (), tuple(tier(name) for name in fallback.split()), True, True, None, "", ())
    return x


def shape(x: Exchange) -> tuple[list[str], str] | None:
    path = path_of(x)
    if path is None:
        return None
    return ["+".join(each.label for each in leg.candidates) for leg in path.legs], " ".join(each.label for each in path.finals)


@pytest.mark.parametrize(
    ("stages", "plan", "fallback", "expected"),
    [
        ((SMALL, LARGE), "large small", "", (["small"], "large")),
        ((GATE, LARGE), "large small mid", "", (["small+mid"], "large")),
        ((SMALL, MID, LARGE), "large small mid", "", (["small", "mid"], "large")),
        ((SMALL, LARGE), "large small spare", "spare", (["small"], "large spare")),
        ((SMALL, LARGE), "large small", "small", (["small"], "large small")),
        ((GATE, LARGE), "large small", "", ([], "large")),
        ((SMALL, LARGE), "small", "", ([], "small")),
        ((SMALL, LARGE), "spare", "spare", ([], "spare")),
        ((SMALL, MID), "small mid", "", (["small"], "mid")),
        ((LARGE,), "large small", "", None),
    ],
)
def test_paths(stages: tuple[Stage, ...], plan: str, fallback: str, expected: tuple[list[str], str] | None) -> None:
    assert shape(asked(*stages, plan=plan, fallback=fallback)) == expected


def test_nothing_is_judged_without_a_course() -> None:
    x = asked(SMALL, LARGE, plan="large small")
    x.course = None
    assert path_of(x) is None
