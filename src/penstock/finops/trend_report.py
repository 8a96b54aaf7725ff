"""All trends of a window as one report, and how it is told in JSON: money as decimal strings, unknown as null."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from penstock.domain.ledger.measures import CostQuery
from penstock.domain.units import format_usd
from penstock.finops.books import Books
from penstock.finops.latency_value import FORMULA, LatencyValue, latency_values
from penstock.finops.trends import (
    TREND_KEYS,
    Arrival,
    Growth,
    Halves,
    Rank,
    Trend,
    Workload,
    arrivals,
    concentration,
    growths,
    halves,
    trend,
    workload_costs,
)
from penstock.finops.unit_costs import UnitCosts
from penstock.finops.window import iso

DEFINITIONS = {
    "change": "cost per request (usage basis) of the second half over that of the first, less 1",
    "ratio": "growth of spend / growth of usage; above 1 spend grows faster. null where usage did not grow",
    "concentration": "models by endpoint, dearest first, and the share of all (usage basis) that they carry up to there",
    "workload": "requests without a workload_type count as inference, recorded costs without one as other; idle is in none",
    "met_per_usd": FORMULA,
}


class TrendReport(msgspec.Struct, frozen=True, kw_only=True):
    """Trends of both halves of a window."""

    parts: Halves
    trends: tuple[Trend, ...]
    arrivals: tuple[Arrival, ...]
    workloads: dict[Workload, tuple[int, int]]
    """nano-USD of each half"""
    growths: tuple[Growth, ...]
    concentration: tuple[Rank, ...]
    latency: tuple[LatencyValue, ...]
    objectives: bool
    """whether any objective is configured"""


def trend_report(books: Books, query: CostQuery) -> TrendReport | None:
    """The trends of a window and its filters; None where the ledger holds less than two hours of it."""
    parts = halves(books, query)
    if parts is None:
        return None
    first, second = workload_costs(parts.first), workload_costs(parts.second)
    return TrendReport(
        parts=parts,
        trends=tuple(row for key in TREND_KEYS for row in trend(parts, key)),
        arrivals=tuple(each for key in TREND_KEYS for each in arrivals(books, parts, query, key)),
        workloads={kind: (first[kind], second[kind]) for kind in first},
        growths=growths(books, parts),
        concentration=concentration(parts),
        latency=latency_values(books, parts, query),
        objectives=bool(books.settings.objectives),
    )


def trends_json(report: TrendReport | None) -> dict[str, object] | None:
    """As `penstock cost --trends --json` tells it under `trends`; null where there is too little to compare."""
    if report is None:
        return None
    parts = report.parts
    return {
        "since": iso(parts.since_ns),
        "middle": iso(parts.middle_ns),
        "until": iso(parts.until_ns),
        "by_value": [
            {
                "key": row.key,
                "value": row.value,
                "requests": [row.requests_before, row.requests_after],
                "first": _units(row.before),
                "second": _units(row.after),
                "change": text(row.change),
            }
            for row in report.trends
        ],
        "arrivals": [
            {
                "key": each.key,
                "value": each.value,
                "model": each.model,
                "day": each.day,
                "before": _units(each.before),
                "after": _units(each.after),
            }
            for each in report.arrivals
        ],
        "workloads": [
            {"workload": kind, "usd": _usds(amounts), "share": text(share_of(report, kind))} for kind, amounts in report.workloads.items()
        ],
        "growth": [
            {
                "workload": each.workload,
                "usage": each.measure,
                "spend_usd": _usds(each.spend),
                "spend_growth": text(each.spend_growth),
                "usage_growth": text(each.usage_growth),
                "ratio": text(each.ratio),
            }
            for each in report.growths
        ],
        "concentration": [
            {"model": rank.model, "endpoint": rank.endpoint, "usd": format_usd(rank.usage), "cumulative_share": text(rank.cumulative)}
            for rank in report.concentration
        ],
        "latency": [_latency(each) for each in report.latency],
        "definitions": DEFINITIONS,
    }


def share_of(report: TrendReport, kind: Workload) -> Decimal | None:
    """What a workload's costs are of all workloads' costs, both halves; None where nothing was spent."""
    total = sum(sum(amounts) for amounts in report.workloads.values())
    if total <= 0:
        return None
    return (Decimal(sum(report.workloads[kind])) / total).quantize(Decimal("0.000001"))


def text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _usds(amounts: Sequence[int]) -> list[str]:
    return [format_usd(amount) for amount in amounts]


def _units(units: UnitCosts | None) -> dict[str, str | None] | None:
    if units is None:
        return None
    return {
        "usd_per_request": text(units.usd_per_request),
        "allocated_usd_per_request": text(units.allocated_usd_per_request),
        "cp1kt_usage_usd": text(units.cp1kt_usage),
    }


def _latency(value: LatencyValue) -> dict[str, object]:
    return {
        "sla": value.sla,
        "objective": value.kind,
        "objective_s": value.objective_s,
        "answers": value.answers,
        "met": value.met,
        "p95_s": value.p95_s,
        "usage_cost_usd": format_usd(value.usage),
        "unpriced_requests": value.unpriced,
        "met_per_usd": text(value.met_per_usd),
    }
