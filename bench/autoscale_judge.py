"""What an answer to a trace of rates costs and serves: accounting alone, with no law of the product in it."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Final

import msgspec

LATE_S: Final = 180.0
"""after which what was asked for serves"""
HOUR_S: Final = 3_600.0


class Rates(msgspec.Struct, frozen=True):
    """A trace: steady rates, window by window."""

    name: str
    start_s: tuple[float, ...]
    rps: tuple[float, ...]
    window_s: float


class Judged(msgspec.Struct, frozen=True):
    """Of one answer to one trace."""

    cost: float
    """replicas asked for over those of a perfect forecast, sum over windows of ceil(rate / rate of a replica)"""
    over: float
    """share of requests over capacity; what is new in a window serves from 180 s on, what is given up goes at once"""
    over_at_once: float
    """the same if replicas started at once"""
    reversals_per_hour: float
    """how often the count turned from growing to shrinking or back"""
    most_reversals: int
    """within any hour"""


def judge(rates: Rates, replicas: Sequence[int], rps_per_replica: float) -> Judged:
    """Windows count as consecutive, though some are missing; before the first one there was as much as is asked for it."""
    late = min(1.0, LATE_S / rates.window_s)
    over = at_once = 0.0
    before = replicas[0]
    for rate, count in zip(rates.rps, replicas, strict=True):
        short = max(0.0, rate - count * rps_per_replica)
        over += late * max(0.0, rate - min(before, count) * rps_per_replica) + (1 - late) * short
        at_once += short
        before = count
    total = sum(rates.rps) or 1.0
    turns = turned(replicas)
    in_an_hour = max(1, round(HOUR_S / rates.window_s))
    return Judged(
        cost=sum(replicas) / max(1, oracle(rates, rps_per_replica)),
        over=over / total,
        over_at_once=at_once / total,
        reversals_per_hour=sum(turns) * HOUR_S / (len(replicas) * rates.window_s),
        most_reversals=max(sum(turns[at : at + in_an_hour]) for at in range(len(turns))),
    )


def oracle(rates: Rates, rps_per_replica: float) -> int:
    """Replica windows of who knows every rate."""
    return sum(ceil(rate / rps_per_replica) for rate in rates.rps)


def turned(replicas: Sequence[int]) -> list[bool]:
    """For each window, whether the count goes the other way than at its last change."""
    turns, way = [False], 0
    for before, after in pairwise(replicas):
        now = (after > before) - (after < before)
        turns.append(bool(now and way and now != way))
        way = now or way
    return turns
