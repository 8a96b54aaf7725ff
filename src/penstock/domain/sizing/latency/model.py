"""The latency model: the physics times the exponential of the residual, with a band. Constants and points come as one JSON document."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from penstock.domain.sizing.latency.deployment import Deployment, Nearest, Point, Prediction, Workload
from penstock.domain.sizing.latency.features import Features, Floats, features, work
from penstock.domain.sizing.latency.laws import Constants, roofline, tpot_terms, ttft_terms
from penstock.domain.sizing.latency.residual import LABELS, Component, Posterior, Rows, closeness, posterior, predicted

Kind = Literal["tpot", "ttft"]
KINDS: tuple[Kind, Kind] = ("tpot", "ttft")
DENSE, MIXTURE = "dense", "mixture"
BEATEN = 0.95
"""times the roofline at the data sheet's peak is the least that is ever predicted"""
DECILE = 1.2816
"""standard deviations from the median to the 90 % quantile of a normal distribution"""


class ModelError(ValueError):
    """Constants that cannot be read; the message says why."""


class Band(msgspec.Struct, frozen=True):
    """What the standard deviation of a logarithm is multiplied with, so that 80 % lie within: found by cross-validation.

    Measurements have heavier tails than a normal distribution: where it is sure, the factor is below 1.
    """

    sure: float
    unsure: float
    at: float
    """standard deviation that counts as unsure; between 0 and it the factor goes evenly"""

    def factor(self, deviation: Floats) -> Floats:
        part = np.minimum(deviation / self.at, 1.0)
        return self.sure + (self.unsure - self.sure) * part


