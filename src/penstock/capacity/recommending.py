"""The inference recommender: which instance serves a workload at the least cost within a latency objective.

Rows are measured (a load test of the user's), imported (SageMaker Inference Recommender) or predicted (the latency model, best
calibrated by the measured points). A row is a deployment on an instance at the load that costs least per request among those that keep
the objective. Predictions are means; what a percentile is above its mean (the tail) comes from the measured points, and where there are
none the upper end of the 80 % band stands for it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from fractions import Fraction
from statistics import median
from typing import NamedTuple

import msgspec

from penstock.capacity.measuring.points import Point, Spread
from penstock.capacity.measuring.sagemaker import SageMakerResult
from penstock.capacity.recommended import Basis, Requests, Row
from penstock.domain.simulation.slo import LatencyMetric, Objective
from penstock.domain.sizing.candidates import Candidate
from penstock.domain.sizing.costs import Rent, per_million, request_ms, requests_per_minute, whole_costs

LOADS = tuple(sorted({round(2 ** (step / 2)) for step in range(21)}))
"""requests in flight that are tried: 1 to 1,024, two to an octave"""
MOST_SEQUENCES = 256
"""vLLM's default `--max-num-seqs`"""
TAIL_REQUESTS = 20
"""of a point whose P95 says something of the tail"""


class Range(NamedTuple):
    """A predicted mean in milliseconds, with the 10 % and 90 % quantiles of what it may be."""

    low: float
    mid: float
    high: float


class Latency(NamedTuple):
    """Times to the first token and per output token at a load."""

    ttft: Range
    tpot: Range


class Rented(msgspec.Struct, frozen=True):
    """A candidate that holds the model, and the instances that it can be rented on."""

    candidate: Candidate
    rents: tuple[Rent, ...]
    """with enough of its devices; none: the price is unknown"""

    @property
    def devices(self) -> int:
        return 1 if self.candidate.fit is None else self.candidate.fit.tensor_parallel

    @property
    def loads(self) -> tuple[int, ...]:
        """Requests in flight that are worth trying: what memory holds, and the engine runs at once."""
        fitting = 0 if self.candidate.fit is None else self.candidate.fit.requests
        return tuple(each for each in LOADS if each <= min(fitting, MOST_SEQUENCES))


Predict = Callable[[Sequence[tuple[Rented, int]]], Sequence[Latency]]
"""Latencies of candidates with so many requests in flight, in the order asked."""


class Tails(msgspec.Struct, frozen=True):
    """Percentile over mean, by objective, as the measured points have it; empty: unknown."""

    ratios: dict[str, float] = {}

    def of(self, target: Objective) -> float | None:
        return self.ratios.get(target.name)


class _Load(NamedTuple):
    """One load of a candidate: figures at the objective's percentiles, requests per minute with the band of the latencies."""

    concurrency: int
    figures: dict[LatencyMetric, float]
    misses: tuple[str, ...]
    excess: float
    sure: bool
    """kept at the upper end of the band too"""
    per_minute: float
    slow_per_minute: float
    fast_per_minute: float


def tails_of(points: Sequence[Point], targets: Sequence[Objective]) -> Tails:
    """The median over the points of how far each target's percentile lies above the mean."""
    ratios: dict[str, float] = {}
    for target in targets:
        seen = []
        for each in points:
            spread = _spread(each, target.metric)
            value = _at_target(each, target)
            if spread is not None and value is not None and each.requests >= TAIL_REQUESTS and spread.mean > 0:
                seen.append(value / spread.mean)
        if seen:
            ratios[target.name] = median(seen)
    return Tails(ratios)


def predicted(candidates: Sequence[Rented], predict: Predict, demand: Requests, targets: Sequence[Objective], tails: Tails) -> list[Row]:
    """A row for each rent of each candidate; none where not one request fits into its memory."""
    asked = [(candidate, each) for candidate in candidates for each in candidate.loads]
    latencies = iter(predict(asked))
    rows = []
    for candidate in candidates:
        loads = [_load(each, next(latencies), demand, targets, tails) for each in candidate.loads]
        if loads:
            keeping = [each for each in loads if not each.misses]
            best = max(keeping, key=lambda each: each.per_minute) if keeping else min(loads, key=lambda each: each.excess)
            rows += [_predicted_row(candidate, rent, best, demand) for rent in candidate.rents or (None,)]
    return rows


