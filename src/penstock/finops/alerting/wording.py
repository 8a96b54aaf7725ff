"""How a budget's news is worded: for people in a few lines, for programs as JSON."""

from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from penstock.domain.budgets.limits import WHOLE_UNITS
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.schedule import HOUR_NS
from penstock.domain.units import format_usd
from penstock.finops.alerting.marks import FORECAST, REACHED, Told
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.budgets.status_json import cut_percent, status_json
from penstock.finops.window import iso
from penstock.ports.notifier import Message, Severity

OVERRUN = "overrun"
"""an answer cost more than was held for it"""
_AT_LIMIT = {
    "alert": "At the limit nothing is stopped: this budget only tells.",
    "downgrade": "At the limit requests go to cheaper models, and are refused when not even those fit.",
    "queue": "At the limit requests wait, and are then refused.",
    "refuse": "At the limit requests are refused (402).",
}


def budget_message(status: BudgetStatus, mark: str, told: Told, now_ns: int, timezone: str, link: str | None) -> Message:
    """The message of one mark."""
    return Message(
        id=f"budget/{status.name}/{period_name(status, told)}/{' '.join(status.limit_text.split())}/{mark}",
        at_ns=now_ns,
        subject=_subject(status, mark),
        text="\n".join([*_lines(status, now_ns, timezone), *_closing(status, mark)]),
        severity=_severity(mark),
        labels=_labels(status, mark),
        details=budget_details(status, mark, now_ns),
        link=link,
    )


def overrun_message(status: BudgetStatus, told: Told, record: UsageRecord, link: str | None) -> Message:
    """The message of the first answer in a period that cost more than was held for it. Its cost and hold are known."""
    assert record.cost is not None and record.reserved is not None
    cost, held = amount(record.cost, "USD"), amount(record.reserved, "USD")
    text = (
        f"Request {record.id} to {record.model or 'unknown'} cost {cost}, and {held} were held for it. "
        "It is booked whole, and the cap counts it. Does the upstream count tokens that Penstock cannot see, or is its price too low?"
    )
    return Message(
        id=f"budget/{status.name}/{period_name(status, told)}/{OVERRUN}",
        at_ns=record.admitted_ns,
        subject=f"{status.name}: an answer cost more than was held for it",
        text=text,
        severity="warning",
        labels=_labels(status, OVERRUN),
        details={"request": record.id, "cost_usd": format_usd(record.cost), "reserved_usd": format_usd(record.reserved)},
        link=link,
    )


def period_name(status: BudgetStatus, told: Told) -> str:
    """The period's begin, or for a rolling window how often its marks were passed."""
    return f"rolling {told.round}" if status.rolling else iso(status.since_ns)


def ends_ns(status: BudgetStatus, now_ns: int) -> int | None:
    """When the budget ends: by its forecast, else at the pace of the last hours; None: not in this period, or unknown."""
    if status.outlook is not None:
        return status.outlook.exceeds_ns
    if status.rolling or status.spent is None or not status.burn or status.burn < 0 or status.spent >= status.limit:
        return None
    at_ns = (now_ns + int(Fraction(status.limit - status.spent) / status.burn * HOUR_NS)) // 10**9 * 10**9
    return at_ns if at_ns < status.until_ns else None


def amount(whole: int | Fraction, unit: str) -> str:
    """Whole units of account as people read them: `1,234.50 USD`, `0.0123 USD`, `12.5 gpu-hours`."""
    value = Fraction(whole) / WHOLE_UNITS["USD" if unit == "USD" else "gpu-hours"]
    number = Decimal(value.numerator) / Decimal(value.denominator)
    places = 2 if unit == "USD" else 1
    if 0 < abs(number) < 1:
        places = min(9, 2 - number.adjusted())
    return f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f} {unit}"


def budget_details(status: BudgetStatus, mark: str, now_ns: int) -> dict[str, Any]:
    """JSON of the mark and of where the budget stands, as `penstock budget list --json` tells it."""
    ends = ends_ns(status, now_ns)
    return {"mark": mark, "ends": None if ends is None else iso(ends), **status_json(status)}


def _subject(status: BudgetStatus, mark: str) -> str:
    limit = " ".join(status.limit_text.split())
    if mark == REACHED:
        does = {"queue": "requests wait or are refused", "downgrade": "requests are made cheaper or refused"}
        act, share = does.get(status.at_limit, "requests are refused"), status.share
        if share is not None and share < 1:
            return f"{status.name}: {act} at {cut_percent(share)} % of {limit}"
        return f"{status.name}: the limit of {limit} is reached, {act}"
    if mark == FORECAST and status.outlook is not None:
        return f"{status.name}: expected to end at {cut_percent(Fraction(status.outlook.middle, status.limit))} % of {limit}"
    return f"{status.name}: {cut_percent(status.share or Fraction(0))} % of {limit} is spent"


def _lines(status: BudgetStatus, now_ns: int, timezone: str) -> Iterator[str]:
    unit, zone = status.unit, ZoneInfo(timezone)
    since, until = _moment(status.since_ns, zone), _moment(status.until_ns, zone)
    window = f"since {since}" if status.rolling else f"in the period from {since} to {until}"
    if status.spent is None or status.share is None:
        yield f"What was spent {window} is unknown: {status.note}."
    else:
        beside = f", {amount(status.beside, unit)} of it without a request" if status.beside else ""
        yield f"{amount(status.spent, unit)} of {amount(status.limit, unit)} ({cut_percent(status.share)} %) are spent {window}{beside}."
    if status.burn is not None:
        yield f"Burn rate: {amount(status.burn, unit)} an hour, over the last hours."
    ends = ends_ns(status, now_ns)
    if ends is not None:
        yield f"At this pace the budget ends on {_moment(ends, zone)}."
    if status.outlook is not None:
        low, high = amount(status.outlook.low, unit), amount(status.outlook.high, unit)
        yield f"Forecast for the whole period: {amount(status.outlook.middle, unit)} ({low} to {high} in 80 of 100 cases)."
    if status.unpriced:
        yield f"{status.unpriced:,} requests have no price and are not in this: it is at least this."


def _closing(status: BudgetStatus, mark: str) -> Iterator[str]:
    """What follows: what happens at the limit, or why it happens already."""
    if mark == REACHED and status.share is not None and status.share < 1:
        yield "What is left is held by requests under way, or too little for the most that the next one may cost."
    yield _AT_LIMIT[status.at_limit]


def _severity(mark: str) -> Severity:
    if mark in (REACHED, FORECAST):
        return "critical" if mark == REACHED else "warning"
    at = float(mark)
    return "critical" if at >= 95 else "warning" if at >= 80 else "info"


def _labels(status: BudgetStatus, mark: str) -> dict[str, str]:
    """Tags of the budget are labels as well, so that an Alertmanager can route by team."""
    tags = {key: value for key, value in status.where.items() if key.isascii() and key.isidentifier()}
    return {**tags, "alertname": "PenstockBudget", "budget": status.name, "mark": mark}


def _moment(at_ns: int, zone: ZoneInfo) -> str:
    at = datetime.fromtimestamp(at_ns // 10**9, zone)
    return f"{at.day} {at:%b %Y %H:%M} {at:%Z}"
