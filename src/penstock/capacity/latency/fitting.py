"""Fits the latency model: constants of the physics, then the rows of the residual, then how much to trust each row."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.capacity.latency.components import BANDS, COMPONENTS, NOISE
from penstock.capacity.latency.physics import constants
from penstock.domain.sizing.latency.deployment import Deployment, Point
from penstock.domain.sizing.latency.features import Features, Floats, features, work
from penstock.domain.sizing.latency.laws import TPOT_TERMS, TTFT_TERMS, Constants, tpot_terms, ttft_terms
from penstock.domain.sizing.latency.model import KINDS, Band, Case, Columns, Document, Kind, LatencyModel, described, family, rows
from penstock.domain.sizing.latency.residual import LABELS, Component, left_out, posterior

FAR = 3.0
"""standard deviations from what all others say: such a row is trusted as little as it is wrong"""
MACHINE = 8
"""devices: the physics is fitted to replicas within one machine, where links are as its data sheet says"""
Measured = tuple[Deployment, Point]


class FitError(ValueError):
    """Measurements that a model cannot be fitted to; the message says why."""


class Origin(NamedTuple):
    """What a document says of itself."""

    version: str = "local"
    date: str = ""
    source: str = "own measurements"
    licence: str = ""
    made_by: str = ""


OWN = Origin()


def fit(
    points: Sequence[Measured],
    origin: Origin = OWN,
    components: Mapping[Kind, tuple[Component, ...]] = COMPONENTS,
    noise: Mapping[Kind, float] = NOISE,
    bands: Mapping[Kind, Band] = BANDS,
) -> LatencyModel:
    """A family (dense, mixture of experts) without points keeps the prior's constants. Raises `FitError` where there are no points."""
    if not points:
        raise FitError("no measured points to fit the latency model to")
    found = [
        features(given, work(given), point.workload.concurrency, point.workload.input_tokens, point.workload.output_tokens)
        for given, point in points
    ]
    families = np.array([family(given) for given, _ in points])
    within = np.array([given.devices <= MACHINE for given, _ in points])
    physics = {name: _physics(points, found, np.flatnonzero((families == name) & within)) for name in ("dense", "mixture")}
    cases = [described(given, point.workload, each, physics[family(given)]) for (given, point), each in zip(points, found, strict=True)]
    doubt = {kind: _doubt(points, cases, kind, components[kind], noise[kind]) for kind in KINDS}
    return LatencyModel(
        Document(
            version=origin.version, date=origin.date, source=origin.source, licence=origin.licence, made_by=origin.made_by,
            constants=physics, components=dict(components), noise=dict(noise), bands=dict(bands),
            points=columns(points, cases, doubt),
        )
    )  # fmt: skip


def columns(points: Sequence[Measured], cases: Sequence[Case], doubt: Mapping[Kind, Floats]) -> Columns:
    """The points as they are stored: four digits of what is computed."""
    words = [tuple(dict.fromkeys(case.labels[place] for case in cases)) for place in range(len(LABELS))]
    places = [{word: code for code, word in enumerate(each)} for each in words]
    sizes = [
        (w.concurrency, w.input_tokens, w.output_tokens, d.devices, d.expert_parallel, d.data_parallel)
        for d, w in ((given, point.workload) for given, point in points)
    ]
    return Columns(
        labels=tuple(words),
        coded=tuple(tuple(place[case.labels[i]] for case in cases) for i, place in enumerate(places)),
        sizes=tuple(zip(*sizes, strict=True)),
        waiting=tuple(round(case.numbers[-1], 4) for case in cases),
        tpot_ms=tuple(point.tpot_ms for _, point in points),
        tpot_law_ms=tuple(_digits(case.law_ms["tpot"]) for case in cases),
        ttft_ms=tuple(point.ttft_ms for _, point in points),
        ttft_law_ms=tuple(_digits(case.law_ms["ttft"]) for case in cases),
        doubt=tuple(tuple(_digits(float(x)) for x in doubt[kind]) for kind in KINDS),
    )


def _physics(points: Sequence[Measured], found: Sequence[Features], chosen: NDArray[np.intp]) -> Constants:
    told = [(found[i], points[i][1]) for i in chosen]
    terms = np.array([tpot_terms(each, point.workload.output_tokens) for each, point in told]).reshape(-1, len(TPOT_TERMS))
    tpot = constants(terms, np.array([point.tpot_ms for _, point in told]), "tpot")
    first = [
        ttft_terms(each, point.workload.concurrency, point.workload.output_tokens, float(said))
        for (each, point), said in zip(told, terms @ tpot, strict=True)
    ]
    ttft = constants(np.array(first).reshape(-1, len(TTFT_TERMS)), np.array([point.ttft_ms for _, point in told]), "ttft")
    return Constants(tuple(_digits(float(x)) for x in tpot), tuple(_digits(float(x)) for x in ttft))


def _doubt(points: Sequence[Measured], cases: Sequence[Case], kind: Kind, components: tuple[Component, ...], noise: float) -> Floats:
    """Variance of the noise of each row: more where all others say otherwise."""
    logs = np.log([getattr(point, f"{kind}_ms") / case.law_ms[kind] for (_, point), case in zip(points, cases, strict=True)])
    usual = np.full(len(points), noise)
    errors, variance = left_out(posterior(rows(cases), logs, usual, components))
    beyond = np.maximum(np.abs(errors) / np.sqrt(variance) / FAR, 1.0)
    trusted: Floats = usual * beyond**2
    return trusted


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
