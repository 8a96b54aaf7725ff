"""What measurements say beyond the physics: a Gaussian process on the logarithm of measured over predicted.

Its covariance is a sum of components, each of which says which rows are alike and in what:

- level: rows with equal labels (the same model, the same engine on the same generation, ...) share an offset: partial pooling;
- smooth: they share a smooth function (Matern 3/2) of the logarithms of load, lengths and parallelism.

Nothing is alike with an unknown label, so an unknown model, engine or device falls back to the physics, with the variance of
everything it does not share. Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.domain.sizing.latency.features import Floats

LABELS = ("family", "model", "accelerator", "generation", "engine", "version", "format", "setup", "spread")
NUMBERS = ("concurrency", "input", "output", "devices", "experts over", "copies", "waiting")
SCALES: Floats = np.array([2.0, 2.0, 2.0, 1.5, 1.0, 1.0, 0.7])
"""length scales of the smooth parts, in natural logarithms of `NUMBERS`"""
APART = "\x1f"
UNKNOWN = -1
SMALL = 64
"""rows of a matrix that is inverted at once"""


class Component(msgspec.Struct, frozen=True):
    """A term of the covariance."""

    kind: Literal["level", "smooth"]
    labels: tuple[str, ...]
    """of `LABELS`: rows are alike where all of them are equal and known"""
    variance: float
    """of the logarithm"""


class Rows(NamedTuple):
    """n rows to compare."""

    labels: NDArray[np.str_]
    """(n, len(LABELS)); empty where unknown"""
    numbers: Floats
    """(n, len(NUMBERS)), logarithms"""


class Groups(NamedTuple):
    """Rows that are alike for a component."""

    codes: dict[str, int]
    of: NDArray[np.int64]
    """(n,); `UNKNOWN` for rows that are like no other"""


class Posterior(NamedTuple):
    """What the rows of measurements imply."""

    rows: Rows
    components: tuple[Component, ...]
    groups: tuple[Groups, ...]
    """of each component"""
    root: Floats
    """inverse of the Cholesky factor of their covariance with noise"""
    weights: Floats


def posterior(rows: Rows, residuals: Floats, noise: Floats, components: Sequence[Component]) -> Posterior:
    """`residuals` are the logarithms, (n,); `noise` their variances, (n,)."""
    kept = tuple(components)
    groups = tuple(grouped(component.labels, rows) for component in kept)
    total = covariance(kept, groups, rows, rows)
    total[np.diag_indices(len(noise))] += noise
    root = _inverse(np.linalg.cholesky(total).astype(np.float64))
    return Posterior(rows, kept, groups, root, root.T @ (root @ residuals))


def predicted(given: Posterior, rows: Rows) -> tuple[Floats, Floats]:
    """Mean and variance of the residual of each row, noise not included."""
    across = closeness(given, rows)
    explained = given.root @ across
    prior = sum(component.variance for component in given.components)
    return across.T @ given.weights, np.maximum(prior - (explained**2).sum(0), 0.0)


def closeness(given: Posterior, rows: Rows) -> Floats:
    """Covariance of each measured row with each of the rows."""
    return covariance(given.components, given.groups, given.rows, rows)


def left_out(given: Posterior) -> tuple[Floats, Floats]:
    """Residual of each measured row from what all others predict, and its variance, noise included (Rasmussen & Williams, 5.12)."""
    precision = (given.root**2).sum(0)
    return given.weights / precision, 1 / precision


def grouped(labels: Sequence[str], rows: Rows) -> Groups:
    """Rows that are equal in all of the labels, and known, in one group."""
    codes: dict[str, int] = {}
    return Groups(codes, np.array([codes.setdefault(key, len(codes)) if key else UNKNOWN for key in _keys(labels, rows)]))


def covariance(components: Sequence[Component], groups: Sequence[Groups], a: Rows, b: Rows) -> Floats:
    """(rows of a, rows of b); `groups` are those of a, of each component."""
    sums = {kind: np.zeros((len(a.numbers), len(b.numbers))) for kind in ("level", "smooth")}
    for component, known in zip(components, groups, strict=True):
        others = known.of if a is b else np.array([known.codes.get(key, UNKNOWN) for key in _keys(component.labels, b)])
        alike = (known.of[:, None] == others[None, :]) & (others != UNKNOWN)[None, :]
        total = sums[component.kind]
        np.add(total, component.variance, out=total, where=alike)
    both: Floats = sums["level"] + sums["smooth"] * nearness(a, b)
    return both


def _keys(labels: Sequence[str], rows: Rows) -> list[str]:
    """Of each row; empty where a label is unknown."""
    columns = [LABELS.index(label) for label in labels]
    return [APART.join(row) if all(row) else "" for row in rows.labels[:, columns].tolist()]


def nearness(a: Rows, b: Rows) -> Floats:
    """Matern 3/2 of the distance between numbers."""
    left, right = a.numbers / SCALES, b.numbers / SCALES
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    distance = np.sqrt(3 * np.maximum(squares, 0.0))
    closeness: Floats = (1 + distance) * np.exp(-distance)
    return closeness


def _inverse(lower: Floats) -> Floats:
    """Of a lower triangular matrix, by halves: most of the work is products, which are fast."""
    size = len(lower)
    if size <= SMALL:
        return np.linalg.inv(lower).astype(np.float64)
    half = size // 2
    first, last = _inverse(lower[:half, :half]), _inverse(lower[half:, half:])
    found = np.zeros_like(lower)
    found[:half, :half], found[half:, half:] = first, last
    found[half:, :half] = -last @ (lower[half:, :half] @ first)
    return found
