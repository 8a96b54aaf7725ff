"""The race against a cap: a thousand requests at once, streamed and plain, and not a nano-dollar beyond it, whatever dies meanwhile.

`python -m bench.race [--json] [--requests N] [--kills N] [--only FORM]`. Each form of Penstock (one process; three workers; three hosts
with one Redis and one PostgreSQL) gets N requests at once for about twice its cap of 1 USD, then requests one by one until it refuses.
Then the hosts again, while one of them is killed with -9 every second, whole or one process of it, and Redis once, with and without its
data kept.

Afterwards: no budget has spent more than its limit; every answer that a client saw the end of stands once in the ledger, at the cost that
the client was told; the book holds what the ledger says and no reservation more; and at least 95 % of the cap was used.
"""

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
import orjson

from bench.race_judge import book_sums, read_ledger
from bench.race_rig import CAP_USD, TEAM_USD, Engine, Host, RedisServer
from bench.rig import machine, need
from penstock.domain.units import NANO_PER_USD, format_usd
from penstock.wire.client import Answer, WireError
from penstock.wire.server import serve

POSTGRES = "postgresql://127.0.0.1:5432/postgres"
SMALL_TOKENS = 100
"""of requests one by one: 0.4 % of the cap at most"""
SETTLES_WITHIN_S = 60.0
TRIES_S = 20.0
GIVES_UP_AFTER = 3
ABANDONED = 0.04
"""of streams: their client goes away in the middle"""
BAR = 0.95


class Form(msgspec.Struct, frozen=True):
    """How Penstock runs: `hosts` of `workers` each. `redis`: what it knows is kept or lost when it is killed; None: no Redis."""

    name: str
    hosts: int = 1
    workers: int = 1
    kills: int = 0
    redis: Literal["kept", "lost"] | None = None


class Outcome(msgspec.Struct):
    """What came of one race. Money in nano-USD."""

    form: str
    answers: Counter[str] = msgspec.field(default_factory=Counter)
    at_once: int = 0
    """calls that the engine had at the same time"""
    kills: int = 0
    spent: int = 0
    team_spent: int = 0
    overspent: int = 0
    lost: int = 0
    wrong_cost: int = 0
    unexplained: int = 0
    """records with a cost that belong to no answer, no abandoned stream and no kill"""
    leaked: int = 0
    """what the book holds beyond the ledger, when all has settled"""
    settled_s: float = 0.0
    seconds: float = 0.0

    @property
    def used(self) -> float:
        return self.spent / (CAP_USD * NANO_PER_USD)

    @property
    def holds(self) -> bool:
        wrong = self.overspent or self.lost or self.wrong_cost or self.unexplained or self.leaked
        return not wrong and self.used >= BAR


