"""The server side: one connection, one coroutine, one request after another.

Duties it carries: limits on head and body, chunked bodies, pipelining, `Expect: 100-continue`, slow and stalled clients,
back-pressure, HTTP/1.0, HEAD, and a drain that lets what is in flight finish. Time-outs are kept by one sweep for all
connections, so that a request arms no timer of its own.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import cast
from urllib.parse import unquote

import httptools
import msgspec

from penstock.wire.message import ClientGone, Headers, Request
from penstock.wire.responder import Responder

SWEEP_S = 0.25
PIPELINE_DEPTH = 8
WRITE_HIGH_WATER = 256 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: an answer that broke off must not look like one that ended"""


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a server: bytes and seconds."""

    max_body: int = 10_000_000
    max_headers: int = 65_536
    header_timeout_s: float = 20.0
    body_timeout_s: float = 60.0
    keep_alive_s: float = 75.0
    write_stall_s: float = 60.0


Handler = Callable[[Request, Responder], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client connection: parses, queues pipelined requests, and runs the handler for one at a time."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.lost = False
        self.write_paused: asyncio.Future[None] | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[Request, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._handling = False
        self._reading_paused = False
        self._refused = False
        self.deadline = 0.0
        self._reset_message()

    def _reset_message(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_message = self._head_complete = self._head_seen = False

    # transport events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.server.connections.add(self)
        self.deadline = self.server.now + self.server.limits.header_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.server.connections.discard(self)
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self.write_paused = asyncio.get_running_loop().create_future()
        self.deadline = self.server.now + self.server.limits.write_stall_s

    def resume_writing(self) -> None:
        if self.write_paused is not None:
            if not self.write_paused.done():
                self.write_paused.set_result(None)
            self.write_paused = None
            self.deadline = 0.0

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)
            offset = upgrade.args[0]
            if offset < len(data):
                self.data_received(data[offset:])
        except httptools.HttpParserError:
            self._refuse(400)
        if self._in_message:
            self._look_at_unfinished()

    def _look_at_unfinished(self) -> None:
        """What must not wait for the end of a message: a head without end, a body that is too long, `Expect`."""
        limits = self.server.limits
        if self._header_bytes > limits.max_headers:
            self._refuse(431)
        if not self._head_complete or self._head_seen:
            return
        self._head_seen = True
        for name, value in self._headers:
            if name == b"content-length" and int(value) > limits.max_body:
                self._refuse(413)
            elif name == b"expect" and value.lower() == b"100-continue" and not self._refused and not self._handling:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # parser events

    def on_message_begin(self) -> None:
        self._in_message = True
        if not self._handling:
            self.deadline = self.server.now + self.server.limits.header_timeout_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._header_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        self._head_complete = True
        if not self._handling:
            self.deadline = self.server.now + self.server.limits.body_timeout_s
        if self._header_bytes > self.server.limits.max_headers:
            self._refuse(431)

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self.server.limits.max_body:
            self._refuse(413)
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        target = self._url if self._url.startswith(b"/") else _origin_form(self._url)
        path, _, query = target.decode("latin-1").partition("?")
        modern = self._parser.get_http_version() != "1.0"
        request = Request(
            self._parser.get_method().decode("latin-1"),
            unquote(path) if "%" in path else path,
            query,
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            modern and self._parser.should_keep_alive(),
            modern,
        )
        self._reset_message()
        self._enqueue(request, 0)

    # one request after another

    def _refuse(self, status: int) -> None:
        """Stops reading: what follows on this connection cannot be told apart any more."""
        if self._refused:
            return
        self._refused = True
        self._body.clear()
        path = self._url.partition(b"?")[0].decode("latin-1")
        self._enqueue(Request("?", path, "", self._headers, b"", keep_alive=False), status)

    def _enqueue(self, request: Request, refusal: int) -> None:
        self._queue.append((request, refusal))
        if len(self._queue) >= PIPELINE_DEPTH and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
        if self._task is None:
            self._task = self.server.loop.create_task(self._run())
            self.server.tasks.add(self._task)
            self._task.add_done_callback(self.server.tasks.discard)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _run(self) -> None:
        try:
            while not self.lost:
                if not self._queue:
                    if self.server.draining:
                        break
                    self._waiter = self.server.loop.create_future()
                    await self._waiter
                    self._waiter = None
                request, refusal = self._queue.popleft()
                if self._reading_paused and not self._queue:
                    self._reading_paused = False
                    self.transport.resume_reading()
                if not await self._answer(request, refusal):
                    break
        except asyncio.CancelledError:
            if not self.lost and not self.server.draining:
                raise
        self.close()

    async def _answer(self, request: Request, refusal: int) -> bool:
        """Runs the handler; False when the connection must not be used again."""
        keep_alive = request.keep_alive and not self.server.draining
        responder = Responder(self, keep_alive, request.method == "HEAD", request.chunks)
        self._handling = True
        self.deadline = 0.0
        try:
            if refusal:
                self.server.refuse(request, responder, refusal)
            else:
                await self.server.handler(request, responder)
        except ClientGone:
            return False
        except Exception as error:
            self.abort()  # the client must not wait for an answer that will not come
            self.server.loop.call_exception_handler({"message": f"the handler of {request.path} failed", "exception": error})
            return False
        finally:
            self._handling = False
            self.deadline = self.server.now + (self.server.limits.body_timeout_s if self._in_message else self.server.limits.keep_alive_s)
        if not responder.complete:
            self.abort()
            return False
        return keep_alive

    # used by the responder and the server

    def write(self, data: bytes) -> None:
        if not self.lost:
            self.transport.write(data)

    def abort(self) -> None:
        if not self.lost:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.transport.abort()

    def close(self) -> None:
        if not self.lost:
            self.transport.close()

    @property
    def idle(self) -> bool:
        return not self._handling and not self._queue

    def expire(self) -> None:
        """The sweep found this connection past its deadline."""
        if self.write_paused is not None:
            self.abort()
        elif self._in_message and not self._handling:
            self._refuse(408)
        elif self.idle:
            self.close()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _origin_form(url: bytes) -> bytes:
    """Path and query of a target in absolute form, as proxies' clients send it."""
    parts = httptools.parse_url(url)
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


