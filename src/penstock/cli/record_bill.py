"""`penstock record bill`: charges of a bill that nothing else in the ledger stands for, as recorded costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import CONFIG_FILE, ConfigOption, DryRunOption, JsonOption, QuietOption
from penstock.cli.output import FINE, INCOMPLETE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, complain, print_json, say, stdout_console

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.domain.ledger.entries import Entry
    from penstock.finops.bills.import_entries import Imported
    from penstock.finops.bills.importing import Wanted

SLOW_ENTRIES = 500
"""so many to write get a progress bar"""
SHOWN = 3
_PLAIN_WIDTH = 1000


def bill(
    files: Annotated[
        list[Path],
        typer.Argument(help="Bills in any format that `penstock reconcile` reads; several parts are one bill.", metavar="FILE..."),
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these charges, by a column of FOCUS or a tag: `ServiceName=Amazon S3`, `team=search`. The same column again is "
            "one more value that passes; another column has to pass as well.",
            metavar="COLUMN=VALUE",
        ),
    ] = None,
    tags_from: Annotated[
        str | None, typer.Option(help="Tags of the charges that entries take over: `team,feature`. [default: none]", metavar="NAMES")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag of entries whose charges do not have it; repeatable.", metavar="NAME=VALUE")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Charges of that day (UTC) and later; a month is that month. [default: all]", metavar="WHEN")
    ] = None,
    until: Annotated[str | None, typer.Option(help="... and of days before that one. [default: all]", metavar="WHEN")] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Format of the bills: focus, cur, azure or gcp. [default: by their columns]", metavar="FORMAT"),
    ] = None,
    correct: Annotated[bool, typer.Option("--correct", help="Record what a restated bill differs in from an earlier import.")] = False,
    all_charges: Annotated[
        bool, typer.Option("--all", help="Also what requests, fleets and [costs.*] stand for: it is then counted twice.")
    ] = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
) -> int:
    """Record what a bill has and the ledger does not: storage, network, hardware that no fleet stands for.

    Each service, day (UTC) and choice of tags is an entry, which reports, budgets and alerts count. The same bill again records nothing.
    Exit 3 when the ledger stands against some of it (restated, imported otherwise, a closed month), 4 when rows could not be read.

    `penstock record bill october.csv.gz --tags-from team --where "ServiceName=Amazon Simple Storage Service"`
    """
    import os

    from penstock.config.load import load

    settings = load(config, os.environ)
    wanted = _wanted(settings, (where or (), tags_from, tag or ()), since, until, all_charges)
    found = _imported(settings, files, form, wanted, (correct, dry_run, quiet))
    if json:
        from penstock.finops.bills.import_report import import_json

        print_json(import_json(found, dry_run=dry_run))
    else:
        _print_table(found)
    _narrate(found, quiet)
    return _verdict(found, dry_run, quiet)


def _wanted(
    settings: "Settings",
    chosen: tuple[Sequence[str], str | None, Sequence[str]],
    since: str | None,
    until: str | None,
    all_charges: bool,
) -> "Wanted":
    import time

    from penstock.domain.bills.selecting import Selection, selector
    from penstock.domain.dialects.content import normal_tag
    from penstock.finops.bills.importing import DAY_NS, Wanted
    from penstock.finops.window import WindowError, window

    where, tags_from, tag = chosen
    filters: dict[str, set[str]] = {}
    for name, value in _pairs(where, "--where ServiceName=..."):
        filters.setdefault(selector(name), set()).add(value)
    names = sorted({normal_tag(name.strip()) for name in (tags_from or "").split(",") if name.strip()})
    selection = Selection(tuple((name, tuple(sorted(values))) for name, values in sorted(filters.items())), tuple(names))
    tags = {normal_tag(name): value for name, value in _pairs(tag, "--tag team=search")}
    begin, end = 0, 2**63 - 1
    try:
        if since is not None:
            asked = window(since, until, now_ns=time.time_ns(), timezone="UTC")
            whole = until is not None or len(since.strip()) == len("2026-10")
            begin, end = asked.since_ns // DAY_NS * DAY_NS, asked.until_ns if whole else end
        elif until is not None:
            end = window("1970-01-01", until, now_ns=time.time_ns(), timezone="UTC").until_ns
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    return Wanted(selection=selection, tags=tags, all=all_charges, since_ns=begin, until_ns=end)


def _pairs(given: Sequence[str], example: str) -> Iterator[tuple[str, str]]:
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise CommandError(f"`{text}` is no pair of a name and a value", f"write it like `{example}`", WRONG_USAGE)
        yield name, value


def _imported(settings: "Settings", files: Sequence[Path], form: str | None, wanted: "Wanted", how: tuple[bool, bool, bool]) -> "Imported":
    """Reads the bills, and unless it is a dry run records what is new."""
    import time

    from penstock import bootstrap
    from penstock.adapters.bills.detecting import WORDS
    from penstock.adapters.bills.reading import Bill
    from penstock.cli.reconcile import progress
    from penstock.finops.bills.import_entries import plan
    from penstock.finops.bills.importing import ImportingError, gather
    from penstock.finops.recording import RecordingError
    from penstock.ports.bill_source import BillError

    if form is not None and form not in WORDS:
        raise CommandError(f"`--format {form}` is not known", f"take {', '.join(WORDS)}", WRONG_USAGE)
    correct, dry_run, quiet = how
    sources, now_ns = [Bill(path, form) for path in files], time.time_ns()
    size = sum(path.stat().st_size for path in files)
    try:
        with bootstrap.open_books(settings, now_ns) as books:
            with progress(size, quiet) as watch:
                gathered = gather(books, sources, wanted, watch)
            reports = [source.report for source in sources]
            found = plan(books, gathered, wanted, reports, lambda: bootstrap.open_documents(settings), correct=correct)
    except (BillError, ImportingError) as problem:
        raise CommandError(str(problem), problem.hint) from None
    except RecordingError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    if not dry_run and found.entries:
        _write(settings, found, wanted, files, quiet)
    return found


def _write(settings: "Settings", found: "Imported", wanted: "Wanted", files: Sequence[Path], quiet: bool) -> None:
    """Records the entries, and one entry of the audit log for all that were: also when it is interrupted."""
    import time

    from penstock import bootstrap
    from penstock.cli.audit import actor
    from penstock.domain.units import format_usd
    from penstock.finops.audit import audit_entry
    from penstock.finops.bills.import_entries import write

    now_ns, audit = time.time_ns(), bootstrap.open_audit(settings)
    costs, documents = bootstrap.open_costs(settings), bootstrap.open_documents(settings)
    written: list[Entry] = []
    try:
        with _writing(len(found.entries), quiet) as tick:
            for entry in write(found, wanted, costs, documents, now_ns):
                written.append(entry)
                tick(len(written))
    finally:
        if written:
            total = format_usd(sum(entry.other_cost for entry in written))
            details = {"files": [path.name for path in files], "entries": len(written), "cost_usd": total}
            audit.write(audit_entry(actor(), "bill.import", written[0].id, now_ns, details))


@contextmanager
def _writing(count: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    from penstock.cli.output import stderr_console

    console = stderr_console()
    if quiet or count < SLOW_ENTRIES or not console.is_terminal:
        yield lambda done: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("recording", total=count)
        yield lambda done: bar.update(task, completed=done)


def _print_table(found: "Imported") -> None:
    """What became of all charges, in USD but where a line names another currency. Off a terminal nothing is cut or drawn."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from penstock.cli.cost_table import money, printable
    from penstock.domain.bills.explaining import counted

    console = stdout_console()
    plain = not console.is_terminal
    if plain:
        console = Console(highlight=False, markup=False, emoji=False, color_system=None, width=_PLAIN_WIDTH)
    rows = [(_STATES[state], _entries(count), amount) for state, count, amount in found.sums()]
    if not found.complete:
        rows = [("not recorded: not all of the bill is here", count, amount) for _, count, amount in rows]
    for (reason, currency), amount in sorted(found.left_out.items()):
        unit = "" if currency == "USD" else f" ({currency})"
        rows.append((f"left out: {reason}{unit}", counted(amount.charges, "charge"), amount.cost))
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2 if plain else 1, 0, 0))
    table.add_column(f"of {counted(found.gathered.charges, 'charge')}", overflow="fold")
    table.add_column("", no_wrap=True, justify="right")
    table.add_column("USD", no_wrap=True, justify="right")
    for (what, count, _), cell in zip(rows, money([amount for *_, amount in rows]), strict=True):
        table.add_row(printable(what), count, cell)
    console.print(table)


