"""Rows of the ledger as Parquet: one typed column per field, as in the store; times in nanoseconds, money in nano-USD, JSON as text."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from penstock.adapters.stores.columns import COLUMNS, NAMES
from penstock.ports.archive import ArchiveError

if TYPE_CHECKING:
    import pyarrow as pa

Row = Sequence[Any]

GROUP_ROWS = 10_000
"""rows of a row group: what is read at once, and pruned by its first and last instant and id"""
_BOOLEANS = tuple(index for index, (_, kind) in enumerate(COLUMNS) if kind == "bool")
_PLAIN_NUMBERS = ("id", "admitted_ns")
"""in order, so that their differences are small: a dictionary of them would be as long as they are"""


class Tally(msgspec.Struct):
    """What two lists of rows are compared by: how many, from when to when, what they cost, and a digest over every value."""

    records: int = 0
    first_ns: int = 0
    last_ns: int = 0
    cost: int = 0
    sha256: str = ""


class Tallier:
    """Adds rows up as they pass, which must come in order of time. `names` are those of their values."""

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        self._tally, self._hash, self._encode = Tally(), sha256(), msgspec.msgpack.Encoder().encode
        self._cost, self._admitted = names.index("cost"), names.index("admitted_ns")

    def add(self, rows: Sequence[Row]) -> None:
        tally = self._tally
        if not rows:
            return
        if not tally.records:
            tally.first_ns = rows[0][self._admitted]
        tally.last_ns = rows[-1][self._admitted]
        tally.records += len(rows)
        tally.cost += sum(row[self._cost] or 0 for row in rows)
        for row in rows:
            self._hash.update(self._encode(row))

    def tally(self) -> Tally:
        return msgspec.structs.replace(self._tally, sha256=self._hash.hexdigest())


def schema() -> "pa.Schema":
    """The columns of a sealed file. Additive: a file of an older penstock lacks the newer ones, which are then unknown."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "json": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_()}
    return pa.schema([pa.field(name, kinds[kind]) for name, kind in COLUMNS])


def write(path: Path, rows: Iterable[Row]) -> Tally:
    """Writes rows (values of `NAMES`, by time, then id) into a new file. Raises `ArchiveError`."""
    import pyarrow as pa
    from pyarrow import parquet

    shape, tallier, source = schema(), Tallier(), iter(rows)
    encoded = {name: "DELTA_BINARY_PACKED" if name == "admitted_ns" else "DELTA_BYTE_ARRAY" for name in _PLAIN_NUMBERS}
    dictionaries = [name for name in NAMES if name not in _PLAIN_NUMBERS]
    try:
        with parquet.ParquetWriter(
            path, shape, compression="zstd", use_dictionary=dictionaries, column_encoding=encoded, sorting_columns=_sorting(shape)
        ) as writer:
            while batch := [_typed(row) for row in islice(source, GROUP_ROWS)]:
                tallier.add(batch)
                columns = [pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), shape, strict=True)]
                writer.write_batch(pa.record_batch(columns, schema=shape), row_group_size=GROUP_ROWS)
    except OSError as problem:
        raise ArchiveError(f"{path} cannot be written: {problem}", "free space there, or make it writable for this user") from problem
    return tallier.tally()


def digest(file: IO[bytes]) -> Tally:
    """What a file holds, told by reading every value of it. Raises `ArchiveError`."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
        tallier = Tallier(opened.schema_arrow.names)
        for batch in opened.iter_batches(batch_size=GROUP_ROWS):
            tallier.add(list(zip(*(column.to_pylist() for column in batch.columns), strict=True)))
    except (OSError, ValueError, pa.ArrowException) as problem:
        raise ArchiveError(f"a sealed file cannot be read: {problem}", "restore it from a backup of the archive") from problem
    return tallier.tally()


def places_of_records(file: IO[bytes], since_ns: int, limit: int) -> list[tuple[int, str]]:
    """(admitted_ns, id) of the first records from an instant on: about `limit`, to the end of their last instant."""
    import pyarrow as pa
    from pyarrow import parquet

    found: list[tuple[int, str]] = []
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=GROUP_ROWS, columns=["admitted_ns", "id"]):
            instants, ids = batch.column("admitted_ns").to_pylist(), batch.column("id").to_pylist()
            for instant, id in zip(instants, ids, strict=True):
                if instant >= since_ns:
                    if len(found) >= limit and instant != found[-1][0]:
                        return found
                    found.append((instant, id))
    except (OSError, ValueError, pa.ArrowException) as problem:
        raise ArchiveError(f"a sealed file cannot be read: {problem}", "restore it from a backup of the archive") from problem
    return found


def _typed(row: Row) -> Row:
    """SQLite knows no booleans."""
    values = list(row)
    for index in _BOOLEANS:
        if values[index] is not None:
            values[index] = bool(values[index])
    return tuple(values)


def _sorting(shape: "pa.Schema") -> Any:
    from pyarrow import parquet

    return [parquet.SortingColumn(shape.get_field_index(name)) for name in ("admitted_ns", "id")]
