"""A TCP proxy on a port of its own, whose line can be cut and mended: a database that is away for a while."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit


class TcpProxy:
    """Passes bytes on until it is `cut`; runs in a thread of the test process."""

    def __init__(self, host: str, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._target = (host, port)
        self._loop = loop
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.url = ""

    @classmethod
    @contextmanager
    def to(cls, url: str) -> Iterator["TcpProxy"]:
        """A proxy for the server of a URL; its own `url` leads through it."""
        parts = urlsplit(url)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="tcp-proxy", daemon=True)
        thread.start()
        proxy = cls(parts.hostname or "127.0.0.1", parts.port or 5432, loop)
        proxy.mend()
        user = f"{parts.username}@" if parts.username else ""
        proxy.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}"))
        try:
            yield proxy
        finally:
            proxy.cut()
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()

    def cut(self) -> None:
        """Resets every connection and refuses new ones."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    def mend(self) -> None:
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            self._writers -= {writer, back}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
