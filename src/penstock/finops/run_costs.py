"""The cost of each recorded run: compute, storage, transfer and people's time; on own hardware compute is what allocation gives it.

Cost per training run = compute + storage + transfer + engineering time of one run. What was lost to preemption and done again is
part of compute, and told apart.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Allocated, Entry
from penstock.domain.units import format_usd
from penstock.finops.allocating import pieces, run_of
from penstock.finops.books import Books
from penstock.finops.fleet_costs import allocated_of
from penstock.finops.recording import entry_json
from penstock.finops.window import iso

DEFINITION = "cost of a run = compute (lost work included) + storage + transfer + engineering time"
_PLACES = Decimal("0.000001")


class RunCost(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD; None: unknown, and `note` says why."""

    entry: Entry
    compute: int | None
    """rented for it, or its share of an own fleet's rent"""
    lost: int | None
    """the part of `compute` for work that was lost and done again"""
    gpu_hours: Fraction | None
    """that it took; on an own fleet in the fleet's own units"""
    note: str = ""

    @property
    def total(self) -> int | None:
        entry = self.entry
        beside = entry.storage_cost + entry.transfer_cost + entry.engineering_cost + entry.other_cost
        return None if self.compute is None else self.compute + beside


def run_costs(books: Books, since_ns: int, until_ns: int) -> tuple[RunCost, ...]:
    """Every entry that overlaps the window, whole, by begin."""
    entries = books.ledger.snapshot.costs.entries(since_ns, until_ns)
    borne = _borne(books, [entry for entry in entries if entry.fleet is not None])
    return tuple(_on_fleet(books, entry, borne[entry.id]) if entry.fleet else _rented(entry) for entry in entries)


def run_cost_json(cost: RunCost) -> dict[str, object]:
    """An entry and what it costs: money as decimal strings, unknown as null."""
    return entry_json(cost.entry) | {
        "compute_usd": format_usd(cost.compute),
        "lost_usd": format_usd(cost.lost),
        "gpu_hours": None if cost.gpu_hours is None else hours_text(cost.gpu_hours),
        "total_usd": format_usd(cost.total),
        "note": cost.note,
    }


def hours_text(hours: Fraction) -> str:
    """Hours as a decimal of at most six places."""
    exact = (Decimal(hours.numerator) / hours.denominator).quantize(_PLACES, ROUND_HALF_EVEN)
    return f"{exact:f}".rstrip("0").rstrip(".")


def _rented(entry: Entry) -> RunCost:
    """A run beside own fleets, or any other cost: what was told is what it cost."""
    hours = _hours(entry)
    lost: int | None = 0
    if Fraction(entry.lost_gpu_hours) > 0:
        known = entry.gpu_cost is not None and hours
        lost = round(Fraction(entry.gpu_cost or 0) * Fraction(entry.lost_gpu_hours) / (hours or 1)) if known else None
    note = "what its GPUs cost is unknown" if entry.gpu_cost is None else ""
    return RunCost(entry=entry, compute=entry.gpu_cost, lost=lost, gpu_hours=hours, note=note)


def _on_fleet(books: Books, entry: Entry, allocated: Allocated) -> RunCost:
    hours, begin = _hours(entry), max(entry.since_ns, books.ledger.begin or 0)
    lasts = max(-(-entry.until_ns // HOUR_NS) - begin // HOUR_NS, 1)
    if allocated.entries < lasts:
        note = (
            f"the rent of fleet {entry.fleet} is allocated to it in {allocated.entries:,} of {lasts:,} hours: `penstock serve` allocates "
            "hours again within minutes; before the fleet's first price there is no rent"
        )
        return RunCost(entry=entry, compute=None, lost=None, gpu_hours=hours, note=note)
    unknown = [
        hour
        for hour in books.ledger.snapshot.costs.fleet_hours(entry.since_ns // HOUR_NS, -(-entry.until_ns // HOUR_NS))
        if hour.fleet == entry.fleet and hour.rent is None
    ]
    if unknown:
        note = f"the rent of fleet {entry.fleet} is unknown in {len(unknown):,} of its hours: {unknown[0].note}"
        return RunCost(entry=entry, compute=None, lost=None, gpu_hours=hours, note=note)
    note = f"by allocation of the rent of fleet {entry.fleet}"
    if entry.since_ns < begin:
        note += f", from {iso(begin)} on: there the ledger begins"
    compute = allocated.amount + allocated.wasted
    return RunCost(entry=entry, compute=compute, lost=allocated.wasted, gpu_hours=hours, note=note)


def _hours(entry: Entry) -> Fraction | None:
    """GPU-hours of a run; None where nobody said."""
    if entry.gpu_hours is not None:
        return Fraction(entry.gpu_hours)
    return Fraction(entry.gpus) * Fraction(entry.until_ns - entry.since_ns, HOUR_NS) or None


def _borne(books: Books, runs: Sequence[Entry]) -> dict[str, Allocated]:
    """What each run bears of own fleets: as it is stored, and for hours that are not stored yet by the same law now."""
    found = {run.id: Allocated() for run in runs}
    costs = books.ledger.snapshot.costs
    for run in runs:
        for share in costs.allocations(run.id):
            found[run.id].add(allocated_of(share))
    for since, until in _stretches(run for run in runs if run_of(run) is not None):
        stored = {(each.fleet, each.hour) for each in costs.fleet_hours(since // HOUR_NS, -(-until // HOUR_NS))}
        for _, shares in pieces(books, since, until, stored):
            for share in shares:
                if share.request_id in found:
                    found[share.request_id].add(allocated_of(share))
    return found


def _stretches(runs: Iterable[Entry]) -> Iterator[tuple[int, int]]:
    """Times in which some run was under way, whole hours, none twice: hours in between need not be looked at."""
    spans = sorted((run.since_ns // HOUR_NS * HOUR_NS, -(-run.until_ns // HOUR_NS) * HOUR_NS) for run in runs)
    begin = end = None
    for since, until in spans:
        if begin is None or end is None or since > end:
            if begin is not None and end is not None:
                yield begin, end
            begin, end = since, until
        end = max(end, until)
    if begin is not None and end is not None:
        yield begin, end
