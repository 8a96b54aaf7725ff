"""`penstock reconcile`: bills of providers and clouds against the ledger, and why they differ."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption, OutputOption, QuietOption
from penstock.cli.output import FINE, INCOMPLETE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, complain, say

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.domain.bills.invoice import Basis
    from penstock.finops.bills.reconcile import Question, Reconciliation
    from penstock.ports.bill_source import BillSource, ReadReport

SHOWN_REFUSALS = 3
SLOW_BYTES = 20_000_000
"""files of that size together get a progress bar"""


def register(app: typer.Typer) -> None:
    app.command("reconcile", rich_help_panel=MONEY)(reconcile)


def reconcile(
    invoices: Annotated[
        list[Path],
        typer.Argument(help="Bills: CSV, Parquet or JSON, gz or not. Several parts or exports may be given.", metavar="INVOICE..."),
    ],
    since: Annotated[
        str | None, typer.Option(help="Start: month `2026-10`, date or instant. [default: what the bills cover]", metavar="WHEN")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, exclusive. [default: end of the month, or of the bills]", metavar="WHEN")] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="What is compared: service, model, day. [default: service,model,day]", metavar="KEYS")
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option(help="What may differ: `0.5%`, `0.10 USD`, or both with a comma. [default: 0.5%]", metavar="HOW-MUCH")
    ] = None,
    cost: Annotated[
        str, typer.Option(help="`effective` (amortised, EffectiveCost) or `billed` (as invoiced, BilledCost).", metavar="BASIS")
    ] = "effective",
    form: Annotated[
        str | None,
        typer.Option("--format", help="Format of the bills: focus, cur, azure or gcp. [default: by their columns]", metavar="FORMAT"),
    ] = None,
    all_bills: Annotated[
        bool, typer.Option("--all", help="These are all bills there are: what the ledger has of other providers is extra, too.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Compare bills with the ledger: what agrees, what is missing, and where tokens or rates differ.

    Exit 0 when all agrees within the tolerance, 3 when something differs, 4 when rows were refused or nothing could be compared.
    """
    import os

    from penstock.config.load import load

    if json and csv:
        raise CommandError("--json and --csv exclude each other", "pass one of them", WRONG_USAGE)
    settings = load(config, os.environ)
    found = _reconciled(settings, invoices, form, _question(settings, (since, until), by, tolerance, cost, all_bills), quiet)
    _show(found, "json" if json else "csv" if csv else "table", output)
    if not quiet:
        _narrate(found)
    return _verdict(found)


def _question(
    settings: "Settings", span: tuple[str | None, str | None], by: list[str] | None, tolerance: str | None, cost: str, all_bills: bool
) -> "Question":
    import time

    from penstock.finops.bills import reconcile as law
    from penstock.finops.window import WindowError, window

    try:
        keys, allowed = law.keys(by), law.tolerance(tolerance)
        (since, until), start, end = span, None, None
        if since is not None:
            # a start alone reaches to the end of its month, or of the bills
            asked = window(since, until, now_ns=time.time_ns(), timezone=settings.server.timezone)
            start, end = asked.since_ns, asked.until_ns if until is not None or _is_month(since) else None
        elif until is not None:
            end = window("1970-01-01", until, now_ns=time.time_ns(), timezone=settings.server.timezone).until_ns
    except (law.ReconcileError, WindowError) as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    if cost not in ("effective", "billed"):
        raise CommandError(f"`--cost {cost}` is not known", "write effective or billed", WRONG_USAGE)
    basis: Basis = "billed" if cost == "billed" else "effective"
    return law.Question(by=keys, tolerance=allowed, basis=basis, all=all_bills, since_ns=start, until_ns=end)


def _is_month(since: str) -> bool:
    return len(since.strip()) == len("2026-10")


