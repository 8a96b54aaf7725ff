"""What a month of serving costs, and what that makes of a request, of a million tokens, and of a thousand (CP1KT)."""

from fractions import Fraction
from typing import Annotated

import msgspec

from penstock.domain.sizing.calculators.calculator import DAY_S, MILLION, MONTH_DAYS, CalculationError, Calculator, Inputs, Quantity, ratio

A10G = "often printed for an A10G; AWS lists g5.xlarge at 1.006 (July 2026)"
S3 = "AWS S3 Standard, first 50 TB (July 2026)"


class ServingInputs(Inputs, frozen=True, kw_only=True):
    """A replica set that runs by the hour, its weights in storage, and the requests it answers."""

    gpu_hour_usd: Annotated[Fraction, Quantity("rent of a GPU", "USD/GPU-hour", source=A10G)] = Fraction("0.80")
    gpus: Annotated[int, Quantity("GPUs that run", source="one replica of a 7B model")] = 1
    hours_per_day: Annotated[Fraction, Quantity("hours a day that they run", "hours", most=24)] = Fraction(24)
    days: Annotated[int, Quantity("days of the month", "days", above=0, most=366)] = MONTH_DAYS
    weights_gb: Annotated[Fraction, Quantity("weights in storage", "GB", source="7B parameters at 16 bit")] = Fraction(14)
    storage_usd: Annotated[Fraction, Quantity("storage", "USD/GB-month", source=S3)] = Fraction("0.023")
    other_usd: Annotated[Fraction, Quantity("network, streaming, premiums", "USD/month")] = Fraction(0)
    requests_per_day: Annotated[Fraction, Quantity("requests", "requests/day")] = Fraction(10_000)
    input_tokens: Annotated[Fraction, Quantity("input of a request", "tokens")] = Fraction(0)
    output_tokens: Annotated[Fraction, Quantity("output of a request", "tokens")] = Fraction(500)


class ServingCost(msgspec.Struct, frozen=True, kw_only=True):
    """A month's bill and its unit costs."""

    hour_usd: Annotated[Fraction, Quantity("an hour of all GPUs", "USD")]
    compute_usd: Annotated[Fraction, Quantity("compute of the month", "USD")]
    storage_usd: Annotated[Fraction, Quantity("storage of the month", "USD")]
    total_usd: Annotated[Fraction, Quantity("total of the month", "USD")]
    output_tokens: Annotated[Fraction, Quantity("output tokens of the month", "tokens")]
    tokens: Annotated[Fraction, Quantity("input and output tokens of the month", "tokens")]
    tokens_per_second: Annotated[Fraction, Quantity("output, mean over the month", "tokens/s")]
    output_million_usd: Annotated[Fraction | None, Quantity("a million output tokens", "USD", otherwise="no output, so no price of it")]
    cp1kt_usd: Annotated[Fraction | None, Quantity("1,000 tokens, input and output", "USD", otherwise="no tokens, so no price of them")]
    request_usd: Annotated[Fraction | None, Quantity("a request", "USD", otherwise="no requests, so no price of one")]


def serving_cost(of: ServingInputs) -> ServingCost:
    """Rent x GPUs x hours, and storage by the month; over the month's requests and tokens."""
    hour = of.gpu_hour_usd * of.gpus
    compute, storage = hour * of.hours_per_day * of.days, of.weights_gb * of.storage_usd
    total, requests = compute + storage + of.other_usd, of.requests_per_day * of.days
    output, tokens = requests * of.output_tokens, requests * (of.input_tokens + of.output_tokens)
    return ServingCost(
        hour_usd=hour,
        compute_usd=compute,
        storage_usd=storage,
        total_usd=total,
        output_tokens=output,
        tokens=tokens,
        tokens_per_second=output / (of.days * DAY_S),
        output_million_usd=ratio(total * MILLION, output),
        cp1kt_usd=ratio(total * 1000, tokens),
        request_usd=ratio(total, requests),
    )


class RequestInputs(Inputs, frozen=True, kw_only=True):
    """The token classes of a request and what a provider asks for a million of each."""

    input_tokens: Annotated[Fraction, Quantity("input that is not cached", "tokens")] = Fraction(1000)
    cached_tokens: Annotated[Fraction, Quantity("input read from the provider's cache", "tokens")] = Fraction(0)
    output_tokens: Annotated[Fraction, Quantity("visible output", "tokens")] = Fraction(500)
    reasoning_tokens: Annotated[Fraction, Quantity("output that nobody reads", "tokens")] = Fraction(0)
    input_usd: Annotated[Fraction, Quantity("price of input", "USD/1M tokens", source="an example")] = Fraction(3)
    cached_usd: Annotated[Fraction | None, Quantity("price of cached input", "USD/1M tokens")] = None
    output_usd: Annotated[Fraction, Quantity("price of output and reasoning", "USD/1M tokens", source="an example")] = Fraction(15)
    requests_per_day: Annotated[Fraction, Quantity("requests", "requests/day")] = Fraction(1000)
    days: Annotated[int, Quantity("days of the month", "days", above=0, most=366)] = MONTH_DAYS


