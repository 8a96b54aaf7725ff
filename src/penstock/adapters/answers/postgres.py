"""`ports.answer_store.AnswerStore` in a PostgreSQL database that all hosts share, in plain tables.

Imports psycopg, the extra `postgres`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from penstock.adapters.answers.sql import Result, SqlAnswers, begin_log, check_version
from penstock.adapters.stores.postgres import Connection, PostgresDatabase
from penstock.ports.answer_store import AnswerStoreError
from penstock.ports.usage_store import StoreError

_PREPARE_LOCK: Final = 0x50454E53544F4341
_HINT = "check [cache.semantic] store, and that the database server runs and lets this host in"


class PostgresAnswers(SqlAnswers):
    """A lost connection raises once; the next call connects anew."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet. Raises `AnswerStoreError` for a URL that cannot be read."""
        try:
            database = PostgresDatabase(url)
        except StoreError as problem:
            raise AnswerStoreError(str(problem), problem.hint) from problem
        super().__init__(_Server(database))


class _Server:
    """`sql.Answers`."""

    mark = "%s"
    among = "entry = ANY(%s)"

    def __init__(self, database: PostgresDatabase) -> None:
        self._database, self.name = database, database.name
        self._db: Connection | None = None

    def listed(self, entries: Sequence[str]) -> list[str]:
        return list(entries)

    def transact(self, work: Callable[[Connection], Result], *, writes: bool) -> Result:
        try:
            with self._database.told():
                db = self._connection()
                with db.transaction():
                    return work(db)
        except StoreError as problem:
            # Whatever went wrong, the next call begins with a new connection and looks for the tables.
            self.close()
            raise AnswerStoreError(str(problem), _HINT) from problem

    def close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    def _connection(self) -> Connection:
        if self._db is not None:
            return self._db
        db = self._database.connect()
        try:
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (_PREPARE_LOCK,))
                # Looked for, not created again: that would wait for whoever is writing, and they for us.
                if db.execute("SELECT to_regclass('answer_head')").fetchall() == [(None,)]:
                    begin_log(db, self.mark, "BYTEA")
                check_version(db, self.name)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db
