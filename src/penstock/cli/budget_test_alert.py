"""`penstock budget test-alert`: whether messages arrive, asked before it matters."""

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, ConfigOption, JsonOption, QuietOption
from penstock.cli.output import FAILED, WRONG_USAGE, CommandError, complain, print_json, say

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.ports.notifier import Message, NotifyError


def send_test(
    budget: Annotated[str | None, typer.Argument(help="Only those who hear of this budget; none: every [notify.*].")] = None,
    notify: Annotated[list[str] | None, typer.Option(help="Only this [notify.*]; repeatable.", metavar="NAME")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would be told, and tell nobody.")] = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Send a test message now, and say for each receiver whether it took it.

    `penstock budget test-alert --notify finops`. Exit code 1: one of them did not.
    """
    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.finops.alerting.delivery import tell_now

    settings = load(config, os.environ)
    names = _chosen(settings, budget, notify or [])
    notifiers = bootstrap.open_notifiers(settings, os.environ)
    if dry_run:
        _show_plan(settings, names, json, quiet)
        return
    troubles = tell_now({name: notifiers[name] for name in names}, _message(budget))
    if json:
        print_json({"dry_run": False, "sent": [_row(settings, name, trouble) for name, trouble in troubles.items()]})
    for name, trouble in troubles.items():
        if trouble is not None:
            complain(f"[notify.{name}] did not take it: {trouble}", trouble.hint)
        elif not json:
            typer.echo(f"[notify.{name}] took it")
    if any(troubles.values()):
        raise typer.Exit(FAILED)


def _row(settings: "Settings", name: str, trouble: "NotifyError | None") -> dict[str, Any]:
    reason = None if trouble is None else str(trouble)
    return {"notify": name, "kind": settings.notify[name].kind, "delivered": trouble is None, "reason": reason}


def _chosen(settings: "Settings", budget: str | None, notify: list[str]) -> list[str]:
    from penstock.config.problems import nearest
    from penstock.config.spending import Alert

    if not settings.notify:
        raise CommandError("nobody can be told: there is no [notify.*]", "add one: see docs/howto/alerts.md", WRONG_USAGE)
    for name in notify:
        if name not in settings.notify:
            raise CommandError(f"there is no [notify.{name}]", nearest(name, settings.notify, "see the configuration"), WRONG_USAGE)
    if budget is None:
        return list(dict.fromkeys(notify)) or list(settings.notify)
    found = next((each for each in settings.budgets if each.name == budget), None)
    if found is None:
        hint = nearest(budget, [each.name for each in settings.budgets], "see the configuration")
        raise CommandError(f"there is no budget `{budget}`", hint, WRONG_USAGE)
    named = [name for mark in found.alert_at if isinstance(mark, Alert) for name in mark.notify]
    hearing = [name for name in dict.fromkeys([*found.notify, *named]) if not notify or name in notify]
    if not hearing:
        raise CommandError(f"nobody would hear of budget `{budget}`", "give it notify = [...]", WRONG_USAGE)
    return hearing


def _message(budget: str | None) -> "Message":
    from penstock.ports.notifier import Message

    now = time.time_ns()
    labels = {"alertname": "PenstockTest"} | ({} if budget is None else {"budget": budget})
    return Message(
        id=f"test/{now}",
        at_ns=now,
        subject="Penstock: a test message",
        text="Messages of Penstock arrive here. Nothing is wrong: somebody ran `penstock budget test-alert`.",
        labels=labels,
    )


def _show_plan(settings: "Settings", names: list[str], json: bool, quiet: bool) -> None:
    kinds: dict[str, Any] = {name: settings.notify[name].kind for name in names}
    if json:
        print_json({"dry_run": True, "sent": [{"notify": name, "kind": kind} for name, kind in kinds.items()]})
        return
    for name, kind in kinds.items():
        say(f"would send a test message to [notify.{name}] ({kind})", quiet)
