"""`ports.budget_book.BudgetBook` for the processes of one host: one SQLite file beside the journal.

Every call is one transaction of some 50 microseconds, done at once on the event loop: the calls of a process take effect in the order in
which they are made. The file is never synced. Of a killed process nothing is left half done; whoever starts a host removes the file
(`fresh_book`), so it need not outlive a crash of the machine: the book is then rebuilt from the ledger.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

import orjson

from penstock.domain.budgets.grants import Claim, decide
from penstock.ports.budget_book import BESIDE, LEDGER, Answer, Ask, BookError, Holder, Row

FILE: Final = "budgets.db"
BUSY_S: Final = 0.05
"""whoever waits longer for a transaction of others meets a process that was stopped in the middle of one"""
GONE_NS: Final = 24 * 3600 * 10**9
"""so long it is known that a holder has ended, should it be told once more"""
_LONGEST_PAUSE_S = 0.002
_WIDTH = 100
_MOST_IDS = 65_536
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS book (id INTEGER PRIMARY KEY, born_ns INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, opened_ns INTEGER)",
    "CREATE TABLE IF NOT EXISTS holders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, host TEXT, seen_ns INTEGER, gone_ns INTEGER)",
    "CREATE TABLE IF NOT EXISTS rows (account INTEGER NOT NULL, bucket INTEGER NOT NULL, holder INTEGER NOT NULL, amount INTEGER NOT NULL, "
    "PRIMARY KEY (account, bucket, holder)) WITHOUT ROWID",
    # A rolling window has 61 buckets of several holders each: their sums are kept, not made anew for every ask.
    "CREATE TABLE IF NOT EXISTS sums (account INTEGER NOT NULL, bucket INTEGER NOT NULL, amount INTEGER NOT NULL, "
    "PRIMARY KEY (account, bucket)) WITHOUT ROWID",
    "CREATE TRIGGER IF NOT EXISTS row_added AFTER INSERT ON rows BEGIN INSERT INTO sums VALUES (new.account, new.bucket, new.amount) "
    "ON CONFLICT (account, bucket) DO UPDATE SET amount = amount + excluded.amount; END",
    "CREATE TRIGGER IF NOT EXISTS row_changed AFTER UPDATE OF amount ON rows BEGIN "
    "UPDATE sums SET amount = amount + new.amount - old.amount WHERE account = new.account AND bucket = new.bucket; END",
    "CREATE TRIGGER IF NOT EXISTS row_removed AFTER DELETE ON rows BEGIN "
    "UPDATE sums SET amount = amount - old.amount WHERE account = old.account AND bucket = old.bucket; END",
)
_PUT, _ADD, _RAISE = (
    f"INSERT INTO rows VALUES (?, ?, ?, ?) ON CONFLICT (account, bucket, holder) DO UPDATE SET amount = {amount}"  # noqa: S608
    for amount in ("excluded.amount", "amount + excluded.amount", "max(amount, excluded.amount)")
)
_REMOVE = "DELETE FROM rows WHERE account = ? AND bucket = ? AND holder = ?"
_SEEN = "UPDATE holders SET seen_ns = ? WHERE id = ? AND host IS NOT NULL AND gone_ns IS NULL"
_KNOWN = "SELECT 1 FROM holders WHERE id = ?1 AND gone_ns IS NULL AND (host IS NOT NULL OR EXISTS (SELECT 1 FROM rows WHERE holder = ?1))"
Result = TypeVar("Result")


class LocalBook:
    """One connection, opened by the first call, and again when the file was removed: that is then a new book."""

    def __init__(self, journal_dir: str | Path) -> None:
        self._path = book_files(journal_dir)[0]
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._accounts: dict[str, int] = {}
        self._holders: dict[str, int] = {}

    async def ask(self, holder: str, asks: Sequence[Ask]) -> list[Answer]:
        def work(db: sqlite3.Connection) -> list[Answer]:
            me = self._holder(db, holder)
            accounts = [self._account(db, ask.account) for ask in asks]
            claims = _claims(db, me, accounts, asks)
            grants = decide(claims)
            raised = [
                (account, ask.bucket, me, grant.row)
                for account, ask, claim, grant in zip(accounts, asks, claims, grants, strict=True)
                if grant.row != claim.row
            ]
            db.executemany(_PUT, raised)
            db.execute(_SEEN, (time.time_ns(), me))
            return [Answer(grant.state, grant.row, grant.left) for grant in grants]

        if len({ask.account for ask in asks}) < len(asks):
            raise ValueError("an account is asked for twice at once")
        return self._transact(work)

    async def keep(self, holder: str, host: str, rows: Mapping[tuple[str, int], int]) -> None:
        def work(db: sqlite3.Connection) -> None:
            me = self._holder(db, holder)
            db.execute("UPDATE holders SET host = ?, seen_ns = ?, gone_ns = NULL WHERE id = ?", (host, time.time_ns(), me))
            keys = [(self._account(db, account), bucket, me) for account, bucket in rows]
            db.executemany(_REMOVE, [key for key, amount in zip(keys, rows.values(), strict=True) if not amount])
            db.executemany(_PUT, [(*key, amount) for key, amount in zip(keys, rows.values(), strict=True) if amount])

        self._transact(work)

    async def leave(self, holder: str, rows: Mapping[tuple[str, int], int]) -> None:
        self._transact(lambda db: self._end(db, holder, rows, leaves=True))

    async def born_ns(self) -> int:
        return self._transact(lambda db: int(db.execute("SELECT born_ns FROM book").fetchone()[0]))

    async def holders(self) -> list[Holder]:
        sql = "SELECT name, host, seen_ns FROM holders WHERE host IS NOT NULL AND gone_ns IS NULL ORDER BY name"
        return self._transact(lambda db: [Holder(*row) for row in db.execute(sql)])

    async def rows(self, accounts: Sequence[str] | None = None) -> list[Row]:
        sql = (
            "SELECT accounts.name, bucket, holders.name, amount FROM rows "
            "JOIN accounts ON accounts.id = account JOIN holders ON holders.id = holder"
        )
        if accounts is None:
            return self._transact(lambda db: [Row(*row) for row in db.execute(sql)])
        sql += " WHERE accounts.name IN (SELECT value FROM json_each(?))"
        wanted = orjson.dumps(list(accounts)).decode()
        return self._transact(lambda db: [Row(*row) for row in db.execute(sql, (wanted,))])

    async def opened(self) -> dict[str, int]:
        sql = "SELECT name, opened_ns FROM accounts WHERE opened_ns IS NOT NULL"
        return self._transact(lambda db: dict(db.execute(sql).fetchall()))

    async def open(self, account: str, spent: Mapping[int, int], holders: Sequence[str], at_ns: int) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            living = db.execute("SELECT name FROM holders WHERE host IS NOT NULL AND gone_ns IS NULL")
            if {name for (name,) in living} != set(holders):
                return False
            opened, ledger = self._account(db, account), self._holder(db, LEDGER)
            # A holder that has ended since the reading is in the row of the ledger, but not in what was read.
            db.executemany(_RAISE, [(opened, bucket, ledger, amount) for bucket, amount in spent.items() if amount])
            db.execute("UPDATE accounts SET opened_ns = coalesce(opened_ns, ?) WHERE id = ?", (at_ns, opened))
            return True

        return self._transact(work)

    async def retire(self, holder: str, spent: Mapping[tuple[str, int], int]) -> bool:
        return self._transact(lambda db: self._end(db, holder, spent, leaves=False))

    async def set_beside(self, account: str, amounts: Mapping[int, int]) -> None:
        def work(db: sqlite3.Connection) -> None:
            id, beside = self._account(db, account), self._holder(db, BESIDE)
            db.execute("DELETE FROM rows WHERE account = ? AND holder = ?", (id, beside))
            db.executemany(_PUT, [(id, bucket, beside, amount) for bucket, amount in amounts.items() if amount])

        self._transact(work)

    async def forget(self, before: Mapping[str, int]) -> None:
        def work(db: sqlite3.Connection) -> None:
            bounds = [(self._account(db, account), bucket) for account, bucket in before.items()]
            db.executemany("DELETE FROM rows WHERE account = ? AND bucket < ?", bounds)
            db.executemany("DELETE FROM sums WHERE account = ? AND bucket < ?", bounds)

        self._transact(work)

    async def close(self) -> None:
        with self._lock:
            self._drop()

    def _end(self, db: sqlite3.Connection, holder: str, spent: Mapping[tuple[str, int], int], *, leaves: bool) -> bool:
        """Moves a holder into the ledger's rows, once. One that leaves may be unknown: the book may be newer than its last call."""
        me, ledger, now_ns = self._holder(db, holder), self._holder(db, LEDGER), time.time_ns()
        gone = db.execute("SELECT 1 FROM holders WHERE id = ? AND gone_ns IS NOT NULL", (me,)).fetchone()
        if gone or not (leaves or db.execute(_KNOWN, (me,)).fetchone()):
            return False
        db.execute("DELETE FROM rows WHERE holder = ?", (me,))
        added = [(self._account(db, account), bucket, ledger, amount) for (account, bucket), amount in spent.items() if amount]
        db.executemany(_ADD, added)
        db.execute("UPDATE holders SET gone_ns = ? WHERE id = ?", (now_ns, me))
        db.execute("UPDATE holders SET gone_ns = NULL, host = NULL WHERE gone_ns < ?", (now_ns - GONE_NS,))
        return True

    def _account(self, db: sqlite3.Connection, name: str) -> int:
        return self._accounts.get(name) or _numbered(db, "accounts", name, self._accounts)

    def _holder(self, db: sqlite3.Connection, name: str) -> int:
        return self._holders.get(name) or _numbered(db, "holders", name, self._holders)

    def _transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """All of `work` or nothing. Raises `BookError`."""
        with self._lock:
            try:
                db = self._connection()
                _patiently(db, "BEGIN IMMEDIATE")
                try:
                    result = work(db)
                    db.execute("COMMIT")
                except BaseException:
                    self._accounts.clear()
                    self._holders.clear()
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
                return result
            except (sqlite3.Error, OSError) as problem:
                with suppress(sqlite3.Error):
                    self._drop()
                raise self._error(problem) from problem

    def _connection(self) -> sqlite3.Connection:
        """Two files of the same name would each give the whole limit away, so it is looked whether ours is still the one."""
        try:
            inode = os.stat(self._path).st_ino  # noqa: PTH116 - before every call, and twice as fast
        except FileNotFoundError:
            inode = 0
        if self._db is not None and inode == self._inode:
            return self._db
        self._drop()
        db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64)
        self._db = db
        _patiently(db, "PRAGMA synchronous = OFF")  # reads the file first, which another may be just making
        _patiently(db, "PRAGMA journal_mode = WAL")
        _patiently(db, "BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT OR IGNORE INTO book VALUES (1, ?)", (time.time_ns(),))
        db.execute("COMMIT")
        self._inode = self._path.stat().st_ino
        return db

    def _drop(self) -> None:
        self._accounts.clear()
        self._holders.clear()
        if self._db is not None:
            db, self._db = self._db, None
            db.close()

    def _error(self, problem: sqlite3.Error | OSError) -> BookError:
        code = problem.sqlite_errorcode & 0xFF if isinstance(problem, sqlite3.Error) and hasattr(problem, "sqlite_errorcode") else None
        text, hint = _REASONS.get(code, (f"failed: {problem}", "look at the disk that it lies on, and start Penstock again"))
        return BookError(f"the book of budgets {self._path} {text}", hint)


