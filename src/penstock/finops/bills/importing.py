"""Imported bills: charges that neither a request, nor a fleet, nor `[costs.*]` stands for, as recorded costs of the ledger.

Charges of one account, service, day (UTC) and choice of tags become one entry; a charge over more than a day keeps its own time. An
entry's id is made from these and from the filter, not from the file, so that the same charges are the same entry in whatever export.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from hashlib import sha256

import msgspec

from penstock.config.settings import Settings
from penstock.domain.bills.focus import EXACT, FocusRow
from penstock.domain.bills.invoice import DAY, USD, ZERO, Amount, currency_of, kind_apart
from penstock.domain.bills.repeats import Repeats
from penstock.domain.bills.selecting import Selection
from penstock.domain.bills.subjects import Kind, Matcher
from penstock.domain.dialects.content import MAX_TAG_VALUE, allowed_value
from penstock.finops.bills.reconcile import EPOCH, subjects
from penstock.finops.books import Books
from penstock.ports.bill_source import BillSource

METERED, RENTED, CONFIGURED = "metered by request: models of the config", "rent of own fleets", "[costs.*] of the config"
COVERED: dict[Kind, str] = {"api": METERED, "fleet": RENTED, "other": CONFIGURED}
UNCHOSEN, OUTSIDE, REPEATED = "not chosen by --where", "outside the window", "in an earlier file already"
FOREIGN, WITHOUT_COST, WITHOUT_TIME, FREE = "not in USD", "without a cost", "without a time", "nothing to pay"
MOST_ENTRIES = 100_000
DAY_NS = 24 * 3600 * 10**9
END = datetime(2260, 1, 1, tzinfo=UTC)
"""beyond it somebody mistyped"""


class ImportingError(ValueError):
    """A bill that cannot become entries as was asked; `hint` says how it could."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is imported. `since_ns` and `until_ns` bound the begin of charges, by days (UTC)."""

    selection: Selection = Selection()
    tags: Mapping[str, str] = {}
    """of entries whose charges have no such tag of their own"""
    all: bool = False
    """also what the ledger knows by other means, which is then counted twice"""
    since_ns: int = 0
    until_ns: int = 2**63 - 1


class Key(msgspec.Struct, frozen=True, order=True):
    """What makes charges one entry. Times are unix nanoseconds."""

    since_ns: int
    until_ns: int
    service: str
    account: str
    provider: str
    tags: tuple[tuple[str, str], ...]

    @property
    def scope(self) -> str:
        """The same for all entries of one account, service and time."""
        return _digest((self.account, self.provider, self.service, self.since_ns, self.until_ns))[:16]


class Gathered(msgspec.Struct):
    """The charges of all files, each in one place: a group, or left out by (reason, currency)."""

    groups: dict[Key, Amount] = {}
    left_out: dict[tuple[str, str], Amount] = {}
    twice: dict[str, Amount] = {}
    """reason -> charges within groups that the ledger knows by other means"""
    charges: int = 0
    tags_dropped: dict[str, int] = {}
    """name -> charges that lost that tag, since `[tags] allowed` does not have its value"""
    unnamed: int = 0
    """charges without a currency, which are taken as USD"""

    def leave(self, reason: str, row: FocusRow) -> None:
        self.left_out.setdefault((reason, currency_of(row)), Amount()).add(row.cost or ZERO)


def entry_id(key: Key, selection: Selection) -> str:
    """The id of a group's entry: its scope, the filter, its tags; 51 characters."""
    return f"bill_{key.scope}_{selection_id(selection)}_{_digest(key.tags)[:16]}"


@cache
def selection_id(selection: Selection) -> str:
    """The part of ids that stands for a filter."""
    return _digest(msgspec.to_builtins(selection))[:12]


