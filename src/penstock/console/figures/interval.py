"""What was measured, with what it may be as well, against a limit: a rule from 0 on, a band, a needle."""

import msgspec
from markupsafe import Markup

from penstock.console.figures.svg import across, line, rect, text, wide
from penstock.console.words import percent

HEIGHT, TOP, DEPTH = 62.0, 20.0, 16.0
BOTTOM = TOP + DEPTH
AIR = 1.08
"""the rule ends a little beyond what it shows"""


class Interval(msgspec.Struct, frozen=True):
    """A share as it was measured, the least and the most that it may be, and the most that it ought to be (None: nothing is)."""

    estimate: float
    low: float
    high: float
    limit: float | None
    said: str = "measured"
    """how the estimate is known"""
    limit_said: str = "promised at most"


def interval(shown: Interval, title: str, desc: str) -> Markup:
    """The figure; what of the band lies beyond the limit has the colour of alarms."""
    limit = shown.limit
    scale = 1 / (max(shown.high, limit or 0.0, 1e-6) * AIR)
    body = rect(0, TOP, "100%", DEPTH, "bed")
    inside = shown.high if limit is None else min(shown.high, max(limit, shown.low))
    body += rect(across(shown.low * scale), TOP, across((inside - shown.low) * scale), DEPTH, "w1")
    if inside < shown.high:
        body += rect(across(inside * scale), TOP, across((shown.high - inside) * scale), DEPTH, "alarm pale")
    at = across(shown.estimate * scale)
    beyond = limit is not None and shown.estimate > limit
    body += line(at, TOP - 4, at, BOTTOM + 4, "limit")
    body += _beneath(shown.estimate * scale, f"{shown.said} {percent(shown.estimate, 2)}", "alarm" if beyond else "strong")
    if limit is not None:
        body += line(across(limit * scale), TOP - 4, across(limit * scale), BOTTOM + 4, "mark passed")
        anchor = "end" if limit * scale > 0.5 else "start"
        body += text(across(limit * scale), TOP - 8, f"{shown.limit_said} {percent(limit, 2)}", "", anchor)
    return wide(HEIGHT, body, title, desc, "interval")


def _beneath(share: float, words: str, kind: str) -> str:
    """Words under a place, on the side that has room."""
    return text(across(share), BOTTOM + 19, words, kind, "end" if share > 0.5 else "start")
