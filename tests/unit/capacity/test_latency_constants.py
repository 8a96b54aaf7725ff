"""The constants that Penstock carries: what they say of themselves, and what every prediction from them keeps to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.feeds.catalogue import accelerators, architectures, find_architecture
from penstock.adapters.feeds.gpus import carried
from penstock.adapters.feeds.latency import latency_model
from penstock.capacity.latency.components import BANDS, COMPONENTS, NOISE
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.formats import find_format
from penstock.domain.sizing.latency.deployment import Deployment, Workload
from penstock.domain.sizing.latency.features import features, work
from penstock.domain.sizing.latency.laws import roofline
from penstock.domain.sizing.latency.steps import step_times

MOST_BYTES = 300_000


def deployment(model: str, form: str, device: str, degree: int, engine: str = "vllm") -> Deployment:
    return Deployment(
        architecture=find_architecture(model), format=find_format(form), accelerator=find(device, accelerators()), engine=engine,
        tensor_parallel=degree,
    )  # fmt: skip


ANY = st.builds(
    deployment, st.sampled_from(sorted(architectures())), st.sampled_from(("bf16", "fp8", "nvfp4", "int4")),
    st.sampled_from([each.name for each in accelerators()]), st.sampled_from((1, 2, 4, 8)),
    st.sampled_from(("vllm", "sglang", "trtllm", "tgi")),
)  # fmt: skip


def test_it_says_where_it_comes_from() -> None:
    document = latency_model().document
    assert "aiconfigurator" in document.source and "Apache-2.0" in document.licence
    assert document.date >= "2026-04" and document.version and "bench.latency_model" in document.made_by
    assert len(carried("latency.json")) < MOST_BYTES
    assert len(document.points.tpot_ms) > 1000


def test_it_is_made_with_the_components_of_today() -> None:
    document = latency_model().document
    assert dict(document.components) == COMPONENTS and dict(document.noise) == NOISE and dict(document.bands) == BANDS


def test_names_of_the_points_are_names_of_the_catalogue() -> None:
    _, models, devices, *_ = latency_model().document.points.labels
    assert set(models) <= set(architectures()) and set(devices) <= {each.name for each in accelerators()}


@pytest.mark.parametrize(
    ("model", "form", "device", "degree", "tpot"),
    [
        ("llama-3.1-70b", "fp8", "H200-141GB", 8, 8.0),
        ("llama-3.1-8b", "bf16", "A100-80GB", 1, 9.5),
        ("llama-3.1-70b", "bf16", "H100-80GB", 4, 14.5),
        ("gpt-oss-120b", "mxfp4", "B200-180GB", 1, 3.5),
    ],
)
def test_known_servers_at_low_load(model: str, form: str, device: str, degree: int, tpot: float) -> None:
    """Measured or widely reported times per output token at concurrency 4 lie in the band."""
    said = latency_model().predict(deployment(model, form, device, degree), Workload(input_tokens=900, output_tokens=900, concurrency=4))
    assert said.tpot_low_ms <= tpot <= said.tpot_high_ms


@settings(max_examples=60, deadline=None)
@given(ANY, st.integers(1, 512), st.integers(1, 100_000), st.integers(1, 8000))
def test_what_any_prediction_keeps_to(given: Deployment, concurrency: int, inputs: int, outputs: int) -> None:
    load = Workload(input_tokens=inputs, output_tokens=outputs, concurrency=concurrency)
    said = latency_model().predict(given, load)
    assert 0 < said.ttft_low_ms < said.ttft_ms < said.ttft_high_ms < float("inf")
    assert 0 < said.tpot_low_ms < said.tpot_ms < said.tpot_high_ms < float("inf")
    assert said.tpot_ms >= 0.94 * roofline(features(given, work(given), concurrency, inputs, outputs))


@settings(max_examples=30, deadline=None)
@given(ANY, st.integers(1, 300))
def test_what_the_times_of_steps_keep_to(given: Deployment, most: int) -> None:
    found, peak = step_times(latency_model(), given, most), work(given)
    assert len(found.decode_s) == most + 1 and np.isfinite(found.decode_s).all()
    assert (np.diff(found.decode_s) >= 0).all() and found.decode_s[0] > 0
    assert found.context_s >= 0 and found.attention_s >= peak.attention / 1e3 and found.prefill_s >= peak.token / 1e3
    assert found.decode_s[1] >= 0.999 * peak.weights / 1e3


def test_steps_agree_with_the_time_per_output_token() -> None:
    """With short prompts and long answers a closed loop is its decode steps, nearly."""
    given = deployment("llama-3.1-70b", "fp8", "H200-141GB", 4)
    found = step_times(latency_model(), given)
    for batch in (1, 16, 64):
        said = latency_model().predict(given, Workload(input_tokens=512, output_tokens=1024, concurrency=batch))
        step = found.decode_s[batch] + found.context_s * batch * 1024
        assert step * 1e3 == pytest.approx(said.tpot_ms, rel=0.25)


def test_more_tensor_parallelism_is_faster_for_large_models() -> None:
    load = Workload(input_tokens=2000, output_tokens=500, concurrency=8)
    times = [latency_model().predict(deployment("llama-3.1-70b", "fp8", "H200-141GB", d), load).tpot_ms for d in (1, 2, 4, 8)]
    assert times == sorted(times, reverse=True)
    with pytest.raises(ValueError, match="at least one"):
        step_times(latency_model(), deployment("llama-3.1-8b", "bf16", "H100-80GB", 1), 0)


def test_longer_contexts_are_never_faster() -> None:
    lengths = (500, 1000, 2000, 4000, 8000, 16000)
    for model, form, device in (("llama-3.1-70b", "fp8", "H200"), ("deepseek-v3", "fp8", "B200"), ("llama-3.1-8b", "bf16", "L4")):
        given = deployment(model, form, device, 8)
        said = latency_model().predict_all([(given, Workload(input_tokens=i, output_tokens=500, concurrency=16)) for i in lengths])
        assert [each.tpot_ms for each in said] == sorted(each.tpot_ms for each in said)
        assert [each.ttft_ms for each in said] == sorted(each.ttft_ms for each in said)
