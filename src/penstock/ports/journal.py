"""The journal: append-only, local, written before a client sees the end of an answer."""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from penstock.domain.ledger.record import Reservation, UsageRecord

Entry = Reservation | UsageRecord


class JournalError(Exception):
    """The journal cannot take or give an entry (disk full, read-only, gone). The message says which and where, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Journal(Protocol):
    """The writing side, held by one data-plane process."""

    def reserve(self, reservation: Reservation) -> None:
        """Write a reservation. Raises `JournalError`."""

    def append(self, record: UsageRecord) -> None:
        """Write a finished record. Raises `JournalError`."""

    async def durable(self) -> None:
        """Return once all that was appended is as safe as the configured `fsync` promises."""

    def close(self) -> None:
        """Flush and release; the writer's segments are then complete."""


class Chunk(msgspec.Struct, frozen=True):
    """Entries of one segment from `start` to `end` (byte offsets). `closed`: nothing will follow in this segment."""

    segment: str
    writer: str
    start: int
    end: int
    entries: tuple[Entry, ...]
    closed: bool
    damaged: int = 0
    """lines that were not readable: only a torn last line of a killed writer is expected"""
    gone: bool = False
    """closed, and the newest segment of its writer: the writer is gone, and with this chunk all it wrote has been read"""


class JournalReader(Protocol):
    """The reading side: the controller takes entries in, reports read what is not yet in the store."""

    def read(self, offsets: dict[str, int], limit: int = 5000) -> Iterator[Chunk]:
        """Chunks of every segment beyond the given offsets (by segment name), at most `limit` entries each.

        Segments of one writer come in order. A closed segment always yields a last chunk, if only an empty one.
        """

    def discard(self, segment: str) -> None:
        """Remove a closed segment that is wholly in the store."""
