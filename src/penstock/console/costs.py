"""Costs: who spends what, over a window, by any keys, under any filters; and what stands idle, apart or shared out."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import get_args

import msgspec

from penstock.console import words
from penstock.console.context import Context, Sheet, View
from penstock.console.periods import LAST, period_words, steps_of, windows
from penstock.console.query import Address
from penstock.domain.ledger.measures import CostQuery, cp1kt_usd, known_cost, lines, priced_lines, saved, tokens_of, unpriced_lines
from penstock.domain.ledger.sharing import Rule
from penstock.domain.units import format_usd
from penstock.finops import statement as figures
from penstock.finops.costs import QueryError, share
from penstock.finops.statement import MEANING, Statement, known, statement, whole
from penstock.finops.unit_costs import unit_costs

TRENDS_AT_ONCE = 400
"""groups up to which rows get a trend"""
DRILL = ("team", "feature", "model", "upstream", "user")
"""what a click on a row groups by next"""
OFFERED = ("team", "feature", "user", "model", "tier", "upstream", "cache", "outcome", "day")
IDLE_RULES = (("separate", "on lines of its own"), ("proportional", "shared by use"), ("even", "shared evenly"))
_MEASURES = (
    "requests", "tokens", "borne_usd", "share", "before_usd", "change_usd", "borne_cp1kt_usd", "saved_usd", "unpriced", "gpu_usd",
    "waste_usd", "shared_usd", "cost_usd", "cp1kt_usd",
)  # fmt: skip
SORTS = ("cost", "change", "requests", "tokens", "cp1kt", "saved", "name")
_POTS = {
    "idle": "idle, fleet",
    "unallocated": "unallocated, fleet",
    "unused_commitment": "unused commitment, fleet",
    "other": "other cost,",
}
_REACHES = "The ledger does not reach back over the whole window before this one, so there is nothing to compare with."
_APART = "The window before this one is not compared with: that would read every record of it, too."


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One group: its keys and measures. Money is a decimal string of USD, None is unknown."""

    keys: dict[str, str | None]
    requests: int
    tokens: int
    borne_usd: str | None
    """what it bears: billed by providers, GPU-hours that worked for it, recorded runs, other costs; with its share of idle where asked"""
    share: float | None
    """of the known cost of all rows"""
    before_usd: str | None
    """cost over the window of the same length just before; None where nothing is compared"""
    change_usd: str | None
    borne_cp1kt_usd: str | None
    saved_usd: str | None
    unpriced: int
    gpu_usd: str | None
    """of its cost: GPU-hours of own fleets, waste included"""
    waste_usd: str
    """of that: work that brought no answer"""
    shared_usd: str
    """of its cost: its share of other costs, and of idle where that is shared"""
    cost_usd: str | None
    """what its requests were booked at when they were answered, before hours were allocated"""
    cp1kt_usd: str | None
    trend_usd: tuple[str, ...] | None = None
    """cost by hour or day of the window; where idle is shared evenly without that share, for evenly is over the whole window"""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody's request caused and no row bears."""

    line: figures.PotKind
    words: str
    name: str
    """of the fleet, or of the `[costs.*]` table"""
    rest_usd: str
    amount_usd: str
    """before any of it was shared out"""
    meaning: str


class Part(msgspec.Struct, frozen=True):
    """One kind of what all rows bear."""

    part: str
    usd: str
    words: str


class Costs(View, frozen=True, kw_only=True):
    """The page: rows in the order asked for, their total, and what stands idle."""

    rows: tuple[Row, ...]
    total: Row
    parts: tuple[Part, ...]
    """of the total's cost"""
    compared: bool
    """rows can be compared with the window before: the ledger reaches back over it, and rows are no times of this window"""
    uncompared: str
    """why rows are not compared, where that is no matter of course"""
    rule: Rule
    rules: tuple[tuple[str, str], ...]
    """(rule, words): who bears what stands idle"""
    lines: tuple[Line, ...]
    """beside the rows; only where nothing is filtered"""
    statement_usd: str | None
    """rows and lines together: what all bills should come to; None where something is unknown or filtered"""
    unknown: tuple[str, ...]
    """what is in no figure because nobody knows it"""
    trend_step: str
    running: bool
    """the last step of the trends is not over"""
    windows: tuple[tuple[str, str], ...]
    """(label, `since`): what the menu offers"""
    offered: tuple[str, ...]


