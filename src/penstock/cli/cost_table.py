"""The cost report for people: a table that fits the terminal, and under it what the figures cover and mean."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TextIO

import msgspec

from penstock.domain.ledger.measures import (
    CP1KT_DEFINITION,
    Sums,
    cp1kt_usd,
    known_cost,
    known_counterfactual,
    lines,
    priced_lines,
    saved,
    tokens_of,
)
from penstock.domain.units import usd
from penstock.finops.costs import CostReport, CostRow
from penstock.finops.statement import Statement, known, whole
from penstock.finops.window import iso

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

UNKNOWN = "unknown"
_PLAIN_WIDTH = 1000
_FITS = ((9, 40), (9, 24), (4, 24), (3, 24), (2, 24), (2, 12), (1, 12), (0, 12))
"""(columns kept by their `spare`, widest key) in the order in which they are tried"""


class _Column(msgspec.Struct, frozen=True):
    """A measure. `spare` columns give way on narrow terminals, the highest first; those not `wanted` show in plain text only."""

    title: str
    cells: Callable[[Sequence[Sums], bool], list[str]]
    spare: int = 0
    wanted: Callable[[Sums], bool] = lambda total: True
    seldom: bool = False
    """not even in plain text, unless it is wanted"""


def print_report(report: CostReport, file: TextIO, borne: Statement | None = None) -> None:
    """Table and notes into a file such as stdout. Where that is no terminal: every column, exact counts, nothing cut or drawn.

    With a statement in which there is more than what requests were booked at, a last column tells what each row bears.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, markup=False, emoji=False, color_system=None, width=_PLAIN_WIDTH)
    if report.rows:
        console.print(_fitting(report, console, _borne(report, borne)))
    for line in _notes(report):
        console.print(Text(line, style="dim" if console.is_terminal else ""))


def printable(text: str | None) -> str:
    """A value that clients chose, safe for a terminal: control and invisible characters are replaced; None is `unknown`."""
    return UNKNOWN if text is None else "".join(char if char.isprintable() else "\ufffd" for char in text)


def money(amounts: Sequence[Decimal | None], beside: Sequence[Decimal | None] = ()) -> list[str]:
    """USD of one column, with as many decimals as give the largest (here or in the columns `beside`) four digits: 2 to 9.

    What would round to nothing shows as `<0.01`.
    """
    largest = max((abs(amount) for amount in (*amounts, *beside) if amount), default=Decimal(1))
    places = min(9, max(2, 3 - largest.adjusted()))
    least = Decimal(1).scaleb(-places)
    return [_amount(amount, least, places) for amount in amounts]


def _amount(amount: Decimal | None, least: Decimal, places: int) -> str:
    if amount is None:
        return UNKNOWN
    if 0 < abs(amount) < least:
        return f"<{least:f}" if amount > 0 else f">-{least:f}"
    return f"{amount:,.{places}f}"


