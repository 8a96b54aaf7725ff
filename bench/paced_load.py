"""Asks at a steady rate: `python -m bench.paced_load URL CONNECTIONS RATE SECONDS MARK` prints requests, p50 and p99 in microseconds.

Closed-loop load flatters the fast: a saturated proxy finds its peers awake and takes many events at a time. At one and the same
rate every gateway pays for waking up.
"""

import asyncio
import sys
import time
from urllib.parse import urlsplit

import uvloop

from bench.traffic import body


class Connection(asyncio.Protocol):
    """Sends a request when told to and notes how long its answer took."""

    def __init__(self, host: str, mark: str, number: int) -> None:
        self.host, self.mark, self.number, self.count = host, mark, number, 0
        self.busy = False
        self.times: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self) -> None:
        self.count += 1
        self.busy = True
        message = body("m", self.mark if self.mark == "same" else f"{self.mark}{self.number}-{self.count}")
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer sk-bench\r\npenstock-tag-team: search\r\npenstock-tag-feature: answers\r\n"
            f"content-length: {len(message)}\r\n\r\n"
        )
        self.sent_at = time.perf_counter()
        self.transport.write(head.encode() + message)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data[:500]
        self.times.append(time.perf_counter() - self.sent_at)
        self.busy = False


async def main(url: str, connections: int, rate: float, seconds: float, mark: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    loop = asyncio.get_running_loop()
    pool = [Connection(parts.netloc, mark, number) for number in range(connections)]
    for connection in pool:
        await loop.create_connection(lambda connection=connection: connection, parts.hostname, parts.port)  # type: ignore[misc]
    started, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - started) < seconds:
        if sent < now * rate:
            free = next((connection for connection in pool if not connection.busy), None)
            if free is not None:
                free.ask()
                sent += 1
                continue
        await asyncio.sleep(0.0002)
    await asyncio.sleep(0.2)
    times = sorted(value for connection in pool for value in connection.times)
    print(len(times), int(times[len(times) // 2] * 1e6), int(times[len(times) * 99 // 100] * 1e6))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
