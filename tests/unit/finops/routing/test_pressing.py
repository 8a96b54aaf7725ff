"""A budget whose forecast is above its limit presses on the routes that follow it."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from penstock.config.spending import Budget
from penstock.finops.books import Books
from penstock.finops.routing.pressing import FRESH_NS, MOST, BudgetPressure
from tests.unit.finops.test_standing import NOW, books, even

TIGHT, WIDE = Budget(name="tight", limit="10 USD / month"), Budget(name="wide", limit="100000 USD / month")


class Looks:
    """Books that count how often they are opened."""

    def __init__(self) -> None:
        self.opened = 0
        self.books: Books = books(list(even(NOW, 20, 24)), (TIGHT, WIDE), NOW)

    @contextmanager
    def __call__(self, now_ns: int) -> Iterator[Books]:
        self.opened += 1
        yield msgspec.structs.replace(self.books, now_ns=now_ns)


def test_it_is_forecast_over_limit_and_bounded() -> None:
    looks = Looks()
    pressure = BudgetPressure(looks.books.settings, looks)
    assert (pressure("tight", NOW), pressure("wide", NOW), pressure("unknown", NOW)) == (MOST, 1.0, 1.0)


def test_it_is_looked_at_once_a_minute() -> None:
    looks = Looks()
    pressure = BudgetPressure(looks.books.settings, looks)
    for later in (0, 1, FRESH_NS - 1):
        pressure("tight", NOW + later)
    assert looks.opened == 1
    pressure("tight", NOW + FRESH_NS)
    assert looks.opened == 2
