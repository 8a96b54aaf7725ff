"""From how many requests a day own GPUs cost less than an API: with input tokens, the capacity of a replica, and the peaks of the day."""

from fractions import Fraction
from math import ceil, floor
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import (
    DAY_S,
    MILLION,
    MONTH_DAYS,
    CalculationError,
    Calculator,
    Inputs,
    Quantity,
    ratio,
)
from penstock.domain.sizing.calculators.serving import A10G, S3

MOST_REPLICAS = 1000
"""to which a break-even is looked for beyond the first that may hold one"""
NEVER = "never: a full replica costs no less than its requests cost at the API"


class BreakEvenInputs(Inputs, frozen=True, kw_only=True):
    """Own replicas that run all the time, against a price per token."""

    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", above=0, source=A10G)] = Fraction("0.80")
    gpus: Annotated[int, Quantity("GPUs of a replica", "GPUs", above=0)] = 1
    weights_gb: Annotated[Fraction, Quantity("weights in storage; 0 leaves storage out", "GB", source="7B at 16 bit")] = Fraction(14)
    storage_usd: Annotated[Fraction, Quantity("storage", "USD/GB-month", source=S3)] = Fraction("0.023")
    days: Annotated[int, Quantity("days of the month", "days", above=0, most=366)] = MONTH_DAYS
    requests_per_day: Annotated[Fraction, Quantity("the load to look at", "requests/day")] = Fraction(10_000)
    input_tokens: Annotated[Fraction, Quantity("input of a request", "tokens")] = Fraction(0)
    output_tokens: Annotated[Fraction, Quantity("output of a request", "tokens")] = Fraction(500)
    api_input_usd: Annotated[Fraction | None, Quantity("the API's price of input", "USD/1M tokens")] = None
    api_output_usd: Annotated[Fraction, Quantity("the API's price of output", "USD/1M tokens", source="an example")] = Fraction("0.60")
    capacity: Annotated[Fraction | None, Quantity("what a replica makes at this mix: `penstock size`", "output tokens/s", above=0)] = None
    p50_load: Annotated[Fraction, Quantity("median hour over the mean", "x", source="flat")] = Fraction(1)
    p95_load: Annotated[Fraction, Quantity("the peak factor: P95 hour over the mean", "x", above=0, source="flat")] = Fraction(1)


class BreakEven(msgspec.Struct, frozen=True, kw_only=True):
    """Where the lines cross, and where the load of the inputs stands."""

    api_request_usd: Annotated[Fraction, Quantity("a request at the API", "USD")]
    replica_usd: Annotated[Fraction, Quantity("a replica and the storage, a month", "USD")]
    exact: Annotated[Fraction | None, Quantity("break-even", "requests/day", otherwise=NEVER)]
    cheaper_from: Annotated[int | None, Quantity("own GPUs cost less from", "requests/day", otherwise=NEVER)]
    cheaper_with: Annotated[int | None, Quantity("replicas that this load needs", otherwise="none")]
    always_from: Annotated[
        int | None, Quantity("and at every load from, at the latest", "requests/day", otherwise="unknown without capacity, or never")
    ]
    mean_tokens: Annotated[Fraction | None, Quantity("break-even load, mean of the day", "output tokens/s", otherwise="none")]
    peak_tokens: Annotated[Fraction | None, Quantity("break-even load, P95 hour", "output tokens/s", otherwise="none")]
    replicas: Annotated[int | None, Quantity("replicas for the load given", otherwise="unknown without capacity: 1 assumed")]
    p50_use: Annotated[Fraction | None, Quantity("their use in the median hour", "share", otherwise="unknown without capacity")]
    p95_use: Annotated[Fraction | None, Quantity("their use in the P95 hour", "share", otherwise="unknown without capacity")]
    own_usd: Annotated[Fraction, Quantity("own GPUs at the load given, a month", "USD")]
    api_usd: Annotated[Fraction, Quantity("the API at the load given, a month", "USD")]
    cheaper: Annotated[str, Quantity("cheaper at the load given")]
    saved_usd: Annotated[Fraction, Quantity("by, a month", "USD")]
    saved_share: Annotated[Fraction | None, Quantity("of the dearer of the two", "share", otherwise="nothing is spent")]
    times: Annotated[Fraction | None, Quantity("own GPUs over the API", "x", otherwise="the API costs nothing at this load")]


