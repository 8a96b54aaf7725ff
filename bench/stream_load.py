"""Reads streams: `python -m bench.stream_load URL CONNECTIONS SECONDS` prints streams and events that were read whole."""

import asyncio
import sys
import time
from urllib.parse import urlsplit

import uvloop

BODY = b'{"model":"s","stream":true,"messages":[{"role":"user","content":"Tell me a story about water, number %d."}],"max_tokens":64}'


class Reader(asyncio.Protocol):
    def __init__(self, host: str, until: float, counts: dict[str, int], number: int) -> None:
        self.host, self.until, self.counts, self.number = host, until, counts, number
        self.tail = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.number += 1_000_000
        body = BODY % self.number
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\npenstock-tag-team: bench\r\n"
        self.transport.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.counts["events"] += data.count(b"data: {")
        self.tail = (self.tail + data)[-16:]
        if self.tail.endswith(b"0\r\n\r\n"):
            self.counts["streams"] += 1
            self.tail = b""
            if time.monotonic() < self.until:
                self.ask()
            else:
                self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main(url: str, connections: int, seconds: float) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    until = time.monotonic() + seconds
    counts = {"streams": 0, "events": 0}
    loop = asyncio.get_running_loop()
    readers = []
    for number in range(connections):
        reader = Reader(parts.netloc, until, counts, number)
        await loop.create_connection(lambda reader=reader: reader, parts.hostname, parts.port)  # type: ignore[misc]
        readers.append(reader)
    await asyncio.wait([reader.done for reader in readers], timeout=seconds + 30)
    print(counts["streams"], counts["events"])


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
