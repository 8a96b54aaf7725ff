"""Today: are we on plan? The dashboard from day one: spend against plan, unit costs, savings, hardware, service, and what stands out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from penstock.config.settings import Budget
from penstock.console import readings, words
from penstock.console.context import Context, View
from penstock.console.days import DAYS, Days, last_days
from penstock.console.findings import Finding, findings
from penstock.console.query import Address
from penstock.console.readings import Reading
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.prices.schedule import DAY_NS
from penstock.domain.units import format_usd
from penstock.finops.costs import share
from penstock.finops.fleets import fleet_use, fleets_json
from penstock.finops.plan import PACE, BudgetStatus, plan_json, plan_status
from penstock.finops.serving import serving
from penstock.finops.window import Window, iso

NO_PLAN = Budget(name="this month", limit="1 USD / month")
"""asks the plan for the month's spend and pace; its limit is not looked at"""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One budget, as its gauge shows it: shares are of the limit."""

    name: str
    where: dict[str, str]
    period: str
    limit_usd: str | None
    spent_usd: str | None
    pace_usd: str | None
    share: float | None
    pace_share: float | None
    elapsed: float | None
    """of the period; None where it rolls"""
    marks: tuple[float, ...]
    verdict: Literal["over", "ahead", "on plan", "unknown"]
    note: str
    link: str
    """the costs of this period"""


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """What this month costs, plan or no plan: its requests, and apart from them the rent that stood idle."""

    period: str
    spent_usd: str | None
    pace_usd: str | None
    idle_usd: str | None
    """commitments that did not run among it; None: no fleet's is known"""
    beside: str
    """what `spent_usd` leaves out, in a clause"""
    link: str


class Alert(msgspec.Struct, frozen=True):
    """What is open on a budget: a mark that was passed, or worse."""

    level: Literal["mark", "alarm"]
    words: str


class Mix(msgspec.Struct, frozen=True):
    """One tier's part since this hour yesterday."""

    tier: str | None
    requests: int
    request_share: float | None
    cost_usd: str | None
    cost_share: float | None


class Today(View, frozen=True, kw_only=True):
    """The page."""

    empty: bool
    plans: tuple[Plan, ...]
    month: Month
    alerts: tuple[Alert, ...]
    findings: tuple[Finding, ...]
    since: str
    """begin of the hour from which `readings`, `mix` and `fleets` count"""
    since_ns: int
    readings: tuple[Reading, ...]
    days: Days
    mix: tuple[Mix, ...]
    fleets: list[dict[str, object]]
    budgets: list[dict[str, object]]
    pace_is: str = PACE


def build(context: Context, address: Address) -> Today:
    """The page from one reading."""
    now_ns, settings = context.now_ns, context.settings
    hour = now_ns // HOUR_NS * HOUR_NS  # whole hours, which the store keeps the sums of
    day = CostQuery(since_ns=hour - DAY_NS, until_ns=hour + HOUR_NS)
    statuses = plan_status(settings.budgets, context.ledger, now_ns, context.zone)
    month = _month(context)
    plans = tuple(_plan(status, now_ns, context.zone) for status in statuses)
    window = Window(day.since_ns, day.until_ns, context.zone, "since this hour yesterday")
    month_window = Window(hour - DAYS * DAY_NS, day.until_ns, context.zone, "thirty days")
    fleets, fleets_month = (fleet_use(context.books, each) for each in (window, month_window))
    days = last_days(context)
    covered = msgspec.structs.replace(day, since_ns=hour - DAYS * DAY_NS)
    by_tier = {keys[0]: sums for keys, sums in context.ledger.sums(msgspec.structs.replace(day, by=("tier",)))}
    total = Sums()
    for sums in by_tier.values():
        total.add(sums)
    empty, since = context.ledger.span() is None, iso(day.since_ns)
    return Today(
        answer=answer(plans, month, empty),
        standing=context.standing(context.report(covered).coverage),
        empty=empty,
        plans=plans,
        month=month,
        alerts=_alerts(statuses),
        findings=findings(context, fleets_month),
        since=since,
        since_ns=day.since_ns,
        readings=(
            *readings.money(total, days, settings.server.baseline, since),
            *readings.service(serving(context.ledger, day, context.gauges), since),
            readings.gpus(fleets, since),
            readings.untagged(context, day, total),
        ),
        days=days,
        mix=_mix(by_tier, total, list(settings.tiers)),
        fleets=fleets_json(fleets),
        budgets=plan_json(statuses),
    )


def _alerts(statuses: Sequence[BudgetStatus]) -> tuple[Alert, ...]:
    """What is open on all budgets, worst first."""
    found = [Alert("mark" if alert.startswith(f"{each.name}: past the ") else "alarm", alert) for each in statuses for alert in each.alerts]
    return tuple(sorted(found, key=lambda alert: alert.level))


