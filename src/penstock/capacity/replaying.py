"""A trace on fleets of one kind of replica: how many would be needed, what spot machines lose, and one run with its figures."""

from collections.abc import Callable
from math import ceil
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.domain.simulation.demand import work_s
from penstock.domain.simulation.fleet import Interruption
from penstock.domain.simulation.replica import ReplicaKind
from penstock.domain.simulation.selecting import selected
from penstock.domain.simulation.trace import Floats, Trace

BUSIEST_S: Final = 3_600.0
"""the part of a trace in which the size of a fixed fleet is sought"""
MOST_SOUGHT: Final = 40_000
"""requests of it"""
Told = Callable[[float], None]


class Spot(NamedTuple):
    """How often a spot machine is taken away, and how long until there is another one."""

    mtbf_s: float
    back_s: float = 600.0


def interruptions(spot: Spot, replicas: int, duration_s: float, seed: int) -> tuple[Interruption, ...]:
    """Poisson: so many replicas, each taken away once in `mtbf_s` on average."""
    rng = np.random.default_rng([seed, 7])
    count = int(rng.poisson(duration_s * replicas / spot.mtbf_s))
    begins = np.sort(rng.uniform(0, duration_s, count))
    return tuple(Interruption(at_s=float(at), kind=0, replicas=1, until_s=float(at) + max(spot.back_s, 1.0)) for at in begins)


def room(kind: ReplicaKind) -> int:
    """Tokens of prompt and answer that one request may have; longer ones are refused."""
    return min(kind.kv_tokens, kind.max_context or kind.kv_tokens)


def fitting(trace: Trace, kind: ReplicaKind) -> NDArray[np.bool_]:
    """Which requests a replica can hold."""
    fits: NDArray[np.bool_] = trace.input_tokens + trace.output_tokens <= room(kind)
    return fits


def needed(trace: Trace, kind: ReplicaKind, edges_s: Floats) -> Floats:
    """Replicas that the arrivals between each two instants keep busy in full batches: what no scaler can do with less. Those that are
    refused are no work."""
    fits = fitting(trace, kind)
    work = np.zeros(trace.requests)
    work[fits] = work_s(kind, trace.input_tokens[fits], trace.output_tokens[fits])
    cumulated = np.concatenate(([0.0], np.cumsum(work)))
    upto = cumulated[np.searchsorted(trace.arrival_s, edges_s, side="right")]
    found: Floats = np.diff(upto) / np.maximum(np.diff(edges_s), 1e-9)
    return found


def busiest(trace: Trace, kind: ReplicaKind) -> Trace:
    """The window of `BUSIEST_S` with most work, from second 0; all of a shorter trace. At most `MOST_SOUGHT` requests of it."""
    begin_s = 0.0
    if trace.duration_s > BUSIEST_S:
        edges = np.arange(0.0, trace.duration_s + BUSIEST_S, BUSIEST_S)
        begin_s = float(edges[int(np.argmax(needed(trace, kind, edges)))])
    within = np.flatnonzero((trace.arrival_s >= begin_s) & (trace.arrival_s < begin_s + BUSIEST_S))[:MOST_SOUGHT]
    part = selected(trace, within) if len(within) < trace.requests else trace
    return part._replace(arrival_s=part.arrival_s - begin_s)


def smallest(meets: Callable[[int], bool], least: int, most: int) -> int | None:
    """The least number from `least` to `most` that does, where more never does worse; None: not even `most` does."""
    low, high = least - 1, least
    while not meets(high):
        if high >= most:
            return None
        low, high = high, min(most, max(high + 1, ceil(high * 1.5)))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high
