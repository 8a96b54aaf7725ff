"""Faults on demand: what can go wrong between a gateway and an engine, each by a name with an optional number, `reset-after:3`.

A call picks its fault by the header `x-simulate-fault`, by the body's field `simulate_fault`, by the end of the model's
name (`tiny!hang`), or the engine's options plan it. Faults that are no proper HTTP go straight to the transport.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import orjson

from penstock.wire.message import header_lines, status_line
from penstock.wire.responder import Responder

HEADER = b"x-simulate-fault"
FIELD = "simulate_fault"
MARK = "!"
Headers = Sequence[tuple[bytes, bytes]]

# name -> (number when none is given, what it does). The guide's table is checked against this one.
KINDS: dict[str, tuple[int | None, str]] = {
    "status": (500, "answers with that HTTP status and an error body"),
    "rate-limit": (1, "429 with `retry-after` of that many seconds"),
    "slow-head": (1000, "waits that many milliseconds before the answer's head"),
    "reset": (None, "resets the connection before the head"),
    "close": (None, "closes the connection before the head"),
    "hang": (None, "never answers"),
    "garbage": (None, "answers with bytes that are not HTTP"),
    "reset-after": (1, "resets after that many events (streams) or bytes (whole answers) of the body"),
    "hang-after": (1, "goes silent after that many events or bytes"),
    "half-event": (1, "after that many events sends half of the next one and closes"),
    "half-event-ended": (1, "the same, but ends the HTTP answer properly"),
    "error-event": (1, "after that many events sends an error event and ends; whole answers: as `error-body`"),
    "error-body": (None, "200 with an error object as the body, or as the only event"),
    "not-json": (None, "200 with an HTML page"),
    "empty": (None, "200 with an empty body"),
    "huge": (1_000_000, "an answer of that many bytes more"),
    "content-length-long": (10, "promises that many bytes more than it sends, then closes"),
    "content-length-short": (10, "promises that many bytes fewer than it sends"),
    "trickle": (1, "sends the body seven bytes at a time, that many milliseconds apart"),
    "no-usage": (None, "leaves the usage out"),
    "negative-usage": (None, "reports -1 output tokens"),
    "garbage-usage": (None, 'reports "many" output tokens'),
    "usage-on-last-choice": (None, "streams the usage on the last chunk with a choice, without `[DONE]` (chat and completions)"),
    "no-done": (None, "ends a stream without `[DONE]`, `message_stop` or `response.completed`"),
}
_SHAPES_ANSWER = frozenset({"no-usage", "negative-usage", "garbage-usage", "usage-on-last-choice", "no-done", "huge"})
PIECE_BYTES = 7


class FaultError(ValueError):
    """A fault that is not known; `hint` lists those that are."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Fault(msgspec.Struct, frozen=True):
    """One fault; `number` is a status, a count, bytes, seconds or milliseconds, as `KINDS` says."""

    kind: str
    number: int


def parse_fault(text: str) -> Fault:
    """Reads `kind` or `kind:number`. Raises `FaultError`."""
    kind, colon, number = text.strip().partition(":")
    if kind not in KINDS:
        raise FaultError(f"`{kind}` is not a fault", f"known: {', '.join(KINDS)}")
    default = KINDS[kind][0]
    if colon and (default is None or not number.isdecimal()):
        raise FaultError(f"`{text}` is not a fault", f"write `{kind}`" if default is None else f"write it like `{kind}:{default}`")
    value = int(number) if colon else default or 0
    if kind == "status" and not 200 <= value <= 599:
        raise FaultError(f"`{text}` is not an HTTP status of an answer", "use 200 to 599, such as `status:503`")
    return Fault(kind, value)


def error_body(message: str, kind: str = "server_error", code: str | int | None = None, param: str | None = None) -> bytes:
    """An error as OpenAI words it."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def error_event(message: str) -> bytes:
    """The same within a stream of chat completions."""
    return b"data: " + error_body(message) + b"\n\n"


class Words(NamedTuple):
    """How a dialect words errors: as a body (`message, kind, code, param`), and as an event of a stream."""

    body: Callable[..., bytes]
    event: Callable[[str], bytes]


OPENAI = Words(error_body, error_event)


def shape_usage(usage: dict[str, Any], fault: Fault | None, output: str = "completion_tokens") -> dict[str, Any] | None:
    """The usage object as the fault would have it; None: none at all. `output` is the dialect's name of the output tokens."""
    match fault:
        case Fault("no-usage"):
            return None
        case Fault("negative-usage"):
            return usage | {output: -1}
        case Fault("garbage-usage"):
            return usage | {output: "many"}
    return usage


