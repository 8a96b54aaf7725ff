"""The three things planted in the demo, found as a newcomer finds them: from the console's pages (their JSON twins) and `penstock cost`."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from tests.acceptance.command_line import SOURCE, penstock
from tests.acceptance.serving import wait_until

REQUESTS = 20_000


class Demo(NamedTuple):
    """A demo that runs: its port, its directory, the end of its thirty days."""

    port: int
    directory: Path
    today: date
    began_ns: int
    """when it began to play: what is newer is no history"""

    def page(self, path: str, **asked: str) -> dict[str, Any]:
        """The JSON twin of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"{path}.json?{urlencode(asked, quote_via=quote)}")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            found: dict[str, Any] = json.loads(body)
            return found
        finally:
            connection.close()

    def cost(self, *arguments: str) -> list[Mapping[str, Any]]:
        """The rows of `penstock cost --json`."""
        done = penstock("cost", *arguments, "--json", "--config", str(self.directory / "penstock.toml"), cwd=self.directory)
        assert done.returncode == 0, done.stderr
        rows: list[Mapping[str, Any]] = json.loads(done.stdout)["rows"]
        return rows


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    temporary = tmp_path_factory.mktemp("story")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    command = [sys.executable, "-m", "penstock", "demo", "--requests", str(REQUESTS), "--seconds", "300"]
    environ = kept | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(temporary)}
    today = datetime.now(UTC).date()
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "playing" not in (line := process.stderr.readline()):
                assert line, "the demo ended before it played"
            address = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            assert address is not None
            [directory] = temporary.glob("penstock-demo-*")
            yield Demo(int(address[1]), directory, today, time.time_ns())
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=20)
            process.kill()


def usd(amount: Any) -> Decimal:
    return Decimal(str(amount or 0))


def test_a_runaway_agent_is_found(demo: Demo) -> None:
    jumps = [finding for finding in demo.page("/today")["findings"] if finding["kind"] == "jump"]
    assert any("code" in each["title"] for each in jumps), "Today tells of it"  # on a weekend beside what is seldom asked then

    spent: dict[str, dict[str, Decimal]] = {}
    for row in demo.page("/costs", by="day,feature")["rows"]:
        if row["keys"]["feature"] is not None:
            spent.setdefault(row["keys"]["feature"], {})[row["keys"]["day"]] = usd(row["cost_usd"])
    odd = {name: max(days, key=days.__getitem__) for name, days in spent.items() if max(days.values()) > 5 * median(days.values())}
    assert set(odd) == {"code"}, "one feature of nine"
    loop = (demo.today - timedelta(days=7), demo.today - timedelta(days=6))
    assert date.fromisoformat(odd["code"]) in loop

    window = {"since": loop[0].isoformat(), "until": (loop[1] + timedelta(days=1)).isoformat()}
    users = demo.page("/costs", by="user", where="feature=code", **window)["rows"]
    top = max(users, key=lambda row: usd(row["cost_usd"]))
    assert top["keys"]["user"] == "svc-refactor"
    assert usd(top["cost_usd"]) > Decimal("0.7") * sum(usd(row["cost_usd"]) for row in users)

    weeks = demo.cost("--by", "day", "--where", "user=svc-refactor")
    inside = [row for row in weeks if date.fromisoformat(row["day"]) in loop]
    usual = [row for row in weeks if date.fromisoformat(row["day"]) not in loop]
    for measure in ("requests", "cost_usd"):
        assert sum(usd(row[measure]) for row in inside) / 2 > 10 * sum(usd(row[measure]) for row in usual) / len(usual)

    evening = {"since": f"{loop[0]}T18:00:00Z", "until": f"{loop[0]}T20:00:00Z"}
    turns = [row["input_tokens"] for row in demo.page("/requests", where="user=svc-refactor", **evening)["rows"]][::-1]
    growing = sum(before < after for before, after in pairwise(turns))
    assert growing > 0.8 * (len(turns) - 1) > 15, "each turn has a longer context than the one before"


def test_a_cache_that_pays_is_found(demo: Demo) -> None:
    [found] = [finding for finding in demo.page("/today")["findings"] if finding["kind"] == "cache"]
    assert "chat" in found["title"]

    groups = {group["keys"]["feature"]: group["levers_usd"] for group in demo.page("/savings", by="feature")["groups"]}
    saved = {feature: usd(levers["exact_cache"]) for feature, levers in groups.items()}
    paid = {row["feature"]: row for row in demo.cost("--by", "feature")}
    assert max(saved, key=lambda feature: saved[feature]) == "chat"
    assert saved["chat"] > sum(saved.values()) / 2
    assert saved["chat"] > Decimal("0.35") * (saved["chat"] + usd(paid["chat"]["cost_usd"])), "of what its answers would have cost"

    chats = {row["cache"]: row for row in demo.cost("--by", "cache", "--where", "feature=chat")}
    replayed, made = chats["exact"], chats["miss"]
    assert 0.35 < replayed["requests"] / (replayed["requests"] + made["requests"]) < 0.5
    assert usd(replayed["cost_usd"]) == 0 < usd(replayed["saved_usd"])


