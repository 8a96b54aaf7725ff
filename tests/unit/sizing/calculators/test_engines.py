"""What formats, context, batches and software levers do, against sums by hand and laws."""

from datetime import date
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.adapters.feeds.catalogue import accelerators, architectures
from penstock.domain.sizing.accelerators import Accelerator, find
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.calculators.calculator import CalculationError
from penstock.domain.sizing.calculators.context import ContextInputs, OccupancyInputs, context_cost, occupancy
from penstock.domain.sizing.calculators.lever_table import LEVERS, LeverInputs, software_levers
from penstock.domain.sizing.calculators.levers import (
    ContinuousInputs,
    KernelInputs,
    LayeredInputs,
    PagingInputs,
    PrefixInputs,
    SpeculativeInputs,
    continuous,
    kernel,
    layered,
    paging,
    prefix,
    speculative,
)
from penstock.domain.sizing.calculators.quantising import QuantisingInputs, quantising
from penstock.domain.sizing.calculators.registry import calculators
from penstock.domain.sizing.memory import sequence_bytes
from penstock.domain.sizing.parameters import parameters

LLAMA_70B = Architecture(
    name="llama-3-70b", layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, vocabulary=128_256, intermediate=28_672
)
H100 = Accelerator(
    name="H100-80GB", vendor="nvidia", generation="hopper", compute_capability="9.0", memory_bytes=85_500_000_000, bandwidth=3.35e12,
    flops={"bf16": 9.895e14, "fp8": 1.979e15, "int8": 1.979e15}, link="nvlink", date=date(2026, 11, 1), source="data sheet",
)  # fmt: skip
A100_40 = replace(H100, name="A100-40GB", generation="ampere", compute_capability="8.0", memory_bytes=42_400_000_000)
SHARES = st.fractions(min_value=0, max_value=Fraction(99, 100), max_denominator=100)


def test_seventy_billion_at_four_bits_do_not_serve_on_forty_gigabytes() -> None:
    found = {row.format: row for row in quantising(QuantisingInputs(model=LLAMA_70B, gpu=A100_40, reserve_gb=Fraction("1.5"))).rows}
    assert Fraction("39.4") < found["nf4"].weights_gb < Fraction("39.6") and found["nf4"].naive_gb < Fraction("35.3")
    assert found["nf4"].room_gb < -2 and found["nf4"].gpus == 2
    assert (found["fp8"].kernels, found["bf16"].gpus) == ("weight-only", 4)
    assert found["nf4"].saved == Fraction(1, 2)


def test_formats_are_compared_with_the_first() -> None:
    rows = quantising(QuantisingInputs(model=LLAMA_70B, gpu=H100, formats=("fp8", "bf16"))).rows
    assert rows[0].times == 1 and rows[1].times < 1
    with pytest.raises(CalculationError, match="no format `fp9`"):
        quantising(QuantisingInputs(model=LLAMA_70B, gpu=H100, formats=("fp9",)))


def test_a_format_without_kernels_has_no_rent() -> None:
    (row,) = quantising(QuantisingInputs(model=LLAMA_70B, gpu=replace(H100, compute_capability="7.0"), formats=("bf16",))).rows
    assert (row.kernels, row.gpus, row.rent_usd, row.saved) == ("none", None, None, None)


def test_prefill_by_hand() -> None:
    found = context_cost(ContextInputs(model=LLAMA_70B))
    assert found.attention * 10**12 == 2 * 80 * 64 * 128 * 8192**2, "two products, half of the pairs, two operations each"
    assert float(found.linear) == pytest.approx(2 * 69.5e9 * 8192 / 1e12, rel=0.001), "the input embedding is looked up, not multiplied"
    assert found.kv_gb * 10**9 == 8192 * 327_680
    assert found.attention_compute == 4 and found.kv == 2
    assert found.equal_at is not None
    assert context_cost(ContextInputs(model=LLAMA_70B, context=found.equal_at)).share == pytest.approx(0.5, rel=1e-4)


@given(context=st.integers(1, 10**6), times=st.integers(2, 50))
def test_compute_lies_between_linear_and_quadratic(context: int, times: int) -> None:
    found = context_cost(ContextInputs(model=LLAMA_70B, context=context, times=Fraction(times)))
    assert times < found.compute < times**2 and found.kv == times
    assert found.share < found.longer_share


def test_windows_bound_attention_and_memory() -> None:
    windowed = replace(LLAMA_70B, window=4096, windowed_layers=80)
    found = context_cost(ContextInputs(model=windowed, context=65_536))
    assert found.kv == 1 and found.equal_at is None
    assert found.attention_compute is not None and 2 < found.attention_compute < Fraction("2.1"), "nearly linear beyond the window"
    short = context_cost(ContextInputs(model=windowed, context=1000))
    assert short.attention == context_cost(ContextInputs(model=LLAMA_70B, context=1000)).attention


