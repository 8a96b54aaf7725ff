"""What is usual for a series of usage: its hours of the last weeks, what is expected of an hour, and how far hours stray from that.

Counts (requests, spend, lost spend) have a rhythm: the usual hour is the median of that hour on days of its kind (Monday to Friday, or
Saturday and Sunday), and of that hour of the week once two weeks are known, moved to the level of the last days. While fewer than two
days of a kind are known, the last hours stand for it, and only a leap is told from a morning. Ratios (cost per token, tokens per request,
share of a cache) are medians over the days as well. Hours are numbered since 1970 in UTC; hours of an anomaly are left out.

How far counts stray: variance of the square root = (own + common x expected) / 4, where `own` is what counting alone brings (1 for
Poisson, more where requests differ in cost) and `common` what moves all of them together. Ratios: variance of the logarithm =
own / requests + common. Both are read off the hours before, by medians, so that odd hours do not widen them.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log, sqrt
from typing import Final, NamedTuple

import msgspec

DAYS: Final = 28
HOURS: Final = (DAYS + 1) * 24
LEAST_HOURS: Final = 6
"""known hours before anything is judged"""
FIRST_HOURS: Final = 3
"""hours that stand for the usual while there is no rhythm"""
LEAP: Final = 0.36
"""`common` of a series whose rhythm is not known: a ramp of the morning is no anomaly"""
METRICS: Final = ("spend", "requests", "cp1kt", "tokens_per_request", "cache_rate", "error_cost")
_RATIOS: Final = {"per_token": (1, 2), "per_served": (1, 3), "size": (3, 0), "held": (5, 4)}
"""field over field"""
_QUARTILE: Final = 0.455
"""the median of a squared normal deviate"""
_FLOORS: Final = {
    "spend": 0.02, "requests": 0.02, "error_cost": 0.04, "cp1kt": 0.0016, "tokens_per_request": 0.0036, "cache_rate": 0.002,
}  # fmt: skip
"""least `common`: no series is steadier than that for long"""


class Cell(NamedTuple):
    """What one series did in one cell of time. Additive; money in nano-USD."""

    requests: int = 0
    cost: int = 0
    tokens: int = 0
    """processed by models, of priced requests"""
    served: int = 0
    """processed or replayed from a cache"""
    asked: int = 0
    """input, replayed too"""
    held: int = 0
    """the part of it that some cache held: Penstock's, or the provider's prompt cache"""
    lost: int = 0
    """the part of `cost` for what failed"""


NOTHING: Final = Cell()
_WIDTH: Final = len(Cell._fields)


def total(cells: Iterable[Sequence[int]]) -> Cell:
    """The sum of cells."""
    return Cell(*map(sum, zip(NOTHING, *cells, strict=True)))


class Spread(NamedTuple):
    """How far a metric strays: see the head of this module."""

    own: float
    common: float


class Usual(msgspec.Struct, frozen=True):
    """What is expected of one hour. Ratios are None where nothing tells them."""

    requests: float
    cost: float
    lost: float
    rhythm: bool
    """days of this kind are known"""
    per_token: float | None
    """nano-USD per processed token"""
    per_served: float | None
    """nano-USD per token processed or replayed"""
    size: float | None
    """tokens processed or replayed per request"""
    held: float | None
    """share of the input that a cache held"""


class Series:
    """The hours of one series and what follows from them."""

    def __init__(self, begin: int, left_out: Collection[int], stagger: int = 0) -> None:
        """`begin`: the first hour that says something of it (it may have done nothing then); `left_out` is looked at, never changed;
        `stagger` keeps series from being fitted all at once."""
        self.begin, self.newest = begin, begin - 1
        self.active = begin
        """the last hour in which it did something"""
        self._left_out = left_out
        self._hours = array("f", bytes(4 * _WIDTH * HOURS))
        self._stagger, self._due, self._fitted = stagger, 0, False
        self._profile: dict[tuple[int, bool, int], float] = {}
        """(field, weekend, hour of day) -> median, where two days of the kind are known"""
        self._ratios: dict[tuple[str, bool, int], float] = {}
        self.level = 1.0
        self.unit = 1.0
        """usual nano-USD of one request"""
        self.spreads: dict[str, Spread] = {}

    def put(self, hour: int, cell: Sequence[float]) -> None:
        """What an hour came to; hours that were skipped did nothing, and one that stands already is replaced."""
        if hour <= self.newest - HOURS:
            return
        for skipped in range(max(self.newest + 1, hour - HOURS + 1), hour):
            self._write(skipped, NOTHING)
        self._write(hour, cell)
        self.newest = max(self.newest, hour)
        if cell[0]:
            self.active = max(self.active, hour)

    def begin_anew(self, hour: int) -> None:
        """What was before counts no more: something has changed for good."""
        self.begin, self._due = max(self.begin, hour), 0

    def _write(self, hour: int, cell: Sequence[float]) -> None:
        place = hour % HOURS * _WIDTH
        self._hours[place : place + _WIDTH] = array("f", cell)

    def _known(self, hour: int) -> bool:
        return max(self.begin, self.newest - HOURS + 1) <= hour <= self.newest and hour not in self._left_out

    def _value(self, hour: int, field: int) -> float:
        return self._hours[hour % HOURS * _WIDTH + field]

    def fit(self, hour: int) -> None:
        """Reads rhythm, level and spreads off the hours before `hour`; once a day, while little is known more often."""
        if hour < self._due:
            return
        self._due = hour + (4 if self.newest - self.begin <= 72 else 24 if self._fitted else 1 + self._stagger % 24)
        self._fitted = self.newest - self.begin > 72
        begin = max(self.begin, self.newest - DAYS * 24 + 1)
        known = [each for each in range(begin, self.newest + 1) if each not in self._left_out]
        columns = [[self._value(each, field) for each in known] for field in range(_WIDTH)]
        requests, cost = sum(columns[0]), sum(columns[1])
        self.unit = max(cost / requests, 1.0) if requests else 1.0
        by_place: dict[tuple[bool, int], list[int]] = {}
        for index, each in enumerate(known):
            by_place.setdefault((weekend(each), each % 24), []).append(index)
        self._profile = {
            (field, *place): _median([columns[field][index] for index in indices])
            for place, indices in by_place.items()
            if len(indices) >= 2
            for field in (0, 1, 6)
        }
        self._fit_ratios(known, columns, by_place)
        self.level = self._level(known, columns[0])
        self.spreads = {metric: self._count_spread(metric, field, known, columns) for metric, field in (("requests", 0), ("spend", 1))}
        self.spreads["error_cost"] = Spread(max(self.spreads["spend"].own, 1.0), max(self.spreads["spend"].common, _FLOORS["error_cost"]))
        for metric, top, bottom in (("cp1kt", 1, 2), ("tokens_per_request", 3, 0), ("cache_rate", 5, 4)):
            self.spreads[metric] = _ratio_spread(metric, columns[0], columns[top], columns[bottom])

    def _fit_ratios(self, known: Sequence[int], columns: Sequence[Sequence[float]], by_place: Mapping[tuple[bool, int], list[int]]) -> None:
        """(ratio, weekend, hour of day) -> median over the days of that hour and those beside it."""
        self._ratios = {}
        place_of = {hour: index for index, hour in enumerate(known)}
        for (kind, at), indices in by_place.items():
            triples = [[place for each in range(known[n] - 1, known[n] + 2) if (place := place_of.get(each)) is not None] for n in indices]
            for name, (top, bottom) in _RATIOS.items():
                above, below = columns[top], columns[bottom]
                told = [sum([above[n] for n in triple]) / under for triple in triples if (under := sum([below[n] for n in triple])) > 0]
                if len(told) >= 2:
                    self._ratios[name, kind, at] = _median(told)

    def _level(self, known: Sequence[int], requests: Sequence[float]) -> float:
        """How busy the last days are beside the medians: 1 for as usual."""
        days: dict[int, list[tuple[float, float]]] = {}
        for hour, count in zip(known, requests, strict=True):
            if self.newest - hour < 168:
                days.setdefault((self.newest - hour) // 24, []).append((count, self._profile.get((0, weekend(hour), hour % 24), 0.0)))
        pairs = [(sum(count for count, _ in day), sum(usual for _, usual in day)) for day in days.values() if len(day) >= 12]
        ratios = [count / usual for count, usual in pairs if usual > 0]
        return min(max(_median(ratios), 0.6), 1.7) if len(ratios) >= 3 else 1.0

    def _count_spread(self, metric: str, field: int, known: Sequence[int], columns: Sequence[Sequence[float]]) -> Spread:
        unit = 1.0 if metric == "requests" else self.unit
        pairs = []
        for hour, value in zip(known, columns[field], strict=True):
            usual = self._profile.get((field, weekend(hour), hour % 24))
            if usual is not None:
                mean = usual / unit
                pairs.append((mean, 4 * (sqrt(value / unit) - sqrt(mean)) ** 2))
        least = 1.0 if metric == "requests" else 1.5
        return _spread(pairs, least, _FLOORS[metric], fallback=Spread(least * 2, LEAP))

    def usual(self, hour: int) -> Usual | None:
        """What is expected of an hour after those that are known; None while too little is."""
        if self.newest - self.begin + 1 < LEAST_HOURS:
            return None
        place = (weekend(hour), hour % 24)
        rhythm = (0, *place) in self._profile
        requests, cost, lost = [self._seasonal(hour, field) for field in (0, 1, 6)] if rhythm else self._latest()
        day = [each for each in range(max(self.begin, self.newest - 23), self.newest + 1) if each not in self._left_out]
        lately = [sum([self._value(each, field) for each in day]) for field in range(_WIDTH)]
        ratios = {}
        for name, (top, bottom) in _RATIOS.items():
            told = [lately[top] / lately[bottom]] if lately[bottom] > 0 else []
            if (middle := self._ratios.get((name, *place))) is not None:
                told.append(middle)
            ratios[name] = None if not told else min(told) if name == "held" else max(told)
        return Usual(requests=requests, cost=cost, lost=lost, rhythm=rhythm, **ratios)

    def _seasonal(self, hour: int, field: int) -> float:
        """Of that hour of the day, and of the week: where the hour of the week is the busier one it counts."""
        daily = self._profile[field, weekend(hour), hour % 24]
        weeks = [self._value(hour - 168 * back, field) for back in (1, 2, 3, 4) if self._known(hour - 168 * back)]
        if len(weeks) < 2:
            return daily * self.level
        weekly = _median(weeks)
        return max(weekly, (sqrt(weekly) + sqrt(daily)) ** 2 / 4) * self.level

    def _latest(self) -> list[float]:
        """The busiest of the last hours stands for the usual one."""
        hours = [hour for hour in range(self.newest, max(self.begin, self.newest - 24) - 1, -1) if hour not in self._left_out][:FIRST_HOURS]
        return [max((self._value(hour, field) for hour in hours), default=0.0) for field in (0, 1, 6)]


def weekend(hour: int) -> bool:
    """Saturday or Sunday, UTC. The first hour of 1970 was on a Thursday."""
    return (hour // 24 + 3) % 7 >= 5


def _ratio_spread(metric: str, requests: Sequence[float], above: Sequence[float], below: Sequence[float]) -> Spread:
    told = [(n, top / bottom) for n, top, bottom in zip(requests, above, below, strict=True) if bottom > 0]
    usual = _median([ratio for _, ratio in told]) if told else 0.0
    fallback = Spread(2.0, 0.04)
    if usual <= 0:
        return fallback
    if metric == "cache_rate":
        width = sqrt(usual * max(1 - usual, 0.02))
        return _spread([(n, n * ((ratio - usual) / width) ** 2) for n, ratio in told], 0.3, _FLOORS[metric], fallback)
    return _spread([(n, n * log(ratio / usual) ** 2) for n, ratio in told if ratio > 0], 0.05, _FLOORS[metric], fallback)


def _spread(pairs: Sequence[tuple[float, float]], least_own: float, floor: float, fallback: Spread) -> Spread:
    """(size, squared deviate) pairs -> own + common x size, from the medians of the smaller and of the larger half."""
    told = sorted(pair for pair in pairs if pair[0] > 0)
    if len(told) < 12:
        return fallback
    middle = bisect_left(told, told[len(told) // 2])
    middle = middle if 6 <= middle <= len(told) - 6 else len(told) // 2
    small, large = told[:middle], told[middle:]
    low, high = (sum(size for size, _ in half) / len(half) for half in (small, large))
    narrow, wide = (_median([square for _, square in half]) / _QUARTILE for half in (small, large))
    common = max((wide - narrow) / (high - low), floor) if high > low * 1.2 else max((wide - least_own) / high, floor)
    return Spread(max(narrow - common * low, least_own), common)


def _median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
