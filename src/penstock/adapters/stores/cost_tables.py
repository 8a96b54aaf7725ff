"""The SQL of the ledger's other rows: hours of fleets and their split over requests, readings, recorded costs, closed months, prices.

What hours came to is added up by hour and day (UTC), by fleet and by the words of the `sums` cube, in `allocated_hour` and
`allocated_day`. An hour that is put again is added up anew, so nothing can drift. Where a request is neither a record nor a
recorded cost (any more), its words are unknown.
"""

from collections.abc import Iterable
from typing import Any

from penstock.adapters.stores.columns import MOST_INT
from penstock.adapters.stores.cubes import LEVELS, SUMS_CUBE, name_sql, put_words
from penstock.adapters.stores.sql import Dialect, key_sql, totals
from penstock.domain.ledger.entries import HOUR_NS, LOOKBACK_NS, Allocated
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery
from penstock.domain.ledger.record import UsageRecord

AMOUNTS = ("amount", "wasted", "input_amount", "gpu_ns", "energy_mj")
ALLOCATION = ("hour", "fleet_paid", "request_id", *AMOUNTS)
"""columns of `allocations`, in an order that new hours are appended in; no name is one of a record's"""
PUT_HOURS = ("hour", "fleet_put")
"""columns of `put_hours`: the hours that one call writes"""
HOURLY = ("hour", "fleet", "payload")
"""columns of `fleet_hours` and `engine_hours`"""
ENTRY = ("entry_id", "entry_tags", "entry_name", "since_ns", "until_ns", "payload")
"""columns of `entries`; `entry_name` is how the `sums` cube calls its words"""
_VALUES = Allocated.__struct_fields__
_ONE = "CAST(1 AS BIGINT)"
"""PostgreSQL takes a bare 1 for 32 bits, of which there is no upper half"""
_SUMS: dict[str, tuple[str, str | None]] = {
    "entries": (_ONE, None),
    **{name: (name, None) for name in AMOUNTS},
    "energy_mj": ("COALESCE(energy_mj, 0)", None),
    "energy_entries": (_ONE, "energy_mj IS NOT NULL"),
}
_TAGS = "COALESCE(tags, entry_tags)"
_NAMED = "LEFT JOIN records ON records.id = request_id LEFT JOIN entries ON entry_id = request_id"

Select = tuple[str, list[Any]]


def cost_tables(dialect: Dialect) -> list[str]:
    """Statements that create what is missing."""
    integer, text = dialect.kinds["int"], dialect.kinds["text"]
    amounts = ", ".join(f"{name} {integer}{'' if name == 'energy_mj' else ' NOT NULL'}" for name in AMOUNTS)
    values = ", ".join(f"{name} {integer} NOT NULL" for name in _VALUES)
    hourly = f"(hour {integer} NOT NULL, fleet {text} NOT NULL, payload {text} NOT NULL, PRIMARY KEY (hour, fleet)){dialect.clustered}"
    return [
        f"CREATE TABLE IF NOT EXISTS fleet_hours {hourly}",
        f"CREATE TABLE IF NOT EXISTS engine_hours {hourly}",
        f"CREATE TABLE IF NOT EXISTS allocations (hour {integer} NOT NULL, fleet_paid {text} NOT NULL, request_id {text} NOT NULL, "
        f"{amounts}, PRIMARY KEY (hour, fleet_paid, request_id)){dialect.clustered}",
        *(
            f"CREATE TABLE IF NOT EXISTS allocated_{level} (period {integer} NOT NULL, fleet {text} NOT NULL, key_id {integer} NOT NULL, "
            f"{values}, PRIMARY KEY (period, fleet, key_id)){dialect.clustered}"
            for level in LEVELS
        ),
        f"CREATE TABLE IF NOT EXISTS entries (entry_id {text} PRIMARY KEY, entry_tags {dialect.kinds['json']} NOT NULL, "
        f"entry_name {text} NOT NULL, since_ns {integer} NOT NULL, until_ns {integer} NOT NULL, payload {text} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS worked_hours (hour {integer} NOT NULL, fleet {text} NOT NULL, mark {integer} NOT NULL, "
        f"answered {integer} NOT NULL, PRIMARY KEY (hour, fleet)){dialect.clustered}",
        "CREATE INDEX IF NOT EXISTS worked_hours_late ON worked_hours (hour) WHERE mark <> answered",
        f"CREATE TABLE IF NOT EXISTS closes (number {integer} PRIMARY KEY, month {text} NOT NULL UNIQUE, payload {text} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS price_entries (id {text} NOT NULL, version {text} NOT NULL, payload {text} NOT NULL, "
        "PRIMARY KEY (id, version))",
    ]


