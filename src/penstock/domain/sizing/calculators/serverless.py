"""Provisioned against serverless GPUs: tariffs by the second, minimum billing, cold starts, and the duty at which they cost the same.

Requests arrive independently of each other (Poisson). A worker that has ended a request finds the next one before it gives up with
probability 1 - exp(-rate x timeout), and waits (1 - exp(-rate x timeout)) / rate for it on the mean. That is exact while one worker at a
time is busy; with several, each waits less often than that, and the figures for idle time are of one of them.
"""

from fractions import Fraction
from math import ceil, exp
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import DAY_S, HOUR_S, MONTH_DAYS, Calculator, Inputs, Quantity, rounded

TAIL = Fraction(1, 100)
"""requests that a P99 does not see"""


class ServerlessInputs(Inputs, frozen=True, kw_only=True):
    """The same work on replicas that always run, and on workers that are billed while they live."""

    provisioned_usd: Annotated[
        Fraction, Quantity("a GPU that always runs", "USD/hour", above=0, source="H100 SXM community, runpod.io/pricing, 2026-11-09")
    ] = Fraction("2.69")
    serverless_usd: Annotated[
        Fraction, Quantity("a serverless GPU while it lives", "USD/hour", above=0, source="H100, runware.ai/pricing, 2026-10-07")
    ] = Fraction("3.95")
    requests_per_day: Annotated[Fraction, Quantity("requests, evenly by chance", "requests/day")] = Fraction(2000)
    busy_s: Annotated[Fraction, Quantity("a request occupies a worker", "s", above=0, most=DAY_S)] = Fraction(4)
    concurrency: Annotated[Fraction, Quantity("requests that share it meanwhile", above=0, source="no batching")] = Fraction(1)
    cold_start_s: Annotated[Fraction, Quantity("start of a worker, billed", "s", most=DAY_S, source="a guess: measure it")] = Fraction(60)
    idle_timeout_s: Annotated[
        Fraction, Quantity("a worker waits for the next request, billed", "s", most=DAY_S, source="as RunPod Serverless has it")
    ] = Fraction(5)
    minimum_s: Annotated[Fraction, Quantity("least that is billed of a request", "s", most=DAY_S)] = Fraction(0)
    step_s: Annotated[Fraction, Quantity("what is billed of a request is rounded up to", "s", above=0, most=HOUR_S)] = Fraction(1)
    request_usd: Annotated[Fraction, Quantity("fee of a request", "USD")] = Fraction(0)
    days: Annotated[int, Quantity("days of the month", "days", above=0, most=366)] = MONTH_DAYS


class Serverless(msgspec.Struct, frozen=True, kw_only=True):
    """Both bills, and where they meet."""

    duty: Annotated[Fraction, Quantity("GPUs that are busy, mean", "GPUs")]
    replicas: Annotated[int, Quantity("provisioned replicas, at the least", "GPUs")]
    billed_s: Annotated[Fraction | None, Quantity("billed of a request, start and waiting included", "s", otherwise="no requests")]
    cold_share: Annotated[Fraction | None, Quantity("requests that wait for a cold start", "share", otherwise="no requests")]
    serverless_usd: Annotated[Fraction, Quantity("serverless, a month", "USD")]
    provisioned_usd: Annotated[Fraction, Quantity("provisioned, a month", "USD")]
    cheaper: Annotated[str, Quantity("cheaper")]
    break_even_duty: Annotated[Fraction, Quantity("work alone costs the same at a duty of one GPU of", "share")]
    break_even_requests: Annotated[
        int | None, Quantity("with starts and waiting one replica costs no more from", "requests/day", otherwise="never")
    ]
    tail: Annotated[str, Quantity("latency")]


def serverless(of: ServerlessInputs) -> Serverless:
    """Billed seconds times the tariff, against the rent of as many replicas as are busy."""
    duty = of.requests_per_day * of.busy_s / of.concurrency / DAY_S
    replicas = max(1, ceil(duty))
    provisioned = of.provisioned_usd * 24 * of.days * replicas
    billed, cold = _of_a_request(of, of.requests_per_day) if of.requests_per_day else (None, None)
    cost = _cost_of_a_day(of, of.requests_per_day) * of.days
    slow = f"a cold start of {float(of.cold_start_s):g} s"
    return Serverless(
        duty=duty,
        replicas=replicas,
        billed_s=billed,
        cold_share=cold,
        serverless_usd=cost,
        provisioned_usd=provisioned,
        cheaper="serverless" if cost < provisioned else "provisioned" if provisioned < cost else "neither",
        break_even_duty=of.provisioned_usd / of.serverless_usd,
        break_even_requests=_crossing(of),
        tail="no requests" if cold is None else f"P99 holds {slow}" if cold > TAIL else f"P99 is without {slow}",
    )


def _of_a_request(of: ServerlessInputs, requests_per_day: Fraction) -> tuple[Fraction, Fraction]:
    """Billed seconds of a request, and the share of requests that start a worker."""
    rate = requests_per_day / of.concurrency / DAY_S
    cold = rounded(exp(-float(rate * of.idle_timeout_s)))
    work = max(of.minimum_s, ceil(of.busy_s / of.step_s) * of.step_s)
    return (work + cold * of.cold_start_s + (1 - cold) / rate) / of.concurrency, cold


def _cost_of_a_day(of: ServerlessInputs, requests_per_day: Fraction) -> Fraction:
    if not requests_per_day:
        return Fraction(0)
    billed, _ = _of_a_request(of, requests_per_day)
    return requests_per_day * (billed * of.serverless_usd / HOUR_S + of.request_usd)


def _crossing(of: ServerlessInputs) -> int | None:
    """The least number of requests whose serverless bill reaches that of one provisioned replica, while one replica is enough."""
    most = int(DAY_S * of.concurrency / of.busy_s)
    rent = of.provisioned_usd * 24
    low, high = 0, 1
    while high <= most and _cost_of_a_day(of, Fraction(high)) < rent:
        low, high = high, high + high // 16 + 1  # in small steps: the cost of cold starts rises and falls again
    high = min(high, most)
    if high <= low or _cost_of_a_day(of, Fraction(high)) < rent:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _cost_of_a_day(of, Fraction(middle)) < rent else (low, middle)
    return high


CALCULATORS = (
    Calculator(
        name="serverless",
        words="provisioned against serverless GPUs: minimum billing, cold starts, break-even duty",
        inputs=ServerlessInputs,
        compute=serverless,
        formula=(
            "billed = max(minimum, busy rounded up) + P(cold) x cold_start + waiting; P(cold) = exp(-rate x idle_timeout)",
            "waiting = (1 - P(cold)) / rate; break-even duty = provisioned_usd / serverless_usd",
        ),
        notes=(
            "Arrivals by chance (Poisson): bursts start more workers. Exact while one worker at a time is busy, near above that.",
            "SageMaker Serverless Inference has no GPU and at most 6 GB: it is no option for LLMs, whatever is printed.",
        ),
    ),
)
