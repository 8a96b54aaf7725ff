"""One answer in two forms: streamed chunks put together into a completion, and a completion taken apart into chunks.

Knows OpenAI's `chat.completion` and `text_completion`. Where a form cannot be had without guessing, the result is None.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from penstock.domain.dialects.sse import chunk_of, event_data, is_done

COMPLETE_REASONS = frozenset({"stop", "length", "tool_calls", "function_call", "eos_token", "stop_sequence", "eos"})
"""finish reasons of answers that the same request would get again; `length` is one, for the limit is part of the request.
Filtered, aborted and failed answers are not (`eos_token`, `stop_sequence`: TGI; `eos`: Together)."""

_FINISH_REASON = re.compile(rb'"finish_reason"\s*:\s*"([^"\\]*)"')
_DELIVERY = frozenset({"choices", "object", "usage", "obfuscation", "penstock"})
_ON_EVERY_CHUNK = ("id", "created", "model", "system_fingerprint", "service_tier")
_KINDS = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}


class _NotFaithful(Exception):
    """The other form would be a guess."""


class _Choice:
    """What the chunks of one choice add up to."""

    __slots__ = ("calls", "fields", "function_call", "logprobs", "message", "texts")

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.message: dict[str, Any] = {}
        self.texts: dict[str, list[str]] = {}
        self.calls: dict[int, dict[str, Any]] = {}
        self.function_call: dict[str, Any] | None = None
        self.logprobs: dict[str, Any] | None = None


def assemble(events: Sequence[bytes]) -> bytes | None:
    """The completion (JSON, without `usage`) that these SSE events stream.

    None when it cannot be had faithfully: an error or something else than chunks among the events, a choice without a finish
    reason, structures whose pieces we do not know how to join.
    """
    top: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    kind: str | None = None
    try:
        for event in events:
            chunk = chunk_of(event)
            if chunk is None:
                if event_data(event) is None or is_done(event):
                    continue
                return None
            deltas = chunk.get("choices")
            if not isinstance(deltas, list) or chunk.get("error") is not None:
                return None
            if deltas:
                kind = _same(kind, chunk.get("object"))
            for name, value in chunk.items():
                if name not in _DELIVERY and (name not in top or value):
                    top[name] = value
            for delta in deltas:
                _add_delta(choices, delta, kind == "chat.completion")
        if kind is None or sorted(choices) != list(range(len(choices))):
            return None
        whole = [_finished(index, choices[index], kind == "chat.completion") for index in sorted(choices)]
    except _NotFaithful:
        return None
    return orjson.dumps({"id": top.pop("id", None), "object": kind, **top, "choices": whole})


def disassemble(body: bytes) -> list[bytes] | None:
    """The SSE events that stream this completion: role, content, tool calls, finish reason; without `usage` and `[DONE]`.

    None when the body is no finished completion, or holds what chunks cannot carry (audio, content that is not text).
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or answer.get("error") is not None:
        return None
    kind, choices = answer.get("object"), answer.get("choices")
    if kind not in ("chat.completion", "text_completion") or not isinstance(choices, list) or not choices:
        return None
    if not all(isinstance(choice, dict) for choice in choices):
        return None
    envelope = {name: answer[name] for name in _ON_EVERY_CHUNK if name in answer}
    once = {name: value for name, value in answer.items() if name not in _DELIVERY and name not in envelope}
    chunk_kind = "chat.completion.chunk" if kind == "chat.completion" else kind
    try:
        split = _chat_deltas if kind == "chat.completion" else _text_deltas
        deltas = [delta for position, choice in enumerate(choices) for delta in split(position, choice)]
    except _NotFaithful:
        return None
    events = []
    for delta in deltas:
        chunk = {**envelope, "object": chunk_kind, **once, "choices": [delta]}
        events.append(b"data: " + orjson.dumps(chunk) + b"\n\n")
        once = {}
    return events


def finish_reason(data: bytes) -> str | None:
    """The first finish reason in an event or a body, or None. A literal inside a text does not count: its quotes are escaped."""
    at = data.find(b'"finish_reason"')
    match = _FINISH_REASON.search(data, at) if at >= 0 else None
    return match[1].decode("utf-8", "replace") if match is not None else None


