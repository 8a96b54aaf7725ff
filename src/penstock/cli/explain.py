"""`penstock explain`: why one request cost what it cost, from the question to the last rounding."""

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption
from penstock.cli.output import CommandError, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.domain.ledger.record import UsageRecord
    from penstock.finops.caching.explaining import Why
    from penstock.finops.explain import Explanation, Line, Sum
    from penstock.finops.explain_asides import Together
    from penstock.finops.explain_hours import HourShare
    from penstock.finops.ledger import Ledger

Step = tuple[str, list[str]]


def register(app: typer.Typer) -> None:
    app.command("explain", rich_help_panel=MONEY)(explain)


def explain(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The `penstock-request-id` of an answer, or enough of its beginning.")
    ],
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
) -> None:
    """Show step by step why a request cost what it cost.

    The rates are those of the price entry that the record names; every amount is exact, and the one rounding is shown.
    """
    import os
    import time

    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.domain.units import format_usd
    from penstock.finops.caching.explaining import why_cached
    from penstock.finops.explain import UnknownRequest, explanation_json, find_record
    from penstock.finops.explain import explain as explained
    from penstock.finops.explain_asides import asides_json, together
    from penstock.finops.explain_hours import borne, hour_shares, shares_json

    settings = load(config, os.environ)
    with bootstrap.open_books(settings, time.time_ns()) as books:
        try:
            record = find_record(books.ledger.snapshot, books.ledger.pending, request_id.strip())
        except UnknownRequest as problem:
            raise CommandError(str(problem), problem.hint) from None
        shares, kept = hour_shares(books, record), books.ledger.snapshot.costs.price_entries()
        why, beside = why_cached(record, _source(books.ledger, record)), together(books, record, shares)
    explanation = explained(record, bootstrap.price_book(settings), kept)
    if json:
        hours = {"gpu_hours": shares_json(shares), "borne_usd": format_usd(borne(record, shares))}
        print_json(explanation_json(explanation) | hours | asides_json(beside))
    else:
        _print(_steps(explanation, shares, why, beside))


def _print(steps: list[Step]) -> None:
    import sys

    from penstock.cli.cost_table import printable

    width = max(len(title) for title, _ in steps) + 2
    for title, lines in steps:
        for index, line in enumerate(lines):
            sys.stdout.write(f"{title if index == 0 else '':<{width}}{printable(line)}\n")


def _source(ledger: "Ledger", record: "UsageRecord") -> "UsageRecord | None":
    """The record that the answer in the cache was made for, where it is still known."""
    entry = record.cache_decision.entry if record.cache_decision is not None else None
    if entry is None:
        return None
    return ledger.snapshot.find(entry) or next((each for each in ledger.pending if each.id == entry), None)


def _steps(explanation: "Explanation", shares: "Sequence[HourShare]", why: "Sequence[Why]", beside: "Together") -> list[Step]:
    from penstock.finops.caching.explaining import source_words
    from penstock.finops.explain import reserved_words, steered_words
    from penstock.finops.explain_asides import made_for
    from penstock.finops.routing.explaining import why_routed
    from penstock.finops.window import iso

    record = explanation.record
    asked = f"{record.endpoint}, model {record.requested_model or 'unknown'}{', streamed' if record.streamed else ''}"
    return [
        ("request", [record.id, f"admitted {iso(record.admitted_ns)}"]),
        *([("made for", [purpose])] if (purpose := made_for(record)) else []),
        (
            "who",
            [*(f"{name} = {value}" for name, value in sorted(record.tags.items())), f"key {record.key_id}" if record.key_id else "no key"],
        ),
        ("asked for", [asked]),
        ("cache", [record.cache + (f", from {source_words(record.cache_source)}" if record.cache_source else ""), *_why_lines(why)]),
        ("choice", [*_choice(record), *_why_lines(why_routed(record))]),
        *([("steered", [steered])] if (steered := steered_words(record)) else []),
        ("attempts", _attempts(record)),
        ("answer", _answer(record)),
        ("tokens", _tokens(record)),
        ("cost", _cost(explanation)),
        *([("held", [held])] if (held := reserved_words(record)) else []),
        *([("GPU-hours", _hours(record, shares))] if shares else []),
        ("baseline", _baseline(explanation, beside)),
        *([("beside", _asides(beside))] if beside.asides else []),
    ]


