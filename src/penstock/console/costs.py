"""Costs: who spends what, over a window, by any keys, under any filters; and what stands idle beside it."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import msgspec

from penstock.console import words
from penstock.console.context import Context, Sheet, View
from penstock.console.periods import LAST, period_words, steps_of, windows
from penstock.console.query import ROLLED_UP, Address
from penstock.domain.ledger.measures import CostQuery, Sums, cp1kt_usd, known_cost, saved, tokens_of
from penstock.domain.units import format_usd
from penstock.finops.costs import CostRow, QueryError, share
from penstock.finops.fleets import FleetUse, fleet_use

TRENDS_AT_ONCE = 400
"""groups up to which rows get a trend"""
DRILL = ("team", "feature", "model", "upstream", "user")
"""what a click on a row groups by next"""
OFFERED = ("team", "feature", "user", "model", "tier", "upstream", "cache", "outcome", "day")
_MEASURES = ("requests", "tokens", "cost_usd", "share", "before_usd", "change_usd", "cp1kt_usd", "saved_usd", "unpriced")
SORTS = ("cost", "change", "requests", "tokens", "cp1kt", "saved", "name")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One group: its keys and measures. Money is a decimal string of USD, None is unknown."""

    keys: dict[str, str | None]
    requests: int
    tokens: int
    cost_usd: str | None
    share: float | None
    """of the known cost of all rows"""
    before_usd: str | None
    """cost over the window of the same length just before; None where nothing is compared"""
    change_usd: str | None
    cp1kt_usd: str | None
    saved_usd: str | None
    unpriced: int
    trend_usd: tuple[str, ...] | None = None
    """cost by hour or day of the window"""


class Idle(msgspec.Struct, frozen=True):
    """A fleet's idle part: rent less what its requests were booked at."""

    fleet: str
    idle_usd: str | None
    rent_usd: str | None
    note: str


class Costs(View, frozen=True, kw_only=True):
    """The page: rows in the order asked for, their total, and what stands idle."""

    rows: tuple[Row, ...]
    total: Row
    compared: bool
    """rows can be compared with the window before: the ledger reaches back over it, and rows are no times of this window"""
    idle: tuple[Idle, ...]
    """told apart, never part of the total; only where nothing is filtered"""
    with_idle_usd: str | None
    """the total and what stands idle: what the bills of providers and landlords should come to; None where either is unknown"""
    trend_step: str
    running: bool
    """the last step of the trends is not over"""
    windows: tuple[tuple[str, str], ...]
    """(label, `since`): what the menu offers"""
    offered: tuple[str, ...]


def build(context: Context, address: Address) -> Costs:
    """The page from one reading. Raises `QueryError` for an order that does not exist."""
    if (address.sort or "cost") not in SORTS:
        raise QueryError(f"there is no order `{address.sort}`", f"sort by {', '.join(SORTS)}")
    report, span = context.report(address.query(*address.by)), context.ledger.span()
    began = span is not None and span[0] <= _before(address).since_ns
    compared = began and not {"day", "hour"} & set(address.by)
    before = dict(context.ledger.sums(_before(address))) if began else {}
    step = "hour" if address.window.until_ns - address.window.since_ns <= 3 * 86_400 * 10**9 else "day"
    ranked = sorted(report.rows, key=_order(address, before))
    trends = _trends(context, address, len(ranked), step)
    earlier = {row.keys: before.get(row.keys, Sums()) for row in ranked} if compared else {}
    rows = tuple(_row(row, address.by, report.total, earlier.get(row.keys), trends.get(row.keys)) for row in ranked)
    total = _row(CostRow((), report.total), (), report.total, _total(before.values()) if began else None, None)
    uses = () if address.where else fleet_use(context.settings, context.ledger, address.window, context.now_ns)
    return Costs(
        answer=_answer(address, rows, total, began),
        standing=context.standing(report.coverage),
        rows=rows,
        total=total,
        compared=compared,
        idle=tuple(Idle(use.name, format_usd(use.idle), format_usd(use.rent), use.note) for use in uses),
        with_idle_usd=format_usd(_with_idle(report.total, uses)),
        trend_step=step,
        running=address.window.until_ns >= context.now_ns,
        windows=windows(context.now_ns, context.zone),
        offered=tuple(dict.fromkeys((*OFFERED, *context.settings.tags.declared))),
    )


def sheet(view: Costs, address: Address) -> Sheet:
    """All rows, not only those that the page has room for."""
    rows = ((*row.keys.values(), *(getattr(row, name) for name in _MEASURES)) for row in view.rows)
    return Sheet((*address.by, *_MEASURES), rows)


def drill(address: Address, row: Row) -> str | None:
    """Where a click on a row leads: its values as filters, by the next key. None where a value is unknown, for nothing equals that."""
    deeper = address
    for key, value in row.keys.items():
        if value is None:
            return None
        deeper = deeper.only(key, value)
    taken = {key for key, _ in deeper.where}
    following = next((key for key in DRILL if key not in taken), None)
    return deeper.grouped(following).link() if following else None


