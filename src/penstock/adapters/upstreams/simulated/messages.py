"""The engine's Anthropic face, `/v1/messages`: its requests read as chats, its answers, events and errors as Anthropic shapes them."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import orjson

from penstock.adapters.upstreams.simulated.answers import Utterance, count_tokens
from penstock.adapters.upstreams.simulated.calls import BadRequest, Call, chat_call, rendered, tool_id
from penstock.adapters.upstreams.simulated.engine import BLOCK_TOKENS, Job
from penstock.adapters.upstreams.simulated.faults import Fault, Words, shape_usage
from penstock.adapters.upstreams.simulated.options import Options

SIGNATURE = "c2ltdWxhdGVk"
"""`simulated`, where Anthropic proves that a thought is its own"""
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_CHOICES = {"any": "required", "auto": "auto", "none": "none"}
_KINDS: dict[str | int, str] = {
    "server_error": "api_error",
    "model_not_found": "not_found_error",
    404: "not_found_error",
    413: "request_too_large",
    529: "overloaded_error",
}
"""OpenAI's kinds and codes, and statuses, that Anthropic has another word for"""


def messages_call(body: Mapping[str, Any], model: str, options: Options) -> Call:
    """A call of `/v1/messages`. Raises `BadRequest`."""
    if body.get("max_tokens") is None:
        raise BadRequest("max_tokens: Field required", param="max_tokens")
    return chat_call(_as_chat(body), model, options)


def count(body: Mapping[str, Any]) -> bytes:
    """The answer of `/v1/messages/count_tokens`. Raises `BadRequest`."""
    return orjson.dumps({"input_tokens": count_tokens(len(rendered(_as_chat(body))))})


def _as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    turns = body.get("messages")
    if not isinstance(turns, list) or not all(isinstance(each, dict) for each in turns):
        raise BadRequest("messages: Input should be a valid list", param="messages")
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    tools, choice, thinking = body.get("tools"), body.get("tool_choice"), body.get("thinking")
    chat: dict[str, Any] = {
        "messages": [*system, *(message for turn in turns for message in _turn(turn))],
        "max_tokens": body.get("max_tokens"),
        "stop": body.get("stop_sequences"),
        "stream": body.get("stream"),
        "temperature": body.get("temperature"),
        "cached": b'"cache_control"' in orjson.dumps(body),
    }
    if isinstance(tools, list):
        chat["tools"] = [_function(tool) for tool in tools if isinstance(tool, dict)]
    if isinstance(choice, dict):
        named = choice.get("type") == "tool"
        chat["tool_choice"] = {"function": {"name": choice.get("name")}} if named else _CHOICES.get(str(choice.get("type")), "auto")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"):
        chat["reasoning_effort"] = "low"
    return chat


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    about = {"name": tool.get("name"), "description": tool.get("description"), "parameters": tool.get("input_schema")}
    return {"type": "function", "function": about}


