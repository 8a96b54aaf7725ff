"""A history that is kept a while says what one that is read anew says."""

from typing import Any

import pytest

from penstock.config.spending import Budget
from penstock.finops.budgets.history import FRESH_NS, Histories
from penstock.finops.budgets.standing import standings
from tests.unit.finops.test_standing import DAY, HOUR, NOW, USD, books, even, spent

BUDGETS = (
    Budget(name="all", limit="1000 USD / month"),
    Budget(name="a", limit="1000 USD / month", where={"team": "a"}),
    Budget(name="day", limit="50 USD / rolling 24h"),
)
PAST = [*even(NOW, 20, 24), *(spent(f"t{day}", USD, at=NOW - day * DAY, tags={"team": "a"}) for day in range(1, 9))]


@pytest.mark.parametrize("later", [0, 60, 299, 301, 1_500, 3_700, 3 * 3_600])
def test_looking_again_says_the_same(later: int) -> None:
    """Whatever came since, the hour turned over among it."""
    kept, then = Histories(), NOW + later * 10**9
    standings(books(PAST, BUDGETS, NOW), BUDGETS, kept.series)
    new = [spent(f"n{at}", 3 * USD, at=NOW + at * 10**9, tags={"team": "a"}) for at in range(0, later, 40)]
    again = standings(books([*PAST, *new], BUDGETS, then), BUDGETS, kept.series)
    assert again == standings(books([*PAST, *new], BUDGETS, then), BUDGETS)


def test_what_is_told_late_of_long_ago_is_seen_after_a_while() -> None:
    kept, late = Histories(), spent("late", 40 * USD, at=NOW - 9 * HOUR)

    def expected(records: list[Any], at: int) -> tuple[int | None, int | None]:
        [found] = standings(books(records, BUDGETS[:1], at), BUDGETS[:1], kept.series)
        return found.status.spent, None if found.status.outlook is None else found.status.outlook.middle

    before, ahead = expected(PAST, NOW)
    assert before is not None and ahead is not None
    at_once, _ = expected([*PAST, late], NOW + 10**9)
    assert at_once == before + 40 * USD, "what was spent is never kept"
    _, later = expected([*PAST, late], NOW + FRESH_NS)
    [anew] = standings(books([*PAST, late], BUDGETS[:1], NOW + FRESH_NS), BUDGETS[:1])
    assert anew.status.outlook is not None and later == anew.status.outlook.middle


def test_a_clock_that_was_set_back_is_read_anew() -> None:
    kept = Histories()
    standings(books(PAST, BUDGETS, NOW), BUDGETS, kept.series)
    back = books(PAST, BUDGETS, NOW - 2 * DAY)
    assert standings(back, BUDGETS, kept.series) == standings(back, BUDGETS)
