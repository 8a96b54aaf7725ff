"""Who may look, at a Penstock that was started by its command: the key of the environment opens the pages, and /metrics needs none."""

import json
import socket
from base64 import b64encode
from pathlib import Path

from tests.acceptance.serving import serving, start, write_config

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
        assert running.get("/metrics").status == 200


def test_beyond_this_machine_and_without_a_key_the_pages_are_closed(tmp_path: Path) -> None:
    tables = TABLES.replace('[auth]\nadmin_key = { env = "CONSOLE_KEY" }', "")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_config(tmp_path, tables, listen=f"0.0.0.0:{port}")
    running = start(tmp_path)
    running.port = port
    try:
        running.wait_ready()
        closed = running.get("/requests.json")
        assert closed.status == 403
        assert b"admin_key" in closed.body
        assert running.get("/v1/models").status == 200
        assert "closed: the address is not loopback" in running.command("check").stdout
        assert running.stop() == 0
    finally:
        running.kill()
