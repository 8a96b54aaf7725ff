"""One client connection: parses, queues pipelined requests, runs the handler for one at a time, and keeps its deadline.

Duties it carries: limits on head and body, chunked bodies, pipelining, `Expect: 100-continue`, slow and stalled clients,
back-pressure, HTTP/1.0, HEAD, and refusals that arrive. A request arms no timer: the server's sweep looks at the deadline.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast
from urllib.parse import unquote

import httptools
import msgspec

from penstock.wire.message import ClientGone, Headers, Request, origin_form
from penstock.wire.responder import Responder

PIPELINE_DEPTH = 8
WRITE_HIGH_WATER = 256 * 1024
LINGER_S = 1.0
"""how long a refused client may go on sending unheard: closing at once resets the connection, and the reset overtakes the answer"""
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


class Host(Protocol):
    """What a connection needs of its server."""

    loop: asyncio.AbstractEventLoop
    handler: Handler
    limits: Limits
    now: float
    date: bytes
    connections: "set[Connection]"
    tasks: set[asyncio.Task[None]]
    draining: bool

    def refuse(self, request: Request, responder: Responder, status: int) -> None: ...


class Connection(asyncio.Protocol):
    """The protocol of one client's connection."""

    def __init__(self, server: Host) -> None:
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
        self._lingering = False
        self._closing = False
        self._unwritten = 0
        self.deadline = 0.0
        self._reset_message()

    def _reset_message(self) -> None:
        self._url = b""
        self._headers: Headers = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._fed = 0
        self._body_moved = False
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
        self.write_paused = self.server.loop.create_future()
        self._watch_writing()

    def resume_writing(self) -> None:
        if self.write_paused is not None:
            if not self.write_paused.done():
                self.write_paused.set_result(None)
            self.write_paused = None
            if not self._closing and not self._lingering:
                self.deadline = 0.0
                self._await_client(self._next_wait_s())

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        headers = self._headers
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
            # where another message ended in the same bytes, nobody says how many belong to this one: they count as none
            self._look_at_unfinished(len(data) if self._headers is headers else 0)

    def _look_at_unfinished(self, fed: int) -> None:
        """What must not wait for the end of a message: a head or trailers without end, a body that is too long, `Expect`.

        The parser tells of whole headers only and keeps what is not whole, so the bytes it was fed are what is bounded.
        """
        limits = self.server.limits
        first_after_head = self._head_complete and not self._head_seen
        self._fed = 0 if self._body_moved or first_after_head else self._fed + fed
        self._body_moved = False
        if self._fed > limits.max_headers:
            self._refuse(431)
        if not first_after_head:
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
        self._await_client(self.server.limits.header_timeout_s)

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_complete:
            return  # a trailer: whoever decided by the head has decided
        self._headers.append((name.lower(), value))
        self._header_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._await_client(self.server.limits.body_timeout_s)
        if self._header_bytes > self.server.limits.max_headers:
            self._refuse(431)

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self.server.limits.max_body:
            self._refuse(413)
            return
        self._body.append(data)
        self._body_moved = True

    def on_message_complete(self) -> None:
        if self._refused:
            return
        target = (self._url if self._url.startswith(b"/") else origin_form(self._url)).decode("latin-1")
        path, _, query = target.partition("?")
        modern = self._parser.get_http_version() != "1.0"
        request = Request(
            self._parser.get_method().decode("latin-1"),
            target,
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
        target = self._url.decode("latin-1")
        self._enqueue(Request("?", target, target.partition("?")[0], "", self._headers, b"", keep_alive=False), status)

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
                if self.write_paused is not None:
                    await self.write_paused  # a client that does not read gets no further answers
                    continue
                request, refusal = self._queue.popleft()
                if self._reading_paused and not self._queue:
                    self._reading_paused = False
                    self.transport.resume_reading()
                if not await self._answer(request, refusal):
                    if refusal:
                        self._linger()
                        return
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
        except asyncio.CancelledError:
            if not responder.complete:
                self.abort()  # what a drain cuts off must not look like a whole answer
            raise
        except Exception as error:
            self.abort()  # the client must not wait for an answer that will not come
            self.server.loop.call_exception_handler({"message": f"the handler of {request.path} failed", "exception": error})
            return False
        finally:
            self._handling = False
            self._await_client(self._next_wait_s())
        if not responder.complete:
            if not self._closing:  # what was written goes out first where missing the last chunk tells enough
                self.abort()
            return False
        return keep_alive

    # deadlines and the end

    def _await_client(self, seconds: float) -> None:
        """Gives the client this long, unless it is the handler's turn or what is being written has its own deadline."""
        if not self._handling and self.write_paused is None and not self._closing and not self._lingering:
            self.deadline = self.server.now + seconds

    def _next_wait_s(self) -> float:
        return self.server.limits.body_timeout_s if self._in_message else self.server.limits.keep_alive_s

    def _watch_writing(self) -> None:
        """From here the client must take bytes: the sweep renews this deadline whenever it has taken some."""
        self._unwritten = self.transport.get_write_buffer_size()
        self.deadline = self.server.now + self.server.limits.write_stall_s

    def _linger(self) -> None:
        """Ends the answers' side and lets the client finish sending, unheard, so that it gets to read the refusal."""
        if self.lost or self._closing:
            return
        self._lingering = True
        self.deadline = self.server.loop.time() + LINGER_S
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # used by the responder and the server

    @property
    def date(self) -> bytes:
        return self.server.date

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
        """Closes when what was written has gone out, which a client that stops reading cannot put off for ever."""
        if not self.lost and not self._closing:
            self._closing = True
            self._watch_writing()
            self.transport.close()

    @property
    def idle(self) -> bool:
        return not self._handling and not self._queue

    def sweep(self, now: float) -> None:
        """Renews the deadline of a client that goes on reading, and acts on one that has passed."""
        stalled = self._closing or (self.write_paused is not None and not self._lingering)
        if stalled and self.transport.get_write_buffer_size() < self._unwritten:
            self._watch_writing()
        if self.deadline >= now:
            return
        if stalled:
            self.abort()
        elif self._lingering:
            self.close()
        elif self._in_message and not self._handling:
            self._refuse(408)
        elif self.idle:
            self.close()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
