"""Windows of time as people write them: `30d`, `2026-10`, a date, an instant. The end is always exclusive."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from penstock.domain.units import Duration, UnitError

DEFAULT_SINCE = "30d"
FORMS = "write `30d` or `24h` (back from now), `2026-10` (a month), `2026-10-01` (a day) or `2026-10-01T12:00:00Z` (an instant)"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_NS = 2**63 - 1
_ROLLING = re.compile(r"\d+(?:\.\d+)?\s*[a-z]+")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class WindowError(ValueError):
    """A window that cannot be read or is empty; `hint` says what would have been accepted."""

    def __init__(self, message: str, hint: str = FORMS) -> None:
        super().__init__(message)
        self.hint = hint


class Window(msgspec.Struct, frozen=True):
    """[since, until) in unix nanoseconds, the zone that months and days were read in, and what was asked for."""

    since_ns: int
    until_ns: int
    timezone: str
    label: str


def window(since: str | None, until: str | None, *, now_ns: int, timezone: str = "UTC") -> Window:
    """The window that `--since` and `--until` name; without either, the last 30 days.

    Durations count back from now. A month as `since` alone is that whole month, whether or not it is over.
    Raises `WindowError` for text in no known form, for an end that is not after the start, and for years beyond 1970-2262.
    """
    zone = ZoneInfo(timezone)
    start_text = (DEFAULT_SINCE if since is None else since).strip()
    month = _MONTH.fullmatch(start_text)
    if until is not None:
        end_ns = _instant(until.strip(), "--until", now_ns, zone)
    elif month:
        end_ns = _month_start(month, zone, "--since", following=True)
    else:
        end_ns = now_ns
    back_from = end_ns if since is None else now_ns
    start_ns = _instant(start_text, "--since", back_from, zone)
    if start_ns >= end_ns:
        raise WindowError(
            f"the window is empty: it starts at {iso(start_ns)} and ends at {iso(end_ns)}",
            "`--until` is exclusive and has to be later than `--since`",
        )
    return Window(start_ns, end_ns, timezone, _label(start_text, until))


def iso(instant_ns: int) -> str:
    """Unix nanoseconds -> `2026-10-01T12:00:00Z`, with as many decimals as it needs."""
    seconds, nanos = divmod(instant_ns, 10**9)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}".rstrip("0") + "Z" if nanos else f"{text}Z"


def _label(since: str, until: str | None) -> str:
    start = f"last {since}" if _ROLLING.fullmatch(since) else since
    if until is not None:
        return f"{since} until {until.strip()}"
    return start if start != since or _MONTH.fullmatch(since) else f"since {since}"


def _instant(text: str, option: str, now_ns: int, zone: ZoneInfo) -> int:
    if _ROLLING.fullmatch(text):
        try:
            return max(0, now_ns - round(Duration.parse(text) * 10**9))
        except (UnitError, OverflowError) as problem:
            raise WindowError(f"`{option} {text}` is not a window of time") from problem
    if month := _MONTH.fullmatch(text):
        return _month_start(month, zone, option)
    try:
        moment = datetime.fromisoformat(text) if _DATE.match(text) else None
    except ValueError as problem:
        raise WindowError(f"`{option} {text}` is not a date or time: {problem}") from problem
    if moment is None:
        raise WindowError(f"`{option} {text}` is not a window of time")
    return _nanoseconds(moment if moment.tzinfo else moment.replace(tzinfo=zone), option)


def _month_start(month: re.Match[str], zone: ZoneInfo, option: str, following: bool = False) -> int:
    year, number = int(month[1]), int(month[2])
    if following:
        year, number = (year + 1, 1) if number == 12 else (year, number + 1)
    try:
        first = date(year, number, 1)
    except ValueError as problem:
        raise WindowError(f"`{option} {month[0]}` is not a month") from problem
    return _nanoseconds(datetime(first.year, first.month, 1, tzinfo=zone), option)


def _nanoseconds(moment: datetime, option: str) -> int:
    try:
        since_epoch = moment - _EPOCH
    except OverflowError as problem:
        raise WindowError(f"`{option}` is out of range", "take a year from 1970 to 2261") from problem
    nanoseconds = (since_epoch.days * 86_400 + since_epoch.seconds) * 10**9 + since_epoch.microseconds * 1000
    if not 0 <= nanoseconds <= _END_NS:
        raise WindowError(f"`{option}` is out of range", "take a year from 1970 to 2261")
    return nanoseconds
