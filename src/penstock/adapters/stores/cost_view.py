"""The other rows of the ledger, read in the transaction of a snapshot; the same code over SQLite and PostgreSQL."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from penstock.adapters.stores.columns import MOST_INT
from penstock.adapters.stores.cost_tables import ALLOCATION, select_allocated, select_works
from penstock.adapters.stores.pieces import label, narrowed
from penstock.adapters.stores.reading import Reading
from penstock.domain.ledger.entries import HOUR_NS, LOOKBACK_NS, Allocated, Allocation, Close, EngineHour, Entry, FleetHour, Work
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import WastedWork
from penstock.domain.prices.rates import Rates
from penstock.ports.cost_store import Mark

Keys = tuple[str | None, ...]

_fleet_hour = msgspec.json.Decoder(FleetHour).decode
_engine_hour = msgspec.json.Decoder(EngineHour).decode
_entry = msgspec.json.Decoder(Entry).decode
_close = msgspec.json.Decoder(Close).decode
_rates = msgspec.json.Decoder(Rates).decode
_wasted = msgspec.json.Decoder(tuple[WastedWork, ...]).decode


class SqlCostView:
    """`ports.cost_store.CostView` over one read transaction."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._mark = reading.dialect.mark

    def fleet_hours(self, since_hour: int, until_hour: int) -> list[FleetHour]:
        return [_fleet_hour(payload) for payload in self._hourly("fleet_hours", since_hour, until_hour)]

    def engine_hours(self, since_hour: int, until_hour: int) -> list[EngineHour]:
        return [_engine_hour(payload) for payload in self._hourly("engine_hours", since_hour, until_hour)]

    def allocated(self, query: CostQuery) -> list[tuple[Keys, Allocated]]:
        query, width = narrowed(query), len(query.by)
        groups: dict[Keys, Allocated] = {}
        for (sql, parameters), level in select_allocated(self._reading.dialect, query):
            for row in self._reading.rows(sql, parameters):
                keys = tuple(_key(key, level, value) for key, value in zip(query.by, row, strict=False))
                halves = [int(value) for value in row[width:]]
                sums = Allocated(*((upper << 32) + lower for upper, lower in zip(halves[::2], halves[1::2], strict=True)))
                if (before := groups.get(keys)) is None:
                    groups[keys] = sums
                else:
                    before.add(sums)
        return list(groups.items())

    def allocations(self, request_id: str) -> list[Allocation]:
        id, m = request_id.replace("\0", "\ufffd"), self._mark
        since, until = self._hours_of(id)
        columns = ", ".join(f"a.{name}" for name in ALLOCATION)
        rows = self._reading.rows(
            f"SELECT {columns} FROM fleet_hours f JOIN allocations a ON a.hour = f.hour AND a.fleet_paid = f.fleet AND a.request_id = {m} "
            f"WHERE f.hour >= {m} AND f.hour <= {m} ORDER BY a.hour, a.fleet_paid",
            (id, since, until),
        )
        return [
            Allocation(
                fleet=fleet, hour=hour, request_id=id, amount=amount, wasted=wasted, input_amount=put_in, gpu_ns=gpu, energy_mj=energy
            )
            for hour, fleet, id, amount, wasted, put_in, gpu, energy in rows
        ]

    def works(self, fleets: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Work]:
        names = set(fleets)
        if not names or since_ns >= until_ns:
            return
        sql, parameters = select_works(self._reading.dialect, len(names), LOOKBACK_NS, since_ns, until_ns)
        rows = self._reading.stream(sql, [*parameters, *sorted(names)])
        for id, admitted_ns, duration_us, fleet, model, put_in, out, answered, text in rows:
            tries = _wasted(text) if text else ()
            if fleet not in names and not any(each.fleet in names for each in tries):
                continue
            wasted = tuple((each.fleet, *_worked(each)) for each in tries)
            yield Work(
                id=id, admitted_ns=admitted_ns, duration_us=duration_us, fleet=fleet, model=model, input=put_in, output=out,
                answered=bool(answered), wasted=wasted,
            )  # fmt: skip

    def entries(self, since_ns: int, until_ns: int) -> list[Entry]:
        m = self._mark
        sql = f"SELECT payload FROM entries WHERE since_ns < {m} AND (until_ns > {m} OR since_ns >= {m}) ORDER BY since_ns, entry_id"
        since = max(since_ns, -MOST_INT)
        return [_entry(payload) for (payload,) in self._reading.rows(sql, (min(until_ns, MOST_INT), since, since))]

    def late(self) -> list[Mark]:
        return self._marks("mark <> answered", ())

    def marks(self, since_hour: int, until_hour: int) -> list[Mark]:
        return self._marks(f"hour >= {self._mark} AND hour < {self._mark}", (since_hour, until_hour))

    def _marks(self, condition: str, parameters: Sequence[int]) -> list[Mark]:
        sql = f"SELECT hour, fleet, mark FROM worked_hours WHERE {condition} ORDER BY hour, fleet"
        return [(hour, fleet, mark) for hour, fleet, mark in self._reading.rows(sql, parameters)]

    def closes(self) -> list[Close]:
        return [_close(payload) for (payload,) in self._reading.rows("SELECT payload FROM closes ORDER BY number")]

    def price_entries(self) -> Mapping[tuple[str, str], Rates]:
        rows = self._reading.rows("SELECT id, version, payload FROM price_entries ORDER BY id, version")
        return {(id, version): _rates(payload) for id, version, payload in rows}

    def _hourly(self, table: str, since_hour: int, until_hour: int) -> Iterator[str]:
        m = self._mark
        sql = f"SELECT payload FROM {table} WHERE hour >= {m} AND hour < {m} ORDER BY hour, fleet"
        for (payload,) in self._reading.rows(sql, (max(since_hour, -MOST_INT), min(until_hour, MOST_INT))):
            yield payload

    def _hours_of(self, id: str) -> tuple[int, int]:
        """The hours that a request or a recorded cost may bear a part of; all of them where neither is known by that id."""
        found = self._reading.rows(f"SELECT admitted_ns, duration_us FROM records WHERE id = {self._mark}", (id,))
        if found:
            [(admitted_ns, duration_us)] = found
            return admitted_ns // HOUR_NS, (admitted_ns + (duration_us or 0) * 1000) // HOUR_NS
        found = self._reading.rows(f"SELECT since_ns, until_ns FROM entries WHERE entry_id = {self._mark}", (id,))
        if found:
            [(since_ns, until_ns)] = found
            return since_ns // HOUR_NS, until_ns // HOUR_NS
        return -MOST_INT, MOST_INT


def _key(key: str, level: str, value: str | int | None) -> str | None:
    if key not in PERIODS or value is None:
        return None if value is None else str(value)
    return label(key, int(value))


def _worked(each: WastedWork) -> tuple[int, int]:
    tokens = each.tokens
    return tokens.uncached_input + tokens.cache_write, tokens.visible_output + tokens.reasoning


class EmptyCostView:
    """What a store tells of costs that nobody has written to yet."""

    def fleet_hours(self, since_hour: int, until_hour: int) -> list[FleetHour]:
        return []

    def engine_hours(self, since_hour: int, until_hour: int) -> list[EngineHour]:
        return []

    def allocated(self, query: CostQuery) -> list[tuple[Keys, Allocated]]:
        return []

    def allocations(self, request_id: str) -> list[Allocation]:
        return []

    def works(self, fleets: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Work]:
        return iter(())

    def entries(self, since_ns: int, until_ns: int) -> list[Entry]:
        return []

    def late(self) -> list[Mark]:
        return []

    def marks(self, since_hour: int, until_hour: int) -> list[Mark]:
        return []

    def closes(self) -> list[Close]:
        return []

    def price_entries(self) -> Mapping[tuple[str, str], Rates]:
        return {}
