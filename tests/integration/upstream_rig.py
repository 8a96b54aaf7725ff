"""Upstreams for the gateway's tests: one that says exactly the bytes it is told, and the simulated engine in this process."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import orjson

from penstock.adapters.upstreams.simulated.options import parse_options
from penstock.adapters.upstreams.simulated.server import SimulatedEngine
from penstock.wire.server import serve

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
DONE = b"data: [DONE]\n\n"


class Asked(msgspec.Struct):
    """A request as an upstream got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


Play = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What is said to one request: bytes, after which the connection is kept, or a coroutine, after which it is closed."""


class Scripted:
    """Plays its script in order, the last entry for ever."""

    def __init__(self, plays: tuple[Play, ...], scheme: str) -> None:
        self.plays = list(plays)
        self.asked: list[Asked] = []
        self.left = asyncio.Event()
        """set when the gateway closed a connection on which the upstream still waited"""
        self.port = 0
        self._scheme = scheme

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.asked.append(await _read_request(reader))
                play = self.plays[min(len(self.asked), len(self.plays)) - 1]
                if isinstance(play, bytes):
                    writer.write(play)
                    await writer.drain()
                    continue
                await play(reader, writer)
                break
        if reader.at_eof():
            self.left.set()
        writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    method, path, _ = line.split(" ")
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def scripted(*plays: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """An upstream that plays this script."""
    upstream = Scripted(plays, "https" if tls else "http")
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=tls, backlog=256)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def simulated(**options: Any) -> AsyncIterator[str]:
    """Base URL of a fast simulated engine."""
    engine = SimulatedEngine(parse_options({"speed": 200, "answer_tokens": [4, 12], **options}))
    steps = asyncio.create_task(engine.engine.run())
    with socket.create_server(("127.0.0.1", 0), backlog=256) as sock:
        server = await serve(engine, sock=sock)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        finally:
            await server.drain(0.1)
            steps.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await steps


def dead_url() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"http://127.0.0.1:{sock.getsockname()[1]}/v1"


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer; `body` is bytes, or what becomes JSON."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    return f"HTTP/1.1 {status} X\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in given.items()) + b"\r\n" + data


def completion(text: str = "hello", usage: object = USAGE, reason: str = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None, "finish_reason": reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "real-m", "choices": [choice], **more}
    return body if usage is None else {**body, "usage": usage}


def event(chunk: object) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def piece(text: str | None = None, reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """One chunk of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "real-m", "choices": [choice], **more}


def usage_chunk(usage: object = USAGE) -> dict[str, Any]:
    return {**piece(), "choices": [], "usage": usage}


def stream_events(*texts: str, usage: object = USAGE, reason: str = "stop", done: bool = True) -> bytes:
    """The events of a streamed answer, the usage on a chunk of its own."""
    chunks = [piece(text) for text in texts or ("hel", "lo")] + [piece(reason=reason)]
    if usage is not None:
        chunks.append(usage_chunk(usage))
    return b"".join(map(event, chunks)) + (DONE if done else b"")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b"0\r\n\r\n"


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def stream(events: bytes) -> bytes:
    """A whole streamed answer."""
    return STREAM_HEAD + chunked(events) + chunked(b"")


def closing(data: bytes) -> Play:
    """Says this, then closes."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return play


def resetting(data: bytes = b"") -> Play:
    """Says this, then resets the connection."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.02)  # a reset overtakes what the other side has not read yet
        writer.transport.abort()

    return play


def hanging(data: bytes = b"") -> Play:
    """Says this, then nothing until the gateway gives up."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read()

    return play


def in_pieces(*pieces: bytes, pause_s: float = 0.0) -> Play:
    """Says the pieces in writes of their own."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, each in enumerate(pieces):
            if number:
                await asyncio.sleep(pause_s)
            writer.write(each)
            await writer.drain()

    return play
