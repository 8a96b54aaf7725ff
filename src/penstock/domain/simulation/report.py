"""What a run comes to: latencies, cost, objectives, what requests waited for, and how far from a perfect scaler it is.

A percentile is over all requests that were served: by the fleet, a cache or another tier; an unfinished request has an endless latency, so
that a percentile that falls upon one is unknown. Objectives count refused and unfinished requests as misses.
"""

from fractions import Fraction

import msgspec
import numpy as np

from penstock.domain.simulation.fleet import CAUSES, Fleet, Run
from penstock.domain.simulation.perfect import nano_usd, oracle_cost
from penstock.domain.simulation.replica import CACHED, REFUSED, SERVED, SPILLED, UNFINISHED
from penstock.domain.simulation.shield import SpillPrices
from penstock.domain.simulation.slo import LatencyMetric, Objective, Slo
from penstock.domain.simulation.trace import Floats, Ints, Trace

SECONDS_PER_HOUR = 3600
NO_WAIT_S = 0.001
"""mean wait below which nobody waits"""
ROUNDING = 1e-9
"""of percentages and ranks, which are not exact in binary"""


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds. None: no request has it, or it falls upon one that was never finished."""

    p50: float | None
    p95: float | None
    p99: float | None
    mean: float | None
    """of those that have it"""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD. None: a price is unknown."""

    replicas: int | None
    by_kind: dict[str, int | None]
    spilled: int | None
    """what another tier or an API took; 0 where nothing went there"""

    @property
    def total(self) -> int | None:
        return None if self.replicas is None or self.spilled is None else self.replicas + self.spilled


