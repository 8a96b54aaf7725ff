"""What is rented, what of it worked, and what stood idle: per fleet over a window, from its hours in the ledger.

Rent is exact, and so is its split: used + waste + idle + unallocated + unused = rent, to the nano-USD. How much of an hour was at work is
known by the engine's own meters where there are any, else by the work done over the work planned; `basis` says which.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from operator import attrgetter
from typing import Literal

import msgspec

from penstock.config.hardware import Fleet
from penstock.domain.ledger.allocation import effective_usd_per_gpu_hour, productive_gpu_ns, utilization
from penstock.domain.ledger.entries import HOUR_NS, FleetHour
from penstock.domain.ledger.measures import CostQuery, lines
from penstock.domain.units import format_usd
from penstock.finops.allocating import pieces
from penstock.finops.books import Books
from penstock.finops.window import Window, iso

BASES = {
    "engine": "measured by the GPUs' and engines' own meters",
    "planned": "work done over planned_tokens_per_second",
    "occupied": "the time in which some request was in flight: an upper bound; give planned_tokens_per_second, or a Prometheus",
    "none": "no request reached it: all of it is idle",
}


class FleetUse(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet over [since_ns, until_ns): money in nano-USD; None is unknown, and `note` says why."""

    name: str
    gpu: str
    count: int
    upstream: str | None
    requests: int
    """answered by the fleet, replays from the cache left out; calls that it made beside requests count too"""
    since_ns: int
    until_ns: int
    hours: tuple[FleetHour, ...]
    note: str

    @property
    def rent(self) -> int | None:
        return self._sum("rent")

    @property
    def unknown_hours(self) -> int:
        return sum(hour.rent is None for hour in self.hours)

    def _sum(self, name: str) -> int | None:
        return None if not self.hours or self.unknown_hours else sum(map(attrgetter(name), self.hours))

    @property
    def used(self) -> int | None:
        """For work that brought an answer, and recorded runs."""
        return self._sum("used")

    @property
    def waste(self) -> int | None:
        """For work that brought none: failed, retried, aborted."""
        return self._sum("waste")

    @property
    def idle(self) -> int | None:
        """For what ran and did not work."""
        return self._sum("idle")

    @property
    def unallocated(self) -> int | None:
        """For the rest of GPUs that no slice covers."""
        return self._sum("unallocated")

    @property
    def unused(self) -> int | None:
        """For what is committed to and did not run."""
        return self._sum("unused")

    @property
    def gpu_hours(self) -> Fraction | None:
        """That ran, whole GPUs."""
        return None if self.rent is None else Fraction(sum(hour.gpu_ns for hour in self.hours), HOUR_NS)

    @property
    def at_rest(self) -> int | None:
        """All that is paid for what was not at work: idle, unallocated, and committed to and not running."""
        parts = self.idle, self.unallocated, self.unused
        return None if None in parts else sum(each or 0 for each in parts)

    @property
    def productive_gpu_hours(self) -> Fraction | None:
        """That worked for what brought an answer."""
        return None if self.rent is None else sum(map(productive_gpu_ns, self.hours), Fraction(0)) / HOUR_NS

    @property
    def idle_gpu_hours(self) -> Fraction | None:
        """That ran and did not work."""
        return None if self.rent is None else Fraction(sum(hour.gpu_ns - hour.work_gpu_ns for hour in self.hours), HOUR_NS)

    @property
    def utilization(self) -> Fraction | None:
        """GPU time at work over GPU time that ran."""
        return None if self.rent is None else utilization(self.hours)

    @property
    def utilization_p95(self) -> float | None:
        """The value that 95 % of the hours stay at or below (nearest rank), by hour."""
        return None if self.rent is None else _p95([hour.work_gpu_ns / hour.gpu_ns for hour in self.hours if hour.gpu_ns])

    @property
    def active(self) -> float | None:
        """Mean share of the time in which the GPUs worked, as telemetry told, over the hours that it told of."""
        told = [(hour.active, hour.gpu_ns) for hour in self.hours if hour.active is not None and hour.gpu_ns]
        whole = sum(weight for _, weight in told)
        return sum(active * weight for active, weight in told) / whole if whole else None

    @property
    def active_p95(self) -> float | None:
        """The value that 95 % of these hours' means stay at or below (nearest rank)."""
        return _p95([hour.active for hour in self.hours if hour.active is not None and hour.gpu_ns])

    @property
    def energy_wh(self) -> float | None:
        """Of the hours whose energy is known."""
        known = [hour.energy_j for hour in self.hours if hour.energy_j is not None]
        return sum(known) / 3_600 if known else None

    @property
    def basis(self) -> str:
        """How most of its hours were split."""
        counted = Counter(hour.basis for hour in self.hours if hour.basis != "none")
        return counted.most_common(1)[0][0] if counted else "none"

    @property
    def effective_usd_per_gpu_hour(self) -> Decimal | None:
        """Rent over productive GPU-hours: what an hour of useful work costs. None where nothing was at work."""
        hourly = None if self.rent is None else effective_usd_per_gpu_hour(self.hours)
        return None if hourly is None else (Decimal(hourly.numerator) / hourly.denominator).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)


