"""A console over a real ledger: a SQLite store with a week of a small firm, served on a loopback port or asked directly."""

import asyncio
import http.client
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock import bootstrap
from penstock.bootstrap.audit import console_tables, open_papers
from penstock.bootstrap.simulation_child import Simulations
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.console.access import Access
from penstock.console.app import Console
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import counterfactual, price_call
from penstock.domain.ledger.record import Attempt, UsageRecord
from penstock.domain.ledger.request_id import request_id
from penstock.domain.prices.book import PriceBook
from penstock.finops.live import Tail
from penstock.ports.usage_store import Intake
from penstock.wire.server import serve

CONFIG = """
version = 1
[server]
listen = "127.0.0.1:4100"
store = "sqlite:///{folder}/ledger.db"
journal = "{folder}/journal"
baseline = "large"
[tags]
declared = ["team", "feature", "user"]
[upstreams.gpu]
base_urls = ["http://127.0.0.1:9/v1"]
[upstreams.spare]
base_urls = ["http://127.0.0.1:9/v1"]
[upstreams.api]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.l40s]
upstream = "gpu"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 900
[fleets.a100-spare]
upstream = "spare"
gpu = "A100-80GB"
price = "1.89 USD/gpu-hour"
[models.small]
upstream = "gpu"
[models.big]
upstream = "api"
price = {{ input = 2.5, cached_input = 1.25, output = 10.003 }}
[tiers]
small = {{ model = "small" }}
large = {{ model = "big", complexity = "> 0.7" }}
[routes.auto]
strategy = "by_complexity"
tiers = ["small", "large"]
[[budgets]]
name = "the firm"
limit = "400 USD / month"
"""
DAY = 86_400 * 10**9
HOSTILE = '<script>alert("1")</script>'
FEATURES = (("support", "chat"), ("support", "triage"), ("search", "documents"), ("engineering", "code"), ("planning", "forecast"))


def firm(prices: PriceBook, now_ns: int, count: int, days: int = 7, seed: int = 1) -> Iterator[UsageRecord]:
    """So many records over the last days, oldest first: streams, replays, fallbacks, refusals and a hostile tag among them."""
    rng = random.Random(seed)
    source: str | None = None
    for number in range(count):
        admitted = now_ns - days * DAY + (number + 1) * days * DAY // (count + 1)
        record = _record(prices, rng, admitted, source)
        source = record.id if record.cache == "miss" and record.outcome == "ok" else source
        yield record


def _record(prices: PriceBook, rng: random.Random, admitted: int, source: str | None) -> UsageRecord:
    team, feature = rng.choice(FEATURES)
    tags = {"team": team, "feature": feature, "user": f"u{rng.randrange(40)}"} if rng.random() < 0.97 else {"team": HOSTILE}
    large = rng.random() < 0.3
    model, tier, upstream = ("big", "large", "api") if large else ("small", "small", "gpu")
    tokens = Tokens(rng.randrange(50, 1500), rng.randrange(0, 300), 0, rng.randrange(10, 400), 0)
    first, whole = rng.randrange(40_000, 600_000), rng.randrange(700_000, 5_000_000)
    given: dict[str, Any] = {
        "id": request_id(admitted, rng.getrandbits(64)),
        "admitted_ns": admitted,
        "endpoint": "chat.completions",
        "status": 200,
        "outcome": "ok",
        "requested_model": "auto",
        "tags": tags,
        "streamed": rng.random() < 0.6,
        "strategy": "by_complexity",
        "complexity": rng.random(),
    }
    if rng.random() < 0.02:
        return UsageRecord(**given | {"status": 402, "outcome": "refused", "cache": "bypass"}, duration_us=900, cost_basis="unknown")
    given |= {"model": model, "tier": tier, "upstream": upstream, "route": tier, "baseline": "big", "replica": "127.0.0.1:9"}
    given |= {} if large else {"fleet": "l40s", "gpu": "L40S"}
    priced = price_call(prices, model, tokens, admitted)
    money: dict[str, Any] = {
        "price_id": priced.price_id,
        "price_version": priced.price_version,
        "list_cost": priced.list_cost,
        "counterfactual": counterfactual(prices, "big", model, tokens, admitted),
    }
    if source is not None and feature == "triage" and rng.random() < 0.6:
        return UsageRecord(
            **given | money, cache="exact", cache_source=source, recalled=tokens, cost=0, duration_us=1_800, first_token_us=1_500
        )
    if rng.random() < 0.02:
        tries = (
            Attempt("small", "gpu", "127.0.0.1:9", None, 400_000, "timeout", 1_000),
            Attempt(model, upstream, "127.0.0.1:9", 200, whole, None, 402_000),
        )
        extra = {
            "attempts": tries,
            "wasted_cost": 90_000,
            "cost": (priced.cost or 0) + 90_000,
            "cost_basis": "estimated",
            "route": "small>large",
        }
        return UsageRecord(**given | money | extra, tokens=tokens, duration_us=whole + 402_000, first_token_us=402_000 + first)
    return UsageRecord(
        **given | money, tokens=tokens, cost=priced.cost, cost_basis=priced.cost_basis, first_token_us=first, duration_us=whole
    )


