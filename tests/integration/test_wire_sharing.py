"""Connections that callers use one after another: what one does to its exchange must not touch the next one's."""

import asyncio

from penstock.wire.client import Pool
from tests.integration.test_wire import MESSAGE, asking


def test_a_caller_that_leaves_as_its_answer_comes_does_not_take_the_next_ones_connection_away() -> None:
    """The answer is whole, so the connection is the next caller's before the first one has noticed that it was called off."""
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(whole)
        await writer.drain()

    async def ask(pool: Pool) -> None:
        first = asyncio.create_task(pool.send(MESSAGE))
        while not (begun := [each for each in pool._all if each._head is not None]):
            await asyncio.sleep(0.001)
        second = asyncio.create_task(pool.send(MESSAGE))
        begun[0].data_received(whole)
        first.cancel()
        async with asyncio.timeout(2):
            assert await (await second).read() == b"ok"
        assert first.cancelled()

    asking(raw, ask)
