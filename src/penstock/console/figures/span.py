"""A stretch of time on a line from 0 to the end: one row of a waterfall."""

from markupsafe import Markup

from penstock.console.figures.svg import frame, rect


def span(start: float, end: float, whole: float, title: str, kind: str = "water") -> Markup:
    """From `start` to `end` of `whole`; a moment too short to be seen is drawn as a hair."""
    scale = 400 / whole if whole > 0 else 0.0
    left = min(max(start * scale, 0.0), 399.0)
    width = max(min(end * scale, 400.0) - left, 1.5)
    return frame(400, 14, rect(0, 6.5, 400, 1, "rule") + rect(left, 1, width, 12, kind), title, kind="span")
