"""Arrivals in whatever way they are written, as seconds from the begin: what was taken for what is said, and nothing is guessed between
seconds and milliseconds."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from penstock.capacity.traces.cells import Numbers, is_text, numbers
from penstock.capacity.traces.formats import TimeUnit, plain
from penstock.domain.simulation.trace import Floats, TraceError

if TYPE_CHECKING:
    import pyarrow

UNITS: Final[dict[TimeUnit, float]] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_WORDS: Final[dict[TimeUnit, str]] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_SUFFIXES: Final[tuple[tuple[str, TimeUnit], ...]] = (("ms", "ms"), ("us", "us"), ("ns", "ns"), ("s", "s"))
_STEMS: Final = ("arrival", "arrivaltime", "time", "timestamp")
_EPOCH: Final[tuple[tuple[float, TimeUnit], ...]] = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))
"""numbers from there on are of 1973 or later in that unit, and of no year in a greater one"""

_BEYOND_S: Final = 1e11
_SAY: Final = "say `--time-unit s`, or ms, us, ns"


class Times(NamedTuple):
    """Seconds from the begin; NaN: missing. `bad` as in `Numbers`."""

    seconds: Floats
    bad: dict[int, str]
    begin_epoch_s: float | None
    """the instant of second 0, since 1970 in UTC; None: the file tells no instants"""


def times(column: "pyarrow.ChunkedArray", name: str, unit: TimeUnit | None, given: TimeUnit | None, note: Callable[[str], None]) -> Times:
    """`unit`: of numbers in this format; `given`: what the user says of them. Raises `TraceError` when nothing tells the unit.

    Instants begin with the first one, numbers of seconds with 0.
    """
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        return _instants(column, {}, name, note)
    if is_text(column) and not _is_numeric(column):
        return _instants(*_parsed(column), name, note)
    found = numbers(column, name)
    least = float(np.nanmin(found.values)) if not np.isnan(found.values).all() else 0.0
    taken = given or unit or _unit_of(name) or next((each for from_, each in _EPOCH if least >= from_), None)
    if taken is None:
        raise TraceError(f"the numbers in `{name}` may be seconds or milliseconds: nothing says which", f"{_SAY}; or name it `arrival_s`")
    if least * UNITS[taken] >= _BEYOND_S:
        raise TraceError(f"{least:,.0f} {_WORDS[taken]} in `{name}` are no instant: that would be the year 5138 or later", _SAY)
    return _counted(found, name, taken, least, note)


def _counted(found: Numbers, name: str, unit: TimeUnit, least: float, note: Callable[[str], None]) -> Times:
    seconds = UNITS[unit]
    if least * seconds < _EPOCH[-1][0]:
        if _unit_of(name) != unit:
            note(f"`{name}` was taken for {_WORDS[unit]} from the begin")
        return Times(found.values * seconds, found.bad, None)
    begin = least * seconds
    note(f"`{name}` was taken for {_WORDS[unit]} since 1970: the trace begins at {_iso(begin)}")
    return Times((found.values - least) * seconds, found.bad, begin)


def _instants(column: Any, bad: dict[int, str], name: str, note: Callable[[str], None]) -> Times:
    """Timestamps; those without a zone count as UTC."""
    import pyarrow

    if column.type.tz is None:
        note(f"`{name}` tells no time zone: it was taken for UTC")
    missing = column.is_null().to_numpy()
    whole = np.asarray(column.cast(pyarrow.timestamp("ns", column.type.tz)).cast(pyarrow.int64()).fill_null(0).to_numpy(), np.int64)
    if missing.all():
        return Times(np.full(len(whole), np.nan), bad, None)
    begin = int(whole[~missing].min())
    seconds = np.where(missing, np.nan, (whole - begin) / 1e9)
    return Times(seconds, bad, begin / 1e9)


def _parsed(column: Any) -> tuple[Any, dict[int, str]]:
    """Text of ISO 8601 as timestamps: all with a zone or all without at once, mixed ones and bad ones one by one."""
    import pyarrow
    import pyarrow.compute as compute

    trimmed = compute.utf8_trim_whitespace(column.cast(pyarrow.string()))
    trimmed = compute.if_else(compute.equal(trimmed, ""), None, trimmed)
    for zone in (None, "UTC"):
        try:
            return trimmed.cast(pyarrow.timestamp("ns", zone)), {}
        except pyarrow.ArrowInvalid:
            continue
    return _one_by_one(trimmed.to_pylist())


def _one_by_one(texts: list[str | None]) -> tuple[Any, dict[int, str]]:
    import pyarrow

    found: list[int | None] = []
    bad: dict[int, str] = {}
    for place, text in enumerate(texts):
        try:
            moment = None if text is None else datetime.fromisoformat(text)
        except ValueError:
            moment = None
            bad[place] = f"`{str(text)[:40]}` is no time of ISO 8601, such as 2026-11-02T08:30:00Z"
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        found.append(None if moment is None else round(moment.timestamp() * 1e6) * 1000)
    return pyarrow.chunked_array([pyarrow.array(found, pyarrow.int64()).cast(pyarrow.timestamp("ns", "UTC"))]), bad


def _is_numeric(column: Any) -> bool:
    """By the first cell that holds something."""
    for chunk in column.chunks:
        for cell in chunk:
            if text := str(cell.as_py() or "").strip():
                try:
                    float(text)
                except ValueError:
                    return False
                return True
    return True


def _unit_of(name: str) -> TimeUnit | None:
    """What the name says: `arrival_ms`."""
    word = plain(name)
    return next((unit for suffix, unit in _SUFFIXES if word.removesuffix(suffix) != word and word.removesuffix(suffix) in _STEMS), None)


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
