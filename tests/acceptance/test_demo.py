"""`penstock demo` as a newcomer runs it: figures in seconds, the same as the ledger's, and nothing left behind."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from tests.acceptance.command_line import SOURCE, penstock
from tests.acceptance.serving import wait_until

SMALL = ("--requests", "2000")
WIDTH, HEIGHT = 80, 24
TAKES_THE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from penstock.cli.app import main; main()"


def environ(temporary: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(temporary), "COLUMNS": "120"}


def children_of(temporary: Path) -> Sequence[int]:
    """Processes that run in a demo's directory: the gateway, its workers, its engines."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            directory = (process / "cwd").readlink()
        except OSError:
            continue
        if str(directory).startswith(str(temporary)):
            found.append(int(process.name))
    return found


def start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "penstock", "demo", *arguments],
        env=environ(temporary),
        cwd=temporary,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def nothing_left(temporary: Path) -> bool:
    return not list(temporary.iterdir()) and not children_of(temporary / "penstock-demo")


def test_json_figures_add_up(tmp_path: Path) -> None:
    result = penstock("demo", "--seconds", "2", *SMALL, "--json", cwd=tmp_path, environ={"TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert {row["team"] for row in report["rows"]} == {"support", "search", "engineering", "planning", None}
    total = report["total"]
    [seeded] = re.findall(r"Penstock demo: ([\d,]+) requests, 30 days", result.stderr)
    assert total["requests"] + total["refused"] > int(seeded.replace(",", "")) > 1900, "live traffic comes on top"
    assert total["requests"] == sum(row["requests"] for row in report["rows"])
    assert 0 < total["failed"] < 0.02 * total["requests"]
    assert Decimal(total["cost_usd"]) == sum(Decimal(row["cost_usd"]) for row in report["rows"]) > 0
    assert Decimal(total["saved_usd"]) == Decimal(total["counterfactual_usd"]) - Decimal(total["cost_usd"]) > 0
    assert total["cache_hits"] > 0
    assert report["coverage"]["priced_requests"] == total["requests"]
    assert nothing_left(tmp_path)


def test_the_table_is_plain_where_there_is_no_terminal(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path), "PENSTOCK_SERVER__WORKERS": "99"}
    result = penstock("demo", "--seconds", "1.5", *SMALL, cwd=tmp_path, environ=environ)
    assert result.returncode == 0, result.stderr
    assert "cost USD" in result.stdout and "total" in result.stdout and "\x1b" not in result.stdout + result.stderr
    assert "it left nothing behind" in result.stderr
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_plays_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "--seconds", "60", *SMALL) as demo:
        assert demo.stderr is not None
        while "playing" not in (line := demo.stderr.readline()):
            assert line, "the demo ended before it played"
        assert children_of(tmp_path / "penstock-demo")
        demo.send_signal(number)
        _, narration = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert "Traceback" not in narration
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("after_s", [0, 0.7])
def test_a_signal_while_it_starts_or_seeds_leaves_nothing_behind(tmp_path: Path, after_s: float) -> None:
    with start(tmp_path, "--requests", "300000") as demo:
        assert demo.stderr is not None
        assert "starting" in demo.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(after_s)
        demo.send_signal(signal.SIGINT)
        _, narration = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert "Traceback" not in narration
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("moment", ["starting", "playing"])
def test_a_kill_that_cannot_be_caught_leaves_nothing_behind(tmp_path: Path, moment: str) -> None:
    with start(tmp_path, "--seconds", "60", *SMALL) as demo:
        assert demo.stderr is not None
        while moment not in (line := demo.stderr.readline()):
            assert line, "the demo ended before it played"
        demo.kill()
        demo.communicate()
    wait_until(lambda: nothing_left(tmp_path), "the keeper to clear the stage")


def test_without_the_extra_it_says_so_and_shows_the_rest(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['usearch'] = None\n")
    environ = {"PYTHONPATH": f"{SOURCE}{os.pathsep}{tmp_path}"}
    result = penstock("demo", *SMALL, "--seconds", "1", "--json", cwd=tmp_path, environ=environ)
    assert result.returncode == 0, result.stderr
    [said] = [line for line in result.stderr.splitlines() if "by meaning" in line]
    assert "usearch" in said and "pip install 'penstock[semantic]'" in said
    assert json.loads(result.stdout)["total"]["cache_hits"] > 0, "the very same requests are answered all the same"


def test_the_browser_is_opened_when_asked(tmp_path: Path) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}"\n')
    browser.chmod(0o755)
    result = penstock("demo", *SMALL, "--seconds", "0.5", "--quiet", "--open", cwd=tmp_path, environ={"BROWSER": f"{browser} %s"})
    assert result.returncode == 0 and not result.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", opened.read_text())


class Terminal:
    """A demo on a terminal of 80 x 24: what it wrote so far, and a way to close it."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        environment = {name: value for name, value in environ(temporary).items() if name not in ("COLUMNS", "NO_COLOR")} | {"TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKES_THE_TERMINAL, *arguments],
            env=environment, cwd=temporary, stdin=far, stdout=far, stderr=far, start_new_session=True,
        )  # fmt: skip
        os.close(far)
        self.text = ""

    def read_until(self, words: str) -> str:
        while words not in self.text:
            piece = os.read(self.near, 65536)
            assert piece, self.text
            self.text += piece.decode(errors="replace")
        return self.text


def test_the_first_screen_fits_a_small_terminal(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "demo", *SMALL)
    screen = terminal.read_until("all  ")
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.partition("Penstock demo:")[2]).splitlines()
    assert max(len(line.rstrip()) for line in lines if str(tmp_path) not in line) <= WIDTH
    assert len(lines) < HEIGHT
    address = re.search(r"console +(http://127\.0\.0\.1:\d+)\s", screen)
    assert address is not None
    for words in ("a runaway agent", "a cache that pays", "a GPU nobody uses", "penstock init", "Ctrl-C", f"curl -i {address[1]}/v1/"):
        assert words in screen
    if shutil.which("curl"):
        command = re.search(r"curl -i .*?}'", screen.replace("\r", ""), re.DOTALL)
        assert command is not None
        answer = subprocess.run(command[0], shell=True, capture_output=True, text=True, timeout=20)
        assert answer.stdout.startswith("HTTP/1.1 200") and "penstock-cost-usd" in answer.stdout, answer
        terminal.read_until("you  ")
    os.write(terminal.near, b"\x03")
    terminal.read_until("it left nothing behind")
    assert terminal.process.wait(10) == 0
    os.close(terminal.near)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(("moment", "requests"), [("thirty days", "300000"), ("Ctrl-C stops it", "2000")])
def test_closing_the_terminal_leaves_nothing_behind(tmp_path: Path, moment: str, requests: str) -> None:
    terminal = Terminal(tmp_path, "demo", "--requests", requests)
    terminal.read_until(moment)
    os.close(terminal.near)
    terminal.process.wait(20)
    wait_until(lambda: nothing_left(tmp_path), "the stage to be cleared")


def test_without_a_place_for_temporary_files_it_says_so(tmp_path: Path) -> None:
    tempfiles = "import tempfile, sys; tempfile._candidate_tempdir_list = lambda: ['/proc/nowhere']\n"
    (tmp_path / "sitecustomize.py").write_text(tempfiles)
    result = penstock("demo", *SMALL, cwd=tmp_path, environ={"PYTHONPATH": f"{SOURCE}{os.pathsep}{tmp_path}"})
    assert result.returncode == 1
    assert "error: there is no directory for temporary files" in result.stderr and "TMPDIR" in result.stderr
    assert "Traceback" not in result.stderr
