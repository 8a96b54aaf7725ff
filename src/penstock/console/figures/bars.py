"""Shares as bars: one share of a whole, or the parts of a whole side by side."""

from collections.abc import Sequence

from markupsafe import Markup

from penstock.console.figures.svg import frame, rect


def bar(share: float | None, title: str, kind: str = "water") -> Markup:
    """One share (0 to 1) of a hairline; unknown draws the hairline alone."""
    body = rect(0, 3.5, 100, 1, "rule")
    if share:
        body += rect(0, 0, max(min(share, 1), 0.005) * 100, 8, kind)
    return frame(100, 8, body, title, kind="bar")


def stack(parts: Sequence[tuple[str, float, str]], title: str, desc: str = "") -> Markup:
    """Parts of a whole: (what it is, share, class), from left to right."""
    body, x = "", 0.0
    for number, (label, share, kind) in enumerate(parts, 1):
        width = share * 400
        gap = 1 if number < len(parts) else 0
        body += rect(x, 0, max(width - gap, 0.5), 14, kind, label)
        x += width
    return frame(400, 14, body, title, desc, kind="stack")
