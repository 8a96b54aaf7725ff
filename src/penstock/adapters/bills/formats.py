"""What a format of bills is: which columns it has by which names, how its cells are read, and how a row becomes charges."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from penstock.adapters.bills.cells import Column, Read, Style, TextColumn, column, decimals, read_currency, read_json, read_text, times
from penstock.domain.bills.focus import EXACT, FocusRow

Kind = Literal["text", "decimal", "time", "json", "currency"]
Row = Mapping[str, Any]
"""key of a `Field` -> what was read; columns that the file does not have are absent"""
_NAME = re.compile(r"[^a-z0-9]+")


class Field(msgspec.Struct, frozen=True):
    """One column that a format knows. Names are compared without case, dots, slashes and underscores."""

    key: str
    kind: Kind
    names: tuple[str, ...]
    needed: bool = False
    """a row whose cell cannot be read is refused; other cells become unknown"""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A format by its columns. `charges` makes FOCUS rows of a row; `amount` is the key of its own column of money."""

    name: str
    word: str
    """what `--format` calls it"""
    marks: tuple[tuple[str, ...], ...]
    """a header with all names of one of these is of this format"""
    fields: tuple[Field, ...]
    charges: Callable[[Row], Sequence[FocusRow]]
    amount: str
    currency: str
    tag_prefixes: tuple[str, ...] = ()
    """columns that begin like this are tags"""
    dates_count: bool = False
    """whether dates that are not ISO 8601 are a fault of the file"""
    versions: tuple[tuple[str, str], ...] = ()
    """(beginning of a column's name, what is told of the version)"""

    def named(self, header: Sequence[str]) -> str:
        """The name, with the version that the header shows."""
        found = (version for prefix, version in self.versions if any(name.startswith(prefix) for name in header))
        return f"{self.name} {next(found, '')}".rstrip()


def plain(name: str) -> str:
    """A column's name as it is compared."""
    return _NAME.sub("", name.lower())


def reader_of(kind: Kind, style: Style) -> Callable[[Any], Read]:
    match kind:
        case "decimal":
            return decimals(style)
        case "time":
            return times(style)
        case "json":
            return read_json
        case "currency":
            return read_currency
        case _:
            return read_text


class Shape:
    """A format laid on the header of one file: which cells are read, and what is made of them."""

    def __init__(self, form: Format, header: Sequence[str], style: Style) -> None:
        places = {plain(name): at for at, name in reversed(list(enumerate(header)))}
        self.form = form
        self.amount_column = next((field.names[0] for field in form.fields if field.key == form.amount), "")
        self.columns: list[Column] = []
        self.positions: list[int] = []
        self._keys: list[str] = []
        self._tags: list[tuple[str, str]] = []
        for field in form.fields:
            at = next((places[plain(name)] for name in field.names if plain(name) in places), None)
            if at is not None:
                if field.key == form.amount:
                    self.amount_column = header[at]
                read = reader_of(field.kind, style)
                self._add(field.key, column(header[at], field.kind, read, style, needed=field.needed), at)
        for at, name in enumerate(header):
            prefix = next((prefix for prefix in form.tag_prefixes if name.startswith(prefix)), None)
            if prefix is not None:
                key = f"tag {name}"
                self._add(key, TextColumn(name, read_text), at)
                self._tags.append((key, name.removeprefix(prefix)))

    def _add(self, key: str, cells: Column, at: int) -> None:
        self._keys.append(key)
        self.columns.append(cells)
        self.positions.append(at)

    def arrange(self, order: Sequence[int]) -> None:
        """Says in which order the values of `columns` will come."""
        self._keys = [self._keys[at] for at in order]

    def rows(self, values: list[Any]) -> Sequence[FocusRow]:
        """The charges of one row."""
        row = dict(zip(self._keys, values, strict=True))
        if self._tags:
            row["tags"] = (row.get("tags") or {}) | {name: row[key] for key, name in self._tags if row[key] is not None} or None
        return self.form.charges(row)

    def amount(self, values: list[Any]) -> tuple[Decimal | None, str | None]:
        """What the row's own column of money says, and its currency."""
        row = dict(zip(self._keys, values, strict=True))
        return row.get(self.form.amount), row.get(self.form.currency)


def custom(**values: str | None) -> dict[str, str] | None:
    """Custom columns of a row: `x_` before each name, without those that are unknown."""
    found = {f"x_{name}": value for name, value in values.items() if value is not None}
    return found or None


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """An exact sum; None when nothing is known."""
    known = [amount for amount in amounts if amount is not None]
    if not known:
        return None
    sum_ = Decimal(0)
    for amount in known:
        sum_ = EXACT.add(sum_, amount)
    return sum_
