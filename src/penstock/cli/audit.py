"""`penstock audit`: who changed what and when: keys, recorded costs, closed months, budgets and limits, automatic responses."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, RUN, ConfigOption, JsonOption
from penstock.cli.output import WRONG_USAGE, CommandError, print_json, say, stdout_console

if TYPE_CHECKING:
    from penstock.ports.audit_log import AuditEntry


def register(app: typer.Typer) -> None:
    app.command("audit", rich_help_panel=RUN)(audit)


def audit(
    since: Annotated[str | None, typer.Option(help="Changes from then on. [default: 30d]", metavar="WHEN")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest so many. [default: all]", metavar="NUMBER")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
) -> None:
    """List what was changed, newest first: by whom, from what to what. Nothing removes an entry."""
    import os

    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.finops.audit import entry_json
    from penstock.finops.window import WindowError, window

    settings = load(config, os.environ)
    try:
        span = window(since, None, now_ns=time.time_ns(), timezone=settings.server.timezone)
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    found = bootstrap.open_audit(settings).since(span.since_ns, limit)
    if json:
        print_json({"entries": [entry_json(each) for each in found]})
    elif found:
        _print_table(found)
    else:
        say(f"nothing was changed ({span.label})")


def actor() -> str:
    """Who runs this command, for the audit log: `cli:<user of this system>`."""
    import getpass
    import os

    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        return f"cli:uid-{os.getuid()}"


def _print_table(found: "Sequence[AuditEntry]") -> None:
    from rich import box
    from rich.table import Table

    from penstock.cli.cost_table import printable
    from penstock.finops.window import iso

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("at", "actor", "action", "subject", "details"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "at")
    for each in found:
        cells = (each.actor, each.action, each.subject, _described(each.details))
        table.add_row(iso(each.at_ns // 10**9 * 10**9), *map(printable, cells))
    stdout_console().print(table)


def _described(details: Mapping[str, Any]) -> str:
    """`tags: team=search; budget: 50 USD / month`; a change as before -> after."""
    if details.keys() == {"before", "after"}:
        return f"{_value(details['before'])} -> {_value(details['after'])}"
    return "; ".join(f"{name}: {_value(value)}" for name, value in details.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_value(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return "none" if value is None else str(value)
