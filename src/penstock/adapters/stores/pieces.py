"""A window as pieces that fit together without a gap: whole days, whole hours, and records at the edges."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from penstock.adapters.stores.columns import MOST_INT
from penstock.adapters.stores.cubes import HOUR_NS, LEVELS, Cube
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery


class Piece(msgspec.Struct, frozen=True):
    """A part [since, until) of a window: nanoseconds for `records`, whole periods since 1970 for `hour` and `day`."""

    level: Literal["records", "hour", "day"]
    since: int
    until: int


def pieces(query: CostQuery, cube: Cube, span: tuple[int, int]) -> list[Piece]:
    """The pieces of a query's window, clipped to the span (first and last instant) of the ledger; none is empty.

    All of it from the records when the query asks for what the cube is not kept by. A window that ends after the last record
    takes that record's hour and day whole.
    """
    since, until = max(query.since_ns, span[0]), min(query.until_ns, span[1] + 1)
    if since >= until:
        return []
    asked = {*query.by, *(key for key, _ in query.where)}
    if not asked <= {*cube.keys, *PERIODS}:
        return [Piece("records", since, until)]
    first, last = since <= span[0], until > span[1]
    start, end = _whole(max(since, 0), HOUR_NS, down=first), _whole(until, HOUR_NS, down=not last)
    if start >= end:
        return [Piece("records", since, until)]
    found = [Piece("records", since, 0 if first else start * HOUR_NS), Piece("records", max(since, end * HOUR_NS), until)]
    hours = LEVELS["day"]
    day, day_end = _whole(start, hours, down=first), _whole(end, hours, down=not last)
    if "hour" in asked or day >= day_end:
        found.append(Piece("hour", start, end))
    else:
        found += [Piece("hour", start, day * hours), Piece("day", day, day_end), Piece("hour", day_end * hours, end)]
    return [piece for piece in found if piece.since < piece.until]


def _whole(instant: int, period: int, *, down: bool) -> int:
    return instant // period if down else -(-instant // period)


def runs(hours: Iterable[int]) -> Iterator[Piece]:
    """Hours, newest first, as pieces that hold neighbours together."""
    since = until = None
    for hour in hours:
        if since is None or until is None or hour + 1 < since:
            if since is not None and until is not None:
                yield Piece("hour", since, until)
            until = hour + 1
        since = hour
    if since is not None and until is not None:
        yield Piece("hour", since, until)


def narrowed(query: CostQuery) -> CostQuery:
    """The same query with its filters on `day` and `hour` as part of the window."""
    since, until = query.since_ns, query.until_ns
    for key, value in query.where:
        if key in PERIODS:
            start = _start(key, value)
            since = until if start is None else max(since, start)
            until = until if start is None else min(until, start + LEVELS[key] * HOUR_NS)
    where = tuple((key, value) for key, value in query.where if key not in PERIODS)
    return msgspec.structs.replace(query, since_ns=max(since, -MOST_INT), until_ns=min(until, MOST_INT), where=where)


def _start(key: str, value: str) -> int | None:
    """The first nanosecond of a period by its label; None when no period has it."""
    try:
        start = datetime.strptime(value, PERIODS[key]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(start.timestamp()) * 10**9 if start.strftime(PERIODS[key]) == value else None


def label(key: str, period: int) -> str:
    """What reports call an hour or a day since 1970."""
    return datetime.fromtimestamp(period * LEVELS[key] * 3_600, UTC).strftime(PERIODS[key])