def percent(part: int, whole: int) -> str:
    """A share of a whole above 0, cut to one decimal, so that only all of it is 100 %."""
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10} %" if tenths % 10 else f"{tenths // 10} %"


def _usd(nano: int | None) -> Decimal | None:
    return None if nano is None else usd(nano)


def _count(number: int, exact: bool) -> str:
    if exact:
        return str(number)
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= max(size, 100_000):
            return f"{number / size:.1f}{unit}"
    return f"{number:,}"


def _counts(measure: Callable[[Sums], int]) -> Callable[[Sequence[Sums], bool], list[str]]:
    return lambda groups, exact: [_count(measure(sums), exact) for sums in groups]


def _spending(measure: Callable[[Sums], int | None]) -> Callable[[Sequence[Sums], bool], list[str]]:
    """A column of USD that has the decimals of the other two, so that they can be compared by eye."""

    def cells(groups: Sequence[Sums], exact: bool) -> list[str]:
        beside = [_usd(other(sums)) for other in (known_cost, known_counterfactual, saved) for sums in groups]
        return money([_usd(measure(sums)) for sums in groups], beside)

    return cells


def _is_partial(sums: Sums) -> bool:
    """Some of what the group cost is known, and some is not."""
    return 0 < priced_lines(sums) < lines(sums)


def _costs(groups: Sequence[Sums], exact: bool) -> list[str]:
    cells = _spending(known_cost)(groups, exact)
    partial = [_is_partial(sums) for sums in groups]
    return [cell + ("+" if some else " ") for cell, some in zip(cells, partial, strict=True)] if any(partial) else cells


_COLUMNS = (
    _Column("requests", _counts(lambda sums: sums.requests)),
    _Column("refused", _counts(lambda sums: sums.refused), 5, lambda total: total.refused > 0),
    _Column("failed", _counts(lambda sums: sums.failed), 5, lambda total: total.failed > 0),
    _Column("cache hits", _counts(lambda sums: sums.cache_hits), 5, lambda total: total.cache_hits > 0),
    _Column("input", _counts(lambda sums: tokens_of(sums).input), 4),
    _Column("output", _counts(lambda sums: tokens_of(sums).output), 4),
    _Column("asides", _counts(lambda sums: sums.asides), 5, lambda total: total.asides > 0, seldom=True),
    _Column("cost USD", _costs),
    _Column("baseline USD", _spending(known_counterfactual), 3),
    _Column("saved USD", _spending(saved), 2),
    _Column("CP1KT USD", lambda groups, exact: money([cp1kt_usd(sums.cost, sums.priced_tokens) for sums in groups]), 1),
)


def _borne(report: CostReport, borne: Statement | None) -> list[str] | None:
    """What rows and total bear; None where that is what they were booked at."""
    if borne is None or not (borne.hours or borne.pots):
        return None
    by_keys = {row.keys: row for row in borne.rows}
    found = [by_keys.get(row.keys) for row in report.rows]
    return money([*(None if row is None or not known(row) else usd(row.cost) for row in found), usd(whole(borne).cost)])


def _fitting(report: CostReport, console: "Console", borne: list[str] | None) -> "Table":
    """The fullest table that the console has room for."""
    if not console.is_terminal:
        return _table(report, [column for column in _COLUMNS if not column.seldom or column.wanted(report.total)], None, borne)
    wanted = [column for column in _COLUMNS if column.wanted(report.total)]
    unbounded = console.options.update(width=_PLAIN_WIDTH)
    for spare, longest in _FITS:
        table = _table(report, [column for column in wanted if column.spare <= spare], longest, borne)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    return table


def _table(report: CostReport, columns: Sequence[_Column], longest: int | None, borne: list[str] | None) -> "Table":
    """`longest`: cells of the widest key, None for plain text without rules; `borne`: the last column, if there is one."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    plain = longest is None
    table = Table(box=None if plain else SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2 if plain else 1, 0, 0))
    for key in report.query.by or ("",):
        table.add_column(key, no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    groups = [*(row.sums for row in report.rows), report.total]
    filled = [column.cells(groups, plain) for column in columns]
    if borne is not None:
        table.add_column("borne USD", justify="right", no_wrap=True)
        filled.append(borne)
    measures = list(zip(*filled, strict=True))
    if report.query.by:
        for row, cells in zip(report.rows, measures, strict=False):
            table.add_row(*_keys(row, report.query.by, longest), *cells)
        table.add_section()
    blanks = [""] * (len(report.query.by) - 1)
    table.add_row("total", *blanks, *measures[-1], style="" if plain else "bold")
    return table


def _word(key: str, value: str | None) -> str:
    return "requests" if key == "purpose" and value is None else printable(value)


def _keys(row: CostRow, by: Sequence[str], longest: int | None) -> "list[Text]":
    from rich.text import Text

    cells = [Text(_word(key, value)) for key, value in zip(by, row.keys, strict=True)]
    for cell in cells:
        if longest is not None:
            cell.truncate(longest, overflow="ellipsis")
    return cells


def _notes(report: CostReport) -> list[str]:
    query, coverage = report.query, report.coverage
    filters = "".join(f", {key}={printable(value)}" for key, value in query.where)
    notes = [f"window:   {report.label}, {_second(query.since_ns)} to {_second(query.until_ns)} ({report.timezone}){filters}"]
    if not coverage.lines:
        return [*notes, "coverage: no request was answered"]
    counted = f"{coverage.requests:,} requests" + (f" and {coverage.asides:,} calls beside them" if coverage.asides else "")
    parts = [f"{percent(coverage.known_lines, coverage.lines)} of {counted} priced"]
    if coverage.unpriced_models:
        parts.append("unpriced: " + ", ".join(f"{printable(model)} ({count:,})" for model, count in coverage.unpriced_models[:5]))
    if coverage.estimated:
        parts.append(f"{coverage.estimated:,} estimated")
    parts += [f"{percent(known, coverage.requests)} have {key}" for key, known in coverage.tagged.items() if known < coverage.requests]
    if coverage.latest_ns is not None:
        parts.append(f"newest {_second(coverage.latest_ns)}")
    if coverage.journal_tail:
        parts.append(f"{coverage.journal_tail:,} still on the journal")
    notes.append(f"coverage: {'; '.join(parts)}")
    if any(_is_partial(row.sums) for row in report.rows):
        notes.append("          + marks a cost that leaves out unpriced requests")
    beside = ", and less what was called beside requests" if coverage.asides else ""
    notes.append(f"saved:    baseline less cost, over the {report.total.compared:,} requests where both are known{beside}")
    return [*notes, CP1KT_DEFINITION]


def _second(instant_ns: int) -> str:
    return iso(instant_ns // 10**9 * 10**9)
