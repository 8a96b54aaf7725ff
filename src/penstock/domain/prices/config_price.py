"""Prices that stand in the user's own files: USD per million tokens of a model, USD per hour of a fleet.

Figures are read as the decimal text that was written, so 0.05 is exactly 5/100.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from hashlib import blake2b

import msgspec

from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.prices.schedule import ALWAYS, Schedule
from penstock.domain.units import Rate, UnitError

CLASS_OF_KEY = {
    "input": "uncached_input",
    "cached_input": "cache_read",
    "cache_write": "cache_write",
    "output": "visible_output",
    "reasoning": "reasoning",
}
"""key of a price table -> token class"""
PART_OF_KEY = {
    "cache_write_1h": "cache_write_1h",
    "input_audio": "input_audio",
    "input_image": "input_image",
    "input_video": "input_video",
    "cached_input_audio": "cache_read_audio",
    "cached_input_image": "cache_read_image",
    "cached_input_video": "cache_read_video",
    "output_audio": "output_audio",
    "output_image": "output_image",
    "output_video": "output_video",
}
"""key of a price table -> part of a class that has a price of its own"""
CALL_OF_KEY = {
    "web_search": "web_searches",
    "file_search": "file_searches",
    "code_run": "code_runs",
    "tool_call": "tool_calls",
    "citation": "citation_tokens",
}
"""key of a price table -> what is billed beside the classes, in USD per 1,000 calls"""
PER_OF_KEY = {"citation": 1_000_000}
"""keys of `CALL_OF_KEY` that are priced by another number than 1,000"""
REQUEST_KEY = "request"
"""key of a price table: the fee of every call that used tokens, in USD per 1,000"""
PRICE_KEYS = (*CLASS_OF_KEY, *PART_OF_KEY, *CALL_OF_KEY, REQUEST_KEY)

HOURS = {"gpu-hour": 1, "hour": 1, "day": 24, "month": 730}
"""hours of the units that a fleet's price may have; a month is 8760 / 12, as clouds bill it"""
INPUT_WORK = Fraction(1, 5)
"""Work of an uncached input token in output tokens. Prefill runs a prompt's tokens through the model together, decoding one
step per token, so an input token occupies the hardware for less; published API prices put the ratio at 1/3 to 1/8. Read from a
fleet's own prefix cache, a token does no work."""


class PriceError(UnitError):
    """A price that cannot be read; the message says which and what would have been accepted."""


class FleetPlan(msgspec.Struct, frozen=True):
    """A fleet as it is planned: `usd_per_hour` of ONE unit as (start in unix ns, USD), `count` units, and the output
    tokens per second that all of them together are planned to generate (None: not planned)."""

    name: str
    usd_per_hour: tuple[tuple[int, Fraction], ...]
    count: int
    tokens_per_second: Fraction | None


def exact(value: float | str | Decimal, what: str = "the price") -> Fraction:
    """The number as written. Raises `PriceError` when it is negative, infinite or no number."""
    try:
        decimal = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise PriceError(f"{what} `{value}` is not a number: write USD per million tokens, such as 0.05") from None
    if not decimal.is_finite() or decimal < 0:
        raise PriceError(f"{what} `{value}` is not a price: write a number of USD, 0 or more")
    return Fraction(decimal)


def rates_from_table(
    id: str, version: str, price: Mapping[str, float | str | None], above: Mapping[int, Mapping[str, float | str | None]] | None = None
) -> Rates:
    """Rates of a table with the keys of `PRICE_KEYS`: USD per million tokens, of tools and `request`s USD per 1,000 calls. A key
    that is absent or None is not priced by itself (`compile_rates` says what then holds). `above`: tables of what differs from so
    many input tokens on. Raises `PriceError`."""
    given = _given(price)
    calls = {CALL_OF_KEY[key]: usd / PER_OF_KEY.get(key, 1000) for key, usd in given.items() if key in CALL_OF_KEY}
    whole = _by_token(given)
    bands = {start: {**whole, **_by_token(_given(table))} for start, table in (above or {}).items()}
    return compile_rates(id, version, whole, bands=bands, calls=calls, usd_per_call=given.get(REQUEST_KEY, Fraction(0)) / 1000)


def _given(price: Mapping[str, float | str | None]) -> dict[str, Fraction]:
    unknown = [key for key in price if key not in PRICE_KEYS]
    if unknown:
        raise PriceError(f"`{unknown[0]}` is not part of a price: use {', '.join(PRICE_KEYS)}")
    return {key: exact(value, f"price of {key}") for key, value in price.items() if value is not None}


