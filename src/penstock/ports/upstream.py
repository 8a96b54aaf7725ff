"""Something that answers model calls: one async method, status and bytes out."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class UpstreamError(Exception):
    """The upstream gave no usable answer. `kind`: connect | timeout | reset | protocol | too_large | dialect (it cannot be translated)."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class UpstreamCall(msgspec.Struct, frozen=True):
    """One HTTP call below the upstream's base URL: `path` starts with `/`, headers carry no client credentials."""

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    streamed: bool = False
    """an answer in pieces is wanted: its first byte is due within `first_token`, a whole one within `answer`"""
    repeatable: bool = True
    """whether it may be sent once more when it is not known if the upstream has seen it"""


class UpstreamAnswer(Protocol):
    """An answer whose head has arrived. Exactly one of `read` or repeated `chunk` consumes it; `close` is always safe.

    `headers`: lower-case names, hop-by-hop headers already removed.
    """

    status: int
    headers: list[tuple[bytes, bytes]]

    async def read(self) -> bytes:
        """The whole body. Raises `UpstreamError` when it breaks off, is too large, or stalls past `idle`."""

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrive; None at a complete end. Raises `UpstreamError` like `read`."""

    def close(self) -> None:
        """Give the connection up if the body was not read to its end."""


class Replica(Protocol):
    """One address of an upstream."""

    name: str
    outstanding: int

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        """Raises `UpstreamError`; time-outs for connect and first byte are the replica's own."""


class Upstream(Protocol):
    """A named upstream with one or more replicas."""

    name: str

    @property
    def replicas(self) -> Sequence[Replica]: ...

    async def close(self) -> None: ...
