"""How far ways may be opened: the cheapest choice for some tags together whose expected loss stays within the error budget.

What is open on a tag is expected to lose the sum of share x part kept x mean loss over its strata. Of the tags together the mean, and some
standard deviations (`caution`) of what is not known of it, has to stay within the budget; of each tag within `MOST` budgets where several
share one. A way opens from its safest stratum on, by steps, so that what is proven is proven of one of few openings.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Final, NamedTuple

from penstock.domain.ledger.routed import Stratum
from penstock.domain.routing.proving.estimating import Belief

SETTLED_CAUTION: Final = 1.3
"""for tags with labels of their own: what is not known of them is mostly noise of their labels"""
NEW_CAUTION: Final = 0.6
"""for new tags: what is not known of them is mostly how tags differ, which evens out over several"""
MOST: Final = 10.0
STEPS: Final = 10
"""of a stratum"""
_HIGH: Final = 1.2816
"""standard deviations at the ends of an 80 % interval"""
_HALVINGS: Final = 40
_ROUNDING: Final = 1e-12
_DEAREST: Final = 1e4
"""the most that a loss of 1 is taken to be worth, in requests of the last tier"""


class Opening(NamedTuple):
    """Parts of strata that are kept, and what that is expected to lose, as a mean over all requests of the tag."""

    parts: tuple[tuple[Stratum, float], ...]
    kept: float
    """share of requests whose cheap answer is kept"""
    loss: float
    deviation: float

    @property
    def interval(self) -> tuple[float, float]:
        return self.loss - _HIGH * self.deviation, self.loss + _HIGH * self.deviation

    def bound(self, caution: float) -> float:
        """What it is taken to lose."""
        return self.loss + caution * self.deviation


class Choice(NamedTuple):
    """What a tag may be given. `worth`: what a request costs then, as the law weighs it; less is better."""

    way: int | None
    """None: the last tier alone"""
    opening: Opening
    worth: float


CLOSED: Final = Opening((), 0.0, 0.0, 0.0)


def openings(strata: Sequence[Stratum], shares: Mapping[Stratum, float], beliefs: Mapping[Stratum, Belief | None]) -> Iterator[Opening]:
    """All openings of a way, from the narrowest. `shares`: of requests, by stratum. A stratum of which nothing is known stays closed, and
    so does what comes after it; a way with a single stratum is open or not."""
    parts: tuple[tuple[Stratum, float], ...] = ()
    kept = loss = variance = 0.0
    for stratum in strata:
        share, belief = shares.get(stratum, 0.0), beliefs.get(stratum)
        if belief is None:
            return
        for step in (STEPS,) if len(strata) == 1 else range(1, STEPS + 1):
            part = step / STEPS
            spread = sqrt(variance + (part * share) ** 2 * belief.variance)
            yield Opening((*parts, (stratum, part)), kept + part * share, loss + part * share * belief.mean, spread)
        parts = (*parts, (stratum, 1.0))
        kept, loss, variance = kept + share, loss + share * belief.mean, variance + share**2 * belief.variance


def allocate(choices: Sequence[Sequence[Choice]], weights: Sequence[float], budget: float, caution: float) -> list[Choice]:
    """One of the choices for each tag. `weights`: of the tags among the requests, in any unit; each has the choice to stay closed."""
    if len(choices) == 1:
        return [min((each for each in choices[0] if each.opening.bound(caution) <= budget), key=lambda each: each.worth)]
    total = sum(weights)
    parts = [weight / total for weight in weights]
    bearable = [[each for each in of_tag if each.opening.bound(caution) <= MOST * budget] for of_tag in choices]
    low, high = 0.0, _DEAREST
    for _ in range(_HALVINGS):
        middle = sqrt((low + 1e-3) * high) if high > 1 else (low + high) / 2
        if _bound([_cheapest(of_tag, middle, caution) for of_tag in bearable], parts, caution) <= budget:
            high = middle
        else:
            low = middle
    return _filled(bearable, [_cheapest(of_tag, high, caution) for of_tag in bearable], parts, budget, caution)


def _filled(
    choices: Sequence[Sequence[Choice]], chosen: list[Choice], parts: Sequence[float], budget: float, caution: float
) -> list[Choice]:
    """What is left of the budget is spent where it saves most, tag by tag: prices alone find only choices on the convex hull."""
    by_worth = [sorted(of_tag, key=lambda each: each.worth) for of_tag in choices]
    while True:
        best: tuple[float, int, Choice] | None = None
        loss, variance = _sums(chosen, parts)
        for at, (of_tag, part, now) in enumerate(zip(by_worth, parts, chosen, strict=True)):
            for each in of_tag:
                saved = part * (now.worth - each.worth)
                if saved <= 1e-9 or (best is not None and saved <= best[0]):
                    break
                more = part * (each.opening.loss - now.opening.loss)
                wider = part**2 * (each.opening.deviation**2 - now.opening.deviation**2)
                if loss + more + caution * sqrt(max(variance + wider, 0.0)) <= budget - _ROUNDING:
                    best = saved, at, each
                    break
        if best is None:
            return chosen
        chosen[best[1]] = best[2]


def _cheapest(choices: Sequence[Choice], price: float, caution: float) -> Choice:
    return min(choices, key=lambda each: each.worth + price * each.opening.bound(caution))


def _bound(chosen: Sequence[Choice], parts: Sequence[float], caution: float) -> float:
    loss, variance = _sums(chosen, parts)
    return loss + caution * sqrt(variance)


def _sums(chosen: Sequence[Choice], parts: Sequence[float]) -> tuple[float, float]:
    """Loss of tags together, and its variance."""
    loss = sum(part * each.opening.loss for part, each in zip(parts, chosen, strict=True))
    return loss, sum((part * each.opening.deviation) ** 2 for part, each in zip(parts, chosen, strict=True))
