"""Bills against the ledger: what providers and clouds charged, beside what requests, own hardware and other costs were booked at.

Of the ledger, that is: what providers bill for requests (cost less its provisional part), the rent of own fleets by their hours, and
`[costs.*]`; each by day, UTC. The same figures as in statements and bills.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import get_args

import msgspec

from penstock.config.settings import Settings
from penstock.domain.bills.comparing import By, Group, LedgerLine, Tolerance, compare
from penstock.domain.bills.explaining import counted
from penstock.domain.bills.focus import EXACT, FocusRow
from penstock.domain.bills.invoice import Amount, Basis, Invoice
from penstock.domain.bills.meters import CACHE_READ, CACHE_WRITE, GPU_HOURS, INPUT, OUTPUT
from penstock.domain.bills.repeats import Repeats
from penstock.domain.bills.subjects import Matcher, Subject, provider_of
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, Sums, lines, priced_lines
from penstock.domain.units import usd
from penstock.finops.bills.embeddings import embedder_of, embeddings_in
from penstock.finops.books import Books
from penstock.finops.fleet_costs import fleet_costs
from penstock.finops.other_costs import other_cost
from penstock.ports.bill_source import BillSource, ReadReport

BY: tuple[By, ...] = get_args(By)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_NS = 2**63 - 1
UNKNOWN = "unknown"


class ReconcileError(ValueError):
    """Options that cannot be read; `hint` says what would have been accepted."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared. Without a window, it is the time that the charges themselves cover."""

    by: tuple[By, ...] = BY
    tolerance: Tolerance = Tolerance()
    basis: Basis = "effective"
    all: bool = False
    """the bills are all there are: what they do not have is extra, whoever provides it"""
    since_ns: int | None = None
    until_ns: int | None = None


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """Every charge of the bills in one place: a group, or apart, beyond, foreign, outside or repeated. Money is USD but in the last
    three, which are by currency."""

    question: Question
    since_ns: int
    until_ns: int
    groups: tuple[Group, ...]
    apart: dict[tuple[str, str], Amount]
    beyond: dict[str, Amount]
    foreign: dict[str, Amount]
    outside: dict[str, Amount]
    repeated: dict[str, Amount]
    elsewhere: dict[str, Decimal]
    """service -> what the ledger has of providers that are on none of the bills"""
    empty: bool
    """the ledger holds nothing at all"""
    without_cost: int
    files: tuple[ReadReport, ...]
    notes: tuple[str, ...]

    @property
    def billed(self) -> Decimal:
        """Charges that were compared."""
        return _total(group.billed for group in self.groups)

    @property
    def booked(self) -> Decimal:
        return _total(group.booked for group in self.groups)

    @property
    def differences(self) -> tuple[Group, ...]:
        return tuple(group for group in self.groups if group.status != "matched")

    @property
    def complete(self) -> bool:
        """Whether every row of every file was read, and there was something to compare."""
        return not self.gap

    @property
    def gap(self) -> str:
        """Why it is not complete, as a clause; empty when it is."""
        refused = sum(report.refused for report in self.files)
        if self.empty:
            return "the ledger is empty, so nothing could be compared"
        if broken := [report for report in self.files if report.broken]:
            whole = f"{counted(len(broken), 'file')} {'is' if len(broken) == 1 else 'are'} not whole"
            return f"{whole}, and {counted(refused, 'row')} refused" if refused else whole
        if refused:
            return f"{counted(refused, 'row')} {'was' if refused == 1 else 'were'} refused"
        if self.without_cost:
            return f"{counted(self.without_cost, 'charge')} without any cost"
        return "" if any(group.billed is not None for group in self.groups) else "nothing on the bills could be compared"


def reconcile(
    books: Books, sources: Sequence[BillSource], question: Question, watch: Callable[[BillSource], None] = lambda source: None
) -> Reconciliation:
    """Reads the bills one after another and compares them with the ledger. `watch` hears every thousandth charge.

    Raises `BillError` for a file that is no bill, `UnitError` for prices of the config that cannot be read.
    """
    asked = tuple(subjects(books))
    invoice = Invoice(Matcher(asked), question.basis, _moment(question.since_ns), _moment(question.until_ns))
    for row in _charges(sources, invoice, watch):
        invoice.add(row)
    since_ns, until_ns = _window(invoice, question)
    lines = list(ledger_lines(books, asked, since_ns, until_ns)) if since_ns < until_ns else []
    on_bills = {subject for subject in asked if question.all or invoice.bears_on(subject)}
    elsewhere: dict[str, Decimal] = {}
    for line in lines:
        if line.subject not in on_bills:
            elsewhere[line.subject.service] = EXACT.add(elsewhere.get(line.subject.service, Decimal(0)), line.cost or Decimal(0))
    groups = compare(invoice, (line for line in lines if line.subject in on_bills), question.by, question.tolerance)
    return Reconciliation(
        question=question,
        since_ns=since_ns,
        until_ns=until_ns,
        groups=tuple(groups),
        apart=invoice.apart,
        beyond=invoice.beyond,
        foreign=invoice.foreign,
        outside=invoice.outside,
        repeated=invoice.repeated,
        elsewhere=elsewhere,
        empty=books.ledger.span() is None,
        without_cost=invoice.without_cost,
        files=tuple(source.report for source in sources),
        notes=tuple(_notes(books, invoice, since_ns, until_ns)),
    )


