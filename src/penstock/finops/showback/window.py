"""The windows of a review: the last whole week or month, or any window, each beside the one that it is compared with."""

from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from penstock.finops.window import Window, iso

ReviewKind = Literal["week", "month", "window"]
WEEK = timedelta(days=7)


class Review(msgspec.Struct, frozen=True):
    """A window, and the one before that it is compared with."""

    kind: ReviewKind
    now: Window
    before: Window


def last_week(now_ns: int, timezone: str) -> Review:
    """The last whole week, Monday to Sunday in the zone, and the week before it."""
    today = _day(now_ns, timezone)
    end = today - timedelta(days=today.weekday())
    return Review("week", _week(end - WEEK, timezone), _week(end - 2 * WEEK, timezone))


def last_month(now_ns: int, timezone: str) -> Review:
    """The last whole calendar month in the zone, and the one before it."""
    return _month(_day(now_ns, timezone).replace(day=1) - timedelta(days=1), timezone)


def review_of(asked: Window, now_ns: int) -> Review:
    """Any window, as far as it is over. A whole calendar month is compared with the month before it, everything else with the time of
    the same length that ends where it begins."""
    first = _day(asked.since_ns, asked.timezone)
    whole = _month(first, asked.timezone)
    if (asked.since_ns, asked.until_ns) == (whole.now.since_ns, whole.now.until_ns) and asked.until_ns <= now_ns:
        return whole
    until = max(min(asked.until_ns, now_ns), asked.since_ns + 1)
    before = Window(max(0, 2 * asked.since_ns - until), asked.since_ns, asked.timezone, f"as long before {iso(asked.since_ns)}")
    return Review("window", msgspec.structs.replace(asked, until_ns=until), before)


def _month(last: date, timezone: str) -> Review:
    """The month of a day, and the one before it."""
    begin = last.replace(day=1)
    end = (begin + timedelta(days=31)).replace(day=1)
    earlier = (begin - timedelta(days=1)).replace(day=1)
    now, before = _days(begin, end, timezone, f"{begin:%Y-%m}"), _days(earlier, begin, timezone, f"{earlier:%Y-%m}")
    return Review("month", now, before)


def _week(monday: date, timezone: str) -> Window:
    return _days(monday, monday + WEEK, timezone, f"{monday:%G-W%V}")


def _day(instant_ns: int, timezone: str) -> date:
    return datetime.fromtimestamp(instant_ns // 10**9, UTC).astimezone(ZoneInfo(timezone)).date()


def _days(first: date, end: date, timezone: str, label: str) -> Window:
    """[first, end) in whole days of the zone; nothing is before 1970."""
    since, until = (max(0, int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).timestamp())) for day in (first, end))
    return Window(since * 10**9, until * 10**9, timezone, label)
