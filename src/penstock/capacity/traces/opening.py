"""Opens a file of a trace, whichever kind it is: its first bytes tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from penstock.capacity.traces.csv_files import CsvFile
from penstock.capacity.traces.files import FORMS, Table, TableFile, opened
from penstock.capacity.traces.json_files import JsonLinesFile
from penstock.capacity.traces.parquet_files import ParquetFile
from penstock.domain.simulation.trace import TraceError

_PARQUET: Final = b"PAR1"
_HEADING: Final = 1 << 20
"""bytes within which the heading ends"""


def open_file(path: Path) -> TableFile:
    """Raises `TraceError` for what cannot be read, and for what is no such file."""
    try:
        with opened(path) as file:
            begin = file.read(_HEADING)
        if not begin.strip():
            raise TraceError(f"{path.name} is empty", FORMS)
        if begin.startswith(_PARQUET):
            return ParquetFile(path)
    except IsADirectoryError:
        raise TraceError(f"{path} is a directory", "name one file") from None
    except (OSError, EOFError) as problem:
        raise TraceError(
            f"{path} cannot be read: {getattr(problem, 'strerror', None) or problem}", "see that it is there, and whole"
        ) from None
    if begin.lstrip().startswith(b"["):
        raise TraceError(f"{path.name} is one JSON array", "write an object on each line: `jq -c '.[]' FILE`")
    return JsonLinesFile(path, begin) if begin.lstrip().startswith(b"{") else CsvFile(path, begin)


def columns_of(file: TableFile, names: Sequence[str]) -> Table:
    """These columns, each once. Raises `TraceError`."""
    try:
        return file.table(list(dict.fromkeys(names)))
    except (OSError, EOFError) as problem:
        raise TraceError(f"the file is damaged: {problem}", "fetch it again: it may have been cut off") from None
