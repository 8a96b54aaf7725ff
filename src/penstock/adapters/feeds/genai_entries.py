"""An entry of genai-prices as integer rates: by date, hour of the day and processing class.

Token prices, fees per call, prices of parts (hour-long cache writes, audio, images, video) and of searches, bands by context,
dates, times of day and processing classes are taken over. Prices by the minute, the page or the character are not: our records
do not count those.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.prices.schedule import ALWAYS, Schedule, Window, midnight_ns

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, TieredPrices, TimeOfDateConstraint

CLASS_OF_KEY = {
    "input_mtok": "uncached_input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_mtok": "visible_output",
    "output_reasoning_mtok": "reasoning",
}
PART_OF_KEY = {
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "input_video_mtok": "input_video",
    "cache_audio_read_mtok": "cache_read_audio",
    "cache_image_read_mtok": "cache_read_image",
    "cache_video_read_mtok": "cache_read_video",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_video_mtok": "output_video",
}
CALLS_OF_KEY = {
    "web_searches_kcount": ("web_searches", 1_000),
    "storage_searches_kcount": ("file_searches", 1_000),
    "code_executions_kcount": ("code_runs", 1_000),
    "output_citation_mtok": ("citation_tokens", 1_000_000),
}
"""key -> what is billed beside the classes of tokens, and what number of it the price is for"""
CALL_FEE = "requests_kcount"
PROCESSING_KEYS = ("processing", "service_tier", "speed")
"""what the package calls the processing class, by provider; its value is the class"""
STANDARD = "default"
Prices = Mapping[str, "Decimal | TieredPrices"]


class Stage(NamedTuple):
    """What holds from `start` on (unix ns): `usual` prices, and before them those of hours of the day, first match first."""

    start: int
    usual: Prices
    hours: Sequence[tuple["TimeOfDateConstraint", Prices]]


def standard(identity: str, release: str, model: "ModelInfo") -> Schedule | None:
    """The dated standard price; None when the package has no price per token, or a kind of price that is not understood."""
    return _compiled(identity, release, _stages(model))


def classes(identity: str, release: str, model: "ModelInfo") -> dict[str, Schedule]:
    """The dated prices of the processing classes that the package has for a model.

    A variant names the prices that differ, the others are the standard ones, as in the package. A class begins with its first
    variant that has a price per token: before that it is unpriced, where the package would give the standard price.
    """
    found: dict[str, list[PriceVariant]] = {}
    for variant in model.price_variants or ():
        (key, value), *more = variant.when.items()
        if key in PROCESSING_KEYS and not more and value != STANDARD:
            found.setdefault(value, []).append(variant)
    compiled = {name: _compiled(f"{identity}#{name}", release, _varied(model, variants)) for name, variants in found.items()}
    return {name: schedule for name, schedule in compiled.items() if schedule is not None}


def _stages(model: "ModelInfo", dates: Sequence[int] = ()) -> list[Stage]:
    """The package tries conditional prices last to first and falls back to the first: the same by date and time of day."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TimeOfDateConstraint

    if isinstance(model.prices, ModelPrice):
        return [Stage(start, _stored(model.prices), ()) for start in sorted({ALWAYS, *dates})]
    prices = model.prices
    begins = [midnight_ns(p.constraint.start_date) if isinstance(p.constraint, StartDateConstraint) else ALWAYS for p in prices]
    hours = [p.constraint if isinstance(p.constraint, TimeOfDateConstraint) else None for p in prices]
    stages = []
    for start in sorted({ALWAYS, *begins, *dates}):
        base = max((i for i, begin in enumerate(begins) if begin <= start and hours[i] is None), default=0)
        later = [i for i in range(len(prices) - 1, -1, -1) if hours[i] is not None and (i > base or hours[base] is not None)]
        stages.append(Stage(start, _stored(prices[base].prices), [(hour, _stored(prices[i].prices)) for i in later if (hour := hours[i])]))
    return stages


