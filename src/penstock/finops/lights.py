"""The traffic light of every fleet of the config, from its hours in the ledger and the times of its answers."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.sizing.traffic_light import Light, Load, light
from penstock.domain.units import NANO_PER_USD, format_usd
from penstock.finops.books import Books
from penstock.finops.fleets import FleetUse
from penstock.finops.latency_value import DEFAULT
from penstock.finops.showback.fleets import enough_units


def lights(books: Books, uses: Sequence[FleetUse]) -> tuple[Light, ...]:
    """The light of each fleet, in the order of `uses`, all of one window.

    The config's [objectives] are the targets of the first token; the one that is missed by most counts. Where meters tell how long
    engines worked, that is time, not effort: it shows what is idle, never what is full. What waits inside an engine and how full its
    KV memory is, the ledger does not know.
    """
    late = _late(books, uses)
    return tuple(light(_load(books, use, late.get(use.name))) for use in uses)


def light_json(found: Light) -> dict[str, object]:
    """A light as the JSON twin tells it: money as decimal strings, unknown as null."""
    return {
        "colour": found.colour,
        "meaning": found.meaning,
        "law": found.law,
        "why": list(found.why),
        "action": found.action,
        "spare_units": found.spare_units,
        "saves_usd_per_month": format_usd(found.saves),
        "price_multiplier": found.dearer,
    }


def _load(books: Books, use: FleetUse, late: tuple[float, float] | None) -> Load:
    fleet = books.settings.fleets[use.name]
    held = fleet.commitment if isinstance(fleet.commitment, str) else fleet.commitment.kind
    mean = use.utilization
    return Load(
        hours=sum(hour.until_ns - hour.since_ns for hour in use.hours) / HOUR_NS,
        use=None if mean is None else float(mean),
        use_p95=use.utilization_p95,
        is_bound=any(hour.basis in ("occupied", "engine") for hour in use.hours),
        units=max((-(-hour.units_ns // (hour.until_ns - hour.since_ns)) for hour in use.hours), default=0),
        enough=None if use.rent is None else enough_units(use.hours, fleet.upstream is not None),
        serves=fleet.upstream is not None,
        committed=held in ("reserved", "owned"),
        unit_hour=_unit_hour(use),
        first_token_p95_s=None if late is None else late[0],
        first_token_target_s=None if late is None else late[1],
    )


def _unit_hour(use: FleetUse) -> Fraction | None:
    """USD per running unit and hour, on average over the window."""
    units = sum(hour.units_ns for hour in use.hours)
    if use.rent is None or use.unused is None or not units:
        return None
    return Fraction((use.rent - use.unused) * HOUR_NS, units * NANO_PER_USD)


def _late(books: Books, uses: Sequence[FleetUse]) -> Mapping[str, tuple[float, float]]:
    """Fleet -> P95 of the first token and its target in seconds, of the SLA that is nearest to its target or furthest beyond it."""
    given = books.settings.objectives
    if not given or not uses:
        return {}
    query = CostQuery(since_ns=min(use.since_ns for use in uses), until_ns=max(use.until_ns for use in uses), by=("fleet", "sla"))
    found: dict[str, tuple[float, float]] = {}
    for (fleet, sla), latency in books.ledger.latencies(query):
        objective = given.get(sla or DEFAULT, given.get(DEFAULT))
        p95 = latency.first_token.quantile(0.95)
        if fleet is None or objective is None or objective.first_token is None or p95 is None:
            continue
        told = p95, float(objective.first_token)
        if fleet not in found or told[0] / told[1] > found[fleet][0] / found[fleet][1]:
            found[fleet] = told
    return found
