"""Errors of upstreams in the envelope that a client's SDK expects: same message and code, and a type that the SDK knows.

Reads OpenAI's, Anthropic's, vLLM's, llama.cpp's, TGI's, Ollama's and FastAPI's bodies, and text that is no JSON at all.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from penstock.domain.dialects.canonical import Dialect

LONGEST_MESSAGE = 4000
"""characters of a body that is no error envelope"""

MESSAGES_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OPENAI_TYPES: Mapping[int, str] = {
    **MESSAGES_TYPES,
    402: "insufficient_quota",
    500: "server_error",
    503: "server_error",
    529: "server_error",
}


class UpstreamFault(msgspec.Struct, frozen=True):
    """What an error body says. `code` is a word (OpenAI) or a number (engines repeat the status there)."""

    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


def translate_error(status: int, body: bytes, target: Dialect) -> bytes:
    """An upstream's error body in the envelope of the target dialect's SDK."""
    return orjson.dumps(envelope(read_error(body), status, target))


def error_type(status: int, target: Dialect) -> str:
    """The error type that goes with a status in a dialect."""
    types, rest = (MESSAGES_TYPES, "api_error") if target == "messages" else (OPENAI_TYPES, "server_error")
    return types.get(status, rest if status >= 500 else "invalid_request_error")


def envelope(fault: UpstreamFault, status: int | None, target: Dialect) -> dict[str, Any]:
    """The error object that SDKs of this dialect parse; `status` is None within a stream, where it was good before."""
    if target == "messages":
        told = {"code": fault.code, "param": fault.param}
        kind = fault.type if status is None and fault.type in MESSAGES_TYPES.values() else error_type(status or 500, target)
        error = {"type": kind, "message": fault.message, **{name: value for name, value in told.items() if value is not None}}
        return {"type": "error", "error": error}
    kind = fault.type or error_type(status or 500, target)
    return {"error": {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}}


def read_error(body: bytes) -> UpstreamFault:
    """What an error body says, whoever wrote it; never raises."""
    try:
        whole = orjson.loads(body)
    except orjson.JSONDecodeError:
        return UpstreamFault(_short(body.decode("utf-8", "replace").strip()) or "the upstream gave no reason")
    return fault_of(whole)


def fault_of(whole: object) -> UpstreamFault:
    """What a parsed error says."""
    if not isinstance(whole, dict):
        return UpstreamFault(_short(str(whole)))
    error = whole.get("error")
    if isinstance(error, dict):
        return _fault(error)
    if isinstance(error, str):
        return UpstreamFault(error, _word(whole.get("error_type")), _code(whole.get("code")))
    if isinstance(whole.get("message"), str):
        return _fault(whole)
    detail = whole.get("detail")
    if isinstance(detail, str):
        return UpstreamFault(detail)
    return UpstreamFault(_written(whole if detail is None else detail))


def _fault(error: dict[str, Any]) -> UpstreamFault:
    message = error.get("message")
    return UpstreamFault(
        message if isinstance(message, str) else _written(error),
        None if error.get("type") == "error" else _word(error.get("type")),
        _code(error.get("code")),
        _word(error.get("param")),
    )


def _written(value: object) -> str:
    try:
        return _short(orjson.dumps(value).decode())
    except orjson.JSONEncodeError:
        return "the upstream's error is nested too deep to be told"


def _short(text: str) -> str:
    return text[:LONGEST_MESSAGE]


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _code(value: object) -> str | int | None:
    return value if isinstance(value, str) or type(value) is int else None
