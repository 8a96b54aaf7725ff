"""The other rows of the ledger, read beside sealed records: they stay in the store, the words of their requests may lie in the archive."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice

from penstock.adapters.archive.duck import DuckReading
from penstock.adapters.archive.places import Place
from penstock.adapters.stores.columns import MOST_INT
from penstock.adapters.stores.cost_tables import ALLOCATION
from penstock.adapters.stores.cost_view import SqlCostView
from penstock.adapters.stores.cubes import SUMS_CUBE
from penstock.adapters.stores.pieces import narrowed
from penstock.adapters.stores.reading import Reading
from penstock.domain.ledger.entries import HOUR_NS, LOOKBACK_NS, Allocated, Allocation, Close, EngineHour, Entry, FleetHour, Work
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.rates import Rates
from penstock.ports.archive import Part
from penstock.ports.cost_store import CostView, Mark

Keys = tuple[str | None, ...]
_OF_THE_HOUR = {"fleet", *PERIODS}
"""keys of an allocation that need no record"""
_BATCH_ROWS = 50_000


class ArchivedCosts:
    """`ports.cost_store.CostView` in the transaction of a snapshot, and the files that it says are sealed."""

    def __init__(self, held: CostView, reading: Reading, place: Place, sealed: Sequence[Part]) -> None:
        self._held, self._reading, self._place, self._sealed = held, reading, place, sealed

    def fleet_hours(self, since_hour: int, until_hour: int) -> list[FleetHour]:
        return self._held.fleet_hours(since_hour, until_hour)

    def engine_hours(self, since_hour: int, until_hour: int) -> list[EngineHour]:
        return self._held.engine_hours(since_hour, until_hour)

    def allocations(self, request_id: str) -> list[Allocation]:
        return self._held.allocations(request_id)

    def entries(self, since_ns: int, until_ns: int) -> list[Entry]:
        return self._held.entries(since_ns, until_ns)

    def late(self) -> list[Mark]:
        return self._held.late()

    def marks(self, since_hour: int, until_hour: int) -> list[Mark]:
        return self._held.marks(since_hour, until_hour)

    def closes(self) -> list[Close]:
        return self._held.closes()

    def price_entries(self) -> Mapping[tuple[str, str], Rates]:
        return self._held.price_entries()

    def works(self, fleets: Sequence[str], since_ns: int, until_ns: int) -> Iterator[Work]:
        held = self._held.works(fleets, since_ns, until_ns)
        sealed = self._touched(since_ns, until_ns)
        if not sealed:
            return held
        return merge(held, SqlCostView(DuckReading(self._place, sealed)).works(fleets, since_ns, until_ns), key=_place_of)

    def allocated(self, query: CostQuery) -> list[tuple[Keys, Allocated]]:
        """What the cubes are kept by is summed as ever. For other keys the store knows no words of sealed requests: what it sums
        up as unknown is put where the sealed records say.
        """
        groups = dict(self._held.allocated(query))
        query = narrowed(query)
        asked = {*query.by, *(key for key, _ in query.where)}
        sealed = self._touched(query.since_ns, query.until_ns)
        if sealed and not asked <= {*SUMS_CUBE.keys, *PERIODS}:
            held_as_unknown = all(key in _OF_THE_HOUR for key, _ in query.where)
            for keys, sums in self._told_by_files(query, sealed):
                groups.setdefault(keys, Allocated()).add(sums)
                if held_as_unknown:
                    unknown = tuple(value if key in _OF_THE_HOUR else None for key, value in zip(query.by, keys, strict=True))
                    _subtract(groups, unknown, sums)
        return list(groups.items())

    def _touched(self, since_ns: int, until_ns: int) -> list[Part]:
        """Parts whose requests may have worked in a window."""
        return [part for part in self._sealed if part.first_ns < until_ns and since_ns - LOOKBACK_NS <= part.last_ns]

    def _told_by_files(self, query: CostQuery, sealed: Sequence[Part]) -> list[tuple[Keys, Allocated]]:
        import pyarrow as pa

        reading = DuckReading(self._place, sealed)
        db = reading.connection()
        db.execute("CREATE TABLE put (hour BIGINT, fleet_paid VARCHAR, request_id VARCHAR, {})".format(", ".join(_AMOUNTS)))
        db.execute("CREATE TABLE entries (entry_id VARCHAR, entry_tags VARCHAR)")
        rows = self._allocations(query)
        kinds = [pa.string() if name in ("fleet_paid", "request_id") else pa.int64() for name in ALLOCATION]
        while batch := list(islice(rows, _BATCH_ROWS)):
            columns = [pa.array(values, kind) for values, kind in zip(zip(*batch, strict=True), kinds, strict=True)]
            db.register("batch", pa.table(columns, names=list(ALLOCATION)))
            db.execute("INSERT INTO put SELECT * FROM batch")
        db.execute("CREATE VIEW allocations AS SELECT * FROM put WHERE request_id IN (SELECT id FROM records)")
        return SqlCostView(reading).allocated(query)

    def _allocations(self, query: CostQuery) -> Iterator[Sequence[object]]:
        mark = self._reading.dialect.mark
        sql = f"SELECT {', '.join(ALLOCATION)} FROM allocations WHERE hour >= {mark} AND hour < {mark}"
        since, until = max(query.since_ns, -MOST_INT), min(query.until_ns, MOST_INT)
        return iter(self._reading.stream(sql, (-(-since // HOUR_NS), until // HOUR_NS)))


_AMOUNTS = tuple(f"{name} BIGINT" for name in ALLOCATION[3:])


def _subtract(groups: dict[Keys, Allocated], keys: Keys, sums: Allocated) -> None:
    """Takes sums out of a group, which disappears when nothing is left of it."""
    before = groups[keys]
    less = Allocated(*(getattr(before, name) - getattr(sums, name) for name in Allocated.__struct_fields__))
    if less == Allocated():
        del groups[keys]
    else:
        groups[keys] = less


def _place_of(work: Work) -> tuple[int, str]:
    return work.admitted_ns, work.id
