"""Budgets & SLOs: will each budget hold, and what is being done about it? Marks, forecasts, alerts, limits, objectives, what strayed."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.config.checks_spending import is_cap
from penstock.config.spending import Budget, RateLimit
from penstock.console import words
from penstock.console.alerts import Sent, of_budget, undelivered
from penstock.console.anomalies import Strayed, strayed
from penstock.console.context import Context, Sheet, View
from penstock.console.courses import thinned
from penstock.console.plans import Plan, Verdict, plan_of
from penstock.console.query import Address
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.alerting.marks import everybody
from penstock.finops.alerting.outbox import Letter, letters
from penstock.finops.audit import entry_json
from penstock.finops.budgets.of_keys import PAYMENT_REQUIRED
from penstock.finops.budgets.requests import Requests
from penstock.finops.budgets.standing import Standing
from penstock.finops.budgets.status_json import amount_text, standing_json
from penstock.finops.objectives.report import slos_json

SHOWN = 12
"""budgets with a figure; the table holds all"""
ALERTS_NS = 31 * DAY_NS
PAST_NS = 30 * DAY_NS
MOST_PAST = 20
MOST_ENTRIES = 12
LOOKED_THROUGH = 300
"""newest entries of the audit log among which those are sought that matter here"""
CONCERNS = ("budget", "key", "limit", "slo", "objective", "directive", "anomaly")
AT_LIMIT = {
    "alert": "only tells",
    "downgrade": "goes to cheaper models, then refuses",
    "queue": "lets requests wait, then refuses",
    "refuse": "refuses",
}
WORST: tuple[Verdict, ...] = ("over", "ahead", "unknown", "on plan")
COLUMNS = (
    "budget", "where", "limit", "unit", "period", "at_limit", "spent", "by_requests", "beside", "left", "share", "burn_per_hour",
    "forecast", "forecast_low", "forecast_high", "exceeds", "verdict", "refused", "alerts", "undelivered", "note",
)  # fmt: skip


class BudgetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One budget: as its gauge shows it, and as `penstock budget forecast --json` tells it, its course with fewer points."""

    plan: Plan
    timezone: str
    """of its periods"""
    budget: dict[str, Any]
    at_limit: str
    is_cap: bool
    left: str | None
    """amounts are decimal strings in the budget's unit"""
    burn_per_hour: str | None
    by_requests: str | None
    beside: str | None
    refused: int
    """requests of this period that were answered with 402 and fall under it, whichever budget refused them"""
    alerts: tuple[Sent, ...]
    """of this period, newest first"""
    recipients: tuple[str, ...]
    """who hears of its marks"""


class Limit(msgspec.Struct, frozen=True):
    """A rate limit of the config."""

    name: str
    where: dict[str, str]
    by: tuple[str, ...]
    limits: tuple[str, ...]


class Budgets(View, frozen=True, kw_only=True):
    """The page."""

    verdict: Verdict
    """of the budget that fares worst"""
    refused: int
    """requests that any budget has refused since the earliest begin of their periods"""
    budgets: tuple[BudgetRow, ...]
    undelivered: tuple[Sent, ...]
    """messages of any kind that did not arrive"""
    limits: tuple[Limit, ...]
    objectives: list[dict[str, Any]]
    """as `penstock slos --json`"""
    ended: list[dict[str, Any]]
    """responses that have ended"""
    anomalies: tuple[Strayed, ...]
    changes: list[dict[str, Any]]
    """entries of the audit log that concern any of these"""


