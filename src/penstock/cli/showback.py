"""`penstock showback`: the review of a week, a month or any window, beside the one before, as a table, one HTML file or JSON."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption, OutputOption, QuietOption
from penstock.cli.output import FINE, WRONG_USAGE, CommandError, say

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.config.settings import Settings
    from penstock.finops.showback.document import Showback
    from penstock.finops.showback.window import Review

FORMATS = ("table", "html", "json")


def register(app: typer.Typer) -> None:
    app.command("showback", rich_help_panel=MONEY)(showback)


def showback(
    weekly: Annotated[bool, typer.Option("--weekly", help="The last whole week, Monday to Sunday. [default]")] = False,
    monthly: Annotated[bool, typer.Option("--monthly", help="The last whole calendar month.")] = False,
    since: Annotated[str | None, typer.Option(help="Any window instead: `30d`, `2026-10`, a date or a time.", metavar="WHEN")] = None,
    until: Annotated[str | None, typer.Option(help="End of that window, exclusive. [default: now]", metavar="WHEN")] = None,
    form: Annotated[str | None, typer.Option("--format", help="`table`, `html` or `json`. [default: table]", metavar="FORMAT")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> int:
    """Review what AI costs: spend against usage, training, unit costs, hardware by team, savings, procurement.

    Each figure stands beside that of the window before: `penstock showback --weekly --format html --output review.html`.
    """
    import os

    from penstock.config.load import load
    from penstock.config.problems import nearest

    chosen = ("json" if json else "table") if form is None else form
    if chosen not in FORMATS:
        hint = nearest(chosen, list(FORMATS), f"write one of {', '.join(FORMATS)}")
        raise CommandError(f"`--format {chosen}` is not known", hint, WRONG_USAGE)
    if json and chosen != "json":
        raise CommandError(f"--json and --format {chosen} exclude each other", "pass one of them", WRONG_USAGE)
    if weekly + monthly + (since is not None or until is not None) > 1:
        raise CommandError("--weekly, --monthly and --since/--until exclude each other", "pass one of them", WRONG_USAGE)
    made = review_figures(load(config, os.environ), monthly=monthly, since=since, until=until)
    _show(made, chosen, output)
    if not quiet:
        _narrate(made, output)
    return FINE


def review_figures(settings: "Settings", *, monthly: bool = False, since: str | None = None, until: str | None = None) -> "Showback":
    """The review as the ledger stands now. Raises `CommandError` for words that cannot be read."""
    import time

    from penstock import bootstrap
    from penstock.finops.showback import review as showback

    now_ns = time.time_ns()
    asked = _review(settings, now_ns, monthly, since, until)
    with bootstrap.open_books(settings, now_ns) as books:
        return showback.showback(books, asked)


def _review(settings: "Settings", now_ns: int, monthly: bool, since: str | None, until: str | None) -> "Review":
    from penstock.finops.showback.window import last_month, last_week, review_of
    from penstock.finops.window import WindowError, window

    zone = settings.server.timezone
    if since is None and until is None:
        return last_month(now_ns, zone) if monthly else last_week(now_ns, zone)
    try:
        span = window(since, until, now_ns=now_ns, timezone=zone)
        if span.since_ns >= now_ns:
            raise WindowError("the window has not begun", "review one that has")
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    return review_of(span, now_ns)


def _show(made: "Showback", form: str, output: "Path | None") -> None:
    import sys
    from contextlib import nullcontext

    with nullcontext(sys.stdout) if output is None else output.open("w", encoding="utf-8") as file:
        if form == "html":
            from penstock.console.reports.showback import showback_html

            file.write(showback_html(made))
        elif form == "json":
            from penstock.finops.showback.document import showback_bytes

            file.write(showback_bytes(made).decode())
        else:
            from penstock.cli.showback_table import print_showback

            print_showback(made, file)


def _narrate(made: "Showback", output: "Path | None") -> None:
    if output is not None:
        say(f"wrote {output}")
    if not made.window.days:
        say(f"the ledger knows nothing of {made.label}")
        say("hint: review what it knows with `--since 7d`")
