"""Amounts over days or hours as stacked columns: the twin, without script, of the chart that a pointer can ask."""

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from penstock.console.figures.svg import across, line, rect, text, wide

HEIGHT, TOP, FOOT = 280.0, 26.0, 24.0
GAP = 0.16
"""of a column's place"""


class Series(msgspec.Struct, frozen=True):
    """One layer of the columns: a name, its class in the stylesheet, and an amount for each column."""

    name: str
    kind: str
    values: Sequence[float]


class Note(msgspec.Struct, frozen=True):
    """Something that happened at a column: a line with a letter in the figure, its words beneath."""

    column: int
    letter: str
    words: tuple[tuple[str, str | None], ...]
    """what happened, and where to look further"""


def columns(labels: Sequence[str], series: Sequence[Series], notes: Sequence[Note], title: str, desc: str) -> Markup:
    """Columns of stacked USD, the first series at the bottom. `labels` name the columns; a few of them are written."""
    totals = [sum(layer.values[index] for layer in series) for index in range(len(labels))]
    top, step, floor = round_up(max(totals, default=0)), 1 / max(len(labels), 1), HEIGHT - FOOT
    height = floor - TOP
    body = "".join(line(0, floor - height * part, "100%", floor - height * part, "grid") for part in (0.5, 1.0))
    for index, label in enumerate(labels):
        y = floor
        for layer in series:
            tall = layer.values[index] / top * height
            y -= tall
            if tall:
                told = f"{label}, {layer.name}: ${layer.values[index]:,.4g}"
                body += rect(across((index + GAP / 2) * step), y, across(step * (1 - GAP)), tall, layer.kind, told)
    body += line(0, floor, "100%", floor, "base")
    for part in (0.5, 1.0):  # above the columns, so that a full month stays readable
        body += text(0, floor - height * part - 5, f"${top * part:,.6g}", "halo")
    for index in _written(len(labels)):
        last = index == len(labels) - 1
        body += text(across(1 if last else index * step), HEIGHT - 6, labels[index], "", "end" if last else "start")
    for note in notes:
        at = across((note.column + 0.5) * step)
        body += line(at, TOP - 4, at, floor, "note") + text(at, TOP - 9, note.letter, "letter", "middle")
    return wide(HEIGHT, body, title, desc, "columns")


def _written(count: int) -> list[int]:
    """Which labels are written: the first, the last, and some between them."""
    if count < 3:
        return list(range(count))
    every = max(1, round(count / 5))
    return [*range(0, count - every + 1, every), count - 1]


def round_up(value: float) -> float:
    """The next round number: the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (int(f"{value:e}".partition("e")[2]))
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= value)
