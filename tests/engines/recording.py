"""An engine that keeps every request as it came and answers what the request itself asks for, in its field `reply`.

    with recording_engine() as engine: ...  # engine.base_url, engine.requests

`reply` may hold: `usage` (an object; absent: the engine says nothing of usage), `usage_on` ("chunk", as vLLM and OpenAI; "choice", as
older engines), `words`, `status`, `body` (sent as it is), `pause_s` (before the head, on streams before the last word), and `events`
(a whole stream, sent as it is). The engine runs in a thread of the test process.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import Server, serve

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
WORDS = ("one", " two", " three")


class RecordingEngine:
    """What came in, newest last, and where to send more."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[Request] = []
        self.arrived = threading.Event()
        """set by every request; a test clears it to wait for the next one"""

    @property
    def last(self) -> Request:
        return self.requests[-1]

    async def answer(self, request: Request, responder: Responder) -> None:
        self.requests.append(request)
        self.arrived.set()
        body = orjson.loads(request.body or b"{}")
        reply = body.get("reply", {})
        if not body.get("stream"):
            await asyncio.sleep(reply.get("pause_s", 0))
            text = reply["body"].encode() if "body" in reply else orjson.dumps(_whole(request.path, body, reply))
            responder.send(reply.get("status", 200), JSON, text)
            return
        responder.start(reply.get("status", 200), EVENTS)
        events = [reply["events"].encode()] if "events" in reply else list(_events(request.path, body, reply))
        for event in events[:-1]:
            await responder.write(event)
        await asyncio.sleep(reply.get("pause_s", 0))
        responder.finish(events[-1])


def _whole(path: str, body: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    usage = {"usage": reply["usage"]} if "usage" in reply else {}
    if path.endswith("/embeddings"):
        return {"object": "list", "model": body["model"], "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}], **usage}
    text = "".join(reply.get("words", WORDS))
    chat = path.endswith("/chat/completions")
    said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text, "logprobs": None}
    kind = "chat.completion" if chat else "text_completion"
    choice = {"index": 0, **said, "finish_reason": "stop"}
    return {"id": "answer-1", "object": kind, "created": 1, "model": body["model"], "choices": [choice], **usage}


def _events(path: str, body: dict[str, Any], reply: dict[str, Any]) -> Iterator[bytes]:
    chat = path.endswith("/chat/completions")
    frame = {"id": "answer-1", "object": "chat.completion.chunk" if chat else "text_completion", "created": 1, "model": body["model"]}
    asked = (body.get("stream_options") or {}).get("include_usage") is True and "usage" in reply
    on_choice = reply.get("usage_on") == "choice" and "usage" in reply
    words = reply.get("words", WORDS)
    for number, word in enumerate(words, 1):
        last = number == len(words)
        said: dict[str, Any] = {"delta": {"content": word}} if chat else {"text": word}
        choice = {"index": 0, **said, "finish_reason": "stop" if last else None}
        usage = {"usage": reply["usage"]} if on_choice and last else {"usage": None} if asked else {}
        yield b"data: " + orjson.dumps({**frame, "choices": [choice], **usage}) + b"\n\n"
    if asked and not on_choice:
        yield b"data: " + orjson.dumps({**frame, "choices": [], "usage": reply["usage"]}) + b"\n\n"
    yield b"data: [DONE]\n\n"


@contextmanager
def recording_engine() -> Iterator[RecordingEngine]:
    """Serves until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="recording-engine", daemon=True)
    thread.start()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        engine = RecordingEngine(f"http://127.0.0.1:{sock.getsockname()[1]}/v1")

        async def listen() -> Server:
            return await serve(engine.answer, sock=sock)

        server = asyncio.run_coroutine_threadsafe(listen(), loop).result(5)
        try:
            yield engine
        finally:
            asyncio.run_coroutine_threadsafe(server.drain(0.5), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()
