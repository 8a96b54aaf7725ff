"""The data plane in this process: a gateway wired from config text, on a real socket, its journal in memory, clients of bare bytes.

`rig` checks at its end what must hold after any traffic: nothing in flight, no call outstanding, no place taken, exactly one record
for each reservation, no error inside Penstock.
"""

import asyncio
import functools
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec

import msgspec
import orjson
import uvloop

from penstock import bootstrap
from penstock.adapters.caches.memory import MemoryCache
from penstock.adapters.upstreams.api import ApiUpstream
from penstock.bootstrap.checking import open_checks
from penstock.bootstrap.routing import open_shadows
from penstock.bootstrap.sharing import open_book
from penstock.bootstrap.spending import open_spending
from penstock.config.accounts import cap_accounts, key_cap
from penstock.config.load import absolute, parse
from penstock.config.settings import Settings
from penstock.domain.ledger.record import Reservation, UsageRecord
from penstock.domain.routing.rules import RuleBook, RuleLaw
from penstock.gateway.gateway import Counters, Gateway
from penstock.gateway.http import Front, wire_refusal
from penstock.gateway.keys import KeyRing
from penstock.gateway.lanes import Lanes
from penstock.gateway.refusal import Refusal
from penstock.gateway.speech import Speech
from penstock.gateway.targets import Targets
from penstock.gateway.upstreams import Upstreams
from penstock.ports.budget_book import BudgetBook
from penstock.ports.journal import JournalError
from penstock.ports.key_store import ApiKey
from penstock.wire.connection import Limits
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import Server, serve

P = ParamSpec("P")
TEST_S = 20
QUICK = 'timeout = { connect = "200ms", first_token = "200ms", idle = "200ms" }'


def on_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Runs an async test on the loop that workers use, and ends one that hangs."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(TEST_S):
                await test(*args, **kwargs)

        uvloop.run(bounded())

    return run


class Reply(msgspec.Struct):
    """What a client got. `status` 0: not even a head; `whole`: the answer came to its proper end."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    whole: bool = False

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI-shaped error, checked for its shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"] and error["type"]
        assert isinstance(error, dict)
        return error

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON of each event of a stream but `[DONE]`."""
        data = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: ")]
        return [orjson.loads(each) for each in data if each != b"[DONE]"]

    @property
    def text(self) -> str:
        """What a stream says."""
        deltas = [choice.get("delta", {}) for chunk in self.chunks for choice in chunk.get("choices", ())]
        return "".join(delta.get("content") or "" for delta in deltas)


class MemoryJournal:
    """Keeps entries in lists; `failing` makes it refuse them, as a full disk does."""

    def __init__(self) -> None:
        self.reservations: list[Reservation] = []
        self.records: list[UsageRecord] = []
        self.failing = False

    def reserve(self, reservation: Reservation) -> None:
        if self.failing:
            raise JournalError("the disk is full")
        self.reservations.append(msgspec.json.decode(msgspec.json.encode(reservation), type=Reservation))

    def append(self, record: UsageRecord) -> None:
        if self.failing:
            raise JournalError("the disk is full")
        self.records.append(msgspec.json.decode(msgspec.json.encode(record), type=UsageRecord))

    async def durable(self) -> None:
        return None

    def close(self) -> None:
        return None


class NoController:
    """Stands where the controller's link is."""

    ready = True

    async def hand_over(self, request: Request, responder: Responder) -> None:
        refusal = Refusal(404, "input", "there is no such page")
        responder.send(404, refusal.headers(), refusal.body())