_REASONS: dict[int | None, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("is held by another process", "end the process that was stopped in the middle of a write to it"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "free space there"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "create its directory and make it writable for this user"),
    sqlite3.SQLITE_READONLY: ("is read-only", "make the file and its directory writable for this user"),
    sqlite3.SQLITE_NOTADB: ("is not a book", "stop Penstock, remove the file, and start it again: the book is rebuilt from the ledger"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "stop Penstock and start it again: the book is rebuilt from the ledger"),
}


def book_files(journal_dir: str | Path) -> tuple[Path, Path, Path]:
    """The file, and what SQLite keeps beside it."""
    path = Path(journal_dir) / FILE
    return path, path.with_name(f"{FILE}-wal"), path.with_name(f"{FILE}-shm")


def _claims(db: sqlite3.Connection, holder: int, accounts: Sequence[int], asks: Sequence[Ask]) -> list[Claim]:
    claims = []
    for start in range(0, len(asks), _WIDTH):
        some = asks[start : start + _WIDTH]
        given = [each for account, ask in zip(accounts[start:], some, strict=False) for each in (account, ask.bucket, ask.since)]
        found = db.execute(_standing(len(some)), (*given, holder)).fetchall()
        claims += [
            Claim(ask.limit, total or 0, row or 0, ask.kept, ask.need, ask.want, ask.fresh or opened is not None)
            for ask, (total, row, opened) in zip(some, found, strict=True)
        ]
    return claims


