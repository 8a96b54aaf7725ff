"""The SQL that adds up one piece of a window, from the records or from a cube: keys, bins, then the cube's values."""

from typing import Any

import msgspec

from penstock.adapters.stores.cubes import (
    DURATION_BIN,
    DURATION_KNOWN,
    FIRST_TOKEN_BIN,
    FIRST_TOKEN_KNOWN,
    LEVELS,
    SUMS_CUBE,
    Cube,
)
from penstock.adapters.stores.pieces import Piece
from penstock.adapters.stores.sql import SUMS, Dialect, key_sql, totals, window_and_filters
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery

Select = tuple[str, list[Any]]


def select_piece(dialect: Dialect, cube: Cube, query: CostQuery, piece: Piece, *, halves: bool = False) -> Select:
    """One row per group. Periods of a cube are numbers (`pieces.label`), those of records are words.

    `halves` adds the upper and the lower 32 bits apart (two columns a value), for sums that leave 64 bits.
    """
    if piece.level != "records":
        return _from_cube(dialect, cube, query, piece, halves)
    within = msgspec.structs.replace(query, since_ns=piece.since, until_ns=piece.until)
    if cube is SUMS_CUBE:
        return _sums_of_records(dialect, within, halves)
    return _latencies_of_records(dialect, within)


def _from_cube(dialect: Dialect, cube: Cube, query: CostQuery, piece: Piece, halves: bool) -> Select:
    keys = [_period(key, piece) if key in PERIODS else f"k.{key}" for key in query.by]
    values = [total for name in cube.values for total in totals(f"c.{name}", None, halves)]
    filters = _filters(dialect, cube, query)
    sql = (
        f"SELECT {', '.join([*keys, *cube.bins, *values])} FROM {cube.name}_{piece.level} c JOIN {cube.name}_keys k ON k.id = c.key_id "
        f"WHERE c.period >= {dialect.mark} AND c.period < {dialect.mark}{filters}{_grouped(len(keys) + len(cube.bins))}"
    )
    return sql, [piece.since, piece.until, *(value for _, value in query.where)]


def _filters(dialect: Dialect, cube: Cube, query: CostQuery) -> str:
    """A cube that is not kept by purpose holds no asides."""
    alone = " AND k.purpose IS NULL" if query.requests_alone and "purpose" in cube.keys else ""
    return "".join(f" AND k.{key} = {dialect.mark}" for key, _ in query.where) + alone


def _period(key: str, piece: Piece) -> str:
    return "c.period" if key == piece.level else f"c.period / {LEVELS[key]}"


def _sums_of_records(dialect: Dialect, query: CostQuery, halves: bool) -> Select:
    keys, parameters = _keys(dialect, query)
    values = [total for name in SUMS_CUBE.values for total in totals(*SUMS[name], halves)]
    where, more = window_and_filters(dialect, query)
    return f"SELECT {', '.join(keys + values)} FROM records WHERE {where}{_grouped(len(keys))}", parameters + more


def _latencies_of_records(dialect: Dialect, query: CostQuery) -> Select:
    keys, parameters = _keys(dialect, query)
    where, more = window_and_filters(dialect, query)
    named = [f"{sql} AS key{index}" for index, sql in enumerate(keys)]
    branches = " UNION ALL ".join(
        f"SELECT {', '.join([*named, f'{bin} AS bin'])} FROM records WHERE {where} AND {known}"
        for bin, known in ((FIRST_TOKEN_BIN, FIRST_TOKEN_KNOWN), (DURATION_BIN, DURATION_KNOWN))
    )
    columns = ", ".join([*(f"key{index}" for index in range(len(keys))), "bin"])
    return f"SELECT {columns}, COUNT(*) FROM ({branches}) timed{_grouped(len(keys) + 1)}", (parameters + more) * 2


def _keys(dialect: Dialect, query: CostQuery) -> tuple[list[str], list[Any]]:
    keys, parameters = [], []
    for key in query.by:
        sql, values = key_sql(dialect, key)
        keys.append(sql)
        parameters += values
    return keys, parameters


def _grouped(width: int) -> str:
    group = f" GROUP BY {', '.join(str(index + 1) for index in range(width))}" if width else ""
    return f"{group} HAVING COUNT(*) > 0"


def select_periods(dialect: Dialect, query: CostQuery, piece: Piece) -> Select:
    """The periods of a piece that hold a record which passes the filters, newest first."""
    filters = _filters(dialect, SUMS_CUBE, query)
    sql = (
        f"SELECT DISTINCT c.period FROM sums_{piece.level} c JOIN sums_keys k ON k.id = c.key_id "
        f"WHERE c.period >= {dialect.mark} AND c.period < {dialect.mark}{filters} ORDER BY c.period DESC"
    )
    return sql, [piece.since, piece.until, *(value for _, value in query.where)]
