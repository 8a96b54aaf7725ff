"""How commands print: data on stdout, narration on stderr, errors as `error:` and `hint:` lines.

Rich honours `NO_COLOR` and drops colour where the output is not a terminal; it is imported only when something is drawn.
"""

import sys
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

FINE, FAILED, WRONG_USAGE, PROBLEMS_FOUND, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 4, 130


class CommandError(Exception):
    """An expected failure of a command: printed as `error:` and `hint:`, then exit with `code`."""

    def __init__(self, message: str, hint: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def print_json(value: Any) -> None:
    """One JSON document on stdout; `Decimal` becomes a decimal string, structs become objects."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def stdout_console() -> "Console":
    """For tables of data. Text is printed as it is: no markup, no emoji; colour by `style=`, and only on a terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def stderr_console() -> "Console":
    """For progress and live views."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str, quiet: bool = False) -> None:
    """A line of narration on stderr, unless `--quiet`."""
    if not quiet:
        sys.stderr.write(text + "\n")


def complain(message: str, hint: str | None = None, kind: str = "error") -> None:
    """An `error:` (or `warning:`) line and its hint on stderr; coloured only on a terminal."""
    from rich.text import Text

    console = stderr_console()
    colour = "bold red" if kind == "error" else "bold yellow"
    console.print(Text.assemble((f"{kind}:", colour), f" {message}"), soft_wrap=True)
    if hint:
        console.print(Text.assemble(("hint:", "bold cyan"), f" {hint}"), soft_wrap=True)


def interactive() -> bool:
    """Whether questions may be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, yes: bool) -> bool:
    """Ask on a terminal; elsewhere only `--yes` passes, anything else is an error with that hint."""
    if yes:
        return True
    if not interactive():
        raise CommandError(f"{question} needs a confirmation, and this is not a terminal", "pass --yes to go ahead", WRONG_USAGE)
    import typer

    return typer.confirm(question, err=True)
