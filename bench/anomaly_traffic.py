"""Invented traffic for the anomaly benchmark: a firm's teams, features and models in cells of five minutes, with five kinds of trouble.

Rhythms of day and week, growth, busy and slow days, bursts, heavy-tailed sizes, sparse series, nightly batches that begin late. Rates may
follow a real trace instead of an invented rhythm. The truth about every planted event is kept beside the cells.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.domain.budgets.anomalies import Leaf, Scope
from penstock.domain.budgets.baseline import Cell

CELLS_A_DAY = 288
DAYS, KNOWN_DAYS = 56, 28
PATTERNS = ("runaway", "retry_storm", "model_swap", "cache_break", "price_change")
DIMENSIONS = {
    "runaway": ("user",), "retry_storm": ("outcome", "user"), "model_swap": ("model",), "cache_break": ("cache",),
    "price_change": ("price_version",),
}  # fmt: skip
"""what has to be named first"""
USERS = 12
_RHYTHMS = {
    "customers": (5, 3, 2, 2, 3, 8, 22, 48, 78, 96, 100, 92, 80, 78, 80, 78, 76, 82, 90, 84, 62, 40, 22, 11),
    "office": (2, 1, 1, 1, 2, 4, 14, 46, 84, 98, 100, 92, 58, 78, 96, 94, 80, 52, 24, 12, 8, 6, 4, 3),
    "night": (60, 92, 100, 100, 96, 70, 30, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6, 8, 10, 14, 22, 40),
    "flat": (60,) * 24,
}
_WEEKEND = {"customers": 0.5, "office": 0.09, "night": 0.75, "flat": 1.0}
Array = NDArray[np.float64]


class Event(NamedTuple):
    """One planted trouble: cells [begin, end) since the traffic began."""

    pattern: str
    scopes: tuple[Scope, ...]
    begin: int
    end: int
    excess: float
    """nano-USD that it costs"""


class Line:
    """One series: its cells by field, and who caused what (requests, cost and tokens of one user beside the others)."""

    def __init__(self, leaf: Leaf, cells: int) -> None:
        self.leaf = leaf
        self.of: dict[str, Array] = {name: np.zeros(cells) for name in Cell._fields}
        self.by_user: dict[str, Array] = {name: np.zeros(cells) for name in ("requests", "cost", "tokens", "lost")}
        """what the runaway's user did beyond the others"""
        self.raised = np.ones(cells)
        """price beside the usual one"""
        self.rate = np.zeros(cells)
        self.price = self.size = self.hit = self.failing = 0.0


