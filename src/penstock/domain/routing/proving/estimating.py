"""What the loss of a stratum is likely to be on a tag: its own labels, and what other tags make likely.

A normal hierarchical model. Tags differ from each other with a variance that is estimated by the method of moments (DerSimonian and Laird,
Controlled Clinical Trials 7, 1986), so a tag without labels is expected to be as good as the others are on average, and is believed no more
than they differ. Tags with few labels share an effect of their own: what is new may be new in the same way.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf, sqrt
from typing import Final, NamedTuple

import msgspec

SETTLED: Final = 60.0
"""labels from which on a tag is no longer new"""
_COUNTED: Final = 8.0
"""labels from which on a tag tells how much tags differ"""
_FEWEST: Final = 3
"""such tags that are needed to say anything of another one"""
_USUAL_SPREAD: Final = 0.12
"""of the losses of tags, as a standard deviation, where few tags tell: agreed answers of tables spread by about 0.08, others by 0.12"""
_USUAL_WEIGHT: Final = 3.0
"""settled tags that it counts for"""
_LEAST_SPREAD: Final = 0.03
"""the same, however alike tags seem"""
_LEAST_NOISE: Final = 0.02
"""of the loss of one request, as a variance: rare losses may not have been seen yet"""
_SHARED: Final = 0.5
"""part of the variance between tags that new ones have in common"""
_DOUBT: Final = 1.0
"""losses of 1 that are added to the labels of a tag where nothing else is known"""


class Labels(msgspec.Struct, frozen=True):
    """Labels of one stratum of one tag."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    """sum of squared deviations"""

    def plus(self, loss: float, weight: float = 1.0) -> "Labels":
        """With one more (West, CACM 22, 1979)."""
        count = self.count + weight
        mean = self.mean + weight * (loss - self.mean) / count
        return Labels(count, mean, self.squares + weight * (loss - self.mean) * (loss - mean))

    @property
    def error(self) -> float:
        """Of the mean, as a standard deviation."""
        return sqrt(max(self.squares / self.count, _LEAST_NOISE) / self.count) if self.count else inf


class Belief(NamedTuple):
    """Mean and variance of a mean loss."""

    mean: float
    variance: float

    @property
    def deviation(self) -> float:
        return sqrt(self.variance)


class Stratified:
    """One stratum of one way over all tags."""

    def __init__(self, labels: Mapping[str, Labels]) -> None:
        self._labels = labels
        total = sum(each.count for each in labels.values())
        within = sum(each.squares for each in labels.values())
        self._noise = max(within / max(total - len(labels), 1.0), _LEAST_NOISE)
        self._between = _spread([each for each in labels.values() if each.count >= _COUNTED], self._noise)
        self._news = None if self._between is None else self._of_new(*self._between)

    def belief(self, tag: str) -> Belief | None:
        """What to expect of a tag; None: nothing is known of it."""
        own = self._labels.get(tag, Labels())
        if self._between is None or self._news is None:
            return self._by_itself(own)
        prior = Belief(self._between[0].mean, self._between[1]) if own.count >= SETTLED else self._news
        precision = 1 / prior.variance + own.count / self._noise
        return Belief((prior.mean / prior.variance + own.count * own.mean / self._noise) / precision, 1 / precision)

    @cached_property
    def pooled(self) -> Labels:
        """All labels of all tags, as if they were one."""
        count = sum(each.count for each in self._labels.values())
        mean = sum(each.count * each.mean for each in self._labels.values()) / count if count else 0.0
        return Labels(count, mean, sum(each.squares + each.count * (each.mean - mean) ** 2 for each in self._labels.values()))

    def _by_itself(self, own: Labels) -> Belief | None:
        if not own.count:
            return None
        count = own.count + _DOUBT
        return Belief((own.count * own.mean + _DOUBT) / count, self._noise / count)

    def _of_new(self, pooled: Belief, spread: float) -> Belief:
        """What new tags are expected to be, by the labels that they have together: no better than no loss, whatever others gain."""
        pooled = Belief(max(pooled.mean, 0.0), pooled.variance)
        new = [each for each in self._labels.values() if 0 < each.count < SETTLED]
        shared, own = _SHARED * spread + pooled.variance, (1 - _SHARED) * spread
        if not new:
            return Belief(pooled.mean, shared + own)
        count = sum(each.count for each in new)
        mean = sum(each.count * each.mean for each in new) / count
        effective = count**2 / sum(each.count**2 for each in new)
        gain = shared / (shared + own / effective + self._noise / count)
        return Belief(pooled.mean + gain * (mean - pooled.mean), (1 - gain) * shared + own)


def _spread(tags: Sequence[Labels], noise: float) -> tuple[Belief, float] | None:
    """The mean over tags, and the variance between them; None where too few are known."""
    if len(tags) < _FEWEST:
        return None
    weights = [each.count / noise for each in tags]
    total = sum(weights)
    mean = sum(weight * each.mean for weight, each in zip(weights, tags, strict=True)) / total
    heterogeneity = sum(weight * (each.mean - mean) ** 2 for weight, each in zip(weights, tags, strict=True))
    scale = total - sum(weight**2 for weight in weights) / total
    spread = max((heterogeneity - (len(tags) - 1)) / scale, _LEAST_SPREAD**2)
    known = sum(min(each.count / SETTLED, 1.0) for each in tags)
    spread = (known * spread + _USUAL_WEIGHT * _USUAL_SPREAD**2) / (known + _USUAL_WEIGHT)
    weights = [1 / (1 / weight + spread) for weight in weights]
    mean = sum(weight * each.mean for weight, each in zip(weights, tags, strict=True)) / sum(weights)
    return Belief(mean, 1 / sum(weights)), spread
