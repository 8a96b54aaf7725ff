"""The way back for one request on a server's connection: whole, or chunk by chunk with back-pressure."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from penstock.wire.message import ClientGone, header_lines, status_line


class Way(Protocol):
    """What a responder needs of its connection."""

    transport: asyncio.Transport
    lost: bool
    write_paused: asyncio.Future[None] | None

    @property
    def date(self) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Responder:
    """The way back for one request. Exactly one of `send` or `start` .. `finish` answers it."""

    __slots__ = ("_chunks", "_connection", "_head_only", "_keep_alive", "complete", "started")

    def __init__(self, connection: Way, keep_alive: bool, head_only: bool, chunks: bool) -> None:
        self._connection = connection
        self._keep_alive = keep_alive
        self._head_only = head_only
        self._chunks = chunks
        self.started = False
        self.complete = False

    @property
    def gone(self) -> bool:
        return self._connection.lost

    def send(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """The whole answer at once, with its length."""
        self.started = self.complete = True
        head = b"%bdate: %b\r\n%bcontent-length: %d\r\n%b\r\n" % (
            status_line(status),
            self._connection.date,
            header_lines(headers),
            len(body),
            b"" if self._keep_alive else b"connection: close\r\n",
        )
        self._connection.write(head if self._head_only else head + body)

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Begins an answer of unknown length: chunked, or to a client of HTTP/1.0 until the connection closes."""
        self.started = True
        self._connection.write(
            b"%bdate: %b\r\n%b%b%b\r\n"
            % (
                status_line(status),
                self._connection.date,
                header_lines(headers),
                b"transfer-encoding: chunked\r\n" if self._chunks else b"",
                b"" if self._keep_alive else b"connection: close\r\n",
            )
        )

    async def write(self, data: bytes) -> None:
        """One chunk; returns when the client keeps up. Raises `ClientGone`."""
        connection = self._connection
        if connection.lost:
            raise ClientGone
        if data and not self._head_only:
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunks else data)
        if connection.write_paused is not None:
            await connection.write_paused
            if connection.lost:
                raise ClientGone

    def finish(self, last: bytes = b"") -> None:
        """Ends a started answer, with the last chunk in the same write."""
        self.complete = True
        if self._head_only:
            return
        if not self._chunks:
            self._connection.write(last)
            return
        self._connection.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n")

    def abort(self) -> None:
        """Ends the connection without ending the answer: a client of chunks misses the last one, others get a reset."""
        if self._chunks and self.started:
            self._connection.close()
        else:
            self._connection.abort()

    def take_over(self) -> asyncio.Transport:
        """The bare transport, for bytes that are not one HTTP answer. The caller ends the connection."""
        self.started = self.complete = True
        return self._connection.transport
