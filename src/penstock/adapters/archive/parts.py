"""The store's own account of what was sealed, in the database of the records: so every snapshot knows which of them it no longer holds.

What is sealed and what is still held changes in one transaction, and a reader of the store sees both or neither.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from penstock.adapters.stores.database import Database
from penstock.adapters.stores.reading import Reading
from penstock.ports.archive import ArchiveError, Part

DAY_NS = 86_400 * 10**9
_NAMES = Part.__struct_fields__


class Parts:
    """The table `sealed_parts`. All methods raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mark = database.dialect.mark
        self._integer, self._text = database.dialect.kinds["int"], database.dialect.kinds["text"]

    def all(self) -> list[Part]:
        """Every part, oldest day first."""
        with self._database.reading() as reading:
            return [] if reading is None else sealed_parts(reading)

    def enter(self, part: Part) -> bool:
        """Enters a part whose records the store still holds. False when they are not (any more) just those of the store's:
        a late record came in meanwhile, or another host was faster.
        """
        m = self._mark
        unfinished_parts = "SELECT count(*) FROM sealed_parts WHERE forgotten_ns <= last_ns"
        held = f"SELECT count(*), ({unfinished_parts}) FROM records WHERE admitted_ns >= {m} AND admitted_ns < {m}"
        with self._writing() as db:
            [(records, unfinished)] = db.execute(held, (part.day * DAY_NS, (part.day + 1) * DAY_NS)).fetchall()
            if records != part.records or unfinished:
                return False
            row = tuple(str(value) if name == "cost" else value for name, value in msgspec.structs.asdict(part).items())
            db.execute(f"INSERT INTO sealed_parts ({', '.join(_NAMES)}) VALUES ({', '.join([m] * len(_NAMES))})", row)
        return True

    def forget(self, part: Part, ids: Sequence[str], until_ns: int) -> bool:
        """Deletes records of a part from the store: all that it has from `part.forgotten_ns` on and before `until_ns`.

        False when another host has done so. Raises `ArchiveError` when the store does not hold just these: then nothing is changed.
        """
        m = self._mark
        moved = f"UPDATE sealed_parts SET forgotten_ns = {m} WHERE path = {m} AND forgotten_ns = {m}"
        with self._writing() as db:
            if not db.execute(moved, (until_ns, part.path, part.forgotten_ns)).rowcount:
                return False
            deleted = db.execute(*self._delete(ids)).rowcount
            if deleted != len(ids):
                raise ArchiveError(
                    f"the store holds {deleted} of {len(ids)} records that were sealed into {part.path}: none is deleted",
                    "restore the store or the archive from a backup of the same time; reports are right as long as both are left alone",
                )
        return True

    def _delete(self, ids: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        if self._mark == "?":
            return "DELETE FROM records WHERE id IN (SELECT value FROM json_each(?))", (msgspec.json.encode(ids).decode(),)
        return "DELETE FROM records WHERE id = ANY(%s)", (list(ids),)

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """A write transaction in which the table exists."""
        with self._database.writing() as db:
            for statement in self._table():
                db.execute(statement)
            yield db

    def _table(self) -> list[str]:
        integer, text = self._integer, self._text
        kinds = {"path": f"{text} PRIMARY KEY", "cost": text, "sha256": text}
        columns = ", ".join(f"{name} {kinds.get(name, integer)}{'' if name == 'path' else ' NOT NULL'}" for name in _NAMES)
        # held to the end, so that two hosts enter one after the other; readers do not mind
        lock = ["LOCK TABLE sealed_parts IN EXCLUSIVE MODE"] if self._mark != "?" else []
        return [f"CREATE TABLE IF NOT EXISTS sealed_parts ({columns})", *lock]


def sealed_parts(reading: Reading) -> list[Part]:
    """The parts as a snapshot sees them, oldest day first."""
    exists = (
        "SELECT 1 FROM sqlite_master WHERE name = 'sealed_parts'"
        if reading.dialect.mark == "?"
        else "SELECT 1 WHERE to_regclass('sealed_parts') IS NOT NULL"
    )
    if not reading.rows(exists):
        return []
    rows = reading.rows(f"SELECT {', '.join(_NAMES)} FROM sealed_parts ORDER BY first_ns, path")
    parts = [dict(zip(_NAMES, row, strict=True)) for row in rows]
    return [Part(**{**part, "cost": int(part["cost"])}) for part in parts]
