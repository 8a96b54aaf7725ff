"""Rows of a Parquet file, block by block: every cell a plain value (text, exact decimal, time), nested ones as JSON text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.ports.bill_source import BillError

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"PAR1"
BLOCK_ROWS = 5_000


class ParquetRows:
    """One file. Raises `BillError` when it is damaged, or when the extra that reads it is not installed."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise BillError(
                f"{path.name} is Parquet, which needs pyarrow", "install the extra: `pip install 'penstock[archive]'`"
            ) from None
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowInvalid, OSError) as problem:
            reason = str(problem).splitlines()[0]
            raise BillError(f"{path.name} is not a whole Parquet file: {reason}", "fetch it again: its end holds its index") from None
        self._rows = self._file.metadata.num_rows
        self.broken = ""
        self.header = [name for field in self._file.schema_arrow for name, _ in _leaves(field.name, field.type)]

    def __iter__(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        import pyarrow

        before = 0
        batches = self._file.iter_batches(batch_size=BLOCK_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (pyarrow.ArrowInvalid, OSError) as problem:
                self.broken = f"the Parquet file is damaged after row {before} of {self._rows} ({str(problem).splitlines()[0]})"
                return
            if batch is None:
                return
            columns = [cells for field, column in zip(batch.schema, batch.columns, strict=True) for cells in _cells(field.type, column)]
            yield from enumerate(zip(*columns, strict=True), before + 1)
            before += batch.num_rows


def _leaves(name: str, kind: "pyarrow.DataType") -> Iterator[tuple[str, "pyarrow.DataType"]]:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    else:
        yield name, kind


def _cells(kind: "pyarrow.DataType", column: "pyarrow.Array") -> Iterator[list[Any]]:
    import pyarrow

    types = pyarrow.types
    if types.is_struct(kind):
        for at in range(kind.num_fields):
            yield from _cells(kind.field(at).type, column.flatten()[at])
    elif types.is_map(kind) or types.is_list(kind) or types.is_large_list(kind):
        yield [None if cell is None else json.dumps(cell, default=str) for cell in column.to_pylist()]
    elif types.is_timestamp(kind):
        # nanoseconds have no place in a datetime
        yield column.cast(pyarrow.timestamp("us", kind.tz), safe=False).to_pylist()
    else:
        yield column.to_pylist()
