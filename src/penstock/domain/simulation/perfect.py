"""The oracle: what a scaler would pay that knows each window's requests before they come, and whose replicas start at once.

In each window it has the least replicas whose full batches do the work that comes in it (`demand.work_s`), of the kind for which that is
cheapest, and no fewer than the fleet must have. It knows no queue, no cold start and no burst within a window, so a fleet that keeps its
latency costs more; one that lets requests wait for hours can cost less.
"""

from fractions import Fraction

import numpy as np

from penstock.domain.simulation.demand import work_s
from penstock.domain.simulation.fleet import Fleet
from penstock.domain.simulation.replica import SERVED, UNFINISHED, Outcome, ReplicaKind
from penstock.domain.simulation.trace import Floats, Ints, Trace
from penstock.domain.units import NANO_PER_USD

WINDOW_S = 60.0
SECONDS_PER_HOUR = 3600
HALF = 0.5
SHORTEST_S = 1.0
"""a window's length, where all requests come at once"""
ROUNDING = 1e-9


def nano_usd(seconds: float, usd_per_hour: Fraction) -> int:
    """What replica-seconds cost: whole nanoseconds times the exact price, rounded half-even."""
    return round(Fraction(round(seconds * 1e9), 10**9) * usd_per_hour / SECONDS_PER_HOUR * NANO_PER_USD)


def windows(trace: Trace, window_s: float = WINDOW_S) -> Floats:
    """Seconds of each window of a trace, in order; the last one ends with the trace, and is half to one and a half times as long."""
    count = max(1, int(trace.duration_s / window_s + HALF))
    lengths = np.full(count, window_s)
    lengths[-1] = max(trace.duration_s - (count - 1) * window_s, SHORTEST_S)
    return lengths


def perfect_replicas(trace: Trace, kind: ReplicaKind, outcome: Outcome, window_s: float = WINDOW_S) -> Ints:
    """By window: the least replicas of a kind for the requests that came in it for the fleet, their cached prefixes as in the run."""
    lengths = windows(trace, window_s)
    ours = (outcome.fate == SERVED) | (outcome.fate == UNFINISHED)
    ours &= trace.input_tokens + trace.output_tokens <= min(kind.kv_tokens, kind.max_context or kind.kv_tokens)
    reused = np.minimum(outcome.reused_tokens[ours], trace.input_tokens[ours] - 1)
    work = work_s(kind, trace.input_tokens[ours], trace.output_tokens[ours], reused)
    window = np.minimum(trace.arrival_s[ours] // window_s, len(lengths) - 1).astype(np.int64)
    asked = np.bincount(window, weights=work, minlength=len(lengths))
    need: Ints = np.ceil(asked / lengths - ROUNDING).astype(np.int64)
    return need


def oracle_cost(trace: Trace, fleet: Fleet, outcome: Outcome, window_s: float = WINDOW_S) -> int | None:
    """Nano-USD of the perfect scaler; 0 without a request, None where the price of a kind is unknown."""
    costs = []
    least = fleet.least if fleet.scaled is not None else 0
    for kind in fleet.kinds:
        if kind.usd_per_hour is None:
            return None
        need = np.maximum(perfect_replicas(trace, kind, outcome, window_s), least)
        costs.append(nano_usd(float(need @ windows(trace, window_s)), kind.usd_per_hour))
    return min(costs) if trace.requests else 0