def measured(
    points: Sequence[Point],
    gpu: str | None,
    tensor_parallel: int,
    format: str | None,
    rents: Iterable[Rent],
    demand: Requests,
    targets: Sequence[Objective],
) -> list[Row]:
    """A row for each rent of the endpoint's GPU, at the measured load that serves most within the objective."""
    if not points:
        return []
    judged = [(each, *_judge({target: _at_target(each, target) for target in targets})) for each in points]
    keeping = [each for each in judged if not each[1]]
    best, misses, _ = max(keeping, key=lambda each: each[0].requests_per_minute) if keeping else min(judged, key=lambda each: each[2])
    rows = []
    fitting: list[Rent | None] = [each for each in rents if each.gpus >= tensor_parallel]
    for rent in fitting or [None]:
        paid = whole_costs(rent, tensor_parallel, best.requests_per_minute, demand.per_minute)
        rows.append(
            Row(
                basis="measured",
                gpu=gpu,
                tensor_parallel=tensor_parallel,
                format=format,
                rent=rent,
                concurrency=best.concurrency,
                ttft_ms=_shown(best.ttft_ms, "ttft", targets),
                tpot_ms=_shown(best.tpot_ms, "tpot", targets),
                e2e_ms=_shown(best.e2e_ms, "e2e", targets),
                requests_per_minute=best.requests_per_minute,
                output_tokens_per_s=best.output_tokens_per_s,
                usd_per_request=paid.per_request,
                usd_per_million_output=per_million(paid.per_request, best.output_tokens),
                replicas=paid.replicas,
                instances=paid.instances,
                usd_per_hour=paid.per_hour,
                keeps=not misses,
                sure=not misses,
                misses=misses,
            )
        )
    return rows


