"""The bill of a month: a draft from the ledger as it stands, or what was frozen when the month was closed."""

import re
from collections.abc import Iterable

import msgspec

from penstock.config.hardware import Fleet
from penstock.config.settings import Settings
from penstock.domain.ledger.entries import Close
from penstock.domain.ledger.measures import CostQuery, unpriced_lines
from penstock.domain.ledger.sharing import Rule
from penstock.finops.bills.charges import charges
from penstock.finops.bills.corrections import corrections
from penstock.finops.bills.document import (
    CORRECTIONS,
    Bearer,
    Bill,
    BillCoverage,
    BillingError,
    CostFacts,
    FleetFacts,
    LineTotal,
    ModelFacts,
    Money,
    Pot,
    amount,
    check,
    read_bill,
)
from penstock.finops.books import Books
from penstock.finops.statement import MEANING, Row, Statement, statement
from penstock.finops.statement_json import RULES
from penstock.finops.unit_costs import unit_costs
from penstock.finops.window import Window, WindowError, iso, window

_MONTH = re.compile(r"\d{4}-\d{2}")
CORRECTION_MEANING = "what became known of closed months after they were closed"
_PER_1000 = " / tokens processed (input and output, of requests whose cost is known) x 1000; answers from Penstock's cache process none"
DEFINITIONS = {
    "usage_usd": "what providers bill for a group's requests, the GPU-hours that worked for them (failed, retried and aborted work "
    "included), and its recorded runs",
    "shared_usd": "its part of what no single request caused: idle, unallocated and unused hardware, and [costs.*]",
    "total_usd": "usage + shared",
    "cp1kt_usage_usd": f"usage{_PER_1000}",
    "cp1kt_allocated_usd": f"total{_PER_1000}",
}
"""what the figures of a bill's groups mean"""


class FrozenError(BillingError):
    """A closed month is asked for in another split than it was frozen in."""


def month_window(month: str, settings: Settings, now_ns: int) -> Window:
    """A calendar month in the server's zone. Raises `BillingError` for what is no month, and for one that has not begun."""
    text = month.strip()
    try:
        span = window(text, None, now_ns=now_ns, timezone=settings.server.timezone) if _MONTH.fullmatch(text) else None
    except WindowError:
        span = None
    if span is None:
        raise BillingError(f"`{month}` is not a month", "write it like `2026-10`")
    if span.since_ns >= now_ns:
        raise BillingError(f"{text} has not begun", "bill a month that has")
    return span


def bill(books: Books, month: str, *, by: tuple[str, ...] | None = None, rule: Rule | None = None) -> Bill:
    """The bill of a month: as it was frozen when it is closed, else a draft by `by` and `rule` (None: as `[bill]` says).

    Raises `FrozenError` when a closed month is asked for by other keys or another rule than it was frozen with.
    """
    span = month_window(month, books.settings, books.now_ns)
    closes = books.ledger.snapshot.costs.closes()
    for close in closes:
        if close.month == span.label:
            return _frozen(close, by, rule)
    return draft(books, span, closes, by=by, rule=rule)


def _frozen(close: Close, by: tuple[str, ...] | None, rule: Rule | None) -> Bill:
    frozen = read_bill(close.bill)
    if (by is not None and by != frozen.by) or (rule is not None and rule != frozen.idle):
        raise FrozenError(
            f"{close.month} is closed: bill {close.number} is split by {', '.join(frozen.by)}, idle {frozen.idle}",
            f"leave out --by and --idle, or see other groups with `penstock cost --since {close.month} --by ...`",
        )
    return frozen