def test_the_cache_by_meaning_is_told_with_its_measured_error(demo: Demo) -> None:
    def caching() -> dict[str, Any]:
        found: dict[str, Any] = demo.page("/savings")["caching"]
        return found

    wait_until(lambda: caching()["measured"] is not None, "the controller to read the log of the history")
    caching_now = caching()
    layers = {layer["layer"]: layer for layer in caching_now["layers"]}
    assert caching_now["mode"] == "learned" and caching_now["promised"] == 0.005 and not caching_now["alarms"]
    assert layers["normalised"]["answers"] > 20 and layers["semantic"]["answers"] > 10
    assert all(usd(layer["avoided_usd"]) > 0 for layer in layers.values())
    assert caching_now["embedding_usd"] == "0.000000000", "embedded by the gateway itself"
    measured = caching_now["measured"]
    assert measured["low"] <= measured["of_answers"] <= measured["high"] and measured["compared"] > 0
    assert measured["of_requests_low"] <= caching_now["promised"]
    assert caching_now["wrong_answer"] == "0.50 USD" and caching_now["net_usd"] is not None
    assert caching_now["potential"]["semantic"] >= measured["compared"], "probes were asked of a model all the same"


def test_live_questions_are_answered_from_what_the_history_kept(demo: Demo) -> None:
    def hits() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = demo.page("/requests", where="feature=chat")["rows"]
        live = [row for row in rows if row["admitted_ns"] > demo.began_ns]
        return [row for row in live if row["cache"] in ("normalised", "semantic") and row["cache_verdict"] == "served"]

    wait_until(lambda: bool(hits()), "an answer in other words", within_s=60)
    told = penstock("explain", hits()[0]["id"], "--config", str(demo.directory / "penstock.toml"), cwd=demo.directory)
    assert told.returncode == 0 and "cache" in told.stdout, told


def test_a_route_is_told_with_its_loss_its_saving_and_its_control(demo: Demo) -> None:
    def careful() -> dict[str, Any]:
        since = (demo.today - timedelta(days=7)).isoformat()
        [found] = [each["route"] for each in demo.page("/routing", since=since)["routes"] if each["route"]["route"] == "careful"]
        return dict(found)

    wait_until(
        lambda: careful()["policy_ns"] is not None and bool(careful()["all"]["split"]), "the controller to prove what it can", within_s=30
    )
    route = careful()
    tags = {tag["tag"]: tag for tag in route["tags"]}
    assert set(tags) == {"triage", "documents", "hydraulics"} and route["error_budget"] == 0.03
    cheap = [tag for tag in tags.values() if tag["state"] in ("proven", "expected", "gated")]
    assert cheap and all(tag["low"] <= tag["loss"] <= tag["high"] and tag["loss"] < 0.03 and tag["labels"] > 0 for tag in cheap)
    assert usd(route["all"]["saved_usd"]) > 0, "against always asking the last tier, every call beside requests counted"
    split = route["all"]["split"]
    assert split["low"] <= split["gain"] <= split["high"] and split["gain"] > 0 and split["labels"] > 100

    spent = {row["purpose"]: row for row in demo.cost("--by", "purpose", "--where", "requested_model=careful")}
    shadows = spent["shadow"]
    assert shadows["requests"] == 0 < shadows["asides"] and usd(shadows["cost_usd"]) > 0


def test_a_request_tells_its_way_over_tiers(demo: Demo) -> None:
    rows = demo.page("/requests", where="feature=hydraulics", since=(demo.today - timedelta(days=7)).isoformat())["rows"]
    escalated = next(row for row in rows if ">" in (row["route"] or ""))
    told = penstock("explain", escalated["id"], "--config", str(demo.directory / "penstock.toml"), cwd=demo.directory)
    assert told.returncode == 0 and "stage 1" in told.stdout and "beside" in told.stdout, told


def test_a_gpu_that_nobody_uses_is_found(demo: Demo) -> None:
    idle = [finding for finding in demo.page("/today")["findings"] if finding["kind"] == "idle"]
    dearest = max(idle, key=lambda finding: usd(finding["amount_usd"]))
    assert "h100" in dearest["title"] and usd(dearest["amount_usd"]) > 3_500

    fleets = {fleet["fleet"]: fleet for fleet in demo.page("/fleet")["fleets"]}
    unused = fleets["h100"]
    assert (unused["gpu"], unused["count"], unused["requests"]) == ("H100", 2, 0)
    assert usd(unused["used_usd"]) == 0
    assert unused["idle_usd"] == unused["rent_usd"]
    assert fleets["l40s"]["requests"] > 0 < usd(fleets["l40s"]["used_usd"])
    assert {row["fleet"] for row in demo.cost("--by", "fleet")} == {"l40s", None}, "nothing was answered on it"