class Attained(msgspec.Struct, frozen=True, kw_only=True):
    """How an objective went."""

    objective: Objective
    value_s: float | None
    """what the percentile came to, misses as endless; None: endless, or no request"""
    share: float
    """requests within it, of all; 1 where there are none"""

    @property
    def met(self) -> bool:
        return self.share * 100 >= self.objective.percentile - ROUNDING


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run."""

    requests: int
    served: int
    """by the fleet"""
    cached: int
    spilled: int
    refused: int
    unfinished: int
    ttft: Percentiles
    tpot: Percentiles
    e2e: Percentiles
    input_tokens: int
    """of requests that were answered, by whomever; cached ones included"""
    output_tokens: int
    output_tokens_per_s: float
    """of the fleet, over the run"""
    reused_share: float
    """prompt tokens that came from the prefix cache, of those the fleet read"""
    preemptions: int
    cost: Cost
    cp1kt: Fraction | None
    """nano-USD per 1,000 tokens, prompt and answer, of answered requests; None: unknown, or no token"""
    oracle_cost: int | None
    """nano-USD of a perfect scaler (`perfect.oracle_cost`)"""
    duration_s: float
    mean_replicas: float
    """billed, those that start included"""
    peak_replicas: int
    """that serve, start or drain their last tick"""
    mean_active: float
    """share of time in which ready replicas worked, by tick"""
    reversals: int
    """changes of direction of the replicas asked for"""
    reversals_per_hour: float
    attained: tuple[Attained, ...]
    slo_attainment: float | None
    """share of all requests that meet every bound; None without objectives"""
    waiting: dict[str, float]
    """share of all waiting by cause (`fleet.CAUSES`); empty where nobody waited"""
    mean_wait_s: float
    """before a request was begun"""
    binds: str
    """the cause of most waiting; `decode` where nobody waits: then the speed of the hardware is all there is"""

    @property
    def slo_met(self) -> bool | None:
        return all(each.met for each in self.attained) if self.attained else None


class Latencies(msgspec.Struct, frozen=True):
    """By request, seconds; endless where unfinished or refused, NaN where there is none (tpot of one token)."""

    ttft: Floats
    tpot: Floats
    e2e: Floats

    def of(self, metric: LatencyMetric) -> Floats:
        found: Floats = getattr(self, metric)
        return found


def latencies(trace: Trace, run: Run) -> Latencies:
    """Of each request."""
    outcome = run.outcome
    missed = (outcome.fate == REFUSED) | (outcome.fate == UNFINISHED)
    ttft = np.where(missed & np.isnan(outcome.first_token_s), np.inf, outcome.first_token_s - trace.arrival_s)
    e2e = np.where(missed, np.inf, outcome.finish_s - trace.arrival_s)
    further = trace.output_tokens - 1
    tpot = np.where(missed, np.inf, outcome.finish_s - outcome.first_token_s) / np.where(further > 0, further, np.nan)
    return Latencies(ttft, tpot, e2e)


def figures(trace: Trace, fleet: Fleet, run: Run, slo: Slo | None = None, spill_prices: SpillPrices | None = None) -> Figures:
    """The figures of a run of `fleet` on `trace`. `spill_prices`: what the other tier asks; None: unknown, if anything went there."""
    outcome, line = run.outcome, run.timeline
    counts = np.bincount(outcome.fate, minlength=UNFINISHED + 1)
    known = latencies(trace, run)
    sent = outcome.fate != REFUSED
    answered = sent & (outcome.fate != UNFINISHED)
    ours = outcome.fate == SERVED
    prompts, answers = int(trace.input_tokens[answered].sum()), int(trace.output_tokens[answered].sum())
    cost = _cost(trace, fleet, run, spill_prices)
    read = int(trace.input_tokens[ours].sum())
    waited = float(sum(run.waited_s))
    waits = waited / trace.requests if trace.requests else 0.0
    shares = {cause: wait / waited for cause, wait in zip(CAUSES, run.waited_s, strict=True)} if waited > 0 else {}
    reversals = _reversals(line.desired)
    attained, attainment = _attained(trace, known, slo)
    return Figures(
        requests=trace.requests,
        served=int(counts[SERVED]),
        cached=int(counts[CACHED]),
        spilled=int(counts[SPILLED]),
        refused=int(counts[REFUSED]),
        unfinished=int(counts[UNFINISHED]),
        ttft=percentiles(known.ttft[sent]),
        tpot=percentiles(known.tpot[sent]),
        e2e=percentiles(known.e2e[sent]),
        input_tokens=prompts,
        output_tokens=answers,
        output_tokens_per_s=float(trace.output_tokens[ours].sum() / run.end_s) if run.end_s > 0 else 0.0,
        reused_share=float(np.minimum(outcome.reused_tokens, trace.input_tokens)[ours].sum() / read) if read else 0.0,
        preemptions=int(outcome.preemptions.sum()),
        cost=cost,
        cp1kt=Fraction(cost.total * 1000, prompts + answers) if cost.total is not None and prompts + answers else None,
        oracle_cost=oracle_cost(trace, fleet, outcome),
        duration_s=run.end_s,
        mean_replicas=sum(run.replica_seconds) / run.end_s if run.end_s > 0 else 0.0,
        peak_replicas=int(np.max(line.ready + line.starting, initial=sum(fleet.start))),
        mean_active=float(np.mean(line.active)) if len(line.active) else 0.0,
        reversals=reversals,
        reversals_per_hour=reversals * SECONDS_PER_HOUR / run.end_s if run.end_s > 0 else 0.0,
        attained=attained,
        slo_attainment=attainment,
        waiting=shares,
        mean_wait_s=waits,
        binds=max(shares, key=shares.__getitem__) if shares and waits >= NO_WAIT_S else "decode",
    )


def percentiles(values: Floats) -> Percentiles:
    """Of values some of which may be endless; NaN is left out. A percentile is one of the values: the least that enough are at most."""
    there = np.sort(values[~np.isnan(values)])
    finite = there[np.isfinite(there)]
    if not len(there):
        return Percentiles(None, None, None, None)
    ranked = [float(there[max(int(np.ceil(len(there) * percentile / 100 - ROUNDING)) - 1, 0)]) for percentile in (50, 95, 99)]
    p50, p95, p99 = (value if np.isfinite(value) else None for value in ranked)
    return Percentiles(p50, p95, p99, float(finite.mean()) if len(finite) else None)


def _reversals(desired: Ints) -> int:
    steps = np.sign(np.diff(desired))
    moves = steps[steps != 0]
    return int(np.count_nonzero(np.diff(moves)))


def _attained(trace: Trace, known: Latencies, slo: Slo | None) -> tuple[tuple[Attained, ...], float | None]:
    """Each objective, and the share of requests that meet all of them. A single token has no time per further token: it meets that."""
    if slo is None:
        return (), None
    good = np.ones(trace.requests, bool)
    attained = []
    for objective in slo.objectives:
        values = known.of(objective.metric)
        counts = ~np.isnan(values)
        within = np.where(counts, values, 0.0) <= objective.within_s
        good &= within
        there = np.sort(values[counts])
        rank = max(int(np.ceil(len(there) * objective.percentile / 100 - ROUNDING)) - 1, 0)
        value = float(there[rank]) if len(there) else np.inf
        share = float(np.mean(within[counts])) if len(there) else 1.0
        attained.append(Attained(objective=objective, value_s=value if np.isfinite(value) else None, share=share))
    return tuple(attained), float(np.mean(good)) if len(good) else 1.0


def _cost(trace: Trace, fleet: Fleet, run: Run, prices: SpillPrices | None) -> Cost:
    by_kind: dict[str, int | None] = {}
    for kind, seconds in zip(fleet.kinds, run.replica_seconds, strict=True):
        paid = nano_usd(seconds, kind.usd_per_hour) if kind.usd_per_hour is not None else 0 if seconds == 0 else None
        before = by_kind.get(kind.name, 0)
        by_kind[kind.name] = None if paid is None or before is None else before + paid
    known = [paid for paid in by_kind.values() if paid is not None]
    spilled = run.outcome.fate == SPILLED
    if not spilled.any():
        elsewhere: int | None = 0
    elif prices is None:
        elsewhere = None
    else:
        elsewhere = prices.nano_usd(int(trace.input_tokens[spilled].sum()), int(trace.output_tokens[spilled].sum()))
    return Cost(replicas=sum(known) if len(known) == len(by_kind) else None, by_kind=by_kind, spilled=elsewhere)
