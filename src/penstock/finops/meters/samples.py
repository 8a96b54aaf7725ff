"""Laws of samples: what a counter grew by, how busy a gauge was, when how many units ran. What was not seen is unknown, never 0."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from penstock.ports.telemetry import Series

POINTS = 120
"""instants that a span is read at: every 30 s of an hour"""
BEFORE = 20
"""instants before it: a counter's last reading before the span"""
BRIDGE = 10
"""instants without a reading that are bridged between equal counts: 5 minutes of an hour"""
LEAST_STEP_MS = 1000

Samples = Mapping[int, float]
"""number of an instant -> value: 0 is the span's begin, `Grid.count` its end, negative ones lie before it"""


class Grid(msgspec.Struct, frozen=True):
    """The instants of a span [since, until), at equal steps."""

    since_ms: int
    step_ms: int
    count: int

    @classmethod
    def of(cls, since_s: float, until_s: float) -> "Grid":
        """Raises ValueError for a span without length."""
        since, until = round(since_s * 1000), round(until_s * 1000)
        if until <= since:
            raise ValueError("a span ends after it begins")
        step = max(LEAST_STEP_MS, math.ceil((until - since) / POINTS))
        return cls(since, step, math.ceil((until - since) / step))

    @property
    def step_s(self) -> float:
        return self.step_ms / 1000

    def at_s(self, index: int) -> float:
        """Unix seconds of an instant."""
        return (self.since_ms + index * self.step_ms) / 1000

    def samples(self, series: Series) -> dict[int, float]:
        return {round((at * 1000 - self.since_ms) / self.step_ms): value for at, value in series.points}


def increase(samples: Samples) -> float | None:
    """What a counter grew by from the span's begin to its end; a fall is a restart from 0. None: fewer than two readings to compare.

    It begins with the last reading at or before the span's begin, so spans that follow each other add up. A counter that appears within
    the span counts from its first reading on: what it held then may be older than the span.
    """
    before = [index for index in samples if index <= 0]
    read = sorted(index for index in samples if index > 0)
    if before:
        read.insert(0, max(before))
    if len(read) < 2:
        return None
    values = [samples[index] for index in read]
    return math.fsum(later - earlier if later >= earlier else later for earlier, later in pairwise(values))


def within(samples: Samples, grid: Grid) -> list[float]:
    """Values of the span alone, its end excluded."""
    return [value for index, value in samples.items() if 0 <= index < grid.count]


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def p95(values: Iterable[float]) -> float | None:
    """The smallest value that at least 95 % of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * 0.95) - 1] if ordered else None


def merged(parts: Iterable[Samples]) -> dict[int, float]:
    """One GPU's readings from several series (of pods that share it, or follow each other): the highest of each instant."""
    whole: dict[int, float] = {}
    for samples in parts:
        for index, value in samples.items():
            whole[index] = max(value, whole.get(index, value))
    return whole


def run_steps(counts: Mapping[int, int], unseen: Collection[int], grid: Grid) -> tuple[tuple[int, int], ...] | None:
    """(unix ns, units from then on) over the span; None when for some of it nobody knows.

    `counts`: units at each instant; absent means none unless the instant is `unseen`. A short time unseen is bridged where the count is the
    same before and after it; instants around the span help there.
    """
    known = {index: counts.get(index, 0) for index in range(-BEFORE, grid.count + 1) if index not in unseen}
    steps: list[tuple[int, int]] = []
    for index in range(grid.count):
        units = known.get(index)
        if units is None:
            before = next((known[near] for near in range(index - 1, index - BRIDGE - 1, -1) if near in known), None)
            after = next((known[near] for near in range(index + 1, index + BRIDGE + 1) if near in known), None)
            if before is None or before != after:
                return None
            units = before
        if not steps or steps[-1][1] != units:
            steps.append(((grid.since_ms + index * grid.step_ms) * 1_000_000, units))
    return tuple(steps)
