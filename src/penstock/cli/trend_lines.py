"""Trends under a table of costs: what became cheaper or dearer, what grows, what carries most of it, what a dollar buys in time."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TextIO

from penstock.cli.cost_table import UNKNOWN, money, printable
from penstock.domain.units import usd
from penstock.finops.latency_value import FORMULA
from penstock.finops.trend_report import TrendReport, share_of
from penstock.finops.trends import Growth, Rank
from penstock.finops.window import iso

MOST = 12
"""rows of one kind"""
TOO_SHORT = "trends:   the window holds less than two hours of the ledger\n"


def print_trends(report: TrendReport | None, file: TextIO) -> None:
    """Plain lines, a block for each question; nothing of what there is none of."""
    if report is None:
        file.write(TOO_SHORT)
        return
    parts = report.parts
    halves = f"{iso(parts.since_ns)[:13]}h to {iso(parts.middle_ns)[:13]}h, then to {iso(parts.until_ns)[:13]}h"
    _block(file, f"cost per request, USD, first half against second ({halves})", _changes(report))
    _block(file, "where something new came: cost per request of its model before that day, and its own since", _arrivals(report))
    _block(file, "what it is for, USD, each half (idle is in none)", _workloads(report))
    _block(file, "growth of spend against usage (ratio above 1: spend grows faster)", [_grown(each) for each in report.growths])
    _block(file, "what carries the costs, dearest first", _ranks(report))
    _block(file, "latency per dollar: answers within their objective for 1 USD", _latencies(report))
    if report.latency:
        file.write(f"  {FORMULA}\n")
    elif not report.objectives:
        file.write('latency per dollar: no objective is configured; write [objectives.default] duration = "5s"\n')


def _block(file: TextIO, title: str, rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    file.write(f"\n{title}:\n")
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows[:MOST]:
        file.write("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    if len(rows) > MOST:
        file.write(f"  ... and {len(rows) - MOST} more: --json has all\n")


def _changes(report: TrendReport) -> list[list[str]]:
    rows = [row for row in report.trends if row.value is not None]
    pairs = [unit.usd_per_request if unit else None for row in rows for unit in (row.before, row.after)]
    costs = money(pairs)
    return [
        [row.key, printable(row.value), costs[2 * place], "->", costs[2 * place + 1], percent(row.change)] for place, row in enumerate(rows)
    ]


def _arrivals(report: TrendReport) -> list[list[str]]:
    costs = money([unit.usd_per_request if unit else None for each in report.arrivals for unit in (each.before, each.after)])
    return [
        [each.day, f"{each.key} {printable(each.value)} of {printable(each.model)}", costs[2 * place], "->", costs[2 * place + 1]]
        for place, each in enumerate(report.arrivals)
    ]


def _workloads(report: TrendReport) -> list[list[str]]:
    amounts = money([usd(amount) for both in report.workloads.values() for amount in both])
    return [
        [kind, amounts[2 * place], amounts[2 * place + 1], f"{percent(share_of(report, kind), signed=False)} of both"]
        for place, kind in enumerate(report.workloads)
    ]


def _grown(each: Growth) -> list[str]:
    ratio = UNKNOWN if each.ratio is None else f"{each.ratio:.2f}"
    return [each.workload, f"spend {percent(each.spend_growth)}", f"{each.measure} {percent(each.usage_growth)}", f"ratio {ratio}"]


def _ranks(report: TrendReport) -> list[list[str]]:
    amounts = money([usd(rank.usage) for rank in report.concentration])
    return [
        [*_place(rank), amount, f"{percent(rank.cumulative, signed=False)} so far"]
        for rank, amount in zip(report.concentration, amounts, strict=True)
    ]


def _place(rank: Rank) -> tuple[str, str]:
    if rank.endpoint is None:
        return "recorded runs" if rank.model is None else printable(rank.model), "no endpoint"
    return printable(rank.model), printable(rank.endpoint)


def _latencies(report: TrendReport) -> list[list[str]]:
    return [
        [
            printable(each.sla or "no sla"),
            f"{each.kind} within {each.objective_s:g} s",
            f"{each.met:,} of {each.answers:,}",
            f"p95 {UNKNOWN if each.p95_s is None else f'{each.p95_s:.3g} s'}",
            f"{UNKNOWN if each.met_per_usd is None else f'{each.met_per_usd:,.1f}'} per USD",
        ]
        for each in report.latency
    ]


def percent(share: Decimal | None, *, signed: bool = True) -> str:
    """A share as percent with one decimal."""
    if share is None:
        return UNKNOWN
    return f"{share * 100:+.1f} %" if signed else f"{share * 100:.1f} %"
