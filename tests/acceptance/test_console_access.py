"""Who may look, at a Penstock that was started by its command: the key of the environment opens the pages, and /metrics elsewhere."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.serving import Serving, serving, start, write_config

TABLES = """
[auth]
admin_key = { env = "CONSOLE_KEY" }
[upstreams.local]
kind = "simulated"
[models.m]
upstream = "local"
price = { input = 1, output = 2 }
"""


def test_the_key_of_the_environment_opens_the_console(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES, {"CONSOLE_KEY": "open sesame"}) as running:
        chat = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"content-type": "application/json", "penstock-tag-team": "search"}
        answer = running.request("POST", "/v1/chat/completions", json.dumps(chat).encode(), headers)
        assert answer.status == 200, "model calls need no admin key"
        id = answer.headers["penstock-request-id"]
        for page in ("/", "/requests", f"/requests/{id}.json", "/requests.csv"):
            closed = running.get(page)
            assert closed.status == 401
            assert closed.headers["www-authenticate"].startswith("Basic")
            assert id.encode() not in closed.body
            for key in ("Bearer open sesame", "Basic " + b64encode(b"me:open sesame").decode()):
                assert running.request("GET", page, headers={"authorization": key}).status == 200
        explained = running.request("GET", f"/requests/{id}.json", headers={"authorization": "Bearer open sesame"}).json()
        assert explained["request"]["cost_sum"]["total_usd"] == explained["request"]["cost_usd"]
        assert running.get("/metrics").status == 200, "on this machine the metrics are open"


def test_beyond_this_machine_and_without_a_key_the_pages_are_closed(tmp_path: Path) -> None:
    tables = TABLES.replace('[auth]\nadmin_key = { env = "CONSOLE_KEY" }', "")
    with beyond(tmp_path, tables) as running:
        closed = running.get("/requests.json")
        assert closed.status == 403
        assert b"admin_key" in closed.body
        assert (running.request("POST", "/keys", {}).status, running.get("/keys.json").status, running.get("/audit.json").status) == (
            403, 403, 403,
        )  # fmt: skip
        metrics = running.get("/metrics")
        assert metrics.status == 403
        assert b"metrics_key" in metrics.body and b"penstock_requests" not in metrics.body
        assert running.get("/v1/models").status == 200
        checked = running.command("check")
        assert "closed: the address is not loopback" in checked.stdout
        assert "/metrics is closed" in checked.stderr


def test_beyond_this_machine_a_key_opens_the_metrics(tmp_path: Path) -> None:
    tables = TABLES.replace("[auth]", '[auth]\nmetrics_key = { env = "METRICS_KEY" }')
    with beyond(tmp_path, tables, {"CONSOLE_KEY": "open sesame", "METRICS_KEY": "scrape me"}) as running:
        refused = [
            running.request("GET", "/metrics", headers={"authorization": text}).status for text in ("", "Bearer scrape", "scrape me")
        ]
        assert refused == [401, 401, 401]
        assert running.get("/metrics").headers["www-authenticate"].startswith("Bearer")
        opened = [running.request("GET", "/metrics", headers={"authorization": f"Bearer {key}"}) for key in ("scrape me", "open sesame")]
        assert [answer.status for answer in opened] == [200, 200]
        assert b"penstock_store_up" in opened[0].body
        scraper = {"authorization": "Bearer scrape me"}
        assert running.request("GET", "/requests.json", headers=scraper).status == 401, "it opens nothing else"
        assert running.request("POST", "/keys", {}, scraper).status == 401


def test_metrics_may_be_left_open(tmp_path: Path) -> None:
    with beyond(tmp_path, TABLES.replace("[auth]", '[auth]\nmetrics = "open"'), {"CONSOLE_KEY": "open sesame"}) as running:
        assert (running.get("/metrics").status, running.get("/keys.json").status) == (200, 401)
        assert "/metrics is open to whoever reaches" in running.command("check").stderr


@contextmanager
def beyond(folder: Path, tables: str, environ: dict[str, str] | None = None) -> Iterator[Serving]:
    """A Penstock that listens on every address of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_config(folder, tables, listen=f"0.0.0.0:{port}")
    running = start(folder, environ)
    running.port = port
    try:
        running.wait_ready()
        yield running
        assert running.stop() == 0
    finally:
        running.kill()