def subjects(books: Books) -> Iterator[Subject]:
    """What a charge may belong to: models of upstreams that bill, own fleets by instance type and region, other costs.

    Models that the ledger knows and the config no longer has are among them.
    """
    settings = books.settings
    own = {fleet.upstream for fleet in settings.fleets.values()}
    embedder = embedder_of(settings)
    pairs = {(model.upstream, name): None for name, model in settings.models.items() if model.upstream not in own}
    for (upstream, model), sums in books.ledger.sums(CostQuery(since_ns=0, until_ns=END_NS, by=("upstream", "model"))):
        if _billed(sums, embeddings_in(sums, embedder)):
            pairs[upstream or UNKNOWN, model or UNKNOWN] = None
    for upstream, model in pairs:
        yield _api(settings, upstream, model)
    for subject, _ in _fleets(settings):
        yield subject
    for name, cost in settings.costs.items():
        yield Subject(kind="other", service=cost.service or name, model=name, names=tuple({name, cost.service or name}))


def _api(settings: Settings, upstream: str, name: str) -> Subject:
    configured, behind = settings.models.get(name), settings.upstreams.get(upstream)
    called = configured.name if configured is not None and configured.name is not None else name
    provider = None
    if behind is not None:
        provider = behind.provider or next(filter(None, map(provider_of, behind.base_urls)), None)
    names = () if name == UNKNOWN else tuple(dict.fromkeys((called, name)))
    return Subject(kind="api", service=upstream, model=name, names=names, provider=provider)


def _fleets(settings: Settings) -> Iterator[tuple[Subject, tuple[str, ...]]]:
    """Fleets that a bill cannot tell apart, since instance type and region are the same, are one subject."""
    places: dict[tuple[str, str | None], list[str]] = {}
    for name, fleet in settings.fleets.items():
        places.setdefault((fleet.where.instance or fleet.gpu, fleet.where.region), []).append(name)
    for (instance, region), names in places.items():
        yield Subject(kind="fleet", service=instance, model=", ".join(names), names=(instance,), region=region), tuple(names)


def ledger_lines(books: Books, asked: Sequence[Subject], since_ns: int, until_ns: int) -> Iterator[LedgerLine]:
    """What the ledger has of a window, by subject and day."""
    known = {(subject.service, subject.model): subject for subject in asked if subject.kind == "api"}
    query = CostQuery(since_ns=since_ns, until_ns=until_ns, by=("upstream", "model", "day"))
    embedder, embedded = embedder_of(books.settings), dict[str, int]()
    for (upstream, model, day), sums in books.ledger.sums(query):
        subject, embedding = known.get((upstream or UNKNOWN, model or UNKNOWN)), embeddings_in(sums, embedder)
        if subject is not None and day is not None and _billed(sums, embedding):
            yield _line(subject, day, sums, embedding)
        if embedding and day is not None:
            embedded[day] = embedded.get(day, 0) + embedding
    if embedder is not None:
        for day, embedding in embedded.items():
            yield LedgerLine(subject=known[embedder.upstream, embedder.model], day=day, cost=usd(embedding))
    yield from _rents(books, since_ns, until_ns)
    begin, end = books.clip(since_ns, until_ns)
    for subject in asked:
        if subject.kind == "other" and subject.model is not None:
            cost = books.settings.costs[subject.model]
            for day, first, last in _days(begin, end):
                amount = other_cost(cost, first, last, books.settings.server.timezone)
                if amount:
                    yield LedgerLine(subject=subject, day=day, cost=usd(amount))


def _billed(sums: Sums, embedding: int) -> bool:
    """Whether a provider bills any of it beside embeddings: not what only own hardware worked for, or nobody."""
    return sums.cost - embedding != sums.provisional or priced_lines(sums) < lines(sums) - sums.cache_hits


def _line(subject: Subject, day: str, sums: Sums, embedding: int) -> LedgerLine:
    tokens = {INPUT: sums.uncached_input, CACHE_READ: sums.cache_read, CACHE_WRITE: sums.cache_write}
    tokens[OUTPUT] = sums.visible_output + sums.reasoning
    return LedgerLine(
        subject=subject,
        day=day,
        cost=usd(sums.cost - sums.provisional - embedding),
        quantities={meter: Decimal(count) for meter, count in tokens.items() if count},
        requests=lines(sums),
        unpriced=lines(sums) - priced_lines(sums),
        estimated=sums.estimated,
    )


