"""The statement: every dollar of a window on exactly one line, and what each group bears of it.

Requests bear what providers bill for them and their share of the GPU-hours that worked for them. What nobody's request caused (idle,
unallocated and unused hardware, storage, network ...) stands in pots of its own, which a stated rule shares out or leaves where they are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from penstock.domain.ledger.entries import Allocated, Entry, FleetHour
from penstock.domain.ledger.grouping import PERIODS, SUMMED, matches_all
from penstock.domain.ledger.measures import CostQuery, Sums, is_cost_known, lines, unpriced_lines
from penstock.domain.ledger.recorded import accrued_cost, key_of_entry
from penstock.domain.ledger.sharing import Rule, share_pot
from penstock.finops.books import Books
from penstock.finops.fleet_costs import FleetWindow, Group
from penstock.finops.gaps import gaps
from penstock.finops.other_costs import OtherWeights, other_cost

Keys = tuple[str | None, ...]
PotKind = Literal["idle", "unallocated", "unused_commitment", "other"]
MEANING: dict[str, str] = {
    "api": "billed by providers",
    "gpu_work": "GPU-hours that worked for answers and recorded runs",
    "gpu_waste": "GPU-hours that worked for what brought no answer: failed, retried, aborted",
    "recorded": "recorded runs beside own fleets: rented GPUs, storage, transfer, engineering",
    "idle": "rented, running, and not at work",
    "unallocated": "the rest of a GPU that no slice covers",
    "unused_commitment": "committed to, paid for, and not running",
    "other": "neither tokens nor GPU-hours",
}


class Pot(msgspec.Struct, frozen=True, kw_only=True):
    """What no single request caused. `shared` of its `amount` stands in rows, the `rest` on this line; nano-USD."""

    kind: PotKind
    name: str
    """of the fleet, or of the `[costs.*]` table"""
    amount: int
    shared: int = 0
    known: bool = True
    """False: of some hours nobody knows the rent, and `amount` is that of the others"""

    @property
    def rest(self) -> int:
        return self.amount - self.shared


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One group and what it bears, nano-USD."""

    keys: Keys
    sums: Sums = msgspec.field(default_factory=Sums)
    allocated: Allocated = msgspec.field(default_factory=Allocated)
    recorded: int = 0
    worked: int = 0
    """requests that own fleets answered, calls that they made beside, and recorded runs on them"""
    shares: tuple[tuple[int, int], ...] = ()
    """(index of the pot, amount)"""

    @property
    def api(self) -> int:
        """Billed by providers."""
        return self.sums.cost - self.sums.provisional

    @property
    def usage(self) -> int:
        """What its own requests and runs caused: the usage basis."""
        return self.api + self.allocated.amount + self.allocated.wasted + self.recorded

    @property
    def shared(self) -> int:
        return sum(amount for _, amount in self.shares)

    @property
    def cost(self) -> int:
        """With its share of the pots: the allocation basis."""
        return self.usage + self.shared


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """Rows dearest first. Unfiltered, the costs of all rows and the rests of all pots add up to `total`, to the last nano-USD."""

    query: CostQuery
    rule: Rule
    rows: tuple[Row, ...]
    pots: tuple[Pot, ...]
    hours: tuple[FleetHour, ...]
    """of own fleets, whole or cut by the window"""
    unknown: tuple[str, ...]
    """what is in no figure because nobody knows it, a clause each"""
    since_ns: int
    until_ns: int
    """the window as far as the ledger reaches and time has passed"""

    @property
    def total(self) -> int:
        return sum(row.cost for row in self.rows) + sum(pot.rest for pot in self.pots)

    def lines(self) -> dict[str, int]:
        """Kind -> nano-USD, every dollar on one of them: they add up to what the rows and all pots amount to."""
        found = {
            "api": sum(row.api for row in self.rows),
            "gpu_work": sum(row.allocated.amount for row in self.rows),
            "gpu_waste": sum(row.allocated.wasted for row in self.rows),
            "recorded": sum(row.recorded for row in self.rows),
        }
        return found | {kind: sum(pot.amount for pot in self.pots if pot.kind == kind) for kind in MEANING if kind not in found}