def complete(answer: object) -> bool:
    """Whether a parsed answer is whole: every choice has a reason of `COMPLETE_REASONS`, or it is a list of embeddings."""
    if not isinstance(answer, dict) or answer.get("error") is not None:
        return False
    choices = answer.get("choices")
    if choices is None:
        return answer.get("object") == "list" and isinstance(answer.get("data"), list) and bool(answer["data"])
    return isinstance(choices, list) and bool(choices) and all(_reason(choice) in COMPLETE_REASONS for choice in choices)


def complete_stream(events: Sequence[bytes], answers: int = 1) -> bool:
    """Whether a stream of `answers` choices is whole: each ended with a reason of `COMPLETE_REASONS`, and no event is an error."""
    ended: set[int] = set()
    for event in events:
        if b'"error"' not in event and finish_reason(event) is None:
            continue
        chunk = chunk_of(event) or {}
        if chunk.get("error") is not None:
            return False
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            reason = _reason(choice)
            if reason is None:
                continue
            if reason not in COMPLETE_REASONS:
                return False
            index = choice.get("index")
            ended.add(index if isinstance(index, int) else 0)
    return len(ended) >= answers


def _reason(choice: object) -> str | None:
    reason = choice.get("finish_reason") if isinstance(choice, dict) else None
    return reason if isinstance(reason, str) else None


def _same(kind: str | None, spelled: object) -> str:
    seen = _KINDS.get(spelled) if isinstance(spelled, str) else None
    if seen is None or kind not in (None, seen):
        raise _NotFaithful
    return seen


def _add_delta(choices: dict[int, _Choice], delta: object, chat: bool) -> None:
    if not isinstance(delta, dict) or type(delta.get("index")) is not int:
        raise _NotFaithful
    choice = choices.setdefault(delta["index"], _Choice())
    for name, value in delta.items():
        if name == "index":
            continue
        if name == "logprobs":
            choice.logprobs = _add_logprobs(choice.logprobs, value)
        elif name == "delta" and chat:
            _add_message(choice, value)
        elif name == "text" and not chat and isinstance(value, str | None):
            choice.texts.setdefault("text", []).append(value or "")
        elif name in ("message", "text"):
            raise _NotFaithful
        else:
            _settle(choice.fields, name, value)


def _add_message(choice: _Choice, delta: object) -> None:
    if delta is None:
        return
    if not isinstance(delta, dict) or delta.get("audio") is not None:
        raise _NotFaithful
    for name, value in delta.items():
        if name == "role":
            if value:
                choice.message["role"] = value
        elif name == "tool_calls" and isinstance(value, list):
            choice.message["tool_calls"] = []
            for call in value:
                _add_call(choice.calls, call)
        elif name == "function_call" and isinstance(value, dict):
            choice.function_call = _add_function(choice.function_call, value)
        elif isinstance(value, str):
            if choice.message.setdefault(name, None) is not None:
                raise _NotFaithful
            choice.texts.setdefault(name, []).append(value)
        elif name not in choice.texts:
            _settle(choice.message, name, value)
        elif value is not None:
            raise _NotFaithful


def _add_call(calls: dict[int, dict[str, Any]], piece: object) -> None:
    if not isinstance(piece, dict) or type(piece.get("index")) is not int:
        raise _NotFaithful
    call = calls.setdefault(piece["index"], {})
    for name, value in piece.items():
        if name == "function" and isinstance(value, dict):
            call["function"] = _add_function(call.get("function"), value)
        elif name != "index" and value not in (None, ""):
            if call.get(name, value) != value:
                raise _NotFaithful
            call[name] = value


def _add_function(function: dict[str, Any] | None, piece: dict[str, Any]) -> dict[str, Any]:
    function = {} if function is None else function
    for name, value in piece.items():
        if value is None:
            continue
        if name == "arguments":
            if not isinstance(value, str):
                raise _NotFaithful
            function.setdefault("arguments", []).append(value)
        elif value != "":
            if name in function:
                raise _NotFaithful
            function[name] = value
    return function


def _add_logprobs(sums: dict[str, Any] | None, piece: object) -> dict[str, Any] | None:
    if piece is None:
        return sums
    if not isinstance(piece, dict):
        raise _NotFaithful
    sums = {} if sums is None else sums
    for name, value in piece.items():
        if isinstance(value, list):
            sums[name] = [*value] if sums.get(name) is None else sums[name] + value
        elif value is None:
            sums.setdefault(name, None)
        else:
            raise _NotFaithful
    return sums


