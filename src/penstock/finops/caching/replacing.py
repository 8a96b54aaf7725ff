"""Another text in the place of an answer's own, in the form that its endpoint gives answers in."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from penstock.domain.dialects.chat.assembling import assemble
from penstock.domain.dialects.forms import whole_of
from penstock.domain.dialects.splice import add_member
from penstock.domain.dialects.sse import chunk_of, split_events
from penstock.ports.cache import CachedAnswer

_THOUGHTS = ("thinking", "redacted_thinking")
"""what a model thought before an answer that is not its own any more"""


def with_text(answer: CachedAnswer, text: str) -> CachedAnswer | None:
    """The answer saying `text` instead, whole; None for one that is no plain text (calls of tools, several choices).

    Counts of tokens stay those of the answer that a model made: what replaying saves is that answer.
    """
    whole = _whole(answer)
    if whole is None or not _put(whole, text):
        return None
    return msgspec.structs.replace(answer, streamed=False, body=orjson.dumps(whole), tokens_estimated=True)


def _whole(answer: CachedAnswer) -> dict[str, Any] | None:
    """As JSON, however it came."""
    if not answer.streamed:
        try:
            body = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return None
        return body if isinstance(body, dict) else None
    events, _ = split_events(answer.body)
    kind = _kind_of_stream(events)
    if kind in ("messages", "responses"):
        return whole_of("messages" if kind == "messages" else "responses", events)
    body_bytes = assemble(events)
    if body_bytes is None:
        return None
    whole = body_bytes if answer.usage is None else add_member(body_bytes, "usage", answer.usage)
    return dict(orjson.loads(whole))


def _kind_of_stream(events: Sequence[bytes]) -> str:
    first = next((chunk for event in events if (chunk := chunk_of(event)) is not None), {})
    told = str(first.get("type", ""))
    return "messages" if told == "message_start" else "responses" if told.startswith("response.") else "chat"


def _put(whole: dict[str, Any], text: str) -> bool:
    """Whether the answer had exactly one place for a text, which holds the new one now."""
    if "choices" in whole:
        return _put_into_choice(whole["choices"], text)
    if whole.get("type") == "message" and isinstance(whole.get("content"), list):
        whole["content"] = [part for part in whole["content"] if not (isinstance(part, dict) and part.get("type") in _THOUGHTS)]
        return _put_into_parts(whole["content"], "text", text)
    if whole.get("object") == "response":
        return _put_into_output(whole, text)
    return False


def _put_into_choice(choices: object, text: str) -> bool:
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return False
    choice = choices[0]
    choice.pop("logprobs", None)
    if isinstance(choice.get("text"), str):
        choice["text"] = text
        return True
    message = choice.get("message")
    if not isinstance(message, dict) or message.get("tool_calls") or message.get("function_call"):
        return False
    if not isinstance(message.get("content"), str):
        return False
    message["content"] = text
    for name in ("reasoning", "reasoning_content", "annotations"):
        message.pop(name, None)
    return True


def _put_into_parts(parts: object, kind: str, text: str) -> bool:
    """One part of text is left, of several that followed each other; any other part refuses."""
    if not isinstance(parts, list) or not parts or any(not isinstance(part, dict) or part.get("type") != kind for part in parts):
        return False
    parts[:] = [{**parts[0], "text": text}]
    for name in ("citations", "annotations", "logprobs"):
        if parts[0].get(name):
            parts[0][name] = []
    return True


def _put_into_output(response: dict[str, Any], text: str) -> bool:
    output = response.get("output")
    if not isinstance(output, list) or any(
        not isinstance(item, dict) or item.get("type") not in ("message", "reasoning") for item in output
    ):
        return False
    messages = [item for item in output if item["type"] == "message"]
    if len(messages) != 1 or not _put_into_parts(messages[0].get("content"), "output_text", text):
        return False
    response["output"] = messages
    if isinstance(response.get("output_text"), str):
        response["output_text"] = text
    return True
