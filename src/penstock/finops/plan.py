"""Whether spend is on plan: each budget in its current period, the marks it has passed, and where a straight line would end.

Nothing is enforced or sent here; what is unknown (unpriced requests) is told beside the spend, which is then a lower bound.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec

from penstock.config.limits import Limit, parse_limit
from penstock.config.settings import Alert, Budget
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.units import format_usd, nano_from_usd
from penstock.finops.ledger import Summed
from penstock.finops.window import iso

MARKS = (50.0, 80.0, 95.0)
"""percent of the limit, where a budget names none"""
EARLIEST_PACE = Fraction(1, 50)
"""share of a period that must be over before a straight line through it says anything"""
PACE = "a straight line: spent so far, and the rest of the period at the same rate; no weekday or season is known to it"


class BudgetStatus(msgspec.Struct, frozen=True):
    """One budget in its current period [since_ns, until_ns): nano-USD, None is unknown and `note` says why."""

    name: str
    where: dict[str, str]
    limit_text: str
    limit: int | None
    since_ns: int
    until_ns: int
    rolling: bool
    spent: int | None
    unpriced: int
    """answered requests of the period that have no price and are not in `spent`"""
    pace: int | None
    """spend at the end of the period, by `PACE`"""
    marks: tuple[tuple[float, bool], ...]
    """percent of the limit, and whether spend has passed it"""
    note: str

    @property
    def share(self) -> Fraction | None:
        """Spend over the limit."""
        return None if self.spent is None or not self.limit else Fraction(self.spent, self.limit)

    @property
    def alerts(self) -> tuple[str, ...]:
        """What is open on this budget, worst first."""
        return _alerts(self)


def plan_status(budgets: Sequence[Budget], ledger: Summed, now_ns: int, timezone: str = "UTC") -> tuple[BudgetStatus, ...]:
    """The status of every budget, in the order of the config. Raises `UnitError` for a limit that cannot be read."""
    span = ledger.span()
    return tuple(_status(budget, ledger, now_ns, timezone, span[0] if span else None) for budget in budgets)


def period(limit: Limit, now_ns: int, timezone: str) -> tuple[int, int]:
    """The current period of a limit: calendar periods in the zone (a week begins on Monday), a rolling one ends now."""
    if limit.period is None:
        return now_ns - round((limit.rolling_s or 0) * 10**9), now_ns
    zone = ZoneInfo(timezone)
    now = datetime.fromtimestamp(now_ns // 10**9, zone)
    hour = now.replace(minute=0, second=0, microsecond=0)
    if limit.period == "hour":
        start = now_ns - now_ns % (60 * 10**9) - now.minute * 60 * 10**9
        return start, start + HOUR_NS
    day = hour.replace(hour=0, fold=0)
    first, last = {
        "day": (day, day + timedelta(days=1)),
        "week": (day - timedelta(days=day.weekday()), day + timedelta(days=7 - day.weekday())),
        "month": (day.replace(day=1), (day.replace(day=28) + timedelta(days=4)).replace(day=1)),
    }[limit.period]
    return round(first.timestamp()) * 10**9, round(last.timestamp()) * 10**9


def _status(budget: Budget, ledger: Summed, now_ns: int, timezone: str, first_ns: int | None) -> BudgetStatus:
    limit = parse_limit(budget.limit)
    since, until = period(limit, now_ns, timezone)
    marks = tuple(_percent(mark) for mark in budget.alert_at if _percent(mark) is not None) or MARKS
    bare = BudgetStatus(
        name=budget.name,
        where=budget.where,
        limit_text=budget.limit,
        limit=None,
        since_ns=since,
        until_ns=until,
        rolling=limit.period is None,
        spent=None,
        unpriced=0,
        pace=None,
        marks=tuple((mark, False) for mark in marks if mark is not None),
        note="GPU-hours are not counted by request yet, so the use of this budget is unknown",
    )
    if limit.unit != "USD":
        return bare
    sums = Sums()
    for _, group in ledger.sums(CostQuery(since_ns=since, until_ns=max(now_ns, since + 1), where=tuple(budget.where.items()))):
        sums.add(group)
    amount, unpriced = nano_from_usd(limit.amount.quantize(Decimal("1e-9"))), sums.requests - sums.priced
    spent = sums.cost if sums.priced or not sums.requests else None
    return msgspec.structs.replace(
        bare,
        limit=amount,
        spent=spent,
        unpriced=unpriced,
        pace=None if limit.period is None else _pace(spent, since, until, now_ns, first_ns),
        marks=tuple((mark, spent is not None and spent * 100 >= Fraction(mark) * amount) for mark, _ in bare.marks),
        note=_note(spent, unpriced, sums),
    )


def _note(spent: int | None, unpriced: int, sums: Sums) -> str:
    if spent is None:
        return "none of its requests has a price, so what was spent is unknown"
    parts = [f"{unpriced:,} of its requests have no price: it is at least this"] if unpriced else []
    parts += [f"{sums.estimated:,} of {sums.priced:,} costs are estimated"] if sums.estimated else []
    return "; ".join(parts)


def _percent(mark: float | str | Alert) -> float | None:
    at = mark.at if isinstance(mark, Alert) else mark
    return None if isinstance(at, str) else float(at)


def _pace(spent: int | None, since: int, until: int, now_ns: int, first_ns: int | None) -> int | None:
    """Spend at the end of the period at the rate since its begin, or since the ledger's first record if that is later."""
    begin = max(since, first_ns or since)
    if spent is None or now_ns - begin < (until - since) * EARLIEST_PACE:
        return None
    return spent + spent * max(0, until - now_ns) // (now_ns - begin)


def _alerts(status: BudgetStatus) -> tuple[str, ...]:
    share = status.share
    if share is None or status.limit is None:
        return ()
    limit = re.sub(r"^\d+", lambda number: f"{int(number[0]):,}", status.limit_text.strip())
    if share >= 1:
        return (f"{status.name}: {_cut(share)} % of {limit} is spent",)
    passed = [mark for mark, done in status.marks if done]
    found = [f"{status.name}: past the {max(passed):g} % mark of {limit}"] if passed else []
    if status.pace is not None and status.pace > status.limit:
        found.append(f"{status.name}: at this pace {_cut(Fraction(status.pace, status.limit))} % of {limit}")
    return tuple(reversed(found))


def _cut(share: Fraction) -> str:
    """A share in percent, cut to one decimal as the pages do."""
    return f"{share * 1000 // 1 / 10:g}"


def plan_json(statuses: Sequence[BudgetStatus]) -> list[dict[str, object]]:
    """The budgets as the JSON twin tells them: money as decimal strings, unknown as null."""
    return [
        {
            "budget": status.name,
            "where": status.where,
            "limit": status.limit_text,
            "limit_usd": format_usd(status.limit),
            "since": iso(status.since_ns),
            "until": iso(status.until_ns),
            "spent_usd": format_usd(status.spent),
            "share": None if status.share is None else round(float(status.share), 6),
            "unpriced_requests": status.unpriced,
            "pace_usd": format_usd(status.pace),
            "pace_is": PACE,
            "marks": [{"percent": mark, "passed": passed} for mark, passed in status.marks],
            "alerts": list(status.alerts),
            "note": status.note,
        }
        for status in statuses
    ]
