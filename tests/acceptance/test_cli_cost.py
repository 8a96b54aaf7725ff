"""`penstock cost` and `penstock explain` as a newcomer meets them: an empty ledger, typing errors, the shape of the JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
version = 1
[upstreams.local]
kind = "simulated"
[models.small]
upstream = "local"
price = { input = 1, output = 2 }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "penstock.toml"
    file.write_text(CONFIG)
    return file


def penstock(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_an_empty_ledger_gives_a_hint_and_leaves_nothing_behind(config: Path) -> None:
    done = penstock(config, "cost")
    assert done.returncode == 0
    assert "no request was answered" in done.stdout
    assert "hint: point a client at http://127.0.0.1:4100/v1" in done.stderr
    assert [file.name for file in config.parent.iterdir()] == ["penstock.toml"]


def test_json_of_an_empty_ledger_has_the_whole_shape(config: Path) -> None:
    shown = json.loads(penstock(config, "cost", "--json", "--since", "2026-10").stdout)
    assert set(shown) == {"window", "coverage", "rows", "total", "statement", "tags"}
    assert (shown["window"]["since"], shown["window"]["until"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert shown["rows"] == []
    assert (shown["total"]["requests"], shown["total"]["cp1kt_usd"]) == (0, None)
    assert shown["coverage"]["priced_share"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost", "--since", "yesterday"], "`--since yesterday` is not a window of time"),
        (["cost", "--since", "1d", "--until", "2d"], "the window is empty"),
        (["cost", "--where", "search"], "`--where search` is not a filter"),
        (["cost", "--fail-over", "much"], "`--fail-over much` is not an amount"),
        (["cost", "--min-coverage", "99"], "invalid value for `--min-coverage`"),
        (["cost", "--fail-over", "nan"], "`--fail-over nan` is not an amount"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_hint(config: Path, arguments: list[str], message: str) -> None:
    done = penstock(config, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_in_an_empty_ledger(config: Path) -> None:
    done = penstock(config, "explain", "req_1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: no request `req_1` in the ledger" in done.stderr
    assert "hint: the ledger is empty" in done.stderr
