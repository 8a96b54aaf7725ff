"""What a worker hands over to the controller, and what it keeps to itself."""

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from penstock.gateway.controller_link import ControllerLink
from penstock.wire.client import Address, Pool, Timeouts
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import serve

Exchange = Callable[[bytes], Awaitable[bytes]]


def handing_over(folder: Path, test: Callable[[Exchange], Awaitable[None]]) -> list[tuple[str, str, str]]:
    """Runs `test` with a way to send bytes to a worker that hands all over; what the controller got: method, target, path."""
    got: list[tuple[str, str, str]] = []

    async def controller(request: Request, responder: Responder) -> None:
        got.append((request.method, request.target, request.path))
        responder.send(200 if request.path == "/metrics" else 404, [], b"a page")

    async def main() -> None:
        path = str(folder / "controller.sock")
        away = await serve(controller, unix_path=path)
        mode = stat.S_IMODE(Path(path).stat().st_mode)
        pool = Pool(Address(unix_path=path), Timeouts(1, 2, 2), 100_000)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            worker = await serve(ControllerLink(pool).hand_over, sock=sock)

            async def exchange(message: bytes) -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
                writer.write(message)
                answer = await reader.read()
                writer.close()
                return answer

            try:
                async with asyncio.timeout(5):
                    assert mode == 0o600
                    await test(exchange)
            finally:
                await worker.drain(1)
                pool.close()
                await away.drain(1)

    uvloop.run(main())
    return got


def get(target: bytes, method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % (method, target)


def test_a_request_hidden_in_the_path_stays_a_path(tmp_path: Path) -> None:
    hidden = b"/x%20HTTP/1.1%0d%0ahost:%20a%0d%0a%0d%0aPOST%20/-/worker%20HTTP/1.1%0d%0acontent-length:%200%0d%0a%0d%0a"

    async def test(exchange: Exchange) -> None:
        answer = await exchange(get(hidden))
        assert answer.startswith(b"HTTP/1.1 404")
        assert answer.count(b"HTTP/1.1") == 1

    assert [(method, target) for method, target, _ in handing_over(tmp_path, test)] == [("GET", hidden.decode())]


def test_the_target_goes_over_as_it_was_sent(tmp_path: Path) -> None:
    async def test(exchange: Exchange) -> None:
        await exchange(get(b"/a%20b?c=%2f"))

    assert handing_over(tmp_path, test) == [("GET", "/a%20b?c=%2f", "/a b")]


@pytest.mark.parametrize(
    "target",
    [
        b"/-/worker",
        b"//-/worker",
        b"/%2d/worker",
        b"/-%2fworker",
        b"/%2f%2F-//worker",
        b"/./-/worker",
        b"/a/../-/worker",
        b"/%2e%2E/metrics",
    ],
)
def test_what_is_between_the_processes_is_no_page(tmp_path: Path, target: bytes) -> None:
    async def test(exchange: Exchange) -> None:
        assert (await exchange(get(target, b"POST"))).startswith(b"HTTP/1.1 404")

    assert handing_over(tmp_path, test) == []


def test_head_is_answered_at_once_and_without_a_body(tmp_path: Path) -> None:
    async def test(exchange: Exchange) -> None:
        answer = await exchange(get(b"/metrics", b"HEAD"))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"content-length: 6" in answer
        assert answer.endswith(b"\r\n\r\n")

    assert handing_over(tmp_path, test) == [("GET", "/metrics", "/metrics")]