_STATES: Mapping[str, str] = {
    "new": "new",
    "correction": "differences to earlier imports",
    "known": "recorded before",
    "restated": "not recorded: restated",
    "retagged": "not recorded: other tags",
    "overlapping": "not recorded: imported otherwise",
    "closed": "not recorded: month closed",
}


def _narrate(found: "Imported", quiet: bool) -> None:
    from penstock.cli.cost_table import printable
    from penstock.cli.reconcile import told
    from penstock.domain.units import format_usd
    from penstock.finops.bills.import_entries import AGAINST
    from penstock.finops.window import iso

    for line in (line for report in found.files for line in told(report)):
        say(line, quiet)
    for note in found.notes:
        say(f"note: {note}", quiet)
    for reason, amount in found.gathered.twice.items():
        complain(f"{amount.charges:,} charges of {amount.cost:,.2f} USD are counted twice: {reason}", "leave out `--all`", "warning")
    for state, items in found.against.items():
        why, hint = AGAINST[state]
        complain(f"{_entries(len(items))} not recorded: {why}", hint)
        for item in items[:SHOWN]:
            there = "" if item.recorded is None else f", recorded {format_usd(item.recorded)}"
            tags = " ".join(f"{name}={value}" for name, value in item.entry.tags.items())
            named = " ".join(filter(None, (item.entry.name, iso(item.entry.since_ns)[:10], tags)))
            say(f"  {printable(named)}: billed {format_usd(item.billed)}{there} USD", quiet)


def _verdict(found: "Imported", dry_run: bool, quiet: bool) -> int:
    from penstock.finops.bills.importing import FOREIGN, UNCHOSEN, WITHOUT_COST, WITHOUT_TIME

    if not found.complete:
        complain(
            "nothing is recorded: not every row of the files could be read, and an entry is never changed",
            "mend the rows above or fetch the files again",
        )
        return INCOMPLETE
    verb = "would record" if dry_run else "recorded"
    if found.entries:
        say(f"{verb} {_entries(len(found.entries))}: `penstock record list` shows them", quiet)
    elif not found.items:
        unchosen = sum(amount.charges for (reason, _), amount in found.left_out.items() if reason == UNCHOSEN)
        if unchosen and unchosen == found.gathered.charges:
            complain("`--where` lets no charge pass", "see how the bill writes that column", "warning")
        else:
            say("there is nothing to record", quiet)
    lost = {reason for reason, _ in found.left_out} & {FOREIGN, WITHOUT_COST, WITHOUT_TIME}
    if FOREIGN in lost:
        complain(
            "charges in other currencies are not recorded: the ledger is in USD",
            "ask for the bill in USD, or choose by `--where BillingCurrency=USD`",
        )
    if found.against:
        return PROBLEMS_FOUND
    return INCOMPLETE if lost else FINE


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
