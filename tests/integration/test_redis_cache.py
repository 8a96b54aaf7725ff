"""The cache in Redis beyond the contract: hosts share it, it stays within its bytes, and a Redis that is away or hangs is a miss."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from penstock.adapters.caches.redis import PATIENCE_S, PAUSE_S, PREFIX, RedisCache
from penstock.bootstrap.caching import open_cache
from penstock.config.load import parse
from tests.acceptance.tcp_proxy import TcpProxy
from tests.contract.test_cache import DAY_S, MEASURED, answer, key
from tests.integration.gateway_rig import on_loop

pytestmark = pytest.mark.redis


@asynccontextmanager
async def opened(url: str, log: list[str], max_bytes: int = 10**6, patience_s: float = 5.0) -> AsyncIterator[RedisCache]:
    """Patient by default: what is tested is rarely how fast this machine is."""
    cache = RedisCache(url, max_bytes, log.append, patience_s=patience_s)
    try:
        yield cache
    finally:
        await cache.close()


@on_loop
async def test_one_host_finds_what_another_kept(redis_url: str) -> None:
    log: list[str] = []
    async with opened(redis_url, log) as here, opened(redis_url, log) as there:
        await here.put(key(1), MEASURED, DAY_S)
        assert await there.get(key(1)) == MEASURED
    assert not log


@on_loop
async def test_many_writers_stay_within_the_bytes(redis_url: str) -> None:
    dice, log = random.Random(3), list[str]()
    async with opened(redis_url, log, 50_000) as here, opened(redis_url, log, 50_000) as there, Redis.from_url(redis_url) as redis:
        for _ in range(20):
            puts = [(dice.choice((here, there)), key(dice.randrange(30)), answer(dice.randrange(9_000))) for _ in range(10)]
            await asyncio.gather(*(cache.put(name, kept, DAY_S) for cache, name, kept in puts))
            names = [name async for name in redis.scan_iter(f"{PREFIX}*")]
            entries = [name for name in names if await redis.type(name) == b"string" and not name.endswith(b":bytes")]
            held = sum([await redis.strlen(name) for name in entries])
            assert 0 < held <= 50_000
            assert await redis.zcard(f"{PREFIX}used") == await redis.hlen(f"{PREFIX}sizes") == len(entries)
            assert held < int(await redis.get(f"{PREFIX}bytes") or 0) <= 50_000
        assert here.stats()["evicted"] + there.stats()["evicted"] > 50
    assert not log


@on_loop
async def test_everything_is_gone_after_its_time(redis_url: str) -> None:
    log: list[str] = []
    async with opened(redis_url, log) as cache, Redis.from_url(redis_url) as redis:
        await cache.put(key(1), answer(), 0.05)
        assert await redis.dbsize() == 4
        await asyncio.sleep(0.1)
        assert await redis.keys("*") == []


@on_loop
async def test_lists_that_were_lost_do_not_empty_the_cache_for_ever(redis_url: str) -> None:
    log: list[str] = []
    async with opened(redis_url, log, 20_000) as cache, Redis.from_url(redis_url) as redis:
        await cache.put(key(1), answer(15_000), DAY_S)
        await redis.delete(f"{PREFIX}used", f"{PREFIX}sizes")
        for number in (2, 3, 4):
            await cache.put(key(number), answer(5_000), DAY_S)
        assert await cache.get(key(3)) is not None and await cache.get(key(4)) is not None


@on_loop
async def test_what_cannot_be_read_is_a_miss(redis_url: str) -> None:
    log: list[str] = []
    async with opened(redis_url, log) as cache, Redis.from_url(redis_url) as redis:
        await redis.set(PREFIX.encode() + key(1), b"\x93from another version")
        assert await cache.get(key(1)) is None
        await redis.delete(PREFIX.encode() + key(1))
        await redis.lpush(PREFIX.encode() + key(1), b"not even a string")
        assert await cache.get(key(1)) is None
    [line] = log
    assert "WRONGTYPE" in line


@on_loop
async def test_a_redis_that_goes_away_is_a_miss_and_is_told_once(redis_url: str) -> None:
    log: list[str] = []
    with TcpProxy.to(redis_url) as line:
        async with opened(line.url, log) as cache:
            await cache.put(key(1), answer(), DAY_S)
            await asyncio.to_thread(line.cut)
            began = time.monotonic()
            for _ in range(50):
                assert await cache.get(key(1)) is None
            assert time.monotonic() - began < 50 * PATIENCE_S
            assert len(log) == 1 and "cannot be read" in log[0] and "shared" in log[0]
            await asyncio.to_thread(line.mend)
            until = time.monotonic() + 5 * PAUSE_S
            while await cache.get(key(1)) is None and time.monotonic() < until:
                await asyncio.sleep(0.05)
            assert await cache.get(key(1)) == answer()
    assert log[1:] == ["the cache in Redis can be read again"]


@on_loop
async def test_a_redis_that_hangs_costs_a_moment_once() -> None:
    log: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await _hanging(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", log)
    assert len(log) == 1


async def _hanging(url: str, log: list[str]) -> None:
    async with opened(url, log, patience_s=PATIENCE_S) as cache:
        began = time.monotonic()
        for number in range(20):
            assert await cache.get(key(number)) is None
            await cache.put(key(number), answer(), DAY_S)
        assert 0.9 * PATIENCE_S < time.monotonic() - began < 10 * PATIENCE_S


@on_loop
async def test_the_settings_say_which(redis_url: str) -> None:
    log: list[str] = []
    for config, kind in (
        ("", "MemoryCache"), (f'[server]\nshared = "{redis_url}"', "RedisCache"), ("[cache]\nexact = { enabled = false }", "NoneType")
    ):  # fmt: skip
        cache = open_cache(parse(f"version = 1\n{config}", {}), log.append)
        assert type(cache).__name__ == kind
