"""What the tests of dialects share: the same question and answer in each dialect, and config for upstreams that speak one."""

from typing import Any

import orjson

from tests.integration.gateway_rig import Reply, Rig
from tests.integration.upstream_rig import event

PATHS = {"chat.completions": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
DIALECTS = tuple(PATHS)
QUESTION = "what does the gate do when the river is high? " * 8


def config(url: str, kind: str = "openai", more: str = "", rest: str = "") -> str:
    """Model `m`, called `real-m`, at an upstream of that kind; USD 1 in, 0.1 cached, 1.25 written, 2 out per million tokens."""
    return f"""
version = 1
[upstreams.main]
kind = "{kind}"
base_urls = ["{url}"]
retries = 0
timeout = {{ connect = "500ms", first_token = "2s", idle = "2s" }}
{more}
[models.m]
upstream = "main"
name = "real-m"
price = {{ input = 1, cached_input = 0.1, cache_write = 1.25, output = 2 }}
{rest}
"""


def body(dialect: str, text: str = QUESTION, **fields: Any) -> dict[str, Any]:
    """The same question in each dialect."""
    if dialect == "responses":
        return {"model": "m", "input": text, **fields}
    limit = {"max_tokens": 400} if dialect == "messages" else {}
    return {"model": "m", "messages": [{"role": "user", "content": text}], **limit, **fields}


async def ask(running: Rig, dialect: str, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    return await running.ask("POST", PATHS[dialect], orjson.dumps(body(dialect, **fields)), headers)


def said(dialect: str, reply: Reply) -> str:
    """The text of an answer, whole or streamed."""
    if reply.headers["content-type"].startswith("text/event-stream"):
        if dialect == "chat.completions":
            return reply.text
        deltas = [chunk.get("delta") for chunk in reply.chunks]
        return "".join(each if isinstance(each, str) else each.get("text", "") for each in deltas if each is not None)
    told = reply.json
    if dialect == "chat.completions":
        return str(told["choices"][0]["message"]["content"])
    if dialect == "messages":
        return "".join(block["text"] for block in told["content"])
    return "".join(part["text"] for item in told["output"] for part in item["content"])


def told_cost(reply: Reply) -> str | None:
    """The last cost that stands on a stream."""
    found = [chunk["penstock"]["cost_usd"] for chunk in reply.chunks if "penstock" in chunk]
    return found[-1] if found else None


def named(kind: str, **members: Any) -> bytes:
    """An event of Messages or Responses."""
    return b"event: %b\n" % kind.encode() + event({"type": kind, **members})


USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 6, "output_tokens": 1}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "real-m-1",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {**USAGE, "output_tokens": 5},
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "model": "real-m-1",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}],
        }
    ],
    "usage": {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 6},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 25,
    },
}


def message_events(*texts: str, end: bool = True, stop: str = "end_turn") -> list[bytes]:
    """A streamed message: usage begins in `message_start`, and is told to its end in `message_delta`."""
    begun = {**MESSAGE, "content": [], "stop_reason": None, "usage": USAGE}
    events = [named("message_start", message=begun), named("ping")]
    events.append(named("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    events += [named("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in texts or ("hel", "lo")]
    events.append(named("content_block_stop", index=0))
    events.append(named("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 5}))
    return [*events, named("message_stop")] if end else events


def response_events(*texts: str, end: str | None = "response.completed", **changes: Any) -> list[bytes]:
    """A streamed response."""
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    item = RESPONSE["output"][0]
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [named("response.created", response=begun), named("response.in_progress", response=begun)]
    events.append(named("response.output_item.added", output_index=0, item={**item, "content": [], "status": "in_progress"}))
    events.append(named("response.content_part.added", **place, part={**item["content"][0], "text": ""}))
    events += [named("response.output_text.delta", **place, delta=text, logprobs=[]) for text in texts or ("hel", "lo")]
    events.append(named("response.output_text.done", **place, text="hello", logprobs=[]))
    events.append(named("response.content_part.done", **place, part=item["content"][0]))
    events.append(named("response.output_item.done", output_index=0, item=item))
    return [*events, named(end, response={**RESPONSE, **changes})] if end else events
