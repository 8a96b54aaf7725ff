"""The SQL that SQLite and PostgreSQL share: tables, and sums by key. What differs between the two is a `Dialect`.

Values and tag names are always parameters; only names from our own tables are ever part of a statement's text.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from penstock.adapters.stores.columns import COLUMNS, MOST_INT, NAMES, REQUIRED, Kind
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery
from penstock.ports.usage_store import StoreError

SCHEMA_VERSION = 3
"""2: cubes are kept beside the records (`cubes.py`), so an older penstock must not write any more; 3: the cubes hold more sums, and hours
of fleets stand beside them (`cost_tables.py`)"""
PERIODS = ("day", "hour")

LINE = "outcome <> 'refused'"
"""answered, or called beside an answer: all that can cost"""
ANSWERED = f"{LINE} AND purpose IS NULL"
ASIDE = f"{LINE} AND purpose IS NOT NULL"
_PRICED_LINE = f"{LINE} AND cost IS NOT NULL"
PRICED = f"{ANSWERED} AND cost IS NOT NULL"
COMPARED = f"{PRICED} AND counterfactual IS NOT NULL"
_COMPARED_LINE = f"{_PRICED_LINE} AND (counterfactual IS NOT NULL OR purpose IS NOT NULL)"
_BESIDE = "fleet IS NOT NULL AND wasted_cost IS NOT NULL AND (embedding_cost IS NOT NULL OR cache_decision IS NULL)"
"""all that a record cost beside the work of its fleet is known"""
_UNBOOKED_LINE = f"{LINE} AND cost IS NULL AND {_BESIDE}"
UNBOOKED = f"{ANSWERED} AND cost IS NULL AND {_BESIDE}"
BOOKED = f"{LINE} AND (cost IS NOT NULL OR ({_BESIDE}))"
_PROCESSED = tuple(f"tokens_{name}" for name in ("uncached_input", "cache_read", "cache_write", "visible_output", "reasoning"))
_TOTAL = " + ".join(_PROCESSED)
_BEYOND_EMBEDDING = "cost - COALESCE(embedding_cost, 0)"
_SPLIT_LINE = f"input_cost IS NOT NULL AND {_PRICED_LINE} AND list_cost IS NOT NULL AND {_TOTAL} > 0"

SUMS: dict[str, tuple[str, str]] = {
    "requests": ("1", ANSWERED),
    "refused": ("1", "outcome = 'refused' AND purpose IS NULL"),
    "failed": ("1", f"{ANSWERED} AND outcome <> 'ok'"),
    "cache_hits": ("1", f"{ANSWERED} AND cache IN ('exact', 'normalised', 'semantic')"),
    "uncached_input": ("tokens_uncached_input", LINE),
    "cache_read": ("tokens_cache_read", LINE),
    "cache_write": ("tokens_cache_write", LINE),
    "visible_output": ("tokens_visible_output", LINE),
    "reasoning": ("tokens_reasoning", LINE),
    "recalled_input": ("recalled_uncached_input + recalled_cache_read + recalled_cache_write", ANSWERED),
    "recalled_output": ("recalled_visible_output + recalled_reasoning", ANSWERED),
    "priced": ("1", PRICED),
    "priced_tokens": (_TOTAL, _PRICED_LINE),
    "cost": ("COALESCE(cost, wasted_cost + COALESCE(embedding_cost, 0))", BOOKED),
    "estimated": ("1", f"{PRICED} AND cost_basis = 'estimated'"),
    "compared": ("1", COMPARED),
    "compared_cost": ("cost", _COMPARED_LINE),
    "counterfactual": ("counterfactual", COMPARED),
    "list_cost": ("COALESCE(list_cost, 0)", COMPARED),
    "wasted": ("COALESCE(wasted_cost, 0)", COMPARED),
    "wasting": ("1", f"{COMPARED} AND wasted_cost > 0"),
    "provisional": ("COALESCE(provisional, CASE WHEN fleet IS NULL THEN 0 ELSE COALESCE(cost, 0) END)", BOOKED),
    "split": ("1", f"{_SPLIT_LINE} AND purpose IS NULL"),
    "split_input_cost": ("input_cost", _SPLIT_LINE),
    "split_output_cost": ("list_cost - input_cost", _SPLIT_LINE),
    "split_input": (" + ".join(_PROCESSED[:3]), _SPLIT_LINE),
    "split_output": (" + ".join(_PROCESSED[3:]), _SPLIT_LINE),
    "unbooked": ("1", UNBOOKED),
    "unbooked_tokens": (" + ".join(_PROCESSED), _UNBOOKED_LINE),
    "looked": ("1", f"{ANSWERED} AND cache_decision IS NOT NULL"),
    "embedding_cost": ("COALESCE(embedding_cost, 0)", COMPARED),
    "embedded": ("1", f"{COMPARED} AND embedding_cost > 0"),
    "embedding_unknown": ("1", f"{ANSWERED} AND embedding_cost IS NULL AND cache_decision IS NOT NULL"),
    "would_normalised": ("1", f"{ANSWERED} AND would_cache = 'normalised'"),
    "would_normalised_cost": (_BEYOND_EMBEDDING, f"{PRICED} AND would_cache = 'normalised'"),
    "would_semantic": ("1", f"{ANSWERED} AND would_cache = 'semantic'"),
    "would_semantic_cost": (_BEYOND_EMBEDDING, f"{PRICED} AND would_cache = 'semantic'"),
    "would_priced": ("1", f"{PRICED} AND would_cache IN ('normalised', 'semantic')"),
    "asides": ("1", ASIDE),
    "aside_cost": ("cost", f"{ASIDE} AND cost IS NOT NULL"),
    "asides_unpriced": ("1", f"{ASIDE} AND cost IS NULL AND NOT ({_BESIDE})"),
    "asides_unbooked": ("1", f"{ASIDE} AND cost IS NULL AND {_BESIDE}"),
}
"""field of `Sums` -> what is added up, and over which records: `measures.sums_of` in SQL"""


class Dialect(msgspec.Struct, frozen=True):
    """What differs between databases: the parameter mark, column types, periods of `admitted_ns`, a tag's value, JSON."""

    mark: str
    kinds: dict[Kind, str]
    periods: dict[str, str]
    tag: Callable[[str, str], tuple[str, Any]]
    """tag name, SQL of the tags -> SQL with one parameter, and that parameter"""
    tags_array: Callable[[Sequence[str], str], str]
    """some of our own tag names, SQL of the tags -> SQL of the JSON array of their values"""
    json_array: str
    """a format: SQL of items -> SQL of a JSON array as text"""
    json_item: Callable[[str, Sequence[int]], str]
    """column that holds a JSON array, the indices that lead to an item -> SQL of that item as text"""
    serial: str
    """type of a primary key that counts up by itself"""
    unique_name: str
    """constraint that a text column `name`, however long, has every value once"""
    clustered: str
    """ending of a table that lies in the order of its primary key"""
    emptied: str
    """ending of a temporary table that a commit may empty, where deleted rows would else pile up in it"""
    overflow: str | None
    """how an error reads of a sum that leaves 64 bits; None where sums are as large as they must be"""