def _varied(model: "ModelInfo", variants: "Sequence[PriceVariant]") -> list[Stage]:
    """The standard price with the variants of one class laid over it, key by key, the first one that is active first."""
    from genai_prices.types import TimeOfDateConstraint

    if any(isinstance(variant.constraint, TimeOfDateConstraint) for variant in variants):
        return []  # no provider has classes by the hour, and none is guessed at
    begins = [ALWAYS if variant.constraint is None else midnight_ns(variant.constraint.start_date) for variant in variants]  # type: ignore[union-attr]
    stages = []
    for start, usual, hours in _stages(model, begins):
        over: dict[str, Decimal | TieredPrices] = {}
        for variant, begin in zip(variants, begins, strict=True):
            if begin <= start:
                over = {**_stored(variant.prices), **over}
        if over.keys() & CLASS_OF_KEY.keys():
            stages.append(Stage(start, {**usual, **over}, [(hour, {**prices, **over}) for hour, prices in hours]))
    return stages


def _stored(price: "ModelPrice") -> Prices:
    return {key: value for key, value in price.__dict__.items() if value is not None}


def _compiled(identity: str, release: str, stages: Sequence[Stage]) -> Schedule | None:
    starts: list[int] = []
    entries: list[Rates] = []
    windows: list[tuple[Window, ...]] = []
    for start, usual, hours in stages:
        version = release if start == ALWAYS else f"{release}/{datetime.fromtimestamp(start // 10**9, UTC).date().isoformat()}"
        rates = _rates(identity, version, usual)
        by_hour = list(_by_hour(identity, version, hours))
        if rates is None or None in by_hour:
            return None
        starts.append(start)
        entries.append(rates)
        windows.append(tuple(window for window in by_hour if window is not None))
    return Schedule(tuple(starts), tuple(entries), tuple(windows) if any(windows) else ()) if starts else None


def _by_hour(identity: str, version: str, hours: "Sequence[tuple[TimeOfDateConstraint, Prices]]") -> Iterator[Window | None]:
    for hour, prices in hours:
        begin, end = _time_ns(hour.start_time), _time_ns(hour.end_time)
        rates = _rates(identity, f"{version}/{hour.start_time:%H%M}-{hour.end_time:%H%M}", prices)
        yield None if rates is None else Window(begin, end, rates)


def _rates(identity: str, version: str, stored: Prices) -> Rates | None:
    """One price entry; None when it has no price per token, or a kind of price that is not understood."""
    from genai_prices.types import TieredPrices

    names = CLASS_OF_KEY | PART_OF_KEY
    priced = {names[key]: value for key, value in stored.items() if key in names}
    fee = stored.get(CALL_FEE, Decimal(0))
    calls = {name: Fraction(usd) / per for key, (name, per) in CALLS_OF_KEY.items() if isinstance(usd := stored.get(key), Decimal)}
    if not stored.keys() & CLASS_OF_KEY.keys() or not isinstance(fee, Decimal):
        return None
    thresholds = {tier.start for value in priced.values() if isinstance(value, TieredPrices) for tier in value.tiers}

    def above(input_tokens: int) -> dict[str, Fraction | None]:
        table: dict[str, Fraction | None] = {}
        for name, value in priced.items():
            if isinstance(value, TieredPrices):
                reached = [tier.price for tier in value.tiers if tier.start <= input_tokens]
                table[name] = Fraction(reached[-1] if reached else value.base)
            else:
                table[name] = Fraction(value)
        return table

    return compile_rates(
        identity,
        version,
        above(-1),
        bands={start: above(start) for start in thresholds},
        usd_per_call=Fraction(fee) / 1000,
        calls=calls,
    )


def _time_ns(moment: time) -> int:
    """Nanoseconds since UTC midnight; a time without a zone is UTC."""
    offset = moment.utcoffset()
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second - (int(offset.total_seconds()) if offset else 0)
    return (seconds % 86_400) * 10**9 + moment.microsecond * 1000
