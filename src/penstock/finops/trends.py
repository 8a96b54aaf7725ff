"""Trends of unit costs: the first half of a window against the second, and before against after a new version, hardware or optimisation.

All on the usage basis (what requests and recorded runs caused) beside the allocation basis; idle and other costs that no rule shares
are in neither half. Halves are equally long and meet at a full hour (UTC): for that a window that the ledger covers whole loses up to
two hours at its begin.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Entry
from penstock.domain.ledger.measures import CostQuery, tokens_of
from penstock.finops.books import Books
from penstock.finops.statement import Keys, Row, Statement, statement, whole
from penstock.finops.unit_costs import UnitCosts, unit_costs

TREND_KEYS = ("model_version", "gpu", "optimization")
DIMENSIONS_READ = ("model", "model_version", "gpu", "optimization", "workload_type", "endpoint", "sla")
"""what one statement of each half is grouped by: everything here is read off those two"""
TRAINING = ("training", "fine_tuning", "finetuning")
DAY_NS = 86_400 * 10**9
MOST_ARRIVALS = 10
Workload = Literal["inference", "training", "other"]


class Halves(msgspec.Struct, frozen=True):
    """A window in two: [since, middle) and [middle, until), equally long, and the statement of each."""

    since_ns: int
    middle_ns: int
    until_ns: int
    first: Statement
    second: Statement


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a key before and after; None of a side without requests or runs."""

    key: str
    value: str | None
    before: UnitCosts | None
    after: UnitCosts | None
    requests_before: int
    requests_after: int

    @property
    def change(self) -> Decimal | None:
        """Of the cost per request, as a share of what it was: -0.25 is a quarter cheaper. None: not comparable."""
        old = None if self.before is None else self.before.usd_per_request
        new = None if self.after is None else self.after.usd_per_request
        return None if old is None or new is None else growth(Fraction(old), Fraction(new))


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a key that first appeared on a day within the window: its model before that day, and from then on."""

    key: str
    value: str
    model: str | None
    day: str
    before: UnitCosts | None
    after: UnitCosts


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Spend against usage from one half to the other. `ratio` above 1: spend grows faster."""

    workload: Workload
    measure: str
    """what usage is counted in"""
    spend: tuple[int, int]
    """nano-USD of each half"""
    usage: tuple[Fraction, Fraction]

    @property
    def spend_growth(self) -> Decimal | None:
        return growth(Fraction(self.spend[0]), Fraction(self.spend[1]))

    @property
    def usage_growth(self) -> Decimal | None:
        return growth(*self.usage)

    @property
    def ratio(self) -> Decimal | None:
        """Growth of spend over growth of usage; None where either is unknown, or usage did not grow."""
        spend, usage = self.spend_growth, self.usage_growth
        return None if spend is None or usage is None or usage <= 0 else _six_places(Fraction(spend) / Fraction(usage))


class Rank(msgspec.Struct, frozen=True):
    """One model on one endpoint, dearest first; `cumulative` is the share of all up to and with it."""

    model: str | None
    endpoint: str | None
    usage: int
    cumulative: Decimal


def halves(books: Books, query: CostQuery) -> Halves | None:
    """Both halves of a window and its filters, as far as the ledger reaches and time has passed; None of less than two hours.

    The query's own keys do not matter.
    """
    since, until = books.clip(query.since_ns, query.until_ns)
    younger = since > query.since_ns  # before the ledger's begin there is nothing that a longer half could add
    middle = (since + until + (0 if younger else 2 * HOUR_NS - 1)) // (2 * HOUR_NS) * HOUR_NS
    if until - since < 2 * HOUR_NS:
        return None
    since = 2 * middle - until
    parts = [
        statement(books, msgspec.structs.replace(query, since_ns=begin, until_ns=end, by=DIMENSIONS_READ))
        for begin, end in ((since, middle), (middle, until))
    ]
    return Halves(since, middle, until, *parts)


def trend(parts: Halves, key: str) -> tuple[Trend, ...]:
    """Rows by the values of one of `DIMENSIONS_READ`, those with most requests first."""
    first, second = (_by(half, half.rows, (key,)) for half in (parts.first, parts.second))
    rows = []
    for keys in dict.fromkeys((*first, *second)):
        before, after = first.get(keys), second.get(keys)
        rows.append(
            Trend(
                key=key,
                value=keys[0],
                before=None if before is None else unit_costs(before),
                after=None if after is None else unit_costs(after),
                requests_before=0 if before is None else before.sums.requests,
                requests_after=0 if after is None else after.sums.requests,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.requests_before - row.requests_after, row.value or "")))


def arrivals(books: Books, parts: Halves, query: CostQuery, key: str) -> tuple[Arrival, ...]:
    """Values of a key that a model did not have on its first day in the window, newest first: its unit costs before that day and after."""
    span = msgspec.structs.replace(query, since_ns=parts.since_ns, until_ns=parts.until_ns)
    seen: dict[Keys, str] = {}
    begun: dict[str | None, str] = {}
    for (model, value, day), sums in books.ledger.sums(msgspec.structs.replace(span, by=("model", key, "day"))):
        if sums.requests and day is not None:
            begun[model] = min(begun.get(model, day), day)
            seen[(model, value)] = min(seen.get((model, value), day), day)
    new = sorted(
        ((day, model, value) for (model, value), day in seen.items() if value is not None and day > begun[model]), key=str, reverse=True
    )
    found = []
    for day, model, value in new[:MOST_ARRIVALS]:
        start = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9
        before = _of_model(books, msgspec.structs.replace(span, until_ns=start), model, key)
        after = _of_model(books, msgspec.structs.replace(span, since_ns=start), model, key)
        came = [row for keys, row in after.items() if keys == (value,)]
        left = [row for keys, row in before.items() if keys != (value,)]
        if came and value is not None:
            old = unit_costs(merged(parts.first, left)) if left else None
            found.append(Arrival(key=key, value=value, model=model, day=day, before=old, after=unit_costs(came[0])))
    return tuple(found)


