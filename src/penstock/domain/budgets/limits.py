"""A limit over time, in whole units: what is counted, how much of it, and which buckets of time count at an instant.

A calendar limit has one bucket, its period. A rolling one is cut into `ROLLING_BUCKETS`: what was spent in a bucket counts until the whole
bucket is older than the window, so a cap holds over every window of that length, at the price of up to two buckets more.
"""

from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from penstock.domain.prices.schedule import HOUR_NS

Period = Literal["hour", "day", "week", "month"]
Unit = Literal["USD", "gpu-hours", "requests", "tokens", "concurrent"]
ROLLING_BUCKETS: Final = 60
_SECOND_NS: Final = 10**9
_MINUTE_NS: Final = 60 * _SECOND_NS
WHOLE_UNITS: Final = {"USD": 10**9, "gpu-hours": 3_600_000_000, "requests": 1, "tokens": 1, "concurrent": 1}
"""whole units of account in one of each: nano-USD, and microseconds of one GPU"""


class Span(msgspec.Struct, frozen=True):
    """What counts at an instant, unix ns: new spend goes into the bucket [begin, until); all buckets from `since` on count."""

    since: int
    begin: int
    until: int


class Law(msgspec.Struct, frozen=True):
    """How much in which time: `amount` in whole units of account; a calendar period in a zone, a rolling window, or neither (what is
    under way at once)."""

    unit: Unit
    amount: int
    period: Period | None = None
    rolling_ns: int | None = None
    timezone: str = "UTC"

    def span(self, at_ns: int) -> Span:
        """The buckets that count at an instant."""
        if self.period is not None:
            begin, until = calendar(self.period, at_ns, self.timezone)
            return Span(begin, begin, until)
        if self.rolling_ns is None:
            return Span(0, 0, 2**63 - 1)
        width = bucket_ns(self.rolling_ns)
        begin = at_ns - at_ns % width
        return Span((begin - self.rolling_ns) // width * width, begin, begin + width)

    def counts_until(self, bucket: int) -> int:
        """When nothing of a bucket counts any more; a calendar one is over with its period."""
        if self.rolling_ns is None:
            return self.span(bucket).until
        return bucket + self.rolling_ns + 2 * bucket_ns(self.rolling_ns)


def bucket_ns(rolling_ns: int) -> int:
    """Width of the buckets of a rolling window: at least a second."""
    return max(_SECOND_NS, -(-rolling_ns // ROLLING_BUCKETS))


def calendar(period: Period, at_ns: int, timezone: str) -> tuple[int, int]:
    """[begin, end) of the calendar period around an instant, in the zone; a week begins on Monday. Days of a clock change have 23 or 25
    hours; an hour is one by the clock on the wall, so zones of half hours begin it at theirs."""
    at = datetime.fromtimestamp(at_ns // _SECOND_NS, ZoneInfo(timezone))
    if period == "hour":
        begin = at_ns - at_ns % _MINUTE_NS - at.minute * _MINUTE_NS
        return begin, begin + HOUR_NS
    day = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    first, last = {
        "day": (day, day + timedelta(days=1)),
        "week": (day - timedelta(days=day.weekday()), day + timedelta(days=7 - day.weekday())),
        "month": (day.replace(day=1), (day.replace(day=28) + timedelta(days=4)).replace(day=1)),
    }[period]
    return round(first.timestamp()) * _SECOND_NS, round(last.timestamp()) * _SECOND_NS