class Rig:
    """A gateway under test."""

    def __init__(
        self, gateway: Gateway, journal: MemoryJournal, keys: list[ApiKey], log: list[str], server: Server, port: int, book: BudgetBook
    ) -> None:
        self.gateway = gateway
        self.book = book
        self.journal = journal
        self.keys = keys
        self.log = log
        self.server = server
        self.port = port

    @property
    def records(self) -> list[UsageRecord]:
        return self.journal.records

    @property
    def record(self) -> UsageRecord:
        """The only record."""
        assert len(self.records) == 1, self.records
        return self.records[0]

    @property
    def last(self) -> UsageRecord:
        return self.records[-1]

    async def raw(self, *pieces: bytes) -> Reply:
        """One connection: sends bytes, reads one answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await read_reply(reader, pieces[0].startswith(b"HEAD "))
        finally:
            writer.transport.abort()

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        return await self.raw(message(method, path, body, headers))

    async def chat(self, text: str = "hi", headers: Mapping[str, str] | None = None, **fields: Any) -> Reply:
        return await self.ask("POST", "/v1/chat/completions", chat_body(text, **fields), headers)

    async def settled(self) -> None:
        """Waits until nothing is in flight any more, and checks what must then hold."""
        if self.gateway.shadows is not None:
            await self.gateway.shadows.done()
        end = time.monotonic() + 5
        while self.gateway.counters.in_flight or self.outstanding():
            assert time.monotonic() < end, f"still in flight: {self.gateway.counters.in_flight}, {self.outstanding()} outstanding"
            await asyncio.sleep(0.002)
        ids = [record.id for record in self.records]
        assert len(set(ids)) == len(ids), "a request has two records"
        if not self.gateway.counters.journal_failures:
            assert {reservation.id for reservation in self.journal.reservations} <= set(ids), "a reservation has no record"
        assert not [line for line in self.log if "failed inside Penstock" in line], self.log
        assert self.gateway.purses is not None
        assert not any(purse.held for purse in self.gateway.purses.all()), "what a request held was not given back"
        lanes = [self.gateway.lanes.of(name) for name in self.gateway.settings.upstreams]
        assert not any(lane.taken for lane in lanes if lane is not None), "a place at an upstream was not given back"
        assert not any(self.gateway.lanes.gauges()["queue"].values()), "somebody still waits for a place"

    def outstanding(self) -> int:
        return sum(count for _, _, count in self.gateway.upstreams.gauges(time.monotonic())["upstream_outstanding"])

    def open_circuits(self) -> int:
        return sum(count for _, _, count in self.gateway.upstreams.gauges(time.monotonic())["circuit_open"])


@asynccontextmanager
async def rig(
    config: str,
    *,
    environ: Mapping[str, str] | None = None,
    keys: Sequence[ApiKey] = (),
    limits: Limits | None = None,
    spent: Mapping[str, int] | None = None,
) -> AsyncIterator[Rig]:
    """A running gateway with this config. `spent`: nano-USD that the ledger has of budgets, by name; None: the caps stay closed."""
    with tempfile.TemporaryDirectory() as folder:
        settings = absolute(parse(config, {}), Path(folder))
        Path(settings.server.journal).mkdir()
        known, log, journal = list(keys), list[str](), MemoryJournal()
        upstreams = {name: _upstream(name, settings, environ or {}) for name in settings.upstreams}
        gateway = _gateway(settings, upstreams, journal, KeyRing(lambda: list(known), log.append), log)
        book = await _opened_book(settings, gateway, keys, spent)
        await gateway.keys.refresh()
        with socket.create_server(("127.0.0.1", 0), backlog=256) as sock:
            limits = limits or Limits(max_body=settings.server.max_body)
            server = await serve(Front(gateway, NoController()), sock=sock, limits=limits, on_refusal=wire_refusal)
            running = Rig(gateway, journal, known, log, server, sock.getsockname()[1], book)
            assert gateway.purses is not None
            ticks = asyncio.create_task(gateway.purses.keep_even())
            try:
                yield running
                await running.settled()
            finally:
                ticks.cancel()
                await server.drain(0.1)
                for connection in list(server.connections):
                    connection.abort()
                for upstream in upstreams.values():
                    await upstream.close()
                if gateway.checks is not None:
                    await gateway.checks.close()
                await gateway.purses.leave()
                await book.close()


async def _opened_book(settings: Settings, gateway: Gateway, keys: Sequence[ApiKey], spent: Mapping[str, int] | None) -> BudgetBook:
    """The book as the controller leaves it: every cap open, with what was spent before."""
    book = open_book(settings)
    assert gateway.purses is not None
    await gateway.purses.register()
    timezone = settings.server.timezone
    accounts = [*cap_accounts(settings), *(key_cap(key.account, key.budget, timezone) for key in keys if key.budget is not None)]
    for account in accounts if spent is not None else ():
        now_ns = time.time_ns()
        before = {account.law.span(now_ns).begin: spent.get(account.name, 0)} if spent is not None else {}
        assert await book.open(account.id, before, [gateway.name], now_ns)
    return book


def _gateway(settings: Settings, upstreams: Mapping[str, ApiUpstream], journal: MemoryJournal, keys: KeyRing, log: list[str]) -> Gateway:
    baseline, exact = settings.server.baseline, settings.cache.exact
    spending = open_spending(settings, "worker-1", log.append)
    return Gateway(
        settings=settings,
        targets=Targets(settings),
        rules=RuleBook([RuleLaw(rule.where, rule.only) for rule in settings.rules]),
        prices=bootstrap.price_book(settings),
        keys=keys,
        cache=MemoryCache(exact.max_bytes) if exact.enabled else None,
        upstreams=Upstreams(
            upstreams,
            {name: each.retries for name, each in settings.upstreams.items()},
            {name: each.stream_usage == "auto" for name, each in settings.upstreams.items()},
        ),
        lanes=Lanes(settings.upstreams, settings.queue, settings.server.workers),
        speech=Speech(settings.upstreams),
        journal=journal,
        log=log.append,
        counters=Counters(),
        baseline=settings.tiers[baseline].model if baseline is not None else None,
        name="worker-1",
        purses=spending.purses,
        caps=spending.caps,
        rates=spending.rates,
        checks=open_checks(settings, log.append),
        shadows=open_shadows(settings, log.append),
    )


def _upstream(name: str, settings: Settings, environ: Mapping[str, str]) -> ApiUpstream:
    return bootstrap.upstream(name, settings.upstreams[name], environ, settings.server.max_answer)


def chat_body(text: str = "hi", **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **fields}, separators=(",", ":")).encode()


def message(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A request as bytes."""
    given = {"host": "gateway", "content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def read_reply(reader: asyncio.StreamReader, to_head: bool = False) -> Reply:
    """One answer, as far as it comes."""
    reply = Reply()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head[:-4].decode("latin-1").split("\r\n")
        reply.status = int(status.split()[1])
        reply.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if to_head:
            reply.body = await reader.read(0)
        elif reply.headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                reply.body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            reply.body = await reader.readexactly(int(reply.headers["content-length"]))
        reply.whole = True
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # `whole` stays False: the answer was broken off
    return reply


def one_upstream(*urls: str, upstream: str = "", model: str = "", more: str = "", server: str = "") -> str:
    """Config text: model `m`, called `real-m` by upstream `main` at these addresses, 1 USD in and 2 USD out per million tokens."""
    return f"""
version = 1
[server]
{server}
[upstreams.main]
base_urls = {orjson.dumps(urls).decode()}
{upstream}
[models.m]
upstream = "main"
name = "real-m"
max_output = 100
price = {{ input = 1, output = 2 }}
{model}
{more}
"""


def fallback(first: str, second: str, retries: int = 0) -> str:
    """Two upstreams; the route `auto` goes to the first and falls back to the second."""
    return f"""
version = 1
[upstreams.first]
base_urls = ["{first}"]
retries = {retries}
{QUICK}
[upstreams.second]
base_urls = ["{second}"]
retries = {retries}
{QUICK}
[models.cheap]
upstream = "first"
price = {{ input = 1, output = 2 }}
[models.dear]
upstream = "second"
price = {{ input = 10, output = 20 }}
[tiers]
small = {{ model = "cheap" }}
large = {{ model = "dear" }}
[routes.auto]
tiers = ["small"]
fallback = ["large"]
"""
