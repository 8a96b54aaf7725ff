"""Tables of graded answers: a line for each request, with what every tier made of it. They are traffic and labels at once.

A line is `{"id", "task", "prompt", "m": {tier or model: {"q": quality 0 to 1, "c": USD, "a": answer}}}`; `task` is its tag, `prompt` and
`a` are only needed where answers are compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from penstock.domain.ledger.routed import Observation, Seen
from penstock.domain.routing.agreement.keys import answer_key
from penstock.domain.units import NANO_PER_USD
from penstock.finops.routing.traffic import RouteTraffic, Traffic

LINE_FORM = '{"id", "task", "m": {tier: {"q": 0.9, "c": 0.0002, "a": "42"}}}'


class TableError(ValueError):
    """A table that cannot be read; the message names the line, `hint` its form."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.hint = f"a line is {LINE_FORM}; see `penstock route try --help`"


class Cell(msgspec.Struct, frozen=True):
    """What one tier made of a request."""

    q: float | None = None
    c: float | None = None
    a: str | int | float | bool | None = None


class Line(msgspec.Struct, frozen=True):
    """One request."""

    id: str
    m: dict[str, Cell]
    task: str | None = None
    prompt: str = ""


def read_table(path: Path) -> list[Line]:
    """The lines of a file. Raises `TableError` for one that is no such line, `OSError` where it cannot be read."""
    lines: list[Line] = []
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.DecodeError as problem:
                raise TableError(f"{path}:{number}: {problem}") from problem
            for name, cell in line.m.items():
                if cell.q is not None and not 0 <= cell.q <= 1:
                    raise TableError(f"{path}:{number}: the quality of `{name}` is {cell.q:g}, not between 0 and 1")
                if cell.c is not None and cell.c < 0:
                    raise TableError(f"{path}:{number}: the cost of `{name}` is {cell.c:g}, below 0")
            lines.append(line)
    return lines


def graded(lines: Iterable[Line], route: str, models: Mapping[str, str]) -> tuple[tuple[Observation, ...], int]:
    """Labels of the lines on which all tiers were graded, and how many lines lack one. `models`: tier -> model, cheap to dear."""
    kept: list[Observation] = []
    lacking = 0
    for at, line in enumerate(lines):
        cells = [(tier, line.m.get(tier, line.m.get(model))) for tier, model in models.items()]
        seen = [_seen(line, tier, cell) for tier, cell in cells if cell is not None and cell.q is not None]
        if len(seen) < len(models):
            lacking += 1
            continue
        kept.append(Observation(id=line.id, at_ns=at, route=route, tag=line.task or "unknown", seen=tuple(seen), judge="table"))
    return tuple(kept), lacking


def _seen(line: Line, tier: str, cell: Cell) -> Seen:
    key = None if cell.a is None else answer_key(str(cell.a), line.prompt or None)
    return Seen(tier=tier, quality=cell.q, cost=None if cell.c is None else round(cell.c * NANO_PER_USD), answer=key)


def traffic_of(labels: Sequence[Observation]) -> RouteTraffic:
    """The same requests as traffic that was not paid for; those of which the cost of a tier is unknown are not priced."""
    tags: dict[str, Traffic] = {}
    for each in labels:
        of = tags.setdefault(each.tag, Traffic())
        of.requests += 1
        costs = {seen.tier: seen.cost for seen in each.seen if seen.cost is not None}
        if len(costs) == len(each.seen):
            of.priced += 1
            for tier, cost in costs.items():
                of.on[tier] = of.on.get(tier, 0) + cost
    return RouteTraffic(tags, whole=True)
