"""The exact cache: whole answers by key, bounded in bytes and in time."""

from typing import Protocol

import msgspec

from penstock.domain.dialects.tokens import Tokens


class CachedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete 2xx answer in the form it came in; `body` is JSON, or the SSE events without usage and `[DONE]`."""

    request_id: str
    model: str
    upstream: str
    tier: str | None
    streamed: bool
    body: bytes
    usage: bytes | None
    """the usage object as JSON, for a stream that asks for it"""
    tokens: Tokens
    tokens_estimated: bool
    parts: dict[str, int] = {}
    processing: str | None = None
    finish_reason: str | None = None
    response_model: str | None = None


class Cache(Protocol):
    async def get(self, key: bytes) -> CachedAnswer | None: ...

    async def put(self, key: bytes, answer: CachedAnswer, ttl_s: float) -> None: ...

    def stats(self) -> dict[str, int]:
        """`entries`, `bytes`, `evicted` (what is known locally)."""
