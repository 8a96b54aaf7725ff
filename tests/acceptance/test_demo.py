"""`penstock demo` as a newcomer runs it: figures in seconds, the same as the ledger's, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from tests.acceptance.command_line import SOURCE, penstock


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


def test_json_figures_add_up(tmp_path: Path) -> None:
    result = penstock("demo", "--seconds", "3", "--json", cwd=tmp_path, environ={"TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert {row["team"] for row in report["rows"]} == {"support", "search", "engineering", "planning"}
    total = report["total"]
    assert total["requests"] == sum(row["requests"] for row in report["rows"]) > 10
    assert total["failed"] == total["refused"] == 0
    assert Decimal(total["cost_usd"]) == sum(Decimal(row["cost_usd"]) for row in report["rows"]) > 0
    assert Decimal(total["saved_usd"]) == Decimal(total["counterfactual_usd"]) - Decimal(total["cost_usd"]) > 0
    assert total["cache_hits"] > 0
    assert report["coverage"]["priced_requests"] == total["requests"]
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_plain_where_there_is_no_terminal(tmp_path: Path) -> None:
    result = penstock("demo", "--seconds", "1.5", cwd=tmp_path, environ={"TMPDIR": str(tmp_path), "PENSTOCK_SERVER__WORKERS": "99"})
    assert result.returncode == 0, result.stderr
    assert "cost USD" in result.stdout and "total" in result.stdout and "\x1b" not in result.stdout
    assert "it left nothing behind" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_plays_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "--seconds", "60") as demo:
        assert demo.stderr is not None
        while "playing" not in (line := demo.stderr.readline()):
            assert line, "the demo ended before it played"
        assert children_of(tmp_path / "penstock-demo")
        demo.send_signal(number)
        _, narration = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert "Traceback" not in narration
    assert list(tmp_path.iterdir()) == []
    assert children_of(tmp_path / "penstock-demo") == []


def test_a_signal_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        assert demo.stderr is not None
        assert "starting" in demo.stderr.readline()
        demo.send_signal(signal.SIGINT)
        _, narration = demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert "Traceback" not in narration
    assert list(tmp_path.iterdir()) == []
    assert children_of(tmp_path / "penstock-demo") == []
