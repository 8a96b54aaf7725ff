"""How hard a budget presses: while its forecast is above its limit, cost weighs more on the routes that follow it.

It never goes past an error budget: that bounds what may be open, and the weight only chooses among it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from penstock.config.settings import Settings
from penstock.finops.books import Books
from penstock.finops.budgets.history import Histories
from penstock.finops.budgets.standing import budget_standings
from penstock.finops.budgets.status import BudgetStatus

MOST: Final = 4.0
FRESH_NS: Final = 60 * 10**9


def pressure_of(status: BudgetStatus) -> float:
    """Forecast over limit, from 1 to `MOST`; 1 while there is no forecast."""
    if status.outlook is None or not status.limit:
        return 1.0
    return min(MOST, max(1.0, status.outlook.middle / status.limit))


class BudgetPressure:
    """Looks at the budgets of the config at most every `FRESH_NS`."""

    def __init__(self, settings: Settings, books: Callable[[int], AbstractContextManager[Books]]) -> None:
        self._settings, self._books, self._histories = settings, books, Histories()
        self._known: dict[str, float] = {}
        self._read_ns: int | None = None

    def __call__(self, budget: str, now_ns: int) -> float:
        """1 for a budget that the config does not have. Raises `StoreError`."""
        if self._read_ns is None or not 0 <= now_ns - self._read_ns < FRESH_NS:
            with self._books(now_ns) as books:
                self._known = {status.name: pressure_of(status) for status in budget_standings(books, self._histories.series)}
            self._read_ns = now_ns
        return self._known.get(budget, 1.0)
