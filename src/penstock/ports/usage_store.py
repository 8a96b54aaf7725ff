"""The store of the ledger: immutable records, what the journal has delivered, and sums over them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from penstock.domain.ledger.latency import Latency
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.record import Reservation, UsageRecord
from penstock.ports.cost_store import CostView


class StoreError(Exception):
    """The store cannot be used (absent, read-only, locked, wrong version). The message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Intake(msgspec.Struct, frozen=True):
    """One delivery from the journal, taken in as a whole or not at all."""

    records: Sequence[UsageRecord]
    opened: Sequence[Reservation]
    """reservations still open at the end of this delivery"""
    settled: Sequence[str]
    """ids of reservations that earlier deliveries opened and this one settles"""
    offsets: Mapping[str, int]
    """segment -> byte offset up to which it is in the store"""
    writers: Mapping[str, str] = {}
    """reservation id -> writer, for each of `opened`"""


class Snapshot(Protocol):
    """A consistent view: `offsets` says exactly which part of the journal the sums already hold."""

    @property
    def costs(self) -> CostView:
        """The other rows of the ledger, in the same transaction."""

    def offsets(self) -> dict[str, int]: ...

    def sums(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Sums]]:
        """Sums by the values of `query.by`, exact integers; each group once."""

    def latencies(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Latency]]:
        """Histograms of the times of answers by the values of `query.by`; each group once."""

    def span(self) -> tuple[int, int] | None:
        """Admission of the first and of the last record, unix nanoseconds; None without records."""

    def find(self, request_id: str) -> UsageRecord | None: ...

    def asides(self, request_id: str) -> list[UsageRecord]:
        """Records of the calls that were made for a request and are not its answer, in the order in which they began."""

    def records(self, query: CostQuery, limit: int | None = None) -> Iterator[UsageRecord]:
        """Records of the window that match, newest first."""

    def open_reservations(self) -> dict[str, list[Reservation]]:
        """Reservations without a record, by writer."""


class UsageStore(Protocol):
    """Synchronous: the controller calls it in a thread, commands call it directly."""

    def prepare(self) -> None:
        """Create or migrate the schema. Raises `StoreError`."""

    def take_in(self, intake: Intake) -> int:
        """Write one delivery in one transaction, idempotent by request id. Returns how many records were new."""

    def flush(self) -> None:
        """Return once all that was taken in survives a power loss: only then may a segment be removed."""

    def forget_segment(self, segment: str) -> None:
        """Drop the offset of a segment that no longer exists."""

    def snapshot(self) -> AbstractContextManager[Snapshot]: ...

    def close(self) -> None: ...
