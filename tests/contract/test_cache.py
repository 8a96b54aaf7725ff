"""What every exact cache does: one law over a worker's memory and Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from penstock.adapters.caches.memory import MemoryCache
from penstock.adapters.caches.redis import RedisCache
from penstock.domain.dialects.tokens import Tokens
from penstock.ports.cache import Cache, CachedAnswer
from tests.integration.gateway_rig import on_loop

Open = Callable[[int], Awaitable[Cache]]
MEASURED = CachedAnswer(
    request_id="r1", model="m", upstream="u", tier="small", streamed=True, body=b"data: \x00\xff\n\n", usage=b'{"prompt_tokens":3}',
    tokens=Tokens(1, 2, 3, 4, 5), tokens_estimated=False, parts={"input_audio": 1}, processing="flex", finish_reason="stop",
    response_model="m-1",
)  # fmt: skip
DAY_S = 86_400.0


def answer(length: int = 10) -> CachedAnswer:
    return CachedAnswer(
        request_id="r2", model="m", upstream="u", tier=None, streamed=False, body=b"x" * length, usage=None, tokens=Tokens(),
        tokens_estimated=True,
    )  # fmt: skip


def key(number: int) -> bytes:
    return bytes([0, 255, number]) * 5 + b"\n"


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@asynccontextmanager
async def cache(url: str | None, max_bytes: int = 10**6) -> AsyncIterator[Cache]:
    if url is None:
        yield MemoryCache(max_bytes)
        return
    opened = RedisCache(url, max_bytes, pytest.fail, patience_s=10.0)
    try:
        yield opened
    finally:
        await opened.close()


@on_loop
async def test_an_answer_comes_back_whole(url: str | None) -> None:
    async with cache(url) as kept:
        await kept.put(key(1), MEASURED, DAY_S)
        await kept.put(key(2), answer(), DAY_S)
        assert [await kept.get(key(number)) for number in (1, 2, 3)] == [MEASURED, answer(), None]


@on_loop
async def test_the_later_answer_stands(url: str | None) -> None:
    async with cache(url) as kept:
        await kept.put(key(1), MEASURED, DAY_S)
        await kept.put(key(1), answer(), DAY_S)
        assert await kept.get(key(1)) == answer()


@on_loop
async def test_an_answer_ends_with_its_time(url: str | None) -> None:
    async with cache(url) as kept:
        await kept.put(key(1), answer(), 0.03)
        await kept.put(key(2), answer(), DAY_S)
        await asyncio.sleep(0.06)
        assert await kept.get(key(1)) is None
        assert await kept.get(key(2)) == answer()


@on_loop
async def test_the_least_recently_used_goes_first(url: str | None) -> None:
    async with cache(url, max_bytes=40_000) as kept:
        for number in range(3):
            await kept.put(key(number), answer(10_000), DAY_S)
        assert await kept.get(key(0)) is not None
        for number in (3, 4):
            await kept.put(key(number), answer(10_000), DAY_S)
        assert [await kept.get(key(number)) is not None for number in range(5)] == [True, False, False, True, True]
        assert kept.stats()["evicted"] == 2


@on_loop
async def test_what_is_larger_than_the_cache_is_not_kept(url: str | None) -> None:
    async with cache(url, max_bytes=40_000) as kept:
        await kept.put(key(1), answer(), DAY_S)
        await kept.put(key(2), answer(50_000), DAY_S)
        assert await kept.get(key(1)) is not None and await kept.get(key(2)) is None
