"""How much of something was at work over time: a column for each hour or day, from nothing to all of it."""

from collections.abc import Sequence

from markupsafe import Markup

from penstock.console.figures.svg import across, line, rect, text, wide

HEIGHT, TOP, FOOT = 96.0, 8.0, 20.0
FLOOR = HEIGHT - FOOT
GAP = 0.12
"""of a column's place"""


def levels(steps: Sequence[tuple[str, float | None, str]], mark: tuple[float, str] | None, title: str, desc: str) -> Markup:
    """Columns of shares (0 to 1): (label, share, what is told of it); unknown draws none. `mark`: a level across all, and its name."""
    whole, step = FLOOR - TOP, 1 / max(len(steps), 1)
    body = rect(0, TOP, "100%", whole, "bed")
    for index, (_, share, told) in enumerate(steps):
        x, width = across((index + GAP / 2) * step), across(step * (1 - GAP))
        if share is not None:
            tall = max(min(share, 1.0) * whole, 1.0 if share else 0.0)
            body += rect(x, FLOOR - tall, width, tall, "water", told)
    body += line(0, FLOOR, "100%", FLOOR, "base")
    if mark is not None and mark[0] > 0:
        y = FLOOR - min(mark[0], 1.0) * whole
        body += line(0, y, "100%", y, "mark dashed") + text("100%", y - 4 if y > TOP + 12 else y + 14, mark[1], "halo", "end")
    body += text(0, TOP + 11, "100\u202f%", "halo")
    if steps:
        body += text(0, HEIGHT - 5, steps[0][0]) + (text("100%", HEIGHT - 5, steps[-1][0], "", "end") if len(steps) > 1 else "")
    return wide(HEIGHT, body, title, desc, "levels")
