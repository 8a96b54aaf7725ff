"""The review for people at a terminal: each question, its answer, and the figures behind it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from penstock.cli.cost_table import printable
from penstock.console.reports.showback_words import ADVICE, answers, grown, money, team_name, used, version_name
from penstock.console.words import NARROW, percent, plural, usd
from penstock.finops.showback.document import Showback

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 1000
NONE = "-"
"""nothing to divide by, or to compare with"""
Lines = tuple[tuple[str, ...], Iterable[tuple[str, ...]]]
"""titles of the columns, and the rows: names first, then `NAMES` after which all are numbers"""
NAMES = {"growth": 1, "versions": 1, "teams": 1, "fleets": 2, "optimisations": 1, "procurement": 3}
"""columns that hold words"""


def print_showback(review: Showback, file: TextIO) -> None:
    """Questions, answers and tables into a file such as stdout; where that is no terminal nothing is cut or drawn."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, markup=False, emoji=False, color_system=None, width=PLAIN_WIDTH)
    strong, soft = ("bold", "dim") if console.is_terminal else ("", "")
    tables = dict(_tables(review))
    console.print(Text(_plain(f"review of {review.label}: {money(review.total_usd)}"), style=strong))
    console.print(Text(f"{review.window.since} to {review.window.until}, against {review.before.since} to {review.before.until}"))
    if (review.window.since, review.before.since) != (review.window.covered_since, review.before.covered_since):
        console.print(Text(f"the ledger begins at {min(review.window.covered_since, review.before.covered_since)}", style=soft))
    for clause in review.unknown:
        console.print(Text(f"unknown, and in no figure: {printable(clause)}", style="bold red" if console.is_terminal else ""))
    for each in answers(review):
        console.print()
        console.print(Text(each.question, style=strong))
        console.print(Text(_plain(each.answer)), soft_wrap=True)
        titles, rows = tables.get(each.id, ((), ()))
        found = list(rows)
        if found:
            console.print(_table(titles, found, NAMES[each.id], console))
    console.print()
    for line in _notes(review):
        console.print(Text(_plain(line), style=soft), soft_wrap=True)


def _tables(review: Showback) -> Iterator[tuple[str, Lines]]:
    yield "growth", (("workload", "USD", "before", "growth", "used", "before", "growth", "of what"), _growth(review))
    titles: tuple[str, ...] = ("model, version, level", "requests", "a request", "before", "change", "CP1KT", "CP1KT in", "CP1KT out")
    yield "versions", (titles, _versions(review))
    titles = ("team", "GPU-hours", "ran for it", "utilisation", "usage", "share of idle", "a request", "change")
    yield "teams", (titles, _teams(review))
    yield "fleets", (("fleet", "verdict", "utilisation", "P95", "units", "enough", "rent", "idle"), _fleets(review))
    yield "optimisations", (("level", "requests", "a request", "before", "change"), _levels(review))
    titles = ("fleet", "held", "advice", "rent", "steady", "enough", "to commit", "pays from", "unused")
    yield "procurement", (titles, _procurement(review))


def _growth(review: Showback) -> Iterator[tuple[str, ...]]:
    for each in review.growth:
        use = (used(each.used), used(each.before_used), grown(each.usage_growth), each.measure) if each.measure else ("",) * 4
        yield (each.workload, money(each.usd), money(each.before_usd), grown(each.spend_growth), *use)


def _versions(review: Showback) -> Iterator[tuple[str, ...]]:
    for each in review.versions:
        split = each.cp1kt_usd is not None
        yield (
            version_name(each),
            f"{each.requests:,}",
            _unit(each.usd_per_request, each.requests > 0),
            _unit(each.before_usd_per_request, each.before_requests != 0),
            _change(each.change),
            _unit(each.cp1kt_usd, each.requests > 0 and each.usd_per_request is None),
            _unit(each.cp1kt_input_usd, split),
            _unit(each.cp1kt_output_usd, split),
        )


def _teams(review: Showback) -> Iterator[tuple[str, ...]]:
    for each in review.teams:
        hours = (
            f"{each.gpu_hours:,.1f}",
            f"{each.capacity_gpu_hours:,.1f}",
            NONE if each.utilization is None else percent(each.utilization),
        )
        yield (
            team_name(each),
            *hours,
            money(each.usage_usd),
            money(each.idle_usd),
            _unit(each.usd_per_request, each.requests > 0),
            _change(each.change),
        )
    if review.nobody_gpu_hours:
        yield ("nobody", "0.0", f"{review.nobody_gpu_hours:,.1f}", *("",) * 5)


def _fleets(review: Showback) -> Iterator[tuple[str, ...]]:
    for each in review.fleets:
        found = [word for word, wrong in (("too large", each.over_provisioned), ("too small", each.constrained)) if wrong]
        calm = "unknown" if None in (each.over_provisioned, each.constrained) else "in order"
        most = "<=" if each.upper_bound else ""
        uses = (most + percent(use) if use is not None else percent(use) for use in (each.utilization, each.utilization_p95))
        units = ("unknown" if count is None else f"{count:g}" for count in (each.units, each.enough_units))
        yield (each.fleet, ", ".join(found) or calm, *uses, *units, money(each.rent_usd), money(each.idle_usd))


def _levels(review: Showback) -> Iterator[tuple[str, ...]]:
    for each in review.levels:
        now, before = _unit(each.usd_per_request, each.requests > 0), _unit(each.before_usd_per_request, not review.before.days)
        yield (each.optimization or "no level given", f"{each.requests:,}", now, before, _change(each.change))


def _procurement(review: Showback) -> Iterator[tuple[str, ...]]:
    for each in review.procurement:
        units = (NONE if count is None else str(count) for count in (each.steady_units, each.enough_units, each.candidate_units))
        discount = NONE if each.breaks_even_discount is None else f"{percent(each.breaks_even_discount)} off"
        yield (each.fleet, each.held, ADVICE[each.advice], money(each.rent_usd), *units, discount, money(each.unused_usd))


def _notes(review: Showback) -> Iterator[str]:
    if (share := review.priced_share) is not None:
        estimated = f", {review.estimated:,} of them estimated" if review.estimated else ""
        beside = f" and {plural(review.asides, 'call')} beside them" if review.asides else ""
        yield f"coverage: {percent(share)} of {plural(review.requests, 'request')}{beside} priced{estimated}"
    else:
        yield "coverage: no request was answered"
    yield f"baseline: {review.baseline}"
    yield "what each figure means stands under `definitions` in the JSON, and at the end of the HTML"


def _table(titles: Sequence[str], rows: Sequence[tuple[str, ...]], words: int, console: "Console") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    plain = not console.is_terminal
    table = Table(box=None if plain else SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2 if plain else 1, 0, 0))
    for index, title in enumerate(titles):
        number = index >= words and title != "of what"
        table.add_column(title, justify="right" if number else "left", no_wrap=number or plain, overflow="fold")
    for row in rows:
        table.add_row(*map(_plain, row))
    return table


def _plain(text: str) -> str:
    """Safe for a terminal; narrow spaces are for pages."""
    return printable(text.replace(NARROW, " "))


def _unit(value: str | None, asked: bool) -> str:
    """A unit cost; `asked`: there was something to divide by, so that without a value it is unknown."""
    return NONE if value is None and not asked else usd(value)


def _change(value: float | None) -> str:
    return NONE if value is None else grown(value)
