"""How `penstock size` shows what holds a model: a row for each way, JSON with all figures, and what would change a no."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.cli.cost_table import UNKNOWN
from penstock.cli.output import complain, say, stdout_console
from penstock.cli.prices_gpus import offer_json
from penstock.cli.prices_table import figure
from penstock.cli.size_columns import BAND, fitted, print_columns
from penstock.cli.size_prices import own_price, own_price_words, several_gpus
from penstock.domain.sizing.candidates import offers_of
from penstock.domain.sizing.formats import computes_in
from penstock.domain.sizing.memory import kv_bytes_per_token, weights_bytes
from penstock.domain.sizing.parameters import parameters

if TYPE_CHECKING:
    from penstock.domain.sizing.candidates import Candidate
    from penstock.domain.sizing.latency.deployment import Prediction, Workload
    from penstock.domain.sizing.ranking import Measure, Ranked
    from penstock.domain.sizing.remedies import Question

    Missed = tuple[Ranked, dict[Measure, float]] | None

NONE = "-"
MOST_ROWS = 20
SPARE = ("weights GB", "tokens/s", "offer", "kernels", "requests", "TTFT ms" + BAND, "TPOT ms" + BAND, "KV tokens")
"""what a narrow terminal does without, the first first"""
PART = "*"
"""of a price: it is a part of what has to be rented"""
IDLE = 4
"""times as many mean requests as asked for, that a replica has room for: from there on its cost per token is that of an idle one"""
_WORDS = ("hardware", "GPU", "format", "kernels", "offer", "SLO", "why not")
_LONG = ("offer", "why not")


def print_rows(rows: "Sequence[Ranked]", question: "Question", limits_s: Mapping[Any, float], offers: bool, every: bool) -> None:
    """The table; of many rows the first, unless all were asked for."""
    console = stdout_console()
    shown = rows if every else rows[:MOST_ROWS]
    if not shown:
        return
    predicted = any(row.prediction for row in shown)
    lacking = any(not row.candidate.holds for row in shown)
    left_out = {
        *(() if predicted else ("TTFT ms", "TPOT ms", "tokens/s", "USD/1M out", "SLO")), *(() if limits_s else ("SLO",)),
        *(() if lacking else ("why not",)),
    }  # fmt: skip
    columns = {name: cells for name, cells in _columns(shown).items() if name not in left_out}
    print_columns(fitted(columns, SPARE, _LONG), _WORDS, _LONG)
    if len(shown) < len(rows):
        console.print(f"{len(rows) - len(shown)} more with --all")
    if offers:
        print_columns(_offer_columns(question, shown), _WORDS, _LONG)


def narrate(
    question: "Question",
    workload: "Workload",
    rows: "Sequence[Ranked]",
    changes: Sequence[str],
    missed: "Missed",
    limits_s: Mapping[Any, float],
    quiet: bool,
) -> None:
    """What the figures rest on; where nothing holds it, what would; where nothing keeps the objective, what is nearest."""
    a, demand, counts = question.architecture, question.demand, parameters(question.architecture)
    active = f", {counts.active / 1e9:.3g} B active" if counts.experts else ""
    say(
        f"{a.name}: {counts.total / 1e9:.4g} B parameters{active}; {kv_bytes_per_token(a, demand.kv_bits):,} bytes of KV cache per token; "
        f"asked for: {_requests(demand.requests)} of {demand.context:,} tokens at once, {demand.utilisation:.0%} of the memory",
        quiet,
    )
    if any(row.prediction for row in rows):
        say(
            f"latency: {_requests(workload.concurrency)} always open, {workload.input_tokens:,} tokens in and {workload.output_tokens:,} "
            "out; in brackets, or by --json, where four of five measurements lie (`penstock simulate` replays real traffic)",
            quiet,
        )
    if any(row.verdict for row in rows):
        say("SLO: means of that load, held against the limit whatever its percentile; `likely` keeps it by the middle of the band", quiet)
    for line in _price_words(question, rows, workload):
        say(line, quiet)
    if missed is not None:
        row, figures = missed
        told = ", ".join(f"{name} {figures[name]:,.3g} ms, not {1000 * limit:,.4g}" for name, limit in limits_s.items())
        complain("no way that holds it keeps the objective")
        say(f"  the nearest is {row.candidate.format.name} on {_hardware(row.candidate)}: {told}", quiet)
    if not any(row.candidate.holds for row in rows):
        complain(f"nothing that was asked for holds {a.name}")
        for each in changes:
            say(f"  it would with {each}")


def _price_words(question: "Question", rows: "Sequence[Ranked]", workload: "Workload") -> Iterator[str]:
    """What the prices are, and that they are of a replica that is nearly idle where it is."""
    if not any(row.candidate.offer for row in rows):
        return
    part = f" ({PART} a part of it or of the card: right only if others use the rest)"
    marked = part * any(row.candidate.is_part for row in rows)
    own = own_price(question.offers)
    if own is not None:
        yield own_price_words(own) + marked
    else:
        yield f"USD: the cheapest on-demand list price of a machine with that many GPUs{marked}; sources by --json"
        if several := several_gpus(rows, question.offers):
            yield several
    best = rows[0]
    room = 0 if best.candidate.fit is None else best.candidate.fit.kv_tokens // (workload.input_tokens + workload.output_tokens)
    if best.usd_per_million_output is not None and room >= IDLE * workload.concurrency:
        yield (
            f"USD/1M out: of {_requests(workload.concurrency)} at once, so nearly idle: {_hardware(best.candidate)} has room for "
            f"{room:,} of that length. A fuller replica costs less per token: --concurrency N, with the --context of your longest request"
        )


def document(
    question: "Question",
    source: str,
    workload: "Workload",
    engine: str,
    rows: "Sequence[Ranked]",
    changes: Sequence[str],
    missed: "Missed",
    offers: bool,
) -> dict[str, Any]:
    a, demand, counts = question.architecture, question.demand, parameters(question.architecture)
    own = own_price(question.offers)
    return {
        "model": {
            "name": a.name,
            "source": source,
            "parameters": counts.total,
            "active_parameters": counts.active,
            "kv_bytes_per_token": kv_bytes_per_token(a, demand.kv_bits),
            "weights_bytes": {each.name: weights_bytes(a, each) for each in question.formats},
        },
        "asked": {**_fields(demand), **_fields(workload), "engine": engine, "usd_per_gpu_hour": None if own is None else figure(own)},
        "candidates": [_row(row, question, offers) for row in rows],
        "would_hold": list(changes),
        "nearest_to_objective": None if missed is None else {**_row(missed[0], question, offers), "middle_ms": missed[1]},
    }


def _row(row: "Ranked", question: "Question", offers: bool) -> dict[str, Any]:
    each = row.candidate
    fit = each.fit
    return {
        "gpu": each.accelerator.name,
        "gpus": None if fit is None else fit.tensor_parallel,
        "mig": None if each.slice is None else each.slice.name,
        "mig_starts": None if each.slice is None else list(each.slice.starts),
        "format": each.format.name,
        "kernels": each.kernels,
        "computes_in": None if each.kernels == "none" else computes_in(each.format, each.accelerator),
        "holds": each.holds,
        "why": each.why,
        "memory": None if fit is None else {name: value for name, value in _fields(fit).items() if name.endswith("_bytes")},
        "kv_tokens": None if fit is None else fit.kv_tokens,
        "requests": None if fit is None else fit.requests,
        "usd_per_hour": None if each.usd_per_hour is None else figure(each.usd_per_hour),
        "charged": None if each.usd_per_hour is None else "part" if each.is_part else "whole",
        "offer": None if each.offer is None else _offer(each.offer),
        "offers": [_offer(offer) for offer in offers_of(each.accelerator, question.offers)] if offers else None,
        "latency": None if row.prediction is None else _fields(row.prediction),
        "output_tokens_per_s": row.output_tokens_per_s,
        **{
            name: None if usd is None else figure(usd)
            for name, usd in (
                ("usd_per_million_output", row.usd_per_million_output),
                ("usd_per_million_low", row.usd_per_million_low),
                ("usd_per_million_high", row.usd_per_million_high),
            )
        },
        "meets_slo": row.verdict,
    }


def _columns(rows: "Sequence[Ranked]") -> dict[str, list[str]]:
    found = [row.candidate for row in rows]
    fits = [each.fit for each in found]
    return {
        "hardware": [_hardware(each) for each in found],
        "format": [each.format.name for each in found],
        "kernels": [each.kernels for each in found],
        "weights GB": [NONE if fit is None else f"{fit.weights_bytes / 1e9:.1f}" for fit in fits],
        "KV tokens": [NONE if fit is None else f"{fit.kv_tokens:,}" for fit in fits],
        "requests": [NONE if fit is None else f"{fit.requests:,}" for fit in fits],
        "USD/h": [f"{_usd(each.usd_per_hour)}{PART * each.is_part}" if each.fit is not None else NONE for each in found],
        "offer": [_from(each) for each in found],
        "TTFT ms": [_band(row.prediction, "ttft") for row in rows],
        "TPOT ms": [_band(row.prediction, "tpot") for row in rows],
        "tokens/s": [NONE if row.output_tokens_per_s is None else f"{row.output_tokens_per_s:,.0f}" for row in rows],
        "USD/1M out": [_usd(row.usd_per_million_output) if row.candidate.holds else NONE for row in rows],
        "SLO": [row.verdict or NONE for row in rows],
        "why not": [each.why or NONE for each in found],
    }


def _hardware(each: "Candidate") -> str:
    devices = 1 if each.fit is None else each.fit.tensor_parallel
    return f"{devices} x {each.accelerator.name}{f' {each.slice.name}' if each.slice else ''}"


def _offer_columns(question: "Question", rows: "Sequence[Ranked]") -> dict[str, list[str]]:
    devices = {row.candidate.accelerator.name: row.candidate.accelerator for row in rows if row.candidate.holds}
    offers = [each for _, device in sorted(devices.items()) for each in offers_of(device, question.offers)]
    return {
        "GPU": [each.gpu for each in offers],
        "USD per GPU-hour": [_usd(each.usd_per_gpu_hour) for each in offers],
        "GPUs": [str(each.gpus) for each in offers],
        "offer": [f"{each.kind}, {each.provider}, {each.instance}, {each.region}, {each.date}" for each in offers],
    }


def _requests(count: int) -> str:
    return f"{count:,} request{'s' * (count > 1)}"


def _band(prediction: "Prediction | None", measure: str) -> str:
    if prediction is None:
        return NONE
    middle, low, high = (getattr(prediction, f"{measure}{part}_ms") for part in ("", "_low", "_high"))
    return f"{middle:,.3g} ({low:,.3g}-{high:,.3g})" if high < 1000 else f"{middle:,.0f} ({low:,.0f}-{high:,.0f})"


def _usd(amount: Fraction | None) -> str:
    return UNKNOWN if amount is None else f"{float(amount):,.2f}"


def _from(each: "Candidate") -> str:
    if each.offer is None:
        return NONE
    return f"{'part of ' * each.is_part}{each.offer.provider} {each.offer.instance}, {each.offer.date}"


def _offer(offer: Any) -> dict[str, object]:
    return offer_json(offer)


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
