"""How records are filtered and grouped: the same law that stores write in SQL, for records still on the journal.

A key is a field of `DIMENSIONS`, `day` or `hour` (UTC), or the name of a tag. What a record does not know is None.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter

from penstock.domain.ledger.measures import DIMENSIONS, CostQuery
from penstock.domain.ledger.record import UsageRecord, is_aside

PERIODS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}
SUMMED = (
    "team", "feature", "environment", "cost_center", "business_unit", "workload_type",
    *(key for key in DIMENSIONS if key not in ("requested_model", "key_id", "writer", "steered", "steered_from")),
)  # fmt: skip
"""keys that stores keep sums by, beside periods: few values each. For others, which clients choose, every record is read"""
_FIELDS = {name: attrgetter(name) for name in DIMENSIONS}


def key_of(record: UsageRecord, key: str) -> str | None:
    """A record's value of one key, as text."""
    if key in _FIELDS:
        value = _FIELDS[key](record)
        return None if value is None else str(value)
    if key in PERIODS:
        return datetime.fromtimestamp(record.admitted_ns // 10**9, UTC).strftime(PERIODS[key])
    return record.tags.get(key)


def keys_of(record: UsageRecord, by: tuple[str, ...]) -> tuple[str | None, ...]:
    return tuple(key_of(record, key) for key in by)


def matches(record: UsageRecord, query: CostQuery) -> bool:
    """True when a record was admitted in the window [since, until) and passes every filter; an unknown passes none."""
    if not query.since_ns <= record.admitted_ns < query.until_ns or (query.requests_alone and is_aside(record)):
        return False
    return all(key_of(record, key) == value for key, value in query.where)


def matches_all(values: Mapping[str, str | None], where: Sequence[tuple[str, str]]) -> bool:
    """True when a group's values pass every filter; an unknown passes none."""
    return all(values[key] == value for key, value in where)
