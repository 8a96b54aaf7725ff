"""A budget as the pages show it: what was spent of its limit, what is expected, and the verdict."""

from datetime import datetime
from typing import Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from penstock.console import words
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.budgets.beside import LEFT_OUT
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.budgets.status_json import amount_text, expected
from penstock.finops.window import iso

Verdict = Literal["over", "ahead", "on plan", "unknown"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One budget, as its gauge shows it: shares are of the limit."""

    name: str
    where: dict[str, str]
    period: str
    unit: str
    limit: str
    """amounts are decimal strings in the unit"""
    spent: str | None
    forecast: str | None
    """what the period is expected to end at, and the band that holds in 80 of 100 cases"""
    forecast_low: str | None
    forecast_high: str | None
    ends: str | None
    """when the limit is expected to be passed"""
    ends_ns: int | None
    share: float | None
    forecast_share: float | None
    elapsed: float | None
    """of the period; None where it rolls"""
    marks: tuple[float, ...]
    verdict: Verdict
    note: str
    link: str
    """the costs of this period"""


def plan_of(status: BudgetStatus, now_ns: int, zone: str) -> Plan:
    """A budget as it stands; days and months are those of a zone."""
    middle, low, high = expected(status)
    ahead = None if middle is None or not status.limit else middle / status.limit
    part = None if status.share is None else float(status.share)
    verdict: Verdict = "on plan"
    if part is None:
        verdict = "unknown"
    elif part >= 1:
        verdict = "over"
    elif ahead is not None and ahead > 1:
        verdict = "ahead"
    ends_ns = None if status.outlook is None or verdict == "over" else status.outlook.exceeds_ns
    return Plan(
        name=status.name,
        where=status.where,
        period=period_of(status, zone),
        unit=status.unit,
        limit=amount_text(status.limit, status.unit) or "",
        spent=amount_text(status.spent, status.unit),
        forecast=amount_text(middle, status.unit),
        forecast_low=amount_text(low, status.unit),
        forecast_high=amount_text(high, status.unit),
        ends=None if ends_ns is None else iso(ends_ns // 10**9 * 10**9),
        ends_ns=ends_ns,
        share=None if part is None else round(part, 6),
        forecast_share=None if ahead is None else round(ahead, 6),
        elapsed=None if status.rolling else round((now_ns - status.since_ns) / (status.until_ns - status.since_ns), 6),
        marks=tuple(mark.at / 100 for mark in status.marks if not isinstance(mark.at, str)),
        verdict=verdict,
        note="; ".join(clause for clause in status.note.split("; ") if clause != LEFT_OUT),
        link=_costs_link(status, zone),
    )


def _costs_link(status: BudgetStatus, zone: str) -> str:
    where = [("where", f"{key}={value}") for key, value in status.where.items()] if len(status.keys) < 2 else [("by", "key_id")]
    return f"/costs?{urlencode([('since', since_of(status, zone)), *where])}"


def since_of(status: BudgetStatus, zone: str) -> str:
    """The begin of a budget's period as the address bar names it; a month is named as such."""
    begin = datetime.fromtimestamp(status.since_ns / 10**9, ZoneInfo(zone))
    monthly = not status.rolling and status.until_ns - status.since_ns > 8 * DAY_NS
    return f"{begin:%Y-%m}" if monthly else iso(status.since_ns)


def period_of(status: BudgetStatus, zone: str) -> str:
    """`November`, `this week`, `the last 24 hours`."""
    length = status.until_ns - status.since_ns
    if status.rolling:
        return f"the last {words.count(round(length / 3600e9))} hours"
    if length > 8 * DAY_NS:
        return f"{datetime.fromtimestamp(status.since_ns / 10**9, ZoneInfo(zone)):%B}"
    return "this week" if length > 2 * DAY_NS else "today" if length > DAY_NS // 2 else "this hour"
