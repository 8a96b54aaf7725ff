"""The HTTP plumbing on real sockets: what a server owes its clients, and what a client owes a bad server."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from penstock.wire.client import Address, Pool, Timeouts, WireError
from penstock.wire.connection import Limits
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import Server, serve

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(request: Request, responder: Responder) -> None:
    """Says what it understood; `/stream` answers in chunks, `/slow` takes its time."""
    if request.path == "/slow":
        await asyncio.sleep(0.2)
    if request.path == "/stream":
        responder.start(200, [])
        for piece in (b"a", b"b"):
            await responder.write(piece)
        responder.finish(b"c")
        return
    responder.send(
        200, [(b"x-path", request.path.encode())], b"%s %s %d" % (request.method.encode(), request.query.encode(), len(request.body))
    )


def run(test: Callable[[int, Server], Coroutine[Any, Any, None]], limits: Limits = Limits()) -> None:  # noqa: B008
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            server = await serve(echo, sock=sock, limits=limits)
            try:
                async with asyncio.timeout(10):
                    await test(port, server)
            finally:
                await server.drain(1)

    asyncio.run(main())


async def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Sends pieces and reads until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return await reader.read()
    finally:
        writer.close()


def test_pipelined_requests_are_answered_in_order() -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(port, b"GET /slow HTTP/1.1\r\n\r\nGET /2?q=1 HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert answer.index(b"x-path: /slow") < answer.index(b"x-path: /2")
        assert answer.count(b"200 OK") == 2

    run(test)


def test_more_pipelined_requests_than_are_held_at_once_all_get_answers() -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(port, b"GET /a HTTP/1.1\r\n\r\n" * 50 + b"GET /z HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert answer.count(b"x-path: /a") == 50
        assert answer.count(b"x-path: /z") == 1

    run(test)


def test_chunked_body_arriving_byte_by_byte_is_put_together() -> None:
    message = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

    async def test(port: int, server: Server) -> None:
        assert (await talk(port, *(message[i : i + 1] for i in range(len(message))))).endswith(b"POST  5")

    run(test)


def test_expect_100_continue_is_answered_before_the_body() -> None:
    async def test(port: int, server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await reader.read()).endswith(b"POST  2")
        writer.close()

    run(test)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"POST / HTTP/1.1\r\ncontent-length: 101\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, b"413"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 2000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nx y: z\r\n\r\n", b"400"),
        (b"\x16\x03\x01 this is no HTTP\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"400"),
    ],
)
def test_what_breaks_a_limit_or_the_syntax_is_refused_and_the_connection_closed(message: bytes, status: bytes) -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(port, message)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close" in answer

    run(test, Limits(max_body=100, max_headers=1000))


def test_trailers_are_no_headers() -> None:
    seen: list[Request] = []

    async def keep(request: Request, responder: Responder) -> None:
        seen.append(request)
        responder.send(200, [], b"")

    message = b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nauthorization: b\r\n\r\n"

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(keep, sock=sock)
            await talk(sock.getsockname()[1], message)
            await server.drain(1)

    asyncio.run(main())
    assert [(request.body, request.header(b"authorization")) for request in seen] == [(b"a", None)]


def test_the_target_is_kept_as_it_was_sent() -> None:
    seen: list[tuple[str, str]] = []

    async def keep(request: Request, responder: Responder) -> None:
        seen.append((request.target, request.path))
        responder.send(200, [], b"")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(keep, sock=sock)
            await talk(sock.getsockname()[1], b"GET /a%20b?c=%2F HTTP/1.1\r\n\r\nGET http://h/%2e?d HTTP/1.1\r\nconnection: close\r\n\r\n")
            await server.drain(1)

    asyncio.run(main())
    assert seen == [("/a%20b?c=%2F", "/a b"), ("/%2e?d", "/.")]


def test_a_slow_head_and_a_slow_body_are_given_up() -> None:
    async def test(port: int, server: Server) -> None:
        for start in (b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc"):
            assert (await talk(port, start)).startswith(b"HTTP/1.1 408")

    run(test, Limits(header_timeout_s=0.1, body_timeout_s=0.1))


def test_an_idle_connection_is_closed_without_a_word() -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(port, b"GET / HTTP/1.1\r\n\r\n")
        assert answer.count(b"HTTP/1.1") == 1

    run(test, Limits(keep_alive_s=0.1))


def test_an_upgrade_that_is_not_offered_is_answered_as_plain_http() -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(
            port, b"GET /a HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\nGET /b HTTP/1.1\r\nconnection: close\r\n\r\n"
        )
        assert b"x-path: /a" in answer

    run(test)


def test_a_stream_to_http_1_0_is_not_chunked_and_ends_with_the_connection() -> None:
    async def test(port: int, server: Server) -> None:
        answer = await talk(port, b"GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nabc")
        assert b"chunked" not in answer

    run(test)


def test_a_handler_that_fails_does_not_keep_its_client_waiting() -> None:
    async def failing(request: Request, responder: Responder) -> None:
        raise LookupError("a defect")

    async def main() -> None:
        told: list[BaseException | None] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context.get("exception")))
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(failing, sock=sock)
            async with asyncio.timeout(5):
                with pytest.raises(ConnectionResetError):
                    await talk(sock.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n")
            await server.drain(1)
        assert any(isinstance(error, LookupError) for error in told)

    asyncio.run(main())


def test_an_answer_that_breaks_off_resets_the_connection() -> None:
    async def broken(request: Request, responder: Responder) -> None:
        responder.start(200, [])
        await responder.write(b"half")
        responder.abort()

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(broken, sock=sock)
            with pytest.raises(ConnectionResetError):
                await talk(sock.getsockname()[1], b"GET / HTTP/1.0\r\n\r\n")
            await server.drain(1)

    asyncio.run(main())


def test_http_1_0_and_head() -> None:
    async def test(port: int, server: Server) -> None:
        assert (await talk(port, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"GET  0")
        head = await talk(port, b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert b"content-length: 7" in head
        assert head.endswith(b"\r\n\r\n")

    run(test)


def test_a_client_that_leaves_cancels_its_handler() -> None:
    ended = asyncio.Event()

    async def wait(request: Request, responder: Responder) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            assert responder.gone
            ended.set()

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = await serve(wait, sock=sock)
            _, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.close()
            async with asyncio.timeout(5):
                await ended.wait()
            await server.drain(1)

    asyncio.run(main())


def asking(raw: Raw, ask: Callable[[Pool], Awaitable[None]], timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008
    """A pool against a server that speaks as `raw` does."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await raw(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        pool = Pool(Address("127.0.0.1", server.sockets[0].getsockname()[1]), timeouts, 10_000)
        async with asyncio.timeout(10):
            await ask(pool)
        pool.close()
        server.close()
        await asyncio.sleep(0.05)

    asyncio.run(main())


