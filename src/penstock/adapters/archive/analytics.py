"""The sums of `domain.ledger.measures` as one Ibis expression: the same figures from the archive's files and from a warehouse's table.

A warehouse needs the table `records` (loaded from the files that the manifest names, or copied from the store) and a function
`jsonb_extract_path_text(tags, name)`, which PostgreSQL has of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.adapters.archive.duck import connect, show_records
from penstock.adapters.archive.places import Place
from penstock.adapters.stores.columns import COLUMNS, MOST_INT
from penstock.adapters.stores.pieces import label, narrowed
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import DIMENSIONS, CostQuery, Sums
from penstock.domain.ledger.record import REPLAYED
from penstock.ports.archive import ArchiveError, Part

if TYPE_CHECKING:
    from ibis.backends import BaseBackend
    from ibis.expr import types as ir

Keys = tuple[str | None, ...]
_HOURS = {"hour": 1, "day": 24}
_PROCESSED = ("uncached_input", "cache_read", "cache_write", "visible_output", "reasoning")
_TAG_OF_FILES = (
    "CREATE MACRO jsonb_extract_path_text(tags, name) AS json_extract_string(tags, '/' || replace(replace(name, '~', '~0'), '/', '~1'))"
)
_KINDS = {"text": "string", "int": "int64", "real": "float64", "bool": "boolean"}


class Source(msgspec.Struct, frozen=True):
    """Where the expression runs: an Ibis backend that knows a table `records`, and of what type its JSON columns are."""

    backend: "BaseBackend"
    json: str


@contextmanager
def duckdb_source(place: Place, parts: Sequence[Part]) -> Iterator[Source]:
    """The files of some parts, in DuckDB. Raises `ArchiveError`."""
    import ibis

    db = connect()
    try:
        show_records(db, place, parts)
        db.execute(_TAG_OF_FILES)
        yield Source(ibis.duckdb.from_connection(db), "string")
    finally:
        db.close()


@contextmanager
def postgres_source(url: str) -> Iterator[Source]:
    """The live table of a store in PostgreSQL. Raises `ArchiveError` when it cannot be reached."""
    import ibis
    import psycopg

    try:
        db = psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=on")
    except psycopg.Error as problem:
        raise ArchiveError(
            f"the store cannot be reached: {problem}", "check [server] store, and that the database server runs"
        ) from problem
    with db:
        yield Source(ibis.postgres.from_connection(db), "binary json")


def sums(source: Source, query: CostQuery) -> list[tuple[Keys, Sums]]:
    """Sums by the values of `query.by`, exact integers; each group once."""
    query, width = narrowed(query), len(query.by)
    cursor = source.backend.raw_sql(source.backend.compile(expression(query, source.json)))
    try:
        rows = cursor.fetchall()
    finally:
        cursor.close()
    found = []
    for row in rows:
        keys = tuple(_word(key, value) for key, value in zip(query.by, row, strict=False))
        values = Sums(*(int(value or 0) for value in row[width + 1 :]))
        if row[width]:
            found.append((keys, values))
    return found


def expression(query: CostQuery, json: str = "string") -> "ir.Table":
    """One row per group: its keys (`day` and `hour` as the first nanosecond), how many records, then every field of `Sums`."""
    import ibis

    kinds: dict[str, Any] = {**_KINDS, "json": ibis.dtype(json) if json == "string" else ibis.expr.datatypes.JSON(binary=True)}
    records = ibis.table({name: kinds[kind] for name, kind in COLUMNS}, name="records")
    conditions = [records.admitted_ns >= max(query.since_ns, -MOST_INT), records.admitted_ns < min(query.until_ns, MOST_INT)]
    conditions += [_key(records, key) == value for key, value in query.where]
    conditions += [records.purpose.isnull()] if query.requests_alone else []
    found = records.filter(conditions)
    keys = {f"key{index}": _key(found, key) for index, key in enumerate(query.by)}
    measures = {"records": found.count(), **_measures(found)}
    return found.group_by(**keys).aggregate(**measures) if keys else found.aggregate(**measures)


def _key(records: "ir.Table", key: str) -> Any:
    if key == "status":
        return records.status.cast("string")
    if key in DIMENSIONS:
        return records[key]
    if key in PERIODS:
        # A remainder is exact in every database; a division by it may be one of floating point.
        length = _HOURS[key] * HOUR_NS
        return records.admitted_ns - ((records.admitted_ns % length) + length) % length
    return _tag_function(records)(records.tags, key.replace("\0", "\ufffd"))


def _tag_function(records: "ir.Table") -> Any:
    import ibis

    def jsonb_extract_path_text(document, word):  # type: ignore[no-untyped-def]
        """The database's own."""

    return ibis.udf.scalar.builtin(jsonb_extract_path_text, signature=((records.tags.type(), "string"), "string"))


