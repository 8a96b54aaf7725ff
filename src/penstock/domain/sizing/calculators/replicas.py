"""Replicas against latency, and replicas against failure: what more of the same buys, and what it cannot.

Latency is that of one request alone, plus its wait for a place. The wait is of the queue M/M/c (Erlang C): arrivals by chance, work of
varying length, c places. More replicas shorten the wait and nothing else.
"""

from fractions import Fraction
from math import comb, exp, floor, log
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import MONTH_DAYS, CalculationError, Calculator, Inputs, Quantity, ratio, rounded

HOURS = MONTH_DAYS * 24
MOST_PLACES = 10**6
EXACT = 50
"""replicas up to which a binomial is summed in fractions"""
GROWS = "the queue grows without end"
NEVER = "no number of them: a request alone takes longer than that"


class LatencyInputs(Inputs, frozen=True, kw_only=True):
    """A load, replicas, and the latency that is wanted."""

    alone_ms: Annotated[Fraction, Quantity("a request alone takes", "ms", above=0, source="often printed")] = Fraction(800)
    target_ms: Annotated[Fraction, Quantity("latency wanted at the quantile", "ms", above=0, source="the same case")] = Fraction(200)
    quantile: Annotated[Fraction, Quantity("quantile of the latency", "share", above=0, below=1, most=1)] = Fraction("0.95")
    requests_per_second: Annotated[Fraction, Quantity("requests", "requests/s", most=10**6)] = Fraction(1)
    places: Annotated[int, Quantity("requests that a replica serves at once, each in that time", above=0, most=10**5)] = 1
    replicas: Annotated[int, Quantity("replicas to look at", above=0, most=10**5, source="the same case")] = 4
    replica_hour_usd: Annotated[Fraction, Quantity("rent of a replica", "USD/hour", source="an example")] = Fraction("3.50")


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """What these replicas give, what is needed, and what is too much."""

    use: Annotated[Fraction, Quantity("use of the places", "share")]
    wait_ms: Annotated[Fraction | None, Quantity("wait, mean", "ms", otherwise=GROWS)]
    quantile_wait_ms: Annotated[Fraction | None, Quantity("wait at the quantile", "ms", otherwise=GROWS)]
    latency_ms: Annotated[Fraction | None, Quantity("latency: alone, and that wait", "ms", otherwise=GROWS)]
    for_throughput: Annotated[int, Quantity("replicas that carry the load", "replicas")]
    for_target: Annotated[int | None, Quantity("replicas that reach the target", "replicas", otherwise=NEVER)]
    speed_up: Annotated[Fraction, Quantity("faster that a request alone must become", "x")]
    surplus: Annotated[int, Quantity("replicas beyond what helps", "replicas")]
    surplus_usd: Annotated[Fraction, Quantity("they cost a month", "USD")]


def latency(of: LatencyInputs) -> Latency:
    """Erlang C, and the smallest number of replicas whose wait leaves room for the request itself."""
    load = of.requests_per_second * of.alone_ms / 1000
    if load > MOST_PLACES or of.replicas * of.places > MOST_PLACES:
        raise CalculationError(f"more than {MOST_PLACES:,} requests at once", "look at a part of the load: waits shrink with size")
    places = of.replicas * of.places
    waits = _waits(float(load), places, float(of.alone_ms), float(of.quantile))
    enough = floor(load / of.places) + 1
    target = _smallest(of, float(load), enough)
    surplus = max(0, of.replicas - (enough if target is None else target))
    return Latency(
        use=load / places,
        wait_ms=None if waits is None else rounded(waits[0], 6),
        quantile_wait_ms=None if waits is None else rounded(waits[1], 6),
        latency_ms=None if waits is None else of.alone_ms + rounded(waits[1], 6),
        for_throughput=enough,
        for_target=target,
        speed_up=max(Fraction(1), of.alone_ms / of.target_ms),
        surplus=surplus,
        surplus_usd=surplus * of.replica_hour_usd * HOURS,
    )


def _waits(load: float, places: int, alone_ms: float, quantile: float) -> tuple[float, float] | None:
    """(mean, quantile) of the wait in ms; None where the queue grows."""
    if load >= places:
        return None
    blocked = 1.0
    for place in range(1, places + 1):
        blocked = load * blocked / (place + load * blocked)
    return _of_blocked(blocked, load, places, alone_ms, quantile)


def _of_blocked(blocked: float, load: float, places: int, alone_ms: float, quantile: float) -> tuple[float, float]:
    waiting = blocked / (1 - load / places * (1 - blocked))
    drained = alone_ms / (places - load)
    return waiting * drained, max(0.0, drained * log(waiting / (1 - quantile))) if waiting > 0 else 0.0


