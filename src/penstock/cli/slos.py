"""`penstock slos`: where each objective stands, what its responses do, and what they have saved."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption
from penstock.cli.output import FINE, WRONG_USAGE, CommandError, print_json, say, stdout_console


def register(app: typer.Typer) -> None:
    app.command("slos", rich_help_panel=MONEY)(slos)


def slos(
    since: Annotated[str, typer.Option(help="Responses that began from then on: `24h`, `30d`, `2026-10`, a date.", metavar="WHEN")] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say also what each objective would do if it were missed now.")] = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
) -> int:
    """Where objectives stand: CP1KT against the target, the responses that stand, and what responses have saved.

    Measured on the ledger now. Responses are begun and ended by `penstock serve` alone; nothing is written here.
    """
    import os

    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.finops.objectives.report import slos_json
    from penstock.finops.window import WindowError, window

    settings, now_ns = load(config, os.environ), time.time_ns()
    try:
        begin = window(since, None, now_ns=now_ns, timezone=settings.server.timezone).since_ns
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    documents = bootstrap.open_documents(settings)
    with bootstrap.open_books(settings, now_ns) as books:
        told = slos_json(books, bootstrap.price_book(settings), documents, begin, would=dry_run)
    if json:
        print_json(told)
    else:
        _show(told)
    return FINE


def _show(told: Mapping[str, Any]) -> None:
    if not told["objectives"]:
        say("there are no objectives: add [[slos]] to the config")
    for objective in told["objectives"]:
        _show_objective(objective)
    if told["ended"]:
        _show_responses("ended", told["ended"])


def _show_objective(objective: Mapping[str, Any]) -> None:
    console = stdout_console()
    state = objective["state"] + (f" since {objective['missed_since']}" if objective["missed_since"] else "")
    console.print(f"{objective['objective']}: {state}", style="bold", soft_wrap=True)
    console.print(f"  target <= {objective['target_usd']} USD per 1,000 tokens ({objective['basis']})", soft_wrap=True)
    for name, label in (("long", "over its window"), ("short", "lately")):
        reading = objective[name]
        measured, burn = reading["cp1kt_usd"] or "unknown", "unknown" if reading["burn_rate"] is None else f"{reading['burn_rate']:.2f}"
        console.print(f"  {label}: CP1KT {measured}, burn rate {burn}, {reading['requests']:,} requests", soft_wrap=True)
    if objective["evaluated"] is None:
        console.print("  `penstock serve` has not evaluated it yet", soft_wrap=True)
    if objective["responses"]:
        _show_responses("stands" if not objective["dry_run"] else "would stand (dry_run)", objective["responses"])
    for each in objective.get("would", ()):
        expected = each["expected_usd"] or "unknown"
        console.print(
            f"  would begin: {each['response']}, expected to save {expected} USD a window ({each['expected_note']})", soft_wrap=True
        )


def _show_responses(title: str, responses: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("since", "until", "response", "objective", "expected USD", "measured USD", "how it is measured"):
        table.add_column(heading, justify="right" if heading.endswith("USD") else "left", overflow="fold")
    for each in responses:
        until = "dry run" if each["dry_run"] else each["ended"] or "stands"
        expected, measured = each["expected_usd"] or "unknown", each["measured_usd"] or "unknown"
        since = each["since"].partition(".")[0]
        table.add_row(since, until.partition(".")[0], each["response"], each["objective"], expected, measured, each["measured_note"])
    stdout_console().print(table)
