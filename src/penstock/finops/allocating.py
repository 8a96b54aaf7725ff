"""The rent of own fleets, hour by hour, split over what ran on them: on the fly for any piece of time that is not stored yet."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import merge
from itertools import chain

from penstock.config.fleets import holdings, pools
from penstock.config.settings import Settings
from penstock.domain.ledger.allocation import Piece, Rented, Run, allocate, engine_of
from penstock.domain.ledger.entries import HOUR_NS, LOOKBACK_NS, Allocation, EngineHour, Entry, FleetHour, Work
from penstock.domain.ledger.record import REPLAYED, UsageRecord, own_tokens
from penstock.domain.prices.hardware import Steps, begins_ns, ran_ns, rent_gaps, rents
from penstock.domain.prices.schedule import ALWAYS
from penstock.finops.books import Books
from penstock.ports.cost_store import CostView

CARRIED_HOURS = 2
"""an hour that Prometheus was not asked about yet has as many units as it told of last, within so many hours"""
SHORT = 6
"""hours in a row that are few enough to be kept with all that they hold"""
FleetAt = tuple[str, int]
"""(fleet, hour)"""


def pieces(books: Books, since_ns: int, until_ns: int, stored: Collection[FleetAt]) -> Iterator[tuple[FleetHour, list[Allocation]]]:
    """Every (fleet, hour) of the window that is not `stored`, with what each request and recorded run bears of it; by hour.

    Hours at the window's edges are cut there, the one that runs at the books' `now`; the first one begins with the ledger. A fleet
    is there from its first price on.
    """
    begin, end = books.clip(since_ns, until_ns)
    rig = Rig(books.settings, books.runs)
    if begin >= end or not rig.pools:
        return
    known = Counter(hour for name, hour in stored if name in rig.holdings)
    all_hours = range(begin // HOUR_NS, -(-end // HOUR_NS))
    missing = [hour for hour in all_hours if known[hour] < len(rig.holdings) and rig.missing(hour, stored)]
    for first, last in stretches(missing):
        for hours, shares in _split(books, rig, first, last, begin, end, stored):
            borne: dict[str, list[Allocation]] = {each.fleet: [] for each in hours}
            for share in shares:
                borne[share.fleet].append(share)
            yield from ((each, borne[each.fleet]) for each in hours if (each.fleet, each.hour) not in stored)


def _split(
    books: Books, rig: "Rig", first: int, last: int, begin: int, end: int, stored: Collection[FleetAt]
) -> Iterable[tuple[list[FleetHour], list[Allocation]]]:
    """A stretch of hours; a short one is split once for all who read these books."""
    wanted = {hour: tuple(rig.missing(hour, stored)) for hour in range(first, last)}
    made = rig.split(books, first, last, begin, end, wanted.__getitem__, carried=True)
    if last - first > SHORT:
        return made
    stretch = max(begin, first * HOUR_NS), min(end, last * HOUR_NS), tuple(wanted.values())
    if stretch not in books.running:
        books.running[stretch] = list(made)
    return books.running[stretch]


def stretches(hours: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Hours in order -> (first, behind the last) of those that follow each other."""
    first = last = None
    for hour in hours:
        if first is None or last is None or hour != last:
            if first is not None and last is not None:
                yield first, last
            first = hour
        last = hour + 1
    if first is not None and last is not None:
        yield first, last


def work_of(record: UsageRecord) -> Work | None:
    """What allocation needs of a record; None of one that no own hardware worked for. The same that stores read."""
    if record.outcome == "refused" or record.cache in REPLAYED or (record.fleet is None and not record.wasted_work):
        return None
    tokens = own_tokens(record)
    tries = ((each.fleet, each.tokens) for each in record.wasted_work)
    return Work(
        id=record.id,
        admitted_ns=record.admitted_ns,
        duration_us=record.duration_us,
        fleet=record.fleet,
        model=record.model,
        input=tokens.uncached_input + tokens.cache_write,
        output=tokens.output,
        answered=record.outcome == "ok",
        wasted=tuple((fleet, tried.uncached_input + tried.cache_write, tried.output) for fleet, tried in tries),
    )