def workload_costs(half: Statement) -> dict[Workload, int]:
    """Nano-USD on the usage basis by what it was for: requests that do not say are inference, recorded costs that do not are other."""
    found: dict[Workload, int] = {"inference": 0, "training": 0, "other": 0}
    for row in half.rows:
        told = row.keys[DIMENSIONS_READ.index("workload_type")]
        found[workload_of(told, "inference")] += row.usage - row.recorded
        found[workload_of(told, "other")] += row.recorded
    return found


def growths(books: Books, parts: Halves) -> tuple[Growth, ...]:
    """Inference against requests and against tokens, training against the GPU-hours of recorded runs."""
    costs = [workload_costs(half) for half in (parts.first, parts.second)]
    served = [[row for row in half.rows if is_inference(row)] for half in (parts.first, parts.second)]
    requests = [Fraction(sum(row.sums.requests for row in rows)) for rows in served]
    tokens = [Fraction(sum(tokens_of(row.sums).total for row in rows)) for rows in served]
    spans = ((parts.since_ns, parts.middle_ns), (parts.middle_ns, parts.until_ns))
    hours = [training_hours(books.ledger.snapshot.costs.entries(*span), *span) for span in spans]
    inference, training = ((costs[0][kind], costs[1][kind]) for kind in ("inference", "training"))
    return (
        Growth(workload="inference", measure="requests answered", spend=inference, usage=(requests[0], requests[1])),
        Growth(workload="inference", measure="tokens processed", spend=inference, usage=(tokens[0], tokens[1])),
        Growth(workload="training", measure="GPU-hours of recorded runs", spend=training, usage=(hours[0], hours[1])),
    )


def training_hours(entries: Iterable[Entry], since_ns: int, until_ns: int) -> Fraction:
    """GPU-hours of recorded training runs within [since, until); a run uses its GPUs evenly over its time."""
    found = Fraction(0)
    for entry in entries:
        length, told = entry.until_ns - entry.since_ns, entry.tags.get("workload_type")
        if length <= 0 or workload_of(told, "training" if entry.kind == "training_run" else "other") != "training":
            continue
        hours = Fraction(entry.gpu_hours) if entry.gpu_hours is not None else Fraction(entry.gpus) * length / HOUR_NS
        overlap = min(until_ns, entry.until_ns) - max(since_ns, entry.since_ns)
        found += hours * max(overlap, 0) / length
    return found


def concentration(parts: Halves) -> tuple[Rank, ...]:
    """Every model and endpoint by what they cost (usage basis) in both halves; empty where nothing did."""
    by = _by(parts.first, (*parts.first.rows, *parts.second.rows), ("model", "endpoint"))
    ranked = sorted(((keys, row.usage) for keys, row in by.items() if row.usage > 0), key=lambda each: (-each[1], str(each[0])))
    total, run, found = sum(usage for _, usage in ranked), 0, []
    for keys, usage in ranked:
        run += usage
        found.append(Rank(keys[0], keys[1], usage, _six_places(Fraction(run, total))))
    return tuple(found)


def growth(old: Fraction, new: Fraction) -> Decimal | None:
    """(new - old) / old; None where there is nothing to grow from."""
    return None if old <= 0 else _six_places((new - old) / old)


def _six_places(number: Fraction) -> Decimal:
    return Decimal(round(number * 10**6)).scaleb(-6)


def merged(half: Statement, rows: Iterable[Row]) -> Row:
    """Some rows as one."""
    return whole(msgspec.structs.replace(half, rows=tuple(rows)))


def _by(half: Statement, rows: Iterable[Row], keys: Sequence[str]) -> dict[Keys, Row]:
    """Rows of `DIMENSIONS_READ` put together by some of them; groups without a request or a cost are left out."""
    places = [DIMENSIONS_READ.index(key) for key in keys]
    found: dict[Keys, list[Row]] = {}
    for row in rows:
        if row.sums.requests or row.cost:
            found.setdefault(tuple(row.keys[place] for place in places), []).append(row)
    return {group: merged(half, some) for group, some in found.items()}


def _of_model(books: Books, query: CostQuery, model: str | None, key: str) -> dict[Keys, Row]:
    """What a model cost in the query's window, by the values of a key."""
    borne = statement(books, msgspec.structs.replace(query, by=(key, "model")))
    found: dict[Keys, list[Row]] = {}
    for row in borne.rows:
        if row.keys[1] == model and row.sums.requests:
            found.setdefault(row.keys[:1], []).append(row)
    return {group: merged(borne, some) for group, some in found.items()}


def is_inference(row: Row) -> bool:
    """Whether a row of `DIMENSIONS_READ` is neither training nor anything else that a workload type names."""
    return workload_of(row.keys[DIMENSIONS_READ.index("workload_type")], "inference") == "inference"


def workload_of(told: str | None, otherwise: Workload) -> Workload:
    """The kind of a `workload_type`, whatever its spelling."""
    if not told:
        return otherwise
    word = told.lower().replace("-", "_").replace(" ", "_")
    return "training" if word in TRAINING else "inference" if word == "inference" else "other"