def build(context: Context, address: Address) -> Costs:
    """The page from one reading. Raises `QueryError` for an order or a rule that does not exist.

    Keys that no sums are kept of are asked for once: every record is read for that, so nothing is compared and there are no trends.
    """
    if (address.sort or "cost") not in SORTS:
        raise QueryError(f"there is no order `{address.sort}`", f"sort by {', '.join(SORTS)}")
    rule, span = _rule(context, address), context.ledger.span()
    borne = statement(context.books, address.query(*address.by), rule)
    began = span is not None and span[0] <= _before(address).since_ns and not address.apart
    earlier = statement(context.books, _before(address), rule) if began else None
    in_time = bool({"day", "hour"} & set(address.by))
    compared = earlier is not None and not in_time
    before = {row.keys: row for row in earlier.rows} if earlier is not None and compared else {}
    step = "hour" if address.window.until_ns - address.window.since_ns <= 3 * 86_400 * 10**9 else "day"
    ranked = sorted((row for row in borne.rows if lines(row.sums) or row.cost), key=_order(address, before))
    trends = _trends(context, address, rule, len(ranked), step)
    all_of_it = whole(borne)
    nothing = figures.Row(keys=())
    rows = tuple(
        _row(row, address.by, all_of_it.cost, before.get(row.keys, nothing) if compared else None, trends.get(row.keys)) for row in ranked
    )
    total = _row(all_of_it, (), all_of_it.cost, None if earlier is None else whole(earlier), None)
    return Costs(
        answer=_answer(address, rows, total, began),
        standing=context.standing(context.report(address.query()).coverage),
        rows=rows,
        total=total,
        parts=tuple(_parts(all_of_it, rule)),
        compared=compared,
        uncompared="" if compared or in_time else _APART if address.apart else _REACHES,
        rule=rule,
        rules=IDLE_RULES if context.settings.fleets else (),
        lines=tuple(_lines(borne)),
        statement_usd=None if address.where or borne.unknown else format_usd(borne.total),
        unknown=borne.unknown,
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


def _rule(context: Context, address: Address) -> Rule:
    asked = address.get("idle") or context.settings.bill.idle
    for rule in get_args(Rule):
        if asked == rule:
            return rule  # type: ignore[no-any-return]
    raise QueryError(f"`idle={asked}` is no rule", f"write one of {', '.join(get_args(Rule))}")


def _row(row: figures.Row, by: Sequence[str], all_cost: int, before: figures.Row | None, trend: tuple[str, ...] | None) -> Row:
    sums, cost = row.sums, row.cost if known(row) else None
    earlier = before.cost if before is not None and known(before) else None
    rate, booked_rate = unit_costs(row).cp1kt_allocated, cp1kt_usd(sums.cost, sums.priced_tokens)
    return Row(
        keys=dict(zip(by, row.keys, strict=True)),
        requests=sums.requests,
        tokens=tokens_of(sums).total,
        borne_usd=format_usd(cost),
        share=None if cost is None else share(cost, all_cost),
        before_usd=format_usd(earlier),
        change_usd=None if cost is None or earlier is None else format_usd(cost - earlier),
        borne_cp1kt_usd=None if rate is None else f"{rate:f}",
        saved_usd=format_usd(saved(sums)),
        unpriced=_unpriced(row),
        gpu_usd=format_usd(row.allocated.amount + row.allocated.wasted),
        waste_usd=format_usd(row.allocated.wasted),
        shared_usd=format_usd(row.shared),
        cost_usd=format_usd(known_cost(sums)),
        cp1kt_usd=None if booked_rate is None else f"{booked_rate:f}",
        trend_usd=trend,
    )


def _unpriced(row: figures.Row) -> int:
    """Answered requests and asides of which no cost is known: neither a price nor the rent of the fleet that they ran on."""
    return unpriced_lines(row.sums) if row.allocated.entries else lines(row.sums) - priced_lines(row.sums)


def _parts(row: figures.Row, rule: Rule) -> Iterator[Part]:
    amounts = {"api": row.api, "gpu_work": row.allocated.amount, "gpu_waste": row.allocated.wasted, "recorded": row.recorded}
    for name, amount in amounts.items():
        if amount:
            yield Part(name, format_usd(amount), MEANING[name])
    if row.shared:
        shared = "shares of other costs" if rule == "separate" else "shares of what stands idle and of other costs"
        yield Part("shared", format_usd(row.shared), shared)


def _lines(borne: Statement) -> Iterator[Line]:
    """What stays beside the rows: a fleet's idle part even when it is nothing, the others where there is any."""
    for pot in borne.pots:
        if pot.rest or (pot.kind == "idle" and borne.rule == "separate"):
            nobody = "no request matched what it is shared by" if pot.kind == "other" else "; nobody used that fleet, so nobody shares it"
            meaning = nobody if pot.kind == "other" else MEANING[pot.kind] + ("" if borne.rule == "separate" else nobody)
            yield Line(
                line=pot.kind,
                words=_POTS[pot.kind],
                name=pot.name,
                rest_usd=format_usd(pot.rest),
                amount_usd=format_usd(pot.amount),
                meaning=meaning,
            )


def _order(address: Address, before: dict[tuple[str | None, ...], figures.Row]) -> Callable[[figures.Row], tuple[object, ...]]:
    def amount(row: figures.Row) -> float | None:
        sums, cost = row.sums, row.cost if known(row) else None
        if address.sort == "change":
            return None if cost is None else cost - (before[row.keys].cost if row.keys in before else 0)
        if address.sort == "cp1kt":
            rate = unit_costs(row).cp1kt_allocated
            return None if rate is None else float(rate)
        measures = {"requests": sums.requests, "tokens": tokens_of(sums).total, "saved": saved(sums)}
        return measures.get(address.sort or "", cost)

    def by_name(row: figures.Row) -> tuple[object, ...]:
        return tuple((value is None, value or "") for value in row.keys)

    if address.sort == "name" or (address.sort is None and address.by and address.by[0] in ("day", "hour")):
        return by_name
    return lambda row: ((found := amount(row)) is None, -(found or 0), by_name(row))


def _trends(context: Context, address: Address, rule: Rule, groups: int, step: str) -> dict[tuple[str | None, ...], tuple[str, ...]]:
    """Cost over time of every row; of none where there are so many that each hour or day of each would be too much to ask for."""
    asked = {*address.by, *(key for key, _ in address.where)}
    if step in asked or groups > TRENDS_AT_ONCE or address.apart:
        return {}
    found: dict[tuple[str | None, ...], dict[str, int]] = {}
    for row in statement(context.books, address.query(*address.by, step), "separate" if rule == "even" else rule).rows:
        found.setdefault(row.keys[:-1], {})[row.keys[-1] or ""] = row.cost
    steps = steps_of(address.window.since_ns, min(address.window.until_ns, context.now_ns), step)
    return {keys: tuple(format_usd(amounts.get(at, 0)) for at in steps) for keys, amounts in found.items()}


def _named(key: str) -> str:
    """What a group is called that has no value of a key."""
    return "requests" if key == "purpose" else f"no {key}"


def _answer(address: Address, rows: Sequence[Row], total: Row, began: bool) -> str:
    """The dearest row, the whole, and how that compares with the time before."""
    span = period_words(address)
    if not total.requests and total.borne_usd in (None, format_usd(0)):
        return f"Nobody: no request was answered {span}."
    if total.borne_usd is None:
        return f"That is unknown: {words.plural(total.requests, 'request')} {span}, and none has a price."
    whole = f"{words.usd(total.borne_usd)} {span}"
    known = [row for row in rows if row.borne_usd is not None and row.keys]
    first = max(known, key=lambda row: Decimal(row.borne_usd or 0), default=None)
    if first is None or "day" in first.keys or "hour" in first.keys:
        told = f"{whole}, for {words.plural(total.requests, 'request')}."
    else:
        name = " / ".join(_named(key) if value is None else value for key, value in first.keys.items())
        told = f"{words.quoted(name)} spends most: {words.usd(first.borne_usd)} of {whole} ({words.percent(first.share, 0)})."
    if began and total.change_usd is not None and total.before_usd is not None and Decimal(total.before_usd):
        more = "more" if Decimal(total.change_usd) >= 0 else "less"
        before = f"in the {span.removeprefix(LAST)} before" if span.startswith(LAST) else "over the same length of time before"
        told += f" All in all that is {words.usd(total.change_usd.lstrip('-'))} {more} than {before}."
    if total.unpriced:
        told += f" {words.plural(total.unpriced, 'request')} without a price come on top."
    return told
