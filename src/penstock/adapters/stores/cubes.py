"""Roll-ups, as cubes: sums of the records by hour and day (UTC) and by what reports ask for, so that no page reads every record.

A cube's rows are additive, so a window is put together from whole days, whole hours, and records at its edges (`pieces.py`).
The words for a row's group are interned once in `{cube}_keys`; `{cube}_hour` and `{cube}_day` hold its number.
Records before 1970 stand in no cube.
"""

from collections.abc import Callable, Sequence

import msgspec

from penstock.adapters.stores.sql import SUMS, Dialect, key_sql, totals
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.latency import BOUNDS_US
from penstock.domain.ledger.measures import Sums
from penstock.domain.prices.schedule import HOUR_NS as HOUR_NS

LEVELS = {"hour": 1, "day": 24}
"""level -> hours in its period"""
CUBED_TAGS = ("team", "feature", "environment", "cost_center", "business_unit", "workload_type")
CUBED = (
    "tier", "cache", "outcome", *CUBED_TAGS, "model", "sla", "upstream", "endpoint", "response_model", "model_version", "optimization",
    "fleet", "gpu", "instance", "region", "route", "strategy", "status", "price_id", "price_version", "cost_basis", "baseline",
    "processing", "purpose",
)  # fmt: skip
"""what `sums` are kept by: few values each. Not users, API keys or requested models, which clients choose"""
LATER = ("purpose",)
"""those of them that came after the first tables: they stand last in a name, so that names of before mean what they meant"""

_MONEY = ("cost", "list_cost", "wasted_cost", "counterfactual", "input_cost", "provisional", "embedding_cost")
_COUNTS = tuple(f"{group}_{name}" for group in ("tokens", "recalled") for name in Tokens.__struct_fields__)
_ANY_BIT = " | ".join((*_COUNTS, *(f"COALESCE({name}, 0)" for name in _MONEY)))
_APART = f"CASE WHEN {_ANY_BIT} NOT BETWEEN 0 AND {2**36 - 1} THEN id END"
"""a record with an absurd figure (68 USD, 68 billion tokens, less than nothing) makes a group of its own: so a cell stays
within 64 bits for the first 25 million requests of a day, were they all just below that"""


class Cube(msgspec.Struct, frozen=True):
    """One set of sums: what it is kept by, and what it adds up."""

    name: str
    keys: tuple[str, ...]
    """fields or tags that a query may group by and filter with"""
    apart: str
    """SQL of a further part of the key, or `NULL`"""
    bins: tuple[str, ...]
    """integer columns that tell the rows of one group apart"""
    values: tuple[str, ...]
    """integer columns that are added up"""
    later: tuple[str, ...] = ()
    """keys that came after the others: unknown in what was written before"""

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.bins, *self.values)


SUMS_CUBE = Cube("sums", CUBED, _APART, (), Sums.__struct_fields__, LATER)
LATENCY_CUBE = Cube("latency", ("endpoint", "model", "tier", "upstream", "sla", "cache"), "NULL", ("bin",), ("answers",))
CUBES = (SUMS_CUBE, LATENCY_CUBE)

DURATION_BINS = 100
"""bins of the duration start here, those of the first token at 0"""


def cube_tables(dialect: Dialect) -> list[str]:
    """Statements that create the tables of every cube where they are missing."""
    integer, text, statements = dialect.kinds["int"], dialect.kinds["text"], []
    for cube in CUBES:
        words = ", ".join(f"{key} {text}" for key in cube.keys)
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {cube.name}_keys (id {dialect.serial}, {words}, name {text} NOT NULL, {dialect.unique_name})"
        )
        numbers = ", ".join(f"{name} {integer} NOT NULL" for name in cube.columns)
        unique = ", ".join(("period", "key_id", *cube.bins))
        statements += [
            f"CREATE TABLE IF NOT EXISTS {cube.name}_{level} "
            f"(period {integer} NOT NULL, key_id {integer} NOT NULL, {numbers}, PRIMARY KEY ({unique})){dialect.clustered}"
            for level in LEVELS
        ]
    return statements


def missing_sums(dialect: Dialect, present: Callable[[str], set[str]]) -> list[str]:
    """Statements that add the sums and the keys that are newer than a cube, whose columns `present` tells. Only for sums that no record
    of before has a part in, and keys that none has a value of: their rows hold 0 and NULL. Any other needs a schema of its own, whose
    cubes are made anew."""
    integer, text, statements = dialect.kinds["int"], dialect.kinds["text"], []
    for cube in CUBES:
        known = present(f"{cube.name}_keys")
        statements += [f"ALTER TABLE {cube.name}_keys ADD COLUMN {key} {text}" for key in cube.later if key not in known]
        for table in (f"{cube.name}_{level}" for level in LEVELS):
            new = [name for name in cube.values if name not in present(table)]
            statements += [f"ALTER TABLE {table} ADD COLUMN {name} {integer} NOT NULL DEFAULT 0" for name in new]
    return statements


def drop_cubes() -> list[str]:
    """Statements that remove the tables of every cube, for a schema whose cubes are made anew."""
    return [f"DROP TABLE IF EXISTS {cube.name}_{part}" for cube in CUBES for part in (*LEVELS, "keys")]


def fresh_tables(dialect: Dialect) -> list[str]:
    """Statements that create, for one connection, where a delivery is added up before it joins the cubes."""
    integer, text = dialect.kinds["int"], dialect.kinds["text"]
    return [
        f"CREATE TEMPORARY TABLE IF NOT EXISTS fresh_{cube.name} "
        f"(period {integer}, name {text}, {', '.join(f'{name} {integer}' for name in cube.columns)}){dialect.emptied}"
        for cube in CUBES
    ]


