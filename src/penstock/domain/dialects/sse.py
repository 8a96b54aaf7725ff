"""Server-sent events as bytes: cuts a stream into events, finds the usage in them, takes it out or adds the cost.

An event here is its bytes up to and including the blank line that ends it; joined again they are the stream, byte for byte.
Grammar: the HTML standard, section "Server-sent events" (lines end in LF, CRLF or CR; a byte order mark may come first).
"""

import re
from typing import Any

import orjson

from penstock.domain.dialects.splice import remove_member

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_NULL_USAGE = b',"usage":null'
_BOM = b"\xef\xbb\xbf"


class EventSplitter:
    """Cuts a stream that arrives in pieces into events. Linear in the bytes fed, however they are cut."""

    __slots__ = ("_carry", "_scanned")

    def __init__(self) -> None:
        self._carry = bytearray()
        self._scanned = 0

    @property
    def pending(self) -> int:
        """Bytes of the event that has not ended yet."""
        return len(self._carry)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that this chunk completes."""
        if not self._carry:
            if chunk[-2:] == b"\n\n" and chunk.find(b"\n\n") == len(chunk) - 2 and b"\r" not in chunk:
                return [chunk]
            events, rest = split_events(chunk)
        else:
            self._carry += chunk
            events, end = _cut(self._carry, max(self._scanned - 3, 0))
            rest = bytes(self._carry[end:]) if events else b""
            if not events:
                self._scanned = len(self._carry)
                return events
            self._carry.clear()
        if rest:
            self._carry += rest
        self._scanned = len(rest)
        return events

    def rest(self) -> bytes:
        """What is left when the stream ends: empty, or an event that was broken off. Empties the splitter."""
        left = bytes(self._carry)
        self._carry.clear()
        self._scanned = 0
        return left


def split_events(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The complete events of a buffer, and the bytes after the last one.

    An event that ends in CR LF CR at the end of the buffer waits for the LF that may follow.
    """
    events, end = _cut(buffer, 0)
    return events, buffer[end:]


def _cut(buffer: bytes | bytearray, scan_from: int) -> tuple[list[bytes], int]:
    events: list[bytes] = []
    start, size = 0, len(buffer)
    for match in _BLANK_LINE.finditer(buffer, scan_from):
        end = match.end()
        if end == size and buffer[end - 2 : end] == b"\n\r":
            break
        events.append(bytes(buffer[start:end]))
        start = end
    return events, start


def event_data(event: bytes) -> bytes | None:
    """The data of an event, its lines joined by LF; None where it has none (comments, blank lines)."""
    if event[:6] == b"data: " and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]
    values = [value for is_data, value in _lines(event) if is_data]
    return b"\n".join(values) if values else None


def is_done(event: bytes) -> bool:
    """Whether this is the `[DONE]` that ends an OpenAI stream."""
    if b"[DONE]" not in event:
        return False
    data = event_data(event)
    return data is not None and data.strip() == b"[DONE]"


def usage_in(event: bytes) -> dict[str, Any] | None:
    """The usage object that an event carries, on a chunk of its own or beside choices; None for `"usage":null` and for none."""
    if b'"usage"' not in event or (b'"usage":null' in event and event.count(b'"usage"') == 1):
        return None
    chunk = chunk_of(event)
    usage = None if chunk is None else chunk.get("usage")
    return usage if isinstance(usage, dict) else None


def chunk_of(event: bytes) -> dict[str, Any] | None:
    """The JSON object that an event carries; None where it carries something else."""
    data = event_data(event)
    if data is None:
        return None
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) else None


def strip_usage(event: bytes) -> bytes | None:
    """The event as a client sees it that did not ask for usage.

    None when the event is there for the usage only (`choices` empty); else the event without its top-level `usage` member, the
    rest as it came.
    """
    if b'"usage"' not in event:
        return event
    chunk = chunk_of(event)
    if chunk is None or "usage" not in chunk:
        return event
    usage = chunk["usage"]
    if isinstance(usage, dict) and chunk.get("choices") == []:
        return None
    if usage is None and _NULL_USAGE in event and event.count(b'"usage"') == 1 and b"\\u00" not in event:
        return event.replace(_NULL_USAGE, b"")  # the only `"usage"` is the member that the parser saw at the top
    return _with_data(event, remove_member(event_data(event) or b"", "usage"))


def with_cost(event: bytes, cost_usd: str | None) -> bytes:
    """A usage chunk (see `usage_in`) with `"penstock":{"cost_usd":...}` as its last member; an unknown cost is null."""
    data = event_data(event)
    if data is None:
        return event
    end = data.rindex(b"}")
    cost = b"null" if cost_usd is None else orjson.dumps(cost_usd)
    return _with_data(event, b"".join((data[:end], b',"penstock":{"cost_usd":', cost, b"}", data[end:])))


def _lines(event: bytes) -> list[tuple[bool, bytes]]:
    """Lines of an event: (is it data, the value of a data line or the whole of another line)."""
    if event.startswith(_BOM):
        event = event[3:]
    lines: list[tuple[bool, bytes]] = []
    for line in event.splitlines():
        name, _, value = line.partition(b":")
        lines.append((True, value.removeprefix(b" ")) if name == b"data" else (False, line))
    return lines


def _with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data: in place where the data is one line, else written anew with LF line ends."""
    old = event_data(event) or b""
    at = event.find(old)
    if b"\n" not in old and event.count(old) == 1:
        return event[:at] + data + event[at + len(old) :]
    others = [line for is_data, line in _lines(event) if not is_data and line]
    return b"".join(line + b"\n" for line in [*others, *(b"data: " + part for part in data.split(b"\n"))]) + b"\n"