async def instead_of_answer(fault: Fault, responder: Responder, headers: Headers, words: Words = OPENAI) -> bool:
    """Plays a fault that comes before any work is done. True: that was the answer."""
    match fault.kind:
        case "status":
            responder.send(fault.number, headers, words.body("simulated failure", code=fault.number))
        case "rate-limit":
            limited = (*headers, (b"retry-after", b"%d" % fault.number))
            responder.send(429, limited, words.body("simulated rate limit", "rate_limit_error", "rate_limit_exceeded"))
        case "reset":
            _reset(responder.take_over())
        case "close":
            responder.take_over().close()
        case "hang":
            await asyncio.Event().wait()
        case "garbage":
            transport = responder.take_over()
            transport.write(b"\x16\x03\x01 simulated garbage, not HTTP\r\n\r\n\x00\xff")
            transport.close()
        case "slow-head":
            await asyncio.sleep(fault.number / 1000)
            return False
        case _:
            return False
    return True


async def send_body(responder: Responder, headers: Headers, body: bytes, fault: Fault | None, words: Words = OPENAI) -> None:
    """Sends a whole answer, faulty if asked."""
    if fault is None or fault.kind in _SHAPES_ANSWER:
        responder.send(200, headers, body)
        return
    match fault.kind:
        case "error-body" | "error-event":
            responder.send(200, headers, words.body("simulated failure in a 200"))
        case "not-json":
            responder.send(200, [(b"content-type", b"text/html")], b"<html><body>simulated page, not JSON</body></html>")
        case "empty":
            responder.send(200, headers, b"")
        case "content-length-short" | "content-length-long":
            change = fault.number if fault.kind == "content-length-long" else -fault.number
            _write_raw(responder, headers, len(body) + change, body).close()
        case "reset-after":
            await _send_part(responder, headers, body, fault.number)
            _reset(responder.take_over())
        case "half-event" | "half-event-ended":
            _write_raw(responder, headers, len(body), body[: len(body) // 2]).close()
        case "hang-after":
            await _send_part(responder, headers, body, fault.number)
            await asyncio.Event().wait()
        case "trickle":
            await _trickle(_write_raw(responder, headers, len(body), b""), body, fault.number / 1000)
        case _:
            responder.send(200, headers, body)


async def send_events(
    responder: Responder, headers: Headers, events: AsyncIterator[bytes], fault: Fault | None, words: Words = OPENAI
) -> None:
    """Streams events, faulty if asked. Raises `ClientGone`."""
    if fault is not None and fault.kind in ("content-length-short", "content-length-long", "not-json", "empty"):
        await send_body(responder, headers, b"".join([event async for event in events]), fault)
        return
    responder.start(200, headers)
    if fault is not None and fault.kind == "error-body":
        responder.finish(words.event("simulated failure in a stream"))
        return
    count = 0
    async for event in events:
        if fault is not None and await _break_off(responder, event, count, fault, words):
            return
        if fault is not None and fault.kind == "trickle":
            for start in range(0, len(event), PIECE_BYTES):
                await responder.write(event[start : start + PIECE_BYTES])
                await asyncio.sleep(fault.number / 1000)
        else:
            await responder.write(event)
        count += 1
    responder.finish()


async def _break_off(responder: Responder, event: bytes, count: int, fault: Fault, words: Words) -> bool:
    """Ends the stream before `event` when the fault says so."""
    if count != fault.number:
        return False
    match fault.kind:
        case "reset-after":
            await asyncio.sleep(0.01)  # a reset overtakes what is still in the socket's buffer
            _reset(responder.take_over())
        case "hang-after":
            await asyncio.Event().wait()
        case "half-event":
            await responder.write(event[: len(event) // 2])
            responder.take_over().close()
        case "half-event-ended":
            responder.finish(event[: len(event) // 2])
        case "error-event":
            responder.finish(words.event("simulated failure in a stream"))
        case _:
            return False
    return True


def _reset(transport: asyncio.Transport) -> None:
    """Ends the connection with a reset; closing it alone would send an orderly end."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _write_raw(responder: Responder, headers: Headers, length: int, body: bytes) -> asyncio.Transport:
    transport = responder.take_over()
    transport.write(b"%b%bcontent-length: %d\r\n\r\n" % (status_line(200), header_lines(headers), max(length, 0)) + body)
    return transport


async def _send_part(responder: Responder, headers: Headers, body: bytes, count: int) -> None:
    _write_raw(responder, headers, len(body), body[:count])
    await asyncio.sleep(0.01)


async def _trickle(transport: asyncio.Transport, body: bytes, pause_s: float) -> None:
    for start in range(0, len(body), PIECE_BYTES):
        transport.write(body[start : start + PIECE_BYTES])
        await asyncio.sleep(pause_s)
