"""A model API over HTTP, OpenAI-compatible (vLLM, SGLang, llama.cpp, TGI, Ollama, OpenAI) or Anthropic's.

Each base URL is a replica with its own pool. The kinds differ in how a call shows its key, and in a header that one of them demands.
"""

import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from penstock.ports.upstream import UpstreamCall, UpstreamError
from penstock.wire.client import Address, Answer, Pool, Timeouts, WireError
from penstock.wire.message import header_lines

OURS = b"penstock-"
"""headers that only this gateway may set; a cookie of one client's answer must not reach another's either"""
VERSION = (b"anthropic-version", b"2023-06-01")
"""what Anthropic's API asks of every call (its versioning page, 2025-11); sent where the client has sent none"""


class ApiReplica:
    """One base URL. `demanded`: a header that each call must carry, with the value for calls that come without it."""

    def __init__(
        self,
        base_url: str,
        credential: bytes,
        timeouts: Timeouts,
        answer_s: float,
        max_answer: int,
        ca_file: str | None,
        demanded: tuple[bytes, bytes] | None = None,
    ) -> None:
        url = urlsplit(base_url)
        tls = ssl.create_default_context(cafile=ca_file) if url.scheme == "https" else None
        assert url.hostname is not None
        port = url.port or (443 if tls else 80)
        self.name = url.netloc.rpartition("@")[2]
        self.outstanding = 0
        self._answer_s = answer_s
        self._pool = Pool(Address(url.hostname, port, tls), timeouts, max_answer)
        self._prefix = url.path.rstrip("/")
        self._fixed = b"host: %b\r\naccept-encoding: identity\r\n%b" % (self.name.encode(), credential)
        self._demanded = demanded

    async def send(self, call: UpstreamCall) -> "ApiAnswer":
        """Raises `UpstreamError`."""
        headers = call.headers
        if self._demanded is not None and not any(name == self._demanded[0] for name, _ in headers):
            headers = [*headers, self._demanded]
        message = b"%b %b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
            call.method.encode(),
            (self._prefix + call.path).encode(),
            self._fixed,
            header_lines(headers),
            len(call.body),
            call.body,
        )
        try:
            first_s = None if call.streamed else self._answer_s
            return ApiAnswer(await self._pool.send(message, first_s=first_s, repeatable=call.repeatable))
        except WireError as error:
            raise UpstreamError(error.kind, str(error)) from None

    def close(self) -> None:
        self._pool.close()


class ApiAnswer:
    """The wire's answer, with the port's error."""

    __slots__ = ("_answer", "headers", "status")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = [pair for pair in answer.headers if not pair[0].startswith(OURS) and pair[0] != b"set-cookie"]

    async def read(self) -> bytes:
        try:
            return await self._answer.read()
        except WireError as error:
            raise UpstreamError(error.kind, str(error)) from None

    async def chunk(self) -> bytes | None:
        try:
            return await self._answer.chunk()
        except WireError as error:
            raise UpstreamError(error.kind, str(error)) from None

    def close(self) -> None:
        self._answer.close()


class ApiUpstream:
    """A named upstream of one or more replicas."""

    def __init__(self, name: str, replicas: Sequence[ApiReplica]) -> None:
        self.name = name
        self.replicas = tuple(replicas)

    async def close(self) -> None:
        for replica in self.replicas:
            replica.close()


def credential(kind: str, api_key: str | None) -> bytes:
    """The header line by which an upstream of this kind knows the key; empty without one."""
    if api_key is None:
        return b""
    return (b"x-api-key: %b\r\n" if kind == "anthropic" else b"authorization: Bearer %b\r\n") % api_key.encode()