def draft(books: Books, span: Window, closes: Iterable[Close], *, by: tuple[str, ...] | None = None, rule: Rule | None = None) -> Bill:
    """What the bill of a month would be, were it closed now.

    Raises `BillingError` where months were closed in another zone: hours between the two zones' months would be lost, or billed twice.
    """
    closes = list(closes)
    _same_zone(books, closes)
    by = books.settings.bill.by if by is None else by
    query = CostQuery(since_ns=span.since_ns, until_ns=span.until_ns, by=by)
    stated = statement(books, query, rule)
    later = corrections(books, span, closes)
    lines = stated.lines()
    made = Bill(
        month=span.label,
        timezone=span.timezone,
        since=iso(span.since_ns),
        until=iso(span.until_ns),
        covered_since=iso(stated.since_ns),
        covered_until=iso(stated.until_ns),
        made=iso(books.now_ns),
        issuer=books.settings.bill.issuer,
        account=books.settings.bill.account,
        by=by,
        idle=stated.rule,
        idle_meaning=RULES[stated.rule],
        total_usd=Money(stated.total + sum(each.usd for each in later)),
        lines=(
            *(LineTotal(line=line, usd=Money(usd), meaning=MEANING[line]) for line, usd in lines.items()),
            LineTotal(line=CORRECTIONS, usd=amount(each.usd for each in later), meaning=CORRECTION_MEANING),
        ),
        bearers=tuple(_bearer(row) for row in stated.rows),
        pots=tuple(
            Pot(line=pot.kind, name=pot.name, usd=Money(pot.amount), shared_usd=Money(pot.shared), rest_usd=Money(pot.rest))
            for pot in stated.pots
        ),
        corrections=later,
        unknown=stated.unknown,
        coverage=_coverage(stated, by),
        definitions=DEFINITIONS | {"idle": RULES[stated.rule]},
        fleets={name: _fleet_facts(fleet) for name, fleet in books.settings.fleets.items()},
        models={
            name: ModelFacts(upstream=model.upstream, called=model.name or name, version=model.version)
            for name, model in books.settings.models.items()
        },
        providers={name: upstream.provider for name, upstream in books.settings.upstreams.items() if upstream.provider},
        costs={name: CostFacts(service=cost.service) for name, cost in books.settings.costs.items()},
        charges=tuple(charges(books, query, stated)),
    )
    check(made)
    return made


def _same_zone(books: Books, closes: Iterable[Close]) -> None:
    for close in closes:
        span = month_window(close.month, books.settings, books.now_ns)
        if (span.since_ns, span.until_ns) != (close.since_ns, close.until_ns):
            raise BillingError(
                f"{close.month} was closed in {close.timezone}, from {iso(close.since_ns)} to {iso(close.until_ns)}: months of "
                f"{span.timezone} do not follow on it, so hours between them would be billed twice or never",
                f'set `[server] timezone` back to "{close.timezone}", the zone of all bills from the first close on',
            )


def _bearer(row: Row) -> Bearer:
    sums, units = row.sums, unit_costs(row)
    return Bearer(
        keys=row.keys,
        requests=sums.requests,
        unpriced=unpriced_lines(sums),
        input_tokens=sums.uncached_input + sums.cache_read + sums.cache_write,
        output_tokens=sums.visible_output + sums.reasoning,
        usage_usd=Money(row.usage),
        shared_usd=Money(row.shared),
        total_usd=Money(row.cost),
        cp1kt_usage_usd=None if units.cp1kt_usage is None else f"{units.cp1kt_usage:f}",
        cp1kt_allocated_usd=None if units.cp1kt_allocated is None else f"{units.cp1kt_allocated:f}",
    )


def _coverage(stated: Statement, by: tuple[str, ...]) -> BillCoverage:
    rows = stated.rows
    return BillCoverage(
        requests=sum(row.sums.requests for row in rows),
        priced=sum(row.sums.priced + row.sums.unbooked for row in rows),
        estimated=sum(row.sums.estimated for row in rows),
        tagged={key: sum(row.sums.requests for row in rows if row.keys[index] is not None) for index, key in enumerate(by)},
        asides=sum(row.sums.asides for row in rows),
        asides_priced=sum(row.sums.asides - row.sums.asides_unpriced for row in rows),
        untagged_usd=amount(row.cost for row in rows if not any(key is not None for key in row.keys)),
    )


def _fleet_facts(fleet: Fleet) -> FleetFacts:
    held = fleet.commitment if isinstance(fleet.commitment, str) else fleet.commitment.kind
    gpu = fleet.gpu if fleet.mig is None else f"{fleet.gpu} {fleet.mig}"
    return FleetFacts(gpu=gpu, held=held, upstream=fleet.upstream, instance=fleet.where.instance, region=fleet.where.region)


def with_number(made: Bill, number: int, inputs_sha256: str) -> Bill:
    """The draft as the frozen bill of its number."""
    return msgspec.structs.replace(made, number=number, inputs_sha256=inputs_sha256)
