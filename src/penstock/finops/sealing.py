"""Seals old days: the records of a whole UTC day leave the store for the archive once nothing is left to be done to them."""

from collections.abc import Callable, Collection

from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery
from penstock.ports.archive import Archive, ArchiveError
from penstock.ports.usage_store import Snapshot, UsageStore

DAY_NS = 24 * HOUR_NS
BATCH_RECORDS = 20_000
"""deleted in one transaction: a delivery from the journal waits for no longer than that"""
RETRY_NS = 10 * 60 * 10**9
PATIENCE_NS = 30 * DAY_NS
"""a day whose hours nobody can allocate, for want of a price, is kept back for no longer than that"""
_DAY_HOURS = 24


class Sealer:
    """The controller calls `step` again and again; a stop at any point loses and doubles nothing."""

    def __init__(
        self,
        store: UsageStore,
        archive: Archive,
        after_s: float,
        log: Callable[[str], None],
        fleets: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`after_s`: age in seconds from which a day is sealed, a day at least. `fleets` tells whose hours must be allocated first."""
        self._store, self._archive, self._log, self._fleets = store, archive, log, fleets
        self._told: str | None = None
        self._after_ns = max(int(after_s * 10**9), DAY_NS)
        self._waiting_ns = 0

    def step(self, now_ns: int) -> int:
        """Writes one day into the archive, or deletes `BATCH_RECORDS` of what is written there. Returns how many records that
        were; 0: nothing is left to do, or nothing can be done now.

        Of an archive that fails is told once, and it is tried again later. Raises `StoreError` when the store fails.
        """
        if now_ns < self._waiting_ns:
            return 0
        try:
            done = self._step(now_ns)
        except ArchiveError as problem:
            if self._told != str(problem):
                self._log(f"error: no more is sealed, the store keeps it: {problem}\nhint: {problem.hint}")
            self._told, self._waiting_ns = str(problem), now_ns + RETRY_NS
            return 0
        if done:
            self._told = None
        return done

    def _step(self, now_ns: int) -> int:
        if forgotten := self._archive.forget(BATCH_RECORDS):
            return forgotten
        for day in self._archive.days(now_ns - self._after_ns):
            if self._settled(day, now_ns) and (part := self._archive.seal(day)) is not None:
                return part.records
        # Days end once a day; a late record, or an hour that is allocated late, can wait for as long as the next look.
        self._waiting_ns = now_ns + HOUR_NS
        return 0

    def _settled(self, day: int, now_ns: int) -> bool:
        """No request of the day is open, and the hours in which its requests worked (they may end on the next day) are allocated."""
        since_ns, until_ns = day * DAY_NS, (day + 1) * DAY_NS
        with self._store.snapshot() as snapshot:
            open_ones = (held for reservations in snapshot.open_reservations().values() for held in reservations)
            if any(since_ns <= held.admitted_ns < until_ns for held in open_ones):
                return False
            late = until_ns < now_ns - self._after_ns - PATIENCE_NS
            return late or not self._unallocated(snapshot, day, now_ns)

    def _unallocated(self, snapshot: Snapshot, day: int, now_ns: int) -> bool:
        """Hours are closed oldest first, so all are done up to a fleet's latest: what is missing before it has no price."""
        first, next_day = day * _DAY_HOURS, (day + 1) * _DAY_HOURS
        worked = snapshot.sums(CostQuery(since_ns=first * HOUR_NS, until_ns=next_day * HOUR_NS, by=("fleet",)))
        needed = {fleet for (fleet,), _ in worked} & set(self._fleets())
        if not needed:
            return False
        closed = {hour.fleet for hour in snapshot.costs.fleet_hours(next_day, now_ns // HOUR_NS + 1)}
        return bool(needed - closed)
