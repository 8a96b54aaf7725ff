"""Fitting and calibrating: a made-up world is found again, bands hold, and a user's points pull the model to his server."""

import math
from functools import cache

import msgspec
import numpy as np
import pytest

from penstock.adapters.feeds.catalogue import accelerators, find_architecture
from penstock.capacity.latency.calibrating import calibrated
from penstock.capacity.latency.fitting import FitError, fit
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.formats import find_format
from penstock.domain.sizing.latency.deployment import Deployment, Point, Workload
from penstock.domain.sizing.latency.features import features, work
from penstock.domain.sizing.latency.laws import TPOT_TERMS, TTFT_TERMS, tpot_terms, ttft_terms
from penstock.domain.sizing.latency.model import LatencyModel, ModelError, load

TPOT = np.array([1.3, 1.5, 1.1, 1.8, 1.2, 0.5, 0.6, 0.4, 1.1, 1.6, 1.4, 1.0, 0.9])
TTFT = np.array([1.7, 1.2, 1.0, 0.8, 0.9, 0.5, 0.5, 1.2, 0.3, 1.0])
NOISE = 0.04


def deployment(model: str = "llama-3.1-8b", device: str = "H100-80GB", engine: str = "vllm", degree: int = 1) -> Deployment:
    return Deployment(
        architecture=find_architecture(model), format=find_format("fp8"), accelerator=find(device, accelerators()), engine=engine,
        tensor_parallel=degree, engine_version="1", setup="made",
    )  # fmt: skip


def world(given: Deployment, workload: Workload, factor: float = 1.0) -> Point:
    """What would be measured without noise."""
    found = features(given, work(given), workload.concurrency, workload.input_tokens, workload.output_tokens)
    tpot = float(tpot_terms(found, workload.output_tokens) @ TPOT) * factor
    ttft = float(ttft_terms(found, workload.concurrency, workload.output_tokens, tpot) @ TTFT) * factor
    return Point(workload=workload, ttft_ms=ttft, tpot_ms=tpot)


@cache
def told() -> tuple[tuple[Deployment, Point], ...]:
    dice = np.random.default_rng(0)
    found = []
    for model in ("llama-3.1-8b", "llama-3.1-70b", "qwen3-235b-a22b", "minimax-m2.5"):
        for device in ("H100-80GB", "H200-141GB"):
            for engine, factor in (("vllm", 1.0), ("sglang", 1.2)):
                for concurrency in (1, 4, 16, 64):
                    for inputs, outputs in ((500, 500), (4000, 500)):
                        given = deployment(model, device, engine, 8)
                        exact = world(given, Workload(input_tokens=inputs, output_tokens=outputs, concurrency=concurrency), factor)
                        first, token = np.exp(dice.normal(0, NOISE, 2)).tolist()
                        found.append((given, Point(workload=exact.workload, ttft_ms=exact.ttft_ms * first, tpot_ms=exact.tpot_ms * token)))
    return tuple(found)


@cache
def model() -> LatencyModel:
    return fit(told())


def off(said: float, true: float) -> float:
    return abs(math.log(said / true))


def test_a_made_up_world_is_found_again() -> None:
    errors = []
    for engine, factor in (("vllm", 1.0), ("sglang", 1.2)):
        for concurrency in (2, 8, 32):
            given = deployment("llama-3.1-70b", "H200-141GB", engine, 8)
            exact = world(given, Workload(input_tokens=2000, output_tokens=700, concurrency=concurrency), factor)
            said = model().predict(given, exact.workload)
            errors += [off(said.tpot_ms, exact.tpot_ms)]
            assert said.tpot_low_ms < said.tpot_ms < said.tpot_high_ms and said.ttft_low_ms < said.ttft_ms < said.ttft_high_ms
    assert max(errors) < 3 * NOISE


def test_constants_are_positive_and_of_both_families() -> None:
    constants = model().document.constants
    assert set(constants) == {"dense", "mixture"}
    for each in constants.values():
        assert len(each.tpot) == len(TPOT_TERMS) and len(each.ttft) == len(TTFT_TERMS)
        assert min(*each.tpot, *each.ttft) > 0


