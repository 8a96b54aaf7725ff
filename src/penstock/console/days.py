"""The last thirty days, day by day in the zone of the reports: what was spent, by whom of a few, and the measures beside it."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec

from penstock.console.context import Context
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, Sums, cp1kt_usd
from penstock.domain.prices.rates import Rates
from penstock.domain.units import format_usd, usd

DAYS = 30
LAYERS = 4
"""tiers told apart in the chart; the rest is one more"""
REST = "other"


class Layer(msgspec.Struct, frozen=True):
    """One tier: what was spent on it each day, in USD."""

    name: str
    cost_usd: tuple[str, ...]


class Event(msgspec.Struct, frozen=True):
    """Something that happened on a day, worth a mark on the chart."""

    day: str
    words: str


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """Thirty days, the last of which is not over. Money in decimal strings of USD; None is unknown."""

    days: tuple[str, ...]
    layers: tuple[Layer, ...]
    cp1kt_usd: tuple[str | None, ...]
    cost_per_request_usd: tuple[str | None, ...]
    saved_usd: tuple[str | None, ...]
    cache_share: tuple[float | None, ...]
    prices: tuple[Event, ...]


def last_days(context: Context) -> Days:
    """The days from one reading."""
    dates = local_days(context.now_ns, context.zone)
    by_day: dict[str, Sums] = {day: Sums() for day in dates}
    by_tier: dict[str | None, dict[str, Sums]] = {}
    for day, tier, sums in _daily(context, dates):
        if day in by_day:
            by_day[day].add(sums)
            by_tier.setdefault(tier, {}).setdefault(day, Sums()).add(sums)
    totals = [by_day[day] for day in dates]
    return Days(
        days=tuple(dates),
        layers=_layers(by_tier, list(context.settings.tiers), dates),
        cp1kt_usd=tuple(_text(cp1kt_usd(sums.cost, sums.priced_tokens)) for sums in totals),
        cost_per_request_usd=tuple(cost_per_request(sums) for sums in totals),
        saved_usd=tuple(format_usd(sums.counterfactual - sums.compared_cost) if sums.compared else None for sums in totals),
        cache_share=tuple(round(sums.cache_hits / sums.requests, 6) if sums.requests else None for sums in totals),
        prices=tuple(price_changes(context, dates)),
    )


def local_days(now_ns: int, zone: str) -> list[str]:
    """The dates of the last thirty days, today included, in a zone."""
    today = datetime.fromtimestamp(now_ns // 10**9, ZoneInfo(zone)).date()
    return [(today - timedelta(days=ago)).isoformat() for ago in range(DAYS - 1, -1, -1)]


def cost_per_request(sums: Sums) -> str | None:
    """USD per priced request, nine decimals; replays from the cache count as requests."""
    return format_usd(round(Fraction(sums.cost, sums.priced))) if sums.priced else None


def price_changes(context: Context, days: Sequence[str]) -> Iterable[Event]:
    """The price entries that began on one of these days."""
    zone = ZoneInfo(context.zone)
    for model in context.prices.models():
        schedule = context.prices.schedule(model)
        for index, start in enumerate(schedule.starts if schedule is not None else ()):
            assert schedule is not None
            day = datetime.fromtimestamp(start / 10**9, zone).date().isoformat() if start > 0 else ""
            if index and day in days:
                yield Event(
                    day,
                    f"price of {model}: {_rates(schedule.rates[index - 1])} becomes {_rates(schedule.rates[index])} per million in / out",
                )


def _rates(rates: Rates) -> str:
    per_million = rates.per_million()
    shown = [per_million["uncached_input"], per_million["visible_output"]]
    return " / ".join("unknown" if rate is None else f"${float(rate):.6g}" for rate in shown)


def _daily(context: Context, days: Sequence[str]) -> Iterable[tuple[str, str | None, Sums]]:
    """Sums by local day and tier. The ledger's own days are UTC; those of another zone are asked for one by one."""
    zone = ZoneInfo(context.zone)
    starts = [datetime.combine(date.fromisoformat(day), datetime.min.time(), zone) for day in days]
    edges = [int(start.timestamp()) * 10**9 for start in starts] + [(context.now_ns // HOUR_NS + 1) * HOUR_NS]
    if not any(start.utcoffset() for start in starts):
        for (day, tier), sums in context.ledger.sums(CostQuery(since_ns=edges[0], until_ns=edges[-1], by=("day", "tier"))):
            yield day or "", tier, sums
        return
    for day, since_ns, until_ns in zip(days, edges[:-1], edges[1:], strict=True):
        for (tier,), sums in context.ledger.sums(CostQuery(since_ns=since_ns, until_ns=until_ns, by=("tier",))):
            yield day, tier, sums


def _layers(by_tier: dict[str | None, dict[str, Sums]], order: list[str], days: Sequence[str]) -> tuple[Layer, ...]:
    """Tiers in the order of the config, cheap to dear; what is in none, or beyond the first few, is the last layer."""
    named = [tier for tier in order if tier in by_tier] + sorted(tier for tier in by_tier if tier is not None and tier not in order)
    rest = {tier for tier in by_tier if tier not in named[:LAYERS]}
    layers = [Layer(tier, tuple(_cost([by_tier[tier].get(day)]) for day in days)) for tier in named[:LAYERS]]
    if rest:
        layers.append(Layer(REST, tuple(_cost([by_tier[tier].get(day) for tier in rest]) for day in days)))
    return tuple(layer for layer in layers if any(map(Decimal, layer.cost_usd)))


def _cost(groups: Sequence[Sums | None]) -> str:
    return f"{usd(sum(sums.cost for sums in groups if sums is not None)):f}"


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