KEY_COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("name", "text"), ("tiers", "text"), ("requests", "text"), ("tokens", "text"), ("concurrent", "int"), ("budget", "text"),
    ("account", "text"), ("rotated_ns", "int"), ("replaced_by", "text"), ("replaces", "text"),
)  # fmt: skip
"""of `api_keys`, beside those that it had at first; each may be empty"""


def tables(dialect: Dialect) -> list[str]:
    """Statements that create what is missing; running them again changes nothing."""
    integer, text = dialect.kinds["int"], dialect.kinds["text"]
    columns = ", ".join(_column(dialect, name, kind) for name, kind in COLUMNS)
    of_keys = ", ".join(f"{name} {dialect.kinds[kind]}" for name, kind in KEY_COLUMNS)
    return [
        f"CREATE TABLE IF NOT EXISTS schema_version (version {integer} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS records ({columns}, PRIMARY KEY (id))",
        "CREATE INDEX IF NOT EXISTS records_admitted ON records (admitted_ns)",
        f"CREATE TABLE IF NOT EXISTS reservations (id {text} PRIMARY KEY, writer {text} NOT NULL, payload {text} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS journal_offsets (segment {text} PRIMARY KEY, byte_offset {integer} NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS api_keys (id {text} PRIMARY KEY, prefix {text} NOT NULL, sha256 {text} NOT NULL UNIQUE, "
        f"created_ns {integer} NOT NULL, tags {text} NOT NULL, models {text} NOT NULL, expires_ns {integer}, revoked_ns {integer}, "
        f"{of_keys})",
    ]


