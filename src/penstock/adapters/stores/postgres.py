"""The store in a PostgreSQL database, which several hosts may share: each takes in its own journal.

Imports psycopg, the extra `postgres`; `adapters.stores` imports this module only for a `postgresql://` URL.
"""

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader

from penstock.adapters.stores.columns import NAMES, Row, row_of, storable
from penstock.adapters.stores.cost_tables import cost_tables, put_marks, worked_hours
from penstock.adapters.stores.cubes import cube_tables, drop_cubes, fresh_tables, missing_sums, put_fresh
from penstock.adapters.stores.documents import document_tables
from penstock.adapters.stores.evidence import evidence_tables, insert_observation, observed_in
from penstock.adapters.stores.snapshot import EmptySnapshot, SqlSnapshot
from penstock.adapters.stores.sql import (
    PARENTS,
    SCHEMA_VERSION,
    Dialect,
    missing_columns,
    newer_schema,
    put_offset,
    put_reservation,
    tables,
)
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake, Snapshot, StoreError

Connection = psycopg.Connection[tuple[Any, ...]]

_DEFAULTS = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "penstock"}
_PREPARE_LOCK = 0x50454E53544F434B
_HOURS_LOCK = _PREPARE_LOCK + 1
_STREAM_ROWS = 1000


def _tag(name: str, tags: str) -> tuple[str, Any]:
    return f"{tags} ->> %s::text", name.replace("\0", "\ufffd")


POSTGRES = Dialect(
    mark="%s",
    kinds={"text": "TEXT", "int": "BIGINT", "real": "DOUBLE PRECISION", "bool": "BOOLEAN", "json": "JSONB"},
    periods={
        "day": "to_char(to_timestamp(admitted_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
        "hour": """to_char(to_timestamp(admitted_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24')""",
    },
    tag=_tag,
    tags_array=lambda names, tags: "jsonb_build_array({})".format(", ".join(f"{tags} -> '{name}'" for name in names)),
    json_array="jsonb_build_array({})::text",
    json_item=lambda column, path: f"({column}::jsonb #>> '{{{','.join(map(str, path))}}}')",
    serial="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    unique_name="EXCLUDE USING hash (name WITH =)",
    clustered="",
    emptied=" ON COMMIT DELETE ROWS",
    overflow=None,
)
_COPY = f"COPY incoming ({', '.join(NAMES)}) FROM STDIN"
_INSERT = (
    "WITH new AS (INSERT INTO records ({0}) SELECT {0} FROM incoming ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING {0}) "
    "INSERT INTO arrived ({0}) SELECT {0} FROM new"
).format(", ".join(NAMES))
_TEMPORARY = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE records) ON COMMIT DELETE ROWS",
    "CREATE TEMPORARY TABLE IF NOT EXISTS arrived (LIKE records) ON COMMIT DELETE ROWS",
    *fresh_tables(POSTGRES),
)
_PUT_ARRIVED, _PUT_ALL = put_fresh(POSTGRES, "arrived", "true"), put_fresh(POSTGRES, "records", "true")
_PUT_MARKS = put_marks(POSTGRES)
_RESERVE, _OFFSET, _OBSERVE = put_reservation(POSTGRES), put_offset(POSTGRES), insert_observation(POSTGRES)


