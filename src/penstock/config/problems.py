"""What is wrong with a configuration, said so that the reader can mend it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Literal

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One finding: `where` is a key path (`upstreams.local.timeout.connect`), a file or a variable; `hint` says what to do."""

    severity: Literal["error", "warning"]
    where: str
    text: str
    hint: str


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds everything that was found, `source` the file it stands in."""

    def __init__(self, problems: Sequence[Problem], source: str | None = None) -> None:
        super().__init__("; ".join(f"{problem.where}: {problem.text}" for problem in problems))
        self.problems = tuple(problems)
        self.source = source


def error(where: str, text: str, hint: str) -> Problem:
    return Problem("error", where, text, hint)


def warning(where: str, text: str, hint: str) -> Problem:
    return Problem("warning", where, text, hint)


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """The hint for a name that is not known: the one that looks most like it, else all, else `otherwise`."""
    names = list(known)
    matches = get_close_matches(name, names, n=1)
    if matches:
        return f"did you mean `{matches[0]}`?"
    return f"known: {', '.join(f'`{each}`' for each in names)}" if names else otherwise


def join(path: str, key: str) -> str:
    """Key path of `key` below `path`, quoted where TOML would need quotes."""
    bare = key.replace("-", "a").replace("_", "a")
    part = key if bare.isascii() and bare.isalnum() else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{path}.{part}" if path else part
