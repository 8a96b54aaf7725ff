"""From measured points to ranked instances: the glue of catalogue, offers, latency model and recommender."""

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from penstock.cli.output import WRONG_USAGE, CommandError

if TYPE_CHECKING:
    from penstock.capacity.measuring.points import Point
    from penstock.capacity.measuring.sagemaker import SageMakerJob
    from penstock.capacity.measuring.storing import Measured
    from penstock.capacity.recommended import Requests, Row
    from penstock.capacity.recommending import Predict, Rented
    from penstock.domain.simulation.slo import Objective
    from penstock.domain.sizing.accelerators import Accelerator
    from penstock.domain.sizing.candidates import Offer
    from penstock.domain.sizing.costs import Rent
    from penstock.domain.sizing.latency.deployment import Deployment
    from penstock.domain.sizing.latency.deployment import Point as Known
    from penstock.domain.sizing.latency.model import LatencyModel
    from penstock.domain.sizing.remedies import Question

OFF = 0.1
"""share by which measured lengths may miss those that were asked for"""
NO_GPU = "what the endpoint runs on is not told (--on GPU): its own cost is unknown, and predictions are not calibrated by it"
NO_TAIL = "no measured point tells the tail of what is asked for: predicted rows take the upper end of their band for it"
NO_EXTRA = 'other instances are not predicted: pip install "penstock[capacity]"'


class Asked(NamedTuple):
    """What is to be ranked, and by what."""

    question: "Question"
    demand: "Requests"
    targets: "Sequence[Objective]"
    engine: str
    every: bool
    """a row for each offer of an instance, not only for the cheapest"""


def as_measured(asked: Asked, found: "Sequence[Measured]") -> tuple[Asked, list[str]]:
    """The same of requests, format and engine as were measured: what is predicted beside measured rows must be comparable."""
    from penstock.domain.sizing.accelerators import UnknownNameError
    from penstock.domain.sizing.formats import find_format

    if not found:
        return asked, []
    try:
        formats = {each.name: each for each in (find_format(told.format) for told in found if told.format is not None)}
    except UnknownNameError as problem:
        raise CommandError(str(problem), "correct the file of points", WRONG_USAGE) from None
    if len(asked.question.formats) > 1:
        formats |= {each.name: each for each in asked.question.formats}
    question = msgspec.structs.replace(asked.question, formats=tuple(formats.values()) or asked.question.formats)
    engine = next((told.engine for told in found if told.engine is not None), asked.engine)
    demand, notes = _lengths(asked.demand, [each for told in found for each in told.points])
    return asked._replace(question=question, engine=engine, demand=demand), notes


def _lengths(demand: "Requests", points: "Sequence[Point]") -> "tuple[Requests, list[str]]":
    entered, made = (max(1, round(median(values))) for values in zip(*((p.input_tokens, p.output_tokens) for p in points), strict=True))
    if abs(entered - demand.input_tokens) <= OFF * entered and abs(made - demand.output_tokens) <= OFF * made:
        return demand, []
    told = f"all figures are for the lengths that were measured: {entered:,} tokens in and {made:,} out"
    return msgspec.structs.replace(demand, input_tokens=entered, output_tokens=made), [told]


def ranking(asked: Asked, found: "Sequence[Measured]", jobs: "Sequence[SageMakerJob]") -> "tuple[list[Row], list[str]]":
    """Rows in their order, and what is to be said of them."""
    from penstock.capacity.recommending import imported, measured, predicted, ranked, tails_of
    from penstock.domain.sizing.accelerators import find

    demand, targets, question = asked.demand, asked.targets, asked.question
    rows: list[Row] = []
    for told in found:
        rents = [] if told.gpu is None else _rents(question.offers, find(told.gpu, question.known), told.tensor_parallel, asked.every)
        rows += measured(told.points, told.gpu, told.tensor_parallel, told.format, rents, demand, targets)
    for job in jobs:
        rows += imported(job.results, demand, targets, datetime.now(UTC).date())
    model, notes = _calibrated(asked, found)
    if any(told.gpu is None for told in found):
        notes.insert(0, NO_GPU)
    if model is not None:
        tails = tails_of([each for told in found for each in told.points], targets)
        if not all(tails.of(target) for target in targets):
            notes.append(NO_TAIL)
        rows += predicted(*_candidates(asked, model), demand, targets, tails)
    return ranked(rows), notes


def _calibrated(asked: Asked, found: "Sequence[Measured]") -> "tuple[LatencyModel | None, list[str]]":
    """The latency model, with the measured points where it is known what they are of."""
    try:
        from penstock.adapters.feeds.latency import latency_model
        from penstock.capacity.latency.calibrating import calibrated
    except ImportError:
        return None, [NO_EXTRA]
    model, used = latency_model(), 0
    for told in found:
        deployment, points = _deployment(asked, told), _known(told.points)
        if deployment is not None and points and too_fast(asked, told) is None:
            model, used = calibrated(model, deployment, points), used + len(points)
    return model, [f"predictions are calibrated by {used} measured point{'s' * (used > 1)}"] if used else []


