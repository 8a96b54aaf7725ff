"""The line to the controller of this host: console paths go over, gauges go over; readiness and directives come back.

The data plane never waits for the controller to serve a model call; when the controller is away, only these pages are. Answers
are passed through piece by piece: a client that is slow slows the controller, one that goes away ends its work.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import orjson

from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.gateway.refusal import Refusal
from penstock.ports.directives import Directive
from penstock.wire.client import Answer, Pool, WireError
from penstock.wire.message import HOP_BY_HOP, Request, header_lines
from penstock.wire.responder import Responder

_STYLE = (
    b":root{color-scheme:light dark}body{margin:12vh auto;max-width:34rem;padding:0 1.5rem;font:1rem/1.5 sans-serif}"
    b"h1{font:400 2rem/1.15 serif}"
)
_PAGE = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    b"%b<title>The console does not answer \xc2\xb7 Penstock</title><style>%b</style></head><body><main>"
    b"<h1>The console does not answer</h1><p>Model calls go on, and each is written down: nothing is lost.</p>"
    b'<p>%b</p><p><a href="">Try again</a></p></main></body></html>\n'
)
"""a page of its own, for the console's style sheet is away too"""
_PAGE_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'sha256-%b'" % b64encode(sha256(_STYLE).digest())),
    (b"x-content-type-options", b"nosniff"),
]
REPORT_S = 1.0
GAUGES_PATH = "/-/worker"


class ControllerLink:
    """Speaks HTTP to the controller over its local socket."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._live: set[Answer] = set()
        self.ready = False

    async def hand_over(self, request: Request, responder: Responder) -> None:
        """Passes a request to the controller and its answer back. The target goes over as it was sent, never decoded."""
        if not _is_page(request.path):
            refusal = Refusal(404, "input", "there is no such page")
            responder.send(404, refusal.headers(), refusal.body())
            return
        kept = [pair for pair in request.headers if pair[0] not in HOP_BY_HOP and pair[0] != b"content-length"]
        method = "GET" if request.method == "HEAD" else request.method  # the responder leaves the body out
        try:
            answer = await self._pool.send(_message(method, request.target, header_lines(kept), request.body))
            first = await answer.chunk()
        except WireError as error:
            responder.send(*_away(error, b"text/html" in (request.header(b"accept") or b"")))
            return
        self.ready = self.ready or (request.path == "/readyz" and answer.status == 200)  # once said, it stays said
        if answer.complete:
            responder.send(answer.status, answer.headers, first or b"")
        else:
            await self._stream(answer, first, request.method == "HEAD", responder)

    async def _stream(self, answer: Answer, data: bytes | None, head_only: bool, responder: Responder) -> None:
        """Passes an answer through as it comes; the controller waits for the client, and hears when it is gone."""
        live = (b"content-type", b"text/event-stream") in [(name, value.partition(b";")[0]) for name, value in answer.headers]
        if live:
            self._live.add(answer)
        try:
            responder.start(answer.status, answer.headers)
            while data is not None and not head_only:
                await responder.write(data)
                data = await answer.chunk()
        except WireError:
            responder.abort()  # an export that broke off must not look whole; a live page opens its stream again
        else:
            responder.finish()
        finally:
            self._live.discard(answer)
            answer.close()

    def end_live(self) -> None:
        """Ends the streams that have no end of their own, so that a worker which is to stop need not wait for their watchers."""
        for answer in self._live:
            answer.close()
            answer.end(WireError("reset", "this worker stops"))

    async def report(
        self,
        gauges: Callable[[], dict[str, Any]],
        hear: Callable[[Sequence[Directive]], None],
        learn: Callable[[Sequence[RoutePolicy]], None],
    ) -> None:
        """Sends the worker's gauges once a second, and learns whether the controller has taken the journal's tail in, which directives
        stand (`hear`), and what is open on which route (`learn`). A controller that does not know them yet says nothing of them."""
        while True:
            try:
                answer = await self._pool.send(_message("POST", GAUGES_PATH, b"host: controller\r\n", orjson.dumps(gauges())))
                state = orjson.loads(await answer.read())
                self.ready = self.ready or bool(state.get("ready"))
                if "directives" in state:
                    hear(msgspec.convert(state["directives"], tuple[Directive, ...]))
                if "routing" in state:
                    learn(msgspec.convert(state["routing"], tuple[RoutePolicy, ...]))
            except (WireError, orjson.JSONDecodeError):
                pass  # the controller is away or restarting: its pages say so, and the next report comes in a second
            await asyncio.sleep(REPORT_S if self.ready else 0.05)


def _away(error: WireError, html: bool) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The answer while the controller gives none: a small page for browsers, the error for programs."""
    if error.kind == "timeout":
        refusal = Refusal(504, "upstream", "the controller did not answer in time", "Ask for a shorter window, or with fewer filters")
        said, again = "It may be busy with a large question. A shorter window, or fewer filters, is answered sooner.", b""
    else:
        refusal = Refusal(503, "upstream", "the controller is not running at the moment", "Model calls go on; it is restarted by itself")
        refusal.retry_after_s = 1
        said, again = "It is restarted by itself, and this page tries again every few seconds.", b'<meta http-equiv="refresh" content="3">'
    if not html:
        return refusal.status, refusal.headers(), refusal.body()
    headers = [pair for pair in refusal.headers() if pair[0] != b"content-type"]
    return refusal.status, [*_PAGE_HEADERS, *headers], _PAGE % (again, _STYLE, said.encode())


def _is_page(path: str) -> bool:
    """Whether a decoded path is for clients: `/-/` is between the processes, however its slashes and dots are written."""
    segments = path.split("/")
    return next(filter(None, segments), "") != "-" and "." not in segments and ".." not in segments


def _message(method: str, target: str, headers: bytes, body: bytes) -> bytes:
    return f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + headers + b"content-length: %d\r\n\r\n" % len(body) + body
