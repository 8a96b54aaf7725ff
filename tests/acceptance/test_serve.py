"""`penstock serve` starts with a clear word or not at all, ends in order, and goes on when parts of it or around it fail."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command_line import penstock as command
from tests.acceptance.serving import Serving, serving, start, wait_until, write_config
from tests.acceptance.tcp_proxy import TcpProxy
from tests.engines.recording import RecordingEngine, recording_engine

TABLES = """
[upstreams.engine]
base_urls = ["{engine}"]
[models.m]
upstream = "engine"
max_output = 10
price = {{ input = 1, output = 2 }}
"""
NOWHERE = TABLES.format(engine="http://127.0.0.1:9/v1")
REPLY = {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
FRESH = {"penstock-cache": "no-store"}


@pytest.fixture(scope="module")
def engine() -> Iterator[RecordingEngine]:
    with recording_engine() as running:
        yield running


def refused(directory: Path) -> subprocess.CompletedProcess[str]:
    """`penstock serve` that must end by itself, with a hint and no traceback."""
    done = command("serve", cwd=directory)
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""
    return done


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write_config(tmp_path, NOWHERE, listen=f"127.0.0.1:{port}")
        done = refused(tmp_path)
    assert done.returncode == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: address already in use" in done.stderr.lower()
    assert f"PENSTOCK_SERVER__LISTEN=127.0.0.1:{port + 1}" in done.stderr


def test_a_missing_secret(tmp_path: Path) -> None:
    write_config(tmp_path, NOWHERE + '[upstreams.paid]\nbase_urls = ["http://127.0.0.1:9/v1"]\napi_key = { env = "NO_SUCH_KEY" }\n')
    done = refused(tmp_path)
    assert done.returncode == 2
    assert "upstreams.paid.api_key" in done.stderr
    assert "NO_SUCH_KEY" in done.stderr


def test_a_cap_that_cannot_be_enforced(tmp_path: Path) -> None:
    cap = '[[budgets]]\nname = "all"\nlimit = "10 USD / day"\nat_limit = "refuse"\n'
    write_config(tmp_path, NOWHERE + cap, shared="redis://127.0.0.1:9")
    done = refused(tmp_path)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr and "hint:" in done.stderr


def test_an_unknown_key_of_the_config(tmp_path: Path) -> None:
    write_config(tmp_path, NOWHERE.replace("max_output", "max_ouput"))
    done = refused(tmp_path)
    assert done.returncode == 2
    assert "`max_output`" in done.stderr


@pytest.mark.parametrize("key", ["store", "journal"])
@pytest.mark.parametrize("place", ["below a file", "read-only"])
def test_a_place_that_cannot_be_written(tmp_path: Path, key: str, place: str) -> None:
    below = tmp_path / "below"
    if place == "below a file":
        below.write_text("")
    elif os.geteuid() == 0:
        pytest.skip("nothing is read-only to root")
    else:
        below.mkdir(mode=0o500)
    write_config(tmp_path, NOWHERE, **{key: "sqlite:///below/penstock.db" if key == "store" else "below/journal"})
    done = refused(tmp_path)
    assert done.returncode == 1
    assert "below" in done.stderr


def test_a_store_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "penstock.db").write_text("this is a text about databases, long enough to be read as a header" * 20)
    write_config(tmp_path, NOWHERE)
    done = refused(tmp_path)
    assert done.returncode == 1
    assert "penstock.db" in done.stderr


def test_a_second_one_on_the_same_journal_waits_for_the_first(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url)) as first:
        assert first.chat("m", REPLY).status == 200
        mark = len(first.log())
        second = start(tmp_path)
        try:
            wait_until(lambda: "for the Penstock that still holds" in second.log()[mark:], "the second to say that it waits")
            assert second.process.poll() is None
            assert "listens" not in second.log()[mark:]
            assert first.stop() == 0
            (tmp_path / "serve.log").write_text(second.log()[mark:])
            second.wait_ready()
            assert second.chat("m", REPLY, headers=FRESH).status == 200
            assert second.cost()["total"]["requests"] == 2
            assert second.stop() == 0
        finally:
            second.kill()


def test_interrupted_while_it_waits(tmp_path: Path) -> None:
    with serving(tmp_path, NOWHERE):
        second = start(tmp_path)
        try:
            wait_until(lambda: "waiting up to" in second.log(), "the second to say that it waits")
            assert second.stop(signal.SIGINT) == 130
        finally:
            second.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_what_is_in_flight_is_finished_first(engine: RecordingEngine, tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url), workers=2) as penstock:
        before = len(engine.requests)
        whole = penstock.begin("m", {**REPLY, "pause_s": 0.8})
        streamed = penstock.begin("m", {**REPLY, "pause_s": 0.8}, stream=True)
        head = streamed.getresponse()
        wait_until(lambda: len(engine.requests) == before + 2, "both to be in flight")
        penstock.process.send_signal(number)
        answer = whole.getresponse()
        assert (answer.status, answer.getheader("penstock-cost-usd")) == (200, "0.000020000")
        assert b"three" in answer.read()
        assert head.read().endswith(b"data: [DONE]\n\n")
        assert penstock.process.wait(15) == 0
        for connection in (whole, streamed):
            connection.close()
        with pytest.raises(ConnectionRefusedError):
            penstock.get("/healthz")
        report = penstock.cost()
        assert (report["total"]["requests"], report["coverage"]["estimated_requests"], report["coverage"]["journal_tail"]) == (2, 0, 0)


def test_model_calls_go_on_without_a_controller(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url)) as penstock:
        (controller,) = penstock.children("controller")
        os.kill(controller, signal.SIGKILL)
        wait_until(lambda: controller not in penstock.children("controller"), "the controller to be gone")
        metrics = penstock.get("/metrics")
        assert (metrics.status, metrics.headers["penstock-error"], metrics.headers["retry-after"]) == (503, "upstream", "1")
        assert penstock.chat("m", REPLY).status == 200
        assert penstock.get("/readyz").status == 200, "ready for model calls"
        assert penstock.cost()["total"]["requests"] == 1
        wait_until(lambda: penstock.get("/metrics").status == 200, "the metrics to be back")
        wait_until(lambda: penstock.cost()["coverage"]["journal_tail"] == 0, "the new controller to take the journal in")
        assert "the controller ended with status -9, starting it again" in penstock.log()


# a disk that is full: no file of the worker may grow beyond the journal's size of now


def fill_disk(penstock: Serving, room: int = 0) -> None:
    """Leaves `room` bytes for the journal."""
    (worker,) = penstock.children("worker")
    size = max(file.stat().st_size for file in (penstock.directory / "journal").glob("*.jsonl"))
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))


def free_disk(penstock: Serving) -> None:
    (worker,) = penstock.children("worker")
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize("room", [0, 40, 400], ids=["not a byte", "half a reservation", "half a record"])
def test_a_full_disk_refuses_and_loses_nothing(engine: RecordingEngine, tmp_path: Path, room: int) -> None:
    before = len(engine.requests)
    with serving(tmp_path, TABLES.format(engine=engine.base_url)) as penstock:
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        fill_disk(penstock, room)
        for _ in range(3):
            answer = penstock.chat("m", REPLY, headers=FRESH)
            assert (answer.status, answer.headers["penstock-error"]) == (503, "limit")
            assert int(answer.headers["retry-after"]) > 0
            assert "penstock-cost-usd" not in answer.headers
        streamed = penstock.chat("m", REPLY, headers=FRESH, stream=True)
        assert streamed.status == 503
        assert "cannot write the journal" in penstock.log()
        wait_until(lambda: (penstock.metric("penstock_journal_failures_total") or 0) >= 4, "the failures to be on /metrics")
        free_disk(penstock)
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        total = penstock.cost()["total"]
        assert (total["requests"], total["cost_usd"]) == (2, "0.000040000")
    report = penstock.cost()
    lost = len(engine.requests) - before - 2  # the upstream was called, and the disk took the reservation but not the record
    assert lost == (1 if room == 400 else 0)
    assert (report["total"]["requests"], report["coverage"]["estimated_requests"]) == (2 + lost, lost)


def test_a_full_disk_serves_on_where_the_config_says_so(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url), journal_failure="serve") as penstock:
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        fill_disk(penstock)
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        assert penstock.chat("m", REPLY, headers=FRESH, stream=True).body.endswith(b"data: [DONE]\n\n")
        wait_until(lambda: penstock.metric("penstock_unmetered_requests_total") == 2, "two unmetered requests on /metrics")
        free_disk(penstock)
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        assert penstock.cost()["total"]["requests"] == 2


@pytest.mark.postgres
def test_a_database_that_is_away_for_a_while(engine: RecordingEngine, tmp_path: Path, postgres_url: str) -> None:
    with TcpProxy.to(postgres_url) as proxy, serving(tmp_path, TABLES.format(engine=engine.base_url), store=proxy.url) as penstock:
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        wait_until(lambda: penstock.metric("penstock_store_up") == 1, "the store to be up")
        proxy.cut()
        for _ in range(3):
            assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        wait_until(lambda: penstock.metric("penstock_store_up") == 0, "the store to be down")
        wait_until(lambda: (penstock.metric("penstock_journal_lag_entries") or 0) > 0, "the lag to be told")
        assert penstock.get("/readyz").status == 200
        assert "the store takes nothing in, the journal keeps it" in penstock.log()
        report = penstock.command("cost")
        assert (report.returncode, report.stdout) == (1, "")
        assert "hint: check [server] store" in report.stderr

        (controller,) = penstock.children("controller")
        os.kill(controller, signal.SIGKILL)  # it comes back although the database does not
        wait_until(lambda: bool(set(penstock.children("controller")) - {controller}), "a new controller")
        assert penstock.chat("m", REPLY, headers=FRESH).status == 200
        wait_until(lambda: penstock.get("/metrics").status == 200, "the new controller to answer")
        assert penstock.metric("penstock_store_up") == 0

        proxy.mend()
        wait_until(lambda: penstock.metric("penstock_store_up") == 1, "the store to be up again")
        report_after = penstock.cost()
        assert (report_after["total"]["requests"], report_after["total"]["cost_usd"]) == (5, "0.000100000")
        assert "the store takes in again" in penstock.log()


def test_a_worker_that_is_killed_is_started_again(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url)) as penstock:
        (worker,) = penstock.children("worker")
        os.kill(worker, signal.SIGKILL)
        started = time.monotonic()
        assert penstock.chat("m", REPLY).status == 200, "the connection waits in the queue of the socket"
        assert time.monotonic() - started < 10
        assert penstock.children("worker") != [worker]


def test_children_end_with_a_supervisor_that_is_killed(engine: RecordingEngine, tmp_path: Path) -> None:
    with serving(tmp_path, TABLES.format(engine=engine.base_url)) as penstock:
        children = [*penstock.children("worker"), *penstock.children("controller")]
        assert len(children) == 2
        penstock.process.kill()
        penstock.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the children to end")
