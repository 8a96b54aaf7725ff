"""Runs over time: ticks of several policies on one axis for a picture, and the traffic light of a simulated fleet."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Final

import numpy as np

from penstock.capacity.replaying import needed
from penstock.capacity.simulation_report import Course
from penstock.domain.simulation.fleet import Run, Timeline
from penstock.domain.simulation.perfect import WINDOW_S, perfect_replicas
from penstock.domain.simulation.replica import REFUSED, ReplicaKind
from penstock.domain.simulation.trace import Floats, Trace
from penstock.domain.sizing.traffic_light import TIGHT, Light, Load, light

MOST_POINTS: Final = 240
P95: Final = 95
HOUR_S: Final = 3_600.0
BEYOND: Final = 1.1
"""times the length of the trace that a picture shows at most"""


def edges_of(duration_s: float, ends_s: Iterable[float]) -> Floats:
    """Instants between which a picture shows one value: until the last run ends, or not far beyond the trace if it takes very long."""
    last = min(max(ends_s), duration_s * BEYOND + HOUR_S / 2)
    edges: Floats = np.linspace(0.0, max(last, duration_s, 1.0), MOST_POINTS + 1)
    return edges


def arrivals_per_s(trace: Trace, edges: Floats) -> tuple[float, ...]:
    """Requests a second between the edges."""
    count, _ = np.histogram(trace.arrival_s, edges)
    return tuple((count / np.diff(edges)).round(4).tolist())


def _first_tokens(trace: Trace, run: Run, edges: Floats) -> list[float]:
    """P95 of the time to the first token of the requests that came between the edges; NaN: none, infinite: it never came."""
    waits = np.where(np.isnan(run.outcome.first_token_s), np.inf, run.outcome.first_token_s - trace.arrival_s)
    places = np.searchsorted(trace.arrival_s, edges)
    sent = run.outcome.fate != REFUSED
    parts = (waits[begin:end][sent[begin:end]] for begin, end in pairwise(places))
    return [float(np.percentile(part, P95, method="higher")) if len(part) else np.nan for part in parts]


def perfect_course(trace: Trace, kind: ReplicaKind, run: Run, edges: Floats) -> tuple[float, ...]:
    """Replicas of the perfect scaler, the most between the edges."""
    need = perfect_replicas(trace, kind, run.outcome).astype(float)
    bins = np.clip(np.searchsorted(edges, np.arange(len(need)) * WINDOW_S, side="right") - 1, 0, len(edges) - 2)
    return tuple(_held(_most(need, bins, len(edges) - 1)).tolist())


def course_of(policy: str, trace: Trace, run: Run, edges: Floats, cost: Fraction | None) -> Course:
    """One policy between the edges: the most replicas, the P95 of requests that came then, and the cost by the end of each."""
    told = run.timeline
    bins = np.clip(np.searchsorted(edges, told.at_s, side="left") - 1, 0, len(edges) - 2)
    replicas = _held(_most(told.ready.astype(float), bins, len(edges) - 1))
    first = _first_tokens(trace, run, edges)
    spent = None
    if cost is not None:
        paid = np.interp(np.minimum([*edges[1:], run.end_s], run.end_s), *_paid(told))
        spent = tuple((paid[:-1] / (paid[-1] or 1.0) * float(cost)).round(6).tolist())
    return Course(
        policy=policy,
        replicas=tuple(replicas.tolist()),
        first_token_p95_s=tuple(round(each, 4) if np.isfinite(each) else None for each in first),
        cost_usd=spent,
    )


def light_of(trace: Trace, kind: ReplicaKind, run: Run, late: tuple[float, float] | None) -> Light:
    """The light of a simulated fleet; `late`: P95 of the first token and its target, in seconds.

    Use is work in full batches over the replicas that are paid for: that an engine works at all says little, for it is as busy with one
    request as with a hundred.
    """
    told = run.timeline
    edges = np.append(np.arange(0.0, max(run.end_s, 1.0), HOUR_S), max(run.end_s, 1.0))
    work = needed(trace, kind, edges)
    rented = np.diff(np.interp(edges, *_paid(told))) / np.diff(edges)
    whole = float((rented * np.diff(edges)).sum())
    return light(
        Load(
            hours=round(run.end_s / HOUR_S, 1),  # a day's last request comes some seconds before midnight
            use=float((work * np.diff(edges)).sum()) / whole if whole else 0.0,
            use_p95=_p95((work[rented > 0] / rented[rented > 0]).tolist()),
            units=int((told.ready + told.starting).max(initial=0)),
            enough=ceil((_p95(work.tolist()) or 0.0) / TIGHT),
            unit_hour=kind.usd_per_hour,
            first_token_p95_s=None if late is None else late[0],
            first_token_target_s=None if late is None else late[1],
            kv_use_p95=_p95(told.kv_use.tolist()),
        )
    )


def _paid(told: Timeline) -> tuple[Floats, Floats]:
    """Instants, and the replica-seconds paid until then, but for replicas that only finish what they have begun."""
    paid = np.cumsum((told.ready + told.starting) * np.diff(told.at_s, prepend=0.0))
    return np.concatenate(([0.0], told.at_s)), np.concatenate(([0.0], paid))


def _most(values: Floats, bins: "np.ndarray[tuple[int], np.dtype[np.int64]]", count: int) -> Floats:
    """The most in each bin; NaN where there is none."""
    found = np.full(count, -np.inf)
    known = ~np.isnan(values)
    np.maximum.at(found, bins[known], values[known])
    return np.where(np.isinf(found), np.nan, found)


def _held(values: Floats) -> Floats:
    """Gaps filled with what was before, 0 before anything."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return np.nan_to_num(values[last])


def _p95(values: Sequence[float]) -> float | None:
    return float(np.percentile(values, P95)) if len(values) else None
