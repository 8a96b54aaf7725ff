"""The server side: listens, keeps the connections' deadlines with one sweep, and drains: what is in flight finishes."""

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from penstock.wire.connection import Connection, Handler, Limits
from penstock.wire.message import Headers, Request
from penstock.wire.responder import Responder

SWEEP_S = 0.25


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
            self._listener = await self.loop.create_unix_server(connect, unix_path, backlog=1024, start_serving=False)
            Path(unix_path).chmod(0o600)  # before the first connection: it is for processes of the same user
            await self._listener.start_serving()
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
            if connection.deadline:
                connection.sweep(now)
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
