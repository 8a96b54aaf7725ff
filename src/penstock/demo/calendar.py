"""The firm's thirty days and the rhythm of its work: how busy which hour is, and what happened on which day. Times are UTC."""

from datetime import UTC, date, datetime, timedelta

from penstock.demo.firm import Rhythm
from penstock.domain.prices.schedule import HOUR_NS as HOUR_NS

DAYS = 30
DAY_NS = 24 * HOUR_NS

OUTAGE_DAY, OUTAGE_HOURS = 9, range(13, 15)
"""the medium model answers badly, and its traffic falls back"""
PRICE_DAY = 12
"""the large model becomes cheaper"""
VERSION_DAY = 6
"""the medium model gets a new version"""
MEASURED_DAY, LEARNED_DAY = VERSION_DAY, 15
"""the route `careful` begins to be shadowed, and goes by what that has taught"""
CACHE_DAY = 14
"""the cache begins to answer customers by meaning"""
RUNAWAY_DAY, RUNAWAY_FROM_HOUR, RUNAWAY_HOURS = 23, 14, 21
"""an agent loops, until somebody looks on the next morning"""

_GROWTH = 0.45
"""how much busier the last day is than the first"""
_HOURS: dict[Rhythm, tuple[int, ...]] = {
    "customers": (5, 3, 2, 2, 3, 8, 22, 48, 78, 96, 100, 92, 80, 78, 80, 78, 76, 82, 90, 84, 62, 40, 22, 11),
    "office": (2, 1, 1, 1, 2, 4, 14, 46, 84, 98, 100, 92, 58, 78, 96, 94, 80, 52, 24, 12, 8, 6, 4, 3),
    "night": (60, 92, 100, 100, 96, 70, 30, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6, 8, 10, 14, 22, 40),
}
_WEEKEND: dict[Rhythm, float] = {"customers": 0.52, "office": 0.09, "night": 0.75}


class Calendar:
    """Days by number: 30 is the day on which the history ends, 0 the part of a day with which it begins."""

    def __init__(self, until_ns: int) -> None:
        self.until_ns = until_ns
        self.since_ns = until_ns - DAYS * DAY_NS
        self._today = datetime.fromtimestamp(until_ns // 10**9, UTC).date()

    def date(self, day: int) -> date:
        return self._today - timedelta(days=DAYS - day)

    def start_ns(self, day: int) -> int:
        """Midnight at which a day begins."""
        return (self.date(day) - date(1970, 1, 1)).days * DAY_NS

    def day_of(self, at_ns: int) -> int:
        return DAYS + (at_ns - self.start_ns(DAYS)) // DAY_NS

    def hours(self) -> list[int]:
        """Starts of the hours that the history touches."""
        return list(range(self.since_ns // HOUR_NS * HOUR_NS, self.until_ns, HOUR_NS))

    def busyness(self, rhythm: Rhythm, hour_ns: int) -> float:
        """How busy an hour is, in no unit; the part of the hour inside the history counts."""
        day = self.day_of(hour_ns)
        hour = hour_ns % DAY_NS // HOUR_NS
        part = (min(hour_ns + HOUR_NS, self.until_ns) - max(hour_ns, self.since_ns)) / HOUR_NS
        weekday = _WEEKEND[rhythm] if self.date(day).weekday() >= 5 else 1.0
        return part * _HOURS[rhythm][hour] * weekday * (1 + _GROWTH * day / DAYS)

    def in_outage(self, at_ns: int) -> bool:
        return OUTAGE_HOURS.start * HOUR_NS <= at_ns - self.start_ns(OUTAGE_DAY) < OUTAGE_HOURS.stop * HOUR_NS

    @property
    def runaway_from_ns(self) -> int:
        return self.start_ns(RUNAWAY_DAY) + RUNAWAY_FROM_HOUR * HOUR_NS

    @property
    def runaway_until_ns(self) -> int:
        return self.runaway_from_ns + RUNAWAY_HOURS * HOUR_NS
