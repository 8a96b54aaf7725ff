"""Two gateways as one: replicas with a listener and a journal each, on one PostgreSQL and one Redis, and traffic on both.

The database and the Redis database are the demo's own: made for it, and gone with it.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson

from penstock.demo.replicas import PID, Task, family, kill
from penstock.demo.stage import HOST, Kept, StageError
from penstock.wire.client import Address, Pool, Timeouts, WireError

NAMES = ("a", "b")
CAP = "research"
"""team whose budget is spent within seconds"""
CAP_USD = Decimal("0.05")
ASKS_EVERY_S = 0.12
CLAIM = "penstock:demo"
CLAIM_S = 3600

CONFIG = """\
version = 1

[server]
listen  = "{listen}"
store   = "{store}"
shared  = "{shared}"
journal = "./journal"

[upstreams.engine]
kind = "simulated"
simulated = {{ decode_step_ms = 3, answer_tokens = [40, 80] }}

[models.brook]
upstream   = "engine"
max_output = 100
price      = {{ input = 2, output = 10 }}

[[budgets]]
name     = "{cap}"
where    = {{ team = "{cap}" }}
limit    = "{usd} USD / day"
at_limit = "refuse"
"""


class Figures(msgspec.Struct):
    """What was seen of one replica. `spent`, `capped`: USD of all and of the capped team since the start, as its console tells them."""

    name: str
    address: str
    up: bool = True
    leads: bool = False
    answered: int = 0
    refused: int = 0
    """at the cap"""
    failed: int = 0
    asked_again: int = 0
    """questions that the other one had answered"""
    recalled: int = 0
    """of these: answered from the cache that both share"""
    spent: Decimal | None = None
    capped: Decimal | None = None


class Replica:
    """One gateway as its callers see it."""

    def __init__(self, name: str, home: Path, port: int) -> None:
        self.home = home
        self.config = home / "penstock.toml"
        self.figures = Figures(name, f"http://{HOST}:{port}")
        self._host = f"{HOST}:{port}".encode()
        self._pool = Pool(Address(HOST, port), Timeouts(connect=1.0), 10_000_000)

    async def get(self, path: str) -> Any:
        """The JSON of a page; None when it is not there. A plain text body reads as None, too."""
        try:
            answer = await self._pool.send(b"GET %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (path.encode(), self._host))
            body = await answer.read()
        except WireError:
            return None
        return orjson.loads(body) if answer.status == 200 else None

    async def ask(self, team: str, question: str, streamed: bool) -> bytes | None:
        """What it said of its cache; None where there was no answer, which is counted."""
        body: dict[str, Any] = {"model": "brook", "max_tokens": 80, "messages": [{"role": "user", "content": question}]}
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        content = orjson.dumps(body)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: %b\r\npenstock-tag-team: %b\r\ncontent-length: %d\r\n\r\n"
        try:
            answer = await self._pool.send(head % (self._host, team.encode(), len(content)) + content, repeatable=False)
            await answer.read()
        except WireError:
            self.figures.failed += 1
            return None
        headers = dict(answer.headers)
        self.figures.answered += answer.status == 200
        self.figures.refused += answer.status == 402
        self.figures.failed += answer.status not in (200, 402)
        return headers.get(b"penstock-cache", b"") if answer.status == 200 else None

    async def look(self, since: str) -> None:
        """Reads what it says of the spend."""
        found = await self.get(f"/costs.json?by=team&since={since}")
        self.figures.up = found is not None
        if found is not None:
            spent = {row["keys"]["team"]: Decimal(row["cost_usd"] or 0) for row in found["rows"]}
            self.figures.spent, self.figures.capped = sum(spent.values(), Decimal()), spent.get(CAP, Decimal())

    def is_host(self, holder: str) -> bool:
        """Whether this is whom the lease names."""
        name = self.home / "journal" / "host"
        return name.exists() and holder.endswith(f"/{name.read_text().strip()}")

    def kill(self) -> None:
        """`kill -9` of the supervisor, its workers and its controller: as when the machine loses its power."""
        kill(family(int((self.home / PID).read_text())))

    def close(self) -> None:
        self._pool.close()


class Cluster:
    """Both replicas and whoever keeps them."""

    def __init__(self, kept: Kept, replicas: tuple[Replica, ...]) -> None:
        self.kept, self.replicas = kept, replicas

    async def ready(self) -> bool:
        return all([await replica.get("/readyz") is not None for replica in self.replicas])

    async def play(self) -> None:
        """Asks until it is cancelled: each question of one replica first, then of the other, in turns; every third call is the capped
        team's, which asks nothing twice."""
        tasks: set[asyncio.Task[None]] = set()
        for number in range(10**9):
            task = asyncio.create_task(self._round(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(ASKS_EVERY_S)

    async def _round(self, number: int) -> None:
        first, second = self.replicas if number % 2 else self.replicas[::-1]
        streamed = number % 4 < 2
        if number % 3:
            await asyncio.gather(*(each.ask(CAP, f"{number} of {each.figures.name}?", streamed) for each in (first, second)))
            return
        question = f"What is the level of basin {number}?"
        if await first.ask("operations", question, streamed) is not None:
            await asyncio.sleep(0.1)  # an answer is kept after its asker has it
            cache = await second.ask("operations", question, not streamed)
            second.figures.asked_again += cache is not None
            second.figures.recalled += cache == b"exact"

    def agree(self) -> bool:
        """Whether both consoles told the same spend, the last time that they were asked."""
        first, second = (replica.figures for replica in self.replicas)
        return first.spent is not None and (first.spent, first.capped) == (second.spent, second.capped)


@contextmanager
def cluster(postgres: str, redis: str, socket_of: Callable[[Path], str]) -> Iterator[Cluster]:
    """Starts it and clears it away. `socket_of` a config: where its controller listens. Raises `StageError` where a service is missing."""
    _check_postgres(postgres)
    shared = _claimed(redis)
    kept = Kept()
    replicas: tuple[Replica, ...] = ()
    try:
        task = Task(postgres, f"penstock_demo_{int(time.time())}_{secrets.token_hex(3)}", shared, NAMES)
        replicas = tuple(_prepared(kept.directory / name, task) for name in task.homes)
        task = msgspec.structs.replace(task, leaves=tuple(socket_of(replica.config) for replica in replicas))
        kept.run("", "penstock.demo.replicas", msgspec.json.encode(task).decode())
        yield Cluster(kept, replicas)
    finally:
        for replica in replicas:
            replica.close()
        kept.clear()
        _unclaimed(shared)


def _prepared(home: Path, task: Task) -> Replica:
    import socket

    with socket.create_server((HOST, 0)) as free:
        port = int(free.getsockname()[1])
    home.mkdir()
    config = CONFIG.format(listen=f"{HOST}:{port}", store=task.store, shared=task.redis, cap=CAP, usd=CAP_USD)
    (home / "penstock.toml").write_text(config)
    return Replica(home.name, home, port)


def _check_postgres(url: str) -> None:
    try:
        import psycopg
    except ImportError:
        raise StageError("PostgreSQL needs the package psycopg", "install the extras: `pip install 'penstock[postgres,redis]'`") from None
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.Error as problem:
        reason = " ".join(str(problem).split())
        hint = "start one, or name one from which databases can be created: --postgres postgresql://user@host/database"
        raise StageError(f"there is no PostgreSQL to use: {reason}", hint) from None


def _claimed(url: str) -> str:
    """The URL of an empty Redis database, marked as ours until it is emptied."""
    try:
        from redis import Redis, RedisError
    except ImportError:
        raise StageError("Redis needs the package redis", "install the extras: `pip install 'penstock[postgres,redis]'`") from None
    for number in range(15, 0, -1):
        numbered = f"{url.rstrip('/')}/{number}"
        with Redis.from_url(numbered, socket_connect_timeout=3) as redis:
            try:
                if redis.dbsize() == 0 and redis.set(CLAIM, 1, nx=True, ex=CLAIM_S):
                    return numbered
            except (RedisError, OSError) as problem:
                hint = "start one, or name one: --redis redis://host:6379"
                raise StageError(f"there is no Redis to use: {problem}", hint) from None
    raise StageError("all of Redis' databases 1 to 15 hold something", "empty one, or name another Redis: --redis redis://host:6379")


def _unclaimed(url: str) -> None:
    """Where nothing was started, nobody has emptied it."""
    from redis import Redis, RedisError

    with Redis.from_url(url, socket_connect_timeout=3) as redis, suppress(RedisError, OSError):
        redis.delete(CLAIM)


async def quiet(playing: "asyncio.Task[None]", replicas: tuple[Replica, ...]) -> None:
    """Stops the traffic, and waits a little for the answers on their way."""
    playing.cancel()
    with suppress(asyncio.CancelledError):
        await playing
    await asyncio.sleep(1.0)
