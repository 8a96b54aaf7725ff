"""The ledger's store with its archive behind it: what is asked of the one is answered from both."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from penstock.adapters.archive.duck import DuckReading
from penstock.adapters.archive.parts import DAY_NS, sealed_parts
from penstock.adapters.archive.places import Place
from penstock.adapters.archive.snapshot import ArchivedSnapshot
from penstock.adapters.stores.database import Database
from penstock.adapters.stores.snapshot import EmptySnapshot
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake, Snapshot, UsageStore


class ArchivedStore:
    """`ports.usage_store.UsageStore`. A record that comes a second time after its day was sealed is still taken in only once."""

    def __init__(self, store: UsageStore, database: Database, place: Place, *, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` tells the time in unix nanoseconds: no record of the last day is ever sealed."""
        self._store, self._database, self._place, self._clock = store, database, place, clock
        self.prepare, self.flush = store.prepare, store.flush
        self.forget_segment, self.close = store.forget_segment, store.close

    def take_in(self, intake: Intake) -> int:
        old = [record for record in intake.records if record.admitted_ns < self._clock() - DAY_NS]
        sealed = self._sealed_ids(old) if old else frozenset[str]()
        if sealed:
            intake = msgspec.structs.replace(intake, records=[record for record in intake.records if record.id not in sealed])
        return self._store.take_in(intake)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._database.reading() as reading:
            yield EmptySnapshot() if reading is None else ArchivedSnapshot(reading, self._place)

    def _sealed_ids(self, records: list[UsageRecord]) -> frozenset[str]:
        """Those of these records that stand in sealed files."""
        with self._database.reading() as reading:
            parts = [] if reading is None else sealed_parts(reading)
        instants = [record.admitted_ns for record in records]
        touched = [part for part in parts if part.first_ns <= max(instants) and min(instants) <= part.last_ns]
        if not touched:
            return frozenset()
        ids = msgspec.json.encode([record.id for record in records]).decode()
        asked = "SELECT id FROM records WHERE id IN (SELECT unnest(from_json(?::JSON, '[\"VARCHAR\"]')))"
        return frozenset(row[0] for row in DuckReading(self._place, touched).rows(asked, (ids,)))