def begin_hours(dialect: Dialect) -> list[str]:
    """Statements that create, for one connection, the list of hours that are put, and where they are added up."""
    integer, text = dialect.kinds["int"], dialect.kinds["text"]
    values = ", ".join(f"{name} {integer}" for name in _VALUES)
    return [
        f"CREATE TEMPORARY TABLE IF NOT EXISTS put_hours (hour {integer}, fleet_put {text}){dialect.emptied}",
        f"CREATE TEMPORARY TABLE IF NOT EXISTS fresh_allocated (hour {integer}, fleet {text}, name {text}, {values}){dialect.emptied}",
        "DELETE FROM put_hours",
        "DELETE FROM fresh_allocated",
    ]


FORGET_HOURS = (
    "DELETE FROM fleet_hours WHERE (hour, fleet) IN (SELECT hour, fleet_put FROM put_hours)",
    "DELETE FROM allocations WHERE (hour, fleet_paid) IN (SELECT hour, fleet_put FROM put_hours)",
    "DELETE FROM allocated_hour WHERE (period, fleet) IN (SELECT hour, fleet_put FROM put_hours)",
    f"DELETE FROM allocated_day WHERE (period, fleet) IN (SELECT hour / {LEVELS['day']}, fleet_put FROM put_hours)",
)
"""Statements that remove what stood for the hours of `put_hours`."""


def put_marks(dialect: Dialect) -> str:
    """The statement that moves the mark of an hour of a fleet on: something more is known of what worked in it.

    Marks are never taken away nor used twice, so an hour whose `answered` is its mark holds all of it, whoever put it and when.
    """
    m = dialect.mark
    return (
        f"INSERT INTO worked_hours (hour, fleet, mark, answered) VALUES ({m}, {m}, 1, 0) "
        "ON CONFLICT (hour, fleet) DO UPDATE SET mark = worked_hours.mark + 1"
    )


def answer_marks(dialect: Dialect) -> str:
    """The statement that notes up to which mark an hour of a fleet is allocated."""
    m = dialect.mark
    return f"UPDATE worked_hours SET answered = {m} WHERE hour = {m} AND fleet = {m}"


