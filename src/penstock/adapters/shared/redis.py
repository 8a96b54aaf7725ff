"""`ports.budget_book.BudgetBook` for all hosts: scripts that Redis runs one at a time, each a decision of its own.

A Redis that has started again may have lost its last seconds, or have come back with an old copy: its book begins anew, whatever it
still knows. The scripts are in `lua/`; `lua/book.lua` says which keys there are.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from penstock.ports.budget_book import Answer, Ask, BookError, Holder, Row

CONNECT_S: Final = 0.5
ANSWER_S: Final = 1.0
CONNECTIONS: Final = 8
_NOTHING: Final = b"\xc0"
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_unpack_answers = msgspec.msgpack.Decoder(list[tuple[Literal["granted", "full", "closed"], int, int]]).decode


class Script(NamedTuple):
    text: str
    digest: str


def _script(name: str) -> Script:
    folder = resources.files("penstock.adapters.shared") / "lua"
    text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("book", name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_ASK, _KEEP, _END, _OPEN = _script("ask"), _script("keep"), _script("end"), _script("open")
_BESIDE, _FORGET, _ROWS, _KNOWN, _BORN = _script("beside"), _script("forget"), _script("rows"), _script("known"), _script("born")


class RedisBook:
    """Connects with the first call and whenever a connection was lost. It belongs to one event loop."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._place = f"redis at {address.hostname}:{address.port or 6379}"
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=ANSWER_S,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
                protocol=2,
                # Every call may be repeated: a connection that was dropped while idle costs no decision.
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
                redis_connect_func=self._greet,
            )
        except ValueError as problem:
            raise BookError(f"the address of {self._place} cannot be read: {problem}", "write it like `redis://host:6379/0`") from problem
        self._base = f"penstock:{{{pool.connection_kwargs.get('db', 0)}}}:"
        self._redis = Redis.from_pool(pool)
        self._turn = 0
        self._hosts: dict[str, str] = {}
        """holder -> its host, of those that live here"""

    async def ask(self, holder: str, asks: Sequence[Ask]) -> list[Answer]:
        if len({ask.account for ask in asks}) < len(asks):
            raise ValueError("an account is asked for twice at once")
        if not asks:
            return []
        wanted = [(ask.account, str(ask.bucket), str(ask.since), ask.limit, ask.kept, ask.need, ask.want, ask.fresh) for ask in asks]
        answers = await self._run(_ASK, (holder, self._next_turn(), wanted, self._hosts.get(holder, "")))
        return [Answer(*answer) for answer in _unpack_answers(answers)]

    async def keep(self, holder: str, host: str, rows: Mapping[tuple[str, int], int]) -> None:
        self._hosts[holder] = host
        await self._run(_KEEP, (holder, self._next_turn(), host, _triples(rows)))

    async def leave(self, holder: str, rows: Mapping[tuple[str, int], int]) -> None:
        self._hosts.pop(holder, None)
        await self._run(_END, (holder, self._next_turn(), _triples(rows)))

    async def born_ns(self) -> int:
        return int(await self._run(_BORN))

    async def holders(self) -> list[Holder]:
        known = _pairs(_unpack(await self._run(_KNOWN))[0])
        found = ((name, *record.split(" ", 2)) for name, record in sorted(known.items()))
        return [Holder(name, host, int(seen_ns)) for name, seen_ns, _, host in found]

    async def rows(self, accounts: Sequence[str] | None = None) -> list[Row]:
        found = _unpack(await self._run(_ROWS, None if accounts is None else list(accounts)))
        return [Row(account, int(bucket), holder, int(amount)) for account, bucket, holder, amount in found]

    async def opened(self) -> dict[str, int]:
        known = _pairs(_unpack(await self._run(_KNOWN))[1])
        return {account: int(at_ns) for account, at_ns in known.items()}

    async def open(self, account: str, spent: Mapping[int, int], holders: Sequence[str], at_ns: int) -> bool:
        amounts = [(str(bucket), amount) for bucket, amount in spent.items()]
        return bool(await self._run(_OPEN, (account, str(at_ns), list(holders), amounts)))

    async def retire(self, holder: str, spent: Mapping[tuple[str, int], int]) -> bool:
        return bool(await self._run(_END, (holder, 0, _triples(spent))))

    async def set_beside(self, account: str, amounts: Mapping[int, int]) -> None:
        await self._run(_BESIDE, (account, [(str(bucket), amount) for bucket, amount in amounts.items()]))

    async def forget(self, before: Mapping[str, int]) -> None:
        await self._run(_FORGET, [(account, str(bucket)) for account, bucket in before.items()])

    async def close(self) -> None:
        await self._redis.aclose()

    def _next_turn(self) -> int:
        """Grows from call to call, also over a restart: a call that arrives late is known by it."""
        self._turn = max(self._turn + 1, time.time_ns() // 1000)
        return self._turn

    async def _run(self, script: Script, given: object = None) -> Any:
        packed = _NOTHING if given is None else _pack(given)
        try:
            try:
                return await self._redis.evalsha(script.digest, 1, self._base, packed)
            except NoScriptError:
                return await self._redis.eval(script.text, 1, self._base, packed)
        except (RedisError, OSError) as problem:
            raise self._error(problem) from problem

    async def _greet(self, connection: Any) -> None:
        """Of every new connection: it may lead to a server that has started since."""
        await connection.on_connect()
        await connection.send_command("EVAL", _BORN.text, 1, self._base, _NOTHING)
        await connection.read_response()

    def _error(self, problem: Exception) -> BookError:
        for kind, sign, text, hint in _REASONS:
            if isinstance(problem, kind) and sign in str(problem):
                return BookError(f"{self._place} {text}", hint)
        return BookError(f"{self._place} failed: {problem}", "look at its log")


_REASONS: tuple[tuple[type[Exception], str, str, str], ...] = (
    (RedisError, "EVICTS", "may forget keys when its memory is full", "set its maxmemory-policy to noeviction"),
    (ClusterDownError, "", "is a node of a cluster", "point [server] shared at a Redis that is none"),
    (MovedError, "", "is a node of a cluster", "point [server] shared at a Redis that is none"),
    (RedisError, "Authentication required", "wants a password", "put it into [server] shared: redis://user:password@host:6379/0"),
    (AuthenticationError, "", "refuses the user or the password", "put them into [server] shared: redis://user:password@host:6379/0"),
    (NoPermissionError, "", "does not let this user do that", "let it run scripts, INFO and TIME, on the keys penstock:*"),
    (OutOfMemoryError, "", "has no memory left", "raise its maxmemory"),
    (BusyLoadingError, "", "is still loading its data", "wait a moment"),
    (ReadOnlyError, "", "is a replica, which cannot be written to", "point [server] shared at the primary"),
    (TimeoutError, "", "does not answer in time", "look at its load, and at the network between"),
    (ConnectionError, "", "cannot be reached", "start it, or point [server] shared elsewhere"),
    (OSError, "", "cannot be reached", "start it, or point [server] shared elsewhere"),
)


def _triples(rows: Mapping[tuple[str, int], int]) -> list[tuple[str, str, int]]:
    return [(account, str(bucket), amount) for (account, bucket), amount in rows.items()]


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    """What HGETALL gives as a dictionary."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
