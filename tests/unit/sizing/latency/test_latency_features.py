"""Features of a step: against figures done by hand, and what must hold whatever the deployment."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.feeds.catalogue import accelerators, find_architecture
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.formats import find_format
from penstock.domain.sizing.latency.deployment import Deployment
from penstock.domain.sizing.latency.features import PROMPT, STEP, features, work
from penstock.domain.sizing.latency.laws import TPOT_TERMS, TTFT_TERMS, roofline, tpot_terms, ttft_terms


def deployment(model: str = "llama-3.1-8b", form: str = "bf16", device: str = "H100-80GB", tensor_parallel: int = 1) -> Deployment:
    return Deployment(
        architecture=find_architecture(model), format=find_format(form), accelerator=find(device, accelerators()),
        tensor_parallel=tensor_parallel,
    )  # fmt: skip


def step(given: Deployment, concurrency: float, inputs: float = 1000, outputs: float = 200) -> dict[str, float]:
    return dict(zip(STEP, features(given, work(given), concurrency, inputs, outputs).step.tolist(), strict=True))


def test_a_dense_model_reads_its_weights_once_a_step() -> None:
    found = step(deployment(), 1)
    # 6.98e9 in matrices and 0.525e9 in the head, 2 bytes each, over 3.35 TB/s
    assert found["weights"] == pytest.approx(7.505e9 * 2 / 3.35e12 * 1e3, rel=0.01)
    assert found["experts"] == found["exchange"] == found["hops"] == 0
    # 2 x 8 heads x 128 x 32 layers x 2 bytes a token, for 1,100 tokens
    assert found["cache"] == pytest.approx(131_072 * 1100 / 3.35e12 * 1e3, rel=1e-6)
    assert found["arithmetic"] == pytest.approx(2 * 7.505e9 / 9.894e14 * 1e3, rel=0.01)


def test_experts_are_read_as_far_as_tokens_touch_them() -> None:
    given = deployment("qwen3-235b-a22b", "fp8", "H200-141GB", tensor_parallel=8)
    one, many = step(given, 1), step(given, 4096)
    assert one["experts"] / work(given).experts == pytest.approx(8 / 128)
    assert many["experts"] / work(given).experts > 0.99


def test_formats_that_keep_16_bits_beside_the_experts() -> None:
    narrow, wide = (work(deployment("gpt-oss-120b", form, "B200-180GB")) for form in ("mxfp4", "bf16"))
    assert narrow.weights == wide.weights
    assert narrow.experts == pytest.approx(wide.experts * 4.25 / 16)


def test_a_device_without_kernels_computes_in_16_bits() -> None:
    native, unpacked = deployment(form="fp8"), deployment(form="fp8", device="A100-80GB")
    half = deployment(form="bf16", device="A100-80GB")
    assert work(unpacked).token == pytest.approx(work(half).token)
    assert work(native).token < work(deployment()).token


def test_only_as_many_run_as_the_cache_holds() -> None:
    given = deployment("llama-3.1-70b", "fp8", "H100-80GB")
    found = features(given, work(given), 256, 2000, 500)
    assert 1 <= found.running < 256
    more = msgspec.structs.replace(given, tensor_parallel=4)
    assert features(more, work(more), 256, 2000, 500).running > found.running


@given(
    st.sampled_from(("llama-3.1-8b", "deepseek-v3", "gpt-oss-120b", "qwen3.5-397b-a17b", "gemma-3-27b")),
    st.sampled_from((1, 2, 4, 8)), st.integers(1, 2000), st.integers(1, 50_000), st.integers(1, 5000),
)  # fmt: skip
def test_what_holds_for_any_load(model: str, degree: int, concurrency: int, inputs: int, outputs: int) -> None:
    given = deployment(model, "fp8", "H200-141GB", tensor_parallel=degree)
    found = features(given, work(given), concurrency, inputs, outputs)
    assert (found.step >= 0).all() and (found.prompt >= 0).all() and 1 <= found.running <= concurrency
    terms = tpot_terms(found, outputs)
    assert len(terms) == len(TPOT_TERMS) == len(STEP) + len(PROMPT) + 1
    first = ttft_terms(found, concurrency, outputs, float(terms.sum()))
    assert len(first) == len(TTFT_TERMS) and (first >= 0).all()
    longer = features(given, work(given), concurrency, inputs * 2, outputs)
    assert (longer.prompt >= found.prompt).all() and longer.running <= found.running
    assert roofline(found) <= found.step.sum()
    parallel = msgspec.structs.replace(given, tensor_parallel=degree * 2)
    spread = features(parallel, work(parallel), concurrency, inputs, outputs)
    assert spread.step[STEP.index("weights")] < found.step[STEP.index("weights")] and (spread.prompt[:2] < found.prompt[:2]).all()
