"""The command tree and its manners: exit codes, `error:` and `hint:` lines, no traceback for what users can mend."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.main

from penstock import __version__
from penstock.cli import (
    anomalies,
    audit,
    bill,
    budget,
    cache,
    calc,
    check,
    close,
    cost,
    demo,
    deploy,
    explain,
    init,
    keys,
    output,
    prices,
    reconcile,
    record,
    route,
    schema,
    serve,
    showback,
    simulate,
    size,
    slos,
)
from penstock.config.problems import ConfigError, nearest
from penstock.domain.units import UnitError
from penstock.ports.answer_store import AnswerStoreError
from penstock.ports.journal import JournalError
from penstock.ports.traces import TracesError
from penstock.ports.usage_store import StoreError

HELP = ["--help", "-h"]
COMMANDS = (
    demo,
    init,
    check,
    serve,
    keys,
    audit,
    cache,
    cost,
    explain,
    budget,
    prices,
    bill,
    close,
    showback,
    slos,
    route,
    anomalies,
    calc,
    reconcile,
    record,
    deploy,
    size,
    simulate,
    schema,
)

EXPECTED = (ConfigError, output.CommandError, StoreError, JournalError, AnswerStoreError, TracesError, UnitError)
"""errors that users can mend"""


def application() -> typer.Typer:
    """A fresh tree with every command registered."""
    app = typer.Typer(
        name="penstock",
        help="What every AI request costs, who pays for it, and how the same answers cost less.",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": HELP},
    )
    app.callback()(_global_options)
    for command in COMMANDS:
        command.register(app)
    return app


def main() -> None:
    """Entry point of the `penstock` script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    arguments = list(arguments) or HELP[:1]
    command = typer.main.get_command(application())
    if not set(HELP).isdisjoint(arguments):
        _escape_helps(command)
    try:
        code = command.main(args=arguments, prog_name="penstock", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else output.FINE
    except (KeyboardInterrupt, typer.Abort):
        output.complain("interrupted")
        return output.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; keep the interpreter from complaining when it flushes stdout on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return output.FAILED
    except (typer.TyperException, *EXPECTED, OSError) as problem:
        return report(problem)


def _escape_helps(command: Any) -> None:
    """Makes brackets in help texts text (`[costs.x]`): to the library that prints them they are marks of style."""
    from rich.markup import escape

    for described in (command, *command.params):
        for place in ("help", "short_help"):
            if text := getattr(described, place, None):
                setattr(described, place, escape(text))
    for inner in getattr(command, "commands", {}).values():
        _escape_helps(inner)


def report(problem: Exception) -> int:
    """Print an expected error; returns its exit code."""
    match problem:
        case ConfigError():
            for each in problem.problems:
                place = f"{problem.source}: {each.where}" if problem.source and problem.source != each.where else each.where
                output.complain(f"{place}: {each.text}", each.hint)
            return output.WRONG_USAGE
        case output.CommandError():
            output.complain(str(problem), problem.hint)
            return problem.code
        case typer.TyperException():
            return _report_usage(problem)
        case UnitError():
            output.complain(str(problem))
            return output.WRONG_USAGE
        case OSError():
            place = f"{problem.filename}: " if problem.filename else ""
            output.complain(f"{place}{(problem.strerror or str(problem)).lower()}", "check that the path exists and may be used")
            return output.FAILED
        case _:
            output.complain(str(problem), getattr(problem, "hint", None))
            return output.FAILED


def _report_usage(problem: typer.TyperException) -> int:
    message = problem.format_message().strip()
    context = getattr(problem, "ctx", None)
    hint = f"see `{context.command_path if context else 'penstock'} --help`"
    message, found, rest = message.partition(". Did you mean ")
    if found:
        hint = f"did you mean {rest.replace(chr(39), '`')}"
    elif possible := getattr(problem, "possibilities", None):
        message = message.partition(" (Possible")[0]
        hint = nearest(getattr(problem, "option_name", ""), possible, hint)
    output.complain((message[:1].lower() + message[1:]).rstrip(".").replace("'", "`"), hint)
    return problem.exit_code


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"penstock {__version__}\n")
        raise typer.Exit()


def _global_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)] = False,
) -> None:
    """What every AI request costs, who pays for it, and how the same answers cost less."""
