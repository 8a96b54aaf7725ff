"""`penstock close`: freezes the bill of a month, numbered, with a digest of what it was made from. Later corrections are later entries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, DryRunOption, JsonOption, QuietOption, YesOption
from penstock.cli.output import FINE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, complain, confirm, print_json, say

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.domain.ledger.entries import Close
    from penstock.finops.bills.closing import Obstacle
    from penstock.finops.bills.document import Bill
    from penstock.finops.window import Window


def register(app: typer.Typer) -> None:
    app.command("close", rich_help_panel=MONEY)(close)


def close(
    month: Annotated[str, typer.Argument(help="Calendar month, such as `2026-10`, in the server's zone.", metavar="MONTH")],
    allow_unknown: Annotated[
        bool,
        typer.Option(
            "--allow-unknown",
            help="Close even where something has no known cost, or the ledger begins within the month: the bill says so.",
        ),
    ] = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    quiet: QuietOption = False,
) -> int:
    """Close a month: its bill gets a number and is frozen.

    What becomes known of it later is billed as a correction, in the next open month. Closing twice changes nothing.
    """
    import os

    from penstock.config.load import load
    from penstock.finops.bills.closing import not_known

    settings = load(config, os.environ)
    span = _span(settings, month)
    if found := _standing(settings, span):
        return _tell_closed(found, json, quiet)
    ready = _obstacles(settings, span)
    if not ready and not dry_run:
        _allocate(settings, quiet)
    ready += [] if ready else _late_obstacles(settings, span, dry_run, quiet)
    if ready:
        return _refuse(ready, span)
    with _progress(settings, span, quiet) as tick:
        frozen, bill = _frozen(settings, span, tick)
    if missing := [each for each in not_known(bill) if each.always or not allow_unknown]:
        return _refuse(missing, span)
    if dry_run:
        return _tell(frozen, bill, json, quiet, "would close")
    if not confirm(f"close {frozen.month} for good, with {_total(bill)} USD?", yes):
        return FINE
    return _tell(_put(settings, frozen, span), bill, json, quiet, "closed")


def _span(settings: "Settings", month: str) -> "Window":
    import time

    from penstock.finops.bills.bill import month_window
    from penstock.finops.bills.document import BillingError

    try:
        return month_window(month, settings, time.time_ns())
    except BillingError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None


def _standing(settings: "Settings", span: "Window") -> "Close | None":
    from penstock import bootstrap
    from penstock.finops.bills.closing import frozen_close

    with bootstrap.open_reading(settings) as (snapshot, _):
        return frozen_close(snapshot.costs.closes(), span.label)


def _obstacles(settings: "Settings", span: "Window") -> "list[Obstacle]":
    import time

    from penstock import bootstrap
    from penstock.finops.bills.closing import obstacles

    with bootstrap.open_reading(settings) as (snapshot, reader):
        return obstacles(snapshot, reader, span, time.time_ns())


def _late_obstacles(settings: "Settings", span: "Window", dry_run: bool, quiet: bool) -> "list[Obstacle]":
    """Hours that are still open after the allocation had its turn; a dry run only tells of them."""
    import time

    from penstock import bootstrap
    from penstock.finops.bills.closing import open_hours, open_hours_obstacle

    with bootstrap.open_books(settings, time.time_ns()) as books:
        hours = open_hours(books, span)
    if hours and dry_run:
        say(f"would first allocate {len(hours):,} hours of own fleets", quiet)
    return [open_hours_obstacle(hours)] if hours and not dry_run else []


def _allocate(settings: "Settings", quiet: bool) -> None:
    """Splits the hours of own fleets that nobody has split yet, as the controller would."""
    import time

    from penstock import bootstrap

    if not settings.fleets:
        return
    with bootstrap.open_allocator(settings) as allocator:
        done = 0
        while taken := allocator.step(time.time_ns()):
            done += taken
    if done:
        say(f"allocated {done:,} hours of own fleets", quiet)


def _frozen(settings: "Settings", span: "Window", tick: Callable[[int], None]) -> "tuple[Close, Bill]":
    import time

    from penstock import bootstrap
    from penstock.finops.bills.closing import freeze
    from penstock.finops.bills.document import BillingError

    with bootstrap.open_books(settings, time.time_ns()) as books:
        try:
            return freeze(books, span, books.ledger.snapshot.costs.closes(), tick)
        except BillingError as problem:
            raise CommandError(str(problem), problem.hint) from None


def _put(settings: "Settings", frozen: "Close", span: "Window") -> "Close":
    """Writes the close, and who did so; when somebody else closed the month meanwhile, theirs stands."""
    from penstock import bootstrap
    from penstock.cli.audit import actor
    from penstock.finops.audit import month_closed
    from penstock.ports.usage_store import StoreError

    try:
        bootstrap.open_costs(settings).put_close(frozen)
    except StoreError:
        if (other := _standing(settings, span)) is None:
            raise
        return other
    bootstrap.open_audit(settings).write(month_closed(frozen, actor(), frozen.closed_ns))
    return frozen


@contextmanager
def _progress(settings: "Settings", span: "Window", quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar over the records that go into the digest, on terminals alone."""
    from penstock.cli.output import stderr_console

    console = stderr_console()
    if quiet or not console.is_terminal:
        yield lambda records: None
        return
    from rich.progress import Progress

    from penstock import bootstrap
    from penstock.domain.ledger.measures import CostQuery, lines

    with bootstrap.open_reading(settings) as (snapshot, _):
        sums = snapshot.sums(CostQuery(since_ns=span.since_ns, until_ns=span.until_ns))
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading the month's records", total=sum(lines(each) + each.refused for _, each in sums))
        yield lambda records: bar.advance(task, records)


