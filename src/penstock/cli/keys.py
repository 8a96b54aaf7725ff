"""`penstock keys`: make, list, rotate and revoke the API keys with a caller's tags and limits. A secret is shown once, never stored."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.audit import actor
from penstock.cli.options import CONFIG_FILE, RUN, ConfigOption, DryRunOption, JsonOption, QuietOption, YesOption
from penstock.cli.output import FAILED, WRONG_USAGE, CommandError, confirm, print_json, say, stdout_console

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.finops.keys import Keys

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `penstock keys list` shows it.")]


def register(app: typer.Typer) -> None:
    keys = typer.Typer(help="Make, list, rotate and revoke API keys.", rich_markup_mode="rich")
    keys.command("create")(create)
    keys.command("list")(list_)
    keys.command("rotate")(rotate)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys", rich_help_panel=RUN)


def create(
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag of every request made with this key; repeatable.", metavar="NAME=VALUE")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model or route that it may ask for; repeatable; none: all.", metavar="NAME")
    ] = None,
    tier: Annotated[list[str] | None, typer.Option(help="Tier that it may be answered by; repeatable; none: all.", metavar="NAME")] = None,
    requests: Annotated[str | None, typer.Option(help="Requests, such as `600 / minute`.", metavar="RATE")] = None,
    tokens: Annotated[str | None, typer.Option(help="Input and output tokens, such as `100000 / minute`.", metavar="RATE")] = None,
    concurrent: Annotated[int | None, typer.Option(help="Requests under way at once.", metavar="NUMBER")] = None,
    budget: Annotated[str | None, typer.Option(help="What it may spend, such as `50 USD / month`: a hard cap.", metavar="LIMIT")] = None,
    expires: Annotated[str | None, typer.Option(help="Time after which it is refused, such as `90d`.", metavar="DURATION")] = None,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a key and print its secret, once.

    Tags of the key are stronger than what a client says: `penstock keys create --name ci --tag team=search --budget "50 USD / month"`.
    """
    from penstock.finops.keys import Asked, key_json

    with _told():
        asked = Asked(
            name=name, tags=_tags(tag or ()), models=tuple(model or ()), tiers=tuple(tier or ()), expires=expires,
            requests=requests, tokens=tokens, concurrent=concurrent, budget=budget,
        )  # fmt: skip
        made = _keys(config).make(asked, actor(), dry_run=dry_run)
    shown = key_json(made.key, made.key.created_ns)
    if dry_run:
        _show_plan(f"would make a key: {_described(made.key.tags) or 'no tags'}", shown, json, quiet)
    elif json:
        print_json({"secret": made.secret} | shown)
    else:
        typer.echo(made.secret)
        say(f"made {made.key.id} ({_described(made.key.tags) or 'no tags'}); this is the only time its secret is shown", quiet)


def list_(config: ConfigOption = CONFIG_FILE, json: JsonOption = False) -> None:
    """List every key, revoked ones too; secrets are not known. `--json` tells what keys with a budget have spent."""
    import os

    from penstock.config.load import load
    from penstock.finops.keys import key_json

    now, settings = time.time_ns(), load(config, os.environ)
    keys = [key_json(key, now) for key in _keys(config).listed()]
    if json:
        spent = _spent(settings, now)
        print_json({"keys": [key | {"spent_usd": spent.get(key["id"])} for key in keys]})
    elif not keys:
        say("no keys yet: make one with `penstock keys create --tag team=search`")
    else:
        _print_table(keys)


