"""What formats make of a model: its weights, the GPUs that hold it, the KV tokens that remain, and the month's rent."""

from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.calculators.calculator import GB, MONTH_DAYS, CalculationError, Calculator, Inputs, Quantity
from penstock.domain.sizing.formats import Format, find_format, runs_on
from penstock.domain.sizing.memory import CONTEXT, DEGREES, Fit, fit, kv_bytes_per_token, weights_bytes
from penstock.domain.sizing.parameters import parameters

HOURS = MONTH_DAYS * 24
NOWHERE = "no kernels, or more than 8"


class QuantisingInputs(Inputs, frozen=True, kw_only=True):
    """A model, a GPU, and the formats to compare."""

    model: Annotated[Architecture, Quantity("model, by name", usual="llama-3-70b", source="an often printed case")]
    gpu: Annotated[Accelerator, Quantity("GPU, by name", usual="H100-80GB", source="the same")]
    formats: Annotated[tuple[str, ...], Quantity("formats; the first is compared with")] = ("bf16", "fp8", "int8", "int4", "nf4")
    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", source="an example")] = Fraction("3.50")
    context: Annotated[int, Quantity("context that one request must have", "tokens", above=0, most=10**8)] = CONTEXT
    utilisation: Annotated[Fraction, Quantity("of the memory that the engine takes", "share", above=0, most=1, source="vLLM's default")] = (
        Fraction("0.9")
    )
    reserve_gb: Annotated[
        Fraction | None, Quantity("runtime and activations of a GPU; none: as `penstock size` reckons", "GB", most=1000)
    ] = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One format."""

    format: Annotated[str, Quantity("format")]
    kernels: Annotated[str, Quantity("kernels")]
    naive_gb: Annotated[Fraction, Quantity("by bits alone", "GB")]
    weights_gb: Annotated[Fraction, Quantity("weights", "GB")]
    times: Annotated[Fraction, Quantity("smaller", "x")]
    room_gb: Annotated[Fraction, Quantity("KV room of one GPU", "GB")]
    gpus: Annotated[int | None, Quantity("GPUs", otherwise=NOWHERE)]
    kv_tokens: Annotated[int | None, Quantity("KV tokens on them", otherwise="-")]
    rent_usd: Annotated[Fraction | None, Quantity("a month", "USD", otherwise="unknown")]
    saved: Annotated[Fraction | None, Quantity("rent saved", "share", otherwise="unknown")]


class Quantising(msgspec.Struct, frozen=True, kw_only=True):
    """The table."""

    parameters: Annotated[int, Quantity("parameters", "parameters")]
    kv_bytes: Annotated[int, Quantity("keys and values of a token at 16 bit", "bytes")]
    rows: tuple[Row, ...]


def quantising(of: QuantisingInputs) -> Quantising:
    """The memory law for each format, on as few GPUs as hold one request."""
    rows: list[Row] = []
    for name in of.formats:
        try:
            found = find_format(name)
        except LookupError as problem:
            raise CalculationError(str(problem), "give formats=bf16,fp8,int4") from None
        rows.append(_row(of, found, rows[0] if rows else None))
    return Quantising(parameters=parameters(of.model).total, kv_bytes=kv_bytes_per_token(of.model), rows=tuple(rows))


def _row(of: QuantisingInputs, format: Format, first: Row | None) -> Row:
    weights = Fraction(weights_bytes(of.model, format), GB)
    nominal = Fraction(int(format.bits))  # what the name says: scales come on top
    kernels = runs_on(format, of.gpu)
    fits = {tp: _fit(of, format, tp) for tp in DEGREES}
    held = next((each for each in fits.values() if each.holds), None) if kernels != "none" else None
    rent = None if held is None else of.gpu_hour_usd * held.tensor_parallel * HOURS
    before = rent if first is None else first.rent_usd
    return Row(
        format=format.name,
        kernels=kernels,
        naive_gb=parameters(of.model).total * nominal / 8 / GB,
        weights_gb=weights,
        times=Fraction(1) if first is None else first.weights_gb / weights,
        room_gb=Fraction(fits[1].room_bytes, GB),
        gpus=None if held is None else held.tensor_parallel,
        kv_tokens=None if held is None else held.kv_tokens,
        rent_usd=rent,
        saved=1 - rent / before if rent is not None and before else None,
    )


def _fit(of: QuantisingInputs, format: Format, tp: int) -> Fit:
    kept = None if of.reserve_gb is None else int(of.reserve_gb * GB)
    return fit(of.model, format, of.gpu, tp, utilisation=float(of.utilisation), reserve_bytes=kept, context=of.context)


CALCULATORS = (
    Calculator(
        name="quantisation",
        words="what each format takes of a model's memory, GPUs and rent",
        inputs=QuantisingInputs,
        compute=quantising,
        formula=(
            "weights = quantised matrices x bits (scales included) + embeddings and head at 16 bit",
            "KV room = memory x utilisation - weights / GPUs - reserve",
        ),
        notes=(
            "Printed elsewhere: 70B at 4 bit is 35 GB and serves on a 40 GB GPU. It is 39.5 GB at the least, and serves on 48 GB and more.",
            "Which GPUs, degrees and slices hold a model, and how fast: `penstock size`.",
        ),
    ),
)
