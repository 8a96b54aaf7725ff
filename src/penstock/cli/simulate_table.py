"""How `penstock simulate` shows a run: a policy a line, and what it means in lines beneath."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from penstock.cli.cost_table import UNKNOWN, printable
from penstock.cli.output import stdout_console
from penstock.console import words
from penstock.console.words import times, usd

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from penstock.capacity.simulation_report import Best, Row, SimulationReport

NONE = "-"
PLAIN_WIDTH = 1000
WIDE = 170
"""characters of a terminal from which on all columns are shown"""
NARROW = ("policy", "keeps", "cost USD", "of oracle", "first P95", "mean (most)", "rev/h", "binds")
_WORDS = ("policy", "shield", "keeps", "binds", "light")


def seconds(value: float | None) -> str:
    """`420 ms`, `1.2 s`, `6 h`."""
    return words.seconds(value).replace(words.NARROW, " ")


def percent(share: float) -> str:
    """`99.21 %`."""
    return words.percent(share, 2).replace(words.NARROW, " ")


def print_run(report: "SimulationReport") -> None:
    """The table, and under it which policy to take."""
    console = stdout_console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    columns = _columns(report.rows, report.slo is not None)
    narrow = console.width < WIDE
    shown = {
        name: cells for name, cells in columns.items() if not narrow or name in NARROW or (name == "shield" and _shielded(report.rows))
    }
    console.print(_table(shown, console))
    if narrow:
        console.print(f"more columns at {WIDE} characters, and with --json")
    for line in verdict(report):
        console.print(printable(line), soft_wrap=True)


def verdict(report: "SimulationReport") -> list[str]:
    """Which policy keeps the SLO for least, or how near the best comes; and what the others lack."""
    lines = []
    best = report.cheapest
    if best is not None:
        over = "" if best.over_oracle is None else f", {times(best.over_oracle)} times what a perfect scaler would pay"
        kept = f" keeps {report.slo} for least" if report.slo else " costs least"
        lines.append(f"{best.name}{kept}: {usd(best.cost_usd)} for {seconds(report.duration_s)}{over}")
    elif any(row.meets is not False for row in report.rows):
        lines.append(f"what it costs is unknown: {report.price_source}")
    else:
        lines.append(f"none of these keeps {report.slo}")
    if report.best is not None:
        lines.append(_reached(report.best))
    refused = max((row.refused for row in report.rows), default=0)
    if refused:
        lines.append(f"{refused:,} requests are longer than a replica can hold, are refused, and count as missed")
    return lines


def _reached(best: "Best") -> str:
    figures = f"first token P95 {seconds(best.first_token_p95_s)}, per token P95 {seconds(best.per_token_p95_s)}"
    if best.meets:
        return f"a fixed fleet of {best.replicas} keeps it: {figures}"
    return f"the best that was reached, with {best.replicas} replicas: {figures}; {best.binds} binds: {best.hint}"


def _columns(rows: "Sequence[Row]", promised: bool) -> dict[str, list[str]]:
    found = {
        "policy": [printable(row.policy) for row in rows],
        "shield": [row.shield or NONE for row in rows],
        "keeps": [_kept(row) for row in rows],
        "met": [NONE if row.attainment is None else percent(row.attainment) for row in rows],
        "cost USD": [UNKNOWN if row.cost_usd is None else f"{Decimal(row.cost_usd):,.2f}" for row in rows],
        "of oracle": [UNKNOWN if row.over_oracle is None else times(row.over_oracle) for row in rows],
        "CP1KT USD": [UNKNOWN if row.cp1kt_usd is None else f"{Decimal(row.cp1kt_usd):.6f}" for row in rows],
        "first P50": [seconds(row.first_token_s.p50) for row in rows],
        "first P95": [seconds(row.first_token_s.p95) for row in rows],
        "first P99": [seconds(row.first_token_s.p99) for row in rows],
        "token P95": [seconds(row.per_token_s.p95) for row in rows],
        "answer P95": [seconds(row.whole_s.p95) for row in rows],
        "mean (most)": [f"{row.mean_replicas:.3g} ({row.peak_replicas})" for row in rows],
        "rev/h": [UNKNOWN if row.reversals_per_hour is None else f"{row.reversals_per_hour:.2g}" for row in rows],
        "cached": [f"{row.cached:,}" for row in rows],
        "spilled": [f"{row.spilled:,}" for row in rows],
        "unfinished": [f"{row.unfinished:,}" for row in rows],
        "binds": [row.binds for row in rows],
        "light": [row.light for row in rows],
    }
    if not _shielded(rows):
        del found["shield"]
    if not promised:
        del found["keeps"], found["met"]
    return {name: cells for name, cells in found.items() if name not in ("cached", "spilled", "unfinished") or set(cells) != {"0"}}


def _kept(row: "Row") -> str:
    return UNKNOWN if row.meets is None else "yes" if row.meets else "no"


def _shielded(rows: "Sequence[Row]") -> bool:
    return any(row.shield for row in rows)


def _table(columns: dict[str, list[str]], console: "Console") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, collapse_padding=console.width < WIDE, header_style="bold" if console.is_terminal else "")
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in _WORDS else "right"
        table.add_column(name, justify=justify, no_wrap=not console.is_terminal, overflow="fold")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table
