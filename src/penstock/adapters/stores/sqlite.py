"""The store as one SQLite file: one process writes (WAL), others read while it does."""

import re
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from penstock.adapters.stores.columns import Row, row_of, storable
from penstock.adapters.stores.cost_tables import cost_tables, put_marks, worked_hours
from penstock.adapters.stores.cubes import cube_tables, drop_cubes, fresh_tables, missing_sums, put_fresh
from penstock.adapters.stores.documents import document_tables
from penstock.adapters.stores.evidence import evidence_tables, insert_observation, observed_in
from penstock.adapters.stores.snapshot import EmptySnapshot, SqlSnapshot
from penstock.adapters.stores.sql import (
    PARENTS,
    SCHEMA_VERSION,
    Dialect,
    insert_records,
    missing_columns,
    newer_schema,
    put_offset,
    put_reservation,
    tables,
)
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake, Snapshot, StoreError

BUSY_TIMEOUT_S = 5.0
CACHE_KIB = 65_536
"""pages that the writer keeps at most: request ids are random, so their index is written all over"""
CHECKPOINT_PAGES = 4_000
"""16 MiB of write-ahead log go into the file at once: a page that was written often is copied once"""
_SLICE_ROWS = 50_000
_PLAIN_NAME = re.compile(r'[^"\\\x00-\x1f]+')


def _tag(name: str, tags: str) -> tuple[str, Any]:
    if _PLAIN_NAME.fullmatch(name):
        return f"json_extract({tags}, ?)", f'$."{name}"'
    return f"(SELECT value FROM json_each({tags}) WHERE key = ?)", name.replace("\0", "\ufffd")


SQLITE = Dialect(
    mark="?",
    kinds={"text": "TEXT", "int": "INTEGER", "real": "REAL", "bool": "INTEGER", "json": "TEXT"},
    periods={
        "day": "strftime('%Y-%m-%d', admitted_ns / 1000000000, 'unixepoch')",
        "hour": "strftime('%Y-%m-%dT%H', admitted_ns / 1000000000, 'unixepoch')",
    },
    tag=_tag,
    tags_array=lambda names, tags: "json_extract({}, {})".format(tags, ", ".join(f"'$.{name}'" for name in names)),
    json_array="json_array({})",
    json_item=lambda column, path: f"json_extract({column}, '${''.join(f'[{index}]' for index in path)}')",
    serial="INTEGER PRIMARY KEY",
    unique_name="UNIQUE (name)",
    clustered=" WITHOUT ROWID",
    emptied="",
    overflow="integer overflow",
)
_PUT_MARKS = put_marks(SQLITE)
_INSERT, _RESERVE, _OFFSET = insert_records(SQLITE), put_reservation(SQLITE), put_offset(SQLITE)
_OBSERVE = insert_observation(SQLITE)
_PUT_FRESH = put_fresh(SQLITE, "records", "rowid > ? AND rowid <= ?")


