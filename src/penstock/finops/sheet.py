"""Tables as CSV, for spreadsheets: what a spreadsheet would run as a formula is made inert."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: of full width
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table with its header line. None is an empty cell; what a spreadsheet would run gets a `'` in front (OWASP, CSV injection)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_inert(name) for name in header])
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return text.getvalue()


def _inert(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = f"'{cell}" if cell.startswith(_RUNS) and not _NUMBER.fullmatch(cell) else cell
    return text.replace("\r\n", "\n").replace("\r", "\n")  # the writer does not quote a bare CR, which readers take for a new row