def build(context: Context, address: Address) -> Budgets:
    """The page from one reading."""
    mine, papers, now_ns = context.settings.budgets, context.papers, context.now_ns
    told = (*zip(mine, context.standings(mine), strict=True), *context.key_standings())
    posted = letters(papers.documents, now_ns - ALERTS_NS)
    requests = Requests(context.books, [budget.where for budget in mine])
    rows = tuple(_row(context, *each, requests, posted) for each in told)
    slos = slos_json(context.books, context.prices, papers.documents, now_ns - PAST_NS)
    found = strayed(context)
    since = min((each.status.since_ns for _, each in told), default=now_ns - ALERTS_NS)
    whole = CostQuery(since_ns=since, until_ns=now_ns + 1)
    refused = sum(sums.refused for keys, sums in requests.sums({}, since, now_ns + 1, ("status",)) if keys[0] == PAYMENT_REQUIRED)
    return Budgets(
        answer=answer(rows, refused, slos["objectives"], found),
        standing=context.standing(context.report(whole).coverage),
        refused=refused,
        verdict=min((row.plan.verdict for row in rows), key=WORST.index, default="on plan"),
        budgets=rows,
        undelivered=undelivered(posted, now_ns),
        limits=tuple(_limit(limit) for limit in context.settings.limits),
        objectives=slos["objectives"],
        ended=slos["ended"][:MOST_PAST],
        anomalies=found,
        changes=_changes(context),
    )


def _row(context: Context, budget: Budget, standing: Standing, requests: Requests, posted: Sequence[Letter]) -> BudgetRow:
    status, unit, zone = standing.status, standing.status.unit, budget.timezone or context.zone
    refused = standing.refused
    if refused is None:
        by_status = requests.sums(budget.where, status.since_ns, max(context.now_ns, status.since_ns + 1), ("status",))
        refused = sum(sums.refused for keys, sums in by_status if keys[0] == PAYMENT_REQUIRED)
    return BudgetRow(
        plan=plan_of(status, context.now_ns, zone),
        timezone=zone,
        budget=standing_json(msgspec.structs.replace(standing, course=thinned(standing.course))),
        at_limit=AT_LIMIT[budget.at_limit],
        is_cap=is_cap(budget),
        left=None if status.spent is None else amount_text(max(0, status.limit - status.spent), unit),
        burn_per_hour=None if status.burn is None else amount_text(round(status.burn), unit),
        by_requests=amount_text(status.by_requests, unit),
        beside=amount_text(status.beside, unit),
        refused=refused,
        alerts=of_budget(posted, status.name, status.since_ns),
        recipients=everybody(status.marks, budget.notify),
    )


def _limit(limit: RateLimit) -> Limit:
    given = [_rate(rate, what) for what, rate in (("requests", limit.requests), ("tokens", limit.tokens)) if rate]
    given += [f"{limit.concurrent:,} at once"] if limit.concurrent else []
    return Limit(limit.name, limit.where, limit.by, tuple(given))


def _rate(text: str, what: str) -> str:
    """`600 / minute` of requests as `600 requests a minute`."""
    number, _, period = text.partition("/")
    return f"{int(number):,} {what} a {period.strip()}"


def _changes(context: Context) -> list[dict[str, Any]]:
    entries = context.papers.audit.since(context.now_ns - PAST_NS, LOOKED_THROUGH)
    mine = [entry for entry in entries if entry.action.partition(".")[0] in CONCERNS]
    return [entry_json(entry) | {"at_ns": entry.at_ns} for entry in mine[:MOST_ENTRIES]]


def shown(view: Budgets) -> Sequence[BudgetRow]:
    """The budgets that get a figure: those that fare worst, in the order of the config."""
    if len(view.budgets) <= SHOWN:
        return view.budgets
    worst = sorted(view.budgets, key=lambda row: (WORST.index(row.plan.verdict), -(row.plan.share or 0)))[:SHOWN]
    return [row for row in view.budgets if row in worst]


def sheet(view: Budgets, address: Address) -> Sheet:
    """The budgets, one a line."""
    return Sheet(COLUMNS, map(_line, view.budgets))


def _line(row: BudgetRow) -> tuple[object, ...]:
    plan = row.plan
    late = sum(each.state in ("undelivered", "given up") for each in row.alerts)
    return (
        plan.name, " ".join(f"{key}={value}" for key, value in plan.where.items()), plan.limit, plan.unit, plan.period,
        row.budget["at_limit"], plan.spent, row.by_requests, row.beside, row.left, plan.share, row.burn_per_hour, plan.forecast,
        plan.forecast_low, plan.forecast_high, row.budget["exceeds"], plan.verdict, row.refused, len(row.alerts), late, plan.note,
    )  # fmt: skip