class Columns(msgspec.Struct, frozen=True):
    """Measured points with what the law says of them. One entry per point in each column."""

    labels: tuple[tuple[str, ...], ...]
    """by name of `LABELS`: the words that occur"""
    coded: tuple[tuple[int, ...], ...]
    """by name of `LABELS`: places in `labels`"""
    sizes: tuple[tuple[int, ...], ...]
    """concurrency, input tokens, output tokens, devices, experts over, copies"""
    waiting: tuple[float, ...]
    """logarithm of concurrency over running"""
    tpot_ms: tuple[float, ...]
    tpot_law_ms: tuple[float, ...]
    ttft_ms: tuple[float, ...]
    ttft_law_ms: tuple[float, ...]
    doubt: tuple[tuple[float, ...], ...]
    """of `tpot` and of `ttft`: variances of noise"""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The constants as they are shipped."""

    version: str
    date: str
    source: str
    licence: str
    made_by: str
    constants: dict[str, Constants]
    """of `dense` and `mixture`"""
    components: dict[Kind, tuple[Component, ...]]
    noise: dict[Kind, float]
    """variance of the logarithm of a measurement like the others"""
    bands: dict[Kind, Band]
    points: Columns


class Case(NamedTuple):
    """A deployment under a workload, as the law sees it."""

    labels: tuple[str, ...]
    numbers: tuple[float, ...]
    law_ms: dict[Kind, float]
    least_ms: dict[Kind, float]
    """what no hardware beats"""


class LatencyModel:
    """Predicts time to first token and time per output token. The first prediction takes about a second, others milliseconds."""

    def __init__(self, document: Document, setup: str = "") -> None:
        """`setup`: what deployments that name neither setup nor version are taken for, as those of `calibrated` are."""
        self.document = document
        self.setup = setup

    @cached_property
    def measured(self) -> Rows:
        """The points of the document."""
        points = self.document.points
        words = [[points.labels[column][code] for code in codes] for column, codes in enumerate(points.coded)]
        return Rows(np.array(words, dtype=np.str_).T, np.column_stack([*(np.log(column) for column in points.sizes), points.waiting]))

    @cached_property
    def posteriors(self) -> dict[Kind, Posterior]:
        points, found = self.document.points, {}
        for kind, doubt in zip(KINDS, points.doubt, strict=True):
            told, law = (points.tpot_ms, points.tpot_law_ms) if kind == "tpot" else (points.ttft_ms, points.ttft_law_ms)
            logs = np.log(np.array(told) / np.array(law))
            found[kind] = posterior(self.measured, logs, np.array(doubt), self.document.components[kind])
        return found

    def predict(self, deployment: Deployment, workload: Workload) -> Prediction:
        return self.predict_all([(deployment, workload)])[0]

    def predict_all(self, asked: Sequence[tuple[Deployment, Workload]]) -> list[Prediction]:
        """In the order asked; many at once are faster than one by one."""
        if not asked:
            return []
        cases = [self.case(deployment, workload) for deployment, workload in asked]
        compared = rows(cases)
        found: dict[Kind, tuple[Floats, Floats]] = {}
        for kind in KINDS:
            mean, variance = predicted(self.posteriors[kind], compared)
            deviation = np.sqrt(variance + self.document.noise[kind])
            middle = np.maximum([case.law_ms[kind] for case in cases] * np.exp(mean), [case.least_ms[kind] for case in cases])
            found[kind] = middle, np.exp(DECILE * deviation * self.document.bands[kind].factor(deviation))
        (tpot, tpot_wide), (ttft, ttft_wide) = found["tpot"], found["ttft"]
        return [
            Prediction(
                ttft_ms=float(ttft[i]), ttft_low_ms=float(ttft[i] / ttft_wide[i]), ttft_high_ms=float(ttft[i] * ttft_wide[i]),
                tpot_ms=float(tpot[i]), tpot_low_ms=float(tpot[i] / tpot_wide[i]), tpot_high_ms=float(tpot[i] * tpot_wide[i]),
            )
            for i in range(len(cases))
        ]  # fmt: skip

    def case(self, deployment: Deployment, workload: Workload) -> Case:
        found = features(deployment, work(deployment), workload.concurrency, workload.input_tokens, workload.output_tokens)
        return described(deployment, workload, found, self.document.constants[family(deployment)], self.setup)

    def corrections(self, kind: Kind, deployment: Deployment, workloads: Sequence[Workload]) -> Floats:
        """What measurements say beyond the law: factors on it."""
        mean, _ = predicted(self.posteriors[kind], rows([self.case(deployment, workload) for workload in workloads]))
        factors: Floats = np.exp(mean)
        return factors

    def nearest(self, deployment: Deployment, workload: Workload, count: int = 3) -> list[Nearest]:
        """The measured points most like what is asked, by the covariance of the residual."""
        given, points = self.posteriors["tpot"], self.document.points
        alike = closeness(given, rows([self.case(deployment, workload)]))[:, 0]
        model, accelerator, engine = (given.rows.labels[:, LABELS.index(name)] for name in ("model", "accelerator", "engine"))
        concurrency, inputs, outputs, devices, *_ = points.sizes
        return [
            Nearest(
                str(model[i]), str(accelerator[i]), str(engine[i]), devices[i],
                Point(
                    workload=Workload(input_tokens=inputs[i], output_tokens=outputs[i], concurrency=concurrency[i]),
                    ttft_ms=points.ttft_ms[i], tpot_ms=points.tpot_ms[i],
                ),
            )
            for i in np.argsort(-alike)[:count].tolist()
        ]  # fmt: skip


def load(constants: bytes) -> LatencyModel:
    """From the JSON document. Raises `ModelError`."""
    try:
        return LatencyModel(msgspec.json.decode(constants, type=Document))
    except msgspec.DecodeError as problem:
        raise ModelError(f"the constants of the latency model cannot be read: {problem}") from None


def family(deployment: Deployment) -> str:
    return DENSE if deployment.architecture.experts is None else MIXTURE


def described(deployment: Deployment, workload: Workload, found: Features, constants: Constants, setup: str = "") -> Case:
    """Labels, numbers, and what the law says."""
    outputs, concurrency = workload.output_tokens, workload.concurrency
    tpot_constants, ttft_constants = np.array(constants.tpot), np.array(constants.ttft)
    terms = tpot_terms(found, outputs)
    tpot = float(terms @ tpot_constants)
    first_terms = ttft_terms(found, concurrency, outputs, tpot)
    sizes = (concurrency, workload.input_tokens, outputs, deployment.devices, deployment.expert_parallel, deployment.data_parallel)
    version = deployment.engine_version or setup
    labels = (
        family(deployment), deployment.architecture.name, deployment.accelerator.name, deployment.accelerator.generation,
        deployment.engine, f"{deployment.engine} {version}" if version else "", deployment.format.name, deployment.setup or setup,
        f"{deployment.tensor_parallel}/{deployment.data_parallel}/{deployment.expert_parallel}",
    )  # fmt: skip
    return Case(
        labels,
        (*np.log(np.array(sizes)).tolist(), float(np.log(concurrency / found.running))),
        {"tpot": tpot, "ttft": float(first_terms @ ttft_constants)},
        {"tpot": BEATEN * roofline(found), "ttft": 0.0},
    )


def rows(cases: Sequence[Case]) -> Rows:
    return Rows(np.array([case.labels for case in cases], dtype=np.str_), np.array([case.numbers for case in cases]))