def statement(books: Books, query: CostQuery, rule: Rule | None = None) -> Statement:
    """The statement of a window by the query's keys; `rule` as `[bill] idle` says when it is None.

    Pots are shared over all groups that the query's keys and filters tell apart, before the filters are applied: a filtered row is the
    row of a statement by these keys as well, and a filtered statement leaves the rests of the pots out.
    """
    rule = rule or books.settings.bill.idle
    asked = _asked(query, rule)
    since, until = books.clip(query.since_ns, query.until_ns)
    own = FleetWindow(books, query.since_ns, query.until_ns)
    groups = own.groups(asked.by, asked.where)
    entries = books.ledger.snapshot.costs.entries(query.since_ns, until)
    theirs = [(keys, entry) for entry in entries if (keys := _keys_of(entry, asked)) is not None]
    drafts = _Drafts(asked.by)
    _take_requests(books, asked, drafts, told_apart=bool(own.hours))
    for keys, allocated in groups:
        drafts.at(keys[:-1]).allocated.add(allocated)
    for keys, entry in theirs:
        drafts.take(keys, entry, query.since_ns, until)
    sharing = _Sharing(asked, rule, drafts)
    sharing.fleets(own.hours, groups)
    sharing.others(books, own, since, until)
    rows = _filtered(drafts.rows(), asked, query)
    asides_unpriced = sum(row.sums.asides_unpriced for row in rows)
    unpriced = sum(unpriced_lines(row.sums) for row in rows) - asides_unpriced, asides_unpriced
    return Statement(
        query=query,
        rule=rule,
        rows=rows,
        pots=() if query.where else tuple(sharing.pots),
        hours=own.hours,
        unknown=tuple(gaps(books, query, unpriced, own.hours, [entry for _, entry in theirs])),
        since_ns=since,
        until_ns=until,
    )


def whole(borne: Statement) -> Row:
    """All rows as one, without the rests of the pots."""
    draft = _Draft()
    for row in borne.rows:
        draft.add(row)
    return draft.row(())


def known(row: Row) -> bool:
    """Whether anything of what a group bears is known: not so where requests were answered and none has a price or ran on own hardware."""
    return is_cost_known(row.sums) or bool(row.allocated.entries)


def _asked(query: CostQuery, rule: Rule) -> CostQuery:
    """What stores are asked for: the groups that the query's keys and filters tell apart, all of them.

    With a key of which no sums are kept, only the groups that pass the filters: the others bear what is left of each pot as one, so
    that a share may differ by a nano-USD. Not for `even`, which counts them.
    """
    filters = [key for key, _ in query.where]
    if filters and rule != "even" and not {*query.by, *filters} <= {*SUMMED, *PERIODS}:
        return query
    by = (*query.by, *(key for key in filters if key not in query.by))
    return msgspec.structs.replace(query, by=tuple(dict.fromkeys(by)), where=())


class _Draft:
    """A row in the making."""

    def __init__(self) -> None:
        self.sums, self.allocated, self.recorded, self.worked = Sums(), Allocated(), 0, 0
        self.shares: list[tuple[int, int]] = []

    def add(self, row: Row) -> None:
        self.sums.add(row.sums)
        self.allocated.add(row.allocated)
        self.recorded += row.recorded
        self.worked += row.worked
        self.shares += row.shares

    def row(self, keys: Keys) -> Row:
        shares: dict[int, int] = {}
        for pot, amount in self.shares:
            shares[pot] = shares.get(pot, 0) + amount
        return Row(
            keys=keys, sums=self.sums, allocated=self.allocated, recorded=self.recorded, worked=self.worked,
            shares=tuple(sorted(shares.items())),
        )  # fmt: skip


class _Drafts:
    """Rows in the making, by their keys."""

    def __init__(self, by: tuple[str, ...]) -> None:
        self.by = by
        self._drafts: dict[Keys, _Draft] = {}

    def at(self, keys: Keys) -> _Draft:
        return self._drafts.setdefault(keys, _Draft())

    def take(self, keys: Keys, entry: Entry, since_ns: int, until_ns: int) -> None:
        """What a recorded cost comes to in a window, beside own fleets: one that lasts spreads evenly over its time."""
        amount, on_fleet = accrued_cost(entry, since_ns, until_ns), entry.fleet is not None
        if amount or on_fleet:
            draft = self.at(keys)
            draft.recorded += amount
            draft.worked += on_fleet

    def sums(self) -> list[tuple[Keys, Sums]]:
        return [(keys, draft.sums) for keys, draft in self._drafts.items()]

    def rows(self) -> Iterator[Row]:
        for keys, draft in self._drafts.items():
            yield draft.row(keys)


