"""What a request bears of the GPU-hours that worked for it: hour by hour, from the hour's rent down to its share."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Allocation, FleetHour
from penstock.domain.ledger.record import UsageRecord, billed_of, booked_of
from penstock.domain.units import format_usd
from penstock.finops.allocating import pieces
from penstock.finops.books import Books
from penstock.finops.fleets import BASES
from penstock.finops.window import iso


class HourShare(msgspec.Struct, frozen=True):
    """A request's share of one fleet's hour; `closed` once the hour is stored, before that it may still change."""

    share: Allocation
    hour: FleetHour
    closed: bool

    @property
    def part(self) -> Fraction:
        """Of what was at work in that hour."""
        worked = self.hour.used + self.hour.waste
        return Fraction(self.share.amount + self.share.wasted, worked) if worked else Fraction(0)


def hour_shares(books: Books, record: UsageRecord) -> tuple[HourShare, ...]:
    """The shares of a record in all hours that it ran in, by hour and fleet; none when no own fleet worked for it."""
    if record.fleet is None and not record.wasted_work:
        return ()
    view = books.ledger.snapshot.costs
    first, last = record.admitted_ns // HOUR_NS, (record.admitted_ns + record.duration_us * 1_000) // HOUR_NS
    stored = {(hour.fleet, hour.hour): hour for hour in view.fleet_hours(first, last + 1)}
    found = [
        HourShare(share, stored[share.fleet, share.hour], True)
        for share in view.allocations(record.id)
        if (share.fleet, share.hour) in stored
    ]
    until = min((last + 1) * HOUR_NS, books.now_ns)
    for hour, shares in pieces(books, first * HOUR_NS, until, set(stored)):
        found += [HourShare(share, hour, False) for share in shares if share.request_id == record.id]
    return tuple(sorted(found, key=lambda each: (each.hour.hour, each.share.fleet)))


def borne(record: UsageRecord, shares: Sequence[HourShare]) -> int | None:
    """Nano-USD that a record bears in the end: what providers bill for it, and its hours' shares in the place of what they were booked
    at. None: nothing is known."""
    if booked_of(record) is None and not shares:
        return None
    return billed_of(record) + sum(each.share.amount + each.share.wasted for each in shares)


def told(each: HourShare) -> list[str]:
    """The arithmetic of one share in words: rent, what of it was at work, and this request's part of that."""
    hour, share = each.hour, each.share
    state = "closed" if each.closed else "not closed yet, so this may still change"
    lines = [
        f"fleet {hour.fleet}, hour of {iso(hour.hour * HOUR_NS)} ({state}): rent {format_usd(hour.rent)} USD",
        f"  = {format_usd(hour.used)} used + {format_usd(hour.waste)} waste + {format_usd(hour.idle)} idle"
        + (f" + {format_usd(hour.unallocated)} unallocated" if hour.unallocated else "")
        + (f" + {format_usd(hour.unused)} unused commitment" if hour.unused else ""),
        f"  at work: {BASES[hour.basis]}",
        f"  its part of the work: {float(each.part) * 100:.4f} % = {format_usd(share.amount + share.wasted)} USD"
        + (f", {format_usd(share.wasted)} of it for work that brought no answer" if share.wasted else ""),
    ]
    return lines + ([f"  energy {share.energy_mj / 3_600_000:.4f} Wh"] if share.energy_mj is not None else [])


def shares_json(shares: Sequence[HourShare]) -> list[dict[str, object]]:
    """Money as decimal strings; `closed` tells whether the hour is stored."""
    return [
        {
            "fleet": each.hour.fleet,
            "hour": iso(each.hour.hour * HOUR_NS),
            "closed": each.closed,
            "basis": each.hour.basis,
            "at_work": BASES[each.hour.basis],
            "rent_usd": format_usd(each.hour.rent),
            "used_usd": format_usd(each.hour.used),
            "waste_usd": format_usd(each.hour.waste),
            "idle_usd": format_usd(each.hour.idle),
            "unallocated_usd": format_usd(each.hour.unallocated),
            "unused_commitment_usd": format_usd(each.hour.unused),
            "part": float(each.part),
            "at_work_usd": format_usd(each.hour.used + each.hour.waste),
            "borne_usd": format_usd(each.share.amount + each.share.wasted),
            "amount_usd": format_usd(each.share.amount),
            "wasted_usd": format_usd(each.share.wasted),
            "gpu_seconds": each.share.gpu_ns / 10**9,
            "energy_wh": None if each.share.energy_mj is None else each.share.energy_mj / 3_600_000,
        }
        for each in shares
    ]
