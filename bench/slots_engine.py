"""An engine with few slots: each call takes one for 25 to 75 ms, drawn from a fixed seed; calls beyond the slots wait in a line.

`python -m bench.slots_engine PORT SLOTS`. Raw asyncio, so that nothing but the slots limits it.
"""

import asyncio
import json
import random
import sys
from collections import deque

import uvloop

SHORTEST_S, LONGEST_S = 0.025, 0.075
MEAN_S = (SHORTEST_S + LONGEST_S) / 2
_BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 57, "completion_tokens": 3, "total_tokens": 60},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Slots:
    """Who is at work, and who waits for that."""

    def __init__(self, slots: int) -> None:
        self.free = slots
        self.waiting: deque[asyncio.Transport] = deque()
        self.draw = random.Random(7)

    def work(self, transport: asyncio.Transport) -> None:
        if not self.free:
            self.waiting.append(transport)
            return
        self.free -= 1
        asyncio.get_running_loop().call_later(self.draw.uniform(SHORTEST_S, LONGEST_S), self._done, transport)

    def _done(self, transport: asyncio.Transport) -> None:
        self.free += 1
        if not transport.is_closing():
            transport.write(ANSWER)
        if self.waiting:
            self.work(self.waiting.popleft())


class Engine(asyncio.Protocol):
    def __init__(self, slots: Slots) -> None:
        self.slots = slots

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0) if found else 0
        if found and len(body) >= length:
            self.buffer = b""
            self.slots.work(self.transport)  # type: ignore[arg-type]


async def main(port: int, slots: int) -> None:
    shared = Slots(slots)
    server = await asyncio.get_running_loop().create_server(lambda: Engine(shared), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