def answer(rows: Sequence[BudgetRow], refused: int, objectives: Sequence[dict[str, Any]], found: Sequence[Strayed]) -> str:
    """Whether every budget holds, and what is done about it."""
    if not rows and not objectives:
        return _bare(refused)
    told = [_holding([row.plan for row in rows])] if rows else ["The config has no [[budgets]]."]
    missed = [str(each["objective"]) for each in objectives if each["state"] == "missed"]
    if missed:
        told.append(f"{_named(missed, 'Objective', 'Objectives')} {_is(missed)} missed.")
    if done := _done(rows, refused, objectives):
        told.append(f"What is done about it: {words.join(done)}.")
    going_on = sum(each.ongoing for each in found)
    if going_on:
        told.append(f"{words.plural(going_on, 'anomaly goes', 'anomalies go')} on.")
    return " ".join(told)


def _bare(refused: int) -> str:
    """What is said without any budget or objective in the config; keys may still have budgets."""
    told = "The config has no [[budgets]] and no [[slos]], so nothing is promised: only keys with a budget of their own are held to it."
    days = ALERTS_NS // DAY_NS
    return f"{told} {words.plural(refused, 'request was refused', 'requests were refused')} in the last {days} days." if refused else told


def _holding(plans: Sequence[Plan]) -> str:
    over, ahead, unknown = ([plan.name for plan in plans if plan.verdict == verdict] for verdict in ("over", "ahead", "unknown"))
    clauses = [f"{_quoted(over)} {_is(over)} over {_its(over)} limit"] if over else []
    theirs = f"{_its(ahead)} limit" if not over else "its own" if len(ahead) == 1 else "theirs"
    clauses += [f"{_quoted(ahead)} {_is(ahead)} expected to pass {theirs}"] if ahead else []
    clauses += [f"of {_quoted(unknown)} nobody knows"] if unknown else []
    if clauses:
        return f"{'No' if over else 'Not as it goes' if ahead else 'As far as is known, yes'}: {', and '.join(clauses)}."
    if any(plan.forecast is None for plan in plans):
        return f"Yes, so far: {_all(plans)} {_is(plans)} within {_its(plans)} limit."
    return f"Yes: {_all(plans)} {_is(plans)} expected to hold."


def _done(rows: Sequence[BudgetRow], refused: int, objectives: Sequence[dict[str, Any]]) -> list[str]:
    messages = [each for row in rows for each in row.alerts]
    late = sum(each.state in ("undelivered", "given up") for each in messages)
    done = []
    if messages:
        told = words.plural(len(messages), "alert was sent", "alerts were sent")
        done.append(f"{told}, {late} of which did not arrive" if late else told)
    if refused:
        done.append(words.plural(refused, "request was refused", "requests were refused"))
    responses = [each for objective in objectives for each in objective["responses"]]
    for dry, verb in ((False, "stands"), (True, "would stand, but for dry run")):
        names = [str(each["response"]) for each in responses if each["dry_run"] == dry]
        if names:
            done.append(f"{_quoted(names)} {verb if len(names) == 1 or dry else 'stand'}")
    return done


def _all(plans: Sequence[Plan]) -> str:
    return words.quoted(plans[0].name) if len(plans) == 1 else f"all {len(plans)} budgets"


def _named(names: list[str], one: str, many: str) -> str:
    return f"{one if len(names) == 1 else many} {_quoted(names)}"


def _quoted(names: list[str]) -> str:
    """Up to three names, and how many more."""
    few = [words.quoted(name) for name in names[:3]]
    return words.join([*few, f"{len(names) - 3} more"] if len(names) > 3 else few)


def _is(names: Sequence[object]) -> str:
    return "is" if len(names) == 1 else "are"


def _its(names: Sequence[object]) -> str:
    return "its" if len(names) == 1 else "their"
