"""Groups of charges beside what earlier imports recorded: which entries are new, known, to be corrected, or stand against the bill.

An entry is never changed. A restated bill is told, and recorded as a difference only where that was asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from penstock.domain.bills.invoice import USD, Amount
from penstock.domain.bills.selecting import Selection
from penstock.domain.ledger.entries import Close, Entry
from penstock.domain.units import usd
from penstock.finops.bills.importing import FREE, Gathered, Key, Wanted, entry_id, nano, selection_id
from penstock.finops.books import Books
from penstock.finops.recording import LONGEST_NAME, Told, entry_of
from penstock.finops.window import iso
from penstock.ports.bill_source import ReadReport
from penstock.ports.cost_store import CostStore
from penstock.ports.documents import Document, Documents

State = Literal["new", "correction", "known", "restated", "retagged", "overlapping", "closed"]
STATES: tuple[State, ...] = get_args(State)
AGAINST: Mapping[State, tuple[str, str]] = {
    "restated": (
        "the ledger has another amount from an earlier import",
        "an entry is never changed: add `--correct`, and the differences are recorded as entries of their own",
    ),
    "retagged": ("the ledger has other tags from an earlier import", "import it with the same `--tag` as before"),
    "overlapping": (
        "the ledger has the same service and time by another `--where` or `--tags-from`, so charges may be counted twice",
        "use the same options as before, or a `--where` that asks the same column for other values",
    ),
    "closed": (
        "its month is closed, and stays as it is",
        "record what it comes to in an open month: `penstock record cost --name ... --usd ...`",
    ),
}
"""states in which nothing is written -> why, and what can be done"""
_SELECTION = "bill-selection"


class Item(msgspec.Struct, frozen=True):
    """One group: its entry (of a correction, the difference), and what earlier imports recorded of it. Money is nano-USD."""

    state: State
    entry: Entry
    billed: int
    recorded: int | None = None


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every charge: an item, or left out by (reason, currency)."""

    items: tuple[Item, ...]
    gathered: Gathered
    left_out: Mapping[tuple[str, str], Amount]
    files: tuple[ReadReport, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every row of every file was read."""
        return all(report.complete for report in self.files)

    @property
    def entries(self) -> list[Entry]:
        """Those to write; none of files that are not whole, for the rest of them would be another amount."""
        return [item.entry for item in self.items if item.state in ("new", "correction")] if self.complete else []

    @property
    def against(self) -> dict[State, list[Item]]:
        """What the ledger stands against, by state."""
        found = {state: [item for item in self.items if item.state == state] for state in AGAINST}
        return {state: items for state, items in found.items() if items}

    def sums(self) -> Iterator[tuple[State, int, Decimal]]:
        """(state, entries, USD of the bill; of corrections, the differences) of all states that occur."""
        for state in STATES:
            items = [item for item in self.items if item.state == state]
            if items:
                yield state, len(items), usd(sum(item.entry.other_cost for item in items))


def plan(
    books: Books, gathered: Gathered, wanted: Wanted, files: Sequence[ReadReport], documents: Callable[[], Documents], *, correct: bool
) -> Imported:
    """Compares groups with the entries of earlier imports. Raises `RecordingError` for tags that cannot be, `StoreError`."""
    earlier = _Earlier(books, gathered, wanted.selection, documents)
    closes = books.ledger.snapshot.costs.closes()
    left_out = dict(gathered.left_out)
    items: list[Item] = []
    untagged = 0
    for key in sorted(gathered.groups):
        amount = gathered.groups[key]
        billed = nano(amount.cost)
        if not billed and not earlier.of(key):
            free = left_out.setdefault((FREE, USD), Amount())
            free.charges, free.cost = free.charges + amount.charges, free.cost + amount.cost
            continue
        entry = _entry(key, wanted, billed, books)
        untagged += any(not entry.tags.get(tag) for tag in books.settings.tags.required)
        items.append(_item(entry, billed, earlier, key, closes, correct=correct))
    notes = tuple(_notes(books, gathered, items, untagged))
    return Imported(items=tuple(items), gathered=gathered, left_out=left_out, files=tuple(files), notes=notes)


def write(found: Imported, wanted: Wanted, costs: CostStore, documents: Documents, now_ns: int) -> Iterator[Entry]:
    """Records the entries one after another, and tells each. Whoever is interrupted imports again: what is recorded stays, and is known.

    Raises `StoreError`.
    """
    if found.entries:
        body = msgspec.json.encode(wanted.selection).decode()
        documents.add(Document(_SELECTION, selection_id(wanted.selection), now_ns, body))
    for entry in found.entries:
        costs.put_entry(entry)
        yield entry


class _Earlier:
    """Entries of earlier imports that lie in the time of the groups."""

    def __init__(self, books: Books, gathered: Gathered, selection: Selection, documents: Callable[[], Documents]) -> None:
        self._selection, self._documents = selection, documents
        self._by_id: dict[str, list[Entry]] = {}
        self._filters: dict[str, set[str]] = {}
        self._exclude: dict[str, bool] = {selection_id(selection): True}
        if not gathered.groups:
            return
        since, until = min(key.since_ns for key in gathered.groups), max(key.until_ns for key in gathered.groups)
        for entry in books.ledger.snapshot.costs.entries(since, until):
            if entry.id.startswith("bill_") and entry.id.count("_") == 3:
                _, scope, filter_, _ = entry.id.split("_")
                self._by_id.setdefault(entry.id.partition(":")[0], []).append(entry)
                self._filters.setdefault(scope, set()).add(filter_)

    def of(self, key: Key) -> list[Entry]:
        """The entry of a group, and the differences that were recorded of it."""
        return self._by_id.get(entry_id(key, self._selection), [])

    def overlaps(self, key: Key) -> bool:
        """Whether charges of the same scope were imported by a filter that may take the same ones."""
        return not all(map(self._excluded, self._filters.get(key.scope, ())))

    def _excluded(self, filter_: str) -> bool:
        if filter_ not in self._exclude:
            stored = self._documents().get(_SELECTION, filter_)
            other = None if stored is None else msgspec.json.decode(stored.body, type=Selection)
            self._exclude[filter_] = other is not None and self._selection.excludes(other)
        return self._exclude[filter_]


def _entry(key: Key, wanted: Wanted, billed: int, books: Books) -> Entry:
    name = "".join(char for char in key.service if char.isprintable()).strip()[:LONGEST_NAME].strip()
    told = Told(
        kind="cost",
        name=name or "unknown",
        id=entry_id(key, wanted.selection),
        tags={**wanted.tags, **dict(key.tags)},
        since=iso(key.since_ns),
        until=iso(key.until_ns),
        usd=usd(billed),
    )
    return entry_of(told, books.settings, books.now_ns)[0]


def _item(entry: Entry, billed: int, earlier: _Earlier, key: Key, closes: Sequence[Close], *, correct: bool) -> Item:
    there = earlier.of(key)
    recorded = sum(each.other_cost for each in there) if there else None
    if recorded is None and earlier.overlaps(key):
        return Item("overlapping", entry, billed)
    if recorded == billed:
        return Item("known" if all(each.tags == entry.tags for each in there) else "retagged", entry, billed, recorded)
    if any(entry.since_ns < close.until_ns and close.since_ns < entry.until_ns for close in closes):
        return Item("closed", entry, billed, recorded)
    if recorded is None:
        return Item("new", entry, billed)
    if any(each.tags != entry.tags for each in there):
        return Item("retagged", entry, billed, recorded)
    if not correct:
        return Item("restated", entry, billed, recorded)
    number = len(there) + 1
    name = f"{entry.name[: LONGEST_NAME - 20]}, corrected"
    return Item(
        "correction",
        msgspec.structs.replace(entry, id=f"{entry.id}:{number}", name=name, other_cost=billed - recorded),
        billed,
        recorded,
    )


def _notes(books: Books, gathered: Gathered, items: Sequence[Item], untagged: int) -> Iterator[str]:
    for name, count in gathered.tags_dropped.items():
        yield f"{count:,} charges carry a {name} that `[tags] allowed` does not have: they are imported without it"
    if untagged:
        yield f"{untagged:,} entries lack a required tag ({', '.join(books.settings.tags.required)}), so bills show them as untagged"
    if gathered.unnamed:
        yield f"{gathered.unnamed:,} charges name no currency: taken as USD"
    running = sum(item.entry.until_ns > books.now_ns for item in items)
    if running:
        yield f"the time of {running:,} entries is not over: they count as it passes, and a later export may have more of it"
