"""How `penstock size --measure` shows measured points and ranked instances: tables, and JSON with every figure."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from penstock.cli.cost_table import UNKNOWN, money, printable
from penstock.cli.output import stdout_console
from penstock.cli.prices_table import figure
from penstock.cli.size_columns import BAND, fitted, print_columns

if TYPE_CHECKING:
    from penstock.capacity.measuring.points import Point, Spread
    from penstock.capacity.measuring.sagemaker import SageMakerJob
    from penstock.capacity.measuring.storing import Measured
    from penstock.capacity.recommended import Requests, Row
    from penstock.domain.simulation.slo import Objective
    from penstock.domain.sizing.remedies import Question

NONE = "-"
METRICS = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "answer"}
MOST_PREDICTED = 12
"""rows that a table shows; JSON has all"""
SPARE = (
    "answer ms", "replicas", "req/min", "USD/1,000 requests", "USD/1M out" + BAND, "instance", "format", "at once", "objective",
    "instances",
)  # fmt: skip
"""what a narrow terminal does without, the first first"""
POINT_SPARE = ("requests", "answer ms (P95)", "failed", "TPOT ms (P95)" + BAND)
MOST_NAMED = 5
"""instances that are named under a table that has no room for them"""
_WORDS = ("basis", "GPU", "format", "objective", "instance")
_LONG = ("instance",)


def point_words(each: "Point") -> str:
    """A point in a line, while the test runs."""
    ttft = "" if each.ttft_ms is None else f"TTFT {_ms(each.ttft_ms.mean)} (P95 {_ms(each.ttft_ms.p95)}), "
    tpot = "" if each.tpot_ms is None else f"TPOT {_ms(each.tpot_ms.mean)}, "
    failed = f", {each.failed:,} failed" if each.failed else ""
    return f"{each.load}: {ttft}{tpot}{each.output_tokens_per_s:,.0f} tokens/s, {each.requests_per_minute:,.0f} requests/min{failed}"


def print_points(found: "Sequence[Measured]") -> None:
    """A table for each file or test."""
    console = stdout_console()
    for told in found:
        of = " ".join(filter(None, (told.upstream_model or told.model, f"on {told.gpu}" if told.gpu else None, told.url)))
        console.print(printable(f"measured: {of or 'points of a file'}"), soft_wrap=True)
        columns: dict[str, list[str]] = {
            "load": [each.load for each in told.points],
            "in": [f"{each.input_tokens:,.0f}" for each in told.points],
            "out": [f"{each.output_tokens:,.0f}" for each in told.points],
            "requests": [f"{each.requests:,}" for each in told.points],
            "TTFT ms (P95)": [_spread(each.ttft_ms) for each in told.points],
            "TPOT ms (P95)": [_spread(each.tpot_ms) for each in told.points],
            "answer ms (P95)": [_spread(each.e2e_ms) for each in told.points],
            "tokens/s": [f"{each.output_tokens_per_s:,.0f}" for each in told.points],
            "req/min": [f"{each.requests_per_minute:,.1f}" for each in told.points],
            "failed": [f"{each.failed:,}" for each in told.points],
        }
        if not any(each.failed for each in told.points):
            del columns["failed"]
        print_columns(fitted(columns, POINT_SPARE), _WORDS)


def print_rows(rows: "Sequence[Row]", demand: "Requests", targets: "Sequence[Objective]") -> None:
    """Measured and imported rows, and the best of the predicted ones."""
    if not rows:
        return
    predicted = [row for row in rows if row.basis == "predicted"]
    shown = [row for row in rows if row.basis != "predicted"] + predicted[:MOST_PREDICTED]
    asked = ", ".join(f"{target.name} up to {1000 * target.within_s:,.4g} ms" for target in targets) or "no objective (--slo)"
    served = "one full replica" if demand.per_minute is None else f"{demand.per_minute:,.4g} requests a minute"
    console = stdout_console()
    console.print(f"{asked}; {served}; {demand.input_tokens:,} tokens in, {demand.output_tokens:,} out", soft_wrap=True)
    console.print(_percentiles(targets), soft_wrap=True)
    columns = fitted(_columns(shown, targets, demand.per_minute is not None), SPARE, _LONG)
    print_columns(columns, _WORDS, _LONG)
    if "instance" not in columns:
        for row in sorted((row for row in shown if row.rank is not None), key=lambda row: row.rank or 0)[:MOST_NAMED]:
            console.print(f"{row.rank}: {_rent(row)}", soft_wrap=True)
    if len(predicted) > MOST_PREDICTED:
        stdout_console().print(f"and {len(predicted) - MOST_PREDICTED} more predicted rows: --json has them")


def _columns(rows: "Sequence[Row]", targets: "Sequence[Objective]", demanded: bool) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {
        "rank": [NONE if row.rank is None else str(row.rank) for row in rows],
        "basis": [row.basis for row in rows],
        "GPU": [_hardware(row) for row in rows],
        "GPUs": [_count(row.tensor_parallel) for row in rows],
        "format": [row.format or NONE for row in rows],
        "at once": [_count(row.concurrency) for row in rows],
        "TTFT ms": [_ms(row.ttft_ms) for row in rows],
        "TPOT ms": [_ms(row.tpot_ms) for row in rows],
        "answer ms": [_ms(row.e2e_ms) for row in rows],
        "req/min": [f"{row.requests_per_minute:,.1f}" for row in rows],
        "replicas": [_count(row.replicas) for row in rows],
        "instances": [_count(row.instances) for row in rows],
        "USD/1M out": [_million(row) for row in rows],
        "USD/1,000 requests": money([_decimal(None if row.usd_per_request is None else row.usd_per_request * 1000) for row in rows]),
        "USD/h": [UNKNOWN if row.usd_per_hour is None else f"{float(row.usd_per_hour):,.2f}" for row in rows],
        "objective": [verdict(row, targets) for row in rows],
        "instance": [_rent(row) for row in rows],
    }
    left_out = (*(() if demanded else ("replicas", "instances")), *(() if targets else ("objective",)))
    return {name: cells for name, cells in columns.items() if name not in left_out}


def verdict(row: "Row", targets: "Sequence[Objective]") -> str:
    """`kept`: also at the upper end of the band. `likely`: by the median."""
    if not targets:
        return NONE
    if row.keeps is None:
        return "not told"
    if not row.keeps:
        return "missed"
    return "kept" if row.sure else "likely"


def document(
    question: "Question",
    demand: "Requests",
    targets: "Sequence[Objective]",
    found: "Sequence[Measured]",
    jobs: "Sequence[SageMakerJob]",
    rows: "Iterable[Row]",
    notes: Sequence[str],
) -> dict[str, Any]:
    return {
        "model": question.architecture.name,
        "demand": {"input_tokens": demand.input_tokens, "output_tokens": demand.output_tokens, "per_minute": demand.per_minute},
        "objective": {target.name: {"limit_ms": 1000 * target.within_s} for target in targets},
        "measured": list(found),
        "sagemaker": [{"job": job.name, "status": job.status, "benchmarks": len(job.results), "failed": job.failed} for job in jobs],
        "recommendations": [_row(row, targets) for row in rows],
        "notes": list(notes),
    }


def _row(row: "Row", targets: "Sequence[Objective]") -> dict[str, Any]:
    told = {name: getattr(row, name) for name in row.__struct_fields__}
    money_of = {name: None if value is None else figure(value) for name, value in told.items() if name.startswith("usd_")}
    rent = None
    if row.rent is not None:
        rent = {name: getattr(row.rent, name) for name in row.rent.__struct_fields__}
        rent["usd_per_hour"] = figure(row.rent.usd_per_hour)
    return {**told, **money_of, "rent": rent, "verdict": verdict(row, targets)}


def _million(row: "Row") -> str:
    if row.usd_per_million_output is None:
        return UNKNOWN if row.basis != "imported" else NONE
    middle = f"{float(row.usd_per_million_output):,.3g}"
    if row.usd_per_million_low is None or row.usd_per_million_high is None:
        return middle
    return f"{middle} ({float(row.usd_per_million_low):,.3g}-{float(row.usd_per_million_high):,.3g})"


def _rent(row: "Row") -> str:
    rent = row.rent
    if rent is None:
        return NONE
    gpus = "" if row.basis == "imported" else f", {rent.gpus} GPU{'s' * (rent.gpus > 1)}"
    return f"{rent.provider} {rent.instance}{gpus}, {rent.date}"


def _hardware(row: "Row") -> str:
    """An imported row knows its instance only, and a table without it would say nothing of it."""
    return row.gpu or (row.rent.instance if row.basis == "imported" and row.rent is not None else NONE)


def _percentiles(targets: "Sequence[Objective]") -> str:
    """What the latencies are: the percentile that the objective names, else the mean."""
    asked: dict[str, float] = {}
    for target in targets:
        asked[target.metric] = max(target.percentile, asked.get(target.metric, 0))
    told = (f"{word} {f'P{asked[name]:g}' if name in asked else 'mean'}" for name, word in METRICS.items())
    best = "within the objective" if targets else "for its rent"
    return f"{', '.join(told)}; each row is at the load (`at once`) that serves most {best}"


def _spread(spread: "Spread | None") -> str:
    return NONE if spread is None else f"{_ms(spread.mean)} ({_ms(spread.p95)})"


def _ms(value: float | None) -> str:
    return NONE if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _decimal(usd: Fraction | None) -> Decimal | None:
    return None if usd is None else Decimal(usd.numerator) / Decimal(usd.denominator)
