"""The engine's face at `/v1/responses`: its requests read as chats, its answers and events as OpenAI's Responses API shapes them.

It keeps nothing: a request that points at an earlier response is refused.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import uuid4

import orjson

from penstock.adapters.upstreams.simulated.answers import Utterance
from penstock.adapters.upstreams.simulated.calls import BadRequest, Call, chat_call, tool_id
from penstock.adapters.upstreams.simulated.engine import Job
from penstock.adapters.upstreams.simulated.faults import Fault, Words, error_body, shape_usage
from penstock.adapters.upstreams.simulated.options import Options


def responses_call(body: Mapping[str, Any], model: str, options: Options) -> Call:
    """A call of `/v1/responses`. Raises `BadRequest`."""
    if body.get("previous_response_id") is not None:
        raise BadRequest("Previous response not found: this engine keeps none", param="previous_response_id", status=404)
    given, tools, choice = body.get("input"), body.get("tools"), body.get("tool_choice")
    reasoning, text = body.get("reasoning"), body.get("text")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items or not all(isinstance(each, dict) for each in items):
        raise BadRequest("`input` must be a text or a list of at least one item", param="input")
    instructions = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    chat: dict[str, Any] = {
        "messages": [*instructions, *map(_message, items)],
        "max_tokens": body.get("max_output_tokens"),
        "stream": body.get("stream"),
        "temperature": body.get("temperature"),
        "reasoning_effort": reasoning.get("effort") if isinstance(reasoning, dict) else None,
        "response_format": _format(text.get("format")) if isinstance(text, dict) else None,
    }
    if isinstance(tools, list):
        chat["tools"] = [{"type": "function", "function": tool} for tool in tools if _is_function(tool)]
    if choice is not None:
        chat["tool_choice"] = {"function": choice} if isinstance(choice, dict) else choice
    return chat_call(chat, model, options)


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function"


def _message(item: Mapping[str, Any]) -> dict[str, Any]:
    match item.get("type"):
        case "function_call":
            return {"role": "assistant", "tool_calls": [item]}
        case "function_call_output":
            return {"role": "tool", "content": item.get("output")}
    return {"role": item.get("role"), "content": item.get("content")}


def _format(wanted: object) -> object:
    return {**wanted, "json_schema": wanted} if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else wanted


def whole(call: Call, job: Job, fault: Fault | None) -> bytes:
    """A complete response; all tokens are there."""
    said = call.utterances[0]
    body = _ended(_head(call), call, job, fault, [item for item, _ in _items(said)])
    if fault is not None and fault.kind == "huge":
        body["simulated_padding"] = "x" * fault.number
    return orjson.dumps(body)


class _Numbered:
    """Events with their sequence numbers."""

    def __init__(self) -> None:
        self._number = -1

    def event(self, kind: str, **members: Any) -> bytes:
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, "sequence_number": self._number, **members}))


async def events(call: Call, job: Job, fault: Fault | None) -> AsyncIterator[bytes]:
    """The response as OpenAI's semantic events, a group of tokens each, as the engine makes them."""
    said, head, to = call.utterances[0], _head(call), _Numbered()
    yield to.event("response.created", response=head)
    yield to.event("response.in_progress", response=head)
    items = _items(said)
    opened = -1
    sent = 0
    while not job.finished or sent < job.sequences[0].emitted:
        await job.progress()
        emitted = job.sequences[0].emitted
        thought, text = said.between(sent, emitted)
        sent = emitted
        for index, piece in ((0, thought), (len(items) - 1, text)):
            if not piece:
                continue
            while opened < index:
                for event in [*_close(to, items, opened), *_open(to, items, opened + 1)]:
                    yield event
                opened += 1
            item, kind = items[index]
            place = {"item_id": item["id"], "output_index": index, **({} if kind == "function_call_arguments" else _part(kind))}
            yield to.event(f"response.{kind}.delta", **place, delta=piece, **({"logprobs": []} if kind == "output_text" else {}))
    for event in _close(to, items, opened):
        yield event
    if fault is not None and fault.kind == "huge":
        yield b": " + b"x" * fault.number + b"\n\n"
    if fault is None or fault.kind != "no-done":
        ended = _ended(head, call, job, fault, [item for item, _ in items[: opened + 1]])
        yield to.event(f"response.{ended['status']}", response=ended)