class Race:
    """One race in a directory of its own."""

    def __init__(self, directory: Path, form: Form, requests: int, store: str, seed: int) -> None:
        self.directory, self.form, self.requests, self.store = directory, form, requests, store
        self.dice = random.Random(seed)
        self.engine = Engine(seed)
        self.outcome = Outcome(form.name)
        self.told: dict[str, str | None] = {}
        """request id -> cost, of answers that were seen to their end"""
        self.hosts: list[Host] = []
        self.redis: RedisServer | None = None
        self._count = 0

    async def run(self) -> Outcome:
        began = time.monotonic()
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as sock:
            server = await serve(self.engine.answer, sock=sock)
            try:
                await self._begin(f"http://127.0.0.1:{sock.getsockname()[1]}/v1")
                await self._rush()
                await self._one_by_one()
                await self._settle()
            finally:
                await asyncio.gather(*(host.stop() for host in self.hosts))
                if self.redis is not None:
                    await self.redis.kill()
                await server.drain(1)
        self._judge()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    async def _begin(self, engine: str) -> None:
        shared = "local://"
        if self.form.redis is not None:
            self.redis = RedisServer(self.directory / "redis", self.form.redis == "kept")
            await self.redis.start()
            shared = self.redis.url
        for number in range(self.form.hosts):
            self.hosts.append(Host(self.directory / f"host{number}", self.store, shared, self.form.workers, engine))
        await asyncio.gather(*(host.start() for host in self.hosts))
        await asyncio.gather(*(host.until_ready() for host in self.hosts))

    async def _rush(self) -> None:
        """All at once; or over the time that the kills take, so that each meets some under way."""
        self.engine.slowest_s = 1.0
        span = float(self.form.kills)
        asking = [asyncio.create_task(self._later(self.dice.uniform(0, span), number)) for number in range(self.requests)]
        for number in range(self.form.kills):
            await asyncio.sleep(1.0)
            await self.dice.choice(self.hosts).kill(self.dice.random() < 0.5, self.dice)
            self.outcome.kills += 1
            if self.redis is not None and number == self.form.kills // 2:
                await self.redis.kill()
                await self.redis.start()
        await asyncio.gather(*asking)
        self.engine.slowest_s = 0.004
        await asyncio.gather(*(host.until_ready() for host in self.hosts))

    async def _later(self, after_s: float, number: int) -> None:
        """One request of the rush. A host that is not there is passed over for the next; where none is, it is tried again for a while."""
        await asyncio.sleep(after_s)
        streamed = number % 2 == 0
        abandoned = streamed and self.dice.random() < ABANDONED
        until, told = time.monotonic() + TRIES_S, "not there"
        while told == "not there" and time.monotonic() < until:
            told = await self._ask(self.dice.choice(self.hosts), "abcd"[number % 4], self.dice.randint(40, 160), streamed, abandoned)
            if told == "not there":
                await asyncio.sleep(0.1)
        self.outcome.answers[told] += 1

    async def _one_by_one(self) -> None:
        """Small requests of each host in turn, until all have refused some in a row."""
        refused = 0
        while refused < GIVES_UP_AFTER * len(self.hosts):
            self._count += 1
            told = await self._ask(self.hosts[self._count % len(self.hosts)], "b", SMALL_TOKENS, self._count % 2 == 0, False)
            self.outcome.answers[f"{told}, one by one"] += 1
            if told == "served":
                refused = 0
                continue
            refused += told == "refused"
            await asyncio.sleep(0.1)

    async def _ask(self, host: Host, team: str, tokens: int, streamed: bool, abandoned: bool) -> str:
        """One request; what its client would say of it. Notes the cost where the end was seen."""
        body: dict[str, Any] = {"model": "m", "max_tokens": tokens, "messages": [{"role": "user", "content": secrets.token_hex(8)}]}
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        data = orjson.dumps(body)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\npenstock-tag-team: %b\r\ncontent-length: %d\r\n\r\n"
        try:
            answer = await host.pool.send(head % (team.encode(), len(data)) + data, repeatable=False)
            if abandoned and answer.status == 200:
                await answer.chunk()
                answer.close()
                return "abandoned"
            text = await answer.read()
        except WireError as error:
            return "not there" if error.kind == "connect" else "broken off"
        return self._note(answer, text, streamed)

    def _note(self, answer: Answer, text: bytes, streamed: bool) -> str:
        headers = dict(answer.headers)
        if answer.status == 402 and headers[b"penstock-error"] == b"budget":
            return "refused"
        if answer.status != 200:
            return f"{answer.status} {headers.get(b'penstock-error', b'?').decode()}"
        if streamed and b"[DONE]" not in text:
            return "broken off"
        chunks = [json.loads(line[6:]) for line in text.split(b"\n\n") if line.startswith(b"data: {")] if streamed else []
        told = [chunk["penstock"]["cost_usd"] for chunk in chunks if "penstock" in chunk] or [headers[b"penstock-cost-usd"].decode()]
        self.told[headers[b"penstock-request-id"].decode()] = told[0]
        return "served"

    async def _settle(self) -> None:
        """Until the book holds just what the ledger says, and no reservation is open: dead holders are settled for by then."""
        began = time.monotonic()
        while True:
            ledger = await asyncio.to_thread(read_ledger, [host.settings for host in self.hosts])
            held = await book_sums(self.hosts[0].settings)
            self.outcome.leaked = sum(held.values()) - ledger.spent() - ledger.spent("a")
            self.outcome.settled_s = time.monotonic() - began
            if (not self.outcome.leaked and not ledger.open) or self.outcome.settled_s > SETTLES_WITHIN_S:
                return
            await asyncio.sleep(0.2)

    def _judge(self) -> None:
        ledger, outcome = read_ledger([host.settings for host in self.hosts]), self.outcome
        outcome.spent, outcome.team_spent = ledger.spent(), ledger.spent("a")
        over = (outcome.spent - round(CAP_USD * NANO_PER_USD), outcome.team_spent - round(TEAM_USD * NANO_PER_USD))
        outcome.overspent = max(0, *over)
        outcome.lost = sum(id not in ledger.records or ledger.records[id].outcome not in ("ok", "client_closed") for id in self.told)
        outcome.wrong_cost = sum(id in ledger.records and format_usd(ledger.records[id].cost) != told for id, told in self.told.items())
        strange = [record for id, record in ledger.records.items() if id not in self.told and record.cost]
        explained = outcome.answers["abandoned"] + (outcome.answers["broken off"] if self.form.kills else 0)
        outcome.unexplained = max(0, len(strange) - explained)
        outcome.leaked = outcome.leaked or len(ledger.open)
        outcome.at_once = self.engine.most_at_once


