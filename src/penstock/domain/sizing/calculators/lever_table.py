"""Levers, what is claimed of them, and what is published or measured: ranges that stand apart and are not multiplied."""

from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import CalculationError, Calculator, Inputs, Quantity
from penstock.domain.sizing.calculators.reading import nearest


class Lever(msgspec.Struct, frozen=True, kw_only=True):
    """One lever."""

    lever: Annotated[str, Quantity("lever")]
    claimed: Annotated[str, Quantity("often claimed")]
    known: Annotated[str, Quantity("known")]
    where: Annotated[str, Quantity("where it holds")]
    source: Annotated[str, Quantity("source")]


LEVERS = (
    Lever(
        lever="continuous-batching",
        claimed="+30-50 %",
        known="4x by lengths alone at 32, up to 23x cited",
        where="against static batches; every engine has it: 0 further",
        source="calc continuous-batching; vLLM documentation",
    ),
    Lever(
        lever="kv-paging",
        claimed="50-70 % less waste",
        known="waste 60-80 % to under 4 %, 2-4x throughput",
        where="against contiguous caches; every engine has it: 0 further",
        source="arXiv 2309.06180",
    ),
    Lever(
        lever="flash-attention",
        claimed="2-4x throughput",
        known="2-4x of the attention kernel",
        where="by its part of the time; every engine has it: 0 further",
        source="arXiv 2205.14135",
    ),
    Lever(
        lever="speculative-decoding",
        claimed="2-3x throughput",
        known="2-3x latency at low load, below 1x throughput when full",
        where="small batches, predictable text",
        source="arXiv 2211.17192; calc speculative-decoding",
    ),
    Lever(
        lever="prefix-cache",
        claimed="-",
        known="0 to nearly all of the prefill; decode unchanged",
        where="prompts that begin alike",
        source="calc prefix-cache",
    ),
    Lever(
        lever="fp8",
        claimed="2-4x with 8-15x less memory",
        known="2x less memory, up to 1.6x throughput, no loss",
        where="compute capability 8.9 and above",
        source="vLLM documentation; arXiv 2411.02355",
    ),
    Lever(
        lever="int8",
        claimed="under 1 % loss",
        known="1-3 % loss when tuned; best with large batches",
        where="compute capability 7.5 and above",
        source="arXiv 2411.02355",
    ),
    Lever(
        lever="int4",
        claimed="35 GB for 70B, half the hardware",
        known="3.5-3.6x less memory than 16 bit; best with small batches",
        where="memory-bound decoding",
        source="calc quantisation; arXiv 2411.02355",
    ),
    Lever(
        lever="pruning",
        claimed="4x with quantising",
        known="unstructured 1.0x on dense kernels, 2:4 about 1.1x",
        where="2:4 needs sparse tensor cores",
        source="torchao",
    ),
    Lever(
        lever="semantic-cache",
        claimed="40-60 % of requests, no loss",
        known="20-45 % in production; 1.4-2.25 % of requests wrong at 0.95",
        where="repeated questions",
        source="measured on MiniLM; calc cache-saving",
    ),
    Lever(
        lever="offline-batch",
        claimed="50 %",
        known="50 % at batch APIs",
        where="answers that can wait",
        source="price lists; calc batch-or-realtime",
    ),
)


class LeverInputs(Inputs, frozen=True, kw_only=True):
    """Which ones to look at."""

    only: Annotated[tuple[str, ...], Quantity("levers to show; none: all")] = ()


class LeverTable(msgspec.Struct, frozen=True, kw_only=True):
    """Claims beside knowledge."""

    rows: tuple[Lever, ...]


def software_levers(of: LeverInputs) -> LeverTable:
    """The table, or a part of it."""
    names = [each.lever for each in LEVERS]
    for name in of.only:
        if name not in names:
            raise CalculationError(f"there is no lever `{name}`", nearest(name, names))
    return LeverTable(rows=tuple(each for each in LEVERS if not of.only or each.lever in of.only))


CALCULATORS = (
    Calculator(
        name="software-levers",
        words="what software levers are claimed and known to save, with sources",
        inputs=LeverInputs,
        compute=software_levers,
        formula=("none: ranges with their sources; they overlap and are not multiplied",),
        notes=("Measure a lever on your own engine and traffic before it is in a plan.",),
    ),
)
