"""The smallest tier that a feature needs: the first on the ladder whose loss against the last one stays within its error budget."""

from collections.abc import Sequence
from math import inf, isinf, sqrt
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.proving.betting import at_most, is_proven, labels_needed
from penstock.domain.routing.proving.observation import loss_of

_Z: Final = 1.281552
"""half-width of an 80 % interval, in standard errors"""


class TierLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What one tier would lose on all requests of a feature, against the last one. None: unknown."""

    tier: str
    labels: int
    loss: float | None = None
    low: float | None = None
    """80 % interval"""
    high: float | None = None
    at_most: float | None = None
    """a round bound that the labels prove, with a probability of 90 %"""
    proven: bool = False
    """that it stays within the error budget"""


class RightSize(msgspec.Struct, frozen=True, kw_only=True):
    """One feature. The last tier always meets the budget, but without evidence nobody knows whether a smaller one does."""

    error_budget: float
    labels: int
    tiers: tuple[TierLoss, ...]
    smallest: str | None
    """by the measured loss; None: unknown"""
    proven: str | None
    """by what the labels prove; None: no cheap tier is"""
    lacking: int | None
    """about how many labels more it takes to prove the smallest one; 0: it is proven; None: no number of them would, as far as is known"""


def right_size(observations: Sequence[Observation], tiers: Sequence[str], error_budget: float) -> RightSize:
    """The size of one feature by its observations (oldest first), with tiers cheap to dear."""
    losses = tuple(_tier_loss(observations, tier, error_budget) for tier in tiers[:-1])
    known = [each for each in losses if each.loss is not None]
    smallest = next((each for each in known if each.loss is not None and each.loss <= error_budget), None)
    return RightSize(
        error_budget=error_budget,
        labels=max((each.labels for each in losses), default=0),
        tiers=losses,
        smallest=smallest.tier if smallest is not None else tiers[-1] if len(known) == len(losses) else None,
        proven=next((each.tier for each in losses if each.proven), None),
        lacking=_lacking(smallest, len(known) == len(losses), error_budget),
    )


def _tier_loss(observations: Sequence[Observation], tier: str, error_budget: float) -> TierLoss:
    pairs = [(1 / each.propensity, loss, each.noise) for each in observations if (loss := loss_of(each, tier)) is not None]
    if not pairs:
        return TierLoss(tier=tier, labels=0)
    losses = [_doubted(loss, noise) for _, loss, noise in pairs]
    weights = [weight for weight, _, _ in pairs]
    total = sum(weights)
    mean = sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / total
    # One lost answer more is added to what was seen: a few labels without any loss do not say that there is none.
    worst = (total * mean + weights[-1]) / (total + weights[-1])
    squares = sum((weight * (loss - mean)) ** 2 for weight, loss in zip(weights, losses, strict=True))
    half = _Z * sqrt(squares) / total
    return TierLoss(
        tier=tier,
        labels=len(losses),
        loss=mean,
        low=mean - half,
        high=max(mean + half, worst),
        at_most=at_most(losses),
        proven=is_proven(losses, error_budget),
    )


def _doubted(loss: float, noise: float) -> float:
    return min(loss / (1 - noise), 1.0) if loss > 0 else loss * (1 - noise)


def _lacking(smallest: TierLoss | None, all_known: bool, error_budget: float) -> int | None:
    if smallest is not None and smallest.proven:
        return 0
    if smallest is None and all_known:
        return None
    needed = labels_needed(error_budget, max(smallest.loss or 0.0, 0.0)) if smallest is not None else labels_needed(error_budget, 0.0)
    missing = inf if isinf(needed) else needed - (smallest.labels if smallest is not None else 0)
    return None if isinf(missing) else max(1, round(missing))