def too_fast(asked: Asked, told: "Measured") -> str | None:
    """What is to be said of points that the GPU which is named cannot have made; None: it can."""
    from penstock.domain.sizing.data_sheet import least_tpot_ms

    deployment = _deployment(asked, told)
    seen = [each.tpot_ms.mean for each in told.points if each.tpot_ms is not None]
    if deployment is None or not seen:
        return None
    devices = deployment.tensor_parallel
    least = least_tpot_ms(deployment.architecture, deployment.format, deployment.accelerator, devices)
    if min(seen) >= least:
        return None
    card = f"{devices} x {deployment.accelerator.name}"
    return (
        f"this cannot be {card} with {deployment.format.name} weights: it takes {least:,.3g} ms to read them for a token, and "
        f"{min(seen):,.3g} ms were measured. Nothing is calibrated by it, and the cost of the measured row is not to be trusted"
    )


def _known(points: "Sequence[Point]") -> "list[Known]":
    """The points that the latency model can learn from: closed loops, streamed, with tokens that were counted."""
    from penstock.domain.sizing.latency.deployment import Point, Workload

    return [
        Point(
            workload=Workload(
                input_tokens=max(1, round(each.input_tokens)), output_tokens=max(1, round(each.output_tokens)), concurrency=each.concurrency
            ),
            ttft_ms=each.ttft_ms.mean,
            tpot_ms=each.tpot_ms.mean,
        )
        for each in points
        if each.concurrency is not None and each.ttft_ms is not None and each.tpot_ms is not None and not (each.estimated or each.burst)
    ]


def _deployment(asked: Asked, told: "Measured") -> "Deployment | None":
    """What points are of; None: not told."""
    from penstock.domain.sizing.accelerators import find
    from penstock.domain.sizing.formats import find_format
    from penstock.domain.sizing.latency.deployment import Deployment

    if told.gpu is None or told.format is None:
        return None
    return Deployment(
        architecture=asked.question.architecture,
        format=find_format(told.format),
        accelerator=find(told.gpu, asked.question.known),
        engine=told.engine or asked.engine,
        tensor_parallel=told.tensor_parallel,
        kv_bits=asked.question.demand.kv_bits,
    )


def _candidates(asked: Asked, model: "LatencyModel") -> "tuple[list[Rented], Predict]":
    """Every number of whole devices that holds one request of the demand and can be rented, and how they are predicted."""
    from penstock.capacity.recommending import Latency, Range, Rented
    from penstock.domain.sizing.candidates import candidates
    from penstock.domain.sizing.latency.deployment import Deployment, Workload

    question, demand = asked.question, asked.demand
    wanted = msgspec.structs.replace(question.demand, context=demand.input_tokens + demand.output_tokens, requests=1, tp=None)
    ways = candidates(question.architecture, question.formats, question.devices, {}, question.offers, wanted, every=True)
    made: list[Rented] = []
    for way in ways:
        if not way.holds or way.fit is None or way.offer is None:
            continue
        made.append(Rented(way, tuple(_rents(question.offers, way.accelerator, way.fit.tensor_parallel, asked.every))))

    def deployed(each: Rented) -> Deployment:
        return Deployment(
            architecture=question.architecture, format=each.candidate.format, accelerator=each.candidate.accelerator, engine=asked.engine,
            tensor_parallel=each.devices, kv_bits=question.demand.kv_bits,
        )  # fmt: skip

    def predict(loads: Sequence[tuple[Rented, int]]) -> list[Latency]:
        lengths = {"input_tokens": demand.input_tokens, "output_tokens": demand.output_tokens}
        found = model.predict_all([(deployed(each), Workload(concurrency=load, **lengths)) for each, load in loads])
        return [Latency(Range(p.ttft_low_ms, p.ttft_ms, p.ttft_high_ms), Range(p.tpot_low_ms, p.tpot_ms, p.tpot_high_ms)) for p in found]

    return made, predict


def _rents(offers: "Sequence[Offer]", device: "Accelerator", gpus: int, every: bool) -> "list[Rent]":
    """On-demand instances with enough of a device: the cheapest for a replica that pays them whole, or every one."""
    from penstock.domain.sizing.candidates import ON_DEMAND, offers_of
    from penstock.domain.sizing.costs import Rent, replica_per_hour

    rents = [
        Rent(
            provider=each.provider, instance=each.instance, gpus=each.gpus, usd_per_hour=each.usd_per_gpu_hour * each.gpus,
            kind=each.kind, region=each.region, date=each.date,
        )
        for each in offers_of(device, offers)
        if each.gpus >= gpus and each.kind == ON_DEMAND
    ]  # fmt: skip
    rents.sort(key=lambda each: replica_per_hour(each.usd_per_hour, each.gpus, gpus, "whole"))
    return rents if every else rents[:1]
