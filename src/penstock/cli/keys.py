"""`penstock keys`: make, list and revoke the API keys that carry a caller's tags. A secret is shown once, and never stored."""

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, RUN, ConfigOption, DryRunOption, JsonOption, QuietOption, YesOption
from penstock.cli.output import WRONG_USAGE, CommandError, confirm, print_json, say, stdout_console

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.ports.key_store import ApiKey, KeyStore

PREFIX = "psk_"
SHOWN = len(PREFIX) + 6


def register(app: typer.Typer) -> None:
    keys = typer.Typer(help="Make, list and revoke API keys.", rich_markup_mode="rich")
    keys.command("create")(create)
    keys.command("list")(list_)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys", rich_help_panel=RUN)


def create(
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag of every request made with this key; repeatable.", metavar="NAME=VALUE")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model or route that it may ask for; repeatable; none: all.", metavar="NAME")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Time after which it is refused, such as `90d`.", metavar="DURATION")] = None,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a key and print its secret, once.

    Tags of the key are stronger than what a client says: `penstock keys create --tag team=search`.
    """
    from penstock.ports.key_store import ApiKey, fingerprint

    settings, store = _open(config)
    secret, now = PREFIX + secrets.token_hex(24), time.time_ns()
    key = ApiKey(
        id="key_" + secrets.token_hex(4),
        prefix=secret[:SHOWN],
        sha256=fingerprint(secret),
        created_ns=now,
        tags=_tags(settings, tag or ()),
        models=_models(settings, model or ()),
        expires_ns=_expiry(expires, now),
    )
    if dry_run:
        _show_plan(key, now, json, quiet)
        return
    store.add(key)
    if json:
        print_json({"secret": secret} | _public(key, now))
    else:
        typer.echo(secret)
        say(f"made {key.id} ({_described(key.tags) or 'no tags'}); this is the only time its secret is shown", quiet)


def list_(config: ConfigOption = CONFIG_FILE, json: JsonOption = False) -> None:
    """List every key, revoked ones too; secrets are not known."""
    _, store = _open(config)
    now = time.time_ns()
    keys = [_public(key, now) for key in store.all()]
    if json:
        print_json({"keys": keys})
    elif not keys:
        say("no keys yet: make one with `penstock keys create --tag team=search`")
    else:
        _print_table(keys)


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `penstock keys list` shows it.")],
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    yes: YesOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Revoke a key for good. Running workers refuse it within seconds."""
    from penstock.config.problems import nearest

    _, store = _open(config)
    known = {key.id: key for key in store.all()}
    if key_id not in known:
        raise CommandError(f"there is no key `{key_id}`", nearest(key_id, list(known)[-5:], "see `penstock keys list`"))
    now = time.time_ns()
    if not dry_run and not confirm(f"revoke {key_id} ({_described(known[key_id].tags) or 'no tags'})?", yes):
        raise typer.Abort()
    if known[key_id].revoked_ns is not None or not (dry_run or store.revoke(key_id, now)):
        raise CommandError(f"{key_id} was revoked before", "nothing is left to do: see `penstock keys list`")
    if json:
        print_json({"id": key_id, "dry_run": True} if dry_run else {"id": key_id, "revoked": _instant(now)})
    say(f"{'would revoke' if dry_run else 'revoked'} {key_id}", quiet or json)


def _show_plan(key: "ApiKey", now_ns: int, json: bool, quiet: bool) -> None:
    """What `create` would make. Its id and secret are drawn anew each time, so neither is shown."""
    if json:
        print_json({"dry_run": True} | {name: value for name, value in _public(key, now_ns).items() if name not in ("id", "prefix")})
        return
    models, expires = ", ".join(key.models) or "all", _instant(key.expires_ns) or "never"
    say(f"would make a key: {_described(key.tags) or 'no tags'}; models: {models}; expires: {expires}", quiet)


def _open(config: Any) -> "tuple[Settings, KeyStore]":
    import os

    from penstock import bootstrap
    from penstock.config.load import load

    settings = load(config, os.environ)
    return settings, bootstrap.open_keys(settings)


def _tags(settings: "Settings", given: Sequence[str]) -> dict[str, str]:
    from penstock.config.problems import nearest
    from penstock.domain.dialects.content import allowed_value, normal_tag

    tags = {}
    allowed = settings.tags.allowed
    for text in given:
        name, equals, value = text.partition("=")
        name, value = normal_tag(name.strip()), value.strip()
        if not equals or not name or not value:
            raise CommandError(f"`{text}` is not a tag", "write it like `--tag team=search`", WRONG_USAGE)
        kept = allowed_value(value, allowed[name]) if name in allowed else value
        if kept is None:
            raise CommandError(f"tag `{name}` may not be `{value}`", nearest(value, allowed[name], "see [tags] allowed"), WRONG_USAGE)
        tags[name] = kept
    return tags


def _models(settings: "Settings", given: Sequence[str]) -> tuple[str, ...]:
    from penstock.config.problems import nearest

    known = [*settings.models, *settings.routes]
    for name in given:
        if name not in known:
            raise CommandError(f"there is no model or route `{name}`", nearest(name, known, "add it to the configuration"), WRONG_USAGE)
    return tuple(dict.fromkeys(given))


def _expiry(text: str | None, now_ns: int) -> int | None:
    from penstock.domain.units import Duration

    if text is None:
        return None
    duration = Duration.parse(text)
    if duration <= 0:
        raise CommandError("a key that has expired already is of no use", "write a time above 0, such as `--expires 90d`", WRONG_USAGE)
    return now_ns + int(duration * 1_000_000_000)


def _public(key: "ApiKey", now_ns: int) -> dict[str, Any]:
    """What may be shown of a key; times are ISO 8601 in UTC."""
    expired = key.expires_ns is not None and key.expires_ns <= now_ns
    return {
        "id": key.id,
        "prefix": key.prefix,
        "state": "revoked" if key.revoked_ns is not None else "expired" if expired else "active",
        "tags": key.tags,
        "models": list(key.models),
        "created": _instant(key.created_ns),
        "expires": _instant(key.expires_ns),
        "revoked": _instant(key.revoked_ns),
    }


def _instant(ns: int | None) -> str | None:
    return None if ns is None else datetime.fromtimestamp(ns // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")


def _described(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in tags.items())


def _print_table(keys: Sequence[Mapping[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "secret", "state", "expires", "tags", "models"):
        table.add_column(heading, overflow="fold", no_wrap=heading not in ("tags", "models"))
    for key in keys:
        expires = (key["expires"] or "never").partition("T")[0]
        models = ", ".join(key["models"]) or "all"
        table.add_row(key["id"], key["prefix"] + "...", key["state"], expires, _described(key["tags"]), models)
    stdout_console().print(table)
