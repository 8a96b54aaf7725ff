"""Closes the hours of own fleets: a while after its end an hour's split is stored, and done again when something arrives late."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from penstock.config.settings import Settings
from penstock.domain.ledger.entries import HOUR_NS, Allocation, FleetHour
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.hardware import Steps
from penstock.finops.allocating import FleetAt, Rig, run_of, stretches
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.ports.cost_store import CostStore, CostView, Mark
from penstock.ports.usage_store import Snapshot, UsageStore

GRACE_NS = 600 * 10**9
"""after an hour's end, for requests that are still under way"""
RUNS_WAIT_NS = 24 * HOUR_NS
"""so long an hour waits for a Prometheus or a file that alone knows when its units ran; then its rent is unknown until they tell"""
METERS_WAIT_NS = HOUR_NS
"""so long it waits for meters that only tell how busy its units were"""
BATCH_HOURS = 24
BATCH_SHARES = 50_000
"""written in one transaction, or a single hour: a delivery from the journal waits for no longer than that"""
AHEAD_HOURS = 72
"""open hours that one step looks at: more than can be waiting for meters"""
PAUSE_NS = 60 * 10**9
"""between looks for what came late and for runs that somebody recorded, while nothing else is to be done"""
DAY_NS = 24 * HOUR_NS
PoolAt = tuple[int, int]
"""(hour, index of a pool)"""


class _Split(msgspec.Struct):
    """What a batch came to."""

    done: set[PoolAt] = msgspec.field(default_factory=set)
    hours: list[FleetHour] = msgspec.field(default_factory=list)
    shares: list[Allocation] = msgspec.field(default_factory=list)


