"""`penstock anomalies`: spend and use that strayed from the usual, why, what it cost; and what people say of it, which is learned."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, ConfigOption, JsonOption, QuietOption
from penstock.cli.output import FINE, WRONG_USAGE, CommandError, print_json, say

if TYPE_CHECKING:
    from penstock.finops.anomalies.book import Feedback, Found, Verdict

MOST_CAUSES = 3


def register(app: typer.Typer) -> None:
    commands = typer.Typer(help="List anomalies of spend and use, and say which were none.", rich_markup_mode="rich")
    commands.callback(invoke_without_command=True)(anomalies)
    commands.command("feedback")(feedback)
    app.add_typer(commands, name="anomalies", rich_help_panel=MONEY)


def anomalies(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="Those that went on from then on: `24h`, `30d`, `2026-10`, a date.", metavar="WHEN")] = "7d",
    until: Annotated[str | None, typer.Option(help="Those that began before then. [default: now]", metavar="WHEN")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """List anomalies, newest first: what strayed from the usual, what it cost beyond it, and which dimension moved.

    `penstock serve` watches every team, feature and model, every five minutes; nothing is looked for here.
    """
    import os

    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.finops.anomalies.words import anomaly_json
    from penstock.finops.window import WindowError, iso, window

    if context.invoked_subcommand is not None:
        return FINE
    settings, now_ns = load(config, os.environ), time.time_ns()
    try:
        span = window(since, until, now_ns=now_ns, timezone=settings.server.timezone)
    except WindowError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    book = bootstrap.open_anomalies(settings)
    found, said = book.since(span.since_ns, span.until_ns), book.feedback()
    if json:
        window_json = {"since": iso(span.since_ns), "until": iso(span.until_ns), "timezone": span.timezone, "label": span.label}
        print_json({"window": window_json, "anomalies": [anomaly_json(each, said.get(each.id)) for each in found]})
        return FINE
    for each in found:
        _show(each, said, now_ns)
    if not found:
        say(f"no anomaly was found ({span.label})", quiet)
    elif not quiet:
        say("hint: `penstock anomalies feedback ID YES|NO|PLANNED_ACTIVITY` says what one was, and is learned")
    return FINE


def feedback(
    id: Annotated[str, typer.Argument(help="Which anomaly, as `penstock anomalies` lists it.", metavar="ID")],
    verdict: Annotated[
        str,
        typer.Argument(help="`YES` it is one, `NO` it is none, or `PLANNED_ACTIVITY`: it was meant to be.", metavar="VERDICT"),
    ],
    note: Annotated[str, typer.Option(help="Why, for whoever reads it later.")] = "",
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
) -> int:
    """Say what an anomaly was.

    NO raises the threshold of that feature's metrics, YES lowers it a little; both fade over months. A planned activity is kept out of
    what is usual, and nothing more is told of it until it has ended. The last word counts.
    """
    import os

    from penstock import bootstrap
    from penstock.cli.audit import actor
    from penstock.config.load import load
    from penstock.finops.anomalies.feedback import give_feedback
    from penstock.finops.anomalies.words import anomaly_json, name

    word = _verdict(verdict)
    settings = load(config, os.environ)
    book = bootstrap.open_anomalies(settings)
    found = _one(book.since(0), id)
    said = give_feedback(book, bootstrap.open_audit(settings), found, word, note, actor=actor(), at_ns=time.time_ns())
    if json:
        print_json(anomaly_json(found, said))
    else:
        sys.stdout.write(f"{found.id} {name(found)}: {word}\n")
    return FINE


def _verdict(text: str) -> "Verdict":
    from penstock.config.problems import nearest
    from penstock.finops.anomalies.book import Verdict

    words: tuple[Verdict, ...] = get_args(Verdict)
    given = text.upper().replace("-", "_")
    for word in words:
        if given in (word, word.partition("_")[0]):
            return word
    raise CommandError(f"`{text}` is no verdict", nearest(given, words, "write YES, NO or PLANNED_ACTIVITY"), WRONG_USAGE)


def _one(found: "Sequence[Found]", id: str) -> "Found":
    """The one whose id begins so."""
    alike = [each for each in found if id and each.id.startswith(id)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise CommandError(f"{len(alike)} anomalies begin with `{id}`", "write more of the id", WRONG_USAGE)
    raise CommandError(f"there is no anomaly `{id}`", "`penstock anomalies --since 90d` lists them", WRONG_USAGE)


def _show(found: "Found", said: "Mapping[str, Feedback]", now_ns: int) -> None:
    from penstock.cli.cost_table import printable
    from penstock.finops.anomalies import words
    from penstock.finops.window import iso

    state = "goes on" if found.end_ns is None else "has become the usual" if found.stayed else "over"
    word = f", {said[found.id].verdict}" if found.id in said else ""
    sys.stdout.write(f"{found.id}  {iso(found.begin_ns)}  {printable(words.name(found))}  ({state}{word})\n")
    sys.stdout.write(f"  {words.observed(found)} for {words.lasted(found, now_ns)}: {words.impact(found)}\n")
    for cause in found.causes[:MOST_CAUSES]:
        sys.stdout.write(f"  {printable(words.cause(cause))}\n")
