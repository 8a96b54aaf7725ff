"""Prices through time: the entry in force, hours of the day, and one schedule laid over another."""

from datetime import UTC, date, datetime
from fractions import Fraction

from penstock.domain.prices.rates import Rates, compile_rates
from penstock.domain.prices.schedule import ALWAYS, DAY_NS, Schedule, Window, constant, midnight_ns, overlay

HOUR = 3600 * 10**9


def rates(name: str) -> Rates:
    return compile_rates(name, "1", {"uncached_input": Fraction(1)})


def at(schedule: Schedule, instant: int) -> str | None:
    found = schedule.at(instant)
    return None if found is None else found.id


def test_the_entry_in_force_counts_from_its_first_nanosecond() -> None:
    schedule = Schedule((100, 200), (rates("a"), rates("b")))
    assert [at(schedule, instant) for instant in (99, 100, 199, 200, 10**20)] == [None, "a", "a", "b", "b"]


def test_a_constant_price_has_always_held() -> None:
    assert at(constant(rates("a")), -(10**18)) == "a"


def test_hours_of_the_day_beat_their_entry() -> None:
    day = Window(9 * HOUR, 17 * HOUR, rates("day"))
    night = Window(22 * HOUR, 6 * HOUR, rates("night"))
    schedule = Schedule((ALWAYS, 10 * DAY_NS), (rates("a"), rates("b")), ((day, night), ()))
    hours = [at(schedule, 3 * DAY_NS + hour * HOUR) for hour in (0, 5, 6, 9, 16, 17, 22, 23)]
    assert hours == ["night", "night", "a", "day", "day", "a", "night", "night"]
    assert at(schedule, 11 * DAY_NS + 10 * HOUR) == "b"


def test_overlay_keeps_the_past_and_replaces_the_future() -> None:
    base = Schedule((0, 100, 300), (rates("a"), rates("b"), rates("c")), ((), (Window(0, DAY_NS, rates("hours")),), ()))
    later = Schedule((200, 400), (rates("x"), rates("y")))
    merged = overlay(base, later)
    assert [at(merged, instant) for instant in (0, 100, 199, 200, 300, 400)] == ["a", "hours", "hours", "x", "x", "y"]
    assert overlay(None, later) is later
    assert at(overlay(constant(rates("a")), later), 199) == "a"


def test_midnight_is_utc() -> None:
    assert midnight_ns(date(2026, 10, 1)) == int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 10**9
    assert midnight_ns(date(1970, 1, 1)) == 0
