"""A price through time: dated entries, of which the one in force at the instant of admission counts."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date

import msgspec

from penstock.domain.prices.rates import Rates

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
ALWAYS = -(2**63)
"""start of an entry that has always held"""


class Window(msgspec.Struct, frozen=True):
    """Hours of every UTC day with rates of their own, [start, end) in nanoseconds since midnight; over midnight when end < start."""

    start: int
    end: int
    rates: Rates

    def holds(self, time_of_day_ns: int) -> bool:
        if self.end < self.start:
            return time_of_day_ns >= self.start or time_of_day_ns < self.end
        return self.start <= time_of_day_ns < self.end


class Schedule(msgspec.Struct, frozen=True):
    """Entries in order of `starts` (unix nanoseconds, UTC). Before the first entry there is no price.

    `windows`, where there are any, stand beside the entries: the first that holds beats its entry.
    """

    starts: tuple[int, ...]
    rates: tuple[Rates, ...]
    windows: tuple[tuple[Window, ...], ...] = ()

    def at(self, instant_ns: int) -> Rates | None:
        """The rates in force at an instant, or None where the book says nothing."""
        index = bisect_right(self.starts, instant_ns) - 1
        if index < 0:
            return None
        if self.windows:
            for window in self.windows[index]:
                if window.holds(instant_ns % DAY_NS):
                    return window.rates
        return self.rates[index]

    def entries(self) -> Iterator[Rates]:
        """All rates, by date; after each those of hours of its days."""
        for index, rates in enumerate(self.rates):
            yield rates
            yield from (window.rates for window in (self.windows[index] if self.windows else ()))


def constant(rates: Rates) -> Schedule:
    """A price that has always held."""
    return Schedule((ALWAYS,), (rates,))


def overlay(base: Schedule | None, later: Schedule) -> Schedule:
    """`base` up to the first entry of `later`, and `later` from there on."""
    if base is None:
        return later
    kept = sum(start < later.starts[0] for start in base.starts)
    windows: tuple[tuple[Window, ...], ...] = ()
    if base.windows or later.windows:
        windows = (base.windows or ((),) * len(base.starts))[:kept] + (later.windows or ((),) * len(later.starts))
    return Schedule(base.starts[:kept] + later.starts, base.rates[:kept] + later.rates, windows)


def midnight_ns(day: date) -> int:
    """The instant at which a date begins, in UTC."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_NS
