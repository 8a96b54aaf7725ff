"""Other ways of routing, for comparison. Each is fitted on rows of its training part and decides those of another.

All get the same error budget and no certainty: the operating point is the cheapest one whose mean loss on training rows is within the
budget, which is what a static threshold is. Parts that know their training rows by heart choose it on rows that were kept apart.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.routing_frames import Choice, Floats, Frame, Indices
from penstock.domain.routing.complexity import features
from penstock.domain.routing.control import best_split
from penstock.domain.routing.needs import class_of, place_of, task_of

NEIGHBOURS: Final = 50
SHRINKS_BY: Final = 10.0
"""rows of the pool's mean that are added to a task's"""
_POINTS: Final = 41
"""operating points that are tried"""
_STEPS: Final = 30
_RIDGE: Final = 2.0

Peer = Callable[[Frame, Frame, float, np.random.Generator], Choice]


def _within(train: Frame, choice: Choice, budget: float) -> float | None:
    """The cost of a choice that keeps the budget on training rows; None: it does not."""
    return choice.cost_share(train) if choice.loss(train) <= budget else None


def strong(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    return test.chosen(np.full(len(test.rows), test.quality.shape[1] - 1))


def fixed_split(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """The cheapest mix of two models that keeps the budget, as what it is expected to be on each row."""
    quality, cost = train.quality.mean(0), train.cost.mean(0)
    best = next(
        split
        for spend in np.linspace(cost.min(), max(cost.max(), cost[-1]), 400)
        for split, reached in (best_split(quality, cost, float(spend)),)
        if quality[-1] - reached <= budget
    )
    shares = np.zeros(len(cost))
    for tier, share in best:
        shares[tier] += share
    return Choice(test.quality @ shares, test.cost @ shares)


def oracle(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """The cheapest of the models that are best on the row: no router can be better."""
    best = test.quality >= test.quality.max(1, keepdims=True)
    return test.chosen(np.where(best, test.cost, np.inf).argmin(1))


def _by_score(score: Callable[[Frame], Floats]) -> Peer:
    """One cheap model for the rows whose score is low, the strong one for the rest; the model and the threshold are chosen."""

    def choose(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
        cheap, threshold, least = train.quality.shape[1] - 1, -np.inf, 1.0
        known = score(train)
        for weak in range(train.quality.shape[1] - 1):
            for point in np.quantile(known, np.linspace(0, 1, _POINTS)):
                share = _within(train, train.chosen(_two(known, point, weak, train)), budget)
                if share is not None and share < least:
                    cheap, threshold, least = weak, point, share
        return test.chosen(_two(score(test), threshold, cheap, test))

    return choose


def _two(score: Floats, threshold: float, weak: int, frame: Frame) -> Indices:
    return np.where(score <= threshold, weak, frame.quality.shape[1] - 1)


def chance(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    return _by_score(lambda frame: rng.random(len(frame.rows)))(train, test, budget, rng)


length: Final = _by_score(lambda frame: frame.length)


def heuristic(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """Rules of thumb, as `by_complexity` goes by them: nothing is fitted."""
    tiers = test.quality.shape[1]
    points = [features(row.request) for row in test.rows]
    scores = [row.complexity for row in test.rows]
    classes = [class_of(score, task_of(each), budget) for score, each in zip(scores, points, strict=True)]
    return test.chosen(np.array([place_of(each, tiers) for each in classes]))


def gate(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """Two cheap models are asked; where they say the same, that is served. The cheapest pair that keeps the budget."""
    best: tuple[float, tuple[int, int]] | None = None
    for pair in combinations(range(train.quality.shape[1] - 1), 2):
        share = _within(train, _gated(train, pair), budget)
        if share is not None and share < (1.0 if best is None else best[0]):
            best = share, pair
    return strong(train, test, budget, rng) if best is None else _gated(test, best[1])


def _gated(frame: Frame, pair: tuple[int, int]) -> Choice:
    first, second = pair
    same = (frame.answers[:, first] >= 0) & (frame.answers[:, first] == frame.answers[:, second])
    quality = np.where(same, frame.quality[:, first], frame.quality[:, -1])
    return Choice(quality, frame.cost[:, first] + frame.cost[:, second] + np.where(same, 0.0, frame.cost[:, -1]))


def task_table(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """Each task's mean quality of each model; the strong one for tasks that were not seen."""
    table = _table(train)
    known = np.array([table[tag] for tag in train.tags])
    weight = _weight(train, known, budget)
    expected = np.array([table.get(tag, _only_strong(test)) for tag in test.tags])
    return test.chosen(_best(expected, _mean_cost(train), weight))


