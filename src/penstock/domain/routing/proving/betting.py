"""What labels prove of a mean loss, whatever its distribution and whenever one looks.

**Proof.** To show that the mean of losses y (from -1 to 1, to 2 where a judge misses some) is below a bound a, one bets against the
opposite: while the mean given the past is at least a, the capital prod(1 - b (y - a)) is a supermartingale for every stake b from 0 to
1 / (2 - a), and so is a mean over stakes. By
Ville's inequality it ever reaches 1 / delta with probability at most delta (Waudby-Smith and Ramdas, JRSS-B 86, 2024). Openings are tested
in a fixed order, from the safest on, until one is not proven (Learn then Test, fixed-sequence testing; Angelopoulos et al., 2021), so that
with probability 1 - delta none is called proven whose mean loss is above the bound. That holds while labels are a fair sample of the
requests (a coin chose them) and the mean does not move.

**Alarm.** Where it does move, a bet the other way gains: the sum over starts of prod(1 + b (y - a)) (Shiryaev and Roberts; e-detectors of
Shin, Ramdas and Rinaldo, 2023) reaches `_ALARM` after that many labels on average, or later, while the mean loss is at most a.
"""

from collections.abc import Iterable, Sequence
from math import inf, log
from typing import Final

DELTA: Final = 0.1
_STAKES: Final = (0.03, 0.1, 0.25, 0.5)
_ALARM: Final = 1_000.0
"""labels between false alarms, on average and at least"""
_RAISED: Final = (0.1, 0.3, 0.6)
_BOUNDS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5)


def is_proven(losses: Iterable[float], bound: float, delta: float = DELTA) -> bool:
    """Whether the losses, in the order in which they were seen, prove at some time that their mean is below the bound."""
    capitals = [1.0] * len(_STAKES)
    for loss in losses:
        capitals = [capital * (1 - stake * (loss - bound)) for capital, stake in zip(capitals, _STAKES, strict=True)]
        if sum(capitals) >= len(capitals) / delta:
            return True
    return False


def at_most(losses: Sequence[float], delta: float = DELTA) -> float | None:
    """The least of some round bounds that is proven; None: none is."""
    return next((bound for bound in _BOUNDS if is_proven(losses, bound, delta)), None)


class Alarm:
    """Watches one tag while something cheap is open there."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._begin()

    def heard(self, loss: float) -> int | None:
        """Takes in a loss of what is kept (0 where it was not). Rings where that is too much by now, and begins anew: since how many labels
        it has been so (the start that the best bet would have had; Page, Biometrika 41, 1954)."""
        best = 0.0
        for at, stake in enumerate(_RAISED):
            factor = max(1 + stake * (loss - self._bound), 0.0)
            self._sums[at] = (1 + self._sums[at]) * factor
            self._runs[at] = factor * max(self._runs[at], 1.0)
            self._lengths[at] = self._lengths[at] + 1 if self._runs[at] > factor else 1
            best = max(best, self._runs[at])
        if sum(self._sums) / len(self._sums) < _ALARM:
            return None
        since = self._lengths[self._runs.index(best)]
        self._begin()
        return since

    def _begin(self) -> None:
        self._sums, self._runs, self._lengths = [0.0] * len(_RAISED), [0.0] * len(_RAISED), [0] * len(_RAISED)


def labels_needed(bound: float, loss: float, delta: float = DELTA) -> float:
    """About how many labels prove the bound where a share `loss` of requests is lost wholly, by the growth of the best bet; infinite where
    that share is not below the bound."""
    if not 0 <= loss < bound:
        return inf if loss >= bound else labels_needed(bound, 0.0, delta)
    growth = max(loss * log(1 - stake * (1 - bound)) + (1 - loss) * log(1 + stake * bound) for stake in _STAKES)
    return log(len(_STAKES) / delta) / growth if growth > 0 else inf
