"""DuckDB over sealed files, for the SQL that the stores share: the table `records` is the files that a window touches."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

from penstock.adapters.archive.parquet import schema
from penstock.adapters.archive.places import Place
from penstock.adapters.stores.columns import COLUMNS
from penstock.adapters.stores.sql import Dialect
from penstock.ports.archive import ArchiveError, Part

if TYPE_CHECKING:
    import duckdb

MEMORY = "384MB"
"""most of what DuckDB keeps at once; beyond it, it goes to the disk"""
_STREAM_ROWS = 5_000
_WILD = re.compile(r"[*?[]")
_UNUSED = "the archive keeps no cubes"


def _tag(name: str, tags: str) -> tuple[str, Any]:
    pointer = name.replace("\0", "\ufffd").replace("~", "~0").replace("/", "~1")
    return f"json_extract_string({tags}, ?)", f"/{pointer}"


DUCKDB = Dialect(
    mark="?",
    kinds={"text": "VARCHAR", "int": "BIGINT", "real": "DOUBLE", "bool": "BOOLEAN", "json": "VARCHAR"},
    periods={
        "day": "strftime(make_timestamp(admitted_ns // 1000), '%Y-%m-%d')",
        "hour": "strftime(make_timestamp(admitted_ns // 1000), '%Y-%m-%dT%H')",
    },
    tag=_tag,
    tags_array=lambda names, tags: _UNUSED,
    json_array=_UNUSED,
    json_item=lambda column, path: _UNUSED,
    serial=_UNUSED,
    unique_name=_UNUSED,
    clustered=_UNUSED,
    emptied=_UNUSED,
    overflow=None,
)


class DuckReading:
    """`stores.snapshot.Reading` over the sealed records of some parts. Sealed files never change, so there is no transaction to hold."""

    dialect = DUCKDB
    version = 1
    """as a store that keeps no cubes"""

    def __init__(self, place: Place, parts: Sequence[Part]) -> None:
        self._place, self._parts = place, parts
        self._db: duckdb.DuckDBPyConnection | None = None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Sequence[Any]]:
        db = self.connection()
        with _told():
            return list(db.execute(sql, parameters).fetchall())

    def stream(self, sql: str, parameters: Sequence[Any]) -> Iterator[Sequence[Any]]:
        # On a connection of its own: what is asked meanwhile would end it.
        db = self._connected()
        try:
            with _told():
                db.execute(sql, parameters)
                while rows := db.fetchmany(_STREAM_ROWS):
                    yield from rows
        finally:
            db.close()

    def connection(self) -> "duckdb.DuckDBPyConnection":
        """What `rows` asks: tables may be added to it."""
        if self._db is None:
            self._db = self._connected()
        return self._db

    def _connected(self) -> "duckdb.DuckDBPyConnection":
        db = connect()
        show_records(db, self._place, self._parts)
        return db


def connect() -> "duckdb.DuckDBPyConnection":
    """A database of nothing, that takes nothing from the network and keeps to `MEMORY`. Raises `ArchiveError` without DuckDB."""
    try:
        import duckdb
    except ImportError as problem:
        raise ArchiveError("reading the archive needs DuckDB", "install the extra: `pip install 'penstock[archive]'`") from problem
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "temp_directory": str(Path(gettempdir()) / f"penstock-duckdb-{os.getpid()}"),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "false",
    }
    with _told():
        return duckdb.connect(":memory:", config=settings)


def show_records(db: "duckdb.DuckDBPyConnection", place: Place, parts: Sequence[Part]) -> None:
    """Makes `records` the view of what these parts hold in the store's place. Raises `ArchiveError` when a file is not there."""
    whole = [part for part in parts if part.forgotten_ns > part.last_ns]
    begun = [part for part in parts if part.first_ns < part.forgotten_ns <= part.last_ns]
    shown = [_select(db, place, whole, "whole", "")] if whole else []
    for number, part in enumerate(begun):
        shown.append(_select(db, place, [part], f"begun{number}", f" WHERE admitted_ns < {part.forgotten_ns}"))
    nothing = ", ".join(f"NULL::{DUCKDB.kinds[kind]} AS {name}" for name, kind in COLUMNS)
    with _told():
        db.execute(f"CREATE OR REPLACE TEMPORARY VIEW records AS {' UNION ALL '.join(shown) or f'SELECT {nothing} LIMIT 0'}")


def _select(db: "duckdb.DuckDBPyConnection", place: Place, parts: Sequence[Part], name: str, where: str) -> str:
    paths = [place.full(part.path) for part in parts]
    if place.filesystem is None:
        listed = ", ".join("'{}'".format(_WILD.sub(r"[\g<0>]", path).replace("'", "''")) for path in paths)
        source = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
        with _told():
            present = {row[0] for row in db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        columns = [column if column in present else f"NULL::{DUCKDB.kinds[kind]} AS {column}" for column, kind in COLUMNS]
        return f"SELECT {', '.join(columns)} FROM {source}{where}"
    from pyarrow import dataset

    with _told():
        db.register(f"{name}_files", dataset.dataset(paths, schema=schema(), filesystem=place.filesystem, format="parquet"))
    return f"SELECT {', '.join(column for column, _ in COLUMNS)} FROM {name}_files{where}"


@contextmanager
def _told() -> Iterator[None]:
    """Errors of DuckDB, and of the files below it, as `ArchiveError`s."""
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as problem:
        reason = " ".join(str(problem).split())[:500]
        raise ArchiveError(
            f"the archive cannot be read: {reason}", "check [archive] url; a file that is gone must come back from a backup of the archive"
        ) from problem
