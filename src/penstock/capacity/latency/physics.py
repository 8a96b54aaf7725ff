"""The constants of the physics: least squares on logarithms, with a weak prior at what engines are known to reach.

Errors of a latency are ratios, so it is the logarithm that is fitted; outliers count linearly (soft L1). Constants are positive by
their own logarithm. The prior keeps constants that the data does not tell apart (a hop and an exchange) near a plausible value.
"""

import numpy as np

from penstock.domain.sizing.latency.features import Floats

TPOT_PRIOR = (
    (1.2, 0.3), (1.5, 0.5), (1.2, 0.5), (2.0, 0.7), (1.0, 1.0), (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), (1.0, 1.0),
    (1.5, 0.5), (1.5, 0.7), (1.0, 1.0), (1.0, 1.0),
)  # fmt: skip
TTFT_PRIOR = (
    (1.5, 0.5), (1.0, 0.7), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.5, 1.0), (0.5, 1.0), (1.0, 1.0), (0.3, 1.0), (1.0, 0.2),
)  # fmt: skip
"""of each term: the constant, and the standard deviation of its logarithm"""
TPOT_SPREAD, TTFT_SPREAD = 0.15, 0.4
"""of a measurement around the physics, in logarithms: beyond it an error counts linearly"""


def constants(terms: Floats, measured_ms: Floats, kind: str) -> Floats:
    """One for each column of `terms` (rows, terms)."""
    from scipy.optimize import least_squares

    prior, spread = (TPOT_PRIOR, TPOT_SPREAD) if kind == "tpot" else (TTFT_PRIOR, TTFT_SPREAD)
    middle, width = np.log([each for each, _ in prior]), np.array([each for _, each in prior])

    def errors(logs: Floats) -> Floats:
        said = terms @ np.exp(logs)
        return np.concatenate([np.log(said / measured_ms) / spread, (logs - middle) / width])

    def slopes(logs: Floats) -> Floats:
        parts = terms * np.exp(logs)
        return np.concatenate([parts / parts.sum(1, keepdims=True) / spread, np.diag(1 / width)])

    found: Floats = np.exp(least_squares(errors, middle, jac=slopes, loss="soft_l1").x)
    return found
