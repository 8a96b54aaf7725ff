"""Which format a file has, by the names of its columns, and how it writes numbers and dates, by its first rows."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from penstock.adapters.bills import azure, cur, focus, gcp
from penstock.adapters.bills.cells import Style
from penstock.adapters.bills.focus import FocusShape
from penstock.adapters.bills.formats import Format, Shape, plain
from penstock.adapters.bills.text import delimiter_of
from penstock.domain.bills.focus_columns import COLUMNS
from penstock.ports.bill_source import BillError

FORMATS: tuple[Format, ...] = (cur.FORMAT, azure.FORMAT, gcp.FORMAT)
WORDS = (focus.WORD, *(form.word for form in FORMATS))
"""what `--format` takes"""
HINT = f"FOCUS 1.0-1.4, AWS CUR, Cost Explorer JSON, Azure, Google Cloud and OpenCost can be read; or say `--format {'|'.join(WORDS)}`"

_NAMES = {plain(name) for form in FORMATS for field in form.fields for name in field.names}
_COMMA = re.compile(r"[+-]?\s*[^\d\s]{0,3}\s*(\d{1,3}(\.\d{3})+,\d+|\d+,\d{1,2}|0,\d+|\d+,\d{4,})")
_POINT = re.compile(r"[+-]?\s*[^\d\s]{0,3}\s*(\d{1,3}(,\d{3})+\.\d+|\d+\.\d{1,2}|0\.\d+|\d+\.\d{4,})")
_SLASHES = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.]\d{2,4}\b.*")


def known_names(fields: Sequence[str]) -> int:
    """How many of the fields are names of columns of some format."""
    return sum(1 for field in fields if focus.known(field) or plain(field) in _NAMES or field.lower().startswith("x_"))


def delimiter_of_header(lines: list[str]) -> tuple[str, int]:
    """The delimiter, and the line (from 0) of the header, among the first lines."""
    return delimiter_of(lines, known_names)


def format_of(header: Sequence[str], word: str | None) -> Format | None:
    """The format of a header; None for FOCUS. Raises `BillError` when it is none, or not the one that `word` asks for."""
    names = {plain(name) for name in header}
    found = [form for form in FORMATS if any({plain(mark) for mark in marks} <= names for marks in form.marks)]
    if word == focus.WORD or (word is None and focus.is_focus(header)):
        if not names & {"billedcost", "effectivecost"}:
            raise BillError("the file has neither BilledCost nor EffectiveCost, so it is no FOCUS file", HINT)
        return None
    if word is not None:
        form = next((form for form in FORMATS if form.word == word), None)
        if form is None or not any(plain(name) in names for field in form.fields if field.key == form.amount for name in field.names):
            raise BillError(f"the columns are not those of `{word}`: there is no column of money", HINT)
        return form
    if not found:
        shown = ", ".join(f"`{name}`" for name in header[:5])
        raise BillError(f"the columns ({shown} ...) are those of no known bill", HINT)
    return found[0]


def names_of(form: Format | None) -> list[str]:
    """All columns of a format, for rows without a header (JSON)."""
    if form is None:
        return [column.name for column in COLUMNS]
    return [name for field in form.fields for name in field.names]


def style_of(header: Sequence[str], sample: Iterable[Sequence[Any]], form: Format | None) -> Style:
    """How the first rows write numbers and dates. Evidence decides; without any, a decimal point and the month first."""
    shape = shape_of(form, header, Style())
    numbers, dates = _kinds(shape)
    commas = points = 0
    day_first = False
    for row in sample:
        for at in numbers:
            cell = row[at] if at < len(row) else None
            if isinstance(cell, str):
                commas += bool(_COMMA.fullmatch(cell.strip()))
                points += bool(_POINT.fullmatch(cell.strip()))
        for at in dates:
            cell = row[at] if at < len(row) else None
            if isinstance(cell, str) and (match := _SLASHES.fullmatch(cell.strip())):
                day_first = day_first or int(match[1]) > 12
    return Style(decimal_comma=commas > 0 and not points, day_first=day_first, plain_dates=form is not None and not form.dates_count)


def shape_of(form: Format | None, header: Sequence[str], style: Style) -> FocusShape | Shape:
    return FocusShape(header, style) if form is None else Shape(form, header, style)


def _kinds(shape: FocusShape | Shape) -> tuple[list[int], list[int]]:
    """Positions of the columns of numbers, and of those of times."""
    kinds: dict[str, str] = {plain(column.name): column.kind for column in COLUMNS}
    if isinstance(shape, Shape):
        kinds = {plain(name): field.kind for field in shape.form.fields for name in field.names}
    pairs = [(kinds.get(plain(column.name)), at) for column, at in zip(shape.columns, shape.positions, strict=True)]
    return [at for kind, at in pairs if kind == "decimal"], [at for kind, at in pairs if kind == "time"]
