"""What longer contexts cost, and what sharing a GPU's steps among sequences saves.

Counted of a decoder: 2 operations for each parameter that a token passes; for attention 4 x heads x head_dim for each pair of tokens of a
layer (queries with keys, weights with values), half of them under the causal mask. Times are bounds of the roofline: bytes over
bandwidth, operations over arithmetic, whichever is longer.
"""

from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.calculators.calculator import GB, HOUR_S, MILLION, CalculationError, Calculator, Inputs, Quantity
from penstock.domain.sizing.formats import Format, computes_in, find_format, runs_on, why_not
from penstock.domain.sizing.memory import UTILISATION, fit, sequence_bytes
from penstock.domain.sizing.parameters import parameters

TERA = 10**12


class ContextInputs(Inputs, frozen=True, kw_only=True):
    """A model and two lengths of context."""

    model: Annotated[Architecture, Quantity("model, by name", usual="llama-3-70b", source="an often printed case")]
    context: Annotated[int, Quantity("context", "tokens", above=0, most=10**8)] = 8192
    times: Annotated[Fraction, Quantity("and so many times that", "x", above=0, most=10**6)] = Fraction(2)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Prefill, attention's part of it, and memory."""

    linear: Annotated[Fraction, Quantity("prefill: matrices", "TFLOP")]
    attention: Annotated[Fraction, Quantity("prefill: attention", "TFLOP")]
    share: Annotated[Fraction, Quantity("attention's part at the first length", "share")]
    longer_share: Annotated[Fraction, Quantity("and at the second", "share")]
    compute: Annotated[Fraction, Quantity("prefill compute at the second length", "x")]
    attention_compute: Annotated[Fraction | None, Quantity("of that attention alone", "x", otherwise="no layer sees the whole context")]
    kv_gb: Annotated[Fraction, Quantity("keys and values at the first length", "GB")]
    kv: Annotated[Fraction, Quantity("keys and values at the second length", "x")]
    equal_at: Annotated[int | None, Quantity("attention is half of the prefill from", "tokens", otherwise="never: windows bound it")]


def context_cost(of: ContextInputs) -> Context:
    """Matrices grow with the tokens, full attention with their square, a window with the tokens."""
    longer = of.context * of.times
    linear = 2 * Fraction(parameters(of.model).active)
    attention, more = _attention(of.model, Fraction(of.context)), _attention(of.model, longer)
    before, after = linear * of.context + attention, linear * longer + more
    short, long = (sequence_bytes(of.model, int(each)) for each in (of.context, longer))
    quadratic = _quadratic(of.model)
    return Context(
        linear=linear * of.context / TERA,
        attention=attention / TERA,
        share=attention / before,
        longer_share=more / after,
        compute=after / before,
        attention_compute=more / attention if attention else None,
        kv_gb=Fraction(short, GB),
        kv=Fraction(long, short),
        equal_at=None if not quadratic or _windowed(of.model) else int(linear / quadratic),
    )


def _quadratic(model: Architecture) -> Fraction:
    """Operations for each squared token of the layers that see everything."""
    return Fraction(2 * (model.layers - model.linear_layers - _windowed(model)) * model.heads * _head(model))


def _head(model: Architecture) -> int:
    """Width of a head, mean of queries with keys and of weights with values."""
    return model.head_dim if model.latent is None else (model.latent.nope + model.latent.rope + model.latent.value) // 2


def _windowed(model: Architecture) -> int:
    return model.windowed_layers if model.window else 0


def _attention(model: Architecture, tokens: Fraction) -> Fraction:
    """Of a whole prompt."""
    window = min(Fraction(model.window or 0), tokens)
    seen = window * tokens - window**2 / 2  # pairs of a layer with a window, causal
    return _quadratic(model) * tokens**2 + 4 * _windowed(model) * model.heads * _head(model) * seen


class OccupancyInputs(Inputs, frozen=True, kw_only=True):
    """A model on a GPU, and how many sequences share its steps."""

    model: Annotated[Architecture, Quantity("model, by name", usual="llama-3.1-8b")]
    gpu: Annotated[Accelerator, Quantity("GPU, by name", usual="H100-80GB")]
    format: Annotated[str, Quantity("format")] = "bf16"
    gpus: Annotated[int, Quantity("GPUs, by tensor parallelism", above=0, most=8)] = 1
    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", source="an example")] = Fraction("3.50")
    context: Annotated[int, Quantity("context of each sequence", "tokens", above=0, most=10**8)] = 2048
    batches: Annotated[tuple[int, ...], Quantity("sequences at once", above=0, most=10**5)] = (1, 8, 32, 64, 128, 256)


