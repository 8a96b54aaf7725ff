"""A consistent view of a store, inside one read transaction; the same code over SQLite and PostgreSQL."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from penstock.adapters.stores.adding import select_periods, select_piece
from penstock.adapters.stores.columns import NAMES, record_of
from penstock.adapters.stores.cost_view import EmptyCostView, SqlCostView
from penstock.adapters.stores.cubes import DURATION_BINS, HOUR_NS, LATENCY_CUBE, LEVELS, SUMS_CUBE, Cube
from penstock.adapters.stores.pieces import Piece, label, narrowed, pieces, runs
from penstock.adapters.stores.reading import Reading as Reading
from penstock.adapters.stores.sql import select_asides, select_records
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.latency import Latency
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import Reservation, UsageRecord
from penstock.ports.cost_store import CostView
from penstock.ports.usage_store import StoreError

Keys = tuple[str | None, ...]
CUBED_SINCE = 3
"""the schema from which on these cubes are kept, and the hours of fleets"""


class SqlSnapshot:
    """`ports.usage_store.Snapshot` over one read transaction."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._cubed = reading.version >= CUBED_SINCE

    @property
    def costs(self) -> CostView:
        return SqlCostView(self._reading) if self._cubed else EmptyCostView()

    def offsets(self) -> dict[str, int]:
        rows = self._reading.rows("SELECT segment, byte_offset FROM journal_offsets")
        return {row[0]: row[1] for row in rows}

    def span(self) -> tuple[int, int] | None:
        first, last = "SELECT min(admitted_ns) FROM records", "SELECT max(admitted_ns) FROM records"
        [(since, until)] = self._reading.rows(f"SELECT ({first}), ({last})")
        return None if since is None else (since, until)

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]:
        groups: dict[Keys, Sums] = {}
        for keys, values in self._added(SUMS_CUBE, query):
            sums = Sums(*map(int, values))
            if (before := groups.get(keys)) is None:
                groups[keys] = sums
            else:
                before.add(sums)
        return list(groups.items())

    def latencies(self, query: CostQuery) -> list[tuple[Keys, Latency]]:
        groups: dict[Keys, Latency] = {}
        for keys, (bin, count) in self._added(LATENCY_CUBE, query):
            latency = groups.setdefault(keys, Latency())
            histogram = latency.first_token if bin < DURATION_BINS else latency.duration
            histogram.counts[bin % DURATION_BINS] += int(count)
        return list(groups.items())

    def find(self, request_id: str) -> UsageRecord | None:
        sql = f"SELECT {', '.join(NAMES)} FROM records WHERE id = {self._reading.dialect.mark}"
        rows = self._reading.rows(sql, (request_id.replace("\0", "\ufffd"),))
        return record_of(rows[0]) if rows else None

    def asides(self, request_id: str) -> list[UsageRecord]:
        rows = self._reading.rows(select_asides(self._reading.dialect), (request_id.replace("\0", "\ufffd"),))
        return [record_of(row) for row in rows]

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        left = limit
        for part in self._parts(query):
            for row in self._reading.stream(*select_records(self._reading.dialect, part, left)):
                yield record_of(row)
                left = None if left is None else left - 1
            if left == 0:
                return

    def open_reservations(self) -> dict[str, list[Reservation]]:
        found: dict[str, list[Reservation]] = {}
        decode = msgspec.json.Decoder(Reservation).decode
        for writer, payload in self._reading.rows("SELECT writer, payload FROM reservations ORDER BY id"):
            found.setdefault(writer, []).append(decode(payload))
        return found

    def _added(self, cube: Cube, query: CostQuery) -> Iterable[tuple[Keys, Sequence[Any]]]:
        """Keys and values of every group of every piece: a group comes once for each piece that it is in."""
        try:
            return list(self._rows(cube, query, halves=False))
        except StoreError as problem:
            overflow = self._reading.dialect.overflow
            if overflow is None or overflow not in str(problem):
                raise
        return self._rows(cube, query, halves=True)

    def _rows(self, cube: Cube, query: CostQuery, *, halves: bool) -> Iterator[tuple[Keys, Sequence[Any]]]:
        query, width = narrowed(query), len(query.by)
        for piece in self._pieces(cube, query):
            numbered = [index for index, key in enumerate(query.by) if key in PERIODS] if piece.level != "records" else []
            for row in self._reading.rows(*select_piece(self._reading.dialect, cube, query, piece, halves=halves)):
                keys, values = list(row[:width]), row[width:]
                for index in numbered:
                    keys[index] = label(query.by[index], keys[index])
                if halves:
                    values = [(upper << 32) + lower for upper, lower in zip(values[::2], values[1::2], strict=True)]
                yield tuple(keys), values

    def _pieces(self, cube: Cube, query: CostQuery) -> list[Piece]:
        span = self.span()
        if span is None:
            return []
        return pieces(query, cube, span) if self._cubed else [Piece("records", query.since_ns, query.until_ns)]

    def _parts(self, query: CostQuery) -> Iterator[CostQuery]:
        """Windows, newest first, that hold every record of the query: with filters, only the hours in which some record passes."""
        query = narrowed(query)
        if not (self._cubed and query.where and all(key in SUMS_CUBE.keys for key, _ in query.where)):
            yield query
            return
        asked = msgspec.structs.replace(query, by=())
        whole = sorted(self._pieces(SUMS_CUBE, asked), key=lambda piece: -piece.since * _unit_ns(piece))
        for piece in whole:
            for part in self._holding(query, piece):
                yield msgspec.structs.replace(
                    query,
                    since_ns=max(query.since_ns, part.since * _unit_ns(part)),
                    until_ns=min(query.until_ns, part.until * _unit_ns(part)),
                )

    def _holding(self, query: CostQuery, piece: Piece) -> Iterator[Piece]:
        """The parts of a piece in which records pass the filters, newest first; hours at the coarsest, neighbours together."""
        if piece.level == "records":
            yield piece
            return
        periods = [period for (period,) in self._reading.rows(*select_periods(self._reading.dialect, query, piece))]
        if piece.level == "hour":
            yield from runs(periods)
            return
        hours = LEVELS["day"]
        for day in periods:
            yield from self._holding(query, Piece("hour", day * hours, (day + 1) * hours))


def _unit_ns(piece: Piece) -> int:
    return 1 if piece.level == "records" else LEVELS[piece.level] * HOUR_NS


class EmptySnapshot:
    """What a store holds that nobody has written to yet."""

    @property
    def costs(self) -> CostView:
        return EmptyCostView()

    def offsets(self) -> dict[str, int]:
        return {}

    def span(self) -> tuple[int, int] | None:
        return None

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]:
        return []

    def latencies(self, query: CostQuery) -> list[tuple[Keys, Latency]]:
        return []

    def find(self, request_id: str) -> UsageRecord | None:
        return None

    def asides(self, request_id: str) -> list[UsageRecord]:
        return []

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        return iter(())

    def open_reservations(self) -> dict[str, list[Reservation]]:
        return {}
