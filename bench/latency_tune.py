"""Variances of the residual's components by marginal likelihood: what `penstock.capacity.latency.components` states."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.latency_points import Example
from penstock.capacity.latency.fitting import fit
from penstock.domain.sizing.latency.model import KINDS
from penstock.domain.sizing.latency.residual import UNKNOWN, Component, Rows, grouped, nearness

Floats = NDArray[np.float64]
FAMILY_PAIRS = (
    ("family",), ("generation", "family"), ("accelerator",), ("engine", "family"), ("engine", "generation"), ("format", "family"),
    ("model",), ("model", "engine"), ("model", "format"), ("model", "engine", "generation"), ("version", "format"), ("setup", "family"),
    ("setup", "engine"), ("accelerator", "engine"),
    ("model", "accelerator", "engine", "format", "setup", "version"),
    ("model", "accelerator", "engine", "format", "setup", "version", "spread"),
)  # fmt: skip
SMOOTH = (
    ("family",), ("engine", "family"), ("model",), ("model", "engine"), ("model", "engine", "generation"), ("setup", "engine", "family"),
    ("model", "accelerator", "engine", "format", "setup", "version"),
)  # fmt: skip
CANDIDATES = (
    *(Component("level", labels, 0.005) for labels in FAMILY_PAIRS),
    *(Component("smooth", labels, 0.005) for labels in SMOOTH),
)
LEAST, MOST = np.exp(-12.0), 0.08
"""of a variance; the most keeps effects that few groups show from growing beyond reason"""
PENALTY = 20.0
"""per unit of variance: a weak prior towards the physics"""
WORTH = 2e-4
"""smaller variances are left out"""


def tuned(examples: Sequence[Example]) -> dict[str, object]:
    """Components and noise of both times, as `penstock.capacity.latency.components` states them."""
    model = fit([(case.deployment, point) for case, point in examples], components={"tpot": (), "ttft": ()})
    points = model.document.points
    found: dict[str, object] = {}
    for kind in KINDS:
        told, law = (points.tpot_ms, points.tpot_law_ms) if kind == "tpot" else (points.ttft_ms, points.ttft_law_ms)
        components, noise = tune(model.measured, np.log(np.array(told) / np.array(law)))
        found[kind] = {"noise": noise, **{f"{c.kind} {' '.join(c.labels)}": str(c.variance) for c in components}}
    return found


def tune(rows: Rows, logs: Floats, steps: int = 80, seen: int = 1000) -> tuple[tuple[Component, ...], float]:
    """Components and noise that make the residuals of a random part of the rows likeliest."""
    from scipy.optimize import minimize

    chosen = np.sort(np.random.default_rng(0).permutation(len(logs))[:seen])
    part = Rows(rows.labels[chosen], rows.numbers[chosen])
    kernels = [_kernel(component, part) for component in CANDIDATES]
    doubt = np.ones(len(chosen))
    start = np.log([*(component.variance for component in CANDIDATES), 0.004])
    for _ in range(2):
        found = minimize(
            _unlikelihood, start, args=(kernels, logs[chosen], doubt), jac=True, method="L-BFGS-B",
            bounds=[(np.log(LEAST), np.log(MOST))] * len(CANDIDATES) + [(-8.0, 0.0)], options={"maxiter": steps},
        )  # fmt: skip
        start = found.x
        doubt = _doubt(np.exp(start), kernels, logs[chosen], doubt)
    variances = np.exp(start)
    kept = tuple(
        Component(each.kind, each.labels, float(f"{variance:.3g}"))
        for each, variance in zip(CANDIDATES, variances, strict=False)
        if variance > WORTH
    )
    return kept, float(f"{variances[-1]:.3g}")


def _kernel(component: Component, rows: Rows) -> Floats:
    groups = grouped(component.labels, rows).of
    equal = ((groups[:, None] == groups[None, :]) & (groups != UNKNOWN)).astype(np.float64)
    kernel: Floats = equal * nearness(rows, rows) if component.kind == "smooth" else equal
    return kernel


def _unlikelihood(parameters: Floats, kernels: Sequence[Floats], logs: Floats, doubt: Floats) -> tuple[float, Floats]:
    variances = np.exp(parameters)
    inverse, factor = _inverse(variances, kernels, doubt)
    weights = inverse @ logs
    value = 0.5 * logs @ weights + np.log(np.diag(factor)).sum() + PENALTY * variances[:-1].sum()
    slope = inverse - np.outer(weights, weights)
    gradient = [0.5 * variance * np.einsum("ij,ij->", slope, kernel) for variance, kernel in zip(variances, kernels, strict=False)]
    gradient.append(0.5 * variances[-1] * (np.diag(slope) * doubt).sum())
    total = np.array(gradient)
    total[:-1] += PENALTY * variances[:-1]
    return float(value), total


def _inverse(variances: Floats, kernels: Sequence[Floats], doubt: Floats) -> tuple[Floats, Floats]:
    from scipy.linalg.lapack import dpotri

    total = np.diag(variances[-1] * doubt)
    for variance, kernel in zip(variances, kernels, strict=False):
        total = total + variance * kernel
    factor = np.linalg.cholesky(total)
    lower, _ = dpotri(factor, lower=1)
    inverse: Floats = np.tril(lower) + np.tril(lower, -1).T
    return inverse, factor


def _doubt(variances: Floats, kernels: Sequence[Floats], logs: Floats, doubt: Floats) -> Floats:
    """More noise for rows that all others contradict."""
    inverse, _ = _inverse(variances, kernels, doubt)
    precision = np.diag(inverse)
    beyond = np.abs(inverse @ logs / precision) * np.sqrt(precision) / 3
    told: Floats = doubt * np.maximum(beyond, 1.0) ** 2
    return told