class Occupancy(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size. Times are bounds: nothing is faster."""

    batch: Annotated[int, Quantity("batch")]
    step_ms: Annotated[Fraction | None, Quantity("a step, and a token of each", "ms", otherwise="does not fit")]
    tokens: Annotated[Fraction | None, Quantity("all sequences", "tokens/s", otherwise="-")]
    bound: Annotated[str, Quantity("bound by")]
    million_usd: Annotated[Fraction | None, Quantity("1M output tokens", "USD", otherwise="-", bar=True)]


class Occupancies(msgspec.Struct, frozen=True, kw_only=True):
    """The table."""

    kv_tokens: Annotated[int, Quantity("KV tokens that fit", "tokens")]
    rows: tuple[Occupancy, ...]


def occupancy(of: OccupancyInputs) -> Occupancies:
    """A step reads the weights once, whatever the batch, and the keys and values of every sequence."""
    try:
        format = find_format(of.format)
    except LookupError as problem:
        raise CalculationError(str(problem), "give format=bf16") from None
    if runs_on(format, of.gpu) == "none":
        raise CalculationError(why_not(format, of.gpu), "give format=NAME")
    held = fit(of.model, format, of.gpu, of.gpus, context=of.context, utilisation=UTILISATION)
    if held.requests < 1:
        raise CalculationError(f"{of.model.name} does not hold: {held.why}", "see `penstock size` for what holds it")
    flops = Fraction(of.gpu.flops[computes_in(format, of.gpu)]) * of.gpus
    kept = sequence_bytes(of.model, of.context, of.gpus) * of.gpus
    rows = []
    for batch in of.batches:
        read = (_read_bits(of, format, batch) / 8 + kept * batch) / (Fraction(of.gpu.bandwidth) * of.gpus)
        work = batch * (2 * parameters(of.model).active + 4 * _seen(of.model, of.context)) / flops
        step = max(read, work)
        fits = batch <= held.requests
        rows.append(
            Occupancy(
                batch=batch,
                step_ms=step * 1000 if fits else None,
                tokens=batch / step if fits else None,
                bound=("memory" if read >= work else "arithmetic") if fits else "KV memory",
                million_usd=of.gpu_hour_usd * of.gpus / HOUR_S * step / batch * MILLION if fits else None,
            )
        )
    return Occupancies(kv_tokens=held.kv_tokens, rows=tuple(rows))


def _read_bits(of: OccupancyInputs, format: Format, batch: int) -> Fraction:
    """Of weights in one step: each routed expert if any token of the batch goes to it."""
    counts = parameters(of.model)
    experts = Fraction(0)
    if of.model.experts is not None:
        chosen = Fraction(of.model.experts.active, of.model.experts.count)
        experts = counts.experts * (1 - Fraction(float(1 - chosen) ** batch))
    linear = Fraction(16) if format.experts_only else format.bits
    return counts.linear * linear + experts * format.bits + counts.head * format.embedding_bits


def _seen(model: Architecture, context: int) -> int:
    """Pairs of one new token, times the width of the heads, over all layers."""
    full = model.layers - model.linear_layers - _windowed(model)
    return (full * context + _windowed(model) * min(context, model.window or 0)) * model.heads * _head(model)


CALCULATORS = (
    Calculator(
        name="context-cost",
        words="what a longer context costs in compute and memory",
        inputs=ContextInputs,
        compute=context_cost,
        formula=("prefill = 2 x active parameters x n + 2 x layers x heads x head_dim x n^2 (causal)", "keys and values grow with n"),
        notes=("`Double context, four times the compute` is printed: that is attention alone. Matrices grow with n, and are most of it.",),
    ),
    Calculator(
        name="batch-occupancy",
        words="what a token costs by the sequences that share a step",
        inputs=OccupancyInputs,
        compute=occupancy,
        formula=("step >= max((weights + batch x KV) / bandwidth, batch x operations / arithmetic)", "USD of 1M = rent x step / batch"),
        notes=(
            "Streaming is transport: the GPU makes the same steps for an answer that is sent at once. What costs is a small batch.",
            "Bounds of the hardware, not predictions: those are in `penstock size`, with their bands.",
        ),
    ),
)
