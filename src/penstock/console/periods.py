"""Windows of time on the pages: those that are offered, how one is said in a sentence, and the hours or days in it."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from penstock.console import words
from penstock.console.query import Address

LAST = "in the last "
_ROLLING = re.compile(r"last (\d+)([smhdw])")
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
_MONTH = re.compile(r"\d{4}-\d{2}")


def windows(now_ns: int, zone: str) -> tuple[tuple[str, str], ...]:
    """The windows that pages offer: rolling ones, this month and the last."""
    now = datetime.fromtimestamp(now_ns / 10**9, ZoneInfo(zone))
    last = (now.year, now.month - 1) if now.month > 1 else (now.year - 1, 12)
    months = [(now.year, now.month), last]
    named = [(datetime(year, month, 1, tzinfo=ZoneInfo(zone)).strftime("%B"), f"{year}-{month:02}") for year, month in months]
    return (("24 hours", "24h"), ("7 days", "7d"), ("30 days", "30d"), *named)


def steps_of(since_ns: int, until_ns: int, step: str) -> list[str]:
    """The hours or days (UTC) of a window, as the ledger's keys name them."""
    seconds, form = (3600, "%Y-%m-%dT%H") if step == "hour" else (86_400, "%Y-%m-%d")
    first, last = since_ns // 10**9 // seconds, max(since_ns, until_ns - 1) // 10**9 // seconds
    return [datetime.fromtimestamp(index * seconds, ZoneInfo("UTC")).strftime(form) for index in range(first, last + 1)]


def period_words(address: Address) -> str:
    """The window in a sentence: `in the last 7 days`, `in November 2026`, `since 2026-11-02`, `from 2026-11-02 until 2026-11-05`."""
    window = address.window
    if rolling := _ROLLING.fullmatch(window.label):
        number, unit = rolling[1], _UNITS[rolling[2]]
        return f"{LAST}{number} {unit}{'' if number == '1' else 's'}"
    if _MONTH.fullmatch(window.label):
        return words.moment(window.since_ns, window.timezone, "in %B %Y")
    if window.label.startswith("since "):
        return words.moment(window.since_ns, window.timezone, "since %-d %b %H:%M") if "T" in window.label else window.label
    return f"from {window.label}" if " until " in window.label else f"in the {window.label}"
