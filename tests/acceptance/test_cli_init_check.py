"""`penstock init` writes what `penstock check` finds fine; `check` tells config errors, problems and warnings apart."""

import http.server
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.config.start import simulated
from tests.acceptance.command_line import SOURCE, penstock

EXAMPLE = Path(__file__).parents[1] / "golden" / "penstock.toml"


class Models(http.server.BaseHTTPRequestHandler):
    """Lists two models to whoever shows the key, below /v1."""

    def do_GET(self) -> None:
        allowed = self.headers.get("authorization") == "Bearer sesame"
        body = json.dumps({"data": [{"id": "m-1"}, {"id": "org/m-2"}]}).encode()
        self.send_response(404 if self.path != "/v1/models" else 200 if allowed else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_init_then_check(tmp_path: Path) -> None:
    made = penstock("init", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "")
    assert "penstock serve" in made.stderr
    assert "simulated" in made.stderr
    assert json.loads((tmp_path / "penstock.schema.json").read_text())["title"] == "penstock.toml"

    checked = penstock("check", "--json", cwd=tmp_path)
    report = json.loads(checked.stdout)
    assert (checked.returncode, report["ok"], report["problems"]) == (0, True, [])
    assert set(report["facts"]["prices"]) == {"trial-small", "trial-large"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["penstock.schema.json", "penstock.toml"]


def test_init_never_overwrites_unasked(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("mine")
    refused = penstock("init", "--yes", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "penstock.toml").read_text() == "mine"
    assert not (tmp_path / "penstock.schema.json").exists()
    assert penstock("init", "--force", "--quiet", cwd=tmp_path).returncode == 0
    assert (tmp_path / "penstock.toml").read_text() != "mine"


def test_init_shows_without_writing(tmp_path: Path) -> None:
    result = penstock("init", "--dry-run", cwd=tmp_path)
    assert result.stdout.startswith("#:schema")
    assert list(tmp_path.iterdir()) == []


def test_init_finds_the_models_of_an_upstream(tmp_path: Path, upstream: str) -> None:
    environ = {"KEY": "sesame"}
    made = penstock("init", "--upstream", upstream, "--api-key-env", "KEY", "--output", "conf/p.toml", cwd=tmp_path, environ=environ)
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "conf/p.toml").read_text()
    assert '[models."org/m-2"]' in text
    assert "sesame" not in text
    checked = penstock("check", "--online", "--config", "conf/p.toml", cwd=tmp_path, environ=environ)
    assert checked.returncode == 3, checked.stderr  # nobody has given the models a price
    assert "unpriced" in checked.stderr
    assert f"online   {upstream}: 2 models" in checked.stdout


def test_init_asks_on_a_terminal(tmp_path: Path, upstream: str) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "penstock", "init"]
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "KEY": "sesame"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdin=end, stderr=end, stdout=subprocess.DEVNULL)
    os.close(end)
    os.write(terminal, f"{upstream}\nKEY\nm-1\n".encode())
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    finally:
        os.close(terminal)
    assert process.wait(20) == 0, shown
    assert b"models, separated by commas [m-1, org/m-2]" in shown
    text = (tmp_path / "penstock.toml").read_text()
    assert '[models."m-1"]' in text
    assert "m-2" not in text
    assert 'api_key   = { env = "KEY" }' in text


def test_init_needs_models_from_somewhere(tmp_path: Path, upstream: str) -> None:
    result = penstock("init", "--upstream", upstream, cwd=tmp_path)
    assert result.returncode == 2
    assert "answered 401" in result.stderr
    assert "--model" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert "http://" in penstock("init", "--upstream", "nonsense", "--model", "m", cwd=tmp_path).stderr


def test_the_example_passes_without_its_secrets(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "penstock.toml")
    result = penstock("check", "--json", cwd=tmp_path)
    report = json.loads(result.stdout)
    assert (result.returncode, report["ok"]) == (0, True), result.stdout
    assert {problem["severity"] for problem in report["problems"]} == {"warning"}
    warned = {problem["where"] for problem in report["problems"]}
    assert warned == {"upstreams.openai.api_key", "notify.finops.url", "budgets[0].where.team"}
    assert [path.name for path in tmp_path.iterdir()] == ["penstock.toml"]