def missing_columns(dialect: Dialect, present: Callable[[str], set[str]]) -> list[str]:
    """Statements that add the columns of fields newer than their table, whose columns `present` tells: additive changes need no
    version of their own."""
    of_records, of_keys = present("records"), present("api_keys")
    records = [_column(dialect, name, kind) for name, kind in COLUMNS if name not in of_records]
    keys = [f"{name} {dialect.kinds[kind]}" for name, kind in KEY_COLUMNS if name not in of_keys]
    added = [("records", column) for column in records] + [("api_keys", column) for column in keys]
    return [f"ALTER TABLE {table} ADD COLUMN {column}" for table, column in added]


PARENTS = "CREATE INDEX IF NOT EXISTS records_parent ON records (parent) WHERE parent IS NOT NULL"
"""for the columns of an older store, this comes after `missing_columns`"""


def newer_schema(where: str, version: int) -> StoreError:
    """The refusal of a schema that this version does not know."""
    known = f"this one knows schema {SCHEMA_VERSION}"
    return StoreError(f"the store {where} was written by a newer penstock (schema {version}; {known})", "upgrade penstock on this host")


def _column(dialect: Dialect, name: str, kind: Kind) -> str:
    return f"{name} {dialect.kinds[kind]}{' NOT NULL' if name in REQUIRED else ''}"


def insert_records(dialect: Dialect) -> str:
    marks = ", ".join([dialect.mark] * len(NAMES))
    return f"INSERT INTO records ({', '.join(NAMES)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"


def put_reservation(dialect: Dialect) -> str:
    m = dialect.mark
    return (
        f"INSERT INTO reservations (id, writer, payload) VALUES ({m}, {m}, {m}) "
        "ON CONFLICT (id) DO UPDATE SET payload = excluded.payload"  # a request that is tried again holds more
    )


def put_offset(dialect: Dialect) -> str:
    m = dialect.mark
    return (
        f"INSERT INTO journal_offsets (segment, byte_offset) VALUES ({m}, {m}) "
        "ON CONFLICT (segment) DO UPDATE SET byte_offset = excluded.byte_offset"
    )


def select_records(dialect: Dialect, query: CostQuery, limit: int | None) -> tuple[str, list[Any]]:
    where, parameters = window_and_filters(dialect, query)
    tail = "" if limit is None else f" LIMIT {int(limit)}"
    return f"SELECT {', '.join(NAMES)} FROM records WHERE {where} ORDER BY admitted_ns DESC, id DESC{tail}", parameters


def select_asides(dialect: Dialect) -> str:
    """The records of calls made for one request, in the order in which they began."""
    return f"SELECT {', '.join(NAMES)} FROM records WHERE parent = {dialect.mark} ORDER BY admitted_ns, id"


def totals(value: str, condition: str | None, halves: bool) -> list[str]:
    """SQL of a sum; with `halves` of its upper and lower 32 bits apart, for sums that leave 64 bits."""
    parts = (f"({value}) >> 32", f"({value}) & 4294967295") if halves else (value,)
    return [f"SUM({part})" if condition is None else f"SUM(CASE WHEN {condition} THEN {part} ELSE 0 END)" for part in parts]


def window_and_filters(dialect: Dialect, query: CostQuery) -> tuple[str, list[Any]]:
    """The condition of a query on records, and its parameters."""
    conditions = [f"admitted_ns >= {dialect.mark}", f"admitted_ns < {dialect.mark}"]
    conditions += ["purpose IS NULL"] if query.requests_alone else []
    parameters: list[Any] = [max(query.since_ns, -MOST_INT), min(query.until_ns, MOST_INT)]
    for key, value in query.where:
        sql, values = key_sql(dialect, key)
        conditions.append(f"{sql} = {dialect.mark}")
        parameters += [*values, value]
    return " AND ".join(conditions), parameters


def key_sql(dialect: Dialect, key: str, tags: str = "tags") -> tuple[str, list[Any]]:
    """The value of a key on a record, and the parameters of that SQL. `tags` is the SQL of its tags."""
    if key == "status":
        return "CAST(status AS TEXT)", []
    if key in DIMENSIONS:
        return key, []
    if key in PERIODS:
        return dialect.periods[key], []
    sql, parameter = dialect.tag(key, tags)
    return sql, [parameter]
