"""`kill -9` of any process under load loses no finished request and counts none twice; a report does not need the controller."""

import os
import signal
from pathlib import Path

import pytest

from bench.crash import crash
from tests.acceptance.serving import serving, wait_until
from tests.engines.recording import recording_engine

KILLS = 12


@pytest.mark.parametrize(("store", "seed"), [("sqlite", 11), pytest.param("postgres", 12, marks=pytest.mark.postgres)])
def test_no_finished_request_is_lost_or_doubled(tmp_path: Path, store: str, seed: int, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres_url") if store == "postgres" else "sqlite:///penstock.db"
    result = crash(tmp_path, url, KILLS, seed)
    assert sum(result.kills.values()) == KILLS
    assert result.finished > KILLS
    assert result.lost == []
    assert result.wrong_cost == []
    log = (tmp_path / "serve.log").read_text(errors="replace")
    assert "Traceback" not in log, log


TABLES = """
[upstreams.engine]
base_urls = ["{engine}"]
[models.m]
upstream = "engine"
max_output = 10
price = {{ input = 1, output = 2 }}
"""
REPLY = {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}


def test_the_journal_is_read_while_the_controller_stands_still(tmp_path: Path) -> None:
    with recording_engine() as engine, serving(tmp_path, TABLES.format(engine=engine.base_url)) as penstock:
        penstock.chat("m", REPLY)
        wait_until(lambda: penstock.cost()["coverage"]["journal_tail"] == 0, "the first request to be in the store")
        (controller,) = penstock.children("controller")
        os.kill(controller, signal.SIGSTOP)
        try:
            answer = penstock.chat("m", REPLY, question="and now?")
            report = penstock.cost()
            assert (report["total"]["requests"], report["total"]["cost_usd"]) == (2, "0.000040000")
            assert report["coverage"]["journal_tail"] == 1
            assert penstock.explain(answer.headers["penstock-request-id"])["cost_usd"] == "0.000020000"
        finally:
            os.kill(controller, signal.SIGCONT)


def test_a_request_that_never_settled_is_booked_whole_and_marked(tmp_path: Path) -> None:
    with recording_engine() as engine, serving(tmp_path, TABLES.format(engine=engine.base_url)) as penstock:
        connection = penstock.begin("m", {**REPLY, "pause_s": 30})
        assert engine.arrived.wait(10)
        assert penstock.cost()["total"]["requests"] == 0
        (worker,) = penstock.children("worker")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: penstock.cost()["total"]["requests"] == 1, "the lost request to be booked")
        connection.close()
        report = penstock.cost()
        assert report["coverage"]["estimated_requests"] == 1
        assert float(report["total"]["cost_usd"]) >= 0.000020  # at most 10 tokens of output, and what was asked
        wait_until(lambda: bool(penstock.children("worker")), "the worker to be started again")
        assert penstock.chat("m", REPLY, question="again").status == 200
        assert penstock.cost()["total"]["requests"] == 2