class Server:
    """Accepts connections and keeps their deadlines."""

    def __init__(self, handler: Handler, limits: Limits, on_refusal: Callable[[Request, int], tuple[Headers, bytes]] | None) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        self.date = formatdate(usegmt=True).encode()
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False
        self._on_refusal = on_refusal
        self._listener: asyncio.Server | None = None
        self._sweep_handle = self.loop.call_later(SWEEP_S, self._sweep)

    async def listen(self, sock: socket.socket | None, unix_path: str | None) -> None:
        def connect() -> Connection:
            return Connection(self)

        if unix_path is not None:
            self._listener = await self.loop.create_unix_server(connect, unix_path, backlog=1024)
        elif sock is not None:
            self._listener = await self.loop.create_server(connect, sock=sock, backlog=4096)
        else:
            raise ValueError("a server needs a socket or a unix path")

    def refuse(self, request: Request, responder: Responder, status: int) -> None:
        """Answers what could not be parsed or was too large, in the words of the application if it has some."""
        headers, body = self._on_refusal(request, status) if self._on_refusal else ([], b"")
        responder.send(status, headers, body)

    def _sweep(self) -> None:
        self.now = now = self.loop.time()
        self.date = formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            if connection.deadline and connection.deadline < now:
                connection.expire()
        self._sweep_handle = self.loop.call_later(SWEEP_S, self._sweep)

    def close_listening(self) -> None:
        """Accepts no more; idle connections close, busy ones after their answer."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self.connections):
            if connection.idle:
                connection.close()

    async def drain(self, timeout_s: float) -> None:
        """Waits for what is in flight, then cancels it. Every handler has ended when this returns."""
        self.close_listening()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=timeout_s)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=5)
        for connection in list(self.connections):
            connection.close()
        self._sweep_handle.cancel()


async def serve(
    handler: Handler,
    *,
    sock: socket.socket | None = None,
    unix_path: str | None = None,
    limits: Limits = Limits(),  # noqa: B008  a frozen value
    on_refusal: Callable[[Request, int], tuple[Headers, bytes]] | None = None,
) -> Server:
    """Starts serving on a bound socket or a unix path. `on_refusal` words the answers to 400, 408, 413 and 431."""
    server = Server(handler, limits, on_refusal)
    await server.listen(sock, unix_path)
    return server