def _table(train: Frame) -> dict[str, Floats]:
    overall = train.quality.mean(0)
    found = {}
    for tag in np.unique(train.tags):
        own = train.quality[train.tags == tag]
        found[str(tag)] = (own.sum(0) + SHRINKS_BY * overall) / (len(own) + SHRINKS_BY)
    return found


def _only_strong(frame: Frame) -> Floats:
    expected = np.full(frame.quality.shape[1], -1e9)
    expected[-1] = 1.0
    return expected


def neighbours(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """The mean of the training rows whose words are most alike."""
    weight = _weight(train, _nearest(train, train, itself=True), budget)
    return test.chosen(_best(_nearest(train, test), _mean_cost(train), weight))


def _nearest(train: Frame, asked: Frame, *, itself: bool = False) -> Floats:
    alike = asked.words.astype(np.float32) @ train.words.astype(np.float32).T
    if itself:
        np.fill_diagonal(alike, -1.0)
    count = min(NEIGHBOURS, alike.shape[1] - 1)
    nearest = np.argpartition(-alike, count, axis=1)[:, :count]
    expected: Floats = train.quality[nearest].mean(1)
    return expected


def logistic(train: Frame, test: Frame, budget: float, rng: np.random.Generator) -> Choice:
    """Logistic regression on hashed words and the features of the complexity score, one for each model."""
    apart = rng.random(len(train.rows)) < 1 / 3
    learnt, kept = train.of(np.flatnonzero(~apart)), train.of(np.flatnonzero(apart))
    weight = _weight(kept, _regression(learnt, kept), budget)
    return test.chosen(_best(_regression(train, test), _mean_cost(train), weight))


def _regression(train: Frame, asked: Frame) -> Floats:
    """Newton steps with the bound on the curvature (Boehning and Lindsay, 1988), which is the same for all models and all steps."""
    mean, spread = train.traits.mean(0), train.traits.std(0) + 1e-9
    known, new = [_inputs(each, mean, spread) for each in (train, asked)]
    inverse = np.linalg.inv(known.T @ known / 4 + _RIDGE * np.eye(known.shape[1], dtype=np.float32))
    graded = train.quality.astype(np.float32)
    weights = np.zeros((known.shape[1], graded.shape[1]), np.float32)
    for _ in range(_STEPS):
        weights += inverse @ (known.T @ (graded - _sigmoid(known @ weights)) - _RIDGE * weights)
    return _sigmoid(new @ weights).astype(float)


def _inputs(frame: Frame, mean: Floats, spread: Floats) -> NDArray[np.float32]:
    every = np.ones(len(frame.rows))
    return np.column_stack((every, (frame.traits - mean) / spread, frame.words * 3)).astype(np.float32)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-np.clip(values, -30, 30)))).astype(np.float32)


def _mean_cost(frame: Frame) -> Floats:
    """Of each model, as a share of the strong one's."""
    found: Floats = frame.cost.mean(0) / frame.cost[:, -1].mean()
    return found


def _best(expected: Floats, cost: Floats, weight: float) -> Indices:
    found: Indices = (expected - weight * cost).argmax(1)
    return found


def _weight(frame: Frame, expected: Floats, budget: float) -> float:
    """Of cost against quality: that of the cheapest choice that keeps the budget; without one, cost counts for nothing."""
    weight, least = 0.0, np.inf
    for point in np.geomspace(1e-4, 10, _POINTS):
        share = _within(frame, frame.chosen(_best(expected, _mean_cost(frame), point)), budget)
        if share is not None and share < least:
            weight, least = float(point), share
    return weight


PEERS: Final[Mapping[str, Peer]] = {
    "strong": strong,
    "random": chance,
    "length": length,
    "heuristic": heuristic,
    "task table": task_table,
    "kNN": neighbours,
    "logistic": logistic,
    "gate": gate,
    "fixed split": fixed_split,
    "oracle": oracle,
}
