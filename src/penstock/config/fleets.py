"""What the hardware and the other costs of the config are paid, and what fleets are planned to do: read once for prices and for rents."""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction

import msgspec

from penstock.config.hardware import Commitment, DatedPrice, Fleet, OtherCost
from penstock.config.settings import Settings
from penstock.domain.prices.config_price import FleetPlan, PriceError, exact, usd_per_hour
from penstock.domain.prices.hardware import (
    HOUR_NS,
    YEAR_HOURS,
    Committed,
    CostUnit,
    Holding,
    OtherPrice,
    parse_amount,
    parse_term,
    planned_rates,
)
from penstock.domain.prices.schedule import ALWAYS, midnight_ns
from penstock.domain.prices.slices import slice_share
from penstock.domain.units import Rate

COST_UNITS: tuple[CostUnit, ...] = ("hour", "day", "month")
"""what the price of an other cost may be per; a month is a calendar month"""


class Pool(msgspec.Struct, frozen=True):
    """Fleets behind one upstream, each of which serves all of its requests; or one fleet without an upstream."""

    upstream: str | None
    fleets: tuple[str, ...]


def pools(settings: Settings) -> tuple[Pool, ...]:
    """Every fleet of the config in one pool, in the config's order."""
    behind: dict[str, list[str]] = {}
    for name, fleet in settings.fleets.items():
        behind.setdefault(f"fleet {name}" if fleet.upstream is None else f"upstream {fleet.upstream}", []).append(name)
    return tuple(Pool(settings.fleets[names[0]].upstream, tuple(names)) for names in behind.values())


def holdings(settings: Settings) -> dict[str, Holding]:
    """Every fleet of the config, compiled. Raises `UnitError`."""
    return {name: holding(name, fleet) for name, fleet in settings.fleets.items()}


def holding(name: str, fleet: Fleet) -> Holding:
    """A fleet of the config as it is held and paid. Raises `UnitError` for prices, profiles and commitments that cannot be read.

    `USD/gpu-hour` is the price of a whole GPU: a MIG slice costs its share of it, and on demand the rest of its card is paid as
    well. Per `hour`, `day` or `month` it is the price of what is counted, a slice too. Commitments stand per slice.
    """
    commitment = fleet.commitment if isinstance(fleet.commitment, Commitment) else Commitment(fleet.commitment)
    dated = sorted(_dated(fleet.price))
    share = slice_share(fleet.gpu, fleet.mig)
    whole = bool(dated) and all(Rate.parse(price).per == "gpu-hour" for _, price in dated)
    planned = fleet.planned_tokens_per_second
    return Holding(
        name=name,
        gpu=fleet.gpu,
        kind=commitment.kind,
        mig=fleet.mig,
        share=share,
        count=fleet.count,
        usd_per_hour=tuple((start, _unit_price(price, share)) for start, price in dated),
        committed=_committed(fleet, commitment),
        by_card=fleet.mig is not None and whole and commitment.kind in ("on-demand", "spot"),
        cards=fleet.cards,
        card=fleet.card,
        planned=None if planned is None or not fleet.count else exact(planned, "planned_tokens_per_second") / fleet.count,
    )


def fleet_plan(name: str, fleet: Fleet) -> FleetPlan:
    """The dated hourly price of one unit of a fleet and its planned work. Raises `UnitError` for prices that cannot be read."""
    held, planned = holding(name, fleet), fleet.planned_tokens_per_second
    return FleetPlan(name, planned_rates(held), fleet.count, None if planned is None else exact(planned, "planned_tokens_per_second"))


def other_prices(cost: OtherCost) -> tuple[OtherPrice, ...]:
    """The dated prices of an other cost, in order of time. Raises `UnitError`."""
    return tuple(_other_price(start, price) for start, price in sorted(_dated(cost.price)))


def _other_price(start: int, text: str) -> OtherPrice:
    rate = Rate.parse(text)
    per = next((each for each in COST_UNITS if each == rate.per), None)
    if per is None:
        raise PriceError(f"`{text}` is not a cost over time: write it per {', '.join(COST_UNITS)}, such as `12 USD/month`")
    return OtherPrice(start, Fraction(rate.usd), per)


def _dated(price: str | tuple[DatedPrice, ...] | None) -> Iterator[tuple[int, str]]:
    if isinstance(price, str):
        yield ALWAYS, price
        return
    for entry in price or ():
        yield midnight_ns(_day(entry.from_)), entry.price


def _unit_price(price: str, share: Fraction) -> Fraction:
    usd = usd_per_hour(price)
    return usd * share if Rate.parse(price).per == "gpu-hour" else usd


def _committed(fleet: Fleet, commitment: Commitment) -> Committed | None:
    if commitment.kind in ("on-demand", "spot"):
        return None
    since = ALWAYS if commitment.start is None else midnight_ns(_day(commitment.start))
    if commitment.kind == "owned":
        if commitment.capex is None or not commitment.years:
            raise PriceError('owned hardware needs `capex` and `years`: write { kind = "owned", capex = "30000 USD", years = 4 }')
        hours = exact(commitment.years, "years") * YEAR_HOURS
        hourly = parse_amount(commitment.capex, "capex") / hours
    else:
        if commitment.term is None or (commitment.hourly is None and commitment.upfront is None):
            raise PriceError('a reservation needs `term` and `hourly` or `upfront`: write { kind = "reserved", term = "1y", hourly = "2" }')
        hours = Fraction(parse_term(commitment.term))
        hourly = parse_amount(commitment.upfront or "0", "upfront") / hours + parse_amount(commitment.hourly or "0", "hourly")
    until = None if commitment.start is None else since + int(hours * HOUR_NS)
    return Committed(commitment.count or fleet.count, hourly, since, until)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PriceError(f"`{text}` is not a day: write it like `2026-01-01`") from None