def _take_requests(books: Books, asked: CostQuery, drafts: _Drafts, *, told_apart: bool) -> None:
    """Puts the sums of requests into their rows. `told_apart`: those that own fleets answered are counted."""
    by = (*asked.by, "fleet") if told_apart and "fleet" not in asked.by else asked.by
    width, place = len(asked.by), by.index("fleet") if told_apart else None
    for keys, sums in books.ledger.sums(msgspec.structs.replace(asked, by=by)):
        draft = drafts.at(keys[:width])
        draft.sums.add(sums)
        if place is not None and keys[place] is not None:
            draft.worked += lines(sums) - sums.cache_hits


class _Sharing:
    """Makes the pots and shares them out. Other costs are shared whatever the rule for idle is: their own tables say by what."""

    def __init__(self, asked: CostQuery, rule: Rule, drafts: _Drafts) -> None:
        self.pots: list[Pot] = []
        self._asked, self._rule, self._drafts = asked, rule, drafts
        self._nobody = (None,) * (len(asked.by) + 1)
        """stands for all groups that the filters leave out"""

    def fleets(self, hours: Sequence[FleetHour], groups: Iterable[Group]) -> None:
        weights: dict[str, dict[Keys, int]] = {}
        for keys, each in groups:
            mine = weights.setdefault(keys[-1] or "", {})
            mine[keys[:-1]] = mine.get(keys[:-1], 0) + each.amount + each.wasted
        for pot, used in _fleet_pots(hours):
            self._pour(pot, weights.get(pot.name, {}), used, self._rule)

    def others(self, books: Books, own: FleetWindow, since_ns: int, until_ns: int) -> None:
        weights = OtherWeights(books, own, self._asked, self._drafts.sums())
        for name, cost in books.settings.costs.items():
            amount = other_cost(cost, since_ns, until_ns, books.settings.server.timezone)
            self._pour(Pot(kind="other", name=name, amount=amount), *weights.of(cost), "proportional")

    def _pour(self, pot: Pot, weights: Mapping[Keys, int], total: int, rule: Rule) -> None:
        """`total`: the weight of all groups, those included that the filters leave out."""
        if self._asked.where:
            weights = {**weights, self._nobody: max(0, total - sum(weights.values()))}
        shares = share_pot(pot.amount, weights, rule)
        shares.pop(self._nobody, None)
        for keys, amount in shares.items():
            if amount:
                self._drafts.at(keys).shares.append((len(self.pots), amount))
        self.pots.append(msgspec.structs.replace(pot, shared=sum(shares.values())))


def _fleet_pots(hours: Sequence[FleetHour]) -> Iterator[tuple[Pot, int]]:
    """Each pot with what all groups used of its fleet."""
    by_fleet: dict[str, list[FleetHour]] = {}
    for hour in hours:
        by_fleet.setdefault(hour.fleet, []).append(hour)
    for fleet, mine in by_fleet.items():
        used, known = sum(hour.used + hour.waste for hour in mine), all(hour.rent is not None for hour in mine)
        yield Pot(kind="idle", name=fleet, amount=sum(hour.idle for hour in mine), known=known), used
        if unallocated := sum(hour.unallocated for hour in mine):
            yield Pot(kind="unallocated", name=fleet, amount=unallocated, known=known), used
        if unused := sum(hour.unused for hour in mine):
            yield Pot(kind="unused_commitment", name=fleet, amount=unused, known=known), used


def _keys_of(entry: Entry, asked: CostQuery) -> Keys | None:
    """The group of a recorded cost, by its tags; None where the filters leave it out."""
    if not matches_all({key: key_of_entry(entry, key) for key, _ in asked.where}, asked.where):
        return None
    return tuple(key_of_entry(entry, key) for key in asked.by)


def _filtered(rows: Iterable[Row], asked: CostQuery, query: CostQuery) -> tuple[Row, ...]:
    """The rows that pass the query's filters, by its keys alone."""
    width, where = len(query.by), () if asked.where else query.where
    merged: dict[Keys, _Draft] = {}
    for row in rows:
        if matches_all(dict(zip(asked.by, row.keys, strict=True)), where):
            merged.setdefault(row.keys[:width], _Draft()).add(row)
    found = [draft.row(keys) for keys, draft in merged.items()]
    in_time = bool(query.by) and query.by[0] in PERIODS
    found.sort(key=lambda row: (0 if in_time else -row.cost, tuple((key is None, key or "") for key in row.keys)))
    return tuple(found)
