"""The exact cache in Redis, shared by the workers of all hosts: least recently used goes first, bounded in bytes and in time.

A cache is never worth waiting for: whatever takes Redis longer than `PATIENCE_S` is a miss, and when nothing was answered for a while,
nobody asks for a while.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from penstock.ports.cache import CachedAnswer

PATIENCE_S: Final = 0.1
PAUSE_S: Final = 1.0
"""after so long without an answer Redis is not asked for as long"""
CONNECTIONS: Final = 32
"""of one worker at most"""
OVERHEAD_BYTES: Final = 400
"""what an entry takes in Redis beside its value: its key, and its places in the lists of use and of sizes"""
PREFIX: Final = "{penstock:cache:1}:"
"""1: the form of the values; braces keep all keys on one node of a cluster"""

_LISTS = [f"{PREFIX}used", f"{PREFIX}sizes", f"{PREFIX}bytes"]
_NOW = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2]\n"
_GET = f"""{_NOW}
local value = redis.call('GET', KEYS[1])
if value then redis.call('ZADD', KEYS[2], 'XX', now, ARGV[1]) end
return value
"""
_PUT = f"""{_NOW}
local id, value, size, ttl_ms, most, prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
local before = tonumber(redis.call('HGET', KEYS[3], id) or 0)
redis.call('SET', KEYS[1], value, 'PX', ttl_ms)
redis.call('ZADD', KEYS[2], now, id)
redis.call('HSET', KEYS[3], id, size)
local held, evicted = redis.call('INCRBY', KEYS[4], size - before), 0
while held > most do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if oldest == id then redis.call('SET', KEYS[4], size) break end
  redis.call('ZREM', KEYS[2], oldest)
  held = redis.call('DECRBY', KEYS[4], tonumber(redis.call('HGET', KEYS[3], oldest) or 0))
  redis.call('HDEL', KEYS[3], oldest)
  evicted = evicted + redis.call('DEL', prefix .. oldest)
end
for list = 2, 4 do redis.call('PEXPIRE', KEYS[list], ttl_ms) end
return evicted
"""


class RedisCache:
    """`ports.cache.Cache`. What Redis cannot do is told to `log` once, until it can again; nothing is raised."""

    def __init__(self, url: str, max_bytes: int, log: Callable[[str], None], *, patience_s: float = PATIENCE_S) -> None:
        """Nothing is connected yet. Raises ValueError for a URL that cannot be read."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=patience_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        self._get, self._put = self._redis.register_script(_GET), self._redis.register_script(_PUT)
        self._max_bytes, self._log, self._patience_s = max_bytes, log, patience_s
        self._encode, self._decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(CachedAnswer).decode
        self._evicted = 0
        self._answered_at = self._not_before = float("-inf")
        self._told: set[str] = set()

    async def get(self, key: bytes) -> CachedAnswer | None:
        found = await self._patiently("read", lambda: self._get([_name(key), _LISTS[0]], [key]))
        if not isinstance(found, bytes):
            return None
        try:
            return self._decode(found)
        except msgspec.DecodeError:  # what another version wrote
            return None

    async def put(self, key: bytes, answer: CachedAnswer, ttl_s: float) -> None:
        value = self._encode(answer)
        size = len(value) + OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        arguments: list[bytes | str | int] = [key, value, size, max(int(ttl_s * 1000), 1), self._max_bytes, PREFIX]
        evicted = await self._patiently("written", lambda: self._put([_name(key), *_LISTS], arguments))
        self._evicted += evicted if isinstance(evicted, int) else 0

    def stats(self) -> dict[str, int]:
        """What this worker did; how much Redis holds is nobody's alone."""
        return {"evicted": self._evicted}

    async def close(self) -> None:
        await self._redis.aclose()

    async def _patiently(self, done: str, ask: Callable[[], Awaitable[object]]) -> object:
        """What Redis answers; None when it does not in time."""
        if time.monotonic() < self._not_before:
            return None
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await ask()
        except (RedisError, OSError) as problem:
            if self._is_lasting(problem):
                self._tell(done, problem)
            return None
        self._answered_at = time.monotonic()
        if done in self._told:
            self._told.discard(done)
            self._log(f"the cache in Redis can be {done} again")
        return answer

    def _is_lasting(self, problem: Exception) -> bool:
        """Whether it is more than one slow answer, such as this worker being busy itself; Redis is then left alone for a while."""
        now = time.monotonic()
        if isinstance(problem, ResponseError):
            return True
        if isinstance(problem, TimeoutError) and now - self._answered_at < PAUSE_S:
            return False
        self._not_before = now + PAUSE_S
        return True

    def _tell(self, done: str, problem: Exception) -> None:
        if done in self._told:
            return
        self._told.add(done)
        reason = " ".join(str(problem).split()) or f"no answer within {self._patience_s * 1000:g} ms"
        self._log(f"warning: the cache in Redis cannot be {done}: {reason}; every answer is a miss meanwhile\nhint: check [server] shared")


def _name(key: bytes) -> bytes:
    return PREFIX.encode() + key
