"""Where each budget stands in its current period: what was spent, with and without requests, what is to come, which marks are passed."""

from fractions import Fraction
from typing import Literal

import msgspec


class Mark(msgspec.Struct, frozen=True):
    """A mark of a budget: percent of its limit, or the forecast that passes it; `notify`: who hears of it."""

    at: float | Literal["forecast"]
    passed: bool
    notify: tuple[str, ...] = ()


class Outlook(msgspec.Struct, frozen=True):
    """What the period is expected to end at, in whole units, with the band that holds in 80 of 100 cases."""

    middle: int
    low: int
    high: int
    exceeds_ns: int | None
    """when spend is expected to pass the limit; None: not in this period"""


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in [since_ns, until_ns). Amounts are whole units (`domain.budgets.limits.WHOLE_UNITS`: nano-USD, or microseconds of one
    GPU); None is unknown, and `note` says why."""

    name: str
    where: dict[str, str]
    limit_text: str
    unit: Literal["USD", "gpu-hours"]
    limit: int
    at_limit: str
    since_ns: int
    until_ns: int
    rolling: bool
    spent: int | None
    """by requests and without them"""
    by_requests: int | None
    """as booked when they were answered; provisional for own fleets"""
    beside: int
    """without a request: rent of own fleets that no request was booked for, recorded runs, other costs"""
    unpriced: int
    """answered requests of the period that have no price and are not in `spent`"""
    burn: Fraction | None
    """whole units an hour, over the last hours"""
    outlook: Outlook | None
    marks: tuple[Mark, ...]
    note: str
    keys: tuple[str, ...] = ()
    """whose own budget it is: ids of a key and of those that took its place; none: one of the config"""

    @property
    def share(self) -> Fraction | None:
        """Spend over the limit."""
        return None if self.spent is None or not self.limit else Fraction(self.spent, self.limit)
