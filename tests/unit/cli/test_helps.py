"""Every word of every help text reaches the reader: brackets are no marks of style."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from penstock.cli.app import application, run


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def bare(text: str) -> str:
    """A text without what lays it out: blanks and the frames of tables."""
    return "".join(sign for sign in text if not sign.isspace() and not "\u2500" <= sign <= "\u257f")


TREE = list(commands(get_command(application())))


@pytest.mark.parametrize(("path", "command"), TREE, ids=[" ".join(path) or "penstock" for path, _ in TREE])
def test_helps_show_all_of_their_text(
    path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run([*path, "--help"]) == 0
    shown = bare(capsys.readouterr().out)
    for parameter in command.params:
        if parameter.help and not parameter.hidden:
            assert bare(parameter.help) in shown
    for line in (command.help or "").splitlines():
        assert bare(line) in shown


def test_there_are_helps_with_brackets() -> None:
    assert any("[" in (parameter.help or "") for _, command in TREE for parameter in command.params)
