"""One series under watch: its last cells beside what was expected of them, and the scores it has strayed by without an anomaly."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from penstock.domain.budgets.baseline import METRICS, NOTHING, Cell, Series, Usual
from penstock.domain.budgets.deviations import Deviation, Expected, deviations

Pair = tuple[float, ...]
"""a `Cell` and what was `Expected` of it, in one"""
WIDTH: Final = len(NOTHING)
COST: Final = 1
EXPECTED_COST: Final = WIDTH + 1


def cost_of(pair: Pair) -> float:
    return pair[COST]


class Node:
    """A series and its last cells."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.cells: deque[Pair] = deque(maxlen=12)
        """what was and what was expected, the newest last"""
        self.around: list[Usual | None] = [None, None, None]
        """the hour before, this one, the next"""
        self.today = dict.fromkeys(METRICS, 0.0)
        self.days: deque[dict[str, float]] = deque(maxlen=7)
        self.learned = dict.fromkeys(METRICS, 0.0)
        """the second largest score of the last days without an anomaly"""

    def turn(self, hour: int) -> None:
        self.series.fit(hour)
        following = self.series.usual(hour + 1)
        here = self.around[2] or self.series.usual(hour)
        self.around = [self.around[1] or here, here, following]

    def expected(self, part: float) -> Expected | None:
        """Of a full hour around an instant, `part` of the hour in: that of the hour, or, where the hour beside it is busier, of the
        straight line from the middle of one to that of the other."""
        before, here, after = self.around
        if before is None or here is None or after is None:
            return None
        other, weight = (before, 0.5 - part) if part < 0.5 else (after, part - 0.5)
        pairs = ((here.requests, other.requests), (here.cost, other.cost), (here.lost, other.lost))
        return Expected(*[max(own, own + (beside - own) * weight) for own, beside in pairs])

    def end_day(self) -> None:
        self.days.append(self.today)
        self.today = dict.fromkeys(METRICS, 0.0)
        if len(self.days) >= 3:
            self.learned = {metric: sorted(day[metric] for day in self.days)[-2] for metric in METRICS}

    def told(self, length: int) -> list[Deviation]:
        """What the last `length` cells say, taken together."""
        return [] if len(self.cells) < length else self.of(list(islice(reversed(self.cells), length)))

    def of(self, pairs: Sequence[Pair]) -> list[Deviation]:
        """What some cells say, taken together."""
        usual = self.around[1]
        if usual is None or not pairs:
            return []
        both = [sum(column) for column in zip(*pairs, strict=True)]
        if not both[0]:
            return []
        return list(deviations(Cell(*both[:WIDTH]), Expected(*both[WIDTH:]), usual, self.series.spreads, self.series.unit))

    def score(self, pairs: Sequence[Pair], metric: str) -> float:
        return next((each.score for each in self.of(pairs) if each.metric == metric), 0.0)

    def push(self, told: Sequence[Cell], part: float, cells: int) -> None:
        """The newest cell joins, `part` of an hour of so many `cells` in; those before it are put right."""
        hourly = self.expected(part)
        expected = Expected() if hourly is None else (hourly.requests / cells, hourly.cost / cells, hourly.lost / cells)
        for back, cell in enumerate(reversed(told[:-1])):
            if back < len(self.cells):
                self.cells[-1 - back] = (*cell, *self.cells[-1 - back][WIDTH:])
        self.cells.append((*told[-1], *expected))
