"""Plays calls against a gateway in real time over HTTP, as the firm's applications would, and counts what came back."""

import asyncio
import time
from collections.abc import Iterable

import msgspec
import orjson

from penstock.demo.questions import Call
from penstock.wire.client import Address, Pool, Timeouts, WireError

MOST_IN_FLIGHT = 200
MAX_ANSWER = 10_000_000


class Tally(msgspec.Struct):
    """What the player saw. `answered` counts whole 2xx answers."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    last_failure: str | None = None


class Player:
    """Sends each call when its time has come, whether or not earlier ones are answered."""

    def __init__(self, host: str, port: int) -> None:
        self.tally = Tally()
        self.began_ns = time.time_ns()
        self._host = f"{host}:{port}".encode()
        self._pool = Pool(Address(host, port), Timeouts(), MAX_ANSWER)
        self._running: set[asyncio.Task[None]] = set()

    async def ready(self) -> bool:
        """Whether the gateway says that it is ready."""
        try:
            answer = await self._pool.send(b"GET /readyz HTTP/1.1\r\nhost: %b\r\n\r\n" % self._host)
            await answer.read()
        except WireError:
            return False
        return answer.status == 200

    async def play(self, calls: Iterable[Call]) -> None:
        """Until the calls end, or until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for call in calls:
            due += call.after_s
            await asyncio.sleep(max(due - loop.time(), 0))
            if len(self._running) < MOST_IN_FLIGHT:
                task = asyncio.create_task(self._one(call))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def settle(self, timeout_s: float) -> None:
        """Waits for the answers that are still on their way, and gives the late ones up."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        for task in self._running:
            task.cancel()
        self._pool.close()

    async def _one(self, call: Call) -> None:
        self.tally.sent += 1
        try:
            answer = await self._pool.send(self._message(call))
            body = await answer.read()
        except WireError as error:
            self._failed(str(error))
            return
        if 200 <= answer.status < 300:
            self.tally.answered += 1
        else:
            self._failed(f"HTTP {answer.status}: {body[:200].decode('utf-8', 'replace')}")

    def _failed(self, reason: str) -> None:
        self.tally.failed += 1
        self.tally.last_failure = reason

    def _message(self, call: Call) -> bytes:
        body = call.body
        if call.streamed:
            body = body | {"stream": True, "stream_options": {"include_usage": True}}
        content = orjson.dumps(body)
        wish = "" if call.by_meaning else "penstock-cache: exact\r\n"
        tags = wish + "".join(f"penstock-tag-{name}: {value}\r\n" for name, value in call.tags.items())
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
        return head % (self._host, tags.encode(), len(content)) + content