class RequestCost(msgspec.Struct, frozen=True, kw_only=True):
    """A request, by side."""

    input_side_usd: Annotated[Fraction, Quantity("input, cached included", "USD")]
    output_side_usd: Annotated[Fraction, Quantity("output, reasoning included", "USD")]
    request_usd: Annotated[Fraction, Quantity("a request", "USD")]
    month_usd: Annotated[Fraction, Quantity("the month", "USD")]


def request_cost(of: RequestInputs) -> RequestCost:
    """Tokens of each class times its price."""
    if of.cached_tokens and of.cached_usd is None:
        raise CalculationError("cached_tokens have no price", "give cached_usd: providers ask 10 to 50 % of the input price")
    given = (of.input_tokens * of.input_usd + of.cached_tokens * (of.cached_usd or 0)) / MILLION
    made = (of.output_tokens + of.reasoning_tokens) * of.output_usd / MILLION
    month = (given + made) * of.requests_per_day * of.days
    return RequestCost(input_side_usd=given, output_side_usd=made, request_usd=given + made, month_usd=month)


class UnitInputs(Inputs, frozen=True, kw_only=True):
    """What was spent in a window and what was processed in it."""

    gpu_usd: Annotated[Fraction, Quantity("rent of GPUs", "USD", source="a month of one A10G at 0.80")] = Fraction(576)
    memory_usd: Annotated[Fraction, Quantity("memory and storage", "USD", source="14 GB at 0.023")] = Fraction("0.322")
    api_usd: Annotated[Fraction, Quantity("bills of providers", "USD")] = Fraction(0)
    tokens: Annotated[Fraction, Quantity("tokens that models processed", "tokens", source="10,000 a day of 500")] = Fraction(150_000_000)
    recalled_tokens: Annotated[Fraction, Quantity("tokens of answers from a cache", "tokens")] = Fraction(0)
    cache_saved_usd: Annotated[Fraction, Quantity("what those answers would have cost", "USD")] = Fraction(0)


class UnitCost(msgspec.Struct, frozen=True, kw_only=True):
    """Cost per 1,000 tokens."""

    spend_usd: Annotated[Fraction, Quantity("spend of the window", "USD")]
    cp1kt_usd: Annotated[Fraction | None, Quantity("1,000 tokens processed: CP1KT", "USD", otherwise="no tokens, so no price of them")]
    delivered_usd: Annotated[Fraction | None, Quantity("1,000 tokens delivered, recalled ones too", "USD", otherwise="nothing delivered")]
    subtracted_usd: Annotated[Fraction | None, Quantity("CP1KT with savings subtracted: wrong", "USD", otherwise="no tokens")]


def unit_cost(of: UnitInputs) -> UnitCost:
    """Spend over tokens, as three definitions have it."""
    spend = of.gpu_usd + of.memory_usd + of.api_usd
    return UnitCost(
        spend_usd=spend,
        cp1kt_usd=ratio(spend * 1000, of.tokens),
        delivered_usd=ratio(spend * 1000, of.tokens + of.recalled_tokens),
        subtracted_usd=ratio((spend - of.cache_saved_usd) * 1000, of.tokens),
    )


CALCULATORS = (
    Calculator(
        name="serving-cost",
        words="what a month of own serving costs, and a request and a token of it",
        inputs=ServingInputs,
        compute=serving_cost,
        formula=("compute = gpu_hour_usd x gpus x hours_per_day x days", "total = compute + weights_gb x storage_usd + other_usd"),
        notes=(
            "By default a month has 30 days; one of 31 costs a thirtieth more.",
            "Rented hours cost the same at any use: see effective-gpu-hour.",
        ),
    ),
    Calculator(
        name="request-cost",
        words="what a request costs at a provider, by token class",
        inputs=RequestInputs,
        compute=request_cost,
        formula=("request = (input x input_usd + cached x cached_usd + (output + reasoning) x output_usd) / 1,000,000",),
        notes=("Per feature and model of real traffic: `penstock cost --by feature,model`.",),
    ),
    Calculator(
        name="cp1kt",
        words="cost per 1,000 tokens, and how definitions of it differ",
        inputs=UnitInputs,
        compute=unit_cost,
        formula=("CP1KT = (gpu_usd + memory_usd + api_usd) / tokens x 1,000",),
        notes=(
            "Say which tokens, which cost, which window. What a cache saved was never spent: subtracting it counts the saving twice.",
            "Of your own traffic: `penstock cost`.",
        ),
    ),
)