def test_what_was_never_measured_has_a_wider_band() -> None:
    load_ = Workload(input_tokens=2000, output_tokens=700, concurrency=16)
    known = model().predict(deployment("llama-3.1-70b", "H200-141GB", degree=8), load_)
    for stranger in (
        deployment("llama-3.1-70b", "H200-141GB", "lmdeploy", 8), deployment("llama-3.1-70b", "A100-80GB", degree=8),
        deployment("qwen3-32b", "H200-141GB", degree=8),
    ):  # fmt: skip
        unknown = model().predict(msgspec.structs.replace(stranger, setup="", engine_version=""), load_)
        assert unknown.tpot_high_ms / unknown.tpot_low_ms > known.tpot_high_ms / known.tpot_low_ms


def test_a_point_that_all_others_contradict_is_hardly_believed() -> None:
    given, point = told()[40]
    wrong = Point(workload=point.workload, ttft_ms=point.ttft_ms, tpot_ms=point.tpot_ms * 5)
    misled = fit([*told()[:40], (given, wrong), *told()[41:]])
    said = misled.predict(given, point.workload)
    assert off(said.tpot_ms, point.tpot_ms) < off(said.tpot_ms, wrong.tpot_ms) / 4


def test_a_document_survives_being_written() -> None:
    again = load(msgspec.json.encode(model().document))
    given, point = told()[7]
    assert again.predict(given, point.workload) == model().predict(given, point.workload)
    with pytest.raises(ModelError, match="latency model"):
        load(b"{}")


def test_many_at_once_are_as_one_by_one() -> None:
    asked = [(given, point.workload) for given, point in told()[::30]]
    assert model().predict_all([]) == []
    for one, (given, workload) in zip(model().predict_all(asked), asked, strict=True):
        assert one.tpot_ms == pytest.approx(model().predict(given, workload).tpot_ms)


def test_own_points_halve_the_error_on_the_rest() -> None:
    mine = msgspec.structs.replace(deployment("qwen3-32b", "A100-80GB", "vllm", 4), setup="", engine_version="")
    loads = [Workload(input_tokens=i, output_tokens=300, concurrency=c) for i in (400, 3000) for c in (1, 2, 4, 8, 16, 32, 64, 128)]
    slow = [world(mine, each, 1.7) for each in loads]
    taught = calibrated(model(), mine, slow[::2])
    before = np.mean([off(model().predict(mine, point.workload).tpot_ms, point.tpot_ms) for point in slow[1::2]])
    after = np.mean([off(taught.predict(mine, point.workload).tpot_ms, point.tpot_ms) for point in slow[1::2]])
    assert after < before / 2 and after < 0.1
    nearest = taught.nearest(mine, slow[1].workload)
    assert len(nearest) == 3 and nearest[0].model == "qwen3-32b" and nearest[0].accelerator == "A100-80GB"


def test_calibration_leaves_others_much_as_they_were() -> None:
    mine = msgspec.structs.replace(deployment("qwen3-32b", "A100-80GB", "vllm", 4), setup="", engine_version="")
    taught = calibrated(model(), mine, [world(mine, Workload(input_tokens=400, output_tokens=300, concurrency=8), 1.7)])
    given, point = told()[20]
    assert off(taught.predict(given, point.workload).tpot_ms, model().predict(given, point.workload).tpot_ms) < 0.02


def test_no_points_no_model() -> None:
    with pytest.raises(FitError, match="no measured points"):
        fit([])
    with pytest.raises(FitError, match="no measured points"):
        calibrated(model(), deployment(), [])


def test_a_family_without_points_keeps_the_prior() -> None:
    alone = fit([each for each in told() if each[0].architecture.experts is None][:20])
    assert min(alone.document.constants["mixture"].tpot) > 0
    said = alone.predict(deployment("minimax-m2.5", "H200-141GB", degree=8), Workload(input_tokens=500, output_tokens=500, concurrency=4))
    assert 0 < said.tpot_ms < math.inf
