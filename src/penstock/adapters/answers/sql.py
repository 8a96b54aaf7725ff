"""`ports.answer_store.AnswerStore` in a database that speaks SQL.

A place is given under a lock of the one row of `answer_head`, which is held until the commit: so no event becomes visible after one of a
higher place, and a reader that goes on from the last place it saw misses none.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from penstock.adapters.answers.following import Following, Page, new_log, place_of, position_in
from penstock.adapters.answers.packing import Packed, answer_of, instant, packed
from penstock.ports.answer_store import AnswerStoreError, Event, Numbered
from penstock.ports.cache import CachedAnswer

VERSION: Final = 1
ENTRY, VOUCHED, OTHER = 1, 2, 0
"""kinds of events, as the tables have them; only the first two have an `entry`"""
Result = TypeVar("Result")


class Answers(Protocol):
    """A database: its parameter mark, and a transaction on it, whose errors are `AnswerStoreError`s."""

    mark: str
    name: str
    among: str
    """SQL: whether a column `entry` is among those of one parameter, made by `listed`"""

    def listed(self, entries: Sequence[str]) -> Any: ...

    def transact(self, work: Callable[[Any], Result], *, writes: bool) -> Result:
        """Tables in place."""

    def close(self) -> None: ...


def tables(blob: str) -> list[str]:
    """Statements that create all there is. `blob` is the type of bytes."""
    return [
        "CREATE TABLE answer_head (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, log BIGINT NOT NULL, last BIGINT NOT NULL, "
        "entries BIGINT NOT NULL, bytes BIGINT NOT NULL)",
        "CREATE TABLE answer_log (place BIGINT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, entry TEXT, kind INTEGER NOT NULL, "
        f"at_ns BIGINT NOT NULL, bytes BIGINT NOT NULL, body {blob} NOT NULL)",
        "CREATE INDEX answer_log_entry ON answer_log (entry, kind) WHERE entry IS NOT NULL",
        "CREATE INDEX answer_log_other ON answer_log (at_ns, place) WHERE entry IS NULL",
        f"CREATE TABLE answer_bodies (entry TEXT PRIMARY KEY, bytes BIGINT NOT NULL, body {blob} NOT NULL)",
        f"CREATE TABLE answer_states (name TEXT PRIMARY KEY, place BIGINT NOT NULL, body {blob} NOT NULL)",
    ]


def begin_log(db: Any, mark: str, blob: str) -> None:
    """Creates the tables, within a transaction that nobody else does so in."""
    for statement in tables(blob):
        db.execute(statement)
    db.execute(f"INSERT INTO answer_head VALUES (1, {VERSION}, {mark}, 0, 0, 0)", (new_log(),))


def check_version(db: Any, name: str) -> None:
    """Raises `AnswerStoreError` for tables of a newer penstock."""
    [(version,)] = db.execute("SELECT version FROM answer_head WHERE id = 1").fetchall()
    if version > VERSION:
        raise AnswerStoreError(
            f"the answers in {name} were kept by a newer penstock (version {version}; this one knows {VERSION})",
            "upgrade penstock on this host",
        )


class SqlAnswers:
    """From any thread: calls wait for each other."""

    def __init__(self, database: Answers) -> None:
        self._database, self._following, self._lock = database, Following(), threading.Lock()
        self._sql = _Statements(database.mark, database.among)

    def append(self, events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]] = ()) -> None:
        rows = packed(events, answers)
        if rows:
            self._transact(lambda db: self._put(db, rows), writes=True)

    def since(self, place: int, most: int = 1000) -> Sequence[Numbered]:
        return self._following.since(place, most, self._page)

    @property
    def unreadable(self) -> int:
        return self._following.unreadable

    def answer(self, entry: str) -> CachedAnswer | None:
        found = self._transact(lambda db: db.execute(self._sql.answer, (entry,)).fetchall(), writes=False)
        return answer_of(bytes(found[0][0])) if found else None

    def keep_state(self, name: str, place: int, state: bytes) -> None:
        def work(db: Any) -> None:
            db.execute(self._sql.keep_state, (name, self._position(db, place), state))

        self._transact(work, writes=True)

    def state(self, name: str) -> tuple[int, bytes] | None:
        found = self._transact(lambda db: db.execute(self._sql.state, (name,)).fetchall(), writes=False)
        return (place_of(found[0][0], found[0][1]), bytes(found[0][2])) if found else None

    def trim(self, place: int, before_ns: int) -> int:
        def work(db: Any) -> int:
            return int(db.execute(self._sql.trim, (self._position(db, place), instant(before_ns))).rowcount)

        return self._transact(work, writes=True)

    def size(self) -> tuple[int, int]:
        sql = "SELECT entries, bytes FROM answer_head WHERE id = 1"
        [(entries, held)] = self._transact(lambda db: db.execute(sql).fetchall(), writes=False)
        return int(entries), int(held)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _transact(self, work: Callable[[Any], Result], *, writes: bool) -> Result:
        with self._lock:
            return self._database.transact(work, writes=writes)

    def _page(self, position: int, most: int) -> Page:
        rows = self._transact(lambda db: db.execute(self._sql.since, (position, most)).fetchall(), writes=False)
        return Page(rows[0][0], rows[0][1], [(at, bytes(body)) for _, _, at, body in rows if at is not None])

    def _position(self, db: Any, place: int) -> int:
        [(log, last)] = db.execute("SELECT log, last FROM answer_head WHERE id = 1").fetchall()
        return position_in(log, last, place)

    def _put(self, db: Any, rows: Sequence[Packed]) -> None:
        [(last,)] = db.execute(self._sql.advance, (len(rows),)).fetchall()
        entries = held = 0
        for place, row in enumerate(rows, last - len(rows) + 1):
            if db.execute(self._sql.is_there, (row.digest,)).fetchall():
                continue
            kind, entry, size = OTHER, None, 0
            if row.kind == "removal":
                gone, freed = self._remove(db, row.entries)
                entries, held = entries - gone, held - freed
            elif row.kind == "entry":
                kind, entry, size = ENTRY, row.entries[0], len(row.body)
                before = db.execute(self._sql.replace, (entry, ENTRY)).fetchall()
                entries, held = entries + 1 - len(before), held + size - _sum(before)
            elif row.kind == "vouched" and db.execute(self._sql.has, row.entries).fetchall():
                kind, entry = VOUCHED, row.entries[0]
                db.execute(self._sql.replace, (entry, VOUCHED))
            db.execute(self._sql.put, (place, row.digest, entry, kind, row.at_ns, size, row.body))
            if row.answer is not None:
                before = db.execute(self._sql.drop_answer, (entry,)).fetchall()
                db.execute(self._sql.put_answer, (entry, len(row.answer), row.answer))
                held += len(row.answer) - _sum(before)
        db.execute(self._sql.weigh, (entries, held))

    def _remove(self, db: Any, entries: Sequence[str]) -> tuple[int, int]:
        """How many there were of them, and the bytes of all that is gone."""
        listed = (self._database.listed(entries),)
        events = db.execute(self._sql.remove, listed).fetchall()
        answers = db.execute(self._sql.remove_answers, listed).fetchall()
        return sum(kind == ENTRY for _, kind in events), _sum(events) + _sum(answers)


def _sum(rows: Sequence[Sequence[int]]) -> int:
    """Of the first column."""
    return sum(row[0] for row in rows)


class _Statements:
    """With the parameter mark of a database."""

    def __init__(self, m: str, among: str) -> None:
        self.advance = f"UPDATE answer_head SET last = last + {m} WHERE id = 1 RETURNING last"
        self.weigh = f"UPDATE answer_head SET entries = entries + {m}, bytes = bytes + {m} WHERE id = 1"
        self.is_there = f"SELECT 1 FROM answer_log WHERE digest = {m}"
        self.has = f"SELECT 1 FROM answer_log WHERE entry = {m} AND kind = {ENTRY}"
        marks = ", ".join([m] * 7)
        self.put = f"INSERT INTO answer_log (place, digest, entry, kind, at_ns, bytes, body) VALUES ({marks})"
        self.put_answer = f"INSERT INTO answer_bodies (entry, bytes, body) VALUES ({m}, {m}, {m})"
        self.replace = f"DELETE FROM answer_log WHERE entry = {m} AND kind = {m} RETURNING bytes"
        self.drop_answer = f"DELETE FROM answer_bodies WHERE entry = {m} RETURNING bytes"
        self.remove = f"DELETE FROM answer_log WHERE {among} RETURNING bytes, kind"
        self.remove_answers = f"DELETE FROM answer_bodies WHERE {among} RETURNING bytes"
        self.since = (
            "SELECT head.log, head.last, later.place, later.body FROM answer_head AS head LEFT JOIN "
            f"(SELECT place, body FROM answer_log WHERE place > {m} ORDER BY place LIMIT {m}) AS later ON true "
            "WHERE head.id = 1 ORDER BY later.place"
        )
        self.answer = f"SELECT body FROM answer_bodies WHERE entry = {m}"
        self.keep_state = (
            f"INSERT INTO answer_states (name, place, body) VALUES ({m}, {m}, {m}) ON CONFLICT (name) DO UPDATE "
            "SET place = excluded.place, body = excluded.body WHERE excluded.place >= answer_states.place"
        )
        self.state = f"SELECT log, place, body FROM answer_states, answer_head WHERE name = {m}"
        self.trim = f"DELETE FROM answer_log WHERE entry IS NULL AND place <= {m} AND at_ns < {m}"
