"""A snapshot of the store with its sealed records: the same answers as before they were sealed.

The cubes of the store keep the sums of all days. What they are not kept by, and single records, come from the store and from
the sealed files; a record stands in exactly one of the two, as the store's own transaction says.
"""

import re
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import TypeVar

import msgspec

from penstock.adapters.archive.costs import ArchivedCosts
from penstock.adapters.archive.duck import DuckReading
from penstock.adapters.archive.parts import DAY_NS, sealed_parts
from penstock.adapters.archive.places import Place
from penstock.adapters.stores.cubes import LATENCY_CUBE, SUMS_CUBE, Cube
from penstock.adapters.stores.pieces import label, narrowed, pieces
from penstock.adapters.stores.reading import Reading
from penstock.adapters.stores.snapshot import Keys, SqlSnapshot
from penstock.domain.ledger.latency import Latency
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.archive import Part
from penstock.ports.cost_store import CostView

Group = TypeVar("Group", Sums, Latency)
_OWN_ID = re.compile(r"req_([0-9a-f]{12})[0-9a-f]{16}")


class ArchivedSnapshot(SqlSnapshot):
    """`ports.usage_store.Snapshot` over one read transaction and the files that it says are sealed."""

    def __init__(self, reading: Reading, place: Place) -> None:
        super().__init__(reading)
        self._place = place
        self._sealed = [part for part in sealed_parts(reading) if part.forgotten_ns > part.first_ns]
        self._readers: dict[tuple[str, ...], SqlSnapshot] = {}

    @property
    def costs(self) -> CostView:
        return ArchivedCosts(super().costs, self._reading, self._place, self._sealed)

    def span(self) -> tuple[int, int] | None:
        held = super().span()
        first, last = [part.first_ns for part in self._sealed], [min(part.last_ns, part.forgotten_ns - 1) for part in self._sealed]
        instants = [*(held or ()), *first, *last]
        return (min(instants), max(instants)) if instants else None

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]:
        groups = dict(super().sums(query))
        for part in self._uncubed(SUMS_CUBE, query):
            _join(groups, self._over(self._overlapping(part)).sums(part))
        return list(groups.items())

    def latencies(self, query: CostQuery) -> list[tuple[Keys, Latency]]:
        groups = dict(super().latencies(query))
        for part in self._uncubed(LATENCY_CUBE, query):
            _join(groups, self._over(self._overlapping(part)).latencies(part))
        return list(groups.items())

    def find(self, request_id: str) -> UsageRecord | None:
        return super().find(request_id) or self._find_sealed(request_id)

    def asides(self, request_id: str) -> list[UsageRecord]:
        sealed = self._near(request_id) if _OWN_ID.fullmatch(request_id) else self._sealed
        found = self._over(sealed).asides(request_id) if sealed else []
        return sorted((*super().asides(request_id), *found), key=_place_of)

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        left = limit
        query = narrowed(query)
        # Few records of any day may pass such a filter: one look at all files ends sooner than one at each.
        at_once = limit is not None and any(key not in SUMS_CUBE.keys for key, _ in query.where)
        for window, sealed in [(query, self._overlapping(query))] if at_once else self._windows(query):
            found = super().records(window, left)
            if sealed:
                found = merge(found, self._over(sealed).records(window, left), key=_place_of, reverse=True)
            for record in found:
                yield record
                left = None if left is None else left - 1
                if left == 0:
                    return

    def _find_sealed(self, request_id: str) -> UsageRecord | None:
        near = self._near(request_id)
        if near and (found := self._over(near).find(request_id)):
            return found
        return self._over(self._sealed).find(request_id) if self._sealed else None

    def _near(self, request_id: str) -> list[Part]:
        """Our own ids tell the time, so that few files are looked into; none of them for others."""
        match = _OWN_ID.fullmatch(request_id)
        if match is None:
            return []
        told_ns = int(match[1], 16) * 10**6
        return [part for part in self._sealed if part.first_ns - DAY_NS < told_ns < part.last_ns + DAY_NS]

    def _windows(self, query: CostQuery) -> Iterator[tuple[CostQuery, list[Part]]]:
        """The window in pieces, newest first: days with sealed files, and what lies between them."""
        until = query.until_ns
        for day in self._holding_days(query):
            start, end = max(day * DAY_NS, query.since_ns), min((day + 1) * DAY_NS, query.until_ns)
            if end < until:
                yield msgspec.structs.replace(query, since_ns=end, until_ns=until), []
            yield msgspec.structs.replace(query, since_ns=start, until_ns=end), [part for part in self._sealed if part.day == day]
            until = start
        if query.since_ns < until:
            yield msgspec.structs.replace(query, until_ns=until), []

    def _holding_days(self, query: CostQuery) -> list[int]:
        """Sealed days, newest first, in which some record passes the filters, as far as the cubes can tell."""
        days = {part.day for part in self._overlapping(query)}
        if days and query.where and all(key in SUMS_CUBE.keys for key, _ in query.where):
            labels = {keys[0] for keys, _ in self.sums(msgspec.structs.replace(query, by=("day",)))}
            days = {day for day in days if label("day", day) in labels}
        return sorted(days, reverse=True)

    def _uncubed(self, cube: Cube, query: CostQuery) -> list[CostQuery]:
        """The parts of a query that touch sealed records and that no cube answers."""
        span, query = self.span(), narrowed(query)
        if span is None or not self._overlapping(query):
            return []
        if not self._cubed:
            return [query]
        found = [piece for piece in pieces(query, cube, span) if piece.level == "records"]
        windows = [msgspec.structs.replace(query, since_ns=piece.since, until_ns=piece.until) for piece in found]
        return [window for window in windows if self._overlapping(window)]

    def _overlapping(self, query: CostQuery) -> list[Part]:
        return [part for part in self._sealed if part.first_ns < query.until_ns and query.since_ns <= part.last_ns]

    def _over(self, parts: Sequence[Part]) -> SqlSnapshot:
        """The sealed records of some parts, as a snapshot of their own."""
        paths = tuple(part.path for part in parts)
        if paths not in self._readers:
            self._readers[paths] = SqlSnapshot(DuckReading(self._place, parts))
        return self._readers[paths]


def _join(groups: dict[Keys, Group], more: list[tuple[Keys, Group]]) -> None:
    for keys, figures in more:
        if (before := groups.get(keys)) is None:
            groups[keys] = figures
        else:
            before.add(figures)


def _place_of(record: UsageRecord) -> tuple[int, str]:
    return record.admitted_ns, record.id
