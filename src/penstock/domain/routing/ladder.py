"""Whether a ladder of tiers is sane: what each rung is worth, which ones are dominated, and up to which escalation rate a cheap one pays.

A rung is dominated where a fixed split of requests over others costs no more and answers better: it lies below the upper hull of cost and
quality, and no router earns anything by it that a coin would not. Costs are of any one unit; quality is from 0 to 1.
"""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import Final, Literal

import msgspec

from penstock.domain.ledger.routed import Kind, Observation
from penstock.domain.routing.control import Control, against_fixed_split

FOLK_ALARM: Final = (0.3, 0.4)
"""escalation rates at which folk wisdom calls the cheap tier too small"""
_Z: Final = 1.959964

Doubt = Literal["proven", "likely"]


class Dominated(msgspec.Struct, frozen=True, kw_only=True):
    """Why a rung is not worth its place."""

    by: tuple[tuple[str, float], ...]
    """tiers, and the share of requests of each, that do better"""
    gain: float
    """quality that they have more, at no more cost"""
    doubt: Doubt
    """`proven`: the 95 % interval of the gain lies above 0"""
    why: str


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """One tier by the requests that all of the ladder's measured tiers have answered. None: unknown."""

    tier: str
    answers: int = 0
    quality: float | None = None
    low: float | None = None
    """95 % interval of the mean quality"""
    high: float | None = None
    cost: float | None = None
    """nano-USD of a request, mean"""
    dominated: Dominated | None = None


class BreakEven(msgspec.Struct, frozen=True):
    """Up to which share of escalated requests it pays to ask `tiers` before `target`, instead of it alone. Below 0: never."""

    kind: Kind
    tiers: tuple[str, ...]
    target: str
    escalation: float
    ratio: float
    """cost of `tiers` together over the target's"""

    @property
    def folk_fits(self) -> bool:
        """Whether the folk alarm at 30 to 40 % would be right here."""
        return FOLK_ALARM[0] <= self.escalation <= FOLK_ALARM[1]


def rungs_of(observations: Sequence[Observation], tiers: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs, cheap to dear, by evidence.

    Tiers that no request was measured on are unknown; the others are compared over the very same requests, each by what it stands for.
    """
    measured = [tier for tier in tiers if any(_measure(each, tier) is not None for each in observations)]
    rows = [(each, [_measure(each, tier) for tier in measured]) for each in observations]
    whole = [(1 / each.propensity, [pair for pair in row if pair is not None]) for each, row in rows if None not in row]
    if not measured or not whole:
        return tuple(Rung(tier=tier) for tier in tiers)
    weights = [weight for weight, _ in whole]
    quality = [[pair[0] for pair in row] for _, row in whole]
    cost = [[pair[1] for pair in row] for _, row in whole]
    return tuple(
        _rung(tiers, measured, measured.index(tier), quality, cost, weights) if tier in measured else Rung(tier=tier) for tier in tiers
    )


def _measure(observation: Observation, tier: str) -> tuple[float, float] | None:
    seen = next((seen for seen in observation.seen if seen.tier == tier), None)
    return None if seen is None or seen.quality is None or seen.cost is None else (seen.quality, float(seen.cost))


def _rung(
    tiers: Sequence[str],
    measured: Sequence[str],
    at: int,
    quality: Sequence[Sequence[float]],
    cost: Sequence[Sequence[float]],
    weights: Sequence[float],
) -> Rung:
    total = sum(weights)
    mean = sum(row[at] * weight for row, weight in zip(quality, weights, strict=True)) / total
    spent = sum(row[at] * weight for row, weight in zip(cost, weights, strict=True)) / total
    low, high = wilson(mean, total**2 / sum(weight**2 for weight in weights))
    others = [place for place in range(len(measured)) if place != at]
    dominated = None
    if others:
        control = against_fixed_split(
            [row[at] for row in quality],
            [row[at] for row in cost],
            [[row[place] for place in others] for row in quality],
            [[row[place] for place in others] for row in cost],
            weights=weights,
        )
        named = tuple((measured[others[place]], share) for place, share in control.split)
        means = {measured[place]: sum(row[place] * weight for row, weight in zip(cost, weights, strict=True)) / total for place in others}
        dominated = _dominated(measured[at], spent, control, named, means)
    return Rung(tier=measured[at], answers=len(weights), quality=mean, low=low, high=high, cost=spent, dominated=dominated)


def _dominated(tier: str, spent: float, control: Control, by: tuple[tuple[str, float], ...], means: dict[str, float]) -> Dominated | None:
    paid = sum(share * means[other] for other, share in by)
    if paid > spent * (1 + 1e-9) or control.gain > 0 or (control.gain == 0 and paid >= spent):
        return None
    doubt: Doubt = "proven" if control.verdict == "loses" else "likely"
    if len(by) == 1:
        better = "answers as well" if control.gain == 0 else f"answers better by {-control.gain:.1%}"
        why = f"{by[0][0]} {better} and costs {paid / spent:.0%} of {tier}" if spent else f"{by[0][0]} {better} for the same"
    else:
        mix = " and ".join(f"{share:.0%} {other}" for other, share in by)
        why = f"a coin that sends {mix} answers better by {-control.gain:.1%} at the cost of {tier}"
    return Dominated(by=by, gain=-control.gain, doubt=doubt, why=why)


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a mean of values from 0 to 1, by so many of them; too wide rather than too narrow where they lie between."""
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * sqrt(max(share * (1 - share), 0.0) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def break_even(before: Sequence[float], target: float) -> float:
    """The share of escalated requests below which asking `before` first costs less than `target` alone: 1 minus their costs over its own.

    `target`: what an escalated request costs from there on. Raises ValueError where it costs nothing.
    """
    if target <= 0:
        raise ValueError("nothing is cheaper than a target that costs nothing")
    return 1 - sum(before) / target


def break_evens(costs: Sequence[tuple[str, float]]) -> tuple[BreakEven, ...]:
    """Of every cascade and gate on a ladder of (tier, cost of a request), cheap to dear; of targets that cost nothing there is none."""
    found: list[BreakEven] = []
    for at, (target, dear) in enumerate(costs):
        if dear <= 0:
            continue
        kinds: tuple[tuple[Kind, int], ...] = (("cascade", 1), ("gate", 2))
        for kind, size in kinds:
            for asked in combinations(costs[:at], size):
                before = [cost for _, cost in asked]
                found.append(BreakEven(kind, tuple(tier for tier, _ in asked), target, break_even(before, dear), sum(before) / dear))
    return tuple(found)


def course_cost(stages: Sequence[float], reached: Sequence[float]) -> float:
    """Mean cost of stages that are gone through in order: each one's, times the share of requests that come to it."""
    return sum(share * cost for cost, share in zip(stages, reached, strict=True))


def blended_cost(shares: Sequence[float], costs: Sequence[float], beside: float = 0.0) -> float:
    """Mean cost of traffic that is split over tiers; `beside`: what every request costs before, such as a classifier."""
    return sum(share * cost for share, cost in zip(shares, costs, strict=True)) / sum(shares) + beside


def relative_costs(costs: Sequence[float | None]) -> tuple[float | None, ...]:
    """Of each tier over the last one's; None where either is unknown, or the last one costs nothing."""
    last = costs[-1] if costs else None
    return tuple(None if cost is None or not last else cost / last for cost in costs)
