"""An objective from outside: dear traffic misses it, is shifted, meets it again and goes its own way; with figures that add up."""

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.serving import Serving, serving, wait_until

CONFIG = """
[upstreams.engine]
kind = "simulated"
simulated = {{ speed = 50, answer_tokens = [20, 40] }}
[models.cheap]
upstream = "engine"
max_output = 100
price = {{ input = 5, output = 5 }}
[models.dear]
upstream = "engine"
max_output = 100
price = {{ input = 100, output = 100 }}
[tiers]
small = {{ model = "cheap" }}
large = {{ model = "dear" }}
[routes.auto]
tiers = ["large"]
cache = "off"
[[rules]]
where = {{ data = "restricted" }}
only = ["engine"]
[[slos]]
name = "cheap enough"
metric = "cp1kt"
where = {{ tier = "large" }}
target = "<= 0.05 USD"
window = "60s"
respond = ["shift_traffic:small", "notify:me"]
[notify.me]
kind = "webhook"
url = "http://127.0.0.1:{port}/hook"
"""


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A webhook: its port and what it got."""
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, got
        server.shutdown()


def model_of(gateway: Serving, number: int = 0) -> str:
    answer = gateway.chat("auto", question=f"question {number}?")
    assert answer.status == 200, answer.body
    return answer.headers["penstock-model"]


def objective(gateway: Serving) -> dict[str, Any]:
    told: dict[str, Any] = gateway._json("slos")["objectives"][0]
    return told


def test_missed_shifted_met_and_lifted(tmp_path: Path, receiver: tuple[int, list[dict[str, Any]]]) -> None:
    port, messages = receiver
    with serving(tmp_path, CONFIG.format(port=port)) as gateway:
        assert {model_of(gateway, number) for number in range(40)} == {"dear"}
        wait_until(lambda: model_of(gateway) == "cheap", "traffic to be shifted", within_s=20)
        standing = objective(gateway)
        assert (standing["state"], standing["acting"], standing["basis"]) == ("missed", True, "as booked, without idle")
        assert Decimal(standing["long"]["cp1kt_usd"]) > Decimal("0.05")
        assert gateway.metric("penstock_directive_active") == 1
        assert {model_of(gateway, number) for number in range(20)} == {"cheap"}

        wait_until(lambda: not gateway.metric("penstock_directive_active"), "the objective to be met again", within_s=45)
        wait_until(lambda: model_of(gateway) == "dear", "traffic to go its own way again", within_s=10)
        (ended,) = gateway._json("slos")["ended"]
        entries = {entry["action"]: entry for entry in gateway._json("audit")["entries"]}
        begin, end = entries["directive.begin"]["details"], entries["directive.end"]["details"]
        rows = gateway.cost("--where", f"steered={ended['id']}", "--by", "steered_from")["rows"]
        saved = 19 * Decimal(rows[0]["cost_usd"])
        assert rows[0]["steered_from"] == "dear" and Decimal(ended["measured_usd"]) == saved > 0, "the dear model costs 20 times as much"
        assert 0 < Decimal(end["measured_usd"]) <= saved and Decimal(begin["expected_usd"]) > 0
        wait_until(lambda: len(messages) == 2, "both messages", within_s=10)
        assert [each["status"] for each in messages] == ["firing", "resolved"]