def _reconciled(settings: "Settings", invoices: Sequence[Path], form: str | None, question: "Question", quiet: bool) -> "Reconciliation":
    import time

    from penstock import bootstrap
    from penstock.adapters.bills.detecting import WORDS
    from penstock.adapters.bills.reading import Bill
    from penstock.finops.bills.reconcile import reconcile as compared
    from penstock.ports.bill_source import BillError

    if form is not None and form not in WORDS:
        raise CommandError(f"`--format {form}` is not known", f"take {', '.join(WORDS)}", WRONG_USAGE)
    sources = [Bill(path, form) for path in invoices]
    size = sum(path.stat().st_size for path in invoices)
    try:
        with bootstrap.open_books(settings, time.time_ns()) as books, progress(size, quiet) as watch:
            return compared(books, sources, question, watch)
    except BillError as problem:
        raise CommandError(str(problem), problem.hint) from None


@contextmanager
def progress(size: int, quiet: bool) -> "Iterator[Callable[[BillSource], None]]":
    """Hears of sources while they are read; draws a bar on a terminal when there is much to read."""
    from penstock.cli.output import stderr_console

    console = stderr_console()
    if quiet or size < SLOW_BYTES or not console.is_terminal:
        yield lambda source: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=size)
        done: dict[int, int] = {}

        def show(source: "BillSource") -> None:
            done[id(source)] = source.progress()[0]
            bar.update(task, completed=sum(done.values()))

        yield show


def _show(found: "Reconciliation", form: str, output: Path | None) -> None:
    import sys
    from contextlib import nullcontext

    import msgspec

    from penstock.finops.bills.reconcile_report import reconcile_csv, reconcile_json

    with nullcontext(sys.stdout) if output is None else output.open("w", encoding="utf-8", newline="") as file:
        if form == "table":
            from penstock.cli.reconcile_table import print_reconciliation

            print_reconciliation(found, file)
        elif form == "csv":
            file.write(reconcile_csv(found))
        else:
            file.write(msgspec.json.format(msgspec.json.encode(reconcile_json(found)), indent=2).decode() + "\n")


def _narrate(found: "Reconciliation") -> None:
    for report in found.files:
        for line in told(report):
            say(line)
    for note in found.notes:
        say(f"note: {note}")


def told(report: "ReadReport") -> Iterator[str]:
    """What became of a file, in lines."""
    name = Path(report.path).name
    yield f"{name}: {report.format} ({report.container}), {report.read:,} of {report.rows:,} rows read, {report.charges:,} charges"
    for repair in report.repaired:
        columns = ", ".join(repair.columns[:3]) + (" ..." if len(repair.columns) > 3 else "")
        rows = ", ".join(map(str, repair.first_rows[:3])) + (" ..." if repair.count > 3 else "")
        yield f"  repaired {repair.count:,}: {repair.reason}" + (f" ({columns})" if columns else "") + f", rows {rows}"
    for reason, count in report.aside.items():
        yield f"  put aside {count:,}: {reason}"
    for reason, count in report.refused_by_reason.items():
        first = [str(each.row) for each in report.refusals if each.reason.startswith(reason)][:SHOWN_REFUSALS]
        yield f"  refused {count:,}: {reason}, rows {', '.join(first)}" + (" ..." if count > SHOWN_REFUSALS else "")
    if report.left_out:
        yield f"  left out: {', '.join(report.left_out)} (no columns of FOCUS, and not `x_`)"
    for note in (*report.notes, *([f"{report.broken}: what came before is read"] if report.broken else [])):
        yield f"  {note}"


def _verdict(found: "Reconciliation") -> int:
    if not found.complete:
        if found.foreign and not found.groups:
            complain(
                f"nothing could be compared: the bill is in {', '.join(sorted(found.foreign))}, the ledger in USD", "ask for it in USD"
            )
        elif found.empty:
            complain("nothing could be compared: the ledger is empty", "see that `[server] store` names the ledger of the traffic")
        elif found.without_cost or not all(report.complete for report in found.files):
            complain(f"the comparison is incomplete: {found.gap}", "mend or fetch the files again", "warning")
        else:
            complain(
                "nothing could be compared", "give `--since` and `--until`, and see that the config names the bill's models and instances"
            )
        return INCOMPLETE
    return PROBLEMS_FOUND if found.differences else FINE
