"""Routing applied to a trace: which requests each tier gets. Each request draws once, by its place in the trace and the seed."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from penstock.domain.simulation.selecting import selected
from penstock.domain.simulation.trace import Floats, Trace, TraceError

_TIER: Final = 2
"""so that other draws by the same seed are independent"""


def after_tiering(trace: Trace, shares: Mapping[str, float], seed: int) -> dict[str, Trace]:
    """The requests of each tier, by the shares that they are to get. Raises `TraceError` unless these sum to 1."""
    if not shares or min(shares.values()) < 0 or not abs(sum(shares.values()) - 1) <= 1e-6:
        said = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise TraceError(f"the shares of the tiers do not sum to 1: {said}", "each is from 0 to 1, and together they are all requests")
    ends = np.cumsum(list(shares.values()))
    tier = np.minimum(np.searchsorted(ends, _draws(trace.requests, seed), side="right"), len(shares) - 1)
    return {name: selected(trace, np.nonzero(tier == place)[0]) for place, name in enumerate(shares)}


def _draws(count: int, seed: int) -> Floats:
    """One number from 0 to 1 per request (SplitMix64 of its place): the same for the same place, however many follow."""
    with np.errstate(over="ignore"):
        state = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state ^= np.uint64((seed * 0xD1342543DE82EF95 + _TIER * 0xAF251AF3B0F025B5) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
    draws: Floats = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return draws
