"""Cross-validation of the latency model: random parts with twins kept together, and whole pairs of model and device held out."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.latency_points import Case, Example
from penstock.domain.sizing.latency.deployment import Prediction

Floats = NDArray[np.float64]
Predict = Callable[[Sequence[Case]], list[Prediction]]
Predictor = Callable[[Sequence[Example]], Predict]
"""fits on examples; what it returns predicts"""
PARTS = 5
TWIN = 0.005
"""of a logarithm: the same run, listed twice, differs by rounding"""


class Errors(NamedTuple):
    """Of a set of predictions: shares of what was measured."""

    points: int
    median: float
    p90: float


def random_parts(examples: Sequence[Example], seed: int = 0) -> NDArray[np.int64]:
    """The part of each example, 0 to `PARTS` - 1."""
    groups = twins(examples)
    parts: NDArray[np.int64] = np.random.default_rng(seed).integers(0, PARTS, max(groups) + 1)[groups]
    return parts


def pair_parts(examples: Sequence[Example]) -> NDArray[np.int64]:
    names = [case.pair for case, _ in examples]
    codes = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([codes[name] for name in names])


def twins(examples: Sequence[Example]) -> list[int]:
    """The group of each example: equal models, devices and lengths with the same two times, within rounding."""
    groups: list[int] = []
    seen: dict[tuple[str, int, int], list[tuple[float, float, int]]] = {}
    count = 0
    for case, point in examples:
        key = case.pair, case.workload.input_tokens, case.workload.output_tokens
        times = math.log(point.ttft_ms), math.log(point.tpot_ms)
        same = [group for first, token, group in seen.get(key, []) if abs(first - times[0]) < TWIN and abs(token - times[1]) < TWIN]
        group = same[0] if same else count
        count += not same
        seen.setdefault(key, []).append((*times, group))
        groups.append(group)
    return groups


def held_out(examples: Sequence[Example], parts: NDArray[np.int64], predictor: Predictor) -> list[Prediction]:
    """Of each example, predicted by what was fitted on the other parts."""
    found: list[Prediction | None] = [None] * len(examples)
    for part in sorted(set(parts.tolist())):
        out = np.flatnonzero(parts == part).tolist()
        predict = predictor([examples[i] for i in np.flatnonzero(parts != part).tolist()])
        for place, prediction in zip(out, predict([examples[i][0] for i in out]), strict=True):
            found[place] = prediction
    return [each for each in found if each is not None]


def errors(kind: str, examples: Sequence[Example], predictions: Sequence[Prediction], mixture: bool | None = None) -> Errors:
    told = [
        abs(getattr(said, f"{kind}_ms") / getattr(point, f"{kind}_ms") - 1)
        for (case, point), said in zip(examples, predictions, strict=True)
        if mixture is None or case.mixture == mixture
    ]
    return Errors(len(told), float(np.median(told)), float(np.quantile(told, 0.9)))


def covered(kind: str, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    """The share that lies in its band."""
    inside = [
        getattr(said, f"{kind}_low_ms") <= getattr(point, f"{kind}_ms") <= getattr(said, f"{kind}_high_ms")
        for (_, point), said in zip(examples, predictions, strict=True)
    ]
    return float(np.mean(inside))
