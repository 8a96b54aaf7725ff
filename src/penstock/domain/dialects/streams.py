"""Streams of Responses and Messages that pass untranslated: the usage in them, and how and where they end."""

from collections.abc import Mapping
from typing import Any, Literal

from penstock.domain.dialects.messages.streams import merged_usage
from penstock.domain.dialects.sse import chunk_of

Native = Literal["responses", "messages"]

RESPONSES_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_WITH_USAGE = b'"usage"'
_SIGNS: Mapping[Native, tuple[bytes, ...]] = {
    "responses": (b'"error"', *(kind.encode() for kind in RESPONSES_ENDS)),
    "messages": (b'"error"', b"message_stop"),
}
"""bytes that an event has which may be the last"""
_DELTAS: Mapping[Native, bytes] = {"responses": b'.delta"', "messages": b'"content_block_delta"'}
"""bytes that an event has which may add to the answer; the last one has them too where a text ends like this"""


def usage_so_far(dialect: Native, event: bytes, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """The usage object after this event: `message_start` and `message_delta` merged, or what the last response event says."""
    if _WITH_USAGE not in event:
        return before
    chunk = chunk_of(event) or {}
    if dialect == "responses":
        told = _part(chunk, "response").get("usage")
        return told if isinstance(told, dict) else before
    told = _part(chunk, "message").get("usage") if chunk.get("type") == "message_start" else chunk.get("usage")
    return merged_usage(before, told) if isinstance(told, dict) else before


def is_delta(dialect: Native, event: bytes) -> bool:
    """Whether the event adds to the answer: words, thoughts, a tool's arguments."""
    return _DELTAS[dialect] in event and kind_of(chunk_of(event)).endswith((".delta", "block_delta"))


def finish_reason_of(dialect: Native, event: bytes) -> str | None:
    """The word that this event gives for the end of the answer: a stop reason, or a response's status or why it is incomplete."""
    if dialect == "messages":
        reason = _part(chunk_of(event) or {}, "delta").get("stop_reason") if b'"stop_reason"' in event else None
        return reason if isinstance(reason, str) else None
    if not any(sign in event for sign in _SIGNS[dialect]):
        return None
    chunk = chunk_of(event) or {}
    return response_reason(_part(chunk, "response")) if kind_of(chunk) in RESPONSES_ENDS else None


def is_end(dialect: Native, event: bytes) -> bool:
    """Whether the stream is over with this event, well or not; nothing regular comes after it."""
    if not any(sign in event for sign in _SIGNS[dialect]):
        return False
    kind = kind_of(chunk_of(event))
    return kind == "error" or (kind == "message_stop" if dialect == "messages" else kind in RESPONSES_ENDS)


def kind_of(chunk: dict[str, Any] | None) -> str:
    """The `type` of an event; empty where it has none."""
    kind = None if chunk is None else chunk.get("type")
    return kind if isinstance(kind, str) else ""


def response_reason(response: dict[str, Any]) -> str | None:
    """Why a response ended: `completed`, the reason why it is incomplete, or another status."""
    status = response.get("status")
    reason = _part(response, "incomplete_details").get("reason") if status == "incomplete" else None
    return reason if isinstance(reason, str) else status if isinstance(status, str) else None


def _part(chunk: dict[str, Any], name: str) -> dict[str, Any]:
    value = chunk.get(name)
    return value if isinstance(value, dict) else {}