def test_a_larger_batch_is_cheaper_by_the_token_until_memory_ends() -> None:
    small = replace(LLAMA_70B, name="small", layers=32, hidden=4096, heads=32, intermediate=14_336)
    found = occupancy(OccupancyInputs(model=small, gpu=H100, batches=(1, 2, 8, 64, 100_000)))
    costs = [row.million_usd for row in found.rows[:-1]]
    assert all(before is not None and after is not None and before > after for before, after in pairwise(costs))
    assert (found.rows[-1].million_usd, found.rows[-1].bound) == (None, "KV memory")
    first = found.rows[0]
    assert first.step_ms is not None and first.tokens is not None and first.tokens * first.step_ms == 1000
    with pytest.raises(CalculationError, match="does not hold"):
        occupancy(OccupancyInputs(model=LLAMA_70B, gpu=H100))
    with pytest.raises(CalculationError, match="no format `nvfp5`"):
        occupancy(OccupancyInputs(model=small, gpu=H100, format="nvfp5"))


def test_drafts_against_dice() -> None:
    dice, accepted, drafted, tokens, steps = Random(7), 0.7, 4, 0, 40_000
    for _ in range(steps):
        run = 0
        while run < drafted and dice.random() < accepted:
            run += 1
        tokens += run + 1
    found = speculative(SpeculativeInputs())
    assert float(found.tokens) == pytest.approx(tokens / steps, rel=0.02)
    assert found.full < 1 < found.alone


def test_static_batches_against_dice() -> None:
    dice, batch, rounds = Random(11), 32, 4000
    use = 0.0
    for _ in range(rounds):
        lengths = [dice.expovariate(1) for _ in range(batch)]
        use += max(lengths)
    assert float(continuous(ContinuousInputs(batch=batch)).gain) == pytest.approx(use / rounds, rel=0.02)
    assert continuous(ContinuousInputs(batch=1)).gain == 1


@given(before=SHARES, after=SHARES)
def test_paging_fits_as_many_as_memory_that_is_used(before: Fraction, after: Fraction) -> None:
    found = paging(PagingInputs(before=before, after=after))
    assert found.sequences * (1 - before) == 1 - after
    assert (found.less_waste is None) == (before == 0)


@given(part=SHARES, times=st.integers(1, 100))
def test_a_part_that_gets_faster_is_bound_by_the_rest(part: Fraction, times: int) -> None:
    found = kernel(KernelInputs(part=part, times=Fraction(times)))
    assert found.limit is not None and 1 <= found.whole <= found.limit
    assert kernel(KernelInputs(part=Fraction(1))).limit is None


def test_a_shared_beginning_saves_prefill_and_never_decoding() -> None:
    found = prefix(PrefixInputs(input_tokens=Fraction(1000), shared_tokens=Fraction(5000), hits=Fraction(1), output_tokens=Fraction(200)))
    assert found.cached == 1000 and found.prefill == 1 and found.work == Fraction(1, 2) and found.gain == 2
    assert prefix(PrefixInputs(input_tokens=Fraction(0))).prefill is None


@given(cached=SHARES, routed=SHARES, small=SHARES, speed=st.integers(1, 8))
def test_levers_together_lie_between_the_best_alone_and_their_product(
    cached: Fraction, routed: Fraction, small: Fraction, speed: int
) -> None:
    found = layered(LayeredInputs(cached=cached, routed=routed, small_cost=small, speed_up=Fraction(speed)))
    assert 0 <= found.least <= found.product <= 1


def test_levers_have_sources_and_name_calculators_that_exist() -> None:
    for lever in LEVERS:
        assert lever.source and lever.known
        named = lever.source.rpartition("calc ")[2].partition(";")[0]
        assert "calc " not in lever.source or named in calculators()
    assert [row.lever for row in software_levers(LeverInputs(only=("fp8",))).rows] == ["fp8"]
    with pytest.raises(CalculationError, match="no lever `fp9`"):
        software_levers(LeverInputs(only=("fp9",)))


def test_a_step_reads_what_a_format_keeps() -> None:
    """Attention stays at 16 bits where a format is of experts only; embeddings have bits of their own in others."""
    of = OccupancyInputs(model=architectures()["gpt-oss-20b"], gpu=find("H100", accelerators()), format="mxfp4", batches=(1,), context=1)
    counts = parameters(of.model)
    read = (counts.linear * 16 + counts.expert_active * Fraction("4.25") + counts.head * 16) / 8 + sequence_bytes(of.model, 1)
    (row,) = occupancy(of).rows
    assert row.step_ms == pytest.approx(read / Fraction(of.gpu.bandwidth) * 1000)
    packed = OccupancyInputs(model=architectures()["llama-3.1-8b"], gpu=of.gpu, format="gguf-q4_k_m", batches=(1,), context=1)
    counts = parameters(packed.model)
    read = (counts.linear * Fraction("4.8") + counts.head * Fraction("5.53")) / 8 + sequence_bytes(packed.model, 1)
    assert occupancy(packed).rows[0].step_ms == pytest.approx(read / Fraction(of.gpu.bandwidth) * 1000)