def _refuse(found: "list[Obstacle]", span: "Window") -> int:
    for each in found:
        complain(f"{span.label} cannot be closed: {each.what}", each.hint)
    return PROBLEMS_FOUND


def _total(bill: "Bill") -> str:
    from penstock.domain.units import format_usd

    return format_usd(bill.total_usd)


def _tell_closed(found: "Close", json: bool, quiet: bool) -> int:
    say(f"{found.month} is closed already", quiet)
    return _print(found, json, "closed")


def _tell(frozen: "Close", bill: "Bill", json: bool, quiet: bool, verb: str) -> int:
    from penstock.domain.units import format_usd
    from penstock.finops.bills.covering import covers

    if told := covers(bill):
        complain(f"the bill {told}", None, "warning")
    for clause in bill.unknown:
        complain(f"not in the bill, because nobody knows it: {clause}", None, "warning")
    if bill.corrections:
        corrected = sum(each.usd for each in bill.corrections)
        months = ", ".join(dict.fromkeys(each.month for each in bill.corrections))
        say(f"corrects {months} by {format_usd(corrected)} USD", quiet)
    code = _print(frozen, json, verb)
    if verb == "closed":
        say(f"hint: `penstock bill {frozen.month} --format html --output bill-{frozen.month}.html`", quiet)
    return code


def _print(frozen: "Close", json: bool, verb: str) -> int:
    import sys

    from penstock.domain.units import format_usd
    from penstock.finops.window import iso

    if json:
        print_json(
            {
                "closed": verb == "closed",
                "number": frozen.number,
                "month": frozen.month,
                "timezone": frozen.timezone,
                "since": iso(frozen.since_ns),
                "until": iso(frozen.until_ns),
                "closed_at": iso(frozen.closed_ns),
                "inputs_sha256": frozen.inputs_sha256,
                "total_usd": format_usd(frozen.total),
            }
        )
    else:
        sys.stdout.write(f"{verb} {frozen.month} as bill {frozen.number}: {format_usd(frozen.total)} USD\n")
        sys.stdout.write(f"inputs sha256 {frozen.inputs_sha256}\n")
    return FINE