class Traffic:
    """Everything of one seed. `first_ns` is a Monday at midnight, UTC."""

    def __init__(self, seed: int, teams: int = 12, *, shapes: Mapping[str, Sequence[float]] | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.cells = DAYS * CELLS_A_DAY
        self.first_hour = (20_000 // 7 * 7 + 4) * 24
        self.shapes = dict(shapes or {})
        self.lines: dict[Leaf, Line] = {}
        self.prices = {f"model-{number}": float(np.exp(self.rng.normal(np.log(1500), 1.0))) for number in range(8)}
        for team in range(teams):
            for feature in range(int(self.rng.integers(1, 4))):
                self._feature((f"team-{team}", f"feature-{team}-{feature}"))
        self.events: list[Event] = []
        self.usual_spend = sum(line.of["cost"].sum() for line in self.lines.values()) / self.cells
        self._plant()

    @property
    def scopes(self) -> list[Scope]:
        return list(dict.fromkeys(leaf[:2] for leaf in self.lines))

    def of(self, scope: Scope) -> list[Line]:
        return [line for leaf, line in self.lines.items() if leaf[:2] == scope]

    def _feature(self, scope: Scope) -> None:
        rng = self.rng
        rate = self._rate(str(rng.choice([*_RHYTHMS, *self.shapes, "customers", "office", "office"])))
        volume = float(np.exp(rng.normal(np.log(90), 1.1)))  # requests an hour, on average
        rate *= volume / 12 / rate.mean()
        names = rng.choice(list(self.prices), size=int(rng.choice([1, 2, 2, 3])), replace=False)
        shares = rng.dirichlet(np.full(len(names), 1.5))
        size, spread = float(np.exp(rng.normal(np.log(3000), 0.9))), float(rng.uniform(0.4, 1.3))
        hit = float(rng.choice([0.0, rng.uniform(0.1, 0.35), rng.uniform(0.35, 0.85)]))
        burst = 1 / rng.uniform(0.01, 0.25)
        for name, share in zip(names, shares, strict=True):
            line = Line((*scope, str(name)), self.cells)
            line.rate = rate * share * rng.gamma(burst, 1 / burst, self.cells)
            line.price, line.size, line.hit, line.failing = self.prices[str(name)], size, hit, float(rng.uniform(0.002, 0.02))
            self._fill(line, rng.poisson(line.rate).astype(float), spread)
            self.lines[line.leaf] = line

    def _rate(self, rhythm: str) -> Array:
        """Requests in each cell, in no unit: the rhythm, growth, busy days and weather."""
        rng, at = self.rng, np.arange(self.cells)
        day, hour = at // CELLS_A_DAY, at % CELLS_A_DAY / 12
        if rhythm in self.shapes:
            shape = np.asarray(self.shapes[rhythm])
            base = np.interp(at % (len(shape) * 2), np.arange(len(shape)) * 2, shape)
        else:
            base = np.interp(hour - 0.5, np.arange(-1, 25), [_RHYTHMS[rhythm][-1], *_RHYTHMS[rhythm], _RHYTHMS[rhythm][0]])
            base = base * np.where(day % 7 >= 5, _WEEKEND[rhythm], 1.0)
            if rng.random() < 0.3 and rhythm != "flat":  # a holiday
                off = int(rng.integers(0, DAYS))
                base = np.where(day == off, base * _WEEKEND[rhythm], base)
        growth = np.exp(np.log1p(rng.uniform(-0.02, 0.08)) * at / (7 * CELLS_A_DAY))
        days = np.exp(rng.normal(0, rng.uniform(0.03, 0.15), DAYS))[day]
        hours = np.exp(_wandering(rng, DAYS * 24, 0.7) * rng.uniform(0.03, 0.2))[at // 12]
        rate: Array = base * growth * days * hours
        for _ in range(rng.poisson(4)):  # an ordinary burst
            begin, width = int(rng.integers(0, self.cells - 12)), int(rng.integers(1, 9))
            rate[begin : begin + width] *= rng.uniform(1.2, 2.0)
        return rate

    def _fill(self, line: Line, requests: Array, spread: float) -> None:
        rng = self.rng
        variance = np.expm1(spread**2)
        shape = np.maximum(requests / variance, 1e-9)
        size = np.where(requests > 0, rng.gamma(shape, 1 / shape), 0.0)
        size += np.where(requests > 0, rng.poisson(requests * 0.001) * rng.pareto(2.2, self.cells) * 10 / np.maximum(requests, 1), 0.0)
        tokens = np.rint(requests * line.size * size)
        held = line.hit * np.clip(
            1 + rng.normal(0, 0.25, self.cells) / np.sqrt(np.maximum(requests, 1)) + rng.normal(0, 0.03), 0, 1 / max(line.hit, 0.01)
        )
        asked = np.rint(tokens * 0.85)
        line.of["requests"], line.of["tokens"], line.of["served"], line.of["asked"] = requests, tokens, tokens.copy(), asked
        line.of["held"] = np.rint(asked * np.clip(held, 0, 1))
        line.of["cost"] = self._cost(line, slice(None))
        failed = rng.binomial(requests.astype(int), line.failing)
        line.of["lost"] = np.rint(line.of["cost"] * failed / np.maximum(requests, 1) * 0.7)

    def _cost(self, line: Line, at: slice) -> Array:
        """Held input costs a tenth, output four times the input."""
        of = line.of
        weight = (of["asked"][at] - of["held"][at]) + 0.1 * of["held"][at] + 4 * (of["tokens"][at] - of["asked"][at])
        return np.rint(weight * line.price * line.raised[at])

    def _plant(self) -> None:
        """Events of every kind, each feature's own far apart; changes of price strike every feature of a model, in a week of their own."""
        rng, first = self.rng, KNOWN_DAYS * CELLS_A_DAY
        for scope in self.scopes:
            for week in (0, 1, 2):
                if rng.random() < 0.55:
                    pattern = str(rng.choice(PATTERNS[:4]))
                    begin = first + week * 7 * CELLS_A_DAY + int(rng.integers(0, 5 * CELLS_A_DAY))
                    self._event(pattern, scope, begin, begin + int(rng.integers(12, 145)))
        for number in range(2):
            begin = first + 21 * CELLS_A_DAY + int(rng.integers(0, 2 * CELLS_A_DAY)) + number * 3 * CELLS_A_DAY
            self._reprice(str(rng.choice(list(self.prices))), begin, begin + int(rng.integers(72, 288)))

    def _event(self, pattern: str, scope: Scope, begin: int, end: int) -> None:
        at, lines = slice(begin, end), self.of(scope)
        before = sum(line.of["cost"][at].sum() for line in lines)
        line = lines[int(self.rng.integers(0, len(lines)))]
        usual = max(float(np.mean([sum(each.rate[begin - 2016 : begin].mean() for each in lines)])), 0.05)
        if pattern == "runaway":
            self._extra(line, at, usual * (float(self.rng.uniform(5, 50)) - 1), failing=0.0)
        elif pattern == "retry_storm":
            self._extra(line, at, usual * float(self.rng.uniform(2, 12)), failing=float(self.rng.uniform(0.6, 0.95)))
        elif pattern == "model_swap":
            self._swap(scope, lines, at)
        else:
            if max(each.hit for each in lines) < 0.3:
                return
            for each in lines:
                each.of["held"][at] = np.rint(each.of["held"][at] * self.rng.uniform(0.0, 0.15))
                each.of["cost"][at] = self._cost(each, at)
        after = sum(line.of["cost"][at].sum() for line in self.of(scope))
        if after > before:  # nothing is spent in some hours
            self.events.append(Event(pattern, (scope,), begin, end, after - before))

    def _extra(self, line: Line, at: slice, rate: float, failing: float) -> None:
        """Requests of one user beside the usual ones."""
        rng, of = self.rng, line.of
        count = rng.poisson(rate * rng.gamma(20, 1 / 20, at.stop - at.start)).astype(float)
        tokens = np.rint(count * line.size * rng.gamma(np.maximum(count, 1e-9) * 2, 1 / (np.maximum(count, 1e-9) * 2)))
        cost = np.rint(tokens * (0.85 * (1 - 0.9 * line.hit) + 0.6) * line.price)
        lost = np.rint(cost * failing)
        for name, more in (
            ("requests", count), ("tokens", tokens), ("served", tokens), ("asked", np.rint(tokens * 0.85)),
            ("held", np.rint(tokens * 0.85 * line.hit)), ("cost", cost), ("lost", lost),
        ):  # fmt: skip
            of[name][at] += more
        for name, more in (("requests", count), ("cost", cost), ("tokens", tokens), ("lost", lost)):
            line.by_user[name][at] += more

    def _swap(self, scope: Scope, lines: Sequence[Line], at: slice) -> None:
        """Most requests go to a model that costs several times as much."""
        dearest = max(line.price for line in lines)
        name = f"model-new-{self.rng.integers(0, 3)}"
        new = self.lines.get((*scope, name)) or Line((*scope, name), self.cells)
        new.price = dearest * float(self.rng.uniform(2.5, 12))
        share = float(self.rng.uniform(0.6, 1.0))
        for line in lines:
            for field in ("requests", "tokens", "served", "asked", "held", "lost"):
                moved = np.rint(line.of[field][at] * share)
                line.of[field][at] -= moved
                new.of[field][at] += moved
            line.of["cost"][at] = self._cost(line, at)
        new.of["cost"][at] = self._cost(new, at)
        self.lines[new.leaf] = new

    def _reprice(self, model: str, begin: int, end: int) -> None:
        at, factor = slice(begin, end), float(self.rng.uniform(1.25, 3))
        lines = [line for leaf, line in self.lines.items() if leaf[2] == model]
        if not lines or any(event.end > begin - CELLS_A_DAY for event in self.events if event.pattern == "price_change"):
            return
        excess = 0.0
        for line in lines:
            line.raised[at] = factor
            before = line.of["cost"][at].sum()
            line.of["cost"][at] = np.rint(line.of["cost"][at] * factor)
            line.of["lost"][at] = np.rint(line.of["lost"][at] * factor)
            excess += line.of["cost"][at].sum() - before
        self.events.append(Event("price_change", tuple(line.leaf[:2] for line in lines), begin, end, excess))


def _wandering(rng: np.random.Generator, length: int, memory: float) -> Array:
    """Noise of unit variance that remembers the hour before."""
    steps = rng.normal(0, np.sqrt(1 - memory**2), length)
    found = np.empty(length)
    last = 0.0
    for index, step in enumerate(steps):
        last = memory * last + step
        found[index] = last
    return found
