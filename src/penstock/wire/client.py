"""The client side: keep-alive connections to one address, whole or chunk by chunk, with a deadline for every stage.

Errors say what kind they are: `connect`, `timeout`, `reset` (closed or broken off), `protocol` (not HTTP), `too_large`.
"""

import asyncio
import ssl
from collections import deque
from typing import cast

import httptools
import msgspec

from penstock.wire.message import HOP_BY_HOP, Headers

SWEEP_S = 0.1
READ_HIGH_WATER = 256 * 1024
MAX_HEADER_BYTES = 65_536
IDLE_KEEP_S = 45.0
LEFT_OUT = HOP_BY_HOP | {b"date"}
"""what an answer's headers are kept without: whoever passes it on dates it anew"""


class WireError(Exception):
    """No usable answer. `kind` as in the module's docstring; `started`: bytes of an answer had arrived."""

    def __init__(self, kind: str, message: str, started: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.started = started


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: to connect, from the request to the first byte of the body, and between bytes after that."""

    connect: float = 2.0
    first: float = 60.0
    idle: float = 30.0


class Address(msgspec.Struct, frozen=True):
    """Where a server is: host and port, with TLS or without, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    unix_path: str | None = None

    def __str__(self) -> str:
        return self.unix_path or f"{self.host}:{self.port}"


class Answer:
    """An answer whose head has arrived; hop-by-hop headers and the length are removed."""

    __slots__ = ("_buffer", "_connection", "_error", "_max_body", "_waiter", "buffered", "complete", "headers", "status")

    def __init__(self, connection: "ClientConnection", status: int, headers: Headers, max_body: int) -> None:
        self._connection: ClientConnection | None = connection
        self.status = status
        self.headers = headers
        self.complete = False
        self.buffered = 0
        self._buffer: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: WireError | None = None
        self._max_body = max_body

    def feed(self, data: bytes) -> None:
        self._buffer.append(data)
        self.buffered += len(data)
        self._wake()

    def end(self, error: WireError | None) -> None:
        self.complete = error is None
        self._error = error
        self._connection = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def chunk(self) -> bytes | None:
        """The bytes that have arrived since the last call, or the next ones; None at a complete end."""
        while not self._buffer:
            if self.complete:
                return None
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        self.buffered = 0
        if self._connection is not None:
            self._connection.consumed()
        return data

    async def read(self) -> bytes:
        """The whole body."""
        first = await self.chunk()
        if first is None:
            return b""
        if self.complete:
            if len(first) > self._max_body:
                raise WireError("too_large", f"the answer is larger than {self._max_body} bytes", started=True)
            return first
        parts, size = [first], len(first)
        while (data := await self.chunk()) is not None:
            size += len(data)
            if size > self._max_body:
                self.close()
                raise WireError("too_large", f"the answer is larger than {self._max_body} bytes", started=True)
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        """Gives the connection up if the body was not read to its end."""
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None


class ClientConnection(asyncio.Protocol):
    """One connection to the server, one exchange at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.lost = False
        self.deadline = 0.0
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._busy = False
        self._head: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._paused = False
        self._fed = 0
        self._reset_exchange()

    def _reset_exchange(self) -> None:
        self._headers: Headers = []
        self._header_bytes = 0
        self._has_length = False
        self._skip = False
        self._started = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass

    async def exchange(self, message: bytes, first_s: float) -> Answer:
        """Sends one request and returns when the head of its answer is there; `first_s` bounds the wait for its body too."""
        self._reset_exchange()
        self._fed = 0
        self._busy = True
        head: asyncio.Future[Answer] = self._pool.loop.create_future()
        self._head = head
        self._answer = None
        self.deadline = self._pool.now + first_s
        self.transport.write(message)
        try:
            return await head
        except asyncio.CancelledError:
            if self._head is head:  # else the whole answer came in the same moment, and the connection may be somebody else's by now
                self.abandon()
            raise

    # parser events

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("header section too large")
        if self._answer is not None:
            return  # a trailer: the head has been handed out
        if name == b"content-length":
            self._has_length = True
        elif name not in LEFT_OUT:
            self._headers.append((name, value))
        elif name == b"transfer-encoding":
            self._has_length = True

    def on_headers_complete(self) -> None:
        assert self._head is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._skip = True
            return
        self._answer = Answer(self, status, self._headers, self._pool.max_body)
        if not self._head.done():
            self._head.set_result(self._answer)

    def on_body(self, data: bytes) -> None:
        if self._answer is None:
            return
        self.deadline = self._pool.now + self._pool.timeouts.idle
        self._answer.feed(data)
        if self._answer.buffered > READ_HIGH_WATER and not self._paused:
            self._paused = True
            self.deadline = 0.0
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._skip:
            self._reset_exchange()
            return
        answer, self._answer = self._answer, None
        if answer is None or not self._busy:
            return
        reusable = self._parser.should_keep_alive() and not self._paused
        self._finish()
        answer.end(None)
        if reusable:
            self._pool.give_back(self)
        else:
            self._close()

    def consumed(self) -> None:
        if self._paused:
            self._paused = False
            self.deadline = self._pool.now + self._pool.timeouts.idle
            self.transport.resume_reading()

    # transport events

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._close()
            return
        self._started = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(WireError("protocol", f"the upstream did not speak HTTP: {error}", started=self._started))
            return
        if self._answer is None and self._busy:
            self._fed += len(data)  # the parser tells of whole headers only, and keeps what is not whole
            if self._fed > MAX_HEADER_BYTES:
                self._fail(WireError("protocol", f"the upstream's answer has a head of more than {MAX_HEADER_BYTES} bytes", started=True))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._pool.forget(self)
        answer = self._answer
        if answer is not None and not self._has_length and exc is None:
            self._finish()
            answer.end(None)
            return
        self._fail(WireError("reset", f"the upstream closed the connection{f': {exc}' if exc else ''}", started=self._started))

    def _fail(self, error: WireError) -> None:
        head, answer = self._head, self._answer
        self._finish()
        if answer is not None:
            answer.end(error)
        elif head is not None and not head.done():
            head.set_exception(error)
        self._close()

    def _finish(self) -> None:
        self._busy = False
        self._head = None
        self._answer = None
        self.deadline = 0.0

    def expire(self) -> None:
        """The sweep found this exchange past its deadline."""
        stage = "the next bytes" if self._answer is not None and self._started else "an answer"
        self._fail(WireError("timeout", f"the upstream did not send {stage} in time", started=self._answer is not None))

    def abandon(self) -> None:
        """Nobody wants the answer any more: close, so that the server can stop working on it."""
        self._finish()
        self._close()

    def _close(self) -> None:
        if not self.lost and self.transport is not None:
            self.transport.abort()


class Pool:
    """Connections to one address. `send` opens one when none is idle."""

    def __init__(self, address: Address, timeouts: Timeouts, max_body: int) -> None:
        self.timeouts = timeouts
        self.max_body = max_body
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        self._address = address
        self._idle: list[ClientConnection] = []
        self._all: set[ClientConnection] = set()
        self._sweep_handle = self.loop.call_later(SWEEP_S, self._sweep)

    async def send(self, message: bytes, *, first_s: float | None = None, repeatable: bool = True) -> Answer:
        """Sends a whole request (head and body) and returns its answer. Raises `WireError`.

        A kept connection that turns out to be closed before a byte of the answer came is replaced once: almost surely the
        server gave it up while idle. What is not `repeatable` goes out on a new connection. `first_s`: other than `timeouts.first`.
        """
        wait_s = self.timeouts.first if first_s is None else first_s
        while self._idle and repeatable:
            connection = self._idle.pop()
            if connection.lost:
                continue
            try:
                return await connection.exchange(message, wait_s)
            except WireError as error:
                if error.kind != "reset" or error.started:
                    raise
                break
        connection = await self._connect()
        return await connection.exchange(message, wait_s)

    async def _connect(self) -> ClientConnection:
        address = self._address
        try:
            async with asyncio.timeout(self.timeouts.connect):
                if address.unix_path is not None:
                    _, connection = await self.loop.create_unix_connection(lambda: ClientConnection(self), address.unix_path)
                else:
                    name = address.host if address.tls else None
                    _, connection = await self.loop.create_connection(
                        lambda: ClientConnection(self), address.host, address.port, ssl=address.tls, server_hostname=name
                    )
        except TimeoutError:
            raise WireError("connect", f"no connection to {address} within {self.timeouts.connect:g} s") from None
        except (OSError, ssl.SSLError) as error:
            raise WireError("connect", f"no connection to {address}: {error}") from None
        self._all.add(connection)
        return connection

    def give_back(self, connection: ClientConnection) -> None:
        if not connection.lost:
            connection.idle_since = self.now
            self._idle.append(connection)

    def forget(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        self.now = now = self.loop.time()
        for connection in list(self._all):
            if connection.deadline:
                if connection.deadline < now:
                    connection.expire()
            elif connection.idle_since and connection.idle_since + IDLE_KEEP_S < now and connection in self._idle:
                connection.abandon()
        self._sweep_handle = self.loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        self._sweep_handle.cancel()
        for connection in list(self._all):
            connection.abandon()
