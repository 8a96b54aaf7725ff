"""Parquet: columns with types of their own."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penstock.capacity.traces.files import Table, arrow, opened
from penstock.domain.simulation.trace import TraceError


class ParquetFile:
    """Raises `TraceError` for a file that is not whole."""

    def __init__(self, path: Path) -> None:
        pa = arrow("parquet")
        with opened(path) as file:
            content = file.read()
        try:
            self._file = pa.parquet.ParquetFile(io.BytesIO(content))
        except pa.ArrowInvalid as problem:
            reason = str(problem).splitlines()[0]
            raise TraceError(f"{path.name} is not a whole Parquet file: {reason}", "fetch it again: its end holds its index") from None
        self.header = [str(name) for name in self._file.schema_arrow.names]

    def table(self, names: Sequence[str]) -> Table:
        """Raises `OSError` where a part is damaged."""
        read = self._file.read(columns=list(names))
        return Table({name: read.column(name) for name in names}, np.arange(1, read.num_rows + 1), {})
