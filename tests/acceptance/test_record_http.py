"""`POST /records` and the Python context manager against a running Penstock: recorded through one address, seen by every report."""

import json
from pathlib import Path

import pytest

from penstock.recording import training_run
from tests.acceptance.serving import serving

TABLES = """
[upstreams.local]
kind = "simulated"
[models.small]
upstream = "local"
price = { input = 1, output = 2 }
"""
RUN = {"kind": "training-run", "name": "night", "since": "2026-10-01", "until": "2026-10-02", "gpus": 1, "gpu_price": "2.5"}


def test_a_run_that_is_posted_stands_in_the_costs(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES) as penstock:
        answer = penstock.request("POST", "/records", RUN)
        again = penstock.request("POST", "/records", RUN)
        refused = penstock.request("POST", "/records", RUN, {"origin": "https://evil.example"})
        lines = {line["line"]: line["usd"] for line in penstock.cost("--since", "2026-10")["statement"]["lines"]}
    assert (answer.status, again.status, refused.status) == (201, 200, 403)
    assert answer.json()["entry"]["cost_usd"] == "60.000000000"
    assert lines["recorded"] == "60.000000000"


def test_a_training_job_needs_the_admin_key_where_there_is_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = TABLES + '[auth]\nadmin_key = { env = "CONSOLE_KEY" }\n'
    with serving(tmp_path, tables, {"CONSOLE_KEY": "open sesame"}) as penstock:
        assert penstock.request("POST", "/records", RUN).status == 401
        with training_run("kept", url=penstock.address, gpus=0, folder=tmp_path):
            pass
        assert "answered 401" in caplog.text
        [file] = tmp_path.glob("penstock-run-*.json")
        with training_run("posted", url=penstock.address, key="open sesame", gpus=0, folder=tmp_path) as run:
            run.storage("1.50")
        assert penstock.command("record", "import", str(file)).returncode == 0
        names = [entry["name"] for entry in json.loads(penstock.command("record", "list", "--json").stdout)["entries"]]
    assert names == ["kept", "posted"]
