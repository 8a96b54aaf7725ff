"""One file from its bytes to FOCUS rows: what it is, row by row, with the account of everything that was not plain."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from penstock.adapters.bills import documents, focus
from penstock.adapters.bills.cells import CellError, Column
from penstock.adapters.bills.converting import Conversion
from penstock.adapters.bills.detecting import HINT, delimiter_of_header, format_of, known_names, names_of, shape_of, style_of
from penstock.adapters.bills.focus import FocusShape
from penstock.adapters.bills.formats import Format, total
from penstock.adapters.bills.parquet import MAGIC, ParquetRows
from penstock.adapters.bills.tally import Tally
from penstock.adapters.bills.text import DELIMITERS, NOT_UTF8, Lines, Records
from penstock.domain.bills.focus import FocusRow
from penstock.ports.bill_source import BillError, ReadReport

SAMPLE_ROWS, HEADER_LINES = 2_000, 12
NO_OBJECT = "no JSON object"
TOTALS, HEADER_AGAIN = "totals row", "header repeated"
CUT_OFF = "cut off: the file ends within this row"
_TOTAL = re.compile(r"\s*(grand[\s_-]*|sub[\s_-]*)?(total|sum|summe|totals)\b.*", re.IGNORECASE)

Rows = Iterator[tuple[int, Sequence[Any]]]


class Bill:
    """One bill. See `ports.bill_source.BillSource`."""

    def __init__(self, path: Path, word: str | None = None) -> None:
        self.path, self._word = path, word
        self.report = ReadReport(path=str(path))
        self._tally = Tally(self.report)
        self._lines: Lines | None = None
        self._size = 0
        self._done = 0

    def progress(self) -> tuple[int, int]:
        """Bytes taken and bytes in all."""
        if self._lines is not None and not self._lines.file.closed:
            self._done = self._lines.file.tell()
        return self._done, self._size

    def rows(self) -> Iterator[FocusRow]:
        """The charges in the order of the file. Raises `BillError`."""
        self._size = self.path.stat().st_size
        if not self._size:
            raise BillError(f"{self.path.name} is empty", "fetch it again")
        with self.path.open("rb") as file:
            start = file.read(4)
        try:
            yield from self._of_parquet() if start == MAGIC else self._of_text()
        finally:
            self._done = self._size
            if self._lines is not None:
                self._lines.close()
            self._tally.finish()

    def _of_parquet(self) -> Iterator[FocusRow]:
        source = ParquetRows(self.path)
        self.report.container = "Parquet"
        yield from self._of_rows(iter(source), source.header, format_of(source.header, self._word))
        if source.broken:
            self.report.broken = source.broken

    def _of_text(self) -> Iterator[FocusRow]:
        lines = self._lines = Lines(self.path)
        lines.on_stray = lambda line: self._tally.repair(NOT_UTF8, "", line)
        if lines.marked:
            self._tally.note("the file begins with a byte-order mark")
        source = iter(lines)
        first = list(islice(source, HEADER_LINES))
        compressed = "gzip, " if lines.gzipped else ""
        text = "".join(first).lstrip()
        if text[:1] in ("{", "["):
            self.report.container = f"JSON, {compressed}{lines.encoding}"
            yield from self._of_json(chain(first, source))
        elif text:
            delimiter, at = delimiter_of_header(first)
            self.report.container = f"CSV, {compressed}{lines.encoding}, {DELIMITERS[delimiter]}"
            yield from self._of_csv(chain(first, source), delimiter, at)
        if lines.broken:
            self.report.broken = lines.broken
        if not text:
            raise BillError(f"{self.path.name} holds no text" + (f": {lines.broken}" if lines.broken else ""), "fetch it again")

    def _of_csv(self, lines: Iterator[str], delimiter: str, header_at: int) -> Iterator[FocusRow]:
        records = Records(lines, delimiter, self._tally.refuse)
        source = iter(records)
        header: list[str] = []
        for number, fields in source:
            header = [name.strip().lstrip("\ufeff") for name in fields]
            if number > header_at:
                break
            self._tally.note(f"line {number} stands before the header and is no row")
        if not known_names(header):
            raise BillError(f"{self.path.name} has no header that is known", HINT)
        records.width = len(header)
        yield from self._of_rows(self._widths(source, header, records), header, format_of(header, self._word))

    def _widths(self, source: Iterator[tuple[int, list[str]]], header: list[str], records: Records) -> Rows:
        """Rows that have as many fields as the header. Others are refused, or put aside when they are no charges.

        Only a file whose first row has empty fields beyond the header may have them elsewhere: in one row among others they mean a
        delimiter within some text, and everything behind it has moved.
        """
        width, lines, beyond = len(header), self._lines, -1
        for number, fields in source:
            if beyond < 0:
                beyond = max(len(fields) - width, 0) if not any(field.strip() for field in fields[width:]) else 0
                if beyond:
                    self._tally.note(f"rows end with {beyond} empty field{'s' if beyond > 1 else ''} that the header does not name")
            if len(fields) == width and (records.last_line_whole or lines is None or not lines.broken):
                yield number, fields
            elif not any(field.strip() for field in fields):
                continue
            elif is_total(fields):
                self._tally.put_aside(TOTALS)
            elif beyond and len(fields) == width + beyond and not any(field.strip() for field in fields[width:]):
                yield number, fields[:width]
            elif not records.last_line_whole:
                self._tally.refuse(number, CUT_OFF)
            else:
                self._tally.refuse(number, f"{len(fields)} fields instead of {width}")

    def _of_json(self, lines: Iterator[str]) -> Iterator[FocusRow]:
        first = next(lines)
        try:
            head = documents.parsed(first)
        except ValueError:
            head = None
        if isinstance(head, dict) and not documents.is_cost_explorer(head) and not documents.is_opencost(head):
            yield from self._of_objects(self._objects(self._json_lines(chain([first], lines))))
            return
        try:
            document = documents.parsed(self._whole(chain([first], lines)))
        except ValueError as problem:
            raise BillError(f"{self.path.name} is no whole JSON document ({problem})", "fetch it again: it may be cut off") from None
        if documents.is_cost_explorer(document) or documents.is_pages(document):
            pages = document if isinstance(document, list) else [document]
            self.report.broken = documents.pages_missing(pages)
            if told := documents.estimates(pages):
                self._tally.note(told)
            yield from self._of_found("AWS Cost Explorer", "UnblendedCost", documents.cost_explorer(pages))
        elif documents.is_opencost(document):
            self._tally.note("OpenCost names no currency: taken as USD")
            yield from self._of_found("OpenCost allocation", "totalCost", documents.opencost(document))
        elif isinstance(document, list):
            yield from self._of_objects(self._objects(enumerate(document, 1)))
        else:
            raise BillError(f"{self.path.name} is JSON of no known bill", HINT)

    def _whole(self, lines: Iterator[str]) -> str:
        """One document, which is held whole, within a bound: what a gz file holds is told by no size of a file."""
        parts, size = [], 0
        for line in lines:
            size += len(line)
            if size > documents.LARGEST:
                raise BillError(
                    f"{self.path.name} is one JSON document of more than {documents.LARGEST >> 20:,} MiB",
                    "write it as JSON lines, or as CSV or Parquet",
                )
            parts.append(line)
        return "".join(parts)

    def _json_lines(self, lines: Iterator[str]) -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, documents.parsed(line)
            except ValueError:
                self._tally.refuse(number, NO_OBJECT if line.endswith("\n") else CUT_OFF)

    def _objects(self, values: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, value in values:
            if isinstance(value, dict):
                yield number, value
            else:
                self._tally.refuse(number, NO_OBJECT)

    def _of_objects(self, objects: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[FocusRow]:
        flat = ((number, documents.flat(each)) for number, each in objects)
        sample = list(islice(flat, SAMPLE_ROWS))
        names = list(dict.fromkeys(name for _, cells in sample for name in cells))
        form = format_of(names, self._word)
        header = list(dict.fromkeys([*names, *names_of(form)]))
        known = dict.fromkeys(header)
        late: dict[str, None] = {}

        def rows() -> Rows:
            for number, cells in chain(sample, flat):
                if not cells.keys() <= known.keys():
                    late.update(dict.fromkeys(name for name in cells if name not in known))
                yield number, [cells.get(name) for name in header]

        yield from self._of_rows(rows(), header, form, names)
        if late:
            self._tally.note(f"left out, since the first {SAMPLE_ROWS:,} rows do not have them: {', '.join(late)}")

    def _of_found(self, name: str, amount: str, found: Iterator[documents.Found]) -> Iterator[FocusRow]:
        self.report.format, self.report.amount_column = name, amount
        for number, charges in found:
            if isinstance(charges, str):
                self._tally.refuse(number, charges)
                continue
            known = [row.billed_cost for row in charges]
            self._tally.row_read(total(known), charges[0].billing_currency if charges else None)
            for row in charges:
                self._tally.charge(row)
                yield row

    def _of_rows(self, source: Rows, header: list[str], form: Format | None, named: Sequence[str] | None = None) -> Iterator[FocusRow]:
        """The rows of a table under its header; `named` are the columns that the file itself has, where the header holds others too."""
        sample = list(islice(source, SAMPLE_ROWS))
        shape = shape_of(form, header, style_of(header, (fields for _, fields in sample), form))
        report, tally = self.report, self._tally
        own = header if named is None else named
        report.format = f"{focus.NAME} {focus.version(own)}" if form is None else form.named(own)
        if isinstance(shape, FocusShape):
            report.left_out = shape.left_out
            for written, meant in shape.renamed:
                tally.note(f"the column `{written}` is read as {meant}")
        report.amount_column = shape.amount_column
        dirty: list[tuple[Column, int]] = []
        for column, at in zip(shape.columns, shape.positions, strict=True):
            column.on_first_mend = lambda column=column, at=at: dirty.append((column, at))  # type: ignore[misc]
        convert = Conversion(shape.columns, shape.positions, [fields for _, fields in sample])
        shape.arrange(convert.order)
        rows, amount = shape.rows, shape.amount
        for number, fields in chain(sample, source):
            try:
                values = convert(fields)
                charges = rows(values)
            except CellError as fault:
                self._not_read(number, fields, header, str(fault))
                continue
            money, currency = amount(values)
            if money is None and all(row.cost is None for row in charges):
                self._not_read(number, fields, header, "no cost")
                continue
            if dirty:
                for column, at in dirty:
                    if (reason := column.mended.get(fields[at])) is not None:
                        tally.repair(reason, column.name, number)
            if charges[0].charge_period_start is None and is_total(fields):
                tally.put_aside(TOTALS)
                continue
            tally.row_read(money, currency)
            for row in charges:
                tally.charge(row)
                yield row

    def _not_read(self, number: int, fields: Sequence[Any], header: list[str], reason: str) -> None:
        if not any(field.strip() if isinstance(field, str) else field is not None for field in fields):
            return
        if is_total(fields):
            self._tally.put_aside(TOTALS)
        elif [str(field).strip() for field in fields] == header:
            self._tally.put_aside(HEADER_AGAIN)
        else:
            self._tally.refuse(number, reason)


def is_total(fields: Sequence[Any]) -> bool:
    """Whether a row sums up others: it is mostly empty, and its first word says so."""
    filled = [field for field in fields if field is not None and str(field).strip()]
    return bool(filled) and len(filled) * 2 <= max(len(fields), 4) and bool(_TOTAL.match(str(filled[0])))
