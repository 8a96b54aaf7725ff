"""The whole loop of a learned route under `penstock serve`.

What shadows measure opens the cheap tier, and when its model turns bad an alarm closes it. Meanwhile every call of an upstream stands
on the ledger once, and the hard cap of the team holds for all of them.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.serving import Answer, Serving, serving, wait_until

SMALL, LARGE = 20_000, 200_000
"""nano-USD of a call"""
LIMIT = 150_000_000
"""of the team, nano-USD a day"""
GOOD, BAD = 120, 30
"""labels while the small model is right and while it is not: enough for the alarm, and too few for a comparison with a fixed split"""
SCORE = 0.4
"""that the check gives to an answer that is not right"""
TABLES = """
[cache]
exact = {{ enabled = false }}
[tags]
declared = ["team", "feature"]
[upstreams.all]
base_urls = ["{url}/v1"]
retries = 0
[models.little]
upstream = "all"
max_output = 5
price = {{ input = 1, output = 2 }}
[models.big]
upstream = "all"
max_output = 5
price = {{ input = 10, output = 20 }}
[tiers]
small = {{ model = "little" }}
large = {{ model = "big" }}
[routes.auto]
strategy = "learned"
tiers = ["small", "large"]
error_budget = 0.2
shadow = 0.5
confidence = 0.3
{checks}
[checks.sum]
kind = "http"
url = "{url}/check"
timeout = "10s"
[[budgets]]
name = "team"
limit = "0.15 USD / day"
at_limit = "refuse"
where = {{ team = "a" }}
"""
LEAVES_OPEN = {"proven", "expected"}


class Models:
    """Both models, which add two numbers, and a check that knows the sum."""

    def __init__(self) -> None:
        self.url = ""
        self.turned_bad = False
        """whether the small one is wrong from now on"""
        self.calls: Counter[str] = Counter()
        self._wrong: set[str] = set()
        self._large: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        question, is_small = asked["messages"][-1]["content"], asked["model"] == "little"
        is_wrong = is_small and self.turned_bad
        with self._lock:
            self.calls[asked["model"]] += 1
            if is_wrong or not is_small:
                (self._wrong if is_wrong else self._large).add(question)
        total = _sum_of(question) + is_wrong
        choice = {"index": 0, "message": {"role": "assistant", "content": str(total)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return {"id": "c", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice], "usage": usage}

    @staticmethod
    def check(asked: dict[str, Any]) -> dict[str, Any]:
        return {"score": 1.0 if int(asked["answer"]) == _sum_of(asked["question"]) else SCORE}

    @property
    def bad_labels(self) -> int:
        """Questions that the small model got wrong and the large one was asked, too."""
        with self._lock:
            return len(self._wrong & self._large)

    @property
    def cost(self) -> int:
        """Nano-USD of all calls."""
        return self.calls["little"] * SMALL + self.calls["big"] * LARGE


def _sum_of(question: str) -> int:
    return sum(map(int, re.findall(r"\d+", question)))


@contextmanager
def served_models() -> Iterator[Models]:
    models = Models()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            said = json.dumps(models.check(asked) if self.path == "/check" else models.answer(asked)).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(said)}\r\n\r\n"
            self.wfile.write(head.encode() + said)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        models.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield models
        finally:
            server.shutdown()


class Traffic:
    """Clients of the team, no two of whose questions are the same."""

    def __init__(self, penstock: Serving, models: Models) -> None:
        self.penstock = penstock
        self.models = models
        self._numbers = count(1)

    def ask(self, **more: str) -> Answer:
        number = next(self._numbers)
        headers = {"penstock-tag-team": "a", "penstock-tag-feature": "sums", **more}
        return self.penstock.chat("auto", question=f"What is {number} plus {2 * number}?", headers=headers)

    def batch(self, size: int) -> list[Answer]:
        with ThreadPoolExecutor(4) as clients:
            return list(clients.map(lambda _: self.ask(), range(size)))

    def labelled(self) -> int:
        """Requests that were shadowed and have their label."""
        return int(sum(value for labels, value in self._samples("penstock_route_shadow_total") if 'outcome="labelled"' in labels))

    def state(self) -> str | None:
        """Of the tag, as it is published; None: there is none yet."""
        found = [labels for labels, value in self._samples("penstock_route_state") if 'tag="sums"' in labels and value]
        return re.findall(r'state="(\w+)"', found[0])[0] if found else None

    def goes_to(self, tier: str) -> bool:
        """Whether a request that is not to be shadowed does."""
        return self.ask(**{"penstock-cache": "no-store"}).headers["penstock-route"] == tier

    def standing(self) -> dict[str, Any]:
        """The tag, as `penstock route status --json` shows it."""
        done = self.penstock.command("route", "status", "--json")
        assert done.returncode == 0, done.stderr
        (tag,) = json.loads(done.stdout)["routes"][0]["tags"]
        assert isinstance(tag, dict)
        return tag

    def is_well(self) -> None:
        assert "Traceback" not in self.penstock.log(), self.penstock.log()

    def _samples(self, name: str) -> list[tuple[str, float]]:
        lines = self.penstock.get("/metrics").body.decode().splitlines()
        return [(line.rpartition(" ")[0], float(line.rpartition(" ")[2])) for line in lines if line.startswith(f"{name}{{")]


def booked(penstock: Serving) -> dict[str | None, dict[str, Any]]:
    """Rows of the ledger by what calls were made for; requests themselves under None."""
    return {row["purpose"]: row for row in penstock.cost("--by", "purpose", "--where", "team=a")["rows"]}


def nano(rows: dict[str | None, dict[str, Any]]) -> int:
    return sum(int(Decimal(row["cost_usd"]) * 10**9) for row in rows.values())


@pytest.mark.parametrize("judge", ["check", "agreement"])
def test_what_is_measured_opens_the_small_tier_and_an_alarm_closes_it(tmp_path: Path, judge: str) -> None:
    with served_models() as models:
        tables = TABLES.format(url=models.url, checks='checks = ["sum"]' if judge == "check" else "")
        with serving(tmp_path, tables) as penstock:
            traffic = Traffic(penstock, models)
            _opens(traffic)
            _closes(traffic)
            _holds_the_cap(traffic)


def _opens(traffic: Traffic) -> None:
    first = traffic.ask()
    assert (first.status, first.headers["penstock-route"]) == (200, "large"), "nothing is known yet"
    while (known := traffic.labelled()) < GOOD:
        assert {answer.status for answer in traffic.batch(30)} == {200}
        wait_until(lambda known=known: traffic.labelled() > known, "labels of these requests", traffic.is_well)  # type: ignore[misc]
    wait_until(lambda: traffic.state() in LEAVES_OPEN, "what was measured to open the small tier", traffic.is_well)
    wait_until(lambda: traffic.goes_to("small"), "the workers to hear of it")
    tag = traffic.standing()
    assert tag["state"] in LEAVES_OPEN and tag["course"].startswith("small"), tag
    assert tag["labels"] >= GOOD and tag["loss"] <= 0.2 and Decimal(tag["measuring_usd"]) > 0
    rows = booked(traffic.penstock)
    assert set(rows) == {None, "shadow"} and rows["shadow"]["asides"] > 0


def _closes(traffic: Traffic) -> None:
    traffic.models.turned_bad = True
    answers: list[Answer] = []

    def closed() -> bool:
        if traffic.models.bad_labels < BAD:
            answers.extend(traffic.batch(4))
        return traffic.state() not in LEAVES_OPEN

    wait_until(closed, "the alarm", traffic.is_well, within_s=40)
    assert {answer.status for answer in answers} == {200}
    assert any(answer.headers["penstock-route"] == "small" for answer in answers)
    wait_until(lambda: traffic.goes_to("large"), "the workers to hear of it")
    tag = traffic.standing()
    assert (tag["state"], tag["course"]) == ("alarm", "large"), tag
    assert "its cheap way is closed by an alarm" in traffic.penstock.log()


def _holds_the_cap(traffic: Traffic) -> None:
    """Spends what is left, and holds the ledger against what the models were asked."""
    statuses: Counter[int] = Counter()
    while 402 not in statuses:
        statuses.update(answer.status for answer in traffic.batch(40))
    assert set(statuses) == {200, 402}
    wait_until(lambda: nano(booked(traffic.penstock)) == traffic.models.cost, "every call to be booked")
    rows = booked(traffic.penstock)
    assert 0.9 * LIMIT < nano(rows) <= LIMIT
    assert rows["shadow"]["unpriced_asides"] == 0
    asked, beside = rows[None]["requests"], rows["shadow"]["asides"]
    assert (
        asked + beside + sum(row["asides"] for purpose, row in rows.items() if purpose not in (None, "shadow"))
        == traffic.models.calls.total()
    )
