"""The manners of the command line: help, version, errors with hints, exit codes, light start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.command_line import SOURCE, penstock

COMMANDS = (
    "demo", "init", "check", "serve", "keys", "cost", "explain", "prices", "bill", "close", "showback", "reconcile", "record", "schema",
)  # fmt: skip


def test_help_lists_what_is_built(tmp_path: Path) -> None:
    result = penstock("--help", cwd=tmp_path)
    assert result.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout
    for later in ("batch", "plan", "compress"):
        assert f" {later} " not in result.stdout


def test_help_starts_light(tmp_path: Path) -> None:
    """The packages that cost most to import stay out until a command needs them."""
    code = (
        "import sys; from penstock.cli.app import run; run(['--help']); "
        "print([name for name in ('httpx', 'numpy', 'starlette', 'torch', 'uvloop', 'genai_prices', 'psycopg') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_no_arguments_show_the_help(tmp_path: Path) -> None:
    assert "Usage" in penstock(cwd=tmp_path).stdout


def test_version(tmp_path: Path) -> None:
    result = penstock("--version", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("penstock 0.")


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (("cots",), 2, "no such command `cots`", "did you mean `cost`"),
        (("check", "--onlin"), 2, "no such option: --onlin", "did you mean `--online`?"),
        (("keys",), 2, "missing command", "penstock keys --help"),
        (("schema", "x"), 2, "invalid value", "penstock schema --help"),
        (("keys", "list", "--config", "none.toml"), 2, "none.toml: no such file", "penstock init"),
        (("cost", "--config", "none.toml"), 2, "none.toml: no such file", "penstock init"),
        (("keys", "list"), 2, "penstock.toml: no such file", "penstock init"),
    ],
)
def test_errors_say_what_to_do(tmp_path: Path, arguments: tuple[str, ...], code: int, error: str, hint: str) -> None:
    result = penstock(*arguments, cwd=tmp_path)
    assert result.returncode == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m penstock schema | head -c 10 >/dev/null"
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert result.stderr == ""


@pytest.mark.parametrize("subject", ["config", "usage"])
def test_schemas_are_json_on_stdout(tmp_path: Path, subject: str) -> None:
    result = penstock("schema", subject, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["$schema"].startswith("http")