def test_typos_are_exit_2_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('version = 1\n[server]\nlisen = "x"\nworkers = 0\n')
    result = penstock("check", cwd=tmp_path)
    assert result.returncode == 2
    assert "did you mean `listen`?" in result.stderr
    assert "server.workers" in result.stderr
    assert "penstock.toml: 2 problems" in result.stdout
    report = json.loads(penstock("check", "--json", cwd=tmp_path).stdout)
    assert [problem["where"] for problem in report["problems"]] == ["server.lisen", "server.workers"]


def test_names_that_lead_nowhere_are_exit_2(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('version = 1\n[models.m]\nupstream = "nowhere"\n')
    assert penstock("check", "--quiet", cwd=tmp_path).returncode == 2


def test_an_override_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(simulated())
    assert "PENSTOCK_SERVER__LISTEN" in penstock("check", cwd=tmp_path, environ={"PENSTOCK_SERVER__LISTN": "x"}).stderr


@pytest.mark.parametrize("place", ["store", "journal"])
def test_what_cannot_be_written_is_exit_3(tmp_path: Path, place: str) -> None:
    (tmp_path / "penstock.toml").write_text(simulated())
    (tmp_path / "file").write_text("not a database")
    value = "sqlite:///file" if place == "store" else "file/journal"
    result = penstock("check", cwd=tmp_path, environ={f"PENSTOCK_SERVER__{place.upper()}": value})
    assert result.returncode == 3
    assert f"server.{place}" in result.stderr


def test_a_database_that_is_away_is_exit_3_and_keeps_its_password(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(simulated())
    environ = {"PENSTOCK_SERVER__STORE": "postgresql://me:sesame@127.0.0.1:1/none"}
    result = penstock("check", cwd=tmp_path, environ=environ)
    assert result.returncode == 3, result.stderr
    assert "server.store" in result.stderr
    assert "sesame" not in result.stderr + result.stdout


def test_an_upstream_that_is_away_is_exit_3_only_online(tmp_path: Path) -> None:
    price = "price = { input = 1, output = 1 }"
    text = f'version = 1\n[upstreams.a]\nbase_urls = ["http://127.0.0.1:1/v1"]\n[models.m]\nupstream = "a"\n{price}\n'
    (tmp_path / "penstock.toml").write_text(text)
    assert penstock("check", cwd=tmp_path).returncode == 0
    result = penstock("check", "--online", cwd=tmp_path)
    assert result.returncode == 3
    assert "connection refused" in result.stderr


def test_a_file_of_running_times_is_read_by_check_and_keeps_nothing_else_from_work(tmp_path: Path) -> None:
    config, runs = tmp_path / "penstock.toml", tmp_path / "runs.csv"
    config.write_text(
        'version = 1\n[upstreams.sim]\nkind = "simulated"\n[models.m]\nupstream = "sim"\nprice = { input = 1, output = 2 }\n'
        '[fleets.gpus]\nupstream = "sim"\ngpu = "L40S"\nprice = "0.79 USD/gpu-hour"\nruns = "runs.csv"\n'
    )

    def found() -> list[str]:
        report = json.loads(penstock("check", "--json", cwd=tmp_path).stdout)
        return [problem["text"] for problem in report["problems"] if problem["where"] == "fleets.gpus.runs"]

    assert found() == [f"{runs} cannot be read: No such file or directory"]
    runs.write_text("start,end,count\n2026-10-01,2026-10-02,many\n")
    [text] = found()
    assert text.startswith(f"{runs}: the count of row 2")
    assert penstock("check", cwd=tmp_path).returncode == 3
    assert penstock("cost", "--since", "1d", cwd=tmp_path).returncode == 0
    runs.write_text("start,end,count\n")
    assert found() == [f"{runs} has no interval"]
    runs.write_text("start,end,count\n2026-10-01,,2\n")
    assert found() == []
