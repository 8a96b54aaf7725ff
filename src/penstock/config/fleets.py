"""What a fleet of the config costs per hour, and what it is planned to do: read once for prices and for rents."""

from datetime import date
from fractions import Fraction

from penstock.config.settings import Fleet
from penstock.domain.prices.config_price import FleetPlan, always, exact, usd_per_hour
from penstock.domain.prices.schedule import midnight_ns
from penstock.domain.units import Rate


def fleet_plan(name: str, fleet: Fleet) -> FleetPlan:
    """The dated hourly price of one unit of a fleet and its planned work. Raises `UnitError` for prices that cannot be read."""
    dated: list[tuple[str | None, str]] = []
    if isinstance(fleet.price, str):
        dated = [(None, fleet.price)]
    elif fleet.price is not None:
        dated = [(entry.from_, entry.price) for entry in fleet.price]
    if fleet.mig is not None:  # `count` counts slices, so a price of the whole GPU does not say what one costs
        dated = [(start, price) for start, price in dated if Rate.parse(price).per != "gpu-hour"]
    hourly: tuple[tuple[int, Fraction], ...] = ()
    for start, price in dated:
        usd = usd_per_hour(price)
        hourly += always(usd) if start is None else ((midnight_ns(date.fromisoformat(start)), usd),)
    planned = fleet.planned_tokens_per_second
    return FleetPlan(name, hourly, fleet.count, None if planned is None else exact(planned, "planned_tokens_per_second"))