def gather(
    books: Books, sources: Sequence[BillSource], wanted: Wanted, watch: Callable[[BillSource], None] = lambda source: None
) -> Gathered:
    """Reads the bills one after another; `watch` hears every thousandth charge. Memory grows with the entries that they come to, and
    with several files by some 200 bytes per charge.

    Raises `BillError` for a file that is no bill, `ImportingError` for more entries than are sensible.
    """
    found, matcher, tags = Gathered(), Matcher(subjects(books)), _Tags(books.settings)
    for row in _charges(sources, found, watch):
        reason, span = _why_not(row, wanted)
        covered = None if reason is not None else _covered(row, matcher)
        if reason is None and span is not None and (covered is None or wanted.all):
            if covered is not None:
                found.twice.setdefault(covered, Amount()).add(row.cost or ZERO)
            found.unnamed += row.billing_currency is None
            _add(found, row, span, tags.kept(wanted.selection.tags_of(row)))
        else:
            found.leave(reason or covered or WITHOUT_TIME, row)
    found.tags_dropped = tags.dropped
    return found


def nano(amount: Decimal) -> int:
    """USD -> nano-USD, rounded half to even."""
    return int(amount.scaleb(9, EXACT).to_integral_value(ROUND_HALF_EVEN, EXACT))


def _charges(sources: Sequence[BillSource], found: Gathered, watch: Callable[[BillSource], None]) -> Iterator[FocusRow]:
    repeats = Repeats() if len(sources) > 1 else None
    for source in sources:
        for row in source.rows():
            if not found.charges % 1000:
                watch(source)
            found.charges += 1
            if repeats is not None and repeats.is_repeat(row):
                found.leave(REPEATED, row)
            else:
                yield row
        if repeats is not None:
            repeats.next_file()
        watch(source)


def _why_not(row: FocusRow, wanted: Wanted) -> tuple[str | None, tuple[int, int] | None]:
    """Why a charge is no entry, whoever knows of it, and its time."""
    if not wanted.selection.takes(row):
        return UNCHOSEN, None
    span = _span(row)
    if span is None:
        return WITHOUT_TIME, None
    if not wanted.since_ns <= span[0] < wanted.until_ns:
        return OUTSIDE, span
    if currency_of(row) != USD:
        return FOREIGN, span
    return (WITHOUT_COST if row.cost is None else None), span


def _covered(row: FocusRow, matcher: Matcher) -> str | None:
    """By what the ledger knows a charge; None: by nothing. Taxes, credits and the like are never what it knows."""
    subject = None if kind_apart(row, matcher) is not None else matcher.subject_of(row)
    return None if subject is None else COVERED[subject.kind]


def _add(found: Gathered, row: FocusRow, span: tuple[int, int], tags: tuple[tuple[str, str], ...]) -> None:
    key = Key(*span, row.service_name or row.provider or "unknown", row.billing_account_id or "", row.provider or "", tags)
    amount = found.groups.get(key)
    if amount is None:
        if len(found.groups) >= MOST_ENTRIES:
            raise ImportingError(
                f"the bill comes to more than {MOST_ENTRIES:,} entries",
                "choose tags with fewer values by `--tags-from`, or import a month or a service at a time",
            )
        amount = found.groups[key] = Amount()
    amount.add(row.cost or ZERO)


def _span(row: FocusRow) -> tuple[int, int] | None:
    """The day in which a charge begins, or its own time when that is longer; None: it has none, or one that cannot be."""
    start, end = row.charge_period_start, row.charge_period_end
    if start is None:
        start, end = row.billing_period_start, row.billing_period_end
    if start is None or not EPOCH <= start < END or (end is not None and end > END):
        return None
    begin = _ns(start)
    if end is not None and end - start > DAY:
        return begin, _ns(end)
    day = begin // DAY_NS * DAY_NS
    return day, day + DAY_NS


class _Tags:
    """Values of tags as `[tags] allowed` spells them."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.tags.allowed
        self._known: dict[tuple[str, str], str | None] = {}
        self.dropped: dict[str, int] = {}

    def kept(self, tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Those that can be kept, sorted by name."""
        return tuple(sorted((name, value) for name, given in tags.items() if (value := self._value(name, given)) is not None))

    def _value(self, name: str, given: str) -> str | None:
        if (name, given) not in self._known:
            if len(self._known) > MOST_ENTRIES:
                self._known.clear()
            allowed = self._allowed.get(name)
            text = "".join(char for char in given if char.isprintable())[:MAX_TAG_VALUE].strip()
            self._known[name, given] = (text if allowed is None else allowed_value(text, allowed)) or None
        value = self._known[name, given]
        if value is None:
            self.dropped[name] = self.dropped.get(name, 0) + 1
        return value


def _ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def _digest(value: object) -> str:
    return sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
