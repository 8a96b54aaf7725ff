"""Which of the candidates serves a load cheapest: predicted latency, what a million answer tokens cost, whether an objective is met."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.candidates import Candidate
from penstock.domain.sizing.costs import per_million, per_request, request_ms, requests_per_minute
from penstock.domain.sizing.latency.deployment import Deployment, Prediction, Workload
from penstock.domain.sizing.mig import device_of

Predict = Callable[[Sequence[tuple[Deployment, Workload]]], Sequence[Prediction]]
Measure = Literal["ttft", "tpot", "e2e"]
Verdict = Literal["yes", "likely", "no"]
"""the 90 % quantile of the prediction keeps the objective; its median does; it does not"""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate under a load; what is not predicted or has no price is None."""

    candidate: Candidate
    prediction: Prediction | None = None
    output_tokens_per_s: float | None = None
    """of the replica"""
    usd_per_million_output: Fraction | None = None
    """the replica's part of the rent over its answer tokens"""
    usd_per_million_low: Fraction | None = None
    usd_per_million_high: Fraction | None = None
    """with both latencies at the ends of their 80 % bands: wider than a band of the cost itself"""
    verdict: Verdict | None = None

    @property
    def order(self) -> tuple[bool, bool, bool, Fraction, tuple[bool, bool, Fraction, float]]:
        """What holds and keeps the objective comes first, cheapest per answer token, then by the hour."""
        usd = self.usd_per_million_output
        return not self.candidate.holds, self.verdict == "no", usd is None, usd or Fraction(0), self.candidate.order


def ranked(
    candidates: Iterable[Candidate],
    architecture: Architecture,
    workload: Workload,
    engine: str,
    kv_bits: int,
    limits_s: Mapping[Measure, float],
    predict: Predict | None,
) -> list[Ranked]:
    """Candidates in the order in which they should be looked at. Without `predict` by their price."""
    rows = list(candidates)
    asked = {
        index: Deployment(
            architecture=architecture,
            format=each.format,
            accelerator=each.accelerator if each.slice is None else device_of(each.accelerator, each.slice),
            engine=engine,
            tensor_parallel=each.fit.tensor_parallel,
            kv_bits=kv_bits,
        )
        for index, each in enumerate(rows)
        if predict is not None and each.holds and each.fit is not None
    }
    told = predict([(deployment, workload) for deployment in asked.values()]) if predict is not None else []
    predictions = dict(zip(asked, told, strict=True))
    found = [_row(each, predictions.get(index), workload, limits_s) for index, each in enumerate(rows)]
    return sorted(found, key=lambda each: each.order)


def _row(candidate: Candidate, prediction: Prediction | None, workload: Workload, limits_s: Mapping[Measure, float]) -> Ranked:
    if prediction is None:
        return Ranked(candidate=candidate)
    p = prediction

    def served(ttft_ms: float, tpot_ms: float) -> float:
        return requests_per_minute(workload.concurrency, request_ms(ttft_ms, tpot_ms, workload.output_tokens))

    def cost(per_minute: float) -> Fraction | None:
        return per_million(per_request(candidate.usd_per_hour, per_minute), workload.output_tokens)

    per_minute = served(p.ttft_ms, p.tpot_ms)
    return Ranked(
        candidate=candidate,
        prediction=prediction,
        output_tokens_per_s=per_minute * workload.output_tokens / 60,
        usd_per_million_output=cost(per_minute),
        usd_per_million_low=cost(served(p.ttft_low_ms, p.tpot_low_ms)),
        usd_per_million_high=cost(served(p.ttft_high_ms, p.tpot_high_ms)),
        verdict=verdict(prediction, workload, limits_s),
    )


def best_of_each(rows: Iterable[Ranked]) -> list[Ranked]:
    """Of the ways of each device and format the first: of whole devices one, of slices one."""
    first: dict[tuple[str, str, bool], Ranked] = {}
    for row in rows:
        each = row.candidate
        first.setdefault((each.accelerator.name, each.format.name, each.slice is None), row)
    return list(first.values())


def verdict(prediction: Prediction, workload: Workload, limits_s: Mapping[Measure, float]) -> Verdict | None:
    """Whether every objective is kept; None: there is none."""
    if not limits_s:
        return None
    p = prediction
    if _kept(_figures(p.ttft_high_ms, p.tpot_high_ms, workload), limits_s):
        return "yes"
    return "likely" if _kept(_figures(p.ttft_ms, p.tpot_ms, workload), limits_s) else "no"


def nearest(rows: Iterable[Ranked], workload: Workload, limits_s: Mapping[Measure, float]) -> tuple[Ranked, dict[Measure, float]] | None:
    """Where every prediction misses the objective, the row that misses it least, and its middle in milliseconds for each limit."""
    judged = [(row, row.prediction) for row in rows if row.prediction is not None and row.verdict is not None]
    if not judged or any(row.verdict != "no" for row, _ in judged):
        return None
    told = [(row, _figures(p.ttft_ms, p.tpot_ms, workload)) for row, p in judged]
    row, figures = min(told, key=lambda each: max(each[1][name] / limit for name, limit in limits_s.items()))
    return row, {name: figures[name] for name in limits_s}


def _figures(ttft_ms: float, tpot_ms: float, workload: Workload) -> dict[Measure, float]:
    return {"ttft": ttft_ms, "tpot": tpot_ms, "e2e": request_ms(ttft_ms, tpot_ms, workload.output_tokens)}


def _kept(found_ms: Mapping[Measure, float], limits_s: Mapping[Measure, float]) -> bool:
    return all(found_ms[name] <= limit * 1000 for name, limit in limits_s.items())
