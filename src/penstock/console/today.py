"""Today: are we on plan? The dashboard from day one: spend against plan, unit costs, savings, hardware, service, and what stands out."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from penstock.config.spending import Budget
from penstock.console import readings, words
from penstock.console.context import Context, View
from penstock.console.days import DAYS, Days, last_days
from penstock.console.findings import Finding, findings
from penstock.console.plans import Plan, period_of, plan_of, since_of
from penstock.console.query import Address
from penstock.console.readings import Reading
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, Sums, known_cost, lines
from penstock.domain.prices.schedule import DAY_NS
from penstock.domain.units import format_usd
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.budgets.status_json import FORECAST_IS, alerts, budgets_json, expected
from penstock.finops.costs import share
from penstock.finops.fleets import fleet_use, fleets_json
from penstock.finops.serving import serving
from penstock.finops.window import Window, iso

NO_PLAN = Budget(name="this month", limit="1 USD / month")
"""asks for the month's spend and forecast; its limit is not looked at"""


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """What this month costs, plan or no plan: its requests, and what came without one."""

    period: str
    spent_usd: str | None
    by_requests_usd: str | None
    """the part that requests were booked at"""
    forecast_usd: str | None
    idle_usd: str | None
    """commitments that did not run among it; None: no fleet's is known"""
    beside: str
    """what `spent_usd` holds beside requests, in a clause"""
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
    forecast_is: str = FORECAST_IS


def build(context: Context, address: Address) -> Today:
    """The page from one reading."""
    now_ns, settings = context.now_ns, context.settings
    hour = now_ns // HOUR_NS * HOUR_NS  # whole hours, which the store keeps the sums of
    day = CostQuery(since_ns=hour - DAY_NS, until_ns=hour + HOUR_NS)
    *statuses, whole = (each.status for each in context.standings([*settings.budgets, NO_PLAN]))
    month = _month(context, whole)
    plans = tuple(plan_of(status, now_ns, context.zone) for status in statuses)
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
        budgets=budgets_json(statuses),
    )


def _alerts(statuses: Sequence[BudgetStatus]) -> tuple[Alert, ...]:
    """What is open on all budgets, worst first."""
    found = [
        Alert("mark" if alert.startswith(f"{each.name}: past the ") else "alarm", alert) for each in statuses for alert in alerts(each)
    ]
    return tuple(sorted(found, key=lambda alert: alert.level))


def _month(context: Context, status: BudgetStatus) -> Month:
    """The month by the status of a budget for all of it."""
    name, window = period_of(status, context.zone), Window(status.since_ns, status.until_ns, context.zone, "this month")
    uses = fleet_use(context.books, window)
    known = [use.at_rest for use in uses if use.at_rest is not None]
    least = "at least " if len(known) < len(uses) else ""
    without = f"{least}{words.usd(format_usd(status.beside))} of it without a request: idle hardware, recorded runs, other costs"
    return Month(
        period=name,
        spent_usd=format_usd(status.spent),
        by_requests_usd=format_usd(status.by_requests),
        forecast_usd=format_usd(expected(status)[0]),
        idle_usd=format_usd(sum(known)) if known else None,
        beside=without if uses or status.beside else "requests only; no rented hardware is configured",
        link=f"/fleet?since={since_of(status, context.zone)}",
    )


def answer(plans: Sequence[Plan], month: Month, empty: bool) -> str:
    """Whether spend is on plan, by the widest budget; then which others are not."""
    if empty:
        return "Nothing has been spent: no request has come through yet."
    if not plans:
        spent = f"what {month.period} cost is unknown"
        if month.spent_usd is not None:
            spent = f"{words.usd(month.spent_usd)} is spent in {month.period} so far"
        ahead = f", and {words.usd(month.forecast_usd)} is to be expected" if month.forecast_usd else ""
        return f"Nobody has said what the plan is: {spent}{ahead}."
    main = min(plans, key=lambda plan: len(plan.where))
    told = _verdict(main)
    others = [plan.name for plan in plans if plan is not main and plan.verdict in ("over", "ahead")]
    if others:
        told += f" {words.join([words.quoted(name) for name in others])} {'is' if len(others) == 1 else 'are'} not on plan."
    return told


def _verdict(plan: Plan) -> str:
    spent, limit = words.amount(plan.spent, plan.unit), words.amount(plan.limit, plan.unit)
    of = f"of the {limit} for {plan.period}"
    if plan.verdict == "unknown":
        return f"That is unknown: {plan.note}."
    least = "at least " if "no price" in plan.note else ""
    if plan.verdict == "over":
        return f"No: {least}{spent} is spent {of}."
    if plan.forecast is None:
        return f"Yes, so far: {least}{spent} {of} is spent."
    ahead = words.amount(plan.forecast, plan.unit)
    if plan.verdict == "ahead":
        return f"Not as it goes: {least}{spent} {of} is spent, and {ahead} is to be expected."
    return f"Yes: {least}{spent} {of} is spent, and {ahead} is to be expected."


def _mix(by_tier: dict[str | None, Sums], total: Sums, order: list[str]) -> tuple[Mix, ...]:
    """Tiers cheap to dear as in the config, then what is in none."""

    def place(tier: str | None) -> tuple[int, str]:
        return (order.index(tier) if tier in order else len(order) + (tier is None), tier or "")

    return tuple(
        Mix(
            tier,
            sums.requests,
            share(sums.requests, total.requests),
            format_usd(known_cost(sums)),
            share(sums.cost, total.cost),
        )
        for tier, sums in sorted(by_tier.items(), key=lambda item: place(item[0]))
        if lines(sums)
    )
