"""Budgets as JSON twins and reports tell them: amounts as decimal strings in the budget's unit, unknown as null; what is open in words."""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from penstock.domain.budgets.limits import WHOLE_UNITS
from penstock.domain.units import format_usd
from penstock.finops.budgets.course import Course
from penstock.finops.budgets.standing import Standing
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.window import iso

FORECAST_IS = (
    "from hourly sums: the level of the last days, the shape of the day and of the week and a damped trend, weighed by how well each "
    "would have done lately; the band holds in 80 of 100 cases"
)
_SECOND_NS = 10**9


def amount_text(amount: int | None, unit: str) -> str | None:
    """Whole units as a decimal string of USD (nine decimals) or GPU-hours (six)."""
    if amount is None or unit == "USD":
        return format_usd(amount)
    hours = (Decimal(amount) / WHOLE_UNITS["gpu-hours"]).quantize(Decimal("0.000001"))
    return f"{hours:f}"


def expected(status: BudgetStatus) -> tuple[int | None, int | None, int | None]:
    """Middle, low and high of what the period is expected to end at, whole units."""
    outlook = status.outlook
    return (None, None, None) if outlook is None else (outlook.middle, outlook.low, outlook.high)


def status_json(status: BudgetStatus) -> dict[str, object]:
    """One budget; keys of amounts end in its unit."""
    unit, outlook = status.unit.lower().replace("-", "_"), status.outlook
    middle, low, high = expected(status)
    left = None if status.spent is None else max(0, status.limit - status.spent)
    burn = None if status.burn is None else round(status.burn)
    amounts = {
        "limit": status.limit, "spent": status.spent, "by_requests": status.by_requests, "beside": status.beside, "left": left,
        "burn_per_hour": burn, "forecast": middle, "forecast_low": low, "forecast_high": high,
    }  # fmt: skip
    return {
        "budget": status.name,
        "where": status.where,
        "limit": status.limit_text,
        "unit": status.unit,
        "at_limit": status.at_limit,
        "since": iso(status.since_ns),
        "until": iso(status.until_ns),
        "rolling": status.rolling,
        **{f"{name}_{unit}": amount_text(amount, status.unit) for name, amount in amounts.items()},
        "share": None if status.share is None else round(float(status.share), 6),
        "unpriced_requests": status.unpriced,
        "exceeds": None if outlook is None or outlook.exceeds_ns is None else iso(outlook.exceeds_ns // _SECOND_NS * _SECOND_NS),
        "forecast_is": FORECAST_IS,
        "marks": [{"at": mark.at, "passed": mark.passed, "notify": mark.notify} for mark in status.marks],
        "alerts": list(alerts(status)),
        "note": status.note,
    }


def standing_json(standing: Standing) -> dict[str, object]:
    """A budget with its course by hour."""
    unit = standing.status.unit
    return status_json(standing.status) | {"course": _course_json(standing.course, unit)}


def _course_json(course: Course, unit: str) -> dict[str, object]:
    return {
        "past": [{"at": iso(at_ns), "spent": amount_text(amount, unit)} for at_ns, amount in course.past],
        "ahead": [
            {
                "at": iso(point.at_ns),
                "middle": amount_text(point.middle, unit),
                "low": amount_text(point.low, unit),
                "high": amount_text(point.high, unit),
            }
            for point in course.ahead
        ],
    }


def alerts(status: BudgetStatus) -> tuple[str, ...]:
    """What is open on a budget, worst first."""
    share = status.share
    if share is None:
        return ()
    limit = re.sub(r"^\d+", lambda number: f"{int(number[0]):,}", status.limit_text.strip())
    if share >= 1:
        return (f"{status.name}: {cut_percent(share)} % of {limit} is spent",)
    passed = [mark.at for mark in status.marks if mark.passed and not isinstance(mark.at, str)]
    found = [f"{status.name}: past the {max(passed):g} % mark of {limit}"] if passed else []
    if status.outlook is not None and status.outlook.middle > status.limit:
        expected = cut_percent(Fraction(status.outlook.middle, status.limit))
        found.append(f"{status.name}: {expected} % of {limit} is to be expected")
    return tuple(reversed(found))


def budgets_json(statuses: Iterable[BudgetStatus]) -> list[dict[str, object]]:
    return [status_json(status) for status in statuses]


def cut_percent(share: Fraction) -> str:
    """A share in percent, cut to one decimal as the pages do."""
    return f"{share * 1000 // 1 / 10:g}"