def _plan(status: BudgetStatus, now_ns: int, zone: str) -> Plan:
    paced = None if status.pace is None or not status.limit else status.pace / status.limit
    part = None if status.share is None else float(status.share)
    verdict: Literal["over", "ahead", "on plan", "unknown"] = "on plan"
    if part is None:
        verdict = "unknown"
    elif part >= 1:
        verdict = "over"
    elif paced is not None and paced > 1:
        verdict = "ahead"
    return Plan(
        name=status.name,
        where=status.where,
        period=_period(status, zone),
        limit_usd=format_usd(status.limit),
        spent_usd=format_usd(status.spent),
        pace_usd=format_usd(status.pace),
        share=None if part is None else round(part, 6),
        pace_share=None if paced is None else round(paced, 6),
        elapsed=None if status.rolling else round((now_ns - status.since_ns) / (status.until_ns - status.since_ns), 6),
        marks=tuple(mark / 100 for mark, _ in status.marks),
        verdict=verdict,
        note=status.note,
        link=_costs_link(status, zone),
    )


def _month(context: Context) -> Month:
    status = plan_status([NO_PLAN], context.ledger, context.now_ns, context.zone)[0]
    name, window = _period(status, context.zone), Window(status.since_ns, status.until_ns, context.zone, "this month")
    uses = fleet_use(context.books, window)
    known = [use.at_rest for use in uses if use.at_rest is not None]
    idle = format_usd(sum(known)) if known else None
    least = "at least " if len(known) < len(uses) else ""
    beside = f"{least}{words.usd(idle)} of idle rent in {name} beside it" if known else f"idle rent in {name} is unknown"
    return Month(
        period=name,
        spent_usd=format_usd(status.spent),
        pace_usd=format_usd(status.pace),
        idle_usd=idle,
        beside=f"requests only; {beside}" if uses else "requests only; no rented hardware is configured",
        link=f"/fleet?since={_since(status, context.zone)}",
    )


def _costs_link(status: BudgetStatus, zone: str) -> str:
    where = [("where", f"{key}={value}") for key, value in status.where.items()]
    return f"/costs?{urlencode([('since', _since(status, zone)), *where])}"


def _since(status: BudgetStatus, zone: str) -> str:
    """The begin of a budget's period as the address bar names it; a month is named as such."""
    begin = datetime.fromtimestamp(status.since_ns / 10**9, ZoneInfo(zone))
    monthly = not status.rolling and status.until_ns - status.since_ns > 8 * DAY_NS
    return f"{begin:%Y-%m}" if monthly else iso(status.since_ns)


def _period(status: BudgetStatus, zone: str) -> str:
    length = status.until_ns - status.since_ns
    if status.rolling:
        return f"the last {words.count(round(length / 3600e9))} hours"
    if length > 8 * DAY_NS:
        return f"{datetime.fromtimestamp(status.since_ns / 10**9, ZoneInfo(zone)):%B}"
    return "this week" if length > 2 * DAY_NS else "today" if length > DAY_NS // 2 else "this hour"


def answer(plans: Sequence[Plan], month: Month, empty: bool) -> str:
    """Whether spend is on plan, by the widest budget; then which others are not."""
    if empty:
        return "Nothing has been spent: no request has come through yet."
    known = [plan for plan in plans if plan.limit_usd is not None]
    if not known:
        spent = f"what {month.period} cost is unknown"
        if month.spent_usd is not None:
            spent = f"{words.usd(month.spent_usd)} is spent in {month.period} so far"
        pace = f", and a straight line ends at {words.usd(month.pace_usd)}" if month.pace_usd else ""
        return f"Nobody has said what the plan is: {spent}{pace}."
    main = min(known, key=lambda plan: len(plan.where))
    told = _verdict(main)
    others = [plan.name for plan in known if plan is not main and plan.verdict in ("over", "ahead")]
    if others:
        told += f" {words.join([words.quoted(name) for name in others])} {'is' if len(others) == 1 else 'are'} not on plan."
    return told


def _verdict(plan: Plan) -> str:
    spent, limit = words.usd(plan.spent_usd), words.usd(plan.limit_usd)
    of = f"of the {limit} for {plan.period}"
    if plan.verdict == "unknown":
        return f"That is unknown: {plan.note}."
    least = "at least " if "no price" in plan.note else ""
    if plan.verdict == "over":
        return f"No: {least}{spent} is spent {of}."
    if plan.pace_usd is None:
        return f"Yes, so far: {least}{spent} {of} is spent."
    if plan.verdict == "ahead":
        return f"Not at this pace: {least}{spent} {of} is spent, and a straight line ends at {words.usd(plan.pace_usd)}."
    return f"Yes: {least}{spent} {of} is spent; at this pace it ends at {words.usd(plan.pace_usd)}."


def _mix(by_tier: dict[str | None, Sums], total: Sums, order: list[str]) -> tuple[Mix, ...]:
    """Tiers cheap to dear as in the config, then what is in none."""

    def place(tier: str | None) -> tuple[int, str]:
        return (order.index(tier) if tier in order else len(order) + (tier is None), tier or "")

    return tuple(
        Mix(
            tier,
            sums.requests,
            share(sums.requests, total.requests),
            format_usd(sums.cost) if sums.priced else None,
            share(sums.cost, total.cost),
        )
        for tier, sums in sorted(by_tier.items(), key=lambda item: place(item[0]))
        if sums.requests
    )