def says(*pieces: bytes, pause: float = 0.0, hold: float = 0.0) -> Raw:
    """A server that answers every connection's first bytes with these and closes."""

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        await asyncio.sleep(hold)
        writer.close()

    return raw


MESSAGE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (says(b"SSH-2.0-OpenSSH\r\n"), "protocol"),
        (says(b""), "reset"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-le"), "reset"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), "reset"),
        (says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"), "reset"),
        (says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n"), "protocol"),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40_000, b"y" * 40_000, pause=0.01, hold=5), "protocol"),
        (says(*[b"HTTP/1.1 100 Continue\r\n\r\n" * 1000] * 4, pause=0.01, hold=5), "protocol"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n" + b"x" * 20_000), "too_large"),
        (says(hold=5), "timeout"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", hold=5), "timeout"),
    ],
)
def test_a_bad_server_becomes_an_error_of_its_kind(raw: Raw, kind: str) -> None:
    async def ask(pool: Pool) -> None:
        with pytest.raises(WireError) as caught:
            await (await pool.send(MESSAGE)).read()
        assert caught.value.kind == kind

    asking(raw, ask, Timeouts(connect=1, first=0.3, idle=0.3))


def test_a_body_without_length_ends_with_the_connection() -> None:
    async def ask(pool: Pool) -> None:
        assert await (await pool.send(MESSAGE)).read() == b"abc"

    asking(says(b"HTTP/1.1 200 OK\r\n\r\nab", b"c", pause=0.01), ask)


def test_trailers_of_an_answer_are_no_headers() -> None:
    async def ask(pool: Pool) -> None:
        answer = await pool.send(MESSAGE)
        assert await answer.read() == b"a"
        assert answer.headers == []

    asking(says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", b"0\r\nx: y\r\n\r\n", pause=0.01), ask)


def test_interim_answers_are_skipped() -> None:
    async def ask(pool: Pool) -> None:
        answer = await pool.send(MESSAGE)
        assert (answer.status, await answer.read()) == (200, b"ok")

    asking(says(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", pause=0.01), ask)


def test_nobody_listening_is_a_connect_error() -> None:
    async def ask(pool: Pool) -> None:
        lonely = Pool(Address("127.0.0.1", 1), Timeouts(), 10)
        with pytest.raises(WireError) as caught:
            await lonely.send(MESSAGE)
        assert caught.value.kind == "connect"
        lonely.close()

    asking(says(), ask)


def test_connections_are_used_again_and_replaced_when_the_server_gave_them_up() -> None:
    connections = []

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for _ in range(2):
            if not await reader.readuntil(b"\r\n\r\n"):
                return
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async def ask(pool: Pool) -> None:
        for _ in range(6):
            assert await (await pool.send(MESSAGE)).read() == b"ok"
        assert len(connections) == 3

    asking(raw, ask)


def test_an_answer_that_is_not_wanted_any_more_closes_its_connection() -> None:
    closed = asyncio.Event()

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        closed.set()
        writer.close()

    async def ask(pool: Pool) -> None:
        answer = await pool.send(MESSAGE)
        assert await answer.chunk() == b"a"
        answer.close()
        await closed.wait()

    asking(raw, ask)
