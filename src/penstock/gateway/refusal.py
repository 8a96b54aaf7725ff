"""Answers of Penstock's own: refusals with a category and a hint, shaped as the client's SDK expects them, OpenAI's or Anthropic's."""

from typing import Literal

import orjson

from penstock.domain.dialects.errors import UpstreamFault, envelope
from penstock.wire.message import Request

Category = Literal["input", "auth", "budget", "limit", "rule", "upstream"]

_TYPES = {
    "input": "invalid_request_error",
    "auth": "authentication_error",
    "budget": "insufficient_quota",
    "limit": "rate_limit_error",
    "rule": "permission_error",
    "upstream": "upstream_error",
}
_JSON = (b"content-type", b"application/json")


class Refusal(Exception):
    """A request that Penstock answers itself with an error. `hint` says what the caller can do."""

    def __init__(
        self, status: int, category: Category, message: str, hint: str | None = None, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.category = category
        self.message = message
        self.hint = hint
        self.code = code
        self.param = param
        self.retry_after_s: int | None = None
        self.final = False
        """whether the same request would bring, and cost, the same: OpenAI's and Anthropic's SDKs then leave it at one"""

    def body(self, anthropic: bool = False) -> bytes:
        """The error as JSON, in OpenAI's envelope or in Anthropic's."""
        text = self.message if self.hint is None else f"{self.message}. {self.hint}"
        if anthropic:
            return orjson.dumps(envelope(UpstreamFault(text, None, self.code, self.param), self.status, "messages"))
        return orjson.dumps({"error": {"message": text, "type": _TYPES[self.category], "param": self.param, "code": self.code}})

    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [_JSON, (b"penstock-error", self.category.encode())]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.final:
            headers.append((b"x-should-retry", b"false"))
        return headers


def too_busy(message: str, hint: str, retry_after_s: int = 1) -> Refusal:
    refusal = Refusal(429, "limit", message, hint, code="rate_limit_exceeded")
    refusal.retry_after_s = retry_after_s
    return refusal


def for_anthropic(request: Request) -> bool:
    """Whether a request comes from a client that reads Anthropic's errors: by its address, or by the header that its SDKs send."""
    path = request.path
    return path.startswith("/v1/messages") or request.header(b"anthropic-version") is not None
