"""A consistent view of a store, inside one read transaction; the same code over SQLite and PostgreSQL."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from penstock.adapters.stores.columns import NAMES, record_of
from penstock.adapters.stores.sql import Dialect, select_records, select_sums
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import Reservation, UsageRecord

Rows = Iterable[Sequence[Any]]


class Reading(Protocol):
    """An open read transaction. Both raise `StoreError`."""

    dialect: Dialect

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Sequence[Any]]: ...

    def stream(self, sql: str, parameters: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Row by row, so that a large answer is never held whole."""


class SqlSnapshot:
    """`ports.usage_store.Snapshot` over one read transaction."""

    def __init__(self, reading: Reading, sums: Callable[[Reading, CostQuery], Rows] | None = None) -> None:
        self._reading = reading
        self._sums = sums or plain_sums

    def offsets(self) -> dict[str, int]:
        rows = self._reading.rows("SELECT segment, byte_offset FROM journal_offsets")
        return {row[0]: row[1] for row in rows}

    def sums(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Sums]]:
        width = len(query.by)
        return [(tuple(row[:width]), Sums(*map(int, row[width:]))) for row in self._sums(self._reading, query)]

    def find(self, request_id: str) -> UsageRecord | None:
        sql = f"SELECT {', '.join(NAMES)} FROM records WHERE id = {self._reading.dialect.mark}"
        rows = self._reading.rows(sql, (request_id.replace("\0", "\ufffd"),))
        return record_of(rows[0]) if rows else None

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        return map(record_of, self._reading.stream(*select_records(self._reading.dialect, query, limit)))

    def open_reservations(self) -> dict[str, list[Reservation]]:
        found: dict[str, list[Reservation]] = {}
        decode = msgspec.json.Decoder(Reservation).decode
        for writer, payload in self._reading.rows("SELECT writer, payload FROM reservations ORDER BY id"):
            found.setdefault(writer, []).append(decode(payload))
        return found


class EmptySnapshot:
    """What a store holds that nobody has written to yet."""

    def offsets(self) -> dict[str, int]:
        return {}

    def sums(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Sums]]:
        return []

    def find(self, request_id: str) -> UsageRecord | None:
        return None

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        return iter(())

    def open_reservations(self) -> dict[str, list[Reservation]]:
        return {}


def plain_sums(reading: Reading, query: CostQuery) -> Rows:
    return reading.rows(*select_sums(reading.dialect, query))


def summed_by_halves(reading: Reading, query: CostQuery) -> Rows:
    """Sums beyond 64 bits, put together from their upper and lower halves."""
    width = len(query.by)
    for row in reading.rows(*select_sums(reading.dialect, query, halves=True)):
        yield [*row[:width], *((upper << 32) + lower for upper, lower in zip(row[width::2], row[width + 1 :: 2], strict=True))]