def _measures(records: "ir.Table") -> dict[str, Any]:
    """Every field of `Sums`: `measures.sums_of`, over columns."""
    import ibis

    line = records.outcome != "refused"
    answered, aside = line & records.purpose.isnull(), line & records.purpose.notnull()
    has_cost = records.cost.notnull()
    priced, priced_line = answered & has_cost, line & has_cost
    compared = priced & records.counterfactual.notnull()
    tokens = [records[f"tokens_{name}"] for name in _PROCESSED]
    recalled = [records[f"recalled_{name}"] for name in _PROCESSED]
    total = _plus(tokens)
    split = priced_line & records.input_cost.notnull() & records.list_cost.notnull() & (total > 0)
    embedding_known = records.embedding_cost.notnull() | records.cache_decision.isnull()
    by_hours = records.cost.isnull() & records.fleet.notnull() & records.wasted_cost.notnull() & embedding_known
    wasted, beside = records.wasted_cost.fill_null(0), records.wasted_cost + records.embedding_cost.fill_null(0)
    own = ibis.coalesce(records.provisional, ibis.ifelse(records.fleet.isnull(), 0, records.cost.fill_null(0)))
    booked = line & (has_cost | by_hours)
    given: dict[str, tuple[Any, Any]] = {
        "requests": (1, answered),
        "refused": (1, (records.outcome == "refused") & records.purpose.isnull()),
        "failed": (1, answered & (records.outcome != "ok")),
        "cache_hits": (1, answered & records["cache"].isin(REPLAYED)),
        **{name: (column, line) for name, column in zip(_PROCESSED, tokens, strict=True)},
        "recalled_input": (_plus(recalled[:3]), answered),
        "recalled_output": (_plus(recalled[3:]), answered),
        "priced": (1, priced),
        "priced_tokens": (total, priced_line),
        "cost": (ibis.coalesce(records.cost, beside), booked),
        "estimated": (1, priced & (records.cost_basis == "estimated")),
        "compared": (1, compared),
        "compared_cost": (records.cost, compared | (aside & has_cost)),
        "counterfactual": (records.counterfactual, compared),
        "list_cost": (records.list_cost.fill_null(0), compared),
        "wasted": (wasted, compared),
        "wasting": (1, compared & (wasted > 0)),
        "provisional": (own, booked),
        "split": (1, split & answered),
        "split_input_cost": (records.input_cost, split),
        "split_output_cost": (records.list_cost - records.input_cost, split),
        "split_input": (_plus(tokens[:3]), split),
        "split_output": (_plus(tokens[3:]), split),
        "unbooked": (1, answered & by_hours),
        "unbooked_tokens": (total, line & by_hours),
        **_of_caching(records, answered, priced, compared),
        "asides": (1, aside),
        "aside_cost": (records.cost, aside & has_cost),
        "asides_unpriced": (1, aside & records.cost.isnull() & ~by_hours),
        "asides_unbooked": (1, aside & by_hours),
    }
    return {name: _total(*given[name]) for name in Sums.__struct_fields__}


def _of_caching(records: "ir.Table", answered: Any, priced: Any, compared: Any) -> dict[str, tuple[Any, Any]]:
    """The same for what the semantic cache did, or would have done."""
    looked, beyond = records.cache_decision.notnull(), records.cost - records.embedding_cost.fill_null(0)
    normalised, semantic = records.would_cache == "normalised", records.would_cache == "semantic"
    return {
        "looked": (1, answered & looked),
        "embedding_cost": (records.embedding_cost.fill_null(0), compared),
        "embedded": (1, compared & (records.embedding_cost > 0)),
        "embedding_unknown": (1, answered & looked & records.embedding_cost.isnull()),
        "would_normalised": (1, answered & normalised),
        "would_normalised_cost": (beyond, priced & normalised),
        "would_semantic": (1, answered & semantic),
        "would_semantic_cost": (beyond, priced & semantic),
        "would_priced": (1, priced & (normalised | semantic)),
    }


def _total(value: Any, condition: Any) -> Any:
    """As decimals: sums of integers leave 64 bits in some databases."""
    import ibis

    return ibis.ifelse(condition, value, 0).cast("decimal(38, 0)").sum()


def _plus(columns: Sequence[Any]) -> Any:
    total = columns[0]
    for column in columns[1:]:
        total = total + column
    return total


def _word(key: str, value: Any) -> str | None:
    if value is None or key not in PERIODS:
        return None if value is None else str(value)
    return label(key, int(value) // (_HOURS[key] * HOUR_NS))
