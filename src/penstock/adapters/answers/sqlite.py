"""`ports.answer_store.AnswerStore` as one SQLite file beside the journal, which the workers of a host share.

A file that is damaged, or no database, is set aside under another name, and a new one begun: a cache must not keep a gateway from serving.
Nothing is synced at a commit: what was acknowledged outlives the process, and may be lost with the machine.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson

from penstock.adapters.answers.sql import Result, SqlAnswers, begin_log, check_version
from penstock.adapters.stores.sqlite import BUSY_TIMEOUT_S, SqliteDatabase
from penstock.ports.answer_store import AnswerStoreError
from penstock.ports.usage_store import StoreError

CACHE_KIB: Final = 4_096
MODE: Final = 0o640
"""as segments of the journal have: questions and answers stand in it"""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteAnswers(SqlAnswers):
    """In a file, made when it is missing, its directory too. `log` is told when a damaged one was set aside."""

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        super().__init__(_File(path, log))


class _File:
    """`sql.Answers`. One connection, opened anew when the file is another one than before."""

    mark = "?"
    among = "entry IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self._database, self._path, self._log = SqliteDatabase(path), path, log
        self.name = str(path)
        self._db: sqlite3.Connection | None = None
        self._inode = 0

    def listed(self, entries: Sequence[str]) -> str:
        return orjson.dumps(list(entries)).decode()

    def transact(self, work: Callable[[sqlite3.Connection], Result], *, writes: bool) -> Result:
        try:
            return self._transact(work, writes)
        except StoreError as problem:
            if not _is_damaged(problem):
                raise self._error(problem) from problem
            self._set_aside(problem)
        try:
            return self._transact(work, writes)
        except StoreError as problem:
            raise self._error(problem) from problem

    def close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    def _transact(self, work: Callable[[sqlite3.Connection], Result], writes: bool) -> Result:
        with self._database.told():
            db = self._connection()
            db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

    def _connection(self) -> sqlite3.Connection:
        inode = self._inode_now()
        if self._db is None or inode != self._inode:
            self.close()
            with self._alone():
                self._make()
                self._inode = self._inode_now()
                self._db = self._opened()
                self._inode = self._inode_now()
        return self._db

    def _opened(self) -> sqlite3.Connection:
        db = self._database.connect()
        try:
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answer_head'").fetchall():
                begin_log(db, self.mark, "BLOB")
            check_version(db, self.name)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody opens the file while another one sets it aside: half of the old files would be taken for the new ones."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_name(f"{self._path.name}.lock").open("w")
        except OSError as problem:
            raise self._database.error(sqlite3.OperationalError(f"unable to open: {problem.strerror}")) from problem
        with lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as problem:
                    if time.monotonic() > deadline:
                        raise self._database.error(sqlite3.OperationalError("locked")) from problem
                time.sleep(0.005)
            yield

    def _make(self) -> None:
        """An empty file that only the group may read beside us, where there is none; SQLite gives its log the same mode. A file that is
        there is not opened: closing it would end the locks that other connections of this process hold."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))
        except FileExistsError:
            return
        except OSError as problem:
            raise self._database.error(sqlite3.OperationalError(f"unable to open: {problem.strerror}")) from problem

    def _inode_now(self) -> int:
        """0: there is no file."""
        try:
            return os.stat(self._path).st_ino  # noqa: PTH116 - before every call, and twice as fast
        except OSError:
            return 0

    def _set_aside(self, problem: StoreError) -> None:
        """Renames the file that could not be used, unless another process has done so. Raises `AnswerStoreError`."""
        self.close()
        aside = f"{self._path.name}.broken-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
        try:
            with self._alone():
                if self._inode_now() != self._inode:
                    return
                # The file itself last: a new one beside the old log would be taken for the database that the log is of.
                for ending in ("-wal", "-shm", ""):
                    old = self._path.with_name(self._path.name + ending)
                    if old.exists():
                        old.rename(self._path.with_name(aside + ending))
        except (OSError, StoreError) as failure:
            hint = f"remove {self._path} while Penstock is stopped: it is only a cache"
            raise AnswerStoreError(f"{problem}, and cannot be set aside: {failure}", hint) from failure
        self._log(
            f"warning: {problem}; it was set aside as {aside}, and a new one begun: answers and what was learned of them are gone\n"
            "hint: look at the disk that it lies on, then remove it: it holds questions and answers"
        )

    def _error(self, problem: StoreError) -> AnswerStoreError:
        return AnswerStoreError(str(problem), problem.hint.replace("[server] store", "[server] journal"))


def _is_damaged(problem: StoreError) -> bool:
    cause = problem.__cause__
    return isinstance(cause, sqlite3.DatabaseError) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
