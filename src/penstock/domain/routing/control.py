"""A router beside its honest control: the best fixed split of the same requests over single tiers, at the same mean cost.

A split sends a fixed share of requests to each tier, whatever they ask. At a given mean cost the best one mixes at most two tiers: it lies
on the upper hull of (mean cost, mean quality). A router that is not above it has learned nothing that a coin does not know.
"""

from collections.abc import Sequence
from math import inf, sqrt
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:  # numpy comes with an extra; only resampling needs it
    import numpy as np
    from numpy.typing import NDArray

Verdict = Literal["wins", "loses", "undecided"]
Split = tuple[tuple[int, float], ...]
"""(tier, share of requests); shares add up to 1"""
Column: TypeAlias = "Sequence[float] | NDArray[np.float64]"
Rows: TypeAlias = "Sequence[Sequence[float]] | NDArray[np.float64]"

RESAMPLES: Final = 1_000
_Z: Final = 1.959964
"""half-width of a two-sided 95 % interval, in standard errors"""
_TAIL: Final = 0.025
_AT_ONCE: Final = 2_000_000
"""draws of the bootstrap that are held in memory"""
_SAME: Final = 1e-12


class Control(msgspec.Struct, frozen=True):
    """What a router gains over the best fixed split at its cost."""

    gain: float
    """mean quality of the router minus that of the split"""
    low: float
    """95 % interval of the gain; endless where there are fewer than two requests"""
    high: float
    split: Split

    @property
    def verdict(self) -> Verdict:
        """`undecided` as long as the interval holds 0."""
        return "wins" if self.low > 0 else "loses" if self.high < 0 else "undecided"


def best_split(quality: Sequence[float], cost: Sequence[float], budget: float) -> tuple[Split, float]:
    """The split of tiers with the most mean quality at a mean cost of at most `budget`, and that quality.

    `quality` and `cost`: of each tier, means over the same requests. Where no tier is so cheap, the cheapest one, although it costs more.
    """
    alone = [at for at in range(len(cost)) if cost[at] <= budget + _SAME * abs(budget)]
    if not alone:
        cheapest = min(range(len(cost)), key=lambda at: (cost[at], -quality[at]))
        return ((cheapest, 1.0),), quality[cheapest]
    first = min(alone, key=lambda at: (-quality[at], cost[at]))
    best: tuple[Split, float] = (((first, 1.0),), quality[first])
    for low in alone:
        for high in range(len(cost)):
            if cost[high] > budget and cost[high] > cost[low]:
                share = (budget - cost[low]) / (cost[high] - cost[low])
                mixed = quality[low] + share * (quality[high] - quality[low])
                if mixed > best[1] + _SAME:
                    best = (((low, 1 - share), (high, share)), mixed)
    return best


def against_fixed_split(
    quality: Column,
    cost: Column,
    tiers_quality: Rows,
    tiers_cost: Rows,
    rng: "np.random.Generator | None" = None,
    *,
    weights: "Column | None" = None,
) -> Control:
    """A router's gain over the best fixed split of the same requests at its mean cost.

    `quality`, `cost`: of the router, by request; all that was called for it counts. `tiers_quality`, `tiers_cost`: rows of requests with a
    column for each tier. `weights`: how many requests each one stands for, such as 1 / propensity. With a generator the interval is a
    paired bootstrap over requests, in each resample of which the split is chosen anew at the router's cost (it needs numpy); without one
    it is a normal approximation. Raises ValueError where nothing was measured.
    """
    if not len(quality):
        raise ValueError("no request to compare a router with a split on")
    of = [1.0] * len(quality) if weights is None else [float(weight) for weight in weights]
    gain, split, spread = _approximately(quality, cost, tiers_quality, tiers_cost, of)
    if len(quality) < 2:
        return Control(gain, -inf, inf, split)
    if rng is None:
        return Control(gain, gain - _Z * spread, gain + _Z * spread, split)
    low, high = _resampled(quality, cost, tiers_quality, tiers_cost, of, rng)
    return Control(gain, low, high, split)


def _approximately(
    quality: Column, cost: Column, tiers_quality: Rows, tiers_cost: Rows, weights: Sequence[float]
) -> tuple[float, Split, float]:
    """Gain, split, and standard error: the gain is linear in the means of the two tiers that are mixed (delta method)."""
    total = sum(weights)
    tiers = range(len(tiers_quality[0]))
    mean_quality = [_mean([float(row[at]) for row in tiers_quality], weights) for at in tiers]
    mean_cost = [_mean([float(row[at]) for row in tiers_cost], weights) for at in tiers]
    spent = _mean(cost, weights)
    split, reached = best_split(mean_quality, mean_cost, spent)
    gain = _mean(quality, weights) - reached
    slope = 0.0  # quality that the split has for a further unit of cost
    if len(split) == 2:
        (low, _), (high, _) = split
        slope = (mean_quality[high] - mean_quality[low]) / (mean_cost[high] - mean_cost[low])
    squares = 0.0
    for own, paid, good, dear, weight in zip(quality, cost, tiers_quality, tiers_cost, weights, strict=True):
        fixed = sum(share * good[at] for at, share in split)
        beyond = paid - sum(share * dear[at] for at, share in split)
        squares += (weight * (own - fixed - slope * beyond - gain)) ** 2
    return gain, split, sqrt(squares * len(weights) / max(len(weights) - 1, 1)) / total


def _mean(values: Column, weights: Sequence[float]) -> float:
    return sum(float(value) * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _resampled(
    quality: Column, cost: Column, tiers_quality: Rows, tiers_cost: Rows, weights: Sequence[float], rng: "np.random.Generator"
) -> tuple[float, float]:
    """Bounds of the gain over resamples of whole requests."""
    import numpy as np

    columns = np.column_stack((weights, quality, cost, np.asarray(tiers_quality, float), np.asarray(tiers_cost, float)))
    columns[:, 1:] *= columns[:, :1]
    count = len(columns)
    step = max(1, _AT_ONCE // count)
    sums = []
    for begin in range(0, RESAMPLES, step):
        draws = min(step, RESAMPLES - begin)
        drawn = rng.integers(0, count, (draws, count)) + np.arange(draws)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
        sums.append(times @ columns)
    means = np.concatenate(sums)
    means = means[:, 1:] / means[:, :1]
    tiers = (means.shape[1] - 2) // 2
    gains = means[:, 0] - _split_qualities(means[:, 2 : 2 + tiers], means[:, 2 + tiers :], means[:, 1])
    low, high = np.quantile(gains, (_TAIL, 1 - _TAIL))
    return float(low), float(high)


def _split_qualities(quality: "NDArray[np.float64]", cost: "NDArray[np.float64]", budget: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """`best_split` for rows of tiers' means at once: what each row's best split reaches."""
    import numpy as np

    affordable = cost <= (budget + _SAME * np.abs(budget))[:, None]
    best = np.where(affordable, quality, -np.inf).max(axis=1)
    tiers = range(cost.shape[1])
    for low in tiers:
        for high in tiers:
            apart = cost[:, high] - cost[:, low]
            mixes = affordable[:, low] & (cost[:, high] > budget) & (apart > 0)
            share = np.where(mixes, (budget - cost[:, low]) / np.where(mixes, apart, 1.0), 0.0)
            mixed = quality[:, low] + share * (quality[:, high] - quality[:, low])
            best = np.where(mixes, np.maximum(best, mixed), best)
    cheapest = quality[np.arange(len(cost)), cost.argmin(axis=1)]
    reached: NDArray[np.float64] = np.where(affordable.any(axis=1), best, cheapest)
    return reached