def forms(kills: int) -> dict[str, Form]:
    """All forms by a short name, those with kills with so many."""
    return {
        "one": Form("1 process"),
        "workers": Form("3 workers, local", workers=3),
        "hosts": Form("3 hosts, Redis", hosts=3, redis="kept"),
        "kept": Form("3 hosts, Redis, kills; Redis killed once, data kept", hosts=3, kills=kills, redis="kept"),
        "lost": Form("3 hosts, Redis, kills; Redis killed once, data lost", hosts=3, kills=kills, redis="lost"),
    }


@contextlib.contextmanager
def database(server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database, dropped afterwards."""
    import psycopg

    name = f"penstock_race_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            db.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def race(form: Form, requests: int, postgres: str, seed: int) -> Outcome:
    """Runs one. `postgres`: a database from which others can be created."""
    import uvloop

    async def run(directory: Path, store: str) -> Outcome:
        return await Race(directory, form, requests, store, seed).run()

    with tempfile.TemporaryDirectory(prefix="penstock-race-", ignore_cleanup_errors=True) as directory, contextlib.ExitStack() as stack:
        store = stack.enter_context(database(postgres)) if form.hosts > 1 else "sqlite:///penstock.db"
        return uvloop.run(run(Path(directory), store))


def told(outcome: Outcome) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(outcome),
        "spent": format_usd(outcome.spent),
        "team_spent": format_usd(outcome.team_spent),
        "overspent": format_usd(outcome.overspent),
        "used": round(outcome.used, 4),
        "holds": outcome.holds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60, help="in each of the races with kills, one a second (default 60)")
    parser.add_argument("--only", choices=list(forms(0)), help="one form")
    parser.add_argument("--postgres", default=POSTGRES, help="a database from which databases can be created")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = [form for name, form in forms(options.kills).items() if options.only in (None, name)]
    if any(form.redis for form in chosen):
        need("redis-server")
    outcomes = []
    for form in chosen:
        outcomes.append(race(form, options.requests, options.postgres, options.seed))
        print(_line(outcomes[-1]), file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "requests": options.requests, "races": [told(each) for each in outcomes]}, indent=2))
    else:
        print(f"machine: {machine()}\n" + "\n".join(map(_line, outcomes)))
    sys.exit(0 if all(each.holds for each in outcomes) else 1)


def _line(outcome: Outcome) -> str:
    answers = ", ".join(f"{count:,} {words}" for words, count in sorted(outcome.answers.items()))
    return (
        f"{outcome.form}: overspent {format_usd(outcome.overspent)}, used {outcome.used:.1%}, lost {outcome.lost}, wrong cost "
        f"{outcome.wrong_cost}, leaked {outcome.leaked}, {outcome.kills} kills, {outcome.at_once} at once\n    {answers}"
    )


if __name__ == "__main__":
    main()