class SqliteDatabase:
    """Connections to one file: errors as `StoreError`, the schema's version checked."""

    dialect = SQLITE

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def connect(self) -> sqlite3.Connection:
        """For writing; creates the file, never its directory."""
        with self.told():
            db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=32)
            try:
                _log_ahead(db)
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
                db.execute("PRAGMA temp_store = MEMORY")
                db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            except sqlite3.Error:
                db.close()
                raise
            return db

    def prepare(self, db: sqlite3.Connection) -> None:
        """Create or extend the tables, whoever else tries at the same time."""
        with self.told(), transaction(db):
            for statement in tables(SQLITE):
                db.execute(statement)
            version = db.execute("SELECT max(version) FROM schema_version").fetchone()[0]
            self.check_version(version)
            older = version is not None and version < SCHEMA_VERSION
            beside = (*cost_tables(SQLITE), *document_tables(SQLITE), *evidence_tables(SQLITE))
            for statement in (*(drop_cubes() if older else ()), *cube_tables(SQLITE), *beside):
                db.execute(statement)
            if version is None:
                db.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
            present = partial(_columns, db)
            for statement in (*missing_columns(SQLITE, present), PARENTS, *missing_sums(SQLITE, present)):
                db.execute(statement)
            if older:
                put_cubes(db, 0)
                db.execute("UPDATE schema_version SET version = ?", (SCHEMA_VERSION,))

    @contextmanager
    def reading(self) -> Iterator["SqliteReading | None"]:
        """A read transaction on a connection of its own; None while there is no file or no schema. Creates no store."""
        if not self._exists():
            yield None
            return
        with closing(self._connect_read_only()) as db:
            with self.told():
                db.execute("BEGIN")
                known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone()
                version = db.execute("SELECT max(version) FROM schema_version").fetchone()[0] if known else None
            self.check_version(version)
            yield None if version is None else SqliteReading(self, db, version)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction on a connection of its own, schema in place."""
        with closing(self.connect()) as db:
            self.prepare(db)
            with self.told(), transaction(db):
                yield db

    def fill(self, db: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert many rows."""
        marks = ", ".join("?" * len(columns))
        db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def hold(self, db: sqlite3.Connection) -> None:
        """Until the transaction ends, nobody else writes hours: `BEGIN IMMEDIATE` has seen to it."""

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors of SQLite as `StoreError`s."""
        try:
            yield
        except sqlite3.Error as problem:
            raise self.error(problem) from problem

    def error(self, problem: sqlite3.Error) -> StoreError:
        reason = str(problem)
        for sign, text, hint in _REASONS:
            if sign in reason:
                return StoreError(f"the store {self.path} {text}", hint)
        return StoreError(f"the store {self.path} failed: {reason}", "run `penstock check`, and look at the disk that it lies on")

    def _connect_read_only(self) -> sqlite3.Connection:
        # A directory in which SQLite can't make its -shm file has no writer either, so the file may be read as it is.
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        try:
            return _opened(uri)
        except sqlite3.OperationalError as problem:
            if "unable to open" not in str(problem) or self.path.with_name(f"{self.path.name}-wal").exists():
                raise self.error(problem) from problem
        except sqlite3.Error as problem:
            raise self.error(problem) from problem
        with self.told():
            return _opened(f"{uri}&immutable=1")

    def _exists(self) -> bool:
        try:
            return self.path.exists()
        except OSError as problem:
            raise self.error(sqlite3.OperationalError(f"unable to open: {problem.strerror}")) from problem

    def check_version(self, version: int | None) -> None:
        """Raises `StoreError` for a schema that this version does not know."""
        if version is not None and version > SCHEMA_VERSION:
            raise newer_schema(str(self.path), version)


_REASONS = (
    ("readonly", "is read-only", "make the file and its directory writable for this user, or point [server] store elsewhere"),
    ("unable to open", "cannot be opened", "create its directory and make it writable for this user, or point [server] store elsewhere"),
    ("locked", "is held by another process", "end the process that keeps a transaction open on it, then try again"),
    ("is full", "cannot grow: the disk is full", "free space there, or point [server] store elsewhere"),
    ("not a database", "is not an SQLite database", "point [server] store at another file"),
    ("malformed", "is damaged", "restore it from a backup, or run `sqlite3 FILE .recover`"),
    ("no such column", "has an older schema", "run `penstock serve` once: it brings the schema up to date"),
    ("no such table", "has an older schema", "run `penstock serve` once: it brings the schema up to date"),
)


def _opened(uri: str) -> sqlite3.Connection:
    """A connection that has read from the file once."""
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def _log_ahead(db: sqlite3.Connection) -> None:
    """Turns the write-ahead log on. While others do so to the same new file, SQLite says `busy` at once, whatever the timeout."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE ... COMMIT; anything raised inside, or by the commit, rolls back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def put_cubes(db: sqlite3.Connection, after: int) -> None:
    """Add the records of a rowid beyond `after` to the cubes, in slices that are sorted within memory."""
    for statement in fresh_tables(SQLITE):
        db.execute(statement)
    [(last,)] = db.execute("SELECT coalesce(max(rowid), 0) FROM records")
    for start in range(after, last, _SLICE_ROWS):
        bounds = (start, min(start + _SLICE_ROWS, last))
        for statement in _PUT_FRESH:
            db.execute(statement, bounds * (statement.count("?") // 2))


class SqliteReading:
    """`snapshot.Reading` on a connection whose read transaction has begun."""

    dialect = SQLITE

    def __init__(self, database: SqliteDatabase, db: sqlite3.Connection, version: int) -> None:
        self._database, self._db, self.version = database, db, version

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Sequence[Any]]:
        with self._database.told():
            return self._db.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any]) -> Iterator[Sequence[Any]]:
        with self._database.told():
            cursor = self._db.execute(sql, parameters)
            # An iterator without `close`: left halfway, a generator would else close the cursor, perhaps after its connection.
            yield from iter(cursor.fetchone, None)


class SqliteStore:
    """`ports.usage_store.UsageStore` in one file. `prepare` comes before the first `take_in`; readers need neither."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self._database, self._read_only = SqliteDatabase(path), read_only
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._encode = msgspec.json.Encoder().encode

    def prepare(self) -> None:
        """Create the file and the schema, or bring it up to date. Raises `StoreError`."""
        with self._lock:
            self._database.prepare(self._connection())

    def take_in(self, intake: Intake) -> int:
        with self._lock, self._database.told():
            try:
                return self._write(intake, intake.records)
            except OverflowError:
                return self._write(intake, [storable(record) for record in intake.records])

    def flush(self) -> None:
        # A commit under FULL syncs the write-ahead log, and with it every commit before.
        with self._lock, self._database.told():
            db = self._connection()
            db.execute("PRAGMA synchronous = FULL")
            try:
                with transaction(db):
                    db.execute("UPDATE schema_version SET version = version")
            finally:
                db.execute("PRAGMA synchronous = NORMAL")

    def forget_segment(self, segment: str) -> None:
        with self._lock, self._database.told(), transaction(self._connection()):
            self._connection().execute("DELETE FROM journal_offsets WHERE segment = ?", (segment,))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """On a connection of its own, from any thread. Empty while there is no file or no schema."""
        with self._database.reading() as reading:
            yield EmptySnapshot() if reading is None else SqlSnapshot(reading)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._read_only:
            raise StoreError(f"the store {self._database.path} was opened for reading only")
        if self._db is None:
            self._db = self._database.connect()
        return self._db

    def _write(self, intake: Intake, records: Sequence[UsageRecord]) -> int:
        db, rows = self._connection(), [row_of(record) for record in records]
        with transaction(db):
            [(version,)] = db.execute("SELECT max(version) FROM schema_version")
            self._database.check_version(version)
            [(newest,)] = db.execute("SELECT coalesce(max(rowid), 0) FROM records")
            before = db.total_changes
            db.executemany(_INSERT, rows)
            new = db.total_changes - before
            if new:
                put_cubes(db, newest)
                db.executemany(_PUT_MARKS, worked_hours(records))
                db.executemany(_OBSERVE, observed_in(records))
            db.executemany("DELETE FROM reservations WHERE id = ?", [(id,) for id in intake.settled])
            opened = [(held.id, intake.writers.get(held.id, ""), self._encode(held).decode()) for held in intake.opened]
            db.executemany(_RESERVE, opened)
            db.executemany(_OFFSET, list(intake.offsets.items()))
        return new