class Allocator:
    """The controller calls `step` again and again. What is done is what is stored, so a stop at any point loses nothing."""

    def __init__(
        self, settings: Settings, store: UsageStore, costs: CostStore, runs: Callable[[str], Steps | None] = lambda fleet: None
    ) -> None:
        """`runs` tells when a fleet ran whose `runs` names a file, as it is now. Raises `UnitError` for prices that cannot be read."""
        self._settings, self._store, self._costs, self._runs = settings, store, costs, runs
        self._rig = Rig(settings, runs)
        self._metered = settings.telemetry.prometheus is not None
        self._sealed_after_ns = None if settings.archive.url is None else int(settings.archive.after * 10**9)
        self._open: set[PoolAt] = set()
        self._listed: int | None = None
        """the hour up to which `_open` knows what is not stored; None: that is to be looked at from the ledger's begin on"""
        self._begin: int | None = None
        """the ledger's first hour, as far as it is known"""
        self._known_runs: set[str] = set()
        self._again_ns = 0

    def observe_readings(self, readings: Sequence[FleetAt]) -> None:
        """Hears of every (fleet, hour) that meters told of: what was closed without them is open again."""
        for fleet, hour in readings:
            self._reopen(self._rig.pools_with(fleet), (hour,))

    def step(self, now_ns: int) -> int:
        """Closes up to `BATCH_HOURS` hours that follow each other, oldest first. Returns how many (of pools); 0: nothing is due.

        A closed month stays as it is, and so do hours whose records are sealed. Raises `StoreError`, with nothing lost.
        """
        until = (now_ns - GRACE_NS) // HOUR_NS
        if not self._rig.pools or (self._listed == until and now_ns < self._again_ns and not self._due(until)):
            return 0
        self._again_ns = now_ns + PAUSE_NS
        with self._store.snapshot() as snapshot:
            begin_ns = Ledger(snapshot).begin
            if begin_ns is None:
                return 0
            self._list(snapshot.costs, begin_ns, until)
            self._find_runs(snapshot.costs, begin_ns // HOUR_NS, until)
            late = snapshot.costs.late()
            for hour, fleet, _ in late:
                self._reopen(self._rig.pools_with(fleet), (hour,))
            self._leave(snapshot.costs, begin_ns // HOUR_NS, now_ns)
            batch = self._batch(snapshot.costs, until, now_ns)
            split = self._split(snapshot, begin_ns, batch, now_ns) if batch else _Split()
            put = self._to_put(snapshot.costs, split, late) if batch else set()
            marks = snapshot.costs.marks(min(batch), max(batch) + 1) if put else []
        waiting = self._open - split.done
        answered = {mark for mark in late if not any((mark[0], pool) in waiting for pool in self._rig.pools_with(mark[1]))}
        answered |= {mark for mark in marks if (mark[1], mark[0]) in put}
        if put or answered:
            hours = [each for each in split.hours if (each.fleet, each.hour) in put]
            self._costs.put_fleet_hours(hours, [each for each in split.shares if (each.fleet, each.hour) in put], sorted(answered))
        self._open -= split.done
        return len(split.done)

    def _reopen(self, pools: Iterable[int], hours: Iterable[int]) -> None:
        """Those that are not over yet are as good as open: they are passed over until then."""
        self._open |= {(hour, pool) for hour in hours for pool in pools}

    def _due(self, until: int) -> set[PoolAt]:
        return {each for each in self._open if each[0] < until}

    def _list(self, view: CostView, begin_ns: int, until: int) -> None:
        """Adds to the open hours what is not stored, once in each hour."""
        begin, all_pools = begin_ns // HOUR_NS, range(len(self._rig.pools))
        if self._begin is not None and begin < self._begin:
            self._listed = None
        if self._rig.look() or self._listed is None:
            for fleet, hour in self._rig.known_better(view.fleet_hours(begin, until), view):
                for name in self._rig.beside([fleet]):
                    self._reopen(self._rig.pools_with(name), (hour,))
        if self._listed == until:
            return
        since = begin if self._listed is None else self._listed
        standing = view.fleet_hours(since, until)
        stored = {(each.fleet, each.hour) for each in standing}
        self._open |= {(hour, pool) for hour in range(since, until) for pool in self._rig.missing(hour, stored)}
        # An hour that began with the ledger is not whole any more once an older record has come.
        self._reopen(all_pools, [each.hour for each in standing if each.since_ns > max(begin_ns, each.hour * HOUR_NS)])
        self._begin, self._listed = begin, until

    def _find_runs(self, view: CostView, begin: int, until: int) -> None:
        """Opens the hours of recorded runs that bear nothing of them yet: runs are recorded when they are over, by anybody."""
        for entry in view.entries(begin * HOUR_NS, until * HOUR_NS):
            run = None if entry.id in self._known_runs else run_of(entry)
            self._known_runs.add(entry.id)
            if run is not None:
                borne = {share.hour for share in view.allocations(run.id)}
                hours = range(max(begin, run.since_ns // HOUR_NS), min(until, -(-run.until_ns // HOUR_NS)))
                self._reopen(self._rig.pools_with(run.fleet), [hour for hour in hours if hour not in borne])

    def _leave(self, view: CostView, begin: int, now_ns: int) -> None:
        """Takes from the open hours those of closed months, those whose records may have left the store, and those before the ledger."""
        closed = [(close.since_ns, close.until_ns) for close in view.closes()] if self._open else []
        frozen = {hour for hour, _ in self._open if any(since < (hour + 1) * HOUR_NS and hour * HOUR_NS < until for since, until in closed)}
        if self._sealed_after_ns is not None:
            old = [hour for hour, _ in self._open if hour * HOUR_NS < now_ns - self._sealed_after_ns + DAY_NS]
            frozen |= {each.hour for each in view.fleet_hours(min(old), max(old) + 1)} if old else set()
        self._open = {each for each in self._open if each[0] not in frozen and each[0] >= begin}

    def _batch(self, view: CostView, until: int, now_ns: int) -> dict[int, list[int]]:
        """The pools of the oldest hours that follow each other and need wait no longer."""
        open_ones = sorted(self._due(until))
        ahead = sorted({hour for hour, _ in open_ones})[:AHEAD_HOURS]
        if not ahead:
            return {}
        told = {(each.fleet, each.hour) for each in view.engine_hours(ahead[0], ahead[-1] + 1)} if self._metered else set()
        due: dict[int, list[int]] = {}
        for hour, pool in open_ones:
            if hour <= ahead[-1] and not self._waits(pool, hour, told, now_ns):
                due.setdefault(hour, []).append(pool)
        first, last = next(stretches(sorted(due)), (0, 0))
        return {hour: due[hour] for hour in range(first, min(last, first + BATCH_HOURS))}

    def _waits(self, pool: int, hour: int, told: set[FleetAt], now_ns: int) -> bool:
        """Some fleet of the pool, or one whose slices lie on the same cards, may still be told of."""
        fleets, age = self._settings.fleets, now_ns - (hour + 1) * HOUR_NS
        names = self._rig.beside(self._rig.present(pool, hour))
        if age < RUNS_WAIT_NS and any(self._rig.unread(name, hour) for name in names):
            return True
        if not self._metered:
            return False
        silent = [fleets[name].runs for name in names if (name, hour) not in told]
        return any(age < (RUNS_WAIT_NS if runs == "prometheus" else METERS_WAIT_NS) for runs in silent)

    def _split(self, snapshot: Snapshot, begin_ns: int, batch: Mapping[int, list[int]], now_ns: int) -> _Split:
        """The batch, or its first hours when they come to `BATCH_SHARES`."""
        first, last = min(batch), max(batch) + 1
        books = Books(self._settings, Ledger(snapshot), now_ns, self._runs)
        split = _Split()
        pairs = self._rig.split(books, first, last, begin_ns, last * HOUR_NS, batch.__getitem__)
        for hour, (hours, shares) in zip(range(first, last), pairs, strict=False):
            split.hours += hours
            split.shares += shares
            split.done |= {(hour, pool) for pool in batch[hour]}
            if len(split.shares) >= BATCH_SHARES:
                break
        return split

    def _to_put(self, view: CostView, split: _Split, late: Sequence[Mark]) -> set[FleetAt]:
        """Hours of pools of which one fleet is not stored as it came out now, or is late: an answer and its split stand together."""
        changed = self._changed(view, split) | {(fleet, hour) for hour, fleet, _ in late}
        pools = {(hour, pool) for fleet, hour in changed for pool in self._rig.pools_with(fleet)}
        return {at for each in split.hours if (each.hour, self._rig.pools_with(each.fleet)[0]) in pools for at in [(each.fleet, each.hour)]}

    def _changed(self, view: CostView, split: _Split) -> set[FleetAt]:
        """The hours that are not stored as they came out now."""
        first, last = min(split.done)[0], max(split.done)[0] + 1
        standing = {(each.fleet, each.hour): each for each in view.fleet_hours(first, last)}
        if not standing:
            return {(each.fleet, each.hour) for each in split.hours}
        query = CostQuery(since_ns=first * HOUR_NS, until_ns=last * HOUR_NS, by=("fleet", "hour"))
        borne = {keys: (sums.entries, sums.amount, sums.wasted, sums.input_amount) for keys, sums in view.allocated(query)}
        counted: dict[FleetAt, list[int]] = {}
        for share in split.shares:
            sums = counted.setdefault((share.fleet, share.hour), [0, 0, 0, 0])
            for index, value in enumerate((1, share.amount, share.wasted, share.input_amount)):
                sums[index] += value
        nothing = (0, 0, 0, 0)
        found = set()
        for each in split.hours:
            at = (each.fleet, each.hour)
            label = datetime.fromtimestamp(each.hour * 3_600, UTC).strftime(PERIODS["hour"])
            before = borne.get((each.fleet, label), nothing)
            if standing.get(at) != each or before != tuple(counted.get(at, nothing)):
                found.add(at)
        return found
