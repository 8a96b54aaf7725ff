"""Budgets at a terminal: one line each, and the course of one with its band as bars."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from penstock.cli.cost_table import UNKNOWN, money, printable
from penstock.cli.output import stdout_console
from penstock.domain.budgets.limits import WHOLE_UNITS, calendar
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.prices.schedule import DAY_NS
from penstock.domain.units import usd
from penstock.finops.budgets.standing import Standing
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.budgets.status_json import cut_percent

BAR, WIDE = 10, 48
SPENT, EXPECTED, HIGH, LIMIT = "█", "▒", "░", "|"
PLAIN_WIDTH = 1000
NONE = "-"


class Step(msgspec.Struct, frozen=True):
    """Spend of the period through an instant, whole units: `low` and `high` of what is past are the spend."""

    at_ns: int
    spent: int
    """the part that is spent by now"""
    middle: int
    low: int
    high: int


def print_budgets(statuses: Sequence[BudgetStatus], zones: Mapping[str, str]) -> None:
    """The table, then what is not known or left out. `zones`: of each budget's periods."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = stdout_console()
    if not console.is_terminal:
        console = Console(file=console.file, highlight=False, markup=False, emoji=False, color_system=None, width=PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold" if console.is_terminal else "")
    for title in ("budget", "where"):
        table.add_column(title, overflow="fold")
    for title in ("spent", "limit", "left", "share", "at limit", "marks passed", "expected", "80 % band", "limit reached"):
        table.add_column(title, justify="left" if title in ("share", "at limit", "marks passed", "limit reached") else "right")
    for status in statuses:
        over = console.is_terminal and status.share is not None and status.share >= 1
        table.add_row(*(Text(cell) for cell in _cells(status, zones[status.name])), style="bold red" if over else "")
    console.print(table)
    clauses: dict[str, list[str]] = {}
    for status in statuses:
        for clause in _clauses(status):
            clauses.setdefault(clause, []).append(printable(status.name))
    for clause, names in clauses.items():
        console.print(Text(f"{', '.join(names)}: {clause}", style="dim" if console.is_terminal else ""), soft_wrap=True)


def _clauses(status: BudgetStatus) -> list[str]:
    """What is not known or left out."""
    unseen = [] if status.outlook is not None or status.spent is None else ["too little is known to say what is to be expected"]
    return [*(status.note.split("; ") if status.note else ()), *unseen]


def _cells(status: BudgetStatus, zone: str) -> tuple[str, ...]:
    outlook, unit = status.outlook, status.unit
    left = None if status.spent is None else max(0, status.limit - status.spent)
    middle, low, high = (None, None, None) if outlook is None else (outlook.middle, outlook.low, outlook.high)
    told = amounts([status.spent, status.limit, left, middle, low, high], unit)
    marks = " ".join(f"{mark.at:g}" if not isinstance(mark.at, str) else mark.at for mark in status.marks if mark.passed)
    where = " ".join(f"{printable(key)}={printable(value)}" for key, value in status.where.items())
    share = UNKNOWN if status.share is None else f"{bar(float(status.share))} {cut_percent(status.share)} %"
    band = NONE if outlook is None else f"{told[4]} to {told[5]}"
    return (
        printable(status.name), where or "all", told[0], f"{told[1]}{_period(status)}", told[2], share, status.at_limit, marks or NONE,
        NONE if outlook is None else told[3], band, _reached(status, zone),
    )  # fmt: skip


def _reached(status: BudgetStatus, zone: str) -> str:
    """When the limit is expected to be passed; `passed 2026-11-21` where it was."""
    at = _passes(status, zone)
    if status.share is not None and status.share >= 1:
        return "passed" if at is None else f"passed {at}"
    return at or NONE


def _passes(status: BudgetStatus, zone: str) -> str | None:
    """When the limit is or was passed, to the minute in periods of up to two days; None: not in this one, or nobody knows."""
    if status.outlook is None or status.outlook.exceeds_ns is None:
        return None
    form = "%Y-%m-%d %H:%M" if status.until_ns - status.since_ns <= 2 * DAY_NS else "%Y-%m-%d"
    return f"{_local(status.outlook.exceeds_ns, zone):{form}}"


def _period(status: BudgetStatus) -> str:
    return f" / {status.limit_text.partition('/')[2].strip()}"


def amounts(values: Sequence[int | None], unit: str) -> list[str]:
    """Whole units as USD or GPU-hours, with the same decimals."""
    if unit == "USD":
        return money([None if value is None else usd(value) for value in values])
    return [UNKNOWN if value is None else f"{value / WHOLE_UNITS['gpu-hours']:,.1f} h" for value in values]


def bar(share: float) -> str:
    """A share as a bar; beyond the limit it is full."""
    full = min(BAR, int(share * BAR))
    return SPENT * full + HIGH * (BAR - full)


def print_course(standing: Standing, zone: str, now_ns: int) -> None:
    """A line for every day (every hour of short periods): spend through it, the band, and both as a bar against the limit."""
    from rich.text import Text

    status, console = standing.status, stdout_console()
    strong, soft = ("bold", "dim") if console.is_terminal else ("", "")
    console.print(Text(f"{printable(status.name)}: {headline(status, zone)}", style=strong), soft_wrap=True)
    steps = list(course_steps(standing, zone, now_ns))
    if steps:
        title = "  ".join(f"{word:>12}" for word in ("expected", "low", "high"))
        key = f"{SPENT} spent {EXPECTED} expected {HIGH} high {LIMIT} limit"
        console.print(Text(f"  {'through':<16}  {title}  {key}", style=soft), soft_wrap=True)
    told = amounts([amount for step in steps for amount in (step.middle, step.low, step.high)], status.unit)
    most = max([status.limit, *(step.high for step in steps)])
    for place, step in enumerate(steps):
        band = told[3 * place : 3 * place + 3] if step.at_ns > now_ns else [told[3 * place], "", ""]
        figures = "  ".join(f"{figure:>12}" for figure in band)
        console.print(Text(f"  {_through(step, status, zone):<16}  {figures}  {drawn(step, status.limit, most)}"), soft_wrap=True)
    if status.note:
        console.print(Text(f"  {status.note}", style=soft), soft_wrap=True)
    console.print()


def headline(status: BudgetStatus, zone: str) -> str:
    """Spend, what is expected, and when the limit is passed, in a sentence."""
    spent, limit = amounts([status.spent, status.limit], status.unit)
    unit = "" if status.unit != "USD" else " USD"
    told = f"{spent} of {limit}{unit}{_period(status)} is spent"
    if status.outlook is None:
        return f"{told}; too little is known to say more"
    middle, low, high = amounts([status.outlook.middle, status.outlook.low, status.outlook.high], status.unit)
    told += f"; {middle} ({low} to {high}) is to be expected {'in the next window' if status.rolling else 'at its end'}"
    at = _passes(status, zone)
    if status.share is not None and status.share >= 1:
        return f"{told}; the limit was passed" if at is None else f"{told}; the limit was passed on {at}"
    return told if at is None else f"{told}; the limit is passed on {at}"


def course_steps(standing: Standing, zone: str, now_ns: int) -> Iterator[Step]:
    """Spend through each day, or each hour, of the period; of a window that rolls from now on."""
    status, course = standing.status, standing.course
    if not course.ahead:
        return
    last, begin = course.ahead[-1].at_ns, now_ns if status.rolling else status.since_ns
    edges = list(_edges(begin, last, zone, hourly=last - begin <= 2 * DAY_NS))
    for edge in edges:
        if edge <= now_ns:
            amount = max((spent for at_ns, spent in course.past if at_ns <= edge), default=0)
            yield Step(edge, amount, amount, amount, amount)
        else:
            point = max((point for point in course.ahead if point.at_ns <= edge), key=lambda point: point.at_ns, default=course.ahead[0])
            spent = 0 if status.rolling else status.spent or 0
            yield Step(edge, spent, point.middle, point.low, point.high)


def _edges(begin_ns: int, end_ns: int, zone: str, *, hourly: bool) -> Iterator[int]:
    at = begin_ns
    while at < end_ns:
        at = (at // HOUR_NS + 1) * HOUR_NS if hourly else calendar("day", at, zone)[1]
        yield min(at, end_ns)


def drawn(step: Step, limit: int, most: int) -> str:
    """Spent, expected and high as a bar, the limit as a stroke through it."""
    places = [round(WIDE * amount / most) if most else 0 for amount in (step.spent, step.middle, step.high, limit)]
    spent, middle, high, edge = places
    line = SPENT * spent + EXPECTED * max(0, middle - spent) + HIGH * max(0, high - max(middle, spent))
    line = line.ljust(WIDE + 1)
    return (line[:edge] + LIMIT + line[edge + 1 :]).rstrip()


def _through(step: Step, status: BudgetStatus, zone: str) -> str:
    """The day that ends there, or the instant."""
    if status.until_ns - status.since_ns > 2 * DAY_NS:
        return f"{_local(step.at_ns - 10**9, zone):%Y-%m-%d}"
    return f"{_local(step.at_ns, zone):%Y-%m-%d %H:%M}"


def _local(at_ns: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ns / 10**9, ZoneInfo(zone))
