"""From the journal into the store: every record once, and every reservation that nothing followed booked whole."""

import time
from collections.abc import Callable, Iterator, Sequence

from penstock.domain.ledger.interrupted import interrupted
from penstock.domain.ledger.record import Reservation, UsageRecord
from penstock.ports.journal import Chunk, JournalReader
from penstock.ports.usage_store import Intake, Snapshot, StoreError, UsageStore

GRACE_S = 60.0
DELIVERY_ENTRIES = 5000

Held = tuple[str, Reservation]
"""writer and reservation"""


class _Delivery:
    """What one transaction will hold: chunks gathered until there are enough of them."""

    def __init__(self) -> None:
        self.entries = 0
        self.records: list[UsageRecord] = []
        self.opened: dict[str, Held] = {}
        self.settled: list[str] = []
        self.offsets: dict[str, int] = {}
        self.finished: list[str] = []
        self.gone: list[str] = []
        self.damaged = 0

    def intake(self) -> Intake:
        return Intake(
            records=self.records,
            opened=[held for _, held in self.opened.values()],
            settled=self.settled,
            offsets=self.offsets,
            writers={id: writer for id, (writer, _) in self.opened.items()},
        )


class Intaker:
    """Takes the journal in, pass by pass. One at a time for a journal; not for use by several threads at once.

    `on_records` hears of every record once, after it is in the store. `clock` (seconds, monotonic) times the grace during
    which a segment that is wholly taken in still stands, for readers that looked at the store just before.
    """

    def __init__(
        self,
        reader: JournalReader,
        store: UsageStore,
        on_records: Callable[[Sequence[UsageRecord]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        grace_s: float = GRACE_S,
    ) -> None:
        self._reader, self._store, self._on_records = reader, store, on_records
        self._clock, self._grace_s = clock, grace_s
        self._offsets: dict[str, int] | None = None
        self._open: dict[str, Held] = {}
        self._gone: set[str] = set()
        self._finished: dict[str, float] = {}
        self._uncertain = False
        self._counted: dict[str, int] = {}
        self.caught_up = False
        """the last pass took in all that stood on the journal when it began"""
        self.lag = 0
        """entries seen on the journal that the store has not taken"""
        self.damaged = 0
        """lines that could not be read, since the start"""

    def step(self) -> int:
        """One pass over the journal; returns how many entries it took in.

        Raises `StoreError` (nothing is lost: the next step takes the same again) or `JournalError`.
        """
        try:
            offsets = self._load()
            taken = self._pass(offsets)
        except StoreError:
            self.caught_up = False
            self._uncertain = True
            self._count_lag()
            raise
        self._uncertain = False
        self.caught_up, self.lag = True, 0
        self._counted = dict(offsets)
        self._discard_old(offsets)
        return taken

    def _load(self) -> dict[str, int]:
        if self._offsets is None:
            self._store.prepare()
            with self._store.snapshot() as snapshot:
                self._open = _held(snapshot)
                self._offsets = snapshot.offsets()
        return self._offsets

    def _pass(self, offsets: dict[str, int]) -> int:
        taken, delivery = 0, _Delivery()
        for chunk in self._reader.read(dict(offsets)):
            self._gather(chunk, delivery)
            if delivery.entries >= DELIVERY_ENTRIES:
                taken += self._deliver(delivery, offsets)
                delivery = _Delivery()
        return taken + self._deliver(delivery, offsets)

    def _gather(self, chunk: Chunk, delivery: _Delivery) -> None:
        opened, records = delivery.opened, delivery.records
        for entry in chunk.entries:
            if isinstance(entry, UsageRecord):
                records.append(entry)
                # After a failure the delivery before may have been committed after all, with this one's reservation open.
                if (opened.pop(entry.id, None) is None and entry.id in self._open) or self._uncertain:
                    delivery.settled.append(entry.id)
            else:
                opened[entry.id] = (chunk.writer, entry)
        delivery.entries += len(chunk.entries)
        delivery.damaged += chunk.damaged
        if chunk.end > chunk.start:
            delivery.offsets[chunk.segment] = chunk.end
        if chunk.closed:
            delivery.finished.append(chunk.segment)
        if chunk.gone and chunk.writer not in self._gone:
            self._book(chunk.writer, delivery)

    def _book(self, writer: str, delivery: _Delivery) -> None:
        """The writer is gone and all it wrote is read: what it still holds open will never be settled by a record."""
        delivery.gone.append(writer)
        settled = set(delivery.settled)
        earlier = [id for id, (of, _) in self._open.items() if of == writer and id not in settled]
        here = [id for id, (of, _) in delivery.opened.items() if of == writer]
        delivery.records += [interrupted(self._open[id][1]) for id in earlier if id not in delivery.opened]
        delivery.records += [interrupted(delivery.opened.pop(id)[1]) for id in here]
        delivery.settled += earlier
        if self._uncertain:
            delivery.settled += here

    def _deliver(self, delivery: _Delivery, offsets: dict[str, int]) -> int:
        if delivery.records or delivery.opened or delivery.settled or delivery.offsets:
            self._store.take_in(delivery.intake())
        offsets.update(delivery.offsets)
        for id in delivery.settled:
            self._open.pop(id, None)
        self._open.update(delivery.opened)
        self._gone.update(delivery.gone)
        self.damaged += delivery.damaged
        now = self._clock()
        for segment in delivery.finished:
            self._finished.setdefault(segment, now)
        if delivery.records:
            self._on_records(delivery.records)
        return delivery.entries

    def _discard_old(self, offsets: dict[str, int]) -> None:
        latest = self._clock() - self._grace_s
        old = [segment for segment, since in self._finished.items() if since <= latest]
        if old:
            self._store.flush()
        for segment in old:
            self._reader.discard(segment)
            self._store.forget_segment(segment)
            del self._finished[segment]
            offsets.pop(segment, None)

    def _count_lag(self) -> None:
        """Counts what is new on the journal since the last count, so that a long outage is not read again and again."""
        for chunk in self._reader.read(dict(self._counted)):
            self.lag += len(chunk.entries)
            self._counted[chunk.segment] = chunk.end


def pending(reader: JournalReader, snapshot: Snapshot) -> Iterator[UsageRecord]:
    """Records on the journal that the snapshot does not hold yet, each id once; what a dead writer left open is among them,
    booked as the next intake will book it. Raises `JournalError`.
    """
    held, seen = _held(snapshot), set[str]()
    for chunk in reader.read(snapshot.offsets()):
        for entry in chunk.entries:
            if isinstance(entry, Reservation):
                held[entry.id] = (chunk.writer, entry)
                continue
            held.pop(entry.id, None)
            if entry.id not in seen:
                seen.add(entry.id)
                yield entry
        if chunk.gone:
            for id in [id for id, (writer, _) in held.items() if writer == chunk.writer]:
                yield interrupted(held.pop(id)[1])


def _held(snapshot: Snapshot) -> dict[str, Held]:
    return {held.id: (writer, held) for writer, reservations in snapshot.open_reservations().items() for held in reservations}