def _turn(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One message as chat messages: results of tools are messages of their own."""
    content = turn.get("content")
    if not isinstance(content, list):
        return [dict(turn)]
    blocks = [block for block in content if isinstance(block, dict)]
    results = [{"role": "tool", "content": block.get("content")} for block in blocks if block.get("type") == "tool_result"]
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    said = [block for block in blocks if block.get("type") not in ("tool_result", "tool_use", "thinking", "redacted_thinking")]
    spoken = [{"role": turn.get("role"), "content": said, **({"tool_calls": calls} if calls else {})}] if said or calls else []
    return [*spoken, *results]


def whole(call: Call, job: Job, fault: Fault | None) -> bytes:
    """A complete message; all tokens are there."""
    said = call.utterances[0]
    body = _head(call) | {"content": _blocks(said), "stop_reason": _STOPS[said.finish_reason]}
    if (counted := shape_usage(_usage(call, job), fault, "output_tokens")) is not None:
        body["usage"] = counted
    if fault is not None and fault.kind == "huge":
        body["simulated_padding"] = "x" * fault.number
    return orjson.dumps(body)


async def events(call: Call, job: Job, fault: Fault | None) -> AsyncIterator[bytes]:
    """The message as Anthropic's events, a group of tokens each, as the engine makes them."""
    said, sent = call.utterances[0], 0
    await job.progress()
    counted = shape_usage(_usage(call, job), fault, "output_tokens")
    begun = {} if counted is None else {"usage": counted}
    yield _event("message_start", message=_head(call) | {"content": [], "stop_reason": None} | begun)
    index, opened = -1, ""
    while True:
        emitted = job.sequences[0].emitted
        thought, text = said.between(sent, emitted)
        for kind, piece in (("thinking", thought), ("tool_use" if said.tool_name is not None else "text", text)):
            if not piece:
                continue
            if kind != opened:
                for event in _closed(index, opened):
                    yield event
                index, opened = index + 1, kind
                yield _event("content_block_start", index=index, content_block=_opening(kind, said))
            yield _event("content_block_delta", index=index, delta=_delta(kind, piece))
        sent = emitted
        if job.finished:
            break
        await job.progress()
    for event in _closed(index, opened):
        yield event
    if fault is not None and fault.kind == "huge":
        yield b": " + b"x" * fault.number + b"\n\n"
    counted = shape_usage(_usage(call, job), fault, "output_tokens")
    last = {"stop_reason": _STOPS[said.finish_reason], "stop_sequence": None}
    yield _event("message_delta", delta=last, **({} if counted is None else {"usage": counted}))
    if fault is None or fault.kind != "no-done":
        yield _event("message_stop")


def _usage(call: Call, job: Job) -> dict[str, Any]:
    """Cached tokens stand beside `input_tokens`; whole blocks of new ones are written where the request marks what to cache."""
    sequence = job.sequences[0]
    fresh = sequence.prompt_tokens - sequence.cached_tokens
    written = fresh // BLOCK_TOKENS * BLOCK_TOKENS if call.cached else 0
    return {
        "input_tokens": fresh - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": sequence.cached_tokens,
        "output_tokens": sequence.emitted,
    }


def _head(call: Call) -> dict[str, Any]:
    return {"id": f"msg_simulated_{uuid4().hex}", "type": "message", "role": "assistant", "model": call.model, "stop_sequence": None}


def _blocks(said: Utterance) -> list[dict[str, Any]]:
    thinking = [{"type": "thinking", "thinking": said.reasoning, "signature": SIGNATURE}] if said.reasoning else []
    if said.tool_name is None:
        return [*thinking, {"type": "text", "text": said.content}] if said.content or not thinking else thinking
    try:
        given = orjson.loads(said.content)
    except orjson.JSONDecodeError:
        given = {}  # cut off by max_tokens
    return [*thinking, _opening("tool_use", said) | {"input": given}]


def _opening(kind: str, said: Utterance) -> dict[str, Any]:
    match kind:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_use":
            return {"type": "tool_use", "id": tool_id(said).replace("call_", "toolu_"), "name": said.tool_name, "input": {}}
    return {"type": "text", "text": ""}


def _delta(kind: str, piece: str) -> dict[str, Any]:
    match kind:
        case "thinking":
            return {"type": "thinking_delta", "thinking": piece}
        case "tool_use":
            return {"type": "input_json_delta", "partial_json": piece}
    return {"type": "text_delta", "text": piece}


def _closed(index: int, kind: str) -> list[bytes]:
    """What ends a block; a thought is signed."""
    if index < 0:
        return []
    signed = {"type": "signature_delta", "signature": SIGNATURE}
    events = [_event("content_block_delta", index=index, delta=signed)] if kind == "thinking" else []
    return [*events, _event("content_block_stop", index=index)]


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **members}))


def error_body(message: str, kind: str = "server_error", code: str | int | None = None, param: str | None = None) -> bytes:
    """An error as Anthropic words it; it has no place for `param`."""
    word = _KINDS.get(code or "", _KINDS.get(kind, kind))
    return orjson.dumps({"type": "error", "error": {"type": word, "message": message}})


def error_event(message: str) -> bytes:
    return b"event: error\ndata: " + error_body(message) + b"\n\n"


WORDS = Words(error_body, error_event)