def _before(address: Address) -> CostQuery:
    since, until = address.window.since_ns, address.window.until_ns
    return msgspec.structs.replace(address.query(*address.by), since_ns=max(0, 2 * since - until), until_ns=since)


def _row(row: CostRow, by: Sequence[str], total: Sums, before: Sums | None, trend: tuple[str, ...] | None) -> Row:
    sums, cost = row.sums, known_cost(row.sums)
    earlier = known_cost(before) if before is not None else None
    return Row(
        keys=dict(zip(by, row.keys, strict=True)),
        requests=sums.requests,
        tokens=tokens_of(sums).total,
        cost_usd=format_usd(cost),
        share=None if cost is None else share(cost, total.cost),
        before_usd=format_usd(earlier),
        change_usd=None if cost is None or earlier is None else format_usd(cost - earlier),
        cp1kt_usd=None if (rate := cp1kt_usd(sums.cost, sums.priced_tokens)) is None else f"{rate:f}",
        saved_usd=format_usd(saved(sums)),
        unpriced=sums.requests - sums.priced,
        trend_usd=trend,
    )


def _order(address: Address, before: dict[tuple[str | None, ...], Sums]) -> Callable[[CostRow], tuple[object, ...]]:
    def amount(row: CostRow) -> float | None:
        sums, cost = row.sums, known_cost(row.sums)
        if address.sort == "change":
            return None if cost is None else cost - before.get(row.keys, Sums()).cost
        if address.sort == "cp1kt":
            return sums.cost / sums.priced_tokens if sums.priced_tokens else None
        measures = {"requests": sums.requests, "tokens": tokens_of(sums).total, "saved": saved(sums)}
        return measures.get(address.sort or "", cost)

    def by_name(row: CostRow) -> tuple[object, ...]:
        return tuple((value is None, value or "") for value in row.keys)

    if address.sort == "name" or (address.sort is None and address.by and address.by[0] in ("day", "hour")):
        return by_name
    return lambda row: ((found := amount(row)) is None, -(found or 0), by_name(row))


def _trends(context: Context, address: Address, groups: int, step: str) -> dict[tuple[str | None, ...], tuple[str, ...]]:
    """Cost over time of every row; of none where there are so many that each hour or day of each would be too much to ask for."""
    asked = {*address.by, *(key for key, _ in address.where)}
    if step in asked or groups > TRENDS_AT_ONCE or not asked.issubset(ROLLED_UP):
        return {}
    found: dict[tuple[str | None, ...], dict[str, int]] = {}
    for keys, sums in context.ledger.sums(address.query(*address.by, step)):
        found.setdefault(keys[:-1], {})[keys[-1] or ""] = sums.cost
    steps = steps_of(address.window.since_ns, min(address.window.until_ns, context.now_ns), step)
    return {keys: tuple(format_usd(amounts.get(at, 0)) for at in steps) for keys, amounts in found.items()}


def _with_idle(total: Sums, uses: Sequence[FleetUse]) -> int | None:
    cost, idle = known_cost(total), [use.idle for use in uses]
    return None if cost is None or not idle else sum((each for each in idle if each is not None), cost) if None not in idle else None


def _total(groups: Iterable[Sums]) -> Sums:
    total = Sums()
    for sums in groups:
        total.add(sums)
    return total


def _answer(address: Address, rows: Sequence[Row], total: Row, began: bool) -> str:
    """The dearest row, the whole, and how that compares with the time before."""
    span = period_words(address)
    if not total.requests:
        return f"Nobody: no request was answered {span}."
    if total.cost_usd is None:
        return f"That is unknown: {words.plural(total.requests, 'request')} {span}, and none has a price."
    whole = f"{words.usd(total.cost_usd)} {span}"
    known = [row for row in rows if row.cost_usd is not None and row.keys]
    first = max(known, key=lambda row: Decimal(row.cost_usd or 0), default=None)
    if first is None or "day" in first.keys or "hour" in first.keys:
        told = f"{whole}, for {words.plural(total.requests, 'request')}."
    else:
        name = " / ".join(f"no {key}" if value is None else value for key, value in first.keys.items())
        told = f"{words.quoted(name)} spends most: {words.usd(first.cost_usd)} of {whole} ({words.percent(first.share, 0)})."
    if began and total.change_usd is not None and total.before_usd is not None and Decimal(total.before_usd):
        more = "more" if Decimal(total.change_usd) >= 0 else "less"
        before = f"in the {span.removeprefix(LAST)} before" if span.startswith(LAST) else "over the same length of time before"
        told += f" All in all that is {words.usd(total.change_usd.lstrip('-'))} {more} than {before}."
    if total.unpriced:
        told += f" {words.plural(total.unpriced, 'request')} without a price come on top."
    return told