def _rents(books: Books, since_ns: int, until_ns: int) -> Iterator[LedgerLine]:
    subject_of = {name: subject for subject, names in _fleets(books.settings) for name in names}
    for hour in fleet_costs(books, CostQuery(since_ns=since_ns, until_ns=until_ns)).hours:
        subject = subject_of.get(hour.fleet)
        if subject is not None and (hour.rent is None or hour.rent or hour.gpu_ns):
            yield LedgerLine(
                subject=subject,
                day=_day(hour.since_ns),
                cost=None if hour.rent is None else usd(hour.rent),
                quantities={GPU_HOURS: EXACT.divide(Decimal(hour.gpu_ns), Decimal(HOUR_NS))} if hour.gpu_ns else {},
                unpriced=hour.rent is None,
            )


def _charges(sources: Sequence[BillSource], invoice: Invoice, watch: Callable[[BillSource], None]) -> Iterator[FocusRow]:
    repeats = Repeats() if len(sources) > 1 else None
    for source in sources:
        for count, row in enumerate(source.rows()):
            if not count % 1000:
                watch(source)
            if repeats is not None and repeats.is_repeat(row):
                invoice.repeat(row)
            else:
                yield row
        if repeats is not None:
            repeats.next_file()
        watch(source)


def _window(invoice: Invoice, question: Question) -> tuple[int, int]:
    """The window asked for, each open end filled by the days that the compared charges cover."""
    first = None if invoice.first is None else invoice.first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = None if invoice.last is None else (invoice.last.astimezone(UTC) - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0)
    since = question.since_ns if question.since_ns is not None else _ns(first) or 0
    until = question.until_ns if question.until_ns is not None else 0 if last is None else _ns(last.replace(microsecond=0) + DAY) or 0
    return since, until


def _notes(books: Books, invoice: Invoice, since_ns: int, until_ns: int) -> Iterator[str]:
    span = books.ledger.span()
    if span is None:
        yield "the ledger is empty"
    elif span[0] > since_ns and since_ns < until_ns:
        yield f"the ledger begins on {_day(span[0])}: what was billed before has nothing to stand against"
    if invoice.unnamed:
        yield f"{counted(invoice.unnamed, 'charge')} without a currency: taken as USD"
    if until_ns > books.now_ns:
        yield "the window is not over: what is still to come is on neither side"
    for subject in sorted(invoice.longer, key=lambda each: each.service):
        yield f"{subject.service} {subject.model or ''} is billed over more than a day at once: its days are compared as one".replace(
            "  ", " "
        )


def tolerance(text: str | None) -> Tolerance:
    """`0.5%`, `0.10 USD`, or both with a comma between them. Raises `ReconcileError`."""
    if text is None:
        return Tolerance()
    share = amount = Decimal(0)
    for part in text.split(","):
        try:
            bare = part.strip()
            if bare.endswith("%"):
                share = Decimal(bare[:-1].strip()) / 100
            else:
                amount = Decimal(bare.upper().removesuffix("USD").strip())
        except InvalidOperation:
            raise ReconcileError(f"`--tolerance {text}` is not a tolerance", "write `0.5%`, `0.10 USD` or `0.5%,0.10 USD`") from None
    if not (share.is_finite() and amount.is_finite() and 0 <= share < 1 and amount >= 0):
        raise ReconcileError(f"`--tolerance {text}` is out of range", "write `0.5%`, `0.10 USD` or `0.5%,0.10 USD`")
    return Tolerance(share, amount)


def keys(text: Sequence[str] | None) -> tuple[By, ...]:
    """`service,model,day`, any of them. Raises `ReconcileError`."""
    wanted = [key.strip() for each in text or () for key in each.split(",") if key.strip()]
    for key in wanted:
        if key not in BY:
            raise ReconcileError(f"`--by {key}` is not a key of a bill", f"take {', '.join(BY)}")
    return tuple(key for key in BY if key in wanted) or BY


def _total(amounts: Iterator[Decimal | None]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount or Decimal(0))
    return total


def _days(since_ns: int, until_ns: int) -> Iterator[tuple[str, int, int]]:
    """(day, begin, end) of every day (UTC) of a window, cut at its edges."""
    day_ns = 24 * HOUR_NS
    for number in range(since_ns // day_ns, -(-until_ns // day_ns)):
        yield _day(number * day_ns), max(since_ns, number * day_ns), min(until_ns, (number + 1) * day_ns)


def _day(instant_ns: int) -> str:
    return datetime.fromtimestamp(instant_ns // 10**9, UTC).strftime("%Y-%m-%d")


def _moment(instant_ns: int | None) -> datetime | None:
    return None if instant_ns is None else EPOCH + timedelta(microseconds=instant_ns // 1000)


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1) * 1000