class Step(msgspec.Struct, frozen=True):
    """One hour or day of a fleet: `at` as the ledger's keys name it (UTC), nano-USD; None is unknown."""

    at: str
    utilization: Fraction | None
    rent: int | None
    at_rest: int | None


def steps_by(use: FleetUse, period: Literal["hour", "day"]) -> tuple[Step, ...]:
    """The fleet over time: every hour or day of which anything is known."""
    found: dict[str, list[FleetHour]] = {}
    for hour in use.hours:
        found.setdefault(iso(hour.hour * HOUR_NS)[: 13 if period == "hour" else 10], []).append(hour)
    parts = ((at, msgspec.structs.replace(use, hours=tuple(hours))) for at, hours in found.items())
    return tuple(Step(at, part.utilization, part.rent, part.at_rest) for at, part in parts)


def fleet_use(books: Books, window: Window) -> tuple[FleetUse, ...]:
    """The use of every fleet of the config, in its order, over the part of the window that the ledger reaches."""
    query = CostQuery(since_ns=window.since_ns, until_ns=window.until_ns, by=("fleet",))
    since, until = books.clip(window.since_ns, window.until_ns)
    hours = _hours(books, since, until)
    served = {keys[0]: lines(sums) - sums.cache_hits for keys, sums in books.ledger.sums(query)}
    found = []
    for name, fleet in books.settings.fleets.items():
        mine = tuple(hour for hour in hours if hour.fleet == name)
        use = FleetUse(
            name=name,
            gpu=fleet.gpu if fleet.mig is None else f"{fleet.gpu} {fleet.mig}",
            count=fleet.count,
            upstream=fleet.upstream,
            requests=served.get(name, 0),
            since_ns=mine[0].since_ns if mine else since,
            until_ns=mine[-1].until_ns if mine else until,
            hours=mine,
            note="",
        )
        found.append(msgspec.structs.replace(use, note=_note(books, use, fleet)))
    return tuple(found)


def _hours(books: Books, since: int, until: int) -> list[FleetHour]:
    """Closed hours as they are stored, the rest by the same law now; by time."""
    first, last = -(-since // HOUR_NS), until // HOUR_NS
    stored = books.ledger.snapshot.costs.fleet_hours(first, last) if first < last else []
    now = [hour for hour, _ in pieces(books, since, until, {(each.fleet, each.hour) for each in stored})]
    return sorted((*stored, *now), key=lambda hour: hour.since_ns)


def _note(books: Books, use: FleetUse, fleet: Fleet) -> str:
    if books.ledger.span() is None:
        return "unknown: the ledger is empty, so there is nothing to compare the rent with"
    if not use.hours:
        return "unknown: it has no price per hour" if fleet.price is None else "unknown: its price begins after this window"
    if use.unknown_hours:
        first = next(hour for hour in use.hours if hour.rent is None)
        return f"unknown in {use.unknown_hours:,} hours from {iso(first.since_ns)} on: {first.note}"
    told = [BASES[use.basis] if use.requests or use.basis != "occupied" else "the time that recorded runs took; no request reached it"]
    told += dict.fromkeys(hour.note for hour in use.hours if hour.note)
    return "; ".join(told[:3])


def fleets_json(uses: Sequence[FleetUse]) -> list[dict[str, object]]:
    """The fleets as the JSON twin tells them: money as decimal strings, shares as numbers, unknown as null."""
    return [
        {
            "fleet": use.name,
            "gpu": use.gpu,
            "count": use.count,
            "upstream": use.upstream,
            "requests": use.requests,
            "since": iso(use.since_ns),
            "until": iso(use.until_ns),
            "gpu_hours": _number(use.gpu_hours, 3),
            "productive_gpu_hours": _number(use.productive_gpu_hours, 3),
            "idle_gpu_hours": _number(use.idle_gpu_hours, 3),
            "rent_usd": format_usd(use.rent),
            "used_usd": format_usd(use.used),
            "used_basis": "unknown" if use.used is None else use.basis,
            "waste_usd": format_usd(use.waste),
            "idle_usd": format_usd(use.idle),
            "unallocated_usd": format_usd(use.unallocated),
            "unused_commitment_usd": format_usd(use.unused),
            "at_rest_usd": format_usd(use.at_rest),
            "utilization": _number(use.utilization, 4),
            "utilization_p95": _number(use.utilization_p95, 4),
            "engine_active": _number(use.active, 4),
            "engine_active_p95": _number(use.active_p95, 4),
            "energy_wh": _number(use.energy_wh, 1),
            "effective_usd_per_gpu_hour": None if use.effective_usd_per_gpu_hour is None else str(use.effective_usd_per_gpu_hour),
            "note": use.note,
        }
        for use in uses
    ]


def _p95(shares: Sequence[float]) -> float | None:
    """The nearest rank."""
    return sorted(shares)[-(-95 * len(shares) // 100) - 1] if shares else None


def _number(value: Fraction | float | None, places: int) -> float | None:
    return None if value is None else round(float(value), places)