def _smallest(of: LatencyInputs, load: float, enough: int) -> int | None:
    room = float(of.target_ms - of.alone_ms)
    if room < 0:
        return None
    blocked, reached, replicas = 1.0, 0, enough
    while True:
        for place in range(reached + 1, replicas * of.places + 1):  # the recursion goes on where it was
            blocked = load * blocked / (place + load * blocked)
        reached = replicas * of.places
        if load < reached and _of_blocked(blocked, load, reached, float(of.alone_ms), float(of.quantile))[1] <= room:
            return replicas
        replicas += 1


class RedundancyInputs(Inputs, frozen=True, kw_only=True):
    """Replicas for the load, spares for failures."""

    needed: Annotated[int, Quantity("replicas that carry the load", above=0, most=1000)] = 1
    spares: Annotated[int, Quantity("spares that run as well", most=1000)] = 1
    regions: Annotated[int, Quantity("regions that each hold all of them", above=0, most=20)] = 1
    availability: Annotated[Fraction, Quantity("of one replica", "share", above=0, below=1, most=1)] = Fraction("0.999")
    replica_month_usd: Annotated[Fraction, Quantity("rent of a replica", "USD/month", source="a node of eight H100, often printed")] = (
        Fraction(30_000)
    )
    gpus: Annotated[int, Quantity("GPUs of a replica", above=0)] = 8


class Redundancy(msgspec.Struct, frozen=True, kw_only=True):
    """What spares cost and what they buy."""

    replicas: Annotated[int, Quantity("replicas in all", "replicas")]
    gpu_hour_usd: Annotated[Fraction, Quantity("that is, per GPU", "USD/GPU-hour")]
    spare_usd: Annotated[Fraction, Quantity("what is there for failures only, a month", "USD")]
    spare_share: Annotated[Fraction, Quantity("of the bill", "share")]
    spare_idle: Annotated[Fraction, Quantity("of the time a first spare is not needed", "share")]
    before: Annotated[Fraction, Quantity("availability without", "share")]
    after: Annotated[Fraction, Quantity("availability with", "share")]
    hours_saved: Annotated[Fraction, Quantity("less outage a month", "hours")]
    hour_usd: Annotated[Fraction | None, Quantity("each hour less costs", "USD", otherwise="next to nothing is gained")]


def redundancy(of: RedundancyInputs) -> Redundancy:
    """Replicas fail independently (binomial); a region serves while `needed` of its replicas live."""
    every = (of.needed + of.spares) * of.regions
    before, region = of.availability**of.needed, _at_least(of.needed, of.needed + of.spares, of.availability)
    after = 1 - (1 - region) ** of.regions
    extra = (every - of.needed) * of.replica_month_usd
    hours = rounded((after - before) * HOURS)
    return Redundancy(
        replicas=every,
        gpu_hour_usd=of.replica_month_usd / (of.gpus * HOURS),
        spare_usd=extra,
        spare_share=Fraction(every - of.needed, every),
        spare_idle=before,
        before=before,
        after=after,
        hours_saved=hours,
        hour_usd=ratio(extra, hours),
    )


def _at_least(needed: int, replicas: int, availability: Fraction) -> Fraction:
    live = float(availability)
    if replicas <= EXACT:
        exact = (comb(replicas, n) * availability**n * (1 - availability) ** (replicas - n) for n in range(needed, replicas + 1))
        return sum(exact, Fraction(0))
    logs = [log(comb(replicas, n)) + n * log(live) + (replicas - n) * log(1 - live) for n in range(needed, replicas + 1)]
    return min(Fraction(1), rounded(sum(map(exp, logs))))


CALCULATORS = (
    Calculator(
        name="latency-replicas",
        words="how many replicas a latency needs, and which ones are over-provisioned",
        inputs=LatencyInputs,
        compute=latency,
        formula=("latency = alone + wait; P(wait > t) = C x exp(-(places - load) x t / alone), C of Erlang",),
        notes=(
            "Printed elsewhere: four replicas bring 800 ms under 200 ms. They do not: replicas add throughput. A request alone gets "
            "faster by a smaller or quantised model, tensor parallelism or speculative decoding. With your traffic: `penstock simulate`.",
        ),
    ),
    Calculator(
        name="redundancy",
        words="what spare replicas and regions cost, and which outage they avoid",
        inputs=RedundancyInputs,
        compute=redundancy,
        formula=("availability = P(at least `needed` of needed + spares live); of regions: 1 - (1 - availability)^regions",),
        notes=("Only independent failures: a bad release or a provider's outage takes the spares as well.",),
    ),
)
