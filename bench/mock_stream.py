"""A streaming engine that does nothing but stream: 64 events of a chat completion, one write each, 2 ms apart.

`python -m bench.mock_stream PORT`. Raw asyncio, so that the load side is not what limits the measurement.
"""

import asyncio
import sys

import uvloop

EVENTS = 64
GAP_S = 0.002
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}\n\n'
)
_LAST = _EVENT.replace(b'{"content":" word"}', b"{}").replace(b'"finish_reason":null', b'"finish_reason":"stop"')
_USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":57,"completion_tokens":64,"total_tokens":121}}\n\ndata: [DONE]\n\n'
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNK = chunk(_EVENT)
END = chunk(_LAST) + chunk(_USAGE) + b"0\r\n\r\n"


class Engine(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0) if found else 0
        if found and len(body) >= length:
            self.buffer = b""
            self.transport.write(HEAD)  # type: ignore[attr-defined]
            self.next(EVENTS - 1)

    def next(self, left: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(CHUNK if left else END)  # type: ignore[attr-defined]
        if left:
            asyncio.get_running_loop().call_later(GAP_S, self.next, left - 1)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