class Rig:
    """The console, its settings and its tail; `get` asks it over HTTP."""

    def __init__(self, settings: Settings, tail: Tail, port: int, loop: asyncio.AbstractEventLoop, logged: list[str]) -> None:
        self.settings, self.tail, self.port, self.loop, self.logged = settings, tail, port, loop, logged

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, target: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def page(self, target: str) -> str:
        """The HTML of a page that has to be there."""
        status, _, body = self.get(target, accept="text/html")
        assert status == 200, (status, body[:2000])
        return body

    def publish(self, records: list[UsageRecord]) -> None:
        """Lets the tail hear of records, as the controller does after an intake."""
        self.loop.call_soon_threadsafe(self.tail.publish, records)


def settings_in(folder: Path, extra: str = "") -> Settings:
    return parse(CONFIG.format(folder=folder) + extra, {})


def fill(settings: Settings, records: list[UsageRecord]) -> None:
    """Takes records into the store of these settings."""
    store = bootstrap.open_store(settings)
    for start in range(0, len(records), 20_000):
        store.take_in(Intake(records=records[start : start + 20_000], opened=[], settled=[], offsets={}))
    store.close()


@contextmanager
def console(settings: Settings, *, key: str | None = None, listen: str | None = None) -> Iterator[Rig]:
    """Serves the console in a thread of its own until the end of the block."""
    started = threading.Event()
    ready: dict[str, Any] = {}
    gauges: Any = {
        "penstock_requests_in_flight": [((), 3.0)],
        "penstock_upstream_outstanding": [(("gpu", "1"), 2.0), (("spare", "1"), 0.0), (("api", "1"), 1.0)],
        "penstock_circuit_open": [(("gpu", "1"), 0.0), (("spare", "1"), 0.0), (("api", "1"), 1.0)],
    }

    async def main() -> None:
        tail, stop = Tail(), asyncio.Event()
        logged: list[str] = []
        access = Access(key, listen or settings.server.listen)
        posts, reads = console_tables(settings, access, Simulations(settings))
        made = Console(
            settings,
            lambda: bootstrap.open_reading(settings),
            lambda: bootstrap.price_book(settings),
            runs=lambda fleet: None,
            price_source="the config",
            gauges=lambda: gauges,
            tail=tail,
            access=access,
            papers=open_papers(settings),
            log=logged.append,
            posts=posts,
            reads=reads,
        )
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(made.answer, sock=sock)
            ready["rig"] = Rig(settings, tail, sock.getsockname()[1], asyncio.get_running_loop(), logged)
            ready["stop"] = stop
            started.set()
            await stop.wait()
            await server.drain(0.2)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert started.wait(20)
    rig: Rig = ready["rig"]
    try:
        yield rig
    finally:
        rig.loop.call_soon_threadsafe(ready["stop"].set)
        thread.join()


def seeded(folder: Path, count: int, extra: str = "", days: int = 7) -> tuple[Settings, list[UsageRecord]]:
    """Settings whose store holds so many records of the firm."""
    settings = settings_in(folder, extra)
    records = list(firm(bootstrap.price_book(settings), time.time_ns(), count, days))
    fill(settings, records)
    return settings, records
