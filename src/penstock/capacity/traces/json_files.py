"""JSON lines: an object on each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from penstock.capacity.traces.files import FORMS, Table, arrow, opened
from penstock.domain.simulation.trace import TraceError

if TYPE_CHECKING:
    import pyarrow

_LOOKED: Final = 100
"""lines in which names of columns are looked for"""


class JsonLinesFile:
    """Raises `TraceError` where none of the first lines is an object."""

    def __init__(self, path: Path, begin: bytes) -> None:
        self._path = path
        found = (_object(line) for line in begin.splitlines()[:_LOOKED])
        self.header = list(dict.fromkeys(name for each in found for name in each or ()))
        if not self.header:
            shown = begin[:40].decode(errors="replace")
            raise TraceError(f"{path.name} is neither CSV nor JSON lines: it begins with `{shown}`", FORMS)

    def table(self, names: Sequence[str]) -> Table:
        """All as text, or lists of it: numbers may be larger than a type of Arrow holds."""
        cells: dict[str, list[Any]] = {name: [] for name in names}
        rows, unread = [], {}
        with opened(self._path) as file:
            for number, line in enumerate(file, 1):
                found = _object(line)
                if found is not None:
                    rows.append(number)
                    for name, column in cells.items():
                        column.append(_cell(found.get(name)))
                elif line.strip():
                    unread[number] = f"`{line[:40].decode(errors='replace').strip()}` is no JSON object"
        return Table({name: _column(column) for name, column in cells.items()}, np.array(rows, np.int64), unread)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _cell(value: Any) -> str | list[str] | None:
    return value if value is None else [str(each) for each in value] if isinstance(value, list) else str(value)


def _column(cells: list[Any]) -> "pyarrow.ChunkedArray":
    pa = arrow("lib")
    if not any(isinstance(cell, list) for cell in cells):
        return pa.chunked_array([pa.array(cells, pa.string())])
    return pa.chunked_array([pa.array([cell if isinstance(cell, list) else None for cell in cells], pa.list_(pa.string()))])
