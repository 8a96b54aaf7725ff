"""A bounded upstream under `penstock serve`: the urgent pass the others, the rest is told to come back, and `/metrics` shows both."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.acceptance.serving import Answer, Serving, serving, wait_until

TABLES = """
[upstreams.engine]
base_urls = ["{engine}"]
max_concurrent = {places}
[models.m]
upstream = "engine"
max_output = 10
price = {{ input = 1, output = 2 }}
[queue]
standard = "30s"
best_effort = "0s"
"""


class GatedEngine:
    """Answers nothing until its gate is open."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.base_url = ""


@contextmanager
def gated_engine() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    answer = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            engine.asked.append(body["messages"][0]["content"])
            engine.gate.wait(30)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    engine.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield engine
    finally:
        engine.gate.set()
        server.shutdown()
        server.server_close()


def ask(penstock: Serving, name: str) -> Answer:
    return penstock.chat("m", question=name, headers={"penstock-tag-sla": name})


def shows(penstock: Serving, line: str) -> bool:
    return line in penstock.get("/metrics").body.decode().splitlines()


def test_the_queue_is_seen_from_outside(tmp_path: Path) -> None:
    with (
        gated_engine() as engine,
        serving(tmp_path, TABLES.format(engine=engine.base_url, places=1)) as penstock,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(ask, penstock, "first")
        wait_until(lambda: engine.asked == ["first"], "the first one to be under way")
        standard = pool.submit(ask, penstock, "standard")
        wait_until(lambda: shows(penstock, 'penstock_queue_waiting{sla="standard"} 1.0'), "one to wait")
        critical = pool.submit(ask, penstock, "critical")
        wait_until(lambda: shows(penstock, 'penstock_queue_waiting{sla="critical"} 1.0'), "another one to wait")
        refused = ask(penstock, "best_effort")
        assert (refused.status, refused.headers["penstock-error"], refused.headers["retry-after"]) == (429, "limit", "5")
        engine.gate.set()
        assert [each.result().status for each in (first, standard, critical)] == [200, 200, 200]
        assert engine.asked == ["first", "critical", "standard"]
        wait_until(lambda: shows(penstock, 'penstock_shed_total{sla="best_effort"} 1.0'), "it to be counted")
        total = penstock.cost()["total"]
        assert (total["requests"], total["refused"], total["cost_usd"]) == (3, 1, "0.000060000")


def test_workers_share_the_places_out(tmp_path: Path) -> None:
    with gated_engine() as engine, serving(tmp_path, TABLES.format(engine=engine.base_url, places=4), workers=2) as penstock:
        with ThreadPoolExecutor(24) as pool:
            answers = [pool.submit(ask, penstock, "best_effort") for _ in range(24)]
            wait_until(lambda: sum(each.done() for each in answers) + len(engine.asked) == 24, "those without a place to be refused")
            assert {each.result().status for each in answers if each.done()} == {429}
            engine.gate.set()
            statuses = [each.result().status for each in answers]
        assert len(engine.asked) == statuses.count(200)
        assert 2 <= statuses.count(200) <= 4, "four places, two in each worker; where all come to one worker, two"
