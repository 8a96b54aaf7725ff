"""The cost report: what the store has summed, merged with what still lies on the journal, and how much of it is known."""

import re
from collections.abc import Iterable
from fractions import Fraction

import msgspec

from penstock.domain.dialects.content import normal_tag
from penstock.domain.ledger.grouping import keys_of, matches
from penstock.domain.ledger.measures import (
    CostQuery,
    Sums,
    cp1kt_usd,
    known_aside_cost,
    known_cost,
    known_counterfactual,
    saved,
    sums_of,
    tokens_of,
    unpriced_lines,
)
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.rates import TOKEN_CLASSES
from penstock.domain.units import format_usd
from penstock.finops.sheet import csv_text
from penstock.finops.statement import Statement, whole
from penstock.finops.statement_json import bearing_json, statement_json
from penstock.finops.window import Window, iso
from penstock.ports.usage_store import Snapshot

Keys = tuple[str | None, ...]
MEASURES = (
    "requests", "refused", "failed", "cache_hits", "input_tokens", "output_tokens", "tokens", "recalled_tokens",
    "cost_usd", "counterfactual_usd", "saved_usd", "cp1kt_usd", "priced_requests", "estimated_requests", "compared_requests",
    "asides", "aside_usd", "unpriced_asides",
)  # fmt: skip
_NESTED = ("tokens", "recalled_tokens")
_TIME_KEYS = ("day", "hour")
_KEY = re.compile(r"[A-Za-z0-9_.:-]+")