def run_of(entry: Entry) -> Run | None:
    """A recorded run on an own fleet; None of one that took no GPU time of any."""
    hours = Fraction(entry.until_ns - entry.since_ns, HOUR_NS)
    if entry.fleet is None or hours <= 0:
        return None
    units = Fraction(entry.gpus) if entry.gpu_hours is None else Fraction(entry.gpu_hours) / hours
    if units <= 0:
        return None
    lost = min(Fraction(1), Fraction(entry.lost_gpu_hours) / (units * hours))
    return Run(id=entry.id, fleet=entry.fleet, units=units, since_ns=entry.since_ns, until_ns=entry.until_ns, lost=lost)


class Rig:
    """The fleets of the config, compiled once, and the law over any stretch of hours. Raises `UnitError`."""

    def __init__(self, settings: Settings, runs: Callable[[str], Steps | None]) -> None:
        """`runs` tells when a fleet ran whose `runs` names a file, as it is now."""
        self.holdings = holdings(settings)
        self.pools = tuple(pool.fleets for pool in pools(settings))
        self._fleets = settings.fleets
        self._pool_of = {name: index for index, names in enumerate(self.pools) for name in names}
        self._begins = {name: begins_ns(held) for name, held in self.holdings.items()}
        self._names = {name: model.name for name, model in settings.models.items() if model.name is not None}
        self._read = runs
        self._runs: dict[str, Steps | None] = {}
        self.look()

    def look(self) -> bool:
        """Reads when fleets ran from their files; whether that is something else than before."""
        before = self._runs
        self._runs = {name: self._read(name) for name, fleet in self._fleets.items() if fleet.runs not in (None, "prometheus")}
        return self._runs != before

    def present(self, pool: int, hour: int) -> list[str]:
        """The fleets of a pool that are there in an hour."""
        return [name for name in self.pools[pool] if (self._begins[name] or ALWAYS) < (hour + 1) * HOUR_NS]

    def missing(self, hour: int, stored: Collection[FleetAt]) -> list[int]:
        """The pools of which a fleet is not stored for an hour."""
        indices = range(len(self.pools))
        return [pool for pool in indices if any((name, hour) not in stored for name in self.present(pool, hour))]

    def pools_with(self, fleet: str) -> list[int]:
        """The pool of a fleet; none of one that the config does not know."""
        return [self._pool_of[fleet]] if fleet in self._pool_of else []

    def beside(self, fleets: Collection[str]) -> set[str]:
        """These fleets, and those whose slices lie on the same cards."""
        cards = {self._fleets[name].card for name in fleets} - {None}
        return {*fleets, *(name for name, fleet in self._fleets.items() if fleet.card in cards)}

    def unread(self, fleet: str, hour: int) -> bool:
        """Whether the file that says when a fleet ran does not reach over an hour."""
        if fleet not in self._runs:
            return False
        steps = self._runs[fleet]
        return steps is None or ran_ns(steps, hour * HOUR_NS, (hour + 1) * HOUR_NS) is None

    def known_better(self, standing: Iterable[FleetHour], view: CostView) -> Iterator[FleetAt]:
        """Of stored hours, those whose rent was unknown and is not now, and those in which by its file other units ran than before."""
        unknown: dict[Piece, list[str]] = {}
        for each in standing:
            if each.rent is None and each.fleet in self.holdings:
                unknown.setdefault(Piece(each.since_ns, each.until_ns), []).append(each.fleet)
                continue
            steps = self._runs.get(each.fleet)
            if steps is not None and ran_ns(steps, each.since_ns, each.until_ns) not in (None, each.units_ns):
                yield each.fleet, each.hour
        if not unknown:
            return
        hours = [piece.hour for piece in unknown]
        readings = {(each.fleet, each.hour): each for each in view.engine_hours(min(hours), max(hours) + 1)}
        for piece, names in unknown.items():
            rented = self._rented(piece, readings, carried=False)
            yield from ((name, piece.hour) for name in names if name in rented and rented[name].rent is not None)

    def split(
        self,
        books: Books,
        first: int,
        last: int,
        since_ns: int,
        until_ns: int,
        wanted: Callable[[int], Collection[int]],
        *,
        carried: bool = False,
    ) -> Iterator[tuple[list[FleetHour], list[Allocation]]]:
        """One pair for every hour in [first, last), cut to [since, until), of the pools that are `wanted` of it.

        `carried`: hours that Prometheus was not asked about yet go on as it told last.
        """
        view = books.ledger.snapshot.costs
        readings = {(each.fleet, each.hour): each for each in view.engine_hours(first - CARRIED_HOURS, last)}
        runs = [run for entry in view.entries(first * HOUR_NS, last * HOUR_NS) if (run := run_of(entry)) is not None]
        works = self._works(books, first * HOUR_NS, last * HOUR_NS)
        under_way: list[list[Work]] = [[] for _ in self.pools]
        coming = next(works, None)
        for hour in range(first, last):
            end, oldest = (hour + 1) * HOUR_NS, hour * HOUR_NS - LOOKBACK_NS
            under_way = [[work for work in some if work.admitted_ns >= oldest] for some in under_way]
            while coming is not None and coming.admitted_ns < end:
                for pool in self._touched(coming):
                    under_way[pool].append(coming)
                coming = next(works, None)
            piece = Piece(max(since_ns, hour * HOUR_NS), min(until_ns, end))
            if piece.since_ns < piece.until_ns:
                yield self._hour(piece, wanted(hour), readings, under_way, runs, carried)
            under_way = [[work for work in some if work.admitted_ns + work.duration_us * 1000 > end] for some in under_way]

    def _hour(
        self,
        piece: Piece,
        wanted: Collection[int],
        readings: Mapping[FleetAt, EngineHour],
        works: Sequence[Sequence[Work]],
        runs: Sequence[Run],
        carried: bool,
    ) -> tuple[list[FleetHour], list[Allocation]]:
        rented = self._rented(piece, readings, carried)
        hours: list[FleetHour] = []
        shares: list[Allocation] = []
        for pool in wanted:
            fleets = {name: rented[name] for name in self.present(pool, piece.hour)}
            if fleets:
                some = allocate(piece, fleets, works[pool], [run for run in runs if run.fleet in fleets])
                hours += some[0]
                shares += some[1]
        return hours, shares

    def _rented(self, piece: Piece, readings: Mapping[FleetAt, EngineHour], carried: bool) -> dict[str, Rented]:
        """All fleets at once, for slices of several pools may lie on the same cards."""
        names = list(chain.from_iterable(self.present(pool, piece.hour) for pool in range(len(self.pools))))
        ran = {name: self._steps(name, piece.hour, readings, carried) for name in names}
        held = [(self.holdings[name], ran[name][0]) for name in names]
        paid = rents(held, piece.since_ns, piece.until_ns)
        gaps = rent_gaps(held, piece.since_ns, piece.until_ns) if None in paid.values() else {}
        found = {}
        for name in names:
            reading = readings.get((name, piece.hour))
            notes = (f"rent unknown: {gaps[name]}" if name in gaps else "", ran[name][1], "" if reading is None else reading.note)
            found[name] = Rented(
                rent=paid[name],
                planned=self.holdings[name].planned,
                engine=None if reading is None else engine_of(reading, self._names),
                note="; ".join(filter(None, notes)),
            )
        return found

    def _steps(self, name: str, hour: int, readings: Mapping[FleetAt, EngineHour], carried: bool) -> tuple[Steps | None, str]:
        """When the units of a fleet ran in an hour (None: not known), and a note."""
        source = self._fleets[name].runs
        if source is None:
            return self.holdings[name].steps, ""
        if source != "prometheus":
            return self._runs[name], "" if self._runs[name] is not None else f"`{source}` tells nothing of it, or cannot be read"
        reading = readings.get((name, hour))
        if reading is not None:
            return reading.runs, "" if reading.runs is not None else "Prometheus did not tell how many units ran"
        for back in range(1, CARRIED_HOURS + 1 if carried else 0):
            before = readings.get((name, hour - back))
            if before is not None and before.runs:
                return ((hour * HOUR_NS, before.runs[-1][1]),), "as many units as Prometheus told of last"
        return None, "Prometheus was not asked yet" if carried else "Prometheus did not answer"

    def _works(self, books: Books, since_ns: int, until_ns: int) -> Iterator[Work]:
        """Of the store and of the journal's tail, oldest first."""
        tail = (work_of(record) for record in books.ledger.pending if since_ns - LOOKBACK_NS <= record.admitted_ns < until_ns)
        pending = sorted((work for work in tail if work is not None and self._touched(work)), key=_place)
        return merge(books.ledger.snapshot.costs.works(tuple(self.holdings), since_ns, until_ns), pending, key=_place)

    def _touched(self, work: Work) -> set[int]:
        pools = {self._pool_of[name] for name, _, _ in work.wasted if name in self._pool_of}
        if work.fleet is not None and work.fleet in self._pool_of:
            pools.add(self._pool_of[work.fleet])
        return pools


def _place(work: Work) -> tuple[int, str]:
    return work.admitted_ns, work.id
