"""The ledger as a whole: what the store holds, and what still lies on the journal beside it, read as one."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from heapq import merge
from itertools import chain, islice
from typing import Protocol

import msgspec

from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.grouping import PERIODS, keys_of, matches
from penstock.domain.ledger.latency import Latency, latency_of
from penstock.domain.ledger.measures import CostQuery, Sums, sums_of
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Snapshot

DAY_NS = 24 * HOUR_NS
LONELY_DAYS = 366
"""so long without any request, and what came before may be of a clock that was wrong"""
Keys = tuple[str | None, ...]
Place = tuple[int, str]
"""(admitted_ns, id): where a record stands; no two stand in one place"""


class Summed(Protocol):
    """What figures are made from: a snapshot of the store alone, or a `Ledger`."""

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]: ...

    def span(self) -> tuple[int, int] | None: ...


class Ledger:
    """One consistent view of store and journal. `pending` are the records that the snapshot does not hold yet."""

    def __init__(self, snapshot: Snapshot, pending: Iterable[UsageRecord] = ()) -> None:
        self.snapshot = snapshot
        self.pending = tuple(pending)

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]:
        """Sums by the values of `query.by`, each group once."""
        groups: dict[Keys, Sums] = {tuple(keys): sums for keys, sums in self.snapshot.sums(query)}
        for record in self.pending:
            if matches(record, query):
                groups.setdefault(keys_of(record, query.by), Sums()).add(sums_of(record))
        return list(groups.items())

    def total(self, query: CostQuery) -> Sums:
        """The sum over everything that matches."""
        total = Sums()
        for _, sums in self.sums(msgspec.structs.replace(query, by=())):
            total.add(sums)
        return total

    def span(self) -> tuple[int, int] | None:
        """First and last admission; None of an empty ledger."""
        times = [record.admitted_ns for record in self.pending]
        times += self.snapshot.span() or ()
        return (min(times), max(times)) if times else None

    @cached_property
    def begin(self) -> int | None:
        """From when on use was written down: the first request, or the first recorded run on an own fleet; None of an empty ledger.

        Requests before `LONELY_DAYS` in which there was none begin nothing while they are fewer than those after: a clock was wrong.
        """
        runs = (entry.since_ns for entry in self.snapshot.costs.entries(0, 2**63 - 1) if entry.fleet is not None)
        return min([*([] if (first := self._first()) is None else [first]), *runs], default=None)

    @cached_property
    def strays(self) -> int:
        """Requests before `begin`: their clock was wrong, and the rent of own fleets is not counted from them on."""
        return 0 if self.begin is None else self._requests(-(2**63), self.begin)

    def _first(self) -> int | None:
        if (span := self.span()) is None:
            return None
        first, last = span
        while (quiet := _next_day(first) + LONELY_DAYS * DAY_NS) <= last:
            # Whole days are asked for, a few first: they are summed up already.
            if any(self._requests(_next_day(first), _next_day(first) + days * DAY_NS) for days in (7, LONELY_DAYS)):
                break
            if self._requests(-(2**63), quiet) >= self._requests(quiet, 2**63 - 1):
                break
            hours = self.sums(CostQuery(since_ns=quiet, until_ns=last + 1, by=("hour",)))
            names = [keys[0] for keys, sums in hours if keys[0] is not None and sums.requests + sums.refused]
            begin = datetime.strptime(min(names), PERIODS["hour"]).replace(tzinfo=UTC)
            first = int(begin.timestamp()) * 10**9
        return first

    def _requests(self, since_ns: int, until_ns: int) -> int:
        sums = self.total(CostQuery(since_ns=since_ns, until_ns=until_ns))
        return sums.requests + sums.refused

    def latencies(self, query: CostQuery) -> list[tuple[Keys, Latency]]:
        """Histograms by the values of `query.by`, each group once."""
        groups: dict[Keys, Latency] = {tuple(keys): latency for keys, latency in self.snapshot.latencies(query)}
        for record in self.pending:
            if matches(record, query):
                groups.setdefault(keys_of(record, query.by), Latency()).add(latency_of(record))
        return list(groups.items())

    def records(self, query: CostQuery, *, after: Place | None = None, limit: int | None = None) -> Iterator[UsageRecord]:
        """Records that match, newest first (by time, then id); `after` is the place of the last one that was seen."""
        if after is None:
            return islice(self._newest(query, limit), limit)
        # Those of the very same instant are few, so that the rest can be asked for by the limit.
        same = msgspec.structs.replace(query, since_ns=max(query.since_ns, after[0]), until_ns=min(query.until_ns, after[0] + 1))
        older = msgspec.structs.replace(query, until_ns=min(query.until_ns, after[0]))
        beyond = (record for record in self._newest(same, None) if place(record) < after)
        return islice(chain(beyond, self._newest(older, limit)), limit)

    def asides(self, request_id: str) -> list[UsageRecord]:
        """The calls that were made for a request and are not its answer, in the order in which they began."""
        tail = (record for record in self.pending if record.parent == request_id)
        return sorted((*self.snapshot.asides(request_id), *tail), key=place)

    def _newest(self, query: CostQuery, limit: int | None) -> Iterator[UsageRecord]:
        tail = sorted((record for record in self.pending if matches(record, query)), key=place, reverse=True)
        return merge(self.snapshot.records(query, limit), tail, key=place, reverse=True)

    def newest(self, query: CostQuery, limit: int, after: Place | None = None) -> list[UsageRecord]:
        """As `records`, for filters that few records pass: only hours that hold some are looked through."""
        if not query.where:
            return list(self.records(query, after=after, limit=limit))
        found: list[UsageRecord] = []
        end = query.until_ns if after is None else min(query.until_ns, after[0] + 1)
        holding = {keys[0] for keys, _ in self.sums(msgspec.structs.replace(query, by=("hour",), until_ns=end))}
        for hour in sorted(filter(None, holding), reverse=True):
            start = int(datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()) * 10**9
            piece = msgspec.structs.replace(query, since_ns=max(query.since_ns, start), until_ns=min(end, start + HOUR_NS))
            found += self.records(piece, after=after, limit=limit - len(found))
            if len(found) >= limit:
                break
        return found


def place(record: UsageRecord) -> Place:
    """Where a record stands in the order of the ledger."""
    return record.admitted_ns, record.id


def _next_day(at_ns: int) -> int:
    return (at_ns // DAY_NS + 1) * DAY_NS
