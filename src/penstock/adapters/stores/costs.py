"""The other rows of the ledger, written: hours of fleets, readings, recorded costs, closed months, price entries."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import msgspec

from penstock.adapters.stores.columns import MOST_INT, Row
from penstock.adapters.stores.cost_tables import (
    ALLOCATION,
    AMOUNTS,
    ENTRY,
    FORGET_HOURS,
    HOURLY,
    PUT_HOURS,
    add_up_hours,
    answer_marks,
    begin_hours,
)
from penstock.adapters.stores.cubes import SUMS_CUBE, name_of
from penstock.adapters.stores.sql import Dialect
from penstock.domain.ledger.entries import Allocation, Close, EngineHour, Entry, FleetHour
from penstock.domain.ledger.recorded import key_of_entry
from penstock.domain.prices.rates import Rates
from penstock.ports.cost_store import Mark
from penstock.ports.usage_store import StoreError

_encode = msgspec.json.Encoder().encode


class Writing(Protocol):
    """What `SqliteDatabase` and `PostgresDatabase` have in common for writers."""

    dialect: Dialect

    def writing(self) -> AbstractContextManager[Any]: ...

    def fill(self, db: Any, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None: ...

    def hold(self, db: Any) -> None: ...


class SqlCosts:
    """`ports.cost_store.CostStore` on a connection per call. Writing creates the schema when it is missing."""

    def __init__(self, database: Writing) -> None:
        self._database = database
        self._mark = database.dialect.mark

    def put_fleet_hours(self, hours: Sequence[FleetHour], allocations: Sequence[Allocation], answered: Sequence[Mark] = ()) -> None:
        """Raises `ValueError` when an allocation is of none of the hours, `StoreError` for figures beyond 64 bits."""
        put = {(each.hour, each.fleet): each for each in hours}
        split = sorted(allocations, key=lambda each: (each.hour, each.fleet, each.request_id))
        stray = next((each for each in split if (each.hour, each.fleet) not in put), None)
        if stray is not None:
            raise ValueError(f"{stray.request_id} bears a part of an hour that is not put: hour {stray.hour} of fleet {stray.fleet}")
        if any(abs(getattr(each, name) or 0) > MOST_INT for each in split for name in AMOUNTS):
            raise StoreError("a figure of an allocation is beyond 64 bits", "look at the prices of [fleets.*]: they are per hour, in USD")
        if not put and not answered:
            return
        dialect, fill = self._database.dialect, self._database.fill
        with self._database.writing() as db:
            self._database.hold(db)
            for statement in begin_hours(dialect):
                db.execute(statement)
            fill(db, "put_hours", PUT_HOURS, sorted(put))
            for statement in FORGET_HOURS:
                db.execute(statement)
            fill(db, "fleet_hours", HOURLY, [_hourly(each) for _, each in sorted(put.items())])
            fill(db, "allocations", ALLOCATION, map(_allocation, split))
            for statement in add_up_hours(dialect):
                db.execute(statement)
            db.cursor().executemany(answer_marks(dialect), [(mark, hour, fleet) for hour, fleet, mark in sorted(answered)])

    def put_engine_hours(self, readings: Sequence[EngineHour]) -> None:
        m = self._mark
        sql = (
            f"INSERT INTO engine_hours (hour, fleet, payload) VALUES ({m}, {m}, {m}) "
            "ON CONFLICT (hour, fleet) DO UPDATE SET payload = excluded.payload"
        )
        with self._database.writing() as db:
            db.cursor().executemany(sql, [_hourly(each) for each in readings])

    def put_entry(self, entry: Entry) -> bool:
        """When it was recorded does not make it another one: a caller may try again."""
        clean = storable_entry(entry)
        m, marks = self._mark, ", ".join([self._mark] * len(ENTRY))
        with self._database.writing() as db:
            if db.execute(f"SELECT 1 FROM records WHERE id = {m}", (clean.id,)).fetchall():
                raise StoreError(f"`{clean.id}` is a request, so no cost can be recorded under it", "give the entry an id of its own")
            row = (clean.id, _tags(clean), name_of(SUMS_CUBE, partial(key_of_entry, clean)), clean.since_ns, clean.until_ns)
            sql = f"INSERT INTO entries ({', '.join(ENTRY)}) VALUES ({marks}) ON CONFLICT (entry_id) DO NOTHING"
            if db.execute(sql, (*row, _encode(clean).decode())).rowcount > 0:
                return True
            [(payload,)] = db.execute(f"SELECT payload FROM entries WHERE entry_id = {m}", (clean.id,)).fetchall()
        there = msgspec.json.decode(payload, type=Entry)
        if msgspec.structs.replace(there, recorded_ns=clean.recorded_ns) != clean:
            raise StoreError(
                f"another cost was recorded as `{clean.id}`", "an entry is never changed: record the difference under an id of its own"
            )
        return False

    def put_close(self, close: Close) -> None:
        m = self._mark
        with self._database.writing() as db:
            sql = f"INSERT INTO closes (number, month, payload) VALUES ({m}, {m}, {m}) ON CONFLICT DO NOTHING"
            if db.execute(sql, (close.number, close.month, _encode(close).decode())).rowcount > 0:
                return
            taken = f"SELECT number, month FROM closes WHERE month = {m} OR number = {m}"
            number, month = db.execute(taken, (close.month, close.number)).fetchall()[0]
        raise StoreError(f"close {number} is there already: {month}", "a closed month stays as it is; later corrections are later entries")

    def put_price_entries(self, rates: Sequence[Rates]) -> None:
        m = self._mark
        sql = f"INSERT INTO price_entries (id, version, payload) VALUES ({m}, {m}, {m}) ON CONFLICT DO NOTHING"
        with self._database.writing() as db:
            db.cursor().executemany(sql, [(each.id, each.version, _encode(each).decode()) for each in rates])


def storable_entry(entry: Entry) -> Entry:
    """The nearest entry that every database takes: no NUL in the text of ids and tags."""
    tags = {_without_nul(key): _without_nul(value) for key, value in entry.tags.items()}
    return msgspec.structs.replace(entry, id=_without_nul(entry.id), tags=tags)


def _tags(entry: Entry) -> str:
    """The tags of an entry, and what its kind says where they say nothing."""
    words = {"workload_type": key_of_entry(entry, "workload_type")}
    return _encode(entry.tags | {key: word for key, word in words.items() if word is not None}).decode()


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _hourly(each: FleetHour | EngineHour) -> Row:
    return each.hour, each.fleet, _encode(each).decode()


def _allocation(each: Allocation) -> Row:
    return each.hour, each.fleet, each.request_id, each.amount, each.wasted, each.input_amount, each.gpu_ns, each.energy_mj
