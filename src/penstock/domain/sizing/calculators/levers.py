"""Software levers: what each is worth where it works, by a formula, and how far published figures go.

Levers overlap: they save the same GPU-seconds. So none of these is multiplied with another, but by `layered-saving`, which says what
such a product is worth: an upper bound.
"""

from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.prices.config_price import INPUT_WORK
from penstock.domain.sizing.calculators.calculator import Calculator, Inputs, Quantity, ratio, share


class SpeculativeInputs(Inputs, frozen=True, kw_only=True):
    """A small model drafts, the large one checks all drafts in one step."""

    accepted: Annotated[Fraction, share("a drafted token is accepted", "an example: measure it", below=1)] = Fraction("0.7")
    drafted: Annotated[int, Quantity("tokens drafted for each step", "tokens", above=0, most=64)] = 4
    draft_cost: Annotated[Fraction, Quantity("a draft step over one of the model", "x", most=1, source="1B beside 70B")] = Fraction("0.05")


class Speculative(msgspec.Struct, frozen=True, kw_only=True):
    """With idle arithmetic, and without."""

    tokens: Annotated[Fraction, Quantity("tokens of each step of the large model", "tokens")]
    alone: Annotated[Fraction, Quantity("faster at low load: memory-bound", "x")]
    full: Annotated[Fraction, Quantity("throughput when the GPU is full: compute-bound", "x")]


def speculative(of: SpeculativeInputs) -> Speculative:
    """Leviathan et al. 2023 (arXiv 2211.17192): E = (1 - a^(n+1)) / (1 - a)."""
    tokens = (1 - of.accepted ** (of.drafted + 1)) / (1 - of.accepted)
    drafts = of.drafted * of.draft_cost
    return Speculative(tokens=tokens, alone=tokens / (drafts + 1), full=tokens / (drafts + of.drafted + 1))


class PagingInputs(Inputs, frozen=True, kw_only=True):
    """KV memory that is reserved and never used."""

    before: Annotated[Fraction, share("wasted without paging", "60-80 %: arXiv 2309.06180", below=1)] = Fraction("0.7")
    after: Annotated[Fraction, share("wasted with it", "under 4 %: the same", below=1)] = Fraction("0.04")


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """What fits instead."""

    less_waste: Annotated[Fraction | None, Quantity("less waste", "share", otherwise="there was none")]
    sequences: Annotated[Fraction, Quantity("sequences that fit the same memory", "x")]


def paging(of: PagingInputs) -> Paging:
    """Used memory over used memory."""
    less = None if not of.before else 1 - of.after / of.before
    return Paging(less_waste=less, sequences=(1 - of.after) / (1 - of.before))


class ContinuousInputs(Inputs, frozen=True, kw_only=True):
    """A static batch runs until its longest answer ends."""

    batch: Annotated[int, Quantity("sequences of a batch", above=0, most=4096)] = 32


