"""Hours of spend as they were read a little while ago: what is over hardly changes, and to read weeks of it takes long."""

from typing import Final

from penstock.domain.budgets.limits import Law
from penstock.domain.ledger.entries import HOUR_NS
from penstock.finops.books import Books
from penstock.finops.budgets.beside import BesideRequests
from penstock.finops.budgets.course import Series, Where, first_hour, hours_of, series
from penstock.finops.budgets.requests import Requests

FRESH_NS: Final = 300 * 10**9
"""how long hours are good that had long been over when they were read: late records and corrections are seen after that"""
LATE: Final = 2
"""hours before the running one that are always read"""
_Key = tuple[tuple[tuple[str, str], ...], str]


class Histories:
    """Of one config's budgets, for those who look again and again. Safe in threads: at worst something is read twice."""

    def __init__(self) -> None:
        self._kept: dict[_Key, tuple[int, Series]] = {}
        """(when it was read, what was read)"""

    def series(self, books: Books, where: Where, law: Law, requests: Requests, beside: BesideRequests) -> Series | None:
        """As `course.series`."""
        key = (tuple(sorted(where.items())), law.unit)
        first, end, kept = first_hour(books, where), books.now_ns // HOUR_NS, self._kept.get(key)
        if first is not None and kept is not None:
            read_ns, before = kept
            since = min(before.end, end) - LATE
            if 0 <= books.now_ns - read_ns < FRESH_NS and before.first <= first < since:
                amounts = hours_of(books, where, law, requests, beside, since, end)
                over = before.hours[first - before.first : since - before.first]
                return Series(first, (*over, *amounts[:-1]), amounts[-1])
        whole = series(books, where, law, requests, beside)
        if whole is not None:
            self._kept[key] = books.now_ns, whole
        return whole
