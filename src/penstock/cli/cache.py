"""`penstock cache`: what the semantic cache holds, and what people change in it: purge, pin, unpin."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.audit import actor
from penstock.cli.options import CONFIG_FILE, RUN, ConfigOption, DryRunOption, JsonOption, QuietOption, YesOption
from penstock.cli.output import FAILED, WRONG_USAGE, CommandError, confirm, print_json, say

if TYPE_CHECKING:
    from penstock.config.settings import Settings
    from penstock.finops.caching.finding import Wanted
    from penstock.finops.caching.following import AnswerLog
    from penstock.ports.audit_log import AuditLog

LONGEST_ANSWER = 1_000_000
"""bytes of a file with an answer"""
EntryArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the entry, as `penstock cache find` shows it.")]
IdOption = Annotated[list[str] | None, typer.Option("--id", help="Entry of this id, or its beginning; repeatable.", metavar="ID")]
WhereOption = Annotated[
    list[str] | None, typer.Option(help="Tag, or `model`, `upstream`, `tier`, `user`, `scope`; repeatable.", metavar="KEY=VALUE")
]
ScopeOption = Annotated[str | None, typer.Option(help="Of one scope, such as `tenant=acme`.", metavar="SCOPE")]
ModelOption = Annotated[str | None, typer.Option(help="Answers of one model.", metavar="NAME")]


def register(app: typer.Typer) -> None:
    cache = typer.Typer(help="Look into the semantic cache, and purge or pin answers.", rich_markup_mode="rich")
    cache.command("status")(status)
    cache.command("find")(find)
    cache.command("purge")(purge)
    cache.command("pin")(pin)
    cache.command("unpin")(unpin)
    app.add_typer(cache, name="cache", rich_help_panel=RUN)


def status(config: ConfigOption = CONFIG_FILE, json: JsonOption = False) -> None:
    """Show what the cache holds, what came of requests, and how often it was found to be wrong, by scope."""
    from penstock.cli.cache_table import print_status, status_json

    with _opened(config, learning=True) as (settings, log, _):
        told = status_json(settings, log, os.environ, time.time_ns())
    if json:
        print_json(told)
    else:
        print_status(told)


def find(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="A part of the question, or words that all stand in it.")] = None,
    where: WhereOption = None,
    entry: IdOption = None,
    scope: ScopeOption = None,
    model: ModelOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.", metavar="NUMBER")] = 20,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
) -> None:
    """List entries: those with the text as it stands first, then those that served most."""
    from penstock.cli.cache_table import print_entries
    from penstock.finops.caching.finding import found, kept_json

    now_ns, wanted = time.time_ns(), _wanted(text, where, entry, scope, model)
    with _opened(config) as (_, log, _audit):
        entries = found(log.standing, wanted)
    shown = [kept_json(kept, now_ns) for kept in entries[:limit]]
    if json:
        print_json({"found": len(entries), "entries": shown})
    elif shown:
        print_entries(shown)
        if len(entries) > limit:
            say(f"{len(entries) - limit:,} more: --limit {len(entries)} shows them")
    else:
        say("no entry of the cache is like that")


def purge(
    entry: IdOption = None,
    where: WhereOption = None,
    scope: ScopeOption = None,
    model: ModelOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every entry.")] = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    yes: YesOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take entries out for good, pinned ones too; what is given narrows it down. Running workers follow within a second."""
    from penstock.finops.caching import changing
    from penstock.finops.caching.finding import found

    wanted = _wanted(None, where, entry, scope, model)
    if wanted.everything != all_:
        problem = "--all goes with nothing else" if all_ else "nothing says which entries"
        raise CommandError(problem, "give --id, --where, --scope or --model, or --all for every entry", WRONG_USAGE)
    with _opened(config) as (_, log, audit):
        gone = found(log.standing, wanted)
        if gone and not dry_run:
            if not confirm(f"purge {_entries(len(gone))} of {len(log.standing.kept):,} from the cache?", yes):
                raise typer.Abort()
            changing.purge(log, audit, gone, wanted, actor(), time.time_ns())
    if json:
        print_json({"purged": [kept.id for kept in gone], **({"dry_run": True} if dry_run else {})})
    say(f"{'would purge' if dry_run else 'purged'} {_entries(len(gone))}", quiet or json)