@lru_cache(_WIDTH)
def _standing(count: int) -> str:
    """For so many (account, bucket, since) and a holder: the sum of what counts, the holder's own row, when it was opened; in order."""
    return (
        f"WITH asked (account, bucket, since) AS (VALUES {', '.join(['(?, ?, ?)'] * count)}) SELECT "  # noqa: S608
        "(SELECT sum(amount) FROM sums WHERE account = asked.account AND bucket >= asked.since), "
        "(SELECT amount FROM rows WHERE account = asked.account AND bucket = asked.bucket AND holder = ?), "
        "(SELECT opened_ns FROM accounts WHERE id = asked.account) FROM asked"
    )


def _numbered(db: sqlite3.Connection, table: str, name: str, known: dict[str, int]) -> int:
    """The number of a name in `table`, which is kept in `known`: numbers are never given again."""
    db.execute(f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", (name,))  # noqa: S608
    [(id,)] = db.execute(f"SELECT id FROM {table} WHERE name = ?", (name,))  # noqa: S608
    if len(known) >= _MOST_IDS:
        known.clear()
    known[name] = int(id)
    return known[name]


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Runs it once others have let go. Not by SQLite's own timeout: that sleeps far longer than a transaction takes."""
    deadline, pause = time.monotonic() + BUSY_S, 0.00005
    while True:
        try:
            db.execute(statement)
            return
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)
