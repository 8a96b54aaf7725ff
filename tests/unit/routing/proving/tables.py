"""Rows with known truth for the laws of proving: two cheap tiers and a reference, whose losses are drawn from what a test says."""

import random
from collections.abc import Iterator

from penstock.domain.ledger.routed import Judge, Observation, Seen
from penstock.domain.routing.proving.knowledge import Law

TIERS = ("small", "mid", "large")
COSTS = {"small": 1_000, "mid": 2_000, "large": 20_000}


def law(error_budget: float = 0.03, strategy: str = "learned", *, together: bool = False, models: dict[str, str] | None = None) -> Law:
    return Law(route="auto", tiers=TIERS, strategy=strategy, error_budget=error_budget, together=together, models=models or {})


def row(
    tag: str,
    small: float,
    *,
    agree: bool = True,
    mid: float | None = None,
    large: float = 1.0,
    judge: Judge = "check",
    noise: float = 0.0,
    models: dict[str, str] | None = None,
    costs: dict[str, int] = COSTS,
    at_ns: int = 0,
) -> Observation:
    """Qualities of the three tiers; the cheap two say the same where they `agree`."""
    answers = {"small": "a", "mid": "a" if agree else "b", "large": "a" if small == large else "c"}
    qualities = {"small": small, "mid": small if mid is None else mid, "large": large}
    named = models or {}
    seen = tuple(
        Seen(tier=tier, quality=qualities[tier], cost=costs[tier], answer=answers[tier], model=named.get(tier, "")) for tier in TIERS
    )
    return Observation(id=f"{tag}-{at_ns}", at_ns=at_ns, route="auto", tag=tag, seen=seen, judge=judge, noise=noise)


def rows(tag: str, count: int, dice: random.Random, *, agreed: float, lost_agreed: float, lost_differing: float) -> Iterator[Observation]:
    """`agreed`: share of requests on which the cheap tiers agree; then the shares of them on which the cheap ones are wrong."""
    for number in range(count):
        agree = dice.random() < agreed
        wrong = dice.random() < (lost_agreed if agree else lost_differing)
        yield row(tag, 0.0 if wrong else 1.0, agree=agree, mid=0.0 if wrong else 1.0, at_ns=number)
