"""How probable it is that two questions have the same answer: trees that were fitted once, and what this scope taught since.

The trees (gradient boosting, fitted by `bench/prior.py` on a public benchmark, shipped as data) give a first log-odds. On top of it one
logistic model is learned online over all entries of a scope: a Gaussian over its weights, updated in closed form after every fresh answer
(extended Kalman filter of the logistic likelihood; Bishop 2006, 4.5). What was learned of one entry serves all, and a new scope begins with
the prior.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from math import exp, log
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.domain.routing.similarity.features import NAMES, Pair, hashed

Row = NDArray[np.float64]
EXTRA: Final = ("one", "trees", "words_worst", "words_mean", "answer_record")
"""what stands before a pair's numbers in the rows of the online model"""
WIDTH: Final = len(EXTRA) + len(NAMES)
_HEAVIEST: Final = 10.0
"""most weight of one observation, however small its propensity"""
_FORGETTING: Final = 1.0003
"""the variance of weights grows by this with every observation, up to the prior's"""
_MOST_KNOWN: Final = 50_000
"""words, and answers, whose record is kept"""


class Trees(msgspec.Struct, frozen=True):
    """Boosted trees as flat arrays, a place for each node; a leaf leads to itself."""

    base: float
    depth: int
    roots: tuple[int, ...]
    feature: tuple[int, ...]
    cut: tuple[float, ...]
    """up to it to the left"""
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]


class Prior(msgspec.Struct, frozen=True):
    """What a scope begins with."""

    names: tuple[str, ...]
    """`features.NAMES` that the trees were fitted on"""
    trees: Trees
    weights: tuple[float, ...]
    """of the online model: (`WIDTH`,)"""
    spread: tuple[float, ...]
    """standard deviations of those weights"""


@lru_cache(maxsize=1)
def shipped() -> Prior:
    """The prior of this version."""
    data = files("penstock.domain.routing.similarity").joinpath("prior.json").read_bytes()
    return msgspec.json.decode(data, type=Prior)


class Forest:
    """The log-odds of rows of features."""

    def __init__(self, trees: Trees) -> None:
        self._base, self._depth = trees.base, trees.depth
        self._roots = np.array(trees.roots)
        self._feature, self._cut = np.array(trees.feature), np.array(trees.cut)
        self._ways = np.array([trees.left, trees.right])
        self._value = np.array(trees.value)

    def __call__(self, rows: Row) -> Row:
        """(n, features) -> (n,)"""
        at = np.broadcast_to(self._roots, (len(rows), len(self._roots)))
        which = np.arange(len(rows))[:, None]
        for _ in range(self._depth):
            beyond = rows[which, self._feature[at]] > self._cut[at]
            at = self._ways[beyond.astype(np.intp), at]
        return np.asarray(self._base + self._value[at].sum(axis=1))


@lru_cache(maxsize=4)
def _forest(trees: Trees) -> Forest:
    """One for all judges that begin with the same trees."""
    return Forest(trees)


class Learned(msgspec.Struct):
    """All that a judge has learned."""

    weights: list[float]
    spread: list[list[float]]
    words: dict[int, tuple[float, float]] = {}
    """word -> (same answer, other answer) of pairs that differed in it"""
    answers: dict[int, tuple[float, float]] = {}
    """answer -> how often it was right and wrong as the nearest"""


class Judge:
    """The pooled model of one scope."""

    def __init__(self, prior: Prior) -> None:
        """Raises ValueError for a prior of other features."""
        if prior.names != NAMES or len(prior.weights) != WIDTH:
            raise ValueError("the prior was fitted on other features: fit it anew with bench/prior.py")
        self._forest = _forest(prior.trees)
        self._weights = np.array(prior.weights)
        self._ceiling = np.square(np.array(prior.spread))
        self._spread = np.diag(self._ceiling)
        self._words: dict[int, tuple[float, float]] = {}
        self._answers: dict[int, tuple[float, float]] = {}

    def rows(self, pairs: Sequence[Pair]) -> Row:
        """What the online model sees of pairs: (pairs, `WIDTH`)."""
        numbers = np.array([pair.numbers for pair in pairs])
        rows = np.empty((len(pairs), WIDTH))
        rows[:, 0] = 1
        rows[:, 1] = np.clip(self._forest(numbers), -8, 8)
        for at, pair in enumerate(pairs):
            rows[at, 2:5] = (*self._of_words(pair.words), _odds(self._answers.get(hashed(pair.neighbour.answer))))
        rows[:, len(EXTRA) :] = numbers
        return rows

    def odds(self, rows: Row) -> Row:
        """Log-odds that answers are the same: (n, `WIDTH`) -> (n,), the smaller the less is known (MacKay 1992, moderated output)."""
        variance = np.einsum("ij,ij->i", rows @ self._spread, rows)
        return np.asarray(rows @ self._weights / np.sqrt(1 + np.pi / 8 * np.maximum(variance, 0)))

    def learn(self, row: Row, agreed: float, weight: float) -> None:
        """One pair whose answers were compared: `agreed` from 0 to 1."""
        weight = min(weight, _HEAVIEST)
        p = 1 / (1 + exp(-min(max(float(row @ self._weights), -30.0), 30.0)))
        reach = self._spread @ row
        slope = weight * max(p * (1 - p), 1e-3)
        shrink = 1 + slope * float(row @ reach)
        self._weights = self._weights + reach * (weight * (agreed - p) / shrink)
        self._spread = (self._spread - np.outer(reach, reach) * (slope / shrink)) * _FORGETTING
        width = np.diag(self._spread)
        if (width > self._ceiling).any():
            scale = np.sqrt(np.minimum(1.0, self._ceiling / np.maximum(width, 1e-12)))
            self._spread = self._spread * np.outer(scale, scale)

    def note_words(self, words: Sequence[int], agreed: float) -> None:
        """Keeps which words made a difference and which did not."""
        for word in words:
            _note(self._words, word, agreed)

    def note_answer(self, answer: int, agreed: float) -> None:
        """Keeps how an answer (its hash) fared as the nearest."""
        _note(self._answers, answer, agreed)

    def learned(self) -> Learned:
        return Learned(self._weights.tolist(), self._spread.tolist(), dict(self._words), dict(self._answers))

    def go_on(self, learned: Learned) -> None:
        """Raises ValueError for what was learned of other features."""
        if len(learned.weights) != WIDTH or [len(row) for row in learned.spread] != [WIDTH] * WIDTH:
            raise ValueError("what was learned is of other features")
        self._weights, self._spread = np.array(learned.weights), np.array(learned.spread)
        self._words, self._answers = dict(learned.words), dict(learned.answers)

    def _of_words(self, words: Sequence[int]) -> tuple[float, float]:
        if not words:
            return 0.0, 0.0
        odds = [_odds(self._words.get(word)) for word in words]
        return min(odds), sum(odds) / len(odds)


def _odds(record: tuple[float, float] | None) -> float:
    return 0.0 if record is None else min(max(log((record[0] + 1) / (record[1] + 1)), -3.0), 3.0)


def _note(records: dict[int, tuple[float, float]], key: int, agreed: float) -> None:
    """Adds to a record and puts it last; the one that was not touched for longest goes when there are too many."""
    right, wrong = records.pop(key, (0.0, 0.0))
    records[key] = (right + agreed, wrong + 1 - agreed)
    if len(records) > _MOST_KNOWN:
        del records[next(iter(records))]
