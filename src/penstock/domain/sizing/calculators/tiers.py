"""Models of several prices for the traffic of one: split by difficulty, asked in turn, or spared by a cache."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import CalculationError, Calculator, Inputs, Quantity, ratio, share

ALARM = (Fraction("0.3"), Fraction("0.4"))
"""escalation rates that are often printed as an alarm"""


class BlendInputs(Inputs, frozen=True, kw_only=True):
    """Lists with a value for each tier, the cheapest first."""

    shares: Annotated[tuple[Fraction, ...], Quantity("requests of each tier", "share", most=1, source="often printed")] = (
        Fraction("0.6"),
        Fraction("0.3"),
        Fraction("0.1"),
    )
    prices: Annotated[tuple[Fraction, ...], Quantity("price of each tier, in any one unit", source="often printed")] = (
        Fraction("0.002"),
        Fraction("0.008"),
        Fraction("0.030"),
    )
    tokens: Annotated[tuple[Fraction, ...], Quantity("billed tokens of a request of each tier", source="the same for all")] = (Fraction(1),)
    beside: Annotated[Fraction, Quantity("cost of choosing, of a request", source="none")] = Fraction(0)


class Blend(msgspec.Struct, frozen=True, kw_only=True):
    """Against all of it on the dearest tier."""

    blended: Annotated[Fraction, Quantity("mean price of a request")]
    alone: Annotated[Fraction, Quantity("all on the dearest tier")]
    times: Annotated[Fraction | None, Quantity("cheaper", "x", otherwise="the blend costs nothing")]
    saved: Annotated[Fraction | None, Quantity("saved", "share", otherwise="nothing is spent")]


def blend(of: BlendInputs) -> Blend:
    """Sum of share x tokens x price, and what choosing costs."""
    tokens: Sequence[Fraction] = of.tokens if len(of.tokens) > 1 else of.tokens * len(of.shares)
    if not len(of.shares) == len(of.prices) == len(tokens):
        raise CalculationError("shares, prices and tokens have different lengths", "give a value for each tier, in the same order")
    if sum(of.shares) != 1:
        raise CalculationError(f"the shares add up to {float(sum(of.shares)):g}", "they are parts of all requests: 1 together")
    mixed = sum((a * t * p for a, t, p in zip(of.shares, tokens, of.prices, strict=True)), of.beside)
    alone = sum((a * t * max(of.prices) for a, t in zip(of.shares, tokens, strict=True)), Fraction(0))
    return Blend(blended=mixed, alone=alone, times=ratio(alone, mixed), saved=ratio(alone - mixed, alone))


class CascadeInputs(Inputs, frozen=True, kw_only=True):
    """A cheap tier is asked first; what it cannot do is asked again above."""

    fast: Annotated[Fraction, Quantity("cost of the cheap tier", above=0, source="relative, often printed")] = Fraction("0.05")
    target: Annotated[Fraction, Quantity("cost of the tier above", above=0, source="relative, often printed")] = Fraction("0.30")
    check: Annotated[Fraction, Quantity("cost of judging each cheap answer", source="none")] = Fraction(0)
    escalated: Annotated[Fraction, share("requests that go on", "an alarm often printed: 30-40 %")] = Fraction("0.35")


class Cascade(msgspec.Struct, frozen=True, kw_only=True):
    """What it costs, and up to where it pays."""

    cost: Annotated[Fraction, Quantity("mean cost of a request")]
    saved: Annotated[Fraction, Quantity("less than the tier above alone; below 0 it costs more", "share")]
    break_even: Annotated[
        Fraction | None, Quantity("pays while fewer go on than", "share", otherwise="never: it costs more than the target")
    ]
    verdict: Annotated[str, Quantity("at the rate given")]


def cascade(of: CascadeInputs) -> Cascade:
    """Escalated requests pay both."""
    first = of.fast + of.check
    cost, limit = first + of.escalated * of.target, 1 - first / of.target
    return Cascade(
        cost=cost,
        saved=1 - cost / of.target,
        break_even=limit if limit > 0 else None,
        verdict="pays" if cost < of.target else "does not pay",
    )


class CacheInputs(Inputs, frozen=True, kw_only=True):
    """Hits, what a look-up costs, what a run would."""

    exact_hits: Annotated[Fraction, share("requests answered by an exact key")] = Fraction(0)
    semantic_hits: Annotated[Fraction, share("requests answered by meaning", "printed: 40-60 %; production: 20-45 %")] = Fraction("0.4")
    lookup_usd: Annotated[Fraction, Quantity("embedding, where no exact key answers", "USD", source="often printed")] = Fraction("0.0001")
    run_usd: Annotated[Fraction, Quantity("a request that is run", "USD", above=0, source="printed: 0.008 to 0.030")] = Fraction("0.008")
    replicas: Annotated[int | None, Quantity("own replicas that serve the misses; none: an API", above=0)] = None


class CacheSaving(msgspec.Struct, frozen=True, kw_only=True):
    """Of a bill by request, and of one by the hour."""

    hits: Annotated[Fraction, Quantity("answered without a run", "share")]
    request_usd: Annotated[Fraction, Quantity("mean cost of a request", "USD")]
    saved: Annotated[Fraction, Quantity("saved at an API; below 0 it costs more", "share")]
    least_hits: Annotated[Fraction, Quantity("hits by meaning that pay the look-ups", "share")]
    replicas: Annotated[int | None, Quantity("own replicas that are still needed", otherwise="an API")]
    rent_saved: Annotated[Fraction | None, Quantity("of own rent saved, after scaling down", "share", otherwise="an API")]


def cache_saving(of: CacheInputs) -> CacheSaving:
    """Hit rate less the look-ups over a run; own GPUs are saved by whole replicas only."""
    hits = of.exact_hits + of.semantic_hits
    if hits > 1:
        raise CalculationError("exact_hits and semantic_hits are more than all requests", "both are shares of all requests")
    looked = (1 - of.exact_hits) * of.lookup_usd
    cost = looked + (1 - hits) * of.run_usd
    left = None if of.replicas is None else max(1, ceil(of.replicas * (1 - hits)))
    return CacheSaving(
        hits=hits,
        request_usd=cost,
        saved=1 - cost / of.run_usd,
        least_hits=looked / of.run_usd,
        replicas=left,
        rent_saved=None if left is None or of.replicas is None else 1 - Fraction(left, of.replicas),
    )


CALCULATORS = (
    Calculator(
        name="blend",
        words="what traffic costs when it is split over tiers",
        inputs=BlendInputs,
        compute=blend,
        formula=("blended = sum of share x tokens x price + beside",),
        notes=(
            "Printed elsewhere at the defaults: 0.005, 6x. It is 0.0066, 4.55x; with a classifier at 0.001 0.0076, 3.95x.",
            "Requests are not tokens: give tokens where easy requests are short. Of your own traffic: `penstock route try`.",
        ),
    ),
    Calculator(
        name="cascade",
        words="up to which escalation rate a cheap tier in front pays",
        inputs=CascadeInputs,
        compute=cascade,
        formula=("cost = fast + check + escalated x target", "break-even = 1 - (fast + check) / target"),
        notes=(
            "An alarm at 30 to 40 % escalated is often printed as economics: with the usual prices the break-even is 83 to 95 %. "
            "It is a sign of quality and latency. Of your own tiers: `penstock route ladder`.",
        ),
    ),
    Calculator(
        name="cache-saving",
        words="what a cache saves, of an API bill and of own rent",
        inputs=CacheInputs,
        compute=cache_saving,
        formula=("saved = exact_hits + semantic_hits - (1 - exact_hits) x lookup_usd / run_usd",),
        notes=(
            "A hit rate is no saving of GPUs: they bill by the hour, so rent falls only when whole replicas go.",
            "Hits by meaning are sometimes wrong: at a similarity of 0.95 on MiniLM 1.4 to 2.25 % of requests, measured. "
            "Of your own traffic: `penstock cache`.",
        ),
    ),
)
