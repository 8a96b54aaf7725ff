"""How a budget's spend came about and where it leads, hour by hour, from the ledger's hourly sums and the forecast of them."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate

import msgspec

from penstock.domain.budgets.forecast import HISTORY, WEEK, forecast
from penstock.domain.budgets.limits import Law
from penstock.domain.dialects.content import normal_tag
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.grouping import SUMMED
from penstock.finops.books import Books
from penstock.finops.budgets.beside import BesideRequests, hour_of, output_of, planned_work
from penstock.finops.budgets.requests import Requests
from penstock.finops.budgets.status import Outlook

READ_WHOLE = 2 * WEEK
"""hours of history where the store keeps no sums by what a budget names, so that every record is read"""
BURN_HOURS = 6
Where = Mapping[str, str]


class Series(msgspec.Struct, frozen=True):
    """Spend by whole hours from `first` (numbered since 1970) on, and what the running hour came to so far; whole units."""

    first: int
    hours: tuple[int, ...]
    running: int

    @property
    def end(self) -> int:
        """The running hour."""
        return self.first + len(self.hours)


class Point(msgspec.Struct, frozen=True):
    """Spend of the period through an instant to come, whole units, with the band that holds in 80 of 100 cases."""

    at_ns: int
    middle: int
    low: int
    high: int


class Course(msgspec.Struct, frozen=True):
    """`past`: (instant, spend of the period until then), by hour; `ahead`: the hours to come until the period ends."""

    past: tuple[tuple[int, int], ...] = ()
    ahead: tuple[Point, ...] = ()
    outlook: Outlook | None = None
    burn: Fraction | None = None
    """whole units an hour, over the last hours"""


def series(books: Books, where: Where, law: Law, requests: Requests, beside: BesideRequests) -> Series | None:
    """The hours that a forecast is made from; None of an empty ledger."""
    first, end = first_hour(books, where), books.now_ns // HOUR_NS
    if first is None:
        return None
    amounts = hours_of(books, where, law, requests, beside, first, end)
    return Series(first, tuple(amounts[:-1]), amounts[-1])


def first_hour(books: Books, where: Where) -> int | None:
    """The first whole hour of the history of what a budget counts; None of an empty ledger."""
    begin, end = books.ledger.begin, books.now_ns // HOUR_NS
    if begin is None:
        return None
    history = HISTORY if {normal_tag(key) for key in where} <= {*SUMMED} else READ_WHOLE
    return min(max(-(-begin // HOUR_NS), end - history), end)


def hours_of(books: Books, where: Where, law: Law, requests: Requests, beside: BesideRequests, first: int, last: int) -> list[int]:
    """What each hour from `first` through `last` came to, whole units."""
    found = beside.by_hour(where, law.unit, first, last + 1)
    by = ("hour",) if law.unit == "USD" else ("hour", "fleet")
    for keys, sums in requests.sums(where, first * HOUR_NS, max(min(books.now_ns, (last + 1) * HOUR_NS), first * HOUR_NS + 1), by):
        if keys[0] is not None:
            amount = sums.cost if law.unit == "USD" else planned_work(books.settings, keys[1], output_of(sums))
            found[hour_of(keys[0])] += amount or 0
    return [max(0, found[hour]) for hour in range(first, last + 1)]


def course(told: Series | None, law: Law, spent: int, now_ns: int) -> Course:
    """The course of a budget that has `spent` so much of its current period."""
    if told is None:
        return Course()
    since, until = law.span(now_ns).since, law.span(now_ns).until
    if law.rolling_ns is not None:
        until = now_ns + law.rolling_ns
    ahead = tuple(_ahead(told, spent if law.rolling_ns is None else 0, now_ns, until))
    past = tuple(_past(told, since, spent, now_ns))
    exceeds = _over(law, past, ahead) if law.rolling_ns is None else _rolling_over(told, law, ahead, now_ns, spent)
    outlook = Outlook(ahead[-1].middle, ahead[-1].low, ahead[-1].high, exceeds) if ahead else None
    return Course(past, ahead, outlook, _burn(told, now_ns))


def _ahead(told: Series, spent: int, now_ns: int, until_ns: int) -> Iterator[Point]:
    """What of the running hour is over already is left out of its forecast, and what of the last one is beyond the period."""
    found = forecast(told.hours, -(-until_ns // HOUR_NS) - told.end)
    if found is None:
        return
    over = (now_ns - told.end * HOUR_NS) / HOUR_NS
    gone = found.hours[0] * over
    sums = list(accumulate(found.hours))
    for index, whole in enumerate(sums):
        end = (told.end + index + 1) * HOUR_NS
        cut = max(0, end - until_ns) / HOUR_NS * found.hours[index]
        share = max(0.0, whole - gone - cut) / whole if whole else 0.0
        low, high = found.low[index], found.high[index]
        yield Point(min(end, until_ns), spent + round(whole * share), spent + round(low * share), spent + round(high * share))


def _past(told: Series, since_ns: int, spent: int, now_ns: int) -> Iterator[tuple[int, int]]:
    """Backwards from what was spent until now, so that the last point is the spend."""
    amounts = [(told.end, told.running), *((told.end - back, amount) for back, amount in enumerate(reversed(told.hours), 1))]
    points, left = [(now_ns, spent)], spent
    for hour, amount in amounts:
        left = max(0, left - amount)
        if hour * HOUR_NS < since_ns:
            break
        points.append((hour * HOUR_NS, left))
    yield from reversed(points)


def _over(law: Law, past: Sequence[tuple[int, int]], ahead: Sequence[Point]) -> int | None:
    """When the limit was passed, or the middle passes it."""
    before_ns, before = past[0]
    for at_ns, amount in (*past, *((point.at_ns, point.middle) for point in ahead)):
        if amount > law.amount:
            whole = amount - before
            return at_ns if before > law.amount or not whole else before_ns + (at_ns - before_ns) * (law.amount - before) // whole
        before_ns, before = at_ns, amount
    return None


def _rolling_over(told: Series, law: Law, ahead: Sequence[Point], now_ns: int, spent: int) -> int | None:
    """When a window that rolls is expected to hold more than the limit: what comes joins it, what is older leaves it."""
    if spent > law.amount:
        return now_ns
    leaving = {told.first + index: amount for index, amount in enumerate(told.hours)}
    for point in ahead:
        oldest = (point.at_ns - (law.rolling_ns or 0)) // HOUR_NS
        gone = sum(amount for hour, amount in leaving.items() if now_ns - (law.rolling_ns or 0) <= hour * HOUR_NS and hour < oldest)
        if spent - gone + point.middle > law.amount:
            return point.at_ns
    return None


def _burn(told: Series, now_ns: int) -> Fraction | None:
    hours = min(BURN_HOURS, len(told.hours))
    lasted = now_ns - (told.end - hours) * HOUR_NS
    amount = told.running + sum(told.hours[len(told.hours) - hours :])
    return Fraction(amount * HOUR_NS, lasted) if hours and lasted else None