def rotate(
    key_id: IdArgument,
    grace: Annotated[str, typer.Option(help="How long the old secret still works; `0s`: not at all.", metavar="DURATION")] = "24h",
    expires: Annotated[
        str | None, typer.Option(help="Time after which the new key is refused. [default: as the old one's]", metavar="DURATION")
    ] = None,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Replace a key: a new secret with the same tags, models and limits, shown once.

    Both keys count against the same limits and the same budget, until the grace is over and only the new one works.
    """
    from penstock.finops.keys import Rotation, key_json

    with _told():
        made, old = _keys(config).rotate(key_id, Rotation(grace=grace, expires=expires), actor(), dry_run=dry_run)
    now = made.key.created_ns
    shown, replaced = key_json(made.key, now), key_json(old, now)
    if dry_run:
        _show_plan(f"would replace {key_id}, which works until {replaced['expires']}", shown, json, quiet)
    elif json:
        print_json({"secret": made.secret} | shown | {"replaced": replaced})
    else:
        typer.echo(made.secret)
        told = "is refused from now on" if replaced["state"] == "expired" else f"works until {replaced['expires']}"
        say(f"made {made.key.id} in the place of {key_id}, which {told}; this is the only time its secret is shown", quiet)


def revoke(
    key_id: IdArgument,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    yes: YesOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Revoke a key for good. Running workers refuse it within seconds; what is in flight is finished and counted."""
    from penstock.finops.keys import key_json

    keys = _keys(config)
    with _told():
        key = keys.revoke(key_id, actor(), dry_run=True)
        if not dry_run:
            if not confirm(f"revoke {key_id} ({_described(key.tags) or 'no tags'})?", yes):
                raise typer.Abort()
            key = keys.revoke(key_id, actor())
    if json:
        revoked = key_json(key, time.time_ns())["revoked"]
        print_json({"id": key_id, "dry_run": True} if dry_run else {"id": key_id, "revoked": revoked})
    say(f"{'would revoke' if dry_run else 'revoked'} {key_id}", quiet or json)


@contextmanager
def _told() -> Iterator[None]:
    """What the law of keys refuses, as errors of this command."""
    from penstock.finops.keys import KeyProblem

    try:
        yield
    except KeyProblem as problem:
        code = WRONG_USAGE if problem.kind == "input" else FAILED
        raise CommandError(_option_words(str(problem)), _option_words(problem.hint), code) from None


def _option_words(text: str) -> str:
    """A message about words of HTTP, in those of the command line."""
    for word in ("name", "requests", "tokens", "concurrent", "budget", "expires", "grace"):
        text = text.replace(f"`{word}`", f"`--{word}`").replace(f"`{word} ", f"`--{word} ")
    return text.replace("write it like team=search", "write it like `--tag team=search`")


def _keys(config: Path) -> "Keys":
    import os

    from penstock import bootstrap
    from penstock.config.load import load

    return bootstrap.key_keeper(load(config, os.environ))


def _spent(settings: "Settings", now_ns: int) -> dict[str, str | None]:
    """Key -> USD of its budget's period, of all its chain, as a decimal string; None: unknown. Only keys with a budget that counts."""
    from penstock import bootstrap
    from penstock.finops.budgets.status_json import amount_text

    of_keys = bootstrap.key_budgets(settings)
    if not (own := of_keys.found(now_ns)):
        return {}
    with bootstrap.open_books(settings, now_ns) as books:
        found = [each.status for each in of_keys.standings(books, own)]
    return {key: amount_text(status.spent, status.unit) for status in found for key in status.keys}


def _tags(given: Iterable[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"`{text}` is not a tag", "write it like `--tag team=search`", WRONG_USAGE)
        if tags.get(name, value) != value:
            raise CommandError(f"tag `{name}` is given twice, and differently", "pass it once", WRONG_USAGE)
        tags[name] = value
    return tags


def _show_plan(what: str, key: Mapping[str, Any], json: bool, quiet: bool) -> None:
    """What would be made. Its id and secret are drawn anew each time, so neither is shown."""
    if json:
        drawn = ("id", "prefix", "account") if key["replaces"] is None else ("id", "prefix")
        print_json({"dry_run": True} | {name: value for name, value in key.items() if name not in drawn})
        return
    limits = f"; limits: {_limits(key)}" if _limits(key) else ""
    say(f"{what}; models: {_may_use(key)}{limits}; expires: {key['expires'] or 'never'}", quiet)


def _described(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in tags.items())


def _may_use(key: Mapping[str, Any]) -> str:
    models, tiers = ", ".join(key["models"]), ", ".join(key["tiers"])
    return " ".join(filter(None, (models or "all", tiers and f"(tiers: {tiers})")))


def _limits(key: Mapping[str, Any]) -> str:
    told = (
        key["requests"] and f"{key['requests']} requests",
        key["tokens"] and f"{key['tokens']} tokens",
        key["concurrent"] and f"{key['concurrent']} at once",
        key["budget"],
    )
    return ", ".join(each for each in told if each)


def _rotation(key: Mapping[str, Any]) -> str:
    told = (key["replaces"] and f"replaces {key['replaces']}", key["replaced_by"] and f"replaced by {key['replaced_by']}")
    return ", ".join(each for each in told if each)


def _print_table(keys: Sequence[Mapping[str, Any]]) -> None:
    """What no key has is no column."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cells = {
        "id": [key["id"] for key in keys],
        "name": [key["name"] or "" for key in keys],
        "secret": [key["prefix"] + "..." for key in keys],
        "state": [key["state"] for key in keys],
        "expires": [(key["expires"] or "never").partition("T")[0] for key in keys],
        "tags": [_described(key["tags"]) for key in keys],
        "models": [_may_use(key) for key in keys],
        "limits": [_limits(key) for key in keys],
        "rotation": [_rotation(key) for key in keys],
    }
    columns = {heading: column for heading, column in cells.items() if any(column) or heading == "tags"}
    for heading in columns:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("id", "secret", "state", "expires"))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    stdout_console().print(table)
