"""Spend of a period against its limit: what was spent so far as a line, what is expected beyond it with its band, and where it crosses."""

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from penstock.console.figures.svg import across, line, n, text, wide

HEIGHT, TOP, FOOT = 172.0, 20.0, 22.0
DEPTH = HEIGHT - TOP - FOOT
SCALE = 1000.0
"""units of the drawing, which is stretched, across"""
AIR = 1.18
MOST = 3.0
"""times the limit, or the spend where that is more, that the figure reaches up to"""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What the figure shows: instants are shares of its width, amounts are in limits, so that 1 is the limit."""

    past: Sequence[tuple[float, float]]
    ahead: Sequence[tuple[float, float, float, float]]
    """instant, what is expected by then, and its band"""
    now: float
    crosses: tuple[float, str] | None
    """when the limit is expected to be passed, and its words"""
    limit: str
    begin: str
    end: str


def course(way: Way, title: str, desc: str) -> Markup:
    """The figure. Its lines are stretched to the width, its words keep their size."""
    highest = max([1.0, *(amount for _, amount in way.past), *(high for _, _, _, high in way.ahead)])
    spent = max([1.0, *(amount for _, amount in way.past)])
    top = min(highest, MOST * spent) * AIR
    level = TOP + _down(1.0, top)
    body = line(across(way.now), TOP - 2, across(way.now), HEIGHT - FOOT, "now") + _lines(way, top)
    body += line(0, HEIGHT - FOOT, "100%", HEIGHT - FOOT, "base") + line(0, level, "100%", level, "limit thin")
    is_late = way.crosses is None or way.crosses[0] > 0.5
    body += text(0 if is_late else "100%", level - 6, way.limit, "strong halo", "start" if is_late else "end")
    if way.crosses is not None:
        at, told = way.crosses
        body += f'<circle class="crossing" cx="{across(at)}" cy="{n(level)}" r="4.5"/>'
        body += text(across(at), level - 9, told, "crossed halo", _anchor(at), 0 if 0.12 < at < 0.88 else 7 if at <= 0.12 else -7)
    body += text(across(way.now), TOP - 8, "now", "", _anchor(way.now))
    body += text(0, HEIGHT - 6, way.begin) + text("100%", HEIGHT - 6, way.end, "", "end")
    return wide(HEIGHT, body, title, desc, "course")


def _lines(way: Way, top: float) -> str:
    """What is stretched: the band, the way ahead, and what was spent."""
    body = ""
    if way.ahead:
        upper = [(at, high) for at, _, _, high in way.ahead]
        lower = [(at, low) for at, _, low, _ in reversed(way.ahead)]
        body += f'<polygon class="band" points="{_points([*upper, *lower], top)}"/>'
        body += f'<polyline class="trace expected" points="{_points([(at, middle) for at, middle, _, _ in way.ahead], top)}"/>'
    if way.past:
        ground = [(way.past[-1][0], 0.0), (way.past[0][0], 0.0)]
        body += f'<polygon class="under" points="{_points([*way.past, *ground], top)}"/>'
        body += f'<polyline class="trace" points="{_points(way.past, top)}"/>'
    return (
        f'<svg class="drawing" x="0" y="{n(TOP)}" width="100%" height="{n(DEPTH)}" viewBox="0 0 {n(SCALE)} {n(DEPTH)}" '
        f'preserveAspectRatio="none">{body}</svg>'
    )


def _points(points: Sequence[tuple[float, float]], top: float) -> str:
    return " ".join(f"{n(at * SCALE)},{n(_down(amount, top))}" for at, amount in points)


def _down(amount: float, top: float) -> float:
    return DEPTH * (1 - amount / top)


def _anchor(at: float) -> str:
    return "start" if at <= 0.12 else "end" if at >= 0.88 else "middle"
