"""Latency per dollar: how many requests that met their objective a dollar bought, by `sla`; percentiles beside it.

met per dollar = answers within the objective / usage cost in USD. Times are known in buckets: one counts as met when its upper bound is
within the objective, so that the figure is never flattered. Time to the first token is known of streamed answers only.
"""

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import msgspec

from penstock.config.settings import Objective
from penstock.domain.ledger.latency import BOUNDS_US, Histogram, Latency
from penstock.domain.ledger.measures import CostQuery, lines, priced_lines
from penstock.domain.units import usd
from penstock.finops.books import Books
from penstock.finops.statement import Row, known
from penstock.finops.trends import DIMENSIONS_READ, Halves, is_inference, merged

FORMULA = (
    "met_per_usd = answers within the objective / usage cost in USD; a time counts as met when the upper bound of its bucket is within the "
    "objective (buckets grow by 1.41), so it is never more than the truth"
)
DEFAULT = "default"
_PLACES = Decimal("0.000001")


class LatencyValue(msgspec.Struct, frozen=True, kw_only=True):
    """One objective of one `sla`. `usage` in nano-USD is what all requests of that `sla` cost, in time or not; no training, no runs."""

    sla: str | None
    kind: Literal["first_token", "duration"]
    objective_s: float
    answers: int
    """whose time is known"""
    met: int
    p95_s: float | None
    usage: int | None
    """None: not known"""
    unpriced: int = 0
    """requests whose cost may be missing in it"""

    @property
    def met_per_usd(self) -> Decimal | None:
        """None where nothing was spent, or nobody knows what."""
        if not self.usage or self.usage < 0:
            return None
        return (self.met / usd(self.usage)).quantize(_PLACES, ROUND_HALF_EVEN)


def latency_values(books: Books, parts: Halves, query: CostQuery) -> tuple[LatencyValue, ...]:
    """Of every `sla` that requests had and that has an objective (or the `default` one), over both halves. None configured: empty."""
    objectives = books.settings.objectives
    if not objectives:
        return ()
    span = msgspec.structs.replace(query, by=("sla",), since_ns=parts.since_ns, until_ns=parts.until_ns)
    latencies = {keys[0]: latency for keys, latency in books.ledger.latencies(span)}
    place = DIMENSIONS_READ.index("sla")
    rows = [row for half in (parts.first, parts.second) for row in half.rows if is_inference(row)]
    found: list[LatencyValue] = []
    for sla in sorted({row.keys[place] for row in rows if row.sums.requests} | latencies.keys(), key=lambda each: each or ""):
        objective = objectives.get(sla or DEFAULT, objectives.get(DEFAULT))
        if objective is not None:
            theirs = merged(parts.first, [row for row in rows if row.keys[place] == sla])
            found += _values(sla, objective, latencies.get(sla, Latency()), theirs)
    return tuple(found)


def within(times: Histogram, seconds: float) -> int:
    """How many values certainly lie within a bound: those of buckets whose upper bound does."""
    return sum(count for bound, count in zip(BOUNDS_US, times.counts, strict=False) if bound <= seconds * 1_000_000)


def _values(sla: str | None, objective: Objective, latency: Latency, row: Row) -> Iterator[LatencyValue]:
    for kind, seconds, times in (
        ("first_token", objective.first_token, latency.first_token),
        ("duration", objective.duration, latency.duration),
    ):
        if seconds is not None:
            yield LatencyValue(
                sla=sla,
                kind="duration" if kind == "duration" else "first_token",
                objective_s=float(seconds),
                answers=times.total,
                met=within(times, seconds),
                p95_s=times.quantile(0.95),
                usage=row.usage - row.recorded if known(row) else None,
                unpriced=max(lines(row.sums) - priced_lines(row.sums) - row.allocated.entries, 0),
            )
