"""Own fleets over any window: closed hours as they are stored; the rest (edges, the running hour, what is not closed yet) by the same law
now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Allocated, Allocation, Entry, FleetHour
from penstock.domain.ledger.grouping import PERIODS, key_of
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.recorded import key_of_entry
from penstock.finops.allocating import pieces
from penstock.finops.books import Books

FEW = 100
"""requests that are looked up one by one; more are read with all others of their hours"""
Keys = tuple[str | None, ...]
Group = tuple[Keys, Allocated]


class FleetCosts(msgspec.Struct, frozen=True):
    """Hours of the window, and what groups bear of them: keys are the query's, then the fleet that is paid."""

    hours: tuple[FleetHour, ...]
    groups: tuple[Group, ...]


def fleet_costs(books: Books, query: CostQuery) -> FleetCosts:
    """What own fleets cost in the window of a query, by its keys. Without filters, sums of the groups are `used` + `waste` of the hours."""
    own = FleetWindow(books, query.since_ns, query.until_ns)
    return FleetCosts(own.hours, own.groups(query.by, query.where))


class FleetWindow:
    """The hours of own fleets over a window, read once, and what any groups bear of them."""

    def __init__(self, books: Books, since_ns: int, until_ns: int) -> None:
        self._books, self._stored, shares = books, list[FleetHour](), list[Allocation]()
        since, until = books.clip(since_ns, until_ns)
        self._whole = -(-since // HOUR_NS), until // HOUR_NS
        if since < until and self._whole[0] < self._whole[1]:
            self._stored = books.ledger.snapshot.costs.fleet_hours(*self._whole)
        self._now: list[FleetHour] = []
        if since < until:
            for hour, allocations in pieces(books, since, until, {(each.fleet, each.hour) for each in self._stored}):
                self._now.append(hour)
                shares += allocations
        self._shares = tuple(shares)
        self.hours = tuple(sorted((*self._stored, *self._now), key=lambda each: (each.since_ns, each.fleet)))

    def groups(self, by: Sequence[str], where: Sequence[tuple[str, str]] = ()) -> tuple[Group, ...]:
        """What the groups that pass the filters bear: keys, then the fleet that is paid. Each group once."""
        groups: dict[Keys, Allocated] = {}
        if self._stored:
            since, until = (hour * HOUR_NS for hour in self._whole)
            query = CostQuery(since_ns=since, until_ns=until, by=(*by, "fleet"), where=tuple(where))
            for keys, allocated in self._books.ledger.snapshot.costs.allocated(query):
                groups.setdefault(tuple(keys), Allocated()).add(allocated)
        for share in self._shares:
            if all(self._key(share, key) == value for key, value in where):
                keys = (*(self._key(share, key) for key in by), share.fleet)
                groups.setdefault(keys, Allocated()).add(allocated_of(share))
        return tuple(groups.items())

    def borne(self, id: str) -> tuple[Allocation, ...]:
        """What one request or recorded run bears."""
        stored = {(hour.fleet, hour.hour) for hour in self._stored}
        kept = self._books.ledger.snapshot.costs.allocations(id) if stored else []
        return (*(each for each in kept if (each.fleet, each.hour) in stored), *(each for each in self._shares if each.request_id == id))

    def _key(self, share: Allocation, key: str) -> str | None:
        """As stores group closed hours: times are those of the rent, the fleet is the one that is paid."""
        if key in PERIODS:
            return datetime.fromtimestamp(share.hour * 3_600, UTC).strftime(PERIODS[key])
        if key == "fleet":
            return share.fleet
        bearer = self._bearers.get(share.request_id)
        if bearer is None:
            return None
        return key_of_entry(bearer, key) if isinstance(bearer, Entry) else key_of(bearer, key)

    @cached_property
    def _bearers(self) -> dict[str, UsageRecord | Entry]:
        """The records and recorded runs that the shares of hours that are not closed belong to."""
        wanted, ledger = {share.request_id for share in self._shares}, self._books.ledger
        found: dict[str, UsageRecord | Entry] = {entry.id: entry for entry in ledger.snapshot.costs.entries(0, 2**63 - 1)}
        found |= {record.id: record for record in ledger.pending if record.id in wanted}
        if len(wanted - found.keys()) > FEW:
            for since, until in sorted({(hour.since_ns, hour.until_ns) for hour in self._now}):
                admitted = ledger.snapshot.records(CostQuery(since_ns=since, until_ns=until))
                found |= {record.id: record for record in admitted if record.id in wanted}
        for id in wanted - found.keys():
            record = ledger.snapshot.find(id)
            if record is not None:
                found[id] = record
        return found


def allocated_of(share: Allocation) -> Allocated:
    """One allocation as sums."""
    return Allocated(
        entries=1,
        amount=share.amount,
        wasted=share.wasted,
        input_amount=share.input_amount,
        gpu_ns=share.gpu_ns,
        energy_mj=share.energy_mj or 0,
        energy_entries=share.energy_mj is not None,
    )