def pin(
    entry_id: EntryArgument,
    answer: Annotated[Path | None, typer.Option(help="Text to answer with from now on, instead of the model's.", metavar="FILE")] = None,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Vouch for an answer: it serves everybody of its scope at once, does not expire, and goes last where there is no room."""
    from penstock.finops.caching import changing
    from penstock.finops.caching.finding import one

    text = None if answer is None else _text(answer)
    with _opened(config) as (_, log, audit), _told():
        kept = one(log.standing, entry_id)
        id = kept.id
        if not dry_run and text is not None:
            id = changing.pin_answer(log, audit, kept, text, actor(), time.time_ns())
        elif not dry_run:
            changing.vouch(log, audit, kept, True, actor(), time.time_ns())
    replaced = kept.id if id != kept.id else None
    if json:
        print_json({"id": id, "curated": True, "replaced": replaced, **({"dry_run": True} if dry_run else {})})
    told = f"{id} in the place of {replaced}" if replaced else id
    say(f"{'would pin' if dry_run else 'pinned'} {told}", quiet or json)


def unpin(
    entry_id: EntryArgument,
    dry_run: DryRunOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take back that an answer is vouched for: it expires and has to be confirmed as others."""
    from penstock.finops.caching import changing
    from penstock.finops.caching.finding import one

    with _opened(config) as (_, log, audit), _told():
        kept = one(log.standing, entry_id)
        if not kept.curated:
            raise CommandError(f"{kept.id} is not pinned", "`penstock cache find` shows which are")
        if not dry_run:
            changing.vouch(log, audit, kept, False, actor(), time.time_ns())
    if json:
        print_json({"id": kept.id, "curated": False, **({"dry_run": True} if dry_run else {})})
    say(f"{'would unpin' if dry_run else 'unpinned'} {kept.id}", quiet or json)


@contextmanager
def _opened(config: Path, *, learning: bool = False) -> "Iterator[tuple[Settings, AnswerLog, AuditLog]]":
    """Settings, the log of the cache read to its end, and the audit log. `learning`: what judges learned is followed as well."""
    from penstock import bootstrap
    from penstock.bootstrap.answers import answer_log, by_meaning
    from penstock.config.load import load

    settings = load(config, os.environ)
    log = answer_log(settings, say, whole=True, learning=learning and by_meaning(settings))
    try:
        log.follow()
        yield settings, log, bootstrap.open_audit(settings)
    finally:
        log.close()


@contextmanager
def _told() -> Iterator[None]:
    """Entries that cannot be found, as errors of this command."""
    from penstock.finops.caching.finding import FindError

    try:
        yield
    except FindError as problem:
        raise CommandError(str(problem), problem.hint, FAILED) from None


def _wanted(text: str | None, where: Iterable[str] | None, ids: Sequence[str] | None, scope: str | None, model: str | None) -> "Wanted":
    from penstock.finops.caching.finding import SHORTEST_ID, Wanted

    pairs: dict[str, Any] = {}
    for given in where or ():
        name, equals, value = given.partition("=")
        if not equals or not name:
            raise CommandError(f"--where `{given}` is not KEY=VALUE", "write it like `--where feature=chat`", WRONG_USAGE)
        pairs[name] = value
    for id in ids or ():
        if len(id) < SHORTEST_ID:
            raise CommandError(f"--id `{id}` is too short", f"write {SHORTEST_ID} characters or more", WRONG_USAGE)
    return Wanted(text=text or None, where=pairs, ids=tuple(ids or ()), scope=scope, model=model)


def _text(file: Path) -> str:
    data = file.read_bytes()
    if len(data) > LONGEST_ANSWER:
        raise CommandError(f"{file} is larger than {LONGEST_ANSWER:,} bytes", "an answer is a text for people to read", WRONG_USAGE)
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise CommandError(f"{file} is no text in UTF-8", "save it as UTF-8", WRONG_USAGE) from None
    if not text:
        raise CommandError(f"{file} is empty", "write the answer into it", WRONG_USAGE)
    return text


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