def put_fresh(dialect: Dialect, source: str, condition: str) -> tuple[str, ...]:
    """Statements that add to every cube the records of `source` for which `condition` holds.

    They take locks in the same order everywhere (keys by name, rows by period and key), so that hosts never wait in a circle.
    """
    where = f"{condition} AND admitted_ns >= 0"
    selects = {"sums": _select_sums(dialect, source, where), "latency": _select_latency(dialect, source, where)}
    statements = []
    for cube in CUBES:
        fresh, columns = f"fresh_{cube.name}", ", ".join(cube.columns)
        statements += [
            f"DELETE FROM {fresh}",
            f"INSERT INTO {fresh} (period, name, {columns}) {selects[cube.name]}",
            put_words(dialect, cube, fresh),
            *(_merge(cube, level, hours) for level, hours in LEVELS.items()),
        ]
    return tuple(statements)


def put_words(dialect: Dialect, cube: Cube, fresh: str) -> str:
    """Statement that enters the names of `fresh` that a cube does not know."""
    words = ", ".join(dialect.json_item("name", _path(cube, key)) for key in cube.keys)
    return (
        f"INSERT INTO {cube.name}_keys (name, {', '.join(cube.keys)}) SELECT name, {words} FROM (SELECT DISTINCT name FROM {fresh}) f "
        f"WHERE NOT EXISTS (SELECT 1 FROM {cube.name}_keys k WHERE k.name = f.name) ORDER BY name ON CONFLICT DO NOTHING"
    )


def _merge(cube: Cube, level: str, hours: int) -> str:
    table, bins = f"{cube.name}_{level}", "".join(f", {name}" for name in cube.bins)
    unique = f"period, key_id{bins}"
    group = ", ".join(str(index + 1) for index in range(2 + len(cube.bins)))
    summed = ", ".join(f"SUM({name})" for name in cube.values)
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in cube.values)
    return (
        f"INSERT INTO {table} ({unique}, {', '.join(cube.values)}) SELECT f.period / {hours}, k.id{bins}, {summed} "
        f"FROM fresh_{cube.name} f JOIN {cube.name}_keys k ON k.name = f.name GROUP BY {group} ORDER BY {group} "
        f"ON CONFLICT ({unique}) DO UPDATE SET {added}"
    )


def name_of(cube: Cube, word: Callable[[str], str | None]) -> str:
    """The words of anything as `name_sql` has them of records, by the value of each key."""
    fields, tags = _split(cube)
    return msgspec.json.encode([*map(word, fields), [*map(word, tags)], None, *map(word, cube.later)]).decode()


def name_sql(dialect: Dialect, cube: Cube) -> str:
    """SQL of a record's words as JSON: fields, then the array of its tags, then what sets it apart, then later keys."""
    fields, tags = _split(cube)
    words, later = ([key_sql(dialect, key)[0] for key in keys] for keys in (fields, cube.later))
    return dialect.json_array.format(", ".join([*words, dialect.tags_array(tags, "tags") if tags else "NULL", cube.apart, *later]))


def _path(cube: Cube, key: str) -> tuple[int, ...]:
    """Where the value of a key stands in a name."""
    fields, tags = _split(cube)
    if key in cube.later:
        return (len(fields) + 2 + cube.later.index(key),)
    return (len(fields), tags.index(key)) if key in tags else (fields.index(key),)


def _split(cube: Cube) -> tuple[list[str], list[str]]:
    first = [key for key in cube.keys if key not in cube.later]
    return [key for key in first if key not in CUBED_TAGS], [key for key in first if key in CUBED_TAGS]


def _select_sums(dialect: Dialect, source: str, where: str) -> str:
    values = ", ".join(total for name in SUMS_CUBE.values for total in totals(*SUMS[name], False))
    name = name_sql(dialect, SUMS_CUBE)
    return f"SELECT admitted_ns / {HOUR_NS}, {name}, {values} FROM {source} WHERE {where} GROUP BY 1, 2"


def _select_latency(dialect: Dialect, source: str, where: str) -> str:
    # Sorting by one text is half the work of sorting by its six words.
    name = name_sql(dialect, LATENCY_CUBE)
    branches = " UNION ALL ".join(
        f"SELECT admitted_ns / {HOUR_NS} AS period, {name} AS name, {bin} AS bin FROM {source} WHERE {where} AND {known}"
        for bin, known in ((FIRST_TOKEN_BIN, FIRST_TOKEN_KNOWN), (DURATION_BIN, DURATION_KNOWN))
    )
    return f"SELECT period, name, bin, COUNT(*) FROM ({branches}) timed GROUP BY 1, 2, 3"


def _bin(column: str, bounds: Sequence[int], first: int) -> str:
    """`latency.bucket_of` in SQL, by halving."""
    if not bounds:
        return str(first)
    middle = len(bounds) // 2
    lower, upper = _bin(column, bounds[:middle], first), _bin(column, bounds[middle + 1 :], first + middle + 1)
    return f"CASE WHEN {column} <= {bounds[middle]} THEN {lower} ELSE {upper} END"


_TIMED = "outcome = 'ok' AND purpose IS NULL"
_TIMED = "outcome = 'ok' AND purpose IS NULL"
FIRST_TOKEN_BIN, FIRST_TOKEN_KNOWN = _bin("first_token_us", BOUNDS_US, 0), f"{_TIMED} AND first_token_us IS NOT NULL"
DURATION_BIN, DURATION_KNOWN = _bin("duration_us", BOUNDS_US, DURATION_BINS), f"{_TIMED} AND duration_us IS NOT NULL"
