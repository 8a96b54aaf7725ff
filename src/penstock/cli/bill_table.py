"""The bill for people: what it is made of, who pays, and under it what is unknown and what the figures rest on."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

import msgspec

from penstock.cli.cost_table import money, percent, printable
from penstock.cli.statement_lines import TITLES
from penstock.domain.units import format_usd, usd
from penstock.finops.bills.covering import covers
from penstock.finops.bills.document import CORRECTIONS, Bill

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PLAIN_WIDTH = 1000
LINE_TITLES = TITLES | {CORRECTIONS: "corrections"}


def print_bill(bill: Bill, file: TextIO) -> None:
    """Tables and notes into a file such as stdout; where that is no terminal nothing is cut or drawn."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, markup=False, emoji=False, color_system=None, width=_PLAIN_WIDTH)
    for line in _head(bill):
        console.print(Text(line, style="bold" if console.is_terminal else ""))
    for clause in bill.unknown:
        console.print(Text(f"unknown, and in no figure: {clause}", style="bold red" if console.is_terminal else ""))
    console.print()
    console.print(_lines(bill, console))
    console.print()
    console.print(_bearers(bill, console))
    console.print()
    for line in _notes(bill):
        console.print(Text(line, style="dim" if console.is_terminal else ""), soft_wrap=True)


def _head(bill: Bill) -> list[str]:
    state = f"draft bill of {bill.month}" if bill.draft else f"bill {bill.number} of {bill.month}, closed {_second(bill.made)}"
    told = covers(bill)
    return [
        f"{state}: {format_usd(bill.total_usd)} {bill.currency}",
        *([told] if told else []),
        f"{bill.since} to {bill.until} ({bill.timezone})",
    ]


def _second(instant: str) -> str:
    return instant.partition(".")[0].removesuffix("Z") + "Z"


def _table(console: "Console", columns: Sequence[tuple[str, bool]]) -> "Table":
    """`columns`: title, and whether it holds numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    plain = not console.is_terminal
    table = Table(box=None if plain else SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2 if plain else 1, 0, 0))
    for title, number in columns:
        table.add_column(title, justify="right" if number else "left", no_wrap=number or plain, overflow="fold")
    return table


def _lines(bill: Bill, console: "Console") -> "Table":
    table = _table(console, (("line", False), ("USD", True), ("what it is", False)))
    shown = [line for line in bill.lines if line.usd]
    amounts = money([usd(line.usd) for line in shown] + [usd(bill.total_usd)])
    for line, amount in zip(shown, amounts, strict=False):
        table.add_row(LINE_TITLES.get(line.line, line.line), amount, line.meaning)
    table.add_section()
    table.add_row("total", amounts[-1], "the sum of these lines, and of the groups below", style="bold" if console.is_terminal else "")
    return table


class _Row(msgspec.Struct, frozen=True):
    """One line of who pays; None is a blank cell."""

    keys: list[str]
    total: int
    requests: str = ""
    usage: int | None = None
    shared: int | None = None


def _rows(bill: Bill) -> Iterator[_Row]:
    width = max(len(bill.by), 1)
    for each in bill.bearers:
        keys = [_value(key, value) for key, value in zip(bill.by, each.keys, strict=True)] or ["everybody"]
        yield _Row(keys, each.total_usd, f"{each.requests:,}", each.usage_usd, each.shared_usd)
    for pot in bill.pots:
        if pot.rest_usd:
            yield _Row(_named(f"{LINE_TITLES[pot.line]}, {printable(pot.name)}", width), pot.rest_usd)
    for correction in bill.corrections:
        who = ", ".join(printable(value) for value in (correction.keys or {}).values() if value is not None) or "nobody"
        line = LINE_TITLES.get(correction.line, correction.line)
        yield _Row(_named(f"correction of {correction.month}, {line}: {who}", width), correction.usd)


def _bearers(bill: Bill, console: "Console") -> "Table":
    numbers = ("requests", "usage USD", "shared USD", "total USD")
    table = _table(console, (*((key, False) for key in bill.by or ("who",)), *((title, True) for title in numbers)))
    rows, total = list(_rows(bill)), usd(bill.total_usd)
    used, shared, totals = (
        money([None if amount is None else usd(amount) for amount in amounts], [total])
        for amounts in ([row.usage for row in rows], [row.shared for row in rows], [*(row.total for row in rows), int(bill.total_usd)])
    )
    for index, row in enumerate(rows):
        known = row.usage is not None
        table.add_row(*row.keys, row.requests, used[index] if known else "", shared[index] if known else "", totals[index])
    table.add_section()
    table.add_row(*_named("total", max(len(bill.by), 1)), "", "", "", totals[-1], style="bold" if console.is_terminal else "")
    return table


def _named(title: str, width: int) -> list[str]:
    return [title, *[""] * (width - 1)]


def _value(key: str, value: str | None) -> str:
    return f"no {key}" if value is None else printable(value) or "(empty)"


def _notes(bill: Bill) -> list[str]:
    coverage = bill.coverage
    notes = [f"idle:     {bill.idle}: {bill.idle_meaning}"]
    if coverage.lines:
        counted = f"{coverage.requests:,} requests" + (f" and {coverage.asides:,} calls beside them" if coverage.asides else "")
        parts = [f"{percent(coverage.known_lines, coverage.lines)} of {counted} priced"]
        if coverage.estimated:
            parts.append(f"{coverage.estimated:,} of them estimated")
        parts += [f"{percent(known, coverage.requests)} have {key}" for key, known in coverage.tagged.items() if known < coverage.requests]
        if coverage.untagged_usd:
            parts.append(f"{money([usd(coverage.untagged_usd)])[0]} USD has none of them")
        notes.append(f"coverage: {'; '.join(parts)}")
    else:
        notes.append("coverage: no request was answered")
    if bill.covered_since != bill.since or bill.covered_until != bill.until:
        notes.append(f"reaches:  {_second(bill.covered_since)} to {_second(bill.covered_until)}")
    if bill.inputs_sha256 is not None:
        notes.append(f"inputs:   sha256 {bill.inputs_sha256}")
    return notes
