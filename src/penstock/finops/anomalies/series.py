"""The series that are watched, read from the ledger: every model of every feature of every team, and what groups of requests came to."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from penstock.domain.budgets.anomalies import Leaf, Scope
from penstock.domain.budgets.baseline import Cell, total
from penstock.domain.budgets.causes import Slice, Tally
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.grouping import PERIODS
from penstock.domain.ledger.measures import CostQuery, Sums, lines, tokens_of
from penstock.finops.ledger import Summed

SERIES = ("team", "feature", "model")
MOST_SERIES = 1000
OTHER: Leaf = ("(other)", "(other)", "(other)")
"""all series beyond the `MOST_SERIES` that cost most"""
MODELS = ("model", "outcome", "price_version")
"""what drivers are told from"""
ORIGINS = ("upstream", "route", "endpoint", "processing")
CALLERS = ("user", "key_id")
"""what no sums are kept by: every record of the window is read"""


class Kept:
    """Which series are watched on their own: those that cost most, then new ones while there is room."""

    def __init__(self, leaves: Sequence[Leaf] = ()) -> None:
        self._leaves = set(leaves[:MOST_SERIES])

    def leaf(self, team: str | None, feature: str | None, model: str | None) -> Leaf:
        leaf = (team, feature, model)
        if leaf not in self._leaves:
            if len(self._leaves) >= MOST_SERIES:
                return OTHER
            self._leaves.add(leaf)
        return leaf


def dearest(ledger: Summed, since_ns: int, until_ns: int) -> list[Leaf]:
    """Series by what they cost in the window, most first."""
    found = ledger.sums(CostQuery(since_ns=since_ns, until_ns=until_ns, by=SERIES))
    return [_leaf(keys) for keys, _ in sorted(found, key=lambda group: -group[1].cost)]


def cells(ledger: Summed, since_ns: int, until_ns: int, kept: Kept) -> dict[Leaf, Cell]:
    """What every series did in [since, until)."""
    parts: dict[Leaf, list[Cell]] = {}
    for keys, sums in ledger.sums(CostQuery(since_ns=since_ns, until_ns=until_ns, by=(*SERIES, "outcome"))):
        if lines(sums):
            parts.setdefault(kept.leaf(*_leaf(keys)), []).append(cell_of(sums, keys[-1]))
    return {leaf: total(each) for leaf, each in parts.items()}


def hours(ledger: Summed, since: int, until: int, kept: Kept) -> Iterator[tuple[int, dict[Leaf, Cell]]]:
    """What every series did in each hour of [since, until), numbered since 1970, in order of time."""
    found: dict[int, dict[Leaf, list[Cell]]] = {}
    query = CostQuery(since_ns=since * HOUR_NS, until_ns=until * HOUR_NS, by=("hour", *SERIES, "outcome"))
    for (name, *keys), sums in ledger.sums(query):
        if lines(sums) and name is not None:
            leaf = kept.leaf(*_leaf(keys))
            found.setdefault(hour_number(name), {}).setdefault(leaf, []).append(cell_of(sums, keys[-1]))
    for hour in range(since, until):
        yield hour, {leaf: total(parts) for leaf, parts in found.get(hour, {}).items()}


def hour_number(name: str) -> int:
    """`2026-10-01T12` -> hours since 1970."""
    return int(datetime.strptime(name, PERIODS["hour"]).replace(tzinfo=UTC).timestamp()) // 3600


def cell_of(sums: Sums, outcome: str | None) -> Cell:
    """Sums of requests that ended alike, as a cell of their series. A call made beside a request counts as one."""
    tokens = tokens_of(sums)
    return Cell(
        requests=lines(sums),
        cost=sums.cost,
        tokens=sums.priced_tokens,
        served=sums.priced_tokens + sums.recalled_input + sums.recalled_output,
        asked=tokens.input + sums.recalled_input,
        held=tokens.cache_read + sums.recalled_input,
        lost=sums.cost if outcome != "ok" else sums.wasted,
    )


def whole(ledger: Summed, scope: Scope, model: str | None, whole_feature: bool, since_ns: int, until_ns: int) -> Cell:
    """All of a feature, or of one model of it, in [since, until)."""
    found = _groups(ledger, scope, ("model", "outcome"), since_ns, until_ns)
    return total(cell_of(sums, keys["outcome"]) for keys, sums in found if whole_feature or keys["model"] == model)


def slices(ledger: Summed, scope: Scope, keys: tuple[str, ...], since_ns: int, until_ns: int) -> list[Slice]:
    """A feature's requests in [since, until), by some keys."""
    return [Slice(values, _tally(sums, values.get("outcome", "ok"))) for values, sums in _groups(ledger, scope, keys, since_ns, until_ns)]


def _groups(
    ledger: Summed, scope: Scope, keys: tuple[str, ...], since_ns: int, until_ns: int
) -> Iterator[tuple[Mapping[str, str | None], Sums]]:
    """Unknown teams and features pass no filter of a query, so they are grouped by instead."""
    team_feature = dict(zip(SERIES, scope, strict=False))
    where = tuple((key, value) for key, value in team_feature.items() if value is not None)
    query = CostQuery(since_ns=since_ns, until_ns=until_ns, by=(*SERIES[:2], *keys), where=where)
    if scope == OTHER[:2]:
        query = msgspec.structs.replace(query, where=())
    for values, sums in ledger.sums(query):
        if lines(sums) and (scope == OTHER[:2] or tuple(values[:2]) == scope):
            yield dict(zip(keys, values[2:], strict=True)), sums


def _tally(sums: Sums, outcome: str | None) -> Tally:
    tokens, cell = tokens_of(sums), cell_of(sums, outcome)
    return Tally(cell.requests, cell.cost, cell.tokens, cell.served, tokens.input, tokens.cache_read, cell.lost)


def _leaf(keys: Sequence[str | None]) -> Leaf:
    team, feature, model = keys[:3]
    return team, feature, model