class PostgresDatabase:
    """Connections to one database: errors as `StoreError` without the password, the schema's version checked."""

    dialect = POSTGRES

    def __init__(self, url: str) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error as problem:
            raise StoreError(
                f"the URL of the store cannot be read: {problem}", "write it like `postgresql://user@host:5432/database`"
            ) from problem
        settings: dict[str, Any] = {**_DEFAULTS, **given}
        self._conninfo = make_conninfo(**settings)
        self.name = f"postgresql://{given.get('host', 'localhost')}:{given.get('port', 5432)}/{given.get('dbname', '')}"

    def connect(self) -> Connection:
        """In autocommit, so that every transaction is spelt out. Nothing is prepared on the server: poolers forget it."""
        with self.told("cannot be reached"):
            return psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)

    def prepare(self, db: Connection) -> None:
        """Create or extend the tables, whoever else tries at the same time."""
        with self.told(), db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_PREPARE_LOCK,))
            version = self._version(db)
            self.check_version(version)
            if version is None:
                for statement in (*tables(POSTGRES), *cube_tables(POSTGRES), *cost_tables(POSTGRES)):
                    db.execute(statement)
                db.execute("INSERT INTO schema_version VALUES (%s)", (SCHEMA_VERSION,))
            older = version is not None and version < SCHEMA_VERSION
            if older:  # first of all: a writer holds this row before it takes hold of any other
                db.execute("UPDATE schema_version SET version = %s", (SCHEMA_VERSION,))
            for statement in (*document_tables(POSTGRES), *evidence_tables(POSTGRES)):
                db.execute(statement)
            for statement in (*missing_columns(POSTGRES, lambda table: _columns(db, table)), PARENTS):
                db.execute(statement)
            if older:
                self._begin_cubes(db)
            for statement in missing_sums(POSTGRES, lambda table: _columns(db, table)):
                db.execute(statement)

    def _begin_cubes(self, db: Connection) -> None:
        db.execute("LOCK TABLE records IN EXCLUSIVE MODE")
        for statement in (*drop_cubes(), *cube_tables(POSTGRES), *cost_tables(POSTGRES), *fresh_tables(POSTGRES), *_PUT_ALL):
            db.execute(statement)

    @contextmanager
    def reading(self) -> Iterator["PostgresReading | None"]:
        """A read-only transaction on a connection of its own, which sees one instant; None while there is no schema."""
        db = self.connect()
        try:
            with self.told():
                db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                version = self._version(db)
            self.check_version(version)
            yield None if version is None else PostgresReading(self, db, version)
        finally:
            db.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction on a connection of its own, schema in place."""
        db = self.connect()
        try:
            self.prepare(db)
            with self.told(), db.transaction():
                yield db
        finally:
            db.close()

    def fill(self, db: Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert many rows."""
        with db.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def hold(self, db: Connection) -> None:
        """Until the transaction ends, nobody else writes hours, and nobody brings the schema up to date."""
        [(version,)] = db.execute("SELECT version FROM schema_version FOR SHARE").fetchall()
        self.check_version(version)
        db.execute("SELECT pg_advisory_xact_lock(%s)", (_HOURS_LOCK,))
        # New rows have no statistics yet: a plan made in the dark would read every record to find the words of a few.
        db.execute("SET LOCAL enable_hashjoin = off")
        db.execute("SET LOCAL enable_mergejoin = off")

    @contextmanager
    def told(self, what: str = "failed") -> Iterator[None]:
        """Errors of PostgreSQL, and of the system below it (no descriptor left), as `StoreError`s."""
        try:
            yield
        except (psycopg.Error, OSError) as problem:
            raise self._error(problem, what) from problem

    def _error(self, problem: psycopg.Error | OSError, what: str) -> StoreError:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        if isinstance(problem, errors.ReadOnlySqlTransaction):
            return StoreError(f"the store {self.name} is read-only", "point [server] store at the primary server")
        if isinstance(problem, errors.InsufficientPrivilege):
            return StoreError(f"the store {self.name} refuses: {reason}", "grant this user CREATE on the schema, or use the tables' owner")
        if isinstance(problem, errors.UndefinedColumn | errors.UndefinedTable):
            return StoreError(f"the store {self.name} has an older schema", "run `penstock serve` once: it brings the schema up to date")
        return StoreError(
            f"the store {self.name} {what}: {reason}", "check [server] store, and that the database server runs and lets this host in"
        )

    def _version(self, db: Connection) -> int | None:
        found = db.execute("SELECT to_regclass('schema_version')").fetchone()
        if found is None or found[0] is None:
            return None
        row = db.execute("SELECT max(version) FROM schema_version").fetchone()
        return None if row is None else row[0]

    def check_version(self, version: int | None) -> None:
        """Raises `StoreError` for a schema that this version does not know."""
        if version is not None and version > SCHEMA_VERSION:
            raise newer_schema(self.name, version)


