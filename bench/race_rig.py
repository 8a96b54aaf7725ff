"""What the race runs on: an engine, Penstocks that can be killed and started again, and a Redis of its own that can be, too."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import orjson

from bench.rig import free_port, tree
from penstock.config.load import load
from penstock.config.settings import Settings
from penstock.wire.client import Address, Pool, Timeouts, WireError
from penstock.wire.message import Request
from penstock.wire.responder import Responder

CAP_USD, TEAM_USD = 1.0, 0.1
INPUT_TOKENS = 12
CONFIG = """version = 1
[server]
listen = "127.0.0.1:{port}"
store = "{store}"
shared = "{shared}"
workers = {workers}
max_in_flight = 4096
[cache]
exact = {{ enabled = false }}
[upstreams.engine]
base_urls = ["{engine}"]
retries = 0
[models.m]
upstream = "engine"
max_output = 200
price = {{ input = 1, output = 40 }}
[[budgets]]
name = "all"
limit = "1 USD / month"
at_limit = "refuse"
[[budgets]]
name = "team a"
where = {{ team = "a" }}
limit = "0.1 USD / month"
at_limit = "refuse"
"""
READY_S = 180.0


class Engine:
    """Answers with a quarter to all of the tokens that were allowed, after up to `slowest_s`."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.slowest_s = 0.005
        self.most_at_once = self._now = 0

    async def answer(self, request: Request, responder: Responder) -> None:
        asked = orjson.loads(request.body)
        tokens = self.dice.randint(asked["max_tokens"] // 4, asked["max_tokens"])
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(self.dice.uniform(self.slowest_s / 4, self.slowest_s))
            usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": tokens, "total_tokens": INPUT_TOKENS + tokens}
            await (_stream if asked.get("stream") else _whole)(responder, usage)
        finally:
            self._now -= 1


async def _whole(responder: Responder, usage: dict[str, int]) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "a b c"}, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    responder.send(200, [(b"content-type", b"application/json")], orjson.dumps(body))


async def _stream(responder: Responder, usage: dict[str, int]) -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    responder.start(200, [(b"content-type", b"text/event-stream")])
    for word in ("a", " b", " c"):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": "stop" if word == " c" else None}
        await responder.write(b"data: " + orjson.dumps(chunk | {"choices": [choice]}) + b"\n\n")
        await asyncio.sleep(0.01)
    responder.finish(b"data: " + orjson.dumps(chunk | {"choices": [], "usage": usage}) + b"\n\ndata: [DONE]\n\n")


class Host:
    """One `penstock serve` with a directory, a port and a journal of its own."""

    def __init__(self, directory: Path, store: str, shared: str, workers: int, engine: str) -> None:
        directory.mkdir()
        self.directory, self.port = directory, free_port()
        config = directory / "penstock.toml"
        config.write_text(CONFIG.format(port=self.port, store=store, shared=shared, workers=workers, engine=engine))
        self.settings: Settings = load(config, {})
        self.pool = Pool(Address("127.0.0.1", self.port), Timeouts(connect=5, first=30, idle=30), 10**7)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self.directory / "serve.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "penstock", "serve", "--config", str(self.directory / "penstock.toml"), stdout=log, stderr=log
            )

    async def kill(self, whole: bool, dice: random.Random) -> None:
        """All of it at once, as when a machine loses its power, or one of its processes; whatever is gone is started again."""
        assert self.process is not None
        family = tree(self.process.pid)
        victims = family if whole else [dice.choice(family)]
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        if self.process.pid in victims:
            await self.process.wait()
            await self.start()

    async def until_ready(self) -> None:
        """Returns when it says that it is ready: the journal is taken in and every cap can be spent from."""
        async with asyncio.timeout(READY_S):
            while not await self._is_ready():
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        self.pool.close()
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 45)
            except TimeoutError:
                for pid in tree(self.process.pid):
                    os.kill(pid, signal.SIGKILL)
                await self.process.wait()

    async def _is_ready(self) -> bool:
        try:
            answer = await self.pool.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            await answer.read()
        except WireError:
            return False
        return answer.status == 200


class RedisServer:
    """A Redis of the race's own on a free port; `persistent` keeps its data over a kill, else it comes back empty."""

    def __init__(self, directory: Path, persistent: bool) -> None:
        directory.mkdir()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if persistent else ["--appendonly", "no"]
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *kept]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=quiet, stderr=quiet)
        async with asyncio.timeout(READY_S):
            while not await self._answers():
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"PING\r\n")
        pong = await reader.readline()
        writer.close()
        return pong.startswith(b"+PONG")
