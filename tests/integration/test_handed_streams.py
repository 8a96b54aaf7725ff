"""Answers without end, and answers that are large: what a worker passes through from the controller, and when it stops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.gateway.controller_link import ControllerLink
from penstock.wire.client import Address, Pool, Timeouts
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import Server, serve

EVENTS = [(b"content-type", b"text/event-stream")]
PIECE = b"x" * 65_536


class Rig:
    """A worker that hands all over to a controller which is `answering`."""

    def __init__(self, link: ControllerLink, controller: Server, worker: Server, port: int) -> None:
        self.link, self.controller, self.worker, self.port = link, controller, worker, port

    async def get(self, target: bytes = b"/x", method: bytes = b"GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"%b %b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % (method, target))
        return reader, writer


@asynccontextmanager
async def rig(folder: Path, answering: Callable[[Request, Responder], Awaitable[None]]) -> AsyncIterator[Rig]:
    path = str(folder / "controller.sock")
    controller = await serve(answering, unix_path=path)
    pool = Pool(Address(unix_path=path), Timeouts(1, 2, 0.4), 100_000)
    link = ControllerLink(pool)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        worker = await serve(link.hand_over, sock=sock)
        try:
            async with asyncio.timeout(20):
                yield Rig(link, controller, worker, sock.getsockname()[1])
        finally:
            await worker.drain(0.1)
            await controller.drain(0.1)
            pool.close()


def run(folder: Path, answering: Callable[[Request, Responder], Awaitable[None]], test: Callable[[Rig], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with rig(folder, answering) as made:
            await test(made)

    asyncio.run(scenario())


def test_events_arrive_one_by_one_and_outlive_every_deadline(tmp_path: Path) -> None:
    async def answering(request: Request, responder: Responder) -> None:
        responder.start(200, EVENTS)
        for number in range(4):
            await responder.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0.25)  # all together longer than any time-out of the line
        responder.finish()

    async def test(made: Rig) -> None:
        reader, writer = await made.get()
        assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")
        began = asyncio.get_running_loop().time()
        await reader.readuntil(b"data: 0\n\n")
        assert asyncio.get_running_loop().time() - began < 0.2, "not held until the end"
        rest = await reader.read()
        assert b"data: 3\n\n" in rest
        assert rest.endswith(b"0\r\n\r\n")
        writer.close()

    run(tmp_path, answering, test)


def test_a_large_answer_passes_beyond_the_bound_of_whole_ones(tmp_path: Path) -> None:
    async def answering(request: Request, responder: Responder) -> None:
        responder.start(200, [])
        for _ in range(64):
            await responder.write(PIECE)
        responder.finish()

    async def test(made: Rig) -> None:
        reader, writer = await made.get()
        assert (await reader.read()).count(b"x") == 64 * len(PIECE)
        writer.close()

    run(tmp_path, answering, test)


def test_a_client_that_does_not_read_holds_the_controller_back(tmp_path: Path) -> None:
    written: list[int] = []

    async def answering(request: Request, responder: Responder) -> None:
        responder.start(200, [])
        for _ in range(4000):
            await responder.write(PIECE)
            written.append(len(PIECE))
        responder.finish()

    async def test(made: Rig) -> None:
        _, writer = await made.get()
        await asyncio.sleep(0.3)
        held = sum(written)
        await asyncio.sleep(0.5)
        assert sum(written) == held, "and no time-out ends it"
        assert held < 40_000_000
        writer.close()

    run(tmp_path, answering, test)


def test_the_controller_hears_that_a_client_is_gone(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def answering(request: Request, responder: Responder) -> None:
        try:
            responder.start(200, EVENTS)
            while True:
                await responder.write(b": still here\n\n")
                await asyncio.sleep(0.05)
        finally:
            ended.set()

    async def test(made: Rig) -> None:
        reader, writer = await made.get()
        await reader.readuntil(b"still here")
        writer.close()
        async with asyncio.timeout(1):
            await ended.wait()

    run(tmp_path, answering, test)


def test_a_stream_whose_controller_died_does_not_look_whole(tmp_path: Path) -> None:
    async def answering(request: Request, responder: Responder) -> None:
        responder.start(200, [])
        await responder.write(b"a,b\n")
        await asyncio.sleep(0.05)
        responder.abort()

    async def test(made: Rig) -> None:
        reader, writer = await made.get()
        answer = await reader.read()
        assert b"a,b\n" in answer
        assert not answer.endswith(b"0\r\n\r\n")
        writer.close()

    run(tmp_path, answering, test)


def test_a_silent_controller_is_told_apart_from_one_that_is_away(tmp_path: Path) -> None:
    async def answering(request: Request, responder: Responder) -> None:
        await asyncio.sleep(10)

    async def test(made: Rig) -> None:
        reader, writer = await made.get()
        assert (await reader.read()).startswith(b"HTTP/1.1 504")
        writer.close()

    run(tmp_path, answering, test)


def test_a_browser_gets_a_page_while_the_controller_is_away_and_a_program_the_error(tmp_path: Path) -> None:
    async def ask(made: Rig, accept: bytes) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"GET /costs?where=<b> HTTP/1.1\r\nhost: a\r\nconnection: close\r\naccept: %b\r\n\r\n" % accept)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return head.lower(), body

    async def answering(request: Request, responder: Responder) -> None:
        await asyncio.sleep(10)

    async def test(made: Rig) -> None:
        busy = await ask(made, b"text/html")
        await made.controller.drain(0.1)
        away, program = await ask(made, b"text/html,*/*;q=0.8"), await ask(made, b"application/json")
        assert away[0].startswith(b"http/1.1 503") and b"retry-after: 1" in away[0]
        assert b"content-type: text/html; charset=utf-8" in away[0] and b"content-security-policy: default-src 'none'" in away[0]
        assert b'http-equiv="refresh"' in away[1] and b"Model calls go on" in away[1] and b"<b>" not in away[1]
        assert program[0].startswith(b"http/1.1 503") and b"content-type: application/json" in program[0]
        assert b"the controller is not running" in program[1]
        assert busy[0].startswith(b"http/1.1 504") and b"refresh" not in busy[1], "asked again by itself, it would be busier still"

    run(tmp_path, answering, test)


def test_head_of_a_stream_is_its_head(tmp_path: Path) -> None:
    async def answering(request: Request, responder: Responder) -> None:
        responder.start(200, EVENTS)
        while True:
            await responder.write(b": still here\n\n")
            await asyncio.sleep(0.05)

    async def test(made: Rig) -> None:
        reader, writer = await made.get(method=b"HEAD")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n")
        assert b"still here" not in answer
        writer.close()

    run(tmp_path, answering, test)


def test_a_worker_that_stops_does_not_wait_for_its_watchers(tmp_path: Path) -> None:
    async def answering(request: Request, responder: Responder) -> None:
        responder.start(200, EVENTS)
        while True:
            await responder.write(b": still here\n\n")
            await asyncio.sleep(0.05)

    async def test(made: Rig) -> None:
        reader, writer = await made.get()
        await reader.readuntil(b"still here")
        made.link.end_live()
        began = asyncio.get_running_loop().time()
        await made.worker.drain(10)
        assert asyncio.get_running_loop().time() - began < 1
        await reader.read()
        writer.close()

    run(tmp_path, answering, test)