def imported(results: Iterable[SageMakerResult], demand: Requests, targets: Sequence[Objective], day: date) -> list[Row]:
    """Rows of SageMaker's results. They tell one latency, that of whole answers, so only such a target can be judged."""
    rows = []
    for each in results:
        judged = {target: each.latency_ms if target.metric == "e2e" else None for target in targets}
        misses, _ = _judge({target: value for target, value in judged.items() if value is not None})
        told = all(value is not None for value in judged.values())
        rent = None
        if each.usd_per_hour is not None and each.instance is not None:
            rent = Rent(
                provider="aws", instance=each.instance, gpus=1, usd_per_hour=each.usd_per_hour, kind="on-demand", region="", date=day
            )
        paid = whole_costs(rent, 1, each.invocations_per_minute, demand.per_minute)
        rows.append(
            Row(
                basis="imported",
                gpu=None,
                tensor_parallel=None,
                format=None,
                rent=rent,
                concurrency=None,
                ttft_ms=None,
                tpot_ms=None,
                e2e_ms=each.latency_ms,
                requests_per_minute=each.invocations_per_minute,
                output_tokens_per_s=None,
                usd_per_request=paid.per_request,
                usd_per_million_output=None,
                replicas=paid.replicas,
                instances=paid.instances,
                usd_per_hour=paid.per_hour,
                keeps=False if misses else True if told else None,
                sure=told and not misses,
                misses=misses,
            )
        )
    return rows


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Measured rows first, then imported, then predicted; each by cost, those that miss the objective last. `rank` is over all."""
    rows = list(rows)
    order = {
        id(row): place
        for place, row in enumerate(sorted((row for row in rows if row.keeps and row.usd_per_request), key=_cost_key), start=1)
    }
    numbered = [msgspec.structs.replace(row, rank=order.get(id(row))) for row in rows]
    bases: tuple[Basis, ...] = ("measured", "imported", "predicted")
    return sorted(numbered, key=lambda row: (bases.index(row.basis), not row.keeps, *_cost_key(row)))


def best_reachable(rows: Iterable[Row], targets: Sequence[Objective]) -> tuple[str, ...]:
    """For an objective that no row keeps: what comes nearest, for people."""
    missing = [row for row in rows if row.misses]
    if not targets or not missing:
        return ()
    nearest = min(missing, key=lambda row: max(_figure(row, target.metric) / _limit_ms(target) for target in targets))
    parts = f" x{nearest.tensor_parallel}" if (nearest.tensor_parallel or 1) > 1 else ""
    where = f"{nearest.gpu}{parts}" if nearest.gpu else "the endpoint"
    rented = f" on {nearest.rent.instance} of {nearest.rent.provider}" if nearest.rent else ""
    return (f"the nearest is {where}{rented}, {nearest.basis}", *nearest.misses)


def _load(concurrency: int, latency: Latency, demand: Requests, targets: Sequence[Objective], tails: Tails) -> _Load:
    slow, mid, fast = (request_ms(latency.ttft[place], latency.tpot[place], demand.output_tokens) for place in (2, 1, 0))
    means: dict[LatencyMetric, Range] = {"ttft": latency.ttft, "tpot": latency.tpot, "e2e": Range(fast, mid, slow)}
    figures: dict[Objective, float | None] = {}
    high: dict[Objective, float | None] = {}
    for target in targets:
        mean, ratio = means[target.metric], tails.of(target)
        figures[target] = mean.high if ratio is None else ratio * mean.mid
        high[target] = mean.high if ratio is None else ratio * mean.high
    misses, excess = _judge(figures)
    shown = {name: mean.mid for name, mean in means.items()}
    for target, value in figures.items():
        shown[target.metric] = max(shown[target.metric], value or 0.0)
    return _Load(
        concurrency,
        shown,
        misses,
        excess,
        not _judge(high)[0],
        *(requests_per_minute(concurrency, e2e) for e2e in (mid, slow, fast)),
    )


def _predicted_row(rented: Rented, rent: Rent | None, best: _Load, demand: Requests) -> Row:
    def cost(per_minute: float) -> Fraction | None:
        return per_million(whole_costs(rent, rented.devices, per_minute, demand.per_minute).per_request, demand.output_tokens)

    paid = whole_costs(rent, rented.devices, best.per_minute, demand.per_minute)
    return Row(
        basis="predicted",
        gpu=rented.candidate.accelerator.name,
        tensor_parallel=rented.devices,
        format=rented.candidate.format.name,
        rent=rent,
        concurrency=best.concurrency,
        ttft_ms=best.figures["ttft"],
        tpot_ms=best.figures["tpot"],
        e2e_ms=best.figures["e2e"],
        requests_per_minute=best.per_minute,
        output_tokens_per_s=best.per_minute * demand.output_tokens / 60,
        usd_per_request=paid.per_request,
        usd_per_million_output=cost(best.per_minute),
        usd_per_million_low=cost(best.fast_per_minute),
        usd_per_million_high=cost(best.slow_per_minute),
        replicas=paid.replicas,
        instances=paid.instances,
        usd_per_hour=paid.per_hour,
        keeps=not best.misses,
        sure=best.sure,
        misses=best.misses,
    )


def _judge(figures: dict[Objective, float | None]) -> tuple[tuple[str, ...], float]:
    """What is missed, and how far the worst target is from its limit (1 is at it). What is not told counts as missed."""
    misses, excess = [], 0.0
    for target, figure in figures.items():
        if figure is None:
            misses.append(f"{target.name} is not known")
            excess = math.inf
        elif figure > _limit_ms(target):
            misses.append(f"{target.name} {figure:,.4g} ms is over {_limit_ms(target):,.4g} ms")
        excess = max(excess, math.inf if figure is None else figure / _limit_ms(target))
    return tuple(misses), excess


def _spread(each: Point, metric: LatencyMetric) -> Spread | None:
    return {"ttft": each.ttft_ms, "tpot": each.tpot_ms, "e2e": each.e2e_ms}[metric]


def _at_target(each: Point, target: Objective) -> float | None:
    spread = _spread(each, target.metric)
    return None if spread is None else _at(spread, target.percentile)


def _at(spread: Spread, percentile: float) -> float | None:
    """The smallest percentile kept that is not below the wanted one; None: there is none."""
    return next((value for kept, value in ((50, spread.p50), (95, spread.p95), (99, spread.p99)) if percentile <= kept), None)


def _limit_ms(target: Objective) -> float:
    return 1000 * target.within_s


def _shown(spread: Spread | None, metric: LatencyMetric, targets: Sequence[Objective]) -> float | None:
    if spread is None:
        return None
    asked = [target.percentile for target in targets if target.metric == metric]
    return _at(spread, max(asked)) if asked else spread.mean


def _figure(row: Row, metric: LatencyMetric) -> float:
    value = {"ttft": row.ttft_ms, "tpot": row.tpot_ms, "e2e": row.e2e_ms}[metric]
    return math.inf if value is None else value


def _cost_key(row: Row) -> tuple[bool, Fraction, str]:
    cost = row.usd_per_request
    return cost is None, cost or Fraction(0), row.rent.instance if row.rent else ""
