"""The memory law: figures by hand and of published files, the articles' claims beside what is right, and what must always hold.

The articles' claims are checked with a flat reserve of 1.5 GB per device; the default reserve adds the activations' peak.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.feeds.catalogue import accelerators, architectures, find_architecture, mig_slices
from penstock.domain.sizing.accelerators import Accelerator, find
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.formats import FORMATS, Format, find_format
from penstock.domain.sizing.memory import (
    DEGREES,
    RUNTIME_BYTES,
    Fit,
    activation_bytes,
    divides,
    fit,
    kv_bytes_per_token,
    sequence_bytes,
    weights_bytes,
)
from penstock.domain.sizing.mig import device_of

LLAMA_70B = architectures()["llama-3.1-70b"]
DENSE = [each for each in architectures().values() if each.latent is None]


def device(name: str) -> Accelerator:
    return find(name, accelerators())


def flat(format: str, gpu: str, tp: int = 1, utilisation: float = 0.9) -> Fit:
    return fit(LLAMA_70B, find_format(format), device(gpu), tp, utilisation=utilisation, reserve_bytes=RUNTIME_BYTES)


@pytest.mark.parametrize(("format", "claimed_gb", "gb"), [("bf16", 140, 141.1), ("int8", 70, 72.65), ("nf4", 35, 39.5), ("int4", 35, 39.8)])
def test_70b_weighs_more_than_parameters_times_bits(format: str, claimed_gb: float, gb: float) -> None:
    """The article multiplies all parameters by the bits; embeddings stay at 16, and scales come on top."""
    weight = weights_bytes(LLAMA_70B, find_format(format)) / 1e9
    assert weight == pytest.approx(gb, abs=0.05)
    assert weight > claimed_gb


def test_a_token_of_70b_keeps_327680_bytes() -> None:
    assert kv_bytes_per_token(LLAMA_70B) == 327_680
    assert kv_bytes_per_token(LLAMA_70B, kv_bits=8) == 163_840


def test_70b_at_4_bits_does_not_serve_on_40_gb() -> None:
    """The articles: "fits on a single 40GB GPU". Right: nothing remains, 2.8 GB are lacking."""
    found = flat("nf4", "A100-40GB")
    assert found.room_bytes / 1e9 == pytest.approx(-2.8, abs=0.05)
    assert (found.holds, found.kv_tokens, found.requests) == (False, 0, 0)
    assert found.why == "weights and reserve take 2.8 GB more than a device has"
    assert not flat("int4", "A100-40GB").holds


def test_70b_at_8_bits_on_one_h100_holds_one_long_request() -> None:
    """The article: "INT8 70B, 1x H100". Right: it loads, and 8,600 tokens remain in all."""
    found = flat("int8", "H100")
    assert found.room_bytes / 1e9 == pytest.approx(2.8, abs=0.05)
    assert found.kv_tokens == pytest.approx(8_600, rel=0.01)
    assert found.requests == 1
    assert not fit(LLAMA_70B, find_format("int8"), device("H100")).holds, "the activations of a step take the rest"


def test_70b_at_16_bits_on_two_h100_is_tight() -> None:
    found = flat("bf16", "H100", 2)
    assert found.room_bytes / 1e9 == pytest.approx(4.9, abs=0.05)
    assert found.kv_tokens == pytest.approx(30_000, rel=0.01)


def test_70b_at_4_bits_on_80_gb_keeps_109000_tokens() -> None:
    assert flat("int4", "H100").kv_tokens == pytest.approx(109_000, rel=0.005)
    assert flat("nf4", "A100-80GB").kv_tokens == pytest.approx(109_000, rel=0.005)


def test_70b_at_8_bits_on_two_h100_keeps_249000_tokens() -> None:
    assert flat("int8", "H100", 2, utilisation=0.92).kv_tokens == pytest.approx(249_000, rel=0.005)
    assert flat("gptq-8bit", "H100", 2, utilisation=0.92).kv_tokens == pytest.approx(246_000, rel=0.005)


@pytest.mark.parametrize(
    ("model", "format", "gigabytes"),
    [
        ("gpt-oss-120b", "mxfp4", 65.25), ("gpt-oss-20b", "mxfp4", 13.76), ("llama-3.1-8b", "gguf-q4_k_m", 4.92),
        ("llama-3.1-70b", "gguf-q4_k_m", 42.52), ("llama-3.1-8b", "gguf-q8_0", 8.54), ("qwen3-32b", "bf16", 65.52),
    ],
)  # fmt: skip
def test_weights_are_as_large_as_published_files(model: str, format: str, gigabytes: float) -> None:
    assert weights_bytes(architectures()[model], find_format(format)) / 1e9 == pytest.approx(gigabytes, rel=0.005)


def test_formats_of_experts_leave_the_rest_alone() -> None:
    assert weights_bytes(LLAMA_70B, find_format("mxfp4")) == weights_bytes(LLAMA_70B, find_format("bf16"))


def test_more_devices_than_kv_heads_keep_each_head_several_times() -> None:
    model = find_architecture("qwen2.5-7b")
    assert model.kv_heads == 4
    one = sequence_bytes(model, 1000)
    assert [sequence_bytes(model, 1000, tp) for tp in (1, 2, 4, 8)] == [one, one // 2, one // 4, one // 4]


def test_the_latent_is_kept_on_every_device() -> None:
    model = find_architecture("deepseek-v3")
    assert sequence_bytes(model, 1000, 8) == sequence_bytes(model, 1000, 1) == 1000 * 61 * 576 * 2


def test_windows_and_states_leave_room_for_more_tokens_of_long_requests() -> None:
    gemma = find_architecture("gemma-3-27b")
    long, short = (fit(gemma, find_format("bf16"), device("H200"), context=context) for context in (100_000, 1000))
    assert long.kv_tokens > 3 * short.kv_tokens
    qwen = find_architecture("qwen3.5-397b-a17b")
    assert sequence_bytes(qwen, 2000) - sequence_bytes(qwen, 1000) == 1000 * 15 * 2 * 2 * 256 * 2


def test_heads_that_cannot_be_divided_say_so() -> None:
    assert divides(find_architecture("qwen2.5-7b"), 8) == "28 attention heads are not divisible by 8"
    assert divides(find_architecture("phi-4"), 8) == "10 KV heads can be neither divided by 8 nor repeated"
    assert fit(find_architecture("qwen2.5-7b"), find_format("bf16"), device("H100"), 8).holds is False


def test_too_many_requests_say_how_many_tokens_fit() -> None:
    found = fit(LLAMA_70B, find_format("int4"), device("H100"), requests=100)
    assert found.why == f"100 requests of 8,192 tokens need 819,200 KV tokens; {found.kv_tokens:,} fit"


def test_the_context_is_at_most_the_models() -> None:
    llama_2 = find_architecture("llama-2-7b")
    assert llama_2.max_context == 4096
    assert fit(llama_2, find_format("bf16"), device("H100")).requests * 4096 <= fit(llama_2, find_format("bf16"), device("H100")).kv_tokens


def test_a_slice_has_its_part_of_the_memory_less_what_cutting_loses() -> None:
    h100 = device("H100")
    slices = {each.name: each for each in mig_slices()["H100-80GB"]}
    one, three = device_of(h100, slices["1g.10gb"]), device_of(h100, slices["3g.40gb"])
    assert one.memory_bytes / 2**30 == pytest.approx(9.75, rel=0.01)
    assert three.memory_bytes / 2**30 == pytest.approx(39.5, rel=0.01)
    assert one.multiprocessors == 16
    assert one.flops["bf16"] == pytest.approx(h100.flops["bf16"] * 16 / 132)
    assert one.bandwidth == pytest.approx(h100.bandwidth / 8)
    llama_8b = find_architecture("llama-3.1-8b")
    assert not fit(llama_8b, find_format("bf16"), h100, mig=slices["1g.10gb"]).holds
    held = fit(llama_8b, find_format("bf16"), h100, mig=slices["3g.40gb"])
    assert (held.holds, held.mig) == (True, "3g.40gb")
    with pytest.raises(ValueError, match="no neighbours"):
        fit(llama_8b, find_format("bf16"), h100, 2, slices["3g.40gb"])


def test_large_devices_take_larger_steps() -> None:
    assert activation_bytes(LLAMA_70B, device("H100")) == 4 * activation_bytes(LLAMA_70B, device("L40S"))
    assert activation_bytes(LLAMA_70B, device("H100")) == pytest.approx(1.6e9, rel=0.1)


@given(
    model=st.sampled_from(list(architectures().values())),
    format=st.sampled_from(FORMATS),
    gpu=st.sampled_from(accelerators()),
    tp=st.sampled_from(DEGREES),
    context=st.integers(1, 200_000),
)
def test_what_must_always_hold(model: Architecture, format: Format, gpu: Accelerator, tp: int, context: int) -> None:
    found = fit(model, format, gpu, tp, context=context)
    asked = min(context, model.max_context or context)
    fitting = max(0, found.room_bytes) // sequence_bytes(model, asked, tp)
    assert found.requests == (fitting if divides(model, tp) is None else 0), "what cannot be divided holds nothing"
    assert found.kv_tokens >= found.requests * asked
    assert found.holds == (found.requests >= 1 and divides(model, tp) is None)
    assert (found.why is None) == found.holds
    smaller = fit(model, format, gpu, tp, context=context, kv_bits=8)
    assert smaller.kv_tokens >= found.kv_tokens
    if tp < max(DEGREES):
        assert fit(model, format, gpu, tp * 2, context=context).room_bytes >= found.room_bytes
    assert weights_bytes(model, format) <= weights_bytes(model, find_format("bf16"))
