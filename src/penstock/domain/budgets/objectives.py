"""An objective that acts: when it counts as missed, when its responses begin, and when they end. Pure.

The burn rate is what is measured over what is promised: above 1 the objective is missed. It is looked at over a long window (the
objective's own: does it matter?) and over a short one (does it still go on?). Responses begin when both are above 1. They end when the
short one has been clearly below 1 twice in a row while the long one falls, or when there is no traffic left to be dear, or nobody
knows any more what it costs.

Changes are rate-limited: two never lie closer together than `Pace.change_ns`, two begins never closer than a quarter of the window.
What begins again within a window after it ended flaps: each time it then stands twice as long at least, up to the window.
"""

from fractions import Fraction
from typing import Final, Literal

import msgspec

State = Literal["met", "missed", "no data"]
Change = Literal["begin", "end"]
MIN_REQUESTS: Final = 30
"""fewer priced requests in the long window tell nothing"""
MIN_COST: Final = 1_000_000
"""nano-USD (a tenth of a cent): less spend in the long window is not worth a response"""
CLEAR: Final = Fraction(9, 10)
"""of the target, that the short window must stay below before responses end"""
GOOD_NEEDED: Final = 2
"""evaluations in a row"""
_MINUTE_NS: Final = 60 * 10**9


class Reading(msgspec.Struct, frozen=True):
    """What one window showed: nano-USD (None: unknown), tokens and requests of known cost, and requests whose cost nobody knows."""

    cost: int | None
    tokens: int
    requests: int
    unpriced: int = 0

    def burn(self, target: Fraction) -> Fraction | None:
        """Burn rate against a target in nano-USD per 1,000 tokens; None without tokens, or where what they cost is unknown."""
        return None if self.cost is None or self.tokens <= 0 else Fraction(self.cost * 1000, self.tokens) / target


class Pace(msgspec.Struct, frozen=True):
    """The times of an objective, nanoseconds."""

    window_ns: int
    short_ns: int
    change_ns: int
    """between any two changes"""

    @property
    def begins_ns(self) -> int:
        """Between two begins."""
        return max(self.window_ns // 4, self.change_ns)


def pace(window_ns: int) -> Pace:
    """A twelfth of the window tells whether a miss goes on, and a change is made every 5 minutes at most; a short window of less than
    5 minutes tells little, so it is no shorter than that, nor than a quarter of the window where the window itself is short."""
    floor = min(5 * _MINUTE_NS, window_ns // 4)
    return Pace(window_ns, max(window_ns // 12, floor), floor)


class Course(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an objective has fared so far. Times are unix nanoseconds."""

    acting: bool = False
    missed_ns: int | None = None
    """since when it is missed"""
    begun_ns: int | None = None
    """the last begin of responses"""
    ended_ns: int | None = None
    """the last end"""
    good: int = 0
    """evaluations in a row that would let responses end"""
    flaps: int = 0
    long_burn: float | None = None
    """of the last evaluation"""


class Verdict(msgspec.Struct, frozen=True):
    """One evaluation: the state, what changes, and the course from here on."""

    state: State
    change: Change | None
    course: Course


def judge(course: Course, times: Pace, target: Fraction, long: Reading, short: Reading, now_ns: int) -> Verdict:
    """One evaluation at an instant, which is later than those before; `target` is nano-USD per 1,000 tokens.

    A clock that was set back makes nothing wait longer than from now on.
    """
    long_burn, short_burn = long.burn(target), short.burn(target)
    state = _state(long, long_burn, short_burn)
    recovered = _recovered(course, long_burn, short, short_burn)
    course = msgspec.structs.replace(
        course,
        missed_ns=(course.missed_ns or now_ns) if state == "missed" else None,
        good=course.good + 1 if recovered else 0,
        long_burn=None if long_burn is None else float(long_burn),
    )
    if not course.acting and state == "missed" and _may_begin(course, times, now_ns):
        flaps = course.flaps + 1 if _within(course.ended_ns, times.window_ns, now_ns) else 0
        return Verdict(state, "begin", msgspec.structs.replace(course, acting=True, begun_ns=now_ns, good=0, flaps=flaps))
    if course.acting and course.good >= GOOD_NEEDED and not _within(course.begun_ns, hold_ns(course, times), now_ns):
        return Verdict(state, "end", msgspec.structs.replace(course, acting=False, ended_ns=now_ns, good=0))
    return Verdict(state, None, course)


def hold_ns(course: Course, times: Pace) -> int:
    """How long responses stand at least: doubled by every flap, up to the window."""
    return min(times.change_ns << min(course.flaps, 16), max(times.window_ns, times.change_ns))


def _state(long: Reading, long_burn: Fraction | None, short_burn: Fraction | None) -> State:
    if long_burn is None or long.requests < MIN_REQUESTS:
        return "no data"
    missed = long_burn > 1 and short_burn is not None and short_burn > 1 and (long.cost or 0) >= MIN_COST
    return "missed" if missed else "met"


def _recovered(course: Course, long_burn: Fraction | None, short: Reading, short_burn: Fraction | None) -> bool:
    if short_burn is None:
        return short.requests + short.unpriced == 0 or long_burn is None
    falls = long_burn is None or long_burn < 1 or (course.long_burn is not None and float(long_burn) < course.long_burn)
    return short_burn < CLEAR and falls


def _may_begin(course: Course, times: Pace, now_ns: int) -> bool:
    return not _within(course.ended_ns, times.change_ns, now_ns) and not _within(course.begun_ns, times.begins_ns, now_ns)


def _within(since_ns: int | None, span_ns: int, now_ns: int) -> bool:
    """Whether less than a span has passed since; a time that lies ahead is one of a clock that was wrong."""
    return since_ns is not None and 0 <= now_ns - since_ns < span_ns