def _settle(fields: dict[str, Any], name: str, value: Any) -> None:
    """Take a field that is not text: null never overwrites, scalars may change, structures may only be repeated."""
    old = fields.get(name)
    if value is None:
        fields.setdefault(name, None)
    elif old is None or (name != "finish_reason" and not isinstance(old, dict | list) and not isinstance(value, dict | list)):
        fields[name] = value
    elif old != value:
        raise _NotFaithful


def _finished(index: int, choice: _Choice, chat: bool) -> dict[str, Any]:
    if not isinstance(choice.fields.get("finish_reason"), str):
        raise _NotFaithful
    whole: dict[str, Any] = {"index": index}
    if chat:
        message = {"role": "assistant", "content": None, **choice.message}
        message.update((name, "".join(pieces)) for name, pieces in choice.texts.items())
        if choice.calls:
            message["tool_calls"] = [_finished_call(choice.calls[at]) for at in sorted(choice.calls)]
        if choice.function_call is not None:
            message["function_call"] = _finished_function(choice.function_call)
        whole["message"] = message
    else:
        whole["text"] = "".join(choice.texts.get("text", ()))
    return {**whole, "logprobs": choice.logprobs, **choice.fields}


def _finished_call(call: dict[str, Any]) -> dict[str, Any]:
    if "id" not in call:
        raise _NotFaithful
    function = call.get("function")
    return call if function is None else {**call, "function": _finished_function(function)}


def _finished_function(function: dict[str, Any]) -> dict[str, Any]:
    return {**function, "arguments": "".join(function.get("arguments", ()))}


def _chat_deltas(position: int, choice: dict[str, Any]) -> list[dict[str, Any]]:
    index, reason = _open(position, choice)
    message = choice.get("message")
    if not isinstance(message, dict) or message.get("audio") is not None or not isinstance(message.get("content"), str | None):
        raise _NotFaithful
    first: dict[str, Any] = {"role": message.get("role", "assistant")}
    texts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for name, value in message.items():
        if name == "role":
            continue
        if isinstance(value, str):
            first[name] = ""
            if value and name != "content":
                texts.append({name: value})
        elif name == "tool_calls" and isinstance(value, list) and value:
            calls += [{"tool_calls": [_whole_call(at, call)]} for at, call in enumerate(value)]
        elif name == "function_call" and isinstance(value, dict):
            calls.append({name: value})
        else:
            first[name] = value
    if message.get("content"):
        texts.append({"content": message["content"]})
    deltas: list[dict[str, Any]] = [
        {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} for delta in (first, *texts, *calls)
    ]
    carrier = next((delta for delta in deltas if delta["delta"].get("content")), deltas[-1])
    carrier["logprobs"] = choice.get("logprobs")
    return [*deltas, {"index": index, "delta": {}, **_others(choice, "message"), "finish_reason": reason}]


def _text_deltas(position: int, choice: dict[str, Any]) -> list[dict[str, Any]]:
    index, reason = _open(position, choice)
    text = choice.get("text")
    if not isinstance(text, str):
        raise _NotFaithful
    body = {"index": index, "text": text, "logprobs": choice.get("logprobs"), "finish_reason": None}
    return [body, {"index": index, "text": "", **_others(choice, "text"), "finish_reason": reason}]


def _open(position: int, choice: dict[str, Any]) -> tuple[int, str]:
    reason, index = _reason(choice), choice.get("index", position)
    if reason is None or type(index) is not int:
        raise _NotFaithful
    return index, reason


def _others(choice: dict[str, Any], content: str) -> dict[str, Any]:
    """Fields of a choice that a finish chunk carries as they are."""
    return {"logprobs": None, **{k: v for k, v in choice.items() if k not in ("index", "logprobs", "finish_reason", content)}}


def _whole_call(at: int, call: object) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise _NotFaithful
    function = call.get("function")
    if function is not None and not (isinstance(function, dict) and isinstance(function.get("arguments"), str)):
        raise _NotFaithful
    return {"index": at, **{name: value for name, value in call.items() if name != "index"}}
