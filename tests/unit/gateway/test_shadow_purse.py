"""What shadows of a route may cost at a worker."""

from penstock.domain.budgets.limits import Law
from penstock.gateway.routing.shadowing import Purse

HOUR = 3600 * 10**9


def test_what_is_held_leaves_no_room_until_it_is_settled() -> None:
    purse = Purse(Law("USD", 100, "hour"))
    assert purse.take(60, 0)
    assert not purse.take(41, 0)
    purse.settle(60, 20, 0)
    assert purse.take(80, 0)
    assert not purse.take(1, 0)


def test_a_new_period_has_all_of_it_again() -> None:
    purse = Purse(Law("USD", 100, "hour"))
    assert purse.take(100, 0)
    purse.settle(100, 100, HOUR - 1)
    assert not purse.take(1, HOUR - 1)
    assert purse.take(100, HOUR)


def test_what_is_under_way_when_a_period_ends_is_spent_in_the_next() -> None:
    purse = Purse(Law("USD", 100, "hour"))
    assert purse.take(100, 0)
    assert not purse.take(1, HOUR)
    purse.settle(100, 90, HOUR)
    assert purse.take(10, HOUR) and not purse.take(1, HOUR)


def test_a_rolling_window_gives_it_back_bit_by_bit() -> None:
    purse = Purse(Law("USD", 100, rolling_ns=HOUR))
    for minute in (0, 30):
        assert purse.take(50, minute * HOUR // 60)
        purse.settle(50, 50, minute * HOUR // 60)
    assert not purse.take(1, HOUR)
    assert purse.take(50, 63 * HOUR // 60)
    assert not purse.take(1, 63 * HOUR // 60)
