"""The crash test: `kill -9` of any process at any moment under load; no finished request may be lost, none counted twice.

`python -m bench.crash [--kills 100] [--store URL]`. Clients note every request whose answer they saw the end of; a killer ends the
supervisor, a data worker, the controller, or all at once, at random moments. Afterwards the ledger must hold each noted
request exactly once with the cost that its client was told, and each other record must be marked for what it is.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bench.rig import free_port, machine, tree
from penstock.bootstrap import open_reading
from penstock.config.load import load
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import format_usd
from penstock.finops.intake import pending
from penstock.wire.client import Address, Pool, Timeouts, WireError
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import serve

CLIENTS = 8
TARGETS = ("supervisor", "worker", "controller", "all")
USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}


class Result(NamedTuple):
    kills: Counter[str]
    finished: int
    lost: list[str]
    wrong_cost: list[str]
    records: Counter[str]


class Rig:
    """One Penstock, its clients and its killer."""

    def __init__(self, directory: Path, store: str, seed: int) -> None:
        self.directory, self.store = directory, store
        self.random = random.Random(seed)
        self.finished: dict[str, str | None] = {}
        self.kills: Counter[str] = Counter()
        self.port = free_port()
        self.config = directory / "penstock.toml"
        self.process: asyncio.subprocess.Process | None = None
        self.stopping = False

    async def run(self, kills: int) -> Result:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            engine = await serve(_engine, sock=sock)
            self._configure(sock.getsockname()[1])
            await self._start()
            clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
            for _ in range(kills):
                await asyncio.sleep(self.random.uniform(0.02, 1.0))
                await self._kill(self.random.choice(TARGETS))
            await self._until_ready()
            self.stopping = True
            await asyncio.gather(*clients)
            assert self.process is not None
            self.process.send_signal(signal.SIGTERM)
            await self.process.wait()
            await engine.drain(1)
        return self._judge()

    def _configure(self, engine_port: int) -> None:
        self.config.write_text(f"""version = 1
[server]
listen = "127.0.0.1:{self.port}"
store = "{self.store}"
[cache]
exact = {{ enabled = false }}
[upstreams.engine]
base_urls = ["http://127.0.0.1:{engine_port}/v1"]
[models.m]
upstream = "engine"
max_output = 64
price = {{ input = 0.15, output = 0.60 }}
""")

    async def _start(self) -> None:
        with (self.directory / "serve.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "penstock", "serve", "--config", str(self.config), stdout=log, stderr=log
            )

    async def _kill(self, target: str) -> None:
        assert self.process is not None
        family = tree(self.process.pid)
        victims = {"supervisor": family[:1], "all": family}.get(target) or [pid for pid in family if _is(pid, target)]
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        self.kills[target if victims else f"{target}, not up yet"] += 1
        if self.process.pid in victims:
            await self.process.wait()
            await self._start()

    async def _until_ready(self) -> None:
        pool = self._pool()
        while True:
            try:
                answer = await pool.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
                if answer.status == 200 and await answer.read():
                    break
                await answer.read()
            except WireError:
                pass  # not up yet: asked again below
            await asyncio.sleep(0.1)
        pool.close()

    def _pool(self) -> Pool:
        return Pool(Address("127.0.0.1", self.port), Timeouts(connect=2, first=20, idle=20), 10**7)

    async def _client(self, number: int) -> None:
        """Asks one request after another, every other one streamed; notes those it saw the end of."""
        pool, count = self._pool(), 0
        while not self.stopping:
            count += 1
            streamed = count % 2 == 0
            question: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": f"{number}/{count}"}]}
            if streamed:
                question |= {"stream": True, "stream_options": {"include_usage": True}}
            body = orjson.dumps(question)
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\npenstock-tag-team: t%d\r\ncontent-length: %d\r\n\r\n" % (
                number,
                len(body),
            )
            try:
                answer = await pool.send(head + body)
                text = await answer.read()
            except WireError:
                await asyncio.sleep(0.02)
                continue
            headers = dict(answer.headers)
            if answer.status == 200 and (not streamed or b"[DONE]" in text):
                self.finished[headers[b"penstock-request-id"].decode()] = _told_cost(headers, text, streamed)
        pool.close()

    def _judge(self) -> Result:
        """The ledger is the store and what stands on the journal beyond it: a controller killed last leaves its work to the next."""
        with open_reading(load(self.config, {})) as (snapshot, reader):
            everything = CostQuery(since_ns=0, until_ns=2**62)
            stored = list(snapshot.records(everything))
            total = sum(sums.cost for _, sums in snapshot.sums(everything))
            waiting = list(pending(reader, snapshot))
        assert total == sum(record.cost or 0 for record in stored), "sums and records disagree"
        records = {record.id: record for record in (*stored, *waiting)}
        assert len(records) == len(stored) + len(waiting), "a request stands in the ledger twice"
        lost = [id for id in self.finished if id not in records or records[id].outcome not in ("ok", "client_closed")]
        wrong = [id for id, told in self.finished.items() if id in records and format_usd(records[id].cost) != told]
        return Result(self.kills, len(self.finished), lost, wrong, Counter(_kind(record) for record in records.values()))


def _is(pid: int, role: str) -> bool:
    try:
        return role.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _kind(record: UsageRecord) -> str:
    return f"{record.outcome} ({record.cost_basis})"


def _told_cost(headers: dict[bytes, bytes], text: bytes, streamed: bool) -> str | None:
    if not streamed:
        return headers[b"penstock-cost-usd"].decode()
    chunks = [json.loads(line[6:]) for line in text.split(b"\n\n") if line.startswith(b"data: {")]
    told: str | None = next(chunk["penstock"]["cost_usd"] for chunk in chunks if "penstock" in chunk)
    return told


async def _engine(request: Request, responder: Responder) -> None:
    """An engine that takes 0 to 20 ms and answers three tokens."""
    await asyncio.sleep(random.uniform(0, 0.02))
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    if b'"stream":true' not in request.body:
        choice = {"index": 0, "message": {"role": "assistant", "content": "a b c"}, "finish_reason": "stop"}
        body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": USAGE}
        responder.send(200, [(b"content-type", b"application/json")], orjson.dumps(body))
        return
    responder.start(200, [(b"content-type", b"text/event-stream")])
    for word in ("a", " b", " c"):
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": "stop" if word == " c" else None}
        await responder.write(b"data: " + orjson.dumps(chunk | {"choices": [choice]}) + b"\n\n")
        await asyncio.sleep(0.002)
    responder.finish(b"data: " + orjson.dumps(chunk | {"choices": [], "usage": USAGE}) + b"\n\ndata: [DONE]\n\n")


def crash(directory: Path, store: str, kills: int, seed: int) -> Result:
    """Runs the test in a directory; `store` is a store URL, its schema fresh."""
    import uvloop

    async def run() -> Result:
        return await Rig(directory, store, seed).run(kills)

    return uvloop.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--store", default="sqlite:///penstock.db", help="store URL; a PostgreSQL one must name an empty database")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-crash-") as directory:
        result = crash(Path(directory), options.store, options.kills, options.seed)
    figures = {
        "machine": machine(),
        "kills": dict(result.kills),
        "finished": result.finished,
        "lost": len(result.lost),
        "wrong_cost": len(result.wrong_cost),
        "records": dict(result.records),
    }
    print(json.dumps(figures, indent=2) if options.json else "\n".join(f"{key}: {value}" for key, value in figures.items()))
    sys.exit(1 if result.lost or result.wrong_cost else 0)


if __name__ == "__main__":
    main()
