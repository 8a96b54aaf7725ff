"""Where each budget of the config stands now: its period, what was spent, which marks are passed, and what is to come.

Requests count as they were booked when they were answered, provisionally where own fleets worked; what is unknown is told beside the
spend, which is then a lower bound. Nothing is enforced or sent here.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from penstock.config.limits import law_of
from penstock.config.spending import Alert, Budget
from penstock.domain.budgets.limits import Law
from penstock.domain.ledger.measures import Sums, lines, unpriced_lines
from penstock.finops.books import Books
from penstock.finops.budgets.beside import Beside, BesideRequests, output_of, planned_work
from penstock.finops.budgets.course import Course, Series, Where, course, series
from penstock.finops.budgets.requests import Requests
from penstock.finops.budgets.status import BudgetStatus, Mark, Outlook
from penstock.finops.ledger import Keys

Read = Callable[[Books, Where, Law, Requests, BesideRequests], Series | None]
MARKS: tuple[float | str, ...] = (50.0, 80.0, 95.0, "forecast")
"""percent of the limit, where a budget names none"""


class Standing(msgspec.Struct, frozen=True):
    """A budget's status and the course that it rests on."""

    status: BudgetStatus
    course: Course
    refused: int | None = None
    """requests of this period that fall under it and were answered with 402; None: not counted"""


class Booked(msgspec.Struct, frozen=True):
    """What requests came to, whole units; None: nothing of it is known."""

    amount: int | None
    unpriced: int
    note: str


def budget_standings(books: Books, read: Read = series) -> tuple[BudgetStatus, ...]:
    """The status of every budget, in the order of the config. Raises `UnitError` for a limit that cannot be read."""
    return tuple(each.status for each in standings(books, books.settings.budgets, read))


def standings(books: Books, budgets: Sequence[Budget], read: Read = series) -> tuple[Standing, ...]:
    """As `budget_standings`, of any budgets, with the course of each. `read`: `Histories.series` for who looks again and again."""
    laws = [law_of(budget, books.settings.server.timezone) for budget in budgets]
    requests, beside = Requests(books, [budget.where for budget in budgets]), BesideRequests(books)
    return tuple(_standing(books, budget, law, requests, beside, read) for budget, law in zip(budgets, laws, strict=True))


def _standing(books: Books, budget: Budget, law: Law, requests: Requests, beside: BesideRequests, read: Read) -> Standing:
    now_ns, span = books.now_ns, law.span(books.now_ns)
    booked = booked_of(books, law, requests.sums(budget.where, span.since, max(now_ns, span.since + 1), ("fleet",)))
    other = beside.of(budget.where, law.unit, span.since, now_ns)
    spent = None if booked.amount is None else booked.amount + other.amount
    led = Course() if spent is None else course(read(books, budget.where, law, requests, beside), law, spent, now_ns)
    return Standing(status_of(budget, law, now_ns, booked, other, led), led)


def status_of(budget: Budget, law: Law, now_ns: int, booked: Booked, other: Beside, led: Course) -> BudgetStatus:
    """A budget that has spent so much by requests and beside them."""
    spent, span = None if booked.amount is None else booked.amount + other.amount, law.span(now_ns)
    return BudgetStatus(
        name=budget.name,
        where=budget.where,
        limit_text=budget.limit,
        unit="USD" if law.unit == "USD" else "gpu-hours",
        limit=law.amount,
        at_limit=budget.at_limit,
        since_ns=span.since,
        until_ns=now_ns if law.period is None else span.until,
        rolling=law.period is None,
        spent=spent,
        by_requests=booked.amount,
        beside=other.amount,
        unpriced=booked.unpriced,
        burn=led.burn,
        outlook=led.outlook,
        marks=_marks(budget, law, spent, led.outlook),
        note="; ".join(filter(None, (booked.note, other.note))),
    )


def booked_of(books: Books, law: Law, groups: Iterable[tuple[Keys, Sums]]) -> Booked:
    """By sums of its requests; by their fleet first, where the limit is in GPU-hours."""
    if law.unit != "USD":
        return _work(books, groups)
    total = Sums()
    for _, sums in groups:
        total.add(sums)
    unpriced = unpriced_lines(total)
    if unpriced and unpriced == lines(total):
        return Booked(None, unpriced, "none of its requests has a price, so what was spent is unknown")
    whose = "its requests and of the calls beside them" if total.asides_unpriced else "its requests"
    notes = [f"{unpriced:,} of {whose} have no price: it is at least this"] if unpriced else []
    notes += [f"{total.estimated:,} of {total.priced:,} costs are estimated"] if total.estimated else []
    return Booked(total.cost, unpriced, "; ".join(notes))


def _work(books: Books, groups: Iterable[tuple[Keys, Sums]]) -> Booked:
    """GPU time that own fleets are planned to take for these requests. What is not planned is counted beside them, as it is allocated."""
    amount, gone = 0, set[str]()
    for (fleet, *_), sums in groups:
        amount += planned_work(books.settings, fleet, output_of(sums)) or 0
        if fleet is not None and fleet not in books.settings.fleets:
            gone.add(fleet)
    note = f"work of fleet {', '.join(sorted(gone))} is not counted: the config does not name it any more" if gone else ""
    return Booked(amount, 0, note)


def _marks(budget: Budget, law: Law, spent: int | None, outlook: Outlook | None) -> tuple[Mark, ...]:
    """The marks of the config, each once, in its order."""
    found: dict[float | str, Mark] = {}
    for mark in budget.alert_at or MARKS:
        at, notify = (mark.at, mark.notify or budget.notify) if isinstance(mark, Alert) else (mark, budget.notify)
        if at == "forecast":
            passed = outlook is not None and outlook.middle > law.amount
            found["forecast"] = Mark("forecast", passed, notify)
        elif not isinstance(at, str):
            found[float(at)] = Mark(float(at), spent is not None and spent * 100 >= at * law.amount, notify)
    return tuple(found.values())
