"""One answer of Messages or Responses in two forms: its stream put together, and a whole one taken apart into events.

As `chat/assembling.py` does for OpenAI's completions. Where a form cannot be had without guessing, the result is None.
Sources: Anthropic API reference, "Streaming Messages"; OpenAI API reference, "Responses: streaming events"; both 2026-11.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from penstock.domain.dialects.messages.streams import merged_usage
from penstock.domain.dialects.sse import chunk_of
from penstock.domain.dialects.streams import Native

_COMPLETE_STOPS = frozenset({"end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"})
"""reasons of answers that the same request would get again: not declined, not paused"""
_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature", "input_json_delta": "partial_json"}
_ENDS = ("response.completed", "response.incomplete")
_SIGNED = {"thinking": "thinking_delta", "signature": "signature_delta"}


class _NotFaithful(Exception):
    """The other form would be a guess."""


def whole_of(dialect: Native, events: Sequence[bytes]) -> dict[str, Any] | None:
    """The answer that these events stream; None when they hold an error, no regular end, or what we cannot join."""
    chunks = [chunk for event in events if (chunk := chunk_of(event)) is not None]
    if dialect == "responses":
        last = chunks[-1] if chunks else {}
        response = last.get("response")
        return response if last.get("type") in _ENDS and isinstance(response, dict) else None
    try:
        return _message(chunks)
    except (_NotFaithful, KeyError, TypeError, AttributeError, ValueError):
        return None


def events_of(dialect: Native, answer: dict[str, Any]) -> list[bytes] | None:
    """The events that stream this answer, the usage among them; None when it holds what we do not know how to stream."""
    try:
        parts = _response_events(answer) if dialect == "responses" else _message_events(answer)
        return [b"event: %b\ndata: %b\n\n" % (str(part["type"]).encode(), orjson.dumps(part)) for part in parts]
    except (_NotFaithful, KeyError, TypeError, AttributeError):
        return None


def complete_answer(dialect: Native, answer: dict[str, Any] | None) -> bool:
    """Whether an answer came to a regular end: neither broken off nor declined nor filtered."""
    if answer is None or answer.get("error"):
        return False
    if dialect == "messages":
        reason = answer.get("stop_reason")
        return isinstance(reason, str) and reason in _COMPLETE_STOPS
    details = answer.get("incomplete_details")
    cut = answer.get("status") == "incomplete" and isinstance(details, dict) and details.get("reason") == "max_output_tokens"
    return cut or answer.get("status") == "completed"


def _message(chunks: list[dict[str, Any]]) -> dict[str, Any] | None:
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    pieces: dict[int, dict[str, list[str]]] = {}
    for chunk in chunks:
        match chunk.get("type"):
            case "message_start":
                message = {**chunk["message"]}
            case "content_block_start":
                blocks[chunk["index"]] = {**chunk["content_block"]}
                pieces[chunk["index"]] = {}
            case "content_block_delta":
                kind = _PIECES.get(chunk["delta"]["type"])
                if kind is None:
                    raise _NotFaithful
                pieces[chunk["index"]].setdefault(kind, []).append(chunk["delta"][kind])
            case "message_delta":
                message |= chunk["delta"]
                message["usage"] = merged_usage(message.get("usage"), chunk.get("usage"))
            case "message_stop":
                return {**message, "content": [_block(blocks[at], pieces[at]) for at in sorted(blocks)]}
            case "content_block_stop" | "ping":
                continue
            case _:
                raise _NotFaithful
    return None


def _block(block: dict[str, Any], pieces: dict[str, list[str]]) -> dict[str, Any]:
    for name, parts in pieces.items():
        if name == "partial_json":
            block["input"] = orjson.loads("".join(parts) or "{}")
        else:
            block[name] = (block.get(name) or "") + "".join(parts)
    return block


def _message_events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ending = {name: message.get(name) for name in ("stop_reason", "stop_sequence")}
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None}}
    for index, block in enumerate(message["content"]):
        begun, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": ending, "usage": message["usage"]}
    yield {"type": "message_stop"}


def _taken_apart(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and what is then added to it."""
    match block["type"]:
        case "text" if not block.get("citations"):
            return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case "thinking":
            told = {name: block.get(name) or "" for name in _SIGNED}
            return {**block, **dict.fromkeys(_SIGNED, "")}, [{"type": _SIGNED[name], name: text} for name, text in told.items() if text]
        case "tool_use":
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()}]
        case "redacted_thinking":
            return block, []
    raise _NotFaithful


def _response_events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    parts = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for index, item in enumerate(response["output"]):
        parts += _item_events(index, item)
    status = response["status"]
    for number, part in enumerate([*parts, {"type": f"response.{status}", "response": response}]):
        yield {**part, "sequence_number": number}


def _item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"item_id": item.get("id"), "output_index": index}
    begun: dict[str, Any]
    match item["type"]:
        case "message":
            begun, parts = {"content": []}, _part_events(place, "content", item["content"])
        case "function_call":
            begun, parts = {"arguments": ""}, _argument_events(place, item)
        case "reasoning":
            begun, parts = {"summary": []}, _part_events(place, "summary", item.get("summary") or [])
        case _:
            raise _NotFaithful
    status = {"status": "in_progress"} if "status" in item else {}
    yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **begun, **status}}
    yield from parts
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _argument_events(place: dict[str, Any], item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **place, "name": item["name"], "arguments": item["arguments"]}


def _part_events(place: dict[str, Any], holder: str, parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    added = "content_part" if holder == "content" else "reasoning_summary_part"
    for index, part in enumerate(parts):
        kind = part["type"]
        if kind not in ("output_text", "refusal", "summary_text") or part.get("annotations"):
            raise _NotFaithful
        field = "refusal" if kind == "refusal" else "text"
        named = "reasoning_summary_text" if kind == "summary_text" else kind
        logprobs: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        at = {**place, f"{holder}_index": index}
        yield {"type": f"response.{added}.added", **at, "part": {**part, field: ""}}
        yield {"type": f"response.{named}.delta", **at, "delta": part[field], **logprobs}
        yield {"type": f"response.{named}.done", **at, field: part[field], **logprobs}
        yield {"type": f"response.{added}.done", **at, "part": part}
