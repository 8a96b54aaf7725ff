"""The archive: where old days of records lie as Parquet, in place of the store. Days are numbered since 1970 (UTC)."""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from penstock.ports.usage_store import StoreError


class ArchiveError(StoreError):
    """The archive cannot be written or read, or does not hold what the store says it holds."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed file: records of one day, by time, then id."""

    path: str
    """below the archive's address: `records/day=2026-08-01/part-0f3a....parquet`"""
    day: int
    records: int
    first_ns: int
    last_ns: int
    """admission of its first and last record"""
    cost: int
    """nano-USD of the records whose cost is known"""
    sha256: str
    """of its rows (`adapters.archive.parquet.digest`), whatever wrote the file"""
    forgotten_ns: int
    """the store no longer holds its records that were admitted before this instant: those are read from the file, the rest are not"""


class Archive(Protocol):
    """Moves records out of the store. Each method may be stopped at any point and called again: nothing is lost or doubled.

    All raise `ArchiveError` or `StoreError`.
    """

    def days(self, until_ns: int) -> Iterator[int]:
        """Days of which the store holds records and which end at or before `until_ns`, oldest first."""

    def seal(self, day: int) -> Part | None:
        """Writes what the store holds of a day into a new file, verified, and enters it; the store still holds it.

        None: there is nothing to seal, or not now, because more came in meanwhile or an earlier day is not forgotten yet.
        """

    def forget(self, limit: int) -> int:
        """Deletes about `limit` sealed records from the store; returns how many, 0 when none are left."""
