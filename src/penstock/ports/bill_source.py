"""A bill as it is read: its charges as FOCUS rows, one after another, and the account of what was read, repaired and refused."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol

import msgspec

from penstock.domain.bills.focus import FocusRow


class BillError(Exception):
    """A file that cannot be read as a bill. The message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Repair(msgspec.Struct, frozen=True):
    """One kind of fault that was mended: in how many cells (or rows), in which columns, in which rows first."""

    reason: str
    count: int
    columns: tuple[str, ...]
    first_rows: tuple[int, ...]


class Refusal(msgspec.Struct, frozen=True):
    """A row that was not read, and why. Rows are lines of the file (its header counts), or positions in Parquet and JSON."""

    row: int
    reason: str


class Totals(msgspec.Struct):
    """Exact sums over the charges in one currency; a cost that a row does not know adds nothing, and is counted."""

    charges: int = 0
    billed: Decimal = Decimal(0)
    effective: Decimal = Decimal(0)
    listed: Decimal = Decimal(0)
    without_billed: int = 0
    without_effective: int = 0
    without_listed: int = 0


class ReadReport(msgspec.Struct, kw_only=True):
    """What became of every row: `rows` = `read` + rows put aside + rows refused, once the file is read to its end."""

    path: str
    format: str = ""
    """such as `FOCUS 1.2`, `AWS CUR`, `Azure cost export`"""
    container: str = ""
    """such as `CSV, gzip, UTF-8, comma`"""
    rows: int = 0
    read: int = 0
    charges: int = 0
    """FOCUS rows made of them; some formats hold several charges in one row"""
    repaired: list[Repair] = []
    refused: int = 0
    refused_by_reason: dict[str, int] = {}
    refusals: list[Refusal] = []
    """the first thousand"""
    aside: dict[str, int] = {}
    """rows that are no charges: sums of others, repeated headers"""
    broken: str = ""
    """why the file ended before its end; empty for a whole one"""
    notes: list[str] = []
    left_out: list[str] = []
    """columns of the file that FOCUS does not know and that do not begin with `x_`"""
    amount_column: str = ""
    """the file's own column of money"""
    amounts: dict[str, Decimal] = {}
    """currency -> its exact sum over the rows that were read"""
    totals: dict[str, Totals] = {}
    """by currency, never added up; `unknown` where the file names none"""
    since: str | None = None
    until: str | None = None
    """first begin and last end of a charge, ISO 8601"""

    @property
    def complete(self) -> bool:
        """Whether the file is whole and no row was refused."""
        return not self.refused and not self.broken


class BillSource(Protocol):
    """One file. `report` is filled while `rows` runs, and whole when it has ended."""

    @property
    def report(self) -> ReadReport: ...

    def rows(self) -> Iterator[FocusRow]:
        """The charges in the order of the file; runs once. Raises `BillError` when the file cannot be read as a bill."""

    def progress(self) -> tuple[int, int]:
        """Bytes of the file that were taken so far, and its size."""