def _asides(beside: "Together") -> list[str]:
    """A line for each call made for the request that is not its answer, then what all came to with it."""
    from penstock.finops.explain_asides import meaning

    rows = [
        (
            each.record.purpose or "",
            each.record.model or "unknown",
            f"{each.record.tokens.input:,} in",
            f"{each.record.tokens.output:,} out",
            _usd(each.cost),
            f"{each.record.outcome}, {each.record.id}",
        )
        for each in beside.asides
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    told = {each.record.purpose: f"{each.record.purpose}: {meaning(each.record)}" for each in beside.asides}
    lacking = f", {beside.unknown} of {len(rows) + 1} unknown and left out" if beside.unknown else ""
    return [*lines, *told.values(), f"{_usd(beside.total)} in all, the request included{lacking}"]


def _why_lines(why: "Sequence[Why]") -> list[str]:
    width = max((len(each.about) for each in why), default=0)
    return [f"{each.about:<{width}}  {each.text}" for each in why]


def _hours(record: "UsageRecord", shares: "Sequence[HourShare]") -> list[str]:
    """Hour by hour, then what the request bears with these in the place of what it was booked at."""
    from penstock.domain.ledger.record import provisional_of
    from penstock.domain.units import format_usd
    from penstock.finops.explain_hours import borne, told

    provisional = format_usd(provisional_of(record))
    lines = [line for each in shares for line in told(each)]
    return [*lines, f"{_usd(borne(record, shares))} with these in the place of the {provisional} USD that it was booked at for them"]


def _choice(record: "UsageRecord") -> list[str]:
    facts = {
        "strategy": record.strategy,
        "complexity": None if record.complexity is None else f"{record.complexity:.3f}",
        "route": record.route,
        "tier": record.tier,
        "model": record.model,
        "upstream": record.upstream,
        "translated to": record.upstream_endpoint,
        "fleet": record.fleet,
        "processing": record.processing,
    }
    return [", ".join(f"{name} {value}" for name, value in facts.items() if value is not None) or "none: no model was chosen"]


def _attempts(record: "UsageRecord") -> list[str]:
    if not record.attempts:
        first = f"1. {record.model or record.endpoint} at {record.upstream} ({record.replica}): answered at the first try"
        return ["none: no upstream was called" if record.replica is None else first]
    return [
        f"{number}. {attempt.model} at {attempt.upstream} ({attempt.replica}): "
        + (f"{attempt.error}, " if attempt.error else "")
        + (f"status {attempt.status}, " if attempt.status is not None else "no answer, ")
        + f"{_milliseconds(attempt.duration_us)}"
        for number, attempt in enumerate(record.attempts, 1)
    ]


def _answer(record: "UsageRecord") -> list[str]:
    first = "" if record.first_token_us is None else f", first token after {_milliseconds(record.first_token_us)}"
    parts = [f"{record.outcome}, status {record.status}, {_milliseconds(record.duration_us)}{first}"]
    parts += [f"served by worker {record.writer}"] if record.writer else []
    parts += [f"the upstream called it {record.response_model}"] if record.response_model else []
    parts += [f"finish reason {record.finish_reason}"] if record.finish_reason else []
    return parts + ([f"error: {record.error}"] if record.error else [])


def _tokens(record: "UsageRecord") -> list[str]:
    import msgspec

    from penstock.domain.dialects.tokens import CLASS_OF_PART

    lines = [f"{count:>12,} {name.replace('_', ' ')}" for name, count in msgspec.structs.asdict(record.tokens).items() if count]
    for name, count in record.parts.items():
        within = CLASS_OF_PART.get(name)
        beside = "beside the tokens" if within is None else f"of the {within.replace('_', ' ')}"
        lines.append(f"{count:>12,} {name.replace('_', ' ')} ({beside})")
    lines.append(f"{record.tokens.total:>12,} processed ({record.tokens_basis})")
    if record.recalled.total:
        lines.append(f"{record.recalled.total:>12,} replayed: {record.recalled.input:,} input, {record.recalled.output:,} output")
    return lines


def _sum(total: "Sum | None") -> list[str]:
    """Tokens x rate = amount, line by line, then what rounding to nano-USD added or took."""
    from penstock.finops.explain import exact_decimal, exact_usd

    if total is None:
        return []
    rates = ["" if (rate := _rate(line)) is None else exact_decimal(rate) for line in total.lines]
    amounts = ["" if line.amount is None else exact_usd(line.amount) for line in total.lines]
    rounding = exact_usd(total.rounding)
    rate_width, amount_width = max(map(len, rates), default=0), max(map(len, [*amounts, rounding]))
    lines = [
        f"{line.tokens:>12,} {line.token_class.replace('_', ' '):<14} x {rate:>{rate_width}} "
        f"{'USD  ' if line.usd_per_million is None else 'USD/M'} = {amount:<{amount_width}} USD"
        for line, rate, amount in zip(total.lines, rates, amounts, strict=True)
    ]
    if total.processing is not None:
        lines.append(f"{'':>12} at the prices of processing class {total.processing}")
    if total.rounding != Fraction(0):
        lines.append(f"{'':>12} {'rounding':<14}   {'':>{rate_width}}         {rounding:<{amount_width}} USD")
    return lines


def _rate(line: "Line") -> Fraction | None:
    return line.usd_per_call if line.usd_per_million is None else line.usd_per_million


def _cost(explanation: "Explanation") -> list[str]:
    record = explanation.record
    if record.outcome == "refused":
        return [explanation.cost_note]
    return [*_sum(explanation.cost), _usd(record.cost, f" ({record.cost_basis})"), explanation.cost_note]


def _baseline(explanation: "Explanation", beside: "Together") -> list[str]:
    record = explanation.record
    if record.outcome == "refused":
        return [explanation.counterfactual_note]
    lines = [*_sum(explanation.counterfactual), _usd(record.counterfactual), explanation.counterfactual_note]
    counted = ", calls beside it counted" if beside.asides else ""
    return lines if beside.saved is None else [*lines, f"saved {_usd(beside.saved)}{counted}"]


def _usd(nano_usd: int | None, basis: str = "") -> str:
    from penstock.domain.units import format_usd

    text = format_usd(nano_usd)
    return "unknown" if text is None else f"{text} USD{basis}"


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:,.1f} ms"
