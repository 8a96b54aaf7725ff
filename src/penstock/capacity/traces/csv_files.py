"""CSV: with commas, semicolons, tabs or bars, a heading, and rows that are numbered even where some cannot be taken apart."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.capacity.traces.files import FORMS, Table, arrow, opened
from penstock.domain.simulation.trace import Ints, TraceError

if TYPE_CHECKING:
    import pyarrow


class CsvFile:
    """Raises `TraceError` for what has no heading, or two columns of one name."""

    def __init__(self, path: Path, begin: bytes) -> None:
        self._path = path
        try:
            line = begin.split(b"\n", 1)[0].decode("utf-8-sig")
        except UnicodeDecodeError:
            raise TraceError(f"{path.name} is no text in UTF-8", FORMS) from None
        self._delimiter = max(",;\t|", key=line.count)
        try:
            self.header = [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter), [])]
        except csv.Error as problem:
            raise TraceError(f"the first line of {path.name} is no heading: {str(problem).partition(' - ')[0]}", FORMS) from None
        if all(_is_number(cell) for cell in self.header):
            raise TraceError(f"{path.name} has no heading: its first line is `{line.strip()[:60]}`", "name the columns in its first line")
        if twice := sorted({name for name in self.header if self.header.count(name) > 1}):
            raise TraceError(f"{path.name} has two columns named `{twice[0]}`", "rename one of them")

    def table(self, names: Sequence[str]) -> Table:
        """All as text: what is no number is to be named as it stands there."""
        ragged: dict[int, str] = {}

        def skip(row: Any) -> str:
            ragged[row.number] = f"{row.actual_columns} columns instead of {row.expected_columns}"
            return "skip"

        pa = arrow("csv")
        try:
            with opened(self._path) as file:
                read = pa.csv.read_csv(
                    file,
                    # with more than one thread, rows that cannot be taken apart have no numbers
                    read_options=pa.csv.ReadOptions(use_threads=False, column_names=self.header, skip_rows=1),
                    parse_options=pa.csv.ParseOptions(delimiter=self._delimiter, invalid_row_handler=skip, ignore_empty_lines=False),
                    convert_options=pa.csv.ConvertOptions(
                        include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
                    ),
                )
        except pa.ArrowInvalid as problem:
            if "Empty CSV" in str(problem):
                raise TraceError("the trace holds no requests", "at least one row is needed, below the heading") from None
            raise TraceError(f"{self._path.name} is no CSV in UTF-8: {str(problem).splitlines()[0]}", FORMS) from None
        rows = np.arange(2, read.num_rows + len(ragged) + 2)
        rows = rows[~np.isin(rows, np.fromiter(ragged, np.int64))]
        return _without_blanks({name: read.column(name) for name in names}, rows, ragged)


def _without_blanks(columns: "dict[str, pyarrow.ChunkedArray]", rows: Ints, unread: dict[int, str]) -> Table:
    """Without the lines that hold nothing at all."""
    held = np.zeros(len(rows), bool)
    for column in columns.values():
        held |= column.is_valid().to_numpy()
    if held.all():
        return Table(columns, rows, unread)
    return Table({name: column.filter(arrow("lib").array(held)) for name, column in columns.items()}, rows[held], unread)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True