def _columns(db: Connection, table: str) -> set[str]:
    found = db.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (table,)).fetchall()
    return {name for (name,) in found}


class PostgresReading:
    """`snapshot.Reading` on a connection whose read transaction has begun."""

    dialect = POSTGRES

    def __init__(self, database: PostgresDatabase, db: Connection, version: int) -> None:
        self._database, self._db, self.version = database, db, version
        self._streams = itertools.count()
        # JSON columns come back as text, as from SQLite: one decoder for both.
        db.adapters.register_loader("jsonb", TextLoader)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Sequence[Any]]:
        with self._database.told():
            return list(self._db.execute(sql, parameters or None).fetchall())

    def stream(self, sql: str, parameters: Sequence[Any]) -> Iterator[Sequence[Any]]:
        with self._database.told(), self._db.cursor(name=f"penstock_{next(self._streams)}") as cursor:
            cursor.itersize = _STREAM_ROWS
            cursor.execute(sql, parameters)
            yield from cursor


class PostgresStore:
    """`ports.usage_store.UsageStore` in one database. A lost connection raises once; the next call connects anew."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._database, self._read_only = PostgresDatabase(url), read_only
        self._db: Connection | None = None
        self._lock = threading.Lock()
        self._encode = msgspec.json.Encoder().encode

    def prepare(self) -> None:
        """Create the schema, or bring it up to date. Raises `StoreError`."""
        with self._lock:
            self._database.prepare(self._connection())

    def take_in(self, intake: Intake) -> int:
        with self._lock, self._database.told():
            try:
                return self._write(intake, intake.records)
            except psycopg.DataError:
                return self._write(intake, [storable(record) for record in intake.records])

    def flush(self) -> None:
        """Nothing is left to do: a commit of PostgreSQL returns when it is on the disk (`synchronous_commit`)."""

    def forget_segment(self, segment: str) -> None:
        with self._lock, self._database.told():
            self._connection().execute("DELETE FROM journal_offsets WHERE segment = %s", (segment,))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """On a connection of its own, from any thread. Empty while there is no schema."""
        with self._database.reading() as reading:
            yield EmptySnapshot() if reading is None else SqlSnapshot(reading)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _connection(self) -> Connection:
        if self._read_only:
            raise StoreError(f"the store {self._database.name} was opened for reading only")
        if self._db is None or self._db.closed:
            self._db = self._database.connect()
        return self._db

    def _write(self, intake: Intake, records: Sequence[UsageRecord]) -> int:
        db, new = self._connection(), 0
        with db.transaction(), db.cursor() as cursor:
            # held to the end: a newer penstock that brings the schema up to date waits for us, and we write none of it after
            [(version,)] = cursor.execute("SELECT version FROM schema_version FOR SHARE").fetchall()
            self._database.check_version(version)
            if records:
                for statement in _TEMPORARY:
                    cursor.execute(statement)
                with cursor.copy(_COPY) as copy:
                    for record in records:
                        copy.write_row(row_of(record))
                new = cursor.execute(_INSERT).rowcount
                for statement in _PUT_ARRIVED if new else ():
                    cursor.execute(statement)
                if new:
                    cursor.executemany(_PUT_MARKS, worked_hours(records))
                    cursor.executemany(_OBSERVE, observed_in(records))
            if intake.settled:
                cursor.execute("DELETE FROM reservations WHERE id = ANY(%s)", (list(intake.settled),))
            if intake.opened:
                opened = [(held.id, intake.writers.get(held.id, ""), self._encode(held).decode()) for held in intake.opened]
                cursor.executemany(_RESERVE, opened)
            if intake.offsets:
                cursor.executemany(_OFFSET, list(intake.offsets.items()))
        return new