def break_even(of: BreakEvenInputs) -> BreakEven:
    """Replicas are whole and sized for the P95 hour, so own cost is a staircase and the API's a line."""
    request = _api_request(of)
    replica, storage = of.gpu_hour_usd * of.gpus * 24 * of.days, of.weights_gb * of.storage_usd
    holds = None if of.capacity is None or not of.output_tokens else of.capacity * DAY_S / (of.output_tokens * of.p95_load)
    month = request * of.days
    found = _crossing(replica, storage, month, holds)
    needed = 1 if holds is None else max(1, ceil(of.requests_per_day / holds))
    own, api = needed * replica + storage, of.requests_per_day * month
    mean = None if found is None else found[0] * of.output_tokens / DAY_S
    load = of.requests_per_day * of.output_tokens / DAY_S
    full = None if of.capacity is None else needed * of.capacity
    return BreakEven(
        api_request_usd=request,
        replica_usd=replica + storage,
        exact=None if found is None else found[0],
        cheaper_from=None if found is None else floor(found[0]) + 1,
        cheaper_with=None if found is None else found[1],
        always_from=_always(replica, storage, month, holds),
        mean_tokens=mean,
        peak_tokens=None if mean is None else mean * of.p95_load,
        replicas=None if holds is None else needed,
        p50_use=None if full is None else load * of.p50_load / full,
        p95_use=None if full is None else load * of.p95_load / full,
        own_usd=own,
        api_usd=api,
        cheaper="own GPUs" if own < api else "API" if api < own else "neither",
        saved_usd=abs(own - api),
        saved_share=ratio(abs(own - api), max(own, api)),
        times=ratio(own, api),
    )


def _api_request(of: BreakEvenInputs) -> Fraction:
    if of.input_tokens and of.api_input_usd is None:
        raise CalculationError("input_tokens have no price", "give api_input_usd: without input own GPUs look worse than they are")
    return (of.input_tokens * (of.api_input_usd or 0) + of.output_tokens * of.api_output_usd) / MILLION


def _crossing(replica: Fraction, storage: Fraction, month: Fraction, holds: Fraction | None) -> tuple[Fraction, int] | None:
    """(requests a day, replicas): the first load from which the staircase lies below the line `month` x requests."""
    if not month:
        return None
    if holds is None:
        return (replica + storage) / month, 1
    gain = holds * month - replica
    if gain <= 0:
        return None
    first = max(1, floor(storage / gain))
    for replicas in range(first, first + MOST_REPLICAS):
        exact = (replicas * replica + storage) / month
        if floor(exact) + 1 <= replicas * holds:
            return exact, replicas
    return None


def _always(replica: Fraction, storage: Fraction, month: Fraction, holds: Fraction | None) -> int | None:
    """n requests need fewer than n / holds + 1 replicas: above this load even those cost less than the API."""
    if holds is None or month * holds <= replica:
        return None
    return floor((replica + storage) / (month - replica / holds)) + 1


CALCULATORS = (
    Calculator(
        name="api-break-even",
        words="from how many requests a day own GPUs cost less than an API",
        inputs=BreakEvenInputs,
        compute=break_even,
        formula=(
            "break-even = (replicas x replica rent + storage) / (API price of a request x days)",
            "replicas = requests x output_tokens x p95_load / (86,400 x capacity), rounded up",
        ),
        notes=(
            "Printed elsewhere: 64,000 a day at the defaults. Exactly 64,035.78, so cheaper from 64,036: and that is a mean of 370.6 "
            "output tokens/s, which one GPU must do at the peak as well. Give capacity, p95_load, input_tokens and api_input_usd.",
        ),
    ),
)
