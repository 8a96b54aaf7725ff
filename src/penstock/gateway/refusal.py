"""Answers of Penstock's own: refusals with a category and a hint, shaped as the OpenAI SDK expects them."""

from typing import Literal

import orjson

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

    def body(self) -> bytes:
        text = self.message if self.hint is None else f"{self.message}. {self.hint}"
        return orjson.dumps({"error": {"message": text, "type": _TYPES[self.category], "param": self.param, "code": self.code}})

    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [_JSON, (b"penstock-error", self.category.encode())]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        return headers


def too_busy(message: str, hint: str, retry_after_s: int = 1) -> Refusal:
    refusal = Refusal(429, "limit", message, hint, code="rate_limit_exceeded")
    refusal.retry_after_s = retry_after_s
    return refusal