def _by_token(given: Mapping[str, Fraction]) -> dict[str, Fraction | None]:
    names = CLASS_OF_KEY | PART_OF_KEY
    return {names[key]: usd for key, usd in given.items() if key in names}


def rates_from_config(model: str, price: Mapping[str, float | str | None], processing: str | None = None) -> Rates:
    """Rates of a configured model's `price` table, or of one of its processing classes. Raises `PriceError`."""
    return _stamped(rates_from_table(f"config:{model}{class_suffix(processing)}", "config", price))


def class_suffix(processing: str | None) -> str:
    """What the id of a price entry says of a processing class: `#batch`; nothing for standard."""
    return "" if processing is None else f"#{processing}"


def _stamped(rates: Rates) -> Rates:
    """The version with a digest of the rates: what stands undated in a config that is edited gets a name for every figure that it had."""
    figures = repr((rates.denominator, [(b.input_above, b.weights, sorted(b.parts.items())) for b in rates.bands], rates.per_call))
    digest = blake2b((figures + repr(sorted(rates.calls.items()))).encode(), digest_size=4).hexdigest()
    return msgspec.structs.replace(rates, version=f"{rates.version}-{digest}")


def usd_per_hour(price: str) -> Fraction:
    """USD per hour of one GPU (or slice) from text such as `0.79 USD/gpu-hour`. Raises `UnitError`."""
    rate = Rate.parse(price)
    if rate.per not in HOURS:
        raise PriceError(f"`{price}` is not a price of hardware: write it per {', '.join(HOURS)}, such as `0.79 USD/gpu-hour`")
    return Fraction(rate.usd) / HOURS[rate.per]


def fleet_rates(name: str, fleet_usd_per_hour: Fraction, tokens_per_second: Fraction) -> Rates:
    """Provisional rates of what a fleet serves: the hourly price of the WHOLE fleet over its planned work, basis estimated.

    Work is counted in output tokens (`INPUT_WORK` each for input that is not cached). Allocation of the closed hour replaces
    the figure; until then a fleet that does less than planned shows too little cost, one that does more too much.
    """
    if tokens_per_second <= 0:
        raise PriceError("planned_tokens_per_second must be above 0")
    output = fleet_usd_per_hour * 1_000_000 / (3600 * tokens_per_second)
    table: dict[str, Fraction | None] = {
        "uncached_input": output * INPUT_WORK,
        "cache_read": Fraction(0),
        "cache_write": output * INPUT_WORK,
        "visible_output": output,
        "reasoning": output,
    }
    return _stamped(compile_rates(f"fleet:{name}", "planned", table, basis="estimated"))


def fleet_gap(plans: Sequence[FleetPlan]) -> str | None:
    """Why these fleets give no provisional price, as a clause; None when they do."""
    if not plans:
        return "no fleet stands behind its upstream"
    for plan in plans:
        if plan.tokens_per_second is None:
            return f"fleet `{plan.name}` has no `planned_tokens_per_second`"
        if not plan.usd_per_hour:
            return f"fleet `{plan.name}` has no price per hour of what it counts (a GPU, or a slice)"
    return None


def fleet_schedule(plans: Sequence[FleetPlan]) -> Schedule | None:
    """Dated provisional rates of the fleets behind one upstream, as one pool: summed price over summed work.

    None when `fleet_gap` names a gap. It begins when every fleet has a price.
    """
    if fleet_gap(plans) is not None:
        return None
    first = max(min(start for start, _ in plan.usd_per_hour) for plan in plans)
    starts = sorted({first} | {start for plan in plans for start, _ in plan.usd_per_hour if start > first})
    name = "+".join(plan.name for plan in plans)
    work = sum((plan.tokens_per_second or Fraction(0) for plan in plans), Fraction(0))
    hourly = [sum((_price_at(plan, start) * plan.count for plan in plans), Fraction(0)) for start in starts]
    return Schedule(tuple(starts), tuple(fleet_rates(name, usd, work) for usd in hourly))


def _price_at(plan: FleetPlan, instant_ns: int) -> Fraction:
    return max((start, usd) for start, usd in plan.usd_per_hour if start <= instant_ns)[1]


def always(usd: Fraction) -> tuple[tuple[int, Fraction], ...]:
    """The price of a fleet that has never changed."""
    return ((ALWAYS, usd),)
