"""What both sides of the wire share: a request, the errors, and how heads are written as bytes."""

from collections.abc import Iterable
from http import HTTPStatus

import httptools

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class ClientGone(Exception):
    """The client closed its side before the answer was complete."""


class Request:
    """A whole request; header names are lower-case."""

    __slots__ = ("body", "chunks", "headers", "keep_alive", "method", "path", "query", "target")

    def __init__(
        self, method: str, target: str, path: str, query: str, headers: Headers, body: bytes, keep_alive: bool = True, chunks: bool = True
    ) -> None:
        self.method = method
        self.target = target
        """path and query as they were sent (latin-1), still percent-encoded: what may be passed on; `path` is decoded"""
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.chunks = chunks
        """whether the client understands chunked answers (HTTP/1.0 does not)"""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


def origin_form(url: bytes) -> bytes:
    """Path and query of a target in absolute form, as proxies' clients send it. Raises httptools' own error for other forms."""
    parts = httptools.parse_url(url)
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


def status_line(status: int) -> bytes:
    """`HTTP/1.1 200 OK` and its line end; a code without a standard phrase goes without one."""
    return REASONS.get(status) or f"HTTP/1.1 {status} \r\n".encode()


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header lines with their line ends, without the empty line that closes a head."""
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])
