"""The figure of a budget's course: its period from begin to end, spend so far, what is expected, and the day on which the limit goes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from markupsafe import Markup

from penstock.console import words
from penstock.console.figures.course import Way, course
from penstock.console.plans import Plan
from penstock.domain.prices.schedule import DAY_NS
from penstock.finops.budgets.course import Course

MOST_POINTS = 120
"""of each line: more would not be seen"""
T = TypeVar("T")


def thinned(found: Course) -> Course:
    """A course with so few points that a figure of it stays small; the last one of each line is kept."""
    return Course(_thin(found.past), _thin(found.ahead), found.outlook, found.burn)


def _thin(points: tuple[T, ...]) -> tuple[T, ...]:
    every = -(-len(points) // MOST_POINTS) or 1
    return tuple(reversed(points[::-1][::every]))


def budget_course(plan: Plan, told: Mapping[str, Any], zone: str) -> Markup:
    """The figure of a budget whose limit is above 0, from its course as the JSON twin tells it."""
    past, ahead = told["course"]["past"], told["course"]["ahead"]
    now_ns = _ns(past[-1]["at"]) if past else _ns(told["since"])
    begin, end = _ns(told["since"]), max(_ns(told["until"]), _ns(ahead[-1]["at"]) if ahead else 0, now_ns + 1)
    whole, limit = end - begin, float(plan.limit)

    def at(ns: int) -> float:
        return min(max((ns - begin) / whole, 0.0), 1.0)

    first = 0.0 if told["rolling"] or not past else float(past[-1]["spent"]) / limit
    way = Way(
        past=[(at(_ns(each["at"])), float(each["spent"]) / limit) for each in past],
        ahead=[(at(now_ns), first, first, first), *(_expected(each, at(_ns(each["at"])), limit) for each in ahead)] if ahead else [],
        now=at(now_ns),
        crosses=None if plan.ends_ns is None else (at(plan.ends_ns), _instant(plan.ends_ns, zone, whole)),
        limit=f"limit {words.amount(plan.limit, plan.unit)}",
        begin=_instant(begin, zone, whole),
        end=_instant(end, zone, whole),
    )
    return course(way, f"{plan.name}: spend against its limit", _told(plan, told["rolling"], zone, whole))


def _expected(point: Mapping[str, str], at: float, limit: float) -> tuple[float, float, float, float]:
    return at, float(point["middle"]) / limit, float(point["low"]) / limit, float(point["high"]) / limit


def _told(plan: Plan, rolling: bool, zone: str, whole: int) -> str:
    """The figure in words."""
    spent = f"{words.amount(plan.spent, plan.unit)} of {words.amount(plan.limit, plan.unit)} for {plan.period} is spent"
    if plan.forecast is None:
        return f"{spent}; too little is known to expect anything."
    low, high = words.amount(plan.forecast_low, plan.unit), words.amount(plan.forecast_high, plan.unit)
    ahead = f"{words.amount(plan.forecast, plan.unit)} is expected {'in the next window' if rolling else 'at its end'}"
    crossing = "" if plan.ends_ns is None else f"; the limit is passed {_instant(plan.ends_ns, zone, whole)}"
    return f"{spent}; {ahead}, {low} to {high} in 80 of 100 cases{crossing}."


def _instant(ns: int, zone: str, whole: int) -> str:
    """A day of a long period, the time of a short one."""
    return words.moment(ns, zone, "%-d %b" if whole > 3 * DAY_NS else "%-d %b %H:%M")


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 10**9)
