"""Keys and the audit log over HTTP, at a Penstock that was started by its command."""

import json
import time
from pathlib import Path

import pytest

from penstock.gateway.keys import REFRESH_S
from tests.acceptance.serving import Answer, Serving, serving, wait_until

TABLES = """
[auth]
required = true
admin_key = { env = "CONSOLE_KEY" }
[upstreams.local]
kind = "simulated"
simulated = { answer_tokens = [3, 4] }
[models.small]
upstream = "local"
context = 1000
max_output = 100
price = { input = 1, output = 2 }
[models.large]
upstream = "local"
price = { input = 10, output = 20 }
[tiers]
small = { model = "small" }
large = { model = "large" }
"""
ENVIRON = {"CONSOLE_KEY": "open sesame"}
ADMIN = {"authorization": "Bearer open sesame"}


def ask(running: Serving, secret: str, model: str = "small") -> Answer:
    return running.chat(model, headers={"authorization": f"Bearer {secret}"})


def test_the_life_of_a_key_over_http(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES, ENVIRON) as running:
        body = {"name": "ci", "tags": {"team": "search"}, "tiers": ["small"], "requests": "600 / minute", "budget": "5 USD / month"}
        made = running.request("POST", "/keys", body, ADMIN)
        assert (made.status, made.headers["cache-control"]) == (201, "no-store")
        key = made.json()
        assert (ask(running, key["secret"]).status, ask(running, key["secret"], "large").status) == (200, 403)

        listed = running.request("GET", "/keys.json", headers=ADMIN)
        assert key["secret"].encode() not in listed.body
        assert [each["id"] for each in listed.json()["keys"]] == [key["id"]]

        rotated = running.request("POST", f"/keys/{key['id']}/rotate", {"grace": "1h"}, ADMIN)
        assert (rotated.status, rotated.headers["cache-control"]) == (201, "no-store")
        new = rotated.json()
        assert (new["account"], new["replaces"], new["replaced"]["state"]) == (key["id"], key["id"], "active")
        assert (ask(running, key["secret"]).status, ask(running, new["secret"]).status) == (200, 200)

        began = time.monotonic()
        assert running.request("POST", f"/keys/{new['id']}/revoke", b"", {**ADMIN, "content-type": ""}).json()["state"] == "revoked"
        wait_until(lambda: ask(running, new["secret"]).status == 401, "the revoked key to be refused")
        assert time.monotonic() - began < REFRESH_S + 2
        assert ask(running, key["secret"]).status == 200, "the old key has its grace"

        entries = running.request("GET", "/audit.json?since=1h&limit=2", headers=ADMIN).json()["entries"]
        assert [(each["action"], each["subject"], each["actor"]) for each in entries] == [
            ("key.revoke", new["id"], "http:admin"),
            ("key.rotate", key["id"], "http:admin"),
        ]
        assert json.loads(running.command("audit", "--json").stdout)["entries"][:2] == entries
        assert {record["key_id"] for record in rows(running)} == {key["id"], new["id"], None}


def rows(running: Serving) -> list[dict[str, str | None]]:
    found: list[dict[str, str | None]] = running.cost("--by", "key_id")["rows"]
    return found


def test_nobody_else_makes_keys(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES, ENVIRON) as running:
        secret = running.request("POST", "/keys", {}, ADMIN).json()["secret"]
        for path in ("/keys", "/keys/key_1/revoke", "/keys/key_1/rotate"):
            for headers in ({}, {"authorization": f"Bearer {secret}"}, {"authorization": "Bearer open"}):
                assert running.request("POST", path, {}, headers).status == 401
            for headers in (
                {"origin": "https://evil.example"},
                {"sec-fetch-site": "cross-site"},
                {"sec-fetch-site": "same-site"},
                {"origin": "null"},
            ):
                assert running.request("POST", path, {}, {**ADMIN, **headers}).status == 403
            form = {**ADMIN, "content-type": "application/x-www-form-urlencoded"}
            assert running.request("POST", path, b"name=x", form).status == 415
            assert running.request("POST", path, b"", form).status == 415
        for path in ("/keys.json", "/audit.json"):
            assert running.get(path).status == 401
        own = {**ADMIN, "origin": running.address, "sec-fetch-site": "same-origin"}
        assert running.request("POST", "/keys", {}, own).status == 201, "the console's own pages may"
        assert len(running.request("GET", "/keys.json", headers=ADMIN).json()["keys"]) == 2


def test_what_cannot_be_done_says_why(tmp_path: Path) -> None:
    with serving(tmp_path, TABLES, ENVIRON) as running:
        for path, body, status, words in (
            ("/keys", {"tag": {}}, 400, "did you mean `tags`?"),
            ("/keys", b"{", 400, "not JSON"),
            ("/keys", {"budget": "much"}, 400, "2500 USD / month"),
            ("/keys", {"concurrent": 0}, 400, "1 or more"),
            ("/keys", b" " * 70_000, 413, "larger than"),
            ("/keys/key_none/revoke", {}, 404, "there is no key `key_none`"),
            ("/keys/key_none/rotate", {"grace": "x"}, 404, "there is no key"),
            ("/keys//revoke", {}, 405, "can only be read"),
        ):
            answer = running.request("POST", path, body, ADMIN)
            assert (answer.status, words in answer.body.decode()) == (status, True), answer.body
            assert answer.json()["error"]["hint"]
        id = running.request("POST", "/keys", {}, ADMIN).json()["id"]
        statuses = [running.request("POST", f"/keys/{id}/revoke", {}, ADMIN).status for _ in range(2)]
        assert [*statuses, running.request("POST", f"/keys/{id}/rotate", {}, ADMIN).status] == [200, 409, 409]
        assert running.request("GET", "/audit.json?limit=0", headers=ADMIN).status == 400
        assert running.request("GET", "/audit.json?since=maybe", headers=ADMIN).status == 400
        assert [running.request("PUT", "/keys", {}, ADMIN).status, running.request("GET", "/keys", headers=ADMIN).status] == [405, 404]


def test_on_this_machine_no_key_is_needed_and_no_web_page_may(tmp_path: Path) -> None:
    tables = TABLES.replace('admin_key = { env = "CONSOLE_KEY" }\n', "")
    with serving(tmp_path, tables) as running:
        assert running.request("POST", "/keys", {}, {"origin": "https://evil.example"}).status == 403
        assert running.request("POST", "/keys", {}, {"host": "rebound.example"}).status == 403
        assert running.request("POST", "/keys", {}).status == 201
        run = {"kind": "cost", "name": "labels", "usd": 3}
        assert running.request("POST", "/records", run).status == 201
        entries = running.get("/audit.json").json()["entries"]
    assert [(each["action"], each["actor"]) for each in entries] == [("cost.record", "http:local"), ("key.create", "http:local")]


@pytest.mark.parametrize("user", ["ann", ""])
def test_the_user_name_that_came_with_the_admin_key_is_told(tmp_path: Path, user: str) -> None:
    from base64 import b64encode

    with serving(tmp_path, TABLES, ENVIRON) as running:
        basic = {"authorization": "Basic " + b64encode(f"{user}:open sesame".encode()).decode()}
        assert running.request("POST", "/keys", {}, basic).status == 201
        [entry] = running.request("GET", "/audit.json", headers=basic).json()["entries"]
    assert entry["actor"] == (f"http:admin ({user})" if user else "http:admin")
