"""`penstock bill`: who pays what for a month, as a table, one HTML file, CSV, JSON or FOCUS; frozen once the month is closed."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption, OutputOption, QuietOption
from penstock.cli.output import FINE, WRONG_USAGE, CommandError, complain, say

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.config.settings import Settings
    from penstock.domain.ledger.sharing import Rule
    from penstock.finops.bills.document import Bill
    from penstock.finops.bills.focus import ExportVersion

FORMATS = ("table", "html", "csv", "json", "focus")
RULES = ("separate", "proportional", "even")
FOCUS_VERSIONS = ("1.4", "1.2")


def register(app: typer.Typer) -> None:
    app.command("bill", rich_help_panel=MONEY)(bill)


def bill(
    month: Annotated[str, typer.Argument(help="Calendar month, such as `2026-10`, in the server's zone.", metavar="MONTH")],
    form: Annotated[
        str | None, typer.Option("--format", help="`table`, `html`, `csv`, `json` or `focus`. [default: table]", metavar="FORMAT")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Keys to bill by, with commas between them. [default: `[bill] by`]", metavar="KEYS")
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(
            help="Who pays what stands idle: `separate` (nobody), `proportional` or `even`. [default: `[bill] idle`]", metavar="RULE"
        ),
    ] = None,
    focus_version: Annotated[
        str | None, typer.Option(help="Columns of `--format focus`: 1.4 or 1.2. [default: 1.4]", metavar="VERSION")
    ] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Bill a month on to teams: every dollar once, down to the last nano-USD.

    A closed month gives its frozen bill, an open one a draft: `penstock bill 2026-10 --format html --output october.html`.
    """
    import os

    from penstock.config.load import load

    chosen = _one_of("--format", ("json" if json else "table") if form is None else form, FORMATS)
    if json and chosen != "json":
        raise CommandError(f"--json and --format {chosen} exclude each other", "pass one of them", WRONG_USAGE)
    version = cast("ExportVersion", _one_of("--focus-version", focus_version or FOCUS_VERSIONS[0], FOCUS_VERSIONS))
    if focus_version is not None and chosen != "focus":
        raise CommandError(f"--focus-version {version} goes with --format focus, not {chosen}", "add `--format focus`", WRONG_USAGE)
    rule = None if idle is None else cast("Rule", _one_of("--idle", idle, RULES))
    settings = load(config, os.environ)
    made = bill_figures(settings, month, by=by, rule=rule)
    _show(made, chosen, version, output)
    if not quiet:
        _narrate(made, chosen, output)
        _doubt_keys(made, settings)
    return FINE


def bill_figures(settings: "Settings", month: str, *, by: list[str] | None = None, rule: "Rule | None" = None) -> "Bill":
    """The bill of a month. Raises `CommandError` for words that cannot be read."""
    import time

    from penstock import bootstrap
    from penstock.finops.bills import bill as bills
    from penstock.finops.bills.document import BillingError
    from penstock.finops.costs import QueryError, cost_query

    now_ns = time.time_ns()
    try:
        span = bills.month_window(month, settings, now_ns)
        keys = None if by is None else cost_query(span, [key for group in by for key in group.split(",")]).by
    except (BillingError, QueryError) as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    try:
        with bootstrap.open_books(settings, now_ns) as books:
            return bills.bill(books, month, by=keys, rule=rule)
    except bills.FrozenError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    except BillingError as problem:
        raise CommandError(str(problem), problem.hint) from None


def _one_of(option: str, given: str, allowed: tuple[str, ...]) -> str:
    from penstock.config.problems import nearest

    if given not in allowed:
        raise CommandError(f"`{option} {given}` is not known", nearest(given, list(allowed), f"write {' or '.join(allowed)}"), WRONG_USAGE)
    return given


def _show(made: "Bill", form: str, version: "ExportVersion", output: "Path | None") -> None:
    import sys
    from contextlib import nullcontext

    text = None if form == "table" else written(made, form, version)
    with nullcontext(sys.stdout) if output is None else output.open("w", encoding="utf-8", newline="") as file:
        if text is None:
            from penstock.cli.bill_table import print_bill

            print_bill(made, file)
        else:
            file.write(text)


def written(made: "Bill", form: str, version: "ExportVersion") -> str:
    """The bill as text in one of its formats. Raises `CommandError` for a row that breaks FOCUS."""
    from penstock.finops.bills.document import BillingError, bill_bytes

    if form == "json":
        return bill_bytes(made).decode()
    if form == "csv":
        from penstock.finops.bills.sheet import bill_csv

        return bill_csv(made)
    if form == "html":
        from penstock.console.reports.bill import bill_html

        return bill_html(made)
    from penstock.finops.bills.focus import focus_csv

    try:
        return focus_csv(made, version)
    except BillingError as problem:
        raise CommandError(str(problem), problem.hint) from None


def _doubt_keys(made: "Bill", settings: "Settings") -> None:
    """Warns of keys that nothing on the bill has a value for: words that were mistyped, or tags that nobody sends."""
    from penstock.config.problems import nearest
    from penstock.domain.dialects.content import normal_tag
    from penstock.domain.ledger.grouping import PERIODS
    from penstock.domain.ledger.measures import DIMENSIONS

    known = [*map(normal_tag, settings.tags.declared), *PERIODS, *DIMENSIONS]
    for index, key in enumerate(made.by):
        if made.bearers and all(each.keys[index] is None for each in made.bearers):
            hint = "group by a key that it has" if key in known else nearest(key, known, "")
            complain(f"nothing in {made.month} has a value for `{key}`", hint, "warning")


def _narrate(made: "Bill", form: str, output: "Path | None") -> None:
    if output is not None:
        say(f"wrote {output}")
    if made.unknown:
        complain(
            f"not in the bill of {made.month}, because nobody knows it: {'; '.join(made.unknown)}",
            "give it a price where it lacks one (`penstock check` names models without); what is before the ledger stays unknown",
            "warning",
        )
    if made.draft and form in ("table", "html"):
        say(f"hint: this is a draft; `penstock close {made.month}` freezes it once the month is over")
