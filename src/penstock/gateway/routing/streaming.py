"""Where the answer of a call goes that is not, or not yet, the client's; and streams on which one answer goes on after another."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from penstock.domain.dialects.sse import chunk_of, split_events, usage_in, with_cost
from penstock.domain.dialects.streams import Native, is_end
from penstock.gateway.exchange import Exchange
from penstock.gateway.metering import own_headers
from penstock.gateway.routing.odds import hidden
from penstock.ports.upstream import UpstreamError
from penstock.wire.message import Headers
from penstock.wire.responder import Responder

_DONE = b"data: [DONE]\n\n"


class Buffer(Responder):
    """Keeps an answer instead of sending it: its head, and the bytes of its stream. Nobody waits at its other end."""

    __slots__ = ("_most", "_pieces", "_size", "headers", "of", "status")

    def __init__(self, most: int) -> None:
        """`most`: bytes that a stream may have."""
        self.started = self.complete = False
        self.status = 0
        self.of: Exchange | None = None
        """the call that it belongs to"""
        self.headers: Headers = []
        self._pieces: list[bytes] = []
        self._size = 0
        self._most = most

    @property
    def gone(self) -> bool:
        return False

    @property
    def body(self) -> bytes:
        """All that was written."""
        return b"".join(self._pieces)

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.started = True
        self.status, self.headers = status, list(headers)

    async def write(self, data: bytes) -> None:
        """Keeps a piece. Raises `UpstreamError` (too_large)."""
        self._size += len(data)
        if self._size > self._most:
            raise UpstreamError("too_large", "the upstream's stream is larger than `server.max_answer`")
        self._pieces.append(data)


class Thread(msgspec.Struct):
    """What a client has been told on one stream by the answers that follow one another there."""

    first: dict[str, Any] | None = None
    """the chunk that it began with: all others have its id"""
    spoken: bool = False
    """whether anything but a role was said"""
    usage: dict[str, Any] | None = None
    """of all answers together; None: none has told any"""


class Live(Buffer):
    """Passes the chunks of a chat completion on as they come, but for its end: finish reason, usage and `[DONE]` wait for the verdict."""

    __slots__ = ("_client", "_ending", "_follows", "_thread", "_usage", "_wants_usage", "_x", "spoken")

    def __init__(self, most: int, x: Exchange, thread: Thread) -> None:
        super().__init__(most)
        self._x: Exchange | None = x
        self._client, self._wants_usage = x.responder, x.wants_usage
        self._thread = thread
        self._follows = thread.first is not None
        self._ending: dict[str, Any] | None = None
        self._usage: dict[str, Any] | None = None
        self.spoken = False

    async def write(self, data: bytes) -> None:
        """Raises `ClientGone`, and `UpstreamError` (too_large)."""
        await super().write(data)
        shown = data if self.of is None else hidden(self.of, data, True)
        told = b"".join([self._told(event) for event in split_events(shown)[0]])
        if told:
            if not self._client.started:
                assert self._x is not None
                self._x.first_token_at = time.perf_counter()
                self._client.start(self.status, self.headers + own_headers(self._x))
            await self._client.write(told)

    async def go_on(self, line: str) -> None:
        """Tells the client that another answer follows, where it has seen anything of this one. Raises `ClientGone`."""
        if self._thread.first is not None and self._thread.spoken:
            choice = {"index": 0, "delta": {"content": f"\n\n{line}\n\n"}, "finish_reason": None}
            await self._client.write(_event({**self._thread.first, "choices": [choice]}))

    def close(self) -> None:
        """Counts the usage of an answer that is over, kept or not, and lets go of its request, which holds on to the calls made for it."""
        self._x = None
        if self._usage is not None:
            before = self._thread.usage
            told = self._usage["usage"]
            self._thread.usage = told if before is None else _sum(before, told)

    def ending(self, cost_usd: str | None) -> bytes:
        """What was held back of an answer that is kept, with the usage of all and what they cost."""
        parts = [] if self._ending is None else [_event(self._ending)]
        if self._usage is not None and self._wants_usage:  # who has not asked for it reads a choice from every chunk
            parts.append(with_cost(_event({**self._usage, "usage": self._thread.usage}), cost_usd))
        return b"".join((*parts, _DONE))

    def _told(self, event: bytes) -> bytes:
        """The event as the client sees it now; empty for what waits."""
        chunk = chunk_of(event)
        if chunk is None:
            return event
        if chunk.get("error") is not None:
            return b""
        changed = self._follows
        if isinstance(chunk.get("usage"), dict):
            self._usage = self._as_thread({**chunk, "choices": []})
            chunk = {name: value for name, value in chunk.items() if name != "usage"}
            changed = True
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        if choice is None:
            return b"" if changed else event
        given = choice.get("delta")
        delta: dict[str, Any] = given if isinstance(given, dict) else {}
        if choice.get("finish_reason") is not None:
            self._ending = self._as_thread({**chunk, "choices": [{**choice, "delta": {}}]})
            choice, changed = {**choice, "finish_reason": None}, True
            if not _says(delta):
                return b""
        if self._follows:
            delta = {name: value for name, value in delta.items() if name != "role"}
            if not delta:
                return b""
        self.spoken = self.spoken or _says(delta)
        self._thread.spoken = self._thread.spoken or self.spoken
        told = self._as_thread({**chunk, "choices": [{**choice, "delta": delta}]})
        return _event(told) if changed else event

    def _as_thread(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The chunk under the id that the stream began with."""
        first = self._thread.first
        if first is None:
            first = self._thread.first = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        return {**chunk, **{name: first[name] for name in ("id", "created") if name in first}}


def with_costs(x: Exchange, body: bytes, cost_usd: str | None) -> bytes:
    """The events of a whole stream with its cost beside its usage, where the client is told that."""
    events, rest = split_events(body)
    if x.endpoint in ("messages", "responses"):
        dialect: Native = "messages" if x.endpoint == "messages" else "responses"
        place = next((at for at, event in enumerate(events) if b'"message_delta"' in event or is_end(dialect, event)), None)
    else:
        place = max((at for at, event in enumerate(events) if usage_in(event) is not None), default=None) if x.wants_usage else None
    if place is not None:
        events[place] = with_cost(events[place], cost_usd)
    return b"".join((*events, rest))


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(chunk)


def _says(delta: dict[str, Any]) -> bool:
    return any(value for name, value in delta.items() if name != "role")


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Numbers that both have added up, the details within them likewise; the rest as the later one says."""
    joined = {**one, **other}
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        if type(a) is int and type(b) is int:
            joined[name] = a + b
        elif isinstance(a, dict) and isinstance(b, dict):
            joined[name] = _sum(a, b)
    return joined