def worked_hours(records: Iterable[UsageRecord]) -> list[tuple[int, str]]:
    """The (hour, fleet) in which own fleets worked for these records, in the order in which every writer takes hold of them."""
    found: set[tuple[int, str]] = set()
    for record in records:
        fleets = {record.fleet} - {None} | {each.fleet for each in record.wasted_work}
        if fleets:
            begin = min(max(record.admitted_ns, -MOST_INT), MOST_INT)
            end = begin + min(max(record.duration_us, 0) * 1000, LOOKBACK_NS)
            found |= {(hour, fleet) for hour in range(begin // HOUR_NS, end // HOUR_NS + 1) for fleet in fleets if fleet is not None}
    return sorted(found)


def add_up_hours(dialect: Dialect) -> list[str]:
    """Statements that add the allocations of `put_hours` up, and the days that these hours are in."""
    columns, day = ", ".join(_VALUES), LEVELS["day"]
    name = f"COALESCE(entry_name, {name_sql(dialect, SUMS_CUBE)})"
    values = ", ".join(total for name in _VALUES for total in totals(*_SUMS[name], False))
    added = ", ".join(f"SUM(h.{name})" for name in _VALUES)
    return [
        f"INSERT INTO fresh_allocated (hour, fleet, name, {columns}) SELECT a.hour, a.fleet_paid, {name}, {values} FROM put_hours p "
        f" JOIN allocations a ON a.hour = p.hour AND a.fleet_paid = p.fleet_put {_NAMED} GROUP BY 1, 2, 3",
        put_words(dialect, SUMS_CUBE, "fresh_allocated"),
        f"INSERT INTO allocated_hour (period, fleet, key_id, {columns}) SELECT f.hour, f.fleet, k.id, {columns} "
        "FROM fresh_allocated f JOIN sums_keys k ON k.name = f.name ORDER BY 1, 2, 3",
        f"INSERT INTO allocated_day (period, fleet, key_id, {columns}) SELECT d.day, h.fleet, h.key_id, {added} "
        f"FROM (SELECT DISTINCT hour / {day} AS day, fleet_put FROM put_hours) d "
        f"JOIN allocated_hour h ON h.period >= d.day * {day} AND h.period < (d.day + 1) * {day} AND h.fleet = d.fleet_put "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    ]


def select_allocated(dialect: Dialect, query: CostQuery) -> list[tuple[Select, str]]:
    """Statements that add up the whole hours of a query's window, each with the level (`hour`, `day`) that its periods are of.

    A row is the keys (periods as numbers), then every sum's upper and lower 32 bits apart.
    """
    since, until = -(-query.since_ns // HOUR_NS), query.until_ns // HOUR_NS
    asked = {*query.by, *(key for key, _ in query.where)}
    if not asked <= {*SUMS_CUBE.keys, *PERIODS}:
        return [(_of_allocations(dialect, query, since, until), "hour")] if since < until else []
    day = LEVELS["day"]
    first, last = -(-since // day), until // day
    spans = [("hour", since, until)]
    if "hour" not in asked and first < last:
        spans = [("hour", since, first * day), ("day", first, last), ("hour", last * day, until)]
    return [(_of_cube(dialect, query, level, start, end), level) for level, start, end in spans if start < end]


def _of_cube(dialect: Dialect, query: CostQuery, level: str, since: int, until: int) -> Select:
    mark = dialect.mark
    keys = [_period(key, level, "c.period") if key in PERIODS else _word(key) for key in query.by]
    values = [total for name in _VALUES for total in totals(f"c.{name}", None, True)]
    filters = "".join(f" AND {_word(key)} = {mark}" for key, _ in query.where)
    sql = (
        f"SELECT {', '.join(keys + values)} FROM allocated_{level} c JOIN sums_keys k ON k.id = c.key_id "
        f"WHERE c.period >= {mark} AND c.period < {mark}{filters}{_grouped(len(keys))}"
    )
    return sql, [since, until, *(value for _, value in query.where)]


def _of_allocations(dialect: Dialect, query: CostQuery, since: int, until: int) -> Select:
    keys, parameters = [], []
    for key in query.by:
        sql, values = _of_request(dialect, key)
        keys.append(sql)
        parameters += values
    conditions = [f"hour >= {dialect.mark} AND hour < {dialect.mark}"]
    parameters += [since, until]
    for key, value in query.where:
        sql, values = _of_request(dialect, key)
        conditions.append(f"{sql} = {dialect.mark}")
        parameters += [*values, value]
    sums = [total for name in _VALUES for total in totals(*_SUMS[name], True)]
    where = " AND ".join(conditions)
    return f"SELECT {', '.join(keys + sums)} FROM allocations {_NAMED} WHERE {where}{_grouped(len(keys))}", parameters


def _word(key: str) -> str:
    return "c.fleet" if key == "fleet" else f"k.{key}"


def _of_request(dialect: Dialect, key: str) -> Select:
    if key in PERIODS:
        return _period(key, "hour", "hour"), []
    if key == "fleet":
        return "fleet_paid", []
    sql, parameters = key_sql(dialect, key, _TAGS)
    if key not in DIMENSIONS:
        return sql, parameters
    tag, parameter = dialect.tag(key, "entry_tags")
    return f"COALESCE({sql}, {tag})", [*parameters, parameter]


def _period(key: str, level: str, period: str) -> str:
    return period if key == level else f"{period} / {LEVELS[key]}"


def _grouped(width: int) -> str:
    group = f" GROUP BY {', '.join(str(index + 1) for index in range(width))}" if width else ""
    return f"{group} HAVING COUNT(*) > 0"


_OWN = "(outcome = 'ok' OR (wasted_work IS NULL AND outcome <> 'interrupted'))"
"""`record.own_tokens` in SQL"""
WORK = (
    "id", "admitted_ns", "COALESCE(duration_us, 0)", "fleet", "model",
    f"CASE WHEN {_OWN} THEN tokens_uncached_input + tokens_cache_write ELSE 0 END",
    f"CASE WHEN {_OWN} THEN tokens_visible_output + tokens_reasoning ELSE 0 END",
    "outcome = 'ok'", "wasted_work",
)  # fmt: skip


def select_works(dialect: Dialect, fleets: int, lookback_ns: int, since_ns: int, until_ns: int) -> Select:
    """Records that some of `fleets` fleets answered, or that tried one in vain: their names are parameters to be added."""
    m = dialect.mark
    marks = ", ".join([m] * fleets)
    # An instant belongs to the hour that it begins; written so that no sum of a time and a duration can leave 64 bits.
    under_way = f"(admitted_ns >= {m} OR duration_us > ({m} - admitted_ns) / 1000)"
    sql = (
        f"SELECT {', '.join(WORK)} FROM records WHERE admitted_ns >= {m} AND admitted_ns < {m} AND {under_way} AND outcome <> 'refused' "
        f"AND cache NOT IN ('exact', 'normalised', 'semantic') AND (fleet IN ({marks}) OR wasted_work IS NOT NULL) ORDER BY admitted_ns, id"
    )
    return sql, [max(since_ns - lookback_ns, 0), min(until_ns, MOST_INT), max(since_ns, 0), max(since_ns, 0)]