class Continuous(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that make a token, of all steps."""

    static_use: Annotated[Fraction, Quantity("of a static batch's places make tokens, mean", "share")]
    gain: Annotated[Fraction, Quantity("more tokens when places are filled at once", "x")]


def continuous(of: ContinuousInputs) -> Continuous:
    """For lengths that end by chance (exponential) the longest of b is H(b) = 1 + 1/2 + ... + 1/b times the mean."""
    longest = sum((Fraction(round(Fraction(10**15, each)), 10**15) for each in range(1, of.batch + 1)), Fraction(0))
    return Continuous(static_use=1 / longest, gain=longest)


class KernelInputs(Inputs, frozen=True, kw_only=True):
    """A part of the work becomes faster."""

    part: Annotated[Fraction, share("of the time is in what gets faster: attention", "a guess: profile it")] = Fraction("0.2")
    times: Annotated[Fraction, Quantity("faster it gets", "x", above=0, source="2-4x: arXiv 2205.14135")] = Fraction(3)


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole."""

    whole: Annotated[Fraction, Quantity("faster in all", "x")]
    limit: Annotated[
        Fraction | None, Quantity("at the most, however fast that part gets", "x", otherwise="no limit: it is all of the time")
    ]


def kernel(of: KernelInputs) -> Kernel:
    """Amdahl's law."""
    return Kernel(whole=1 / (1 - of.part + of.part / of.times), limit=ratio(1, 1 - of.part))


class PrefixInputs(Inputs, frozen=True, kw_only=True):
    """Requests that begin alike: system prompts, documents, turns of a talk."""

    input_tokens: Annotated[Fraction, Quantity("input of a request", "tokens")] = Fraction(2000)
    shared_tokens: Annotated[Fraction, Quantity("of it at the start, the same as of others", "tokens")] = Fraction(1500)
    hits: Annotated[Fraction, share("requests that find it in the cache", "an example")] = Fraction("0.8")
    output_tokens: Annotated[Fraction, Quantity("output of a request", "tokens", above=0)] = Fraction(300)
    input_work: Annotated[Fraction, Quantity("work of an input token, in output tokens", "x", source="as of fleets")] = INPUT_WORK


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """Prefill that is not run."""

    cached: Annotated[Fraction, Quantity("input tokens that are not computed, a request", "tokens")]
    prefill: Annotated[Fraction | None, Quantity("of the prefill work", "share", otherwise="no input")]
    work: Annotated[Fraction, Quantity("of the whole work", "share")]
    gain: Annotated[Fraction | None, Quantity("throughput", "x", otherwise="no work is left")]


def prefix(of: PrefixInputs) -> Prefix:
    """Cached input does no work; decoding stays."""
    cached = min(of.shared_tokens, of.input_tokens) * of.hits
    whole = of.input_tokens * of.input_work + of.output_tokens
    saved = cached * of.input_work / whole
    return Prefix(cached=cached, prefill=ratio(cached, of.input_tokens), work=saved, gain=ratio(1, 1 - saved))


class LayeredInputs(Inputs, frozen=True, kw_only=True):
    """Three savings that are often multiplied."""

    cached: Annotated[Fraction, share("requests that a cache answers", "printed: 20-40 %")] = Fraction("0.2")
    routed: Annotated[Fraction, share("of the rest that go to a small model", "printed")] = Fraction("0.8")
    small_cost: Annotated[Fraction, Quantity("cost of the small model over the large", "x", most=1, source="printed")] = Fraction("0.1")
    speed_up: Annotated[Fraction, Quantity("throughput by quantising", "x", least=1, source="printed: 2-4x; 1 leaves it out")] = Fraction(1)


class Layered(msgspec.Struct, frozen=True, kw_only=True):
    """Between one lever alone and all as if they did not touch."""

    least: Annotated[Fraction, Quantity("the best lever alone", "share")]
    product: Annotated[Fraction, Quantity("all multiplied: an upper bound", "share")]


def layered(of: LayeredInputs) -> Layered:
    """Multiplying takes each lever to work as well on what the others leave: easy requests are cached and routed alike."""
    after_routing = 1 - of.routed * (1 - of.small_cost)
    alone = (of.cached, 1 - after_routing, 1 - 1 / of.speed_up)
    return Layered(least=max(alone), product=1 - (1 - of.cached) * after_routing / of.speed_up)


CALCULATORS = (
    Calculator(
        name="speculative-decoding",
        words="what drafting tokens gains, at low load and on a full GPU",
        inputs=SpeculativeInputs,
        compute=speculative,
        formula=("tokens = (1 - a^(n+1)) / (1 - a); alone = tokens / (n x draft_cost + 1); full = tokens / (n x draft_cost + n + 1)",),
        notes=("`2-3x throughput` is printed: it is latency at low load. On a full GPU drafting costs throughput.",),
    ),
    Calculator(
        name="kv-paging",
        words="what a paged KV cache makes fit",
        inputs=PagingInputs,
        compute=paging,
        formula=("sequences = (1 - after) / (1 - before)",),
        notes=("`50-70 % less waste` is printed: the paper has 60-80 % waste down to 4 %. Every engine has it: no further saving.",),
    ),
    Calculator(
        name="continuous-batching",
        words="what filling places at once gains over static batches",
        inputs=ContinuousInputs,
        compute=continuous,
        formula=("gain = 1 + 1/2 + ... + 1/batch",),
        notes=("`30-50 % more` is printed: too little; vLLM's documentation cites 23x. Every engine has it: no further saving.",),
    ),
    Calculator(
        name="flash-attention",
        words="what a faster kernel for a part of the work gains in all",
        inputs=KernelInputs,
        compute=kernel,
        formula=("whole = 1 / (1 - part + part / times)",),
        notes=("`2-4x throughput` is printed: that is of the kernel. Engines have it already: no further saving.",),
    ),
    Calculator(
        name="prefix-cache",
        words="what shared beginnings of prompts save",
        inputs=PrefixInputs,
        compute=prefix,
        formula=("work saved = shared x hits x input_work / (input x input_work + output)",),
        notes=("The part that is cached in your traffic is in `penstock cost --json`: cached input tokens.",),
    ),
    Calculator(
        name="layered-saving",
        words="what several levers together save at most, and why not to multiply them",
        inputs=LayeredInputs,
        compute=layered,
        formula=("product = 1 - (1 - cached) x (1 - routed x (1 - small_cost)) / speed_up",),
        notes=("Never a plan value: levers overlap. Replay them on your requests (`penstock route try`) and keep a control group.",),
    ),
)
