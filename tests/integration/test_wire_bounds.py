"""What one client can make the server hold: heads without end, answers it does not read, and how such a connection ends."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from penstock.wire.connection import Limits
from penstock.wire.message import ClientGone, Request
from penstock.wire.responder import Responder
from penstock.wire.server import Server, serve
from tests.integration.test_wire import run, talk


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nx: ",
        b"GET / HTTP/1.1\r\n",
        b"GET /",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: ",
    ],
)
def test_a_head_or_a_trailer_that_never_ends_a_line_is_refused(start: bytes) -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(port, start, *[b"y" * 400] * 3, pause=0.01)
        assert answer.startswith(b"HTTP/1.1 431")

    run(test, Limits(max_headers=1000))


def test_bytes_of_earlier_requests_and_of_bodies_do_not_count_as_a_head() -> None:
    many = b"GET /a HTTP/1.1\r\n\r\n" * 100 + b"POST /z HTTP/1.1\r\nconnection: close\r\ncontent-le"

    async def test(port: int, server: Server) -> None:
        answer = await talk(port, many, b"ngth: 3000\r\n\r\n", *[b"x" * 500] * 6, pause=0.01)
        assert answer.count(b"200 OK") == 101
        assert answer.endswith(b"POST  3000")

    run(test, Limits(max_headers=1000))


def test_a_request_with_an_endless_head_is_cut_off() -> None:
    async def test(port: int, server: Server) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")

        async def pour() -> None:
            while True:
                writer.write(b"x: " + b"y" * 1000 + b"\r\n")
                await writer.drain()

        with pytest.raises(ConnectionError):
            await pour()
        writer.close()

    run(test)


def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    def upload(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\ncontent-length: 20000000\r\n\r\n")
            for _ in range(200):
                sock.sendall(b"x" * 100_000)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    async def test(port: int, server: Server) -> None:
        assert (await asyncio.to_thread(upload, port)).startswith(b"HTTP/1.1 413")

    run(test, Limits(max_body=100))


def test_a_client_that_does_not_read_stalls_the_handler_and_is_given_up() -> None:
    state = {"written": 0, "gone": False}

    async def pour(request: Request, responder: Responder) -> None:
        responder.start(200, [])
        try:
            for _ in range(1000):
                await responder.write(b"x" * 100_000)
                state["written"] += 100_000
        except (ClientGone, asyncio.CancelledError):
            state["gone"] = True
            raise

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(pour, sock=sock, limits=Limits(write_stall_s=0.3))
            _, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1], limit=1024)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(10):
                while server.connections or not state["gone"]:
                    await asyncio.sleep(0.05)
            assert state["written"] < 100_000_000
            writer.close()
            await server.drain(1)

    asyncio.run(main())


async def big(request: Request, responder: Responder) -> None:
    """A whole answer of 400 kB for `/big`, of 10 kB for others."""
    responder.send(200, [], b"x" * (400_000 if request.path == "/big" else 10_000))


def narrow(port: int) -> socket.socket:
    """A client whose system keeps little of what it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


def pressed(
    test: Callable[[int, Server], Coroutine[Any, Any, None]], limits: Limits, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Runs `test` against `big` on a socket whose system takes little at a time."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            server = await serve(big, sock=sock, limits=limits)
            try:
                async with asyncio.timeout(8):
                    await test(sock.getsockname()[1], server)
            finally:
                await server.drain(1)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


@LOOPS
def test_a_client_that_pipelines_and_never_reads_is_bounded_and_cut(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test(port: int, server: Server) -> None:
        with narrow(port) as client:
            pending, most = b"GET / HTTP/1.1\r\n\r\n" * 3000, 0
            began = server.loop.time()
            while not server.connections:
                await asyncio.sleep(0.01)
            while server.connections:
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    pending = pending[client.send(pending) :] if pending else b""
                most = max([most, *(connection.transport.get_write_buffer_size() for connection in server.connections)])
                await asyncio.sleep(0.01)
            assert 100_000 < most < 400_000
            assert 0.3 < server.loop.time() - began < 3

    pressed(test, Limits(write_stall_s=0.4), loop)


@LOOPS
@pytest.mark.parametrize("last", [b"", b"connection: close\r\n"])
def test_a_slow_reader_of_a_large_answer_is_not_cut(loop: Callable[[], asyncio.AbstractEventLoop], last: bytes) -> None:
    async def test(port: int, server: Server) -> None:
        with narrow(port) as client:
            await server.loop.sock_sendall(client, b"GET /big HTTP/1.1\r\n" + last + b"\r\n")
            began, size = server.loop.time(), 0
            while size < 400_000:
                data = await server.loop.sock_recv(client, 20_000)
                assert data, f"cut after {size} bytes"
                size += len(data)
                await asyncio.sleep(0.012)
            assert server.loop.time() - began > 0.8

    pressed(test, Limits(write_stall_s=0.4), loop)


@LOOPS
def test_a_client_that_stops_reading_cannot_keep_a_closing_connection(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def test(port: int, server: Server) -> None:
        with narrow(port) as client:
            await server.loop.sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n" * 12 + b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
            while not server.connections:
                await asyncio.sleep(0.01)
            while server.connections:
                await asyncio.sleep(0.02)

    pressed(test, Limits(write_stall_s=0.3), loop)


def test_drain_lets_what_is_in_flight_finish() -> None:
    async def test(port: int, server: Server) -> None:
        slow = asyncio.create_task(talk(port, b"GET /slow HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0.05)
        await server.drain(5)
        assert (await slow).endswith(b"GET  0")

    run(test)


@LOOPS
def test_a_drain_that_cuts_an_answer_off_resets_the_connection(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def endless(request: Request, responder: Responder) -> None:
        responder.start(200, [])
        await responder.write(b"half")
        await asyncio.sleep(30)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(endless, sock=sock)
            reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await reader.readuntil(b"half")
            await server.drain(0.05)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
