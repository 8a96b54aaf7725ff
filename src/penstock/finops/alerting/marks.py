"""Which marks of a budget have to be told to whom now: pure, from where the budget stands and what was told before.

Each mark is told once in a period; in a rolling window again after spend fell `REARM` points below it. When several are passed at once,
somebody hears only of the highest of his. A limit that was changed begins anew: lowered below what is spent, it is told at once.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final

import msgspec

from penstock.finops.budgets.status import BudgetStatus, Mark

FORECAST: Final = "forecast"
REACHED: Final = "reached"
"""the mark of a hard cap that refuses; every cap has it"""
REARM: Final = 10
EARLIEST: Final = Fraction(1, 50)
"""share of a period that must be over before a forecast is told"""
_RANK_OF_FORECAST: Final = 90.0
_RANK_OF_REACHED: Final = 1e9


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was told of a budget in its period: mark -> unix ns. `since_ns` is 0 for a rolling window, whose marks can be told again:
    `round` counts that."""

    since_ns: int
    limit: int
    marks: dict[str, int] = {}
    round: int = 0


class News(msgspec.Struct, frozen=True):
    """One mark, and who has to hear of it."""

    mark: str
    recipients: tuple[str, ...]


class _Passed(msgspec.Struct, frozen=True):
    rank: float
    mark: str
    recipients: tuple[str, ...]


def decide(
    status: BudgetStatus, notify: tuple[str, ...], told: Told | None, now_ns: int, *, refuses: bool = False
) -> tuple[tuple[News, ...], Told]:
    """What to tell now, highest mark first, and what then counts as told. `notify`: who hears of marks that name nobody; `refuses`:
    requests were refused for this budget since the last look."""
    since = 0 if status.rolling else status.since_ns
    if told is None or (told.since_ns, told.limit) != (since, status.limit):
        told = Told(since, status.limit)
    told = _rearmed(status, told, now_ns)
    fresh = sorted((each for each in _passed(status, notify, now_ns, refuses) if each.mark not in told.marks), key=lambda each: -each.rank)
    news: list[News] = []
    heard: set[str] = set()
    for each in fresh:
        recipients = tuple(name for name in dict.fromkeys(each.recipients) if name not in heard)
        heard.update(recipients)
        if recipients:
            news.append(News(each.mark, recipients))
    return tuple(news), msgspec.structs.replace(told, marks={**told.marks, **{each.mark: now_ns for each in fresh}})


def everybody(marks: tuple[Mark, ...], notify: tuple[str, ...]) -> tuple[str, ...]:
    """Who hears of any mark of a budget."""
    named = (name for mark in marks for name in mark.notify or notify)
    return tuple(dict.fromkeys((*notify, *named)))


def mark_name(at: float | str) -> str:
    """`80`, `99.5`, `forecast`."""
    return at if isinstance(at, str) else f"{at:g}"


def _passed(status: BudgetStatus, notify: tuple[str, ...], now_ns: int, refuses: bool) -> Iterator[_Passed]:
    share = status.share
    for mark in status.marks:
        if isinstance(mark.at, str):
            if _will_exceed(status, now_ns):
                yield _Passed(_RANK_OF_FORECAST, FORECAST, mark.notify or notify)
        elif share is not None and share * 100 >= Fraction(mark.at):
            yield _Passed(mark.at, mark_name(mark.at), mark.notify or notify)
    if status.at_limit != "alert" and (refuses or (share is not None and share >= 1)):
        yield _Passed(_RANK_OF_REACHED, REACHED, notify or everybody(status.marks, notify))


def _will_exceed(status: BudgetStatus, now_ns: int) -> bool:
    """A forecast passes the limit, which spend has not; a rolling window has no end that could be forecast."""
    if status.rolling or status.outlook is None or (status.spent or 0) >= status.limit:
        return False
    is_early = now_ns - status.since_ns < (status.until_ns - status.since_ns) * EARLIEST
    return not is_early and status.outlook.middle > status.limit


def _rearmed(status: BudgetStatus, told: Told, now_ns: int) -> Told:
    share = status.share
    if not status.rolling or share is None:
        return told
    window = status.until_ns - status.since_ns
    over = [mark for mark, at_ns in told.marks.items() if _is_over(mark, share, now_ns - at_ns >= window)]
    if not over:
        return told
    kept: Mapping[str, int] = {mark: at_ns for mark, at_ns in told.marks.items() if mark not in over}
    return msgspec.structs.replace(told, marks=dict(kept), round=told.round + 1)


def _is_over(mark: str, share: Fraction, long_ago: bool) -> bool:
    """A cap that refuses large requests may never be near its limit: it is told again after a whole window at the earliest."""
    if mark == REACHED:
        return long_ago and share * 100 < 100 - REARM
    return mark != FORECAST and share * 100 < Fraction(mark) - REARM