def _items(said: Utterance) -> list[tuple[dict[str, Any], str]]:
    """The output items of an answer, each with the kind of its deltas."""
    items: list[tuple[dict[str, Any], str]] = []
    if said.reasoning:
        summary = [{"type": "summary_text", "text": said.reasoning}]
        items.append(({"id": f"rs_{uuid4().hex}", "type": "reasoning", "summary": summary}, "reasoning_summary_text"))
    if said.tool_name is not None:
        name = {"name": said.tool_name, "arguments": said.content, "call_id": tool_id(said)}
        items.append(({"id": f"fc_{uuid4().hex}", "type": "function_call", "status": "completed", **name}, "function_call_arguments"))
    elif said.content or not items:
        content = [{"type": "output_text", "text": said.content, "annotations": [], "logprobs": []}]
        message = {"id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "status": "completed", "content": content}
        items.append((message, "output_text"))
    return items


def _part(kind: str) -> dict[str, int]:
    return {"summary_index": 0} if kind == "reasoning_summary_text" else {"content_index": 0}


_BEGUN: dict[str, dict[str, Any]] = {
    "reasoning_summary_text": {"summary": []},
    "function_call_arguments": {"arguments": "", "status": "in_progress"},
    "output_text": {"content": [], "status": "in_progress"},
}


def _open(to: _Numbered, items: list[tuple[dict[str, Any], str]], index: int) -> Iterator[bytes]:
    item, kind = items[index]
    yield to.event("response.output_item.added", output_index=index, item=item | _BEGUN[kind])
    place = {"item_id": item["id"], "output_index": index, **_part(kind)}
    if kind == "output_text":
        yield to.event("response.content_part.added", **place, part=item["content"][0] | {"text": ""})
    elif kind == "reasoning_summary_text":
        yield to.event("response.reasoning_summary_part.added", **place, part=item["summary"][0] | {"text": ""})


def _close(to: _Numbered, items: list[tuple[dict[str, Any], str]], index: int) -> Iterator[bytes]:
    if index < 0:
        return
    item, kind = items[index]
    place = {"item_id": item["id"], "output_index": index}
    if kind == "function_call_arguments":
        yield to.event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])
    else:
        part = item["content" if kind == "output_text" else "summary"][0]
        logprobs: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        yield to.event(f"response.{kind}.done", **place, **_part(kind), text=part["text"], **logprobs)
        named = "content_part" if kind == "output_text" else "reasoning_summary_part"
        yield to.event(f"response.{named}.done", **place, **_part(kind), part=part)
    yield to.event("response.output_item.done", output_index=index, item=item)


def _head(call: Call) -> dict[str, Any]:
    return {
        "id": f"resp_simulated_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": call.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }


def _ended(head: dict[str, Any], call: Call, job: Job, fault: Fault | None, output: list[dict[str, Any]]) -> dict[str, Any]:
    cut = call.utterances[0].finish_reason == "length"
    usage = shape_usage(_usage(call, job), fault, "output_tokens")
    ending = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}} if cut else {"status": "completed"}
    return head | ending | {"output": output, "usage": usage}


def _usage(call: Call, job: Job) -> dict[str, Any]:
    sequence = job.sequences[0]
    return {
        "input_tokens": sequence.prompt_tokens,
        "input_tokens_details": {"cached_tokens": sequence.cached_tokens},
        "output_tokens": sequence.emitted,
        "output_tokens_details": {"reasoning_tokens": min(call.utterances[0].reasoning_tokens, sequence.emitted)},
        "total_tokens": sequence.prompt_tokens + sequence.emitted,
    }


def error_event(message: str) -> bytes:
    """An error within a stream: unlike a body, it has no envelope."""
    told = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 0}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(told)


WORDS = Words(error_body, error_event)
