"""Spend against a limit, as a staff gauge at a river: graduated, with the marks where somebody is told, and where the pace leads."""

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from penstock.console.figures.svg import across, line, rect, text, wide

HEIGHT, TOP, DEPTH = 78.0, 22.0, 30.0
BOTTOM = TOP + DEPTH
MOST = 2.0
"""times the limit that a gauge shows"""
AIR = 1.02
"""the gauge ends a little beyond what it shows"""


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What a staff gauge shows; shares are of the limit, None is unknown."""

    share: float | None
    elapsed: float | None
    """share of the period that is over: where an even spend would stand; None where the period rolls"""
    forecast: float | None
    """where the pace leads at the end of the period"""
    marks: Sequence[float]
    """shares at which somebody is told"""


def gauge(level: Level, title: str, desc: str) -> Markup:
    """The gauge; it reaches beyond the limit when the spend or its pace does."""
    share, forecast = min(level.share or 0.0, MOST), min(level.forecast or 0.0, MOST)
    scale = 1 / (max(1.0, share, forecast) * AIR)
    body = rect(0, TOP, across(scale), DEPTH, "bed")
    body += rect(0, TOP, across(min(share, 1) * scale), DEPTH, "water")
    if forecast > share:
        body += rect(across(share * scale), TOP + 0.5, across((forecast - share) * scale), DEPTH - 1, "ahead")
    if share > 1:
        body += rect(across(scale), TOP, across((share - 1) * scale), DEPTH, "alarm")
    for twentieth in range(1, 20):
        high = 10 if twentieth % 2 == 0 else 5
        body += line(across(twentieth / 20 * scale), BOTTOM - high, across(twentieth / 20 * scale), BOTTOM, "tick")
    for mark in level.marks:
        if mark < 1:
            at, passed = across(mark * scale), share >= mark
            body += line(at, TOP - 5, at, BOTTOM, "mark passed" if passed else "mark")
            body += text(at, TOP - 9, f"{mark * 100:.3g}", "strong" if passed else "", "middle")
    body += line(across(scale), TOP - 12, across(scale), BOTTOM + 6, "limit")
    body += text(across(scale), BOTTOM + 20, "limit", "strong", "end")
    if level.elapsed is not None:
        body += _pointer(level.elapsed, scale)
    return wide(HEIGHT, body, title, desc, "gauge")


def _pointer(elapsed: float, scale: float) -> str:
    """A small triangle under the gauge, with its words on the side that has room."""
    at = across(elapsed * scale)
    arrow = f'<svg class="arrow" x="{at}" y="{BOTTOM + 4:.0f}"><path class="pointer" d="M0 0l-5 8h10z"/></svg>'
    words = text(at, BOTTOM + 20, "an even spend", "", "end", -9) if elapsed > 0.4 else text(at, BOTTOM + 20, "an even spend", "", dx=9)
    return arrow + words
