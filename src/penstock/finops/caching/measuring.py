"""How often the cache is wrong, as probes show: questions that could have been answered by meaning, were asked all the same, and compared.

A probe stands for as many answers as it had odds of being served: with a forced share of 2 % each one counts for 49 that were served.
"""

from math import sqrt

import msgspec

from penstock.ports.answer_store import Evidence

Z = 1.96
"""standard normal deviate of a two-sided interval of 95 %"""
LEAST = 10
"""probes (as many as all of them are worth) below which nothing is said"""


class Probes(msgspec.Struct, frozen=True, array_like=True):
    """Sums over probes, each by its weight: what it stands for."""

    count: int = 0
    weight: float = 0.0
    squares: float = 0.0
    wrong: float = 0.0

    def plus(self, more: "Probes") -> "Probes":
        """Both together."""
        return Probes(self.count + more.count, self.weight + more.weight, self.squares + more.squares, self.wrong + more.wrong)


class Measured(msgspec.Struct, frozen=True):
    """The share of answers by meaning that are wrong, with an interval of 95 %."""

    estimate: float
    low: float
    high: float
    probes: int


def probe_of(event: Evidence) -> Probes | None:
    """What one comparison tells of answers that are served; None for a question that no answer would have been served to."""
    if not event.fits or not 0 < event.propensity <= 1:
        return None
    agreed = next((each.agreed for each in event.compared if each.entry == event.chosen), None)
    if agreed is None:
        return None
    # Where nothing was served (shadow) every comparison counts alike; else each stands for those of its kind that were served.
    weight = 1.0 if event.propensity == 1 else (1 - event.propensity) / event.propensity
    return Probes(1, weight, weight * weight, weight * (1 - agreed))


def measured_error(probes: Probes) -> Measured | None:
    """The share of wrong answers among those that are served by meaning; None: too few were compared to say.

    The interval is Wilson's, over as many equal probes as the weighted ones are worth. It describes what was measured; what is
    promised rests on the bound in `domain/routing/similarity`.
    """
    if not probes.squares or (worth := probes.weight * probes.weight / probes.squares) < LEAST:
        return None
    share = min(max(probes.wrong / probes.weight, 0.0), 1.0)
    middle = (share + Z * Z / (2 * worth)) / (1 + Z * Z / worth)
    half = Z * sqrt(share * (1 - share) / worth + Z * Z / (4 * worth * worth)) / (1 + Z * Z / worth)
    return Measured(share, max(middle - half, 0.0), min(middle + half, 1.0), probes.count)