class QueryError(ValueError):
    """A grouping or a filter that cannot be read; `hint` says how it is written."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class CostRow(msgspec.Struct, frozen=True):
    """One group: a value for each key of the query (None: unknown) and its exact sums."""

    keys: Keys
    sums: Sums


class Coverage(msgspec.Struct, frozen=True):
    """How much of the report is known, and how fresh it is."""

    requests: int
    priced: int
    estimated: int
    unpriced_models: tuple[tuple[str | None, int], ...]
    """model -> requests and asides that nothing tells the cost of, most first"""
    tagged: dict[str, int]
    """grouping key -> answered requests that have a value for it"""
    latest_ns: int | None
    """admission of the newest matching record"""
    journal_tail: int
    """matching records that were read from the journal, not yet from the store"""
    unbooked: int = 0
    """answered by own fleets and booked at no price: what they cost is told by their hours"""
    asides: int = 0
    """calls made for requests that are not their answer"""
    asides_unpriced: int = 0
    """those of them that nothing tells the cost of"""

    @property
    def known(self) -> int:
        """Answered requests that are priced, or borne by the hours of own fleets."""
        return self.priced + self.unbooked

    @property
    def lines(self) -> int:
        """Answered requests and asides: all that can cost."""
        return self.requests + self.asides

    @property
    def known_lines(self) -> int:
        """Those of them that are priced, or borne by the hours of own fleets."""
        return self.known + self.asides - self.asides_unpriced

    @property
    def priced_share(self) -> Fraction | None:
        """These over all of them; None when there is nothing that could cost."""
        return Fraction(self.known_lines, self.lines) if self.lines else None


class CostReport(msgspec.Struct, frozen=True):
    """Rows by cost, dearest first (by time when grouped by time); the total is their exact sum."""

    query: CostQuery
    timezone: str
    label: str
    rows: tuple[CostRow, ...]
    total: Sums
    coverage: Coverage


def cost_query(window: Window, by: Iterable[str] = (), where: Iterable[str] = ()) -> CostQuery:
    """A query from the words of the command line: `by` names keys, `where` holds `key=value`.

    Raises `QueryError` for a filter without `=` or a key that is also the name of a measure.
    """
    keys = dict.fromkeys(_key(name) for name in by)
    return CostQuery(since_ns=window.since_ns, until_ns=window.until_ns, by=tuple(keys), where=tuple(_filter(text) for text in where))


def cost_report(
    snapshot: Snapshot, pending: Iterable[UsageRecord], query: CostQuery, *, timezone: str = "UTC", label: str = ""
) -> CostReport:
    """Sums of the snapshot plus the `pending` records that it does not hold yet, grouped as the query says."""
    by = query.by if "model" in query.by else (*query.by, "model")
    groups: dict[Keys, Sums] = {}
    for keys, sums in snapshot.sums(msgspec.structs.replace(query, by=by)):
        groups.setdefault(tuple(keys), Sums()).add(sums)
    latest = max((record.admitted_ns for record in snapshot.records(query, limit=1)), default=None)
    tail = 0
    for record in pending:
        if matches(record, query):
            groups.setdefault(keys_of(record, by), Sums()).add(sums_of(record))
            latest = record.admitted_ns if latest is None else max(latest, record.admitted_ns)
            tail += 1
    rows = _rows(groups, query)
    total = Sums()
    for row in rows:
        total.add(row.sums)
    unpriced = _unpriced(groups, by.index("model"))
    coverage = Coverage(
        requests=total.requests,
        priced=total.priced,
        unbooked=total.unbooked,
        asides=total.asides,
        asides_unpriced=total.asides_unpriced,
        estimated=total.estimated,
        unpriced_models=unpriced,
        tagged=_tagged(rows, query),
        latest_ns=latest,
        journal_tail=tail,
    )
    return CostReport(query, timezone, label, rows, total, coverage)


def report_json(report: CostReport, borne: Statement | None = None) -> dict[str, object]:
    """The report as `penstock cost --json` prints it: money as decimal strings, unknown as null. With its statement, rows tell what
    their groups bear on both bases, and groups that bear something without a request are rows as well."""
    query = report.query
    told: dict[str, object] = {
        "window": {
            "since": iso(query.since_ns),
            "until": iso(query.until_ns),
            "timezone": report.timezone,
            "label": report.label,
            "by": list(query.by),
            "where": [f"{key}={value}" for key, value in query.where],
        },
        "coverage": _coverage_json(report.coverage),
        "rows": [dict(zip(query.by, row.keys, strict=True)) | row_json for row, row_json in _told(report, borne)],
        "total": measures_json(report.total) | ({} if borne is None else bearing_json(whole(borne))),
    }
    return told if borne is None else told | {"statement": statement_json(borne)}


def _told(report: CostReport, borne: Statement | None) -> list[tuple[CostRow, dict[str, object]]]:
    """Every row with its measures; last the groups that only the statement knows."""
    if borne is None:
        return [(row, measures_json(row.sums)) for row in report.rows]
    bearing = {row.keys: row for row in borne.rows}
    told = [(row, measures_json(row.sums) | bearing_json(bearing.pop(row.keys))) for row in report.rows]
    return told + [(CostRow(keys, row.sums), measures_json(row.sums) | bearing_json(row)) for keys, row in bearing.items()]


def report_csv(report: CostReport, borne: Statement | None = None) -> str:
    """One line per row, the same figures as the JSON; unknown is an empty cell."""
    plain = [name for name in MEASURES if name not in _NESTED]
    bearing = [] if borne is None else list(bearing_json(whole(borne)))
    rows = (
        (*row.keys, *(told[name] for name in plain), *msgspec.structs.astuple(tokens_of(row.sums)), *(told[name] for name in bearing))
        for row, told in _told(report, borne)
    )
    return csv_text((*report.query.by, *plain, *TOKEN_CLASSES, *bearing), rows)


def measures_json(sums: Sums) -> dict[str, object]:
    """The measures of one group, in the words of the reports."""
    tokens = tokens_of(sums)
    cp1kt = cp1kt_usd(sums.cost, sums.priced_tokens)
    values: tuple[object, ...] = (
        sums.requests,
        sums.refused,
        sums.failed,
        sums.cache_hits,
        tokens.input,
        tokens.output,
        msgspec.structs.asdict(tokens),
        {"input": sums.recalled_input, "output": sums.recalled_output},
        format_usd(known_cost(sums)),
        format_usd(known_counterfactual(sums)),
        format_usd(saved(sums)),
        None if cp1kt is None else f"{cp1kt:f}",
        sums.priced,
        sums.estimated,
        sums.compared,
        sums.asides,
        format_usd(known_aside_cost(sums)),
        sums.asides_unpriced,
    )
    return dict(zip(MEASURES, values, strict=True))


def _key(name: str) -> str:
    key = normal_tag(name.strip())
    if not key:
        raise QueryError("a grouping key is empty", "write keys with commas between them, such as `--by team,model`")
    if not key.isprintable():
        raise QueryError("a grouping key holds a character that cannot be shown", "write keys with commas between them: `--by team,model`")
    if key in MEASURES:
        raise QueryError(f"`{key}` is a measure, not a key", "group by a tag, a field such as `model` or `upstream`, or by `day`")
    return key


def _filter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key.strip()):
        raise QueryError(f"`--where {text}` is not a filter", "write it as `--where team=search`: one key, `=`, one value")
    return _key(key), value.strip()


def _rows(groups: dict[Keys, Sums], query: CostQuery) -> tuple[CostRow, ...]:
    width = len(query.by)
    merged: dict[Keys, Sums] = {}
    for keys, sums in groups.items():
        merged.setdefault(keys[:width], Sums()).add(sums)
    rows = [CostRow(keys, sums) for keys, sums in merged.items()]
    rows.sort(key=_by_time if query.by and query.by[0] in _TIME_KEYS else _by_cost)
    return tuple(rows)


def _by_cost(row: CostRow) -> tuple[object, ...]:
    cost = known_cost(row.sums)
    return (cost is None, -(cost or 0), -row.sums.requests, _by_time(row))


def _by_time(row: CostRow) -> tuple[object, ...]:
    return tuple((value is None, value or "") for value in row.keys)


def _unpriced(groups: dict[Keys, Sums], position: int) -> tuple[tuple[str | None, int], ...]:
    counts: dict[str | None, int] = {}
    for keys, sums in groups.items():
        if missing := unpriced_lines(sums):
            counts[keys[position]] = counts.get(keys[position], 0) + missing
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0] or "")))


def _tagged(rows: tuple[CostRow, ...], query: CostQuery) -> dict[str, int]:
    named = ((index, key) for index, key in enumerate(query.by) if key != "purpose")
    return {key: sum(row.sums.requests for row in rows if row.keys[index] is not None) for index, key in named}


def _coverage_json(coverage: Coverage) -> dict[str, object]:
    return {
        "requests": coverage.requests,
        "priced_requests": coverage.priced,
        "unbooked_requests": coverage.unbooked,
        "unpriced_requests": coverage.requests - coverage.known,
        "asides": coverage.asides,
        "unpriced_asides": coverage.asides_unpriced,
        "priced_share": share(coverage.known_lines, coverage.lines),
        "estimated_requests": coverage.estimated,
        "unpriced_models": [{"model": model, "requests": count} for model, count in coverage.unpriced_models],
        "tagged_share": {key: share(count, coverage.requests) for key, count in coverage.tagged.items()},
        "latest_record": None if coverage.latest_ns is None else iso(coverage.latest_ns),
        "journal_tail": coverage.journal_tail,
    }


def share(part: int, whole: int) -> float | None:
    """A share cut (never rounded up) to six decimals, so that only all of it is 1.0; None of nothing."""
    return part * 1_000_000 // whole / 1_000_000 if whole else None
