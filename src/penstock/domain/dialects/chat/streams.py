"""Streams of OpenAI's chat completions: read and written. Source: OpenAI API reference, "The chat completion chunk object", 2026-11."""

from typing import Any

import orjson

from penstock.domain.dialects.canonical import (
    Added,
    Closed,
    Event,
    Failed,
    Finished,
    Opened,
    Refusal,
    Started,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Untranslatable,
)
from penstock.domain.dialects.chat.answers import call_id, openai_tier
from penstock.domain.dialects.counts import chat_usage
from penstock.domain.dialects.errors import UpstreamFault, envelope, fault_of
from penstock.domain.dialects.fields import Fields
from penstock.domain.dialects.sequence import Sequencer
from penstock.domain.dialects.words import STOP_WRITTEN, stop_word

DONE = b"data: [DONE]\n\n"
_TEXTS = (("reasoning_content", Thinking()), ("reasoning", Thinking()), ("content", Text()), ("refusal", Refusal()))


class ChatStreamReader:
    """Chunks in, events out. The end is told by `end`, for usage comes after the finish reason."""

    def __init__(self, model: str) -> None:
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self._model = model
        self._id: str | None = None
        self._sequence = Sequencer()
        self._texts = 0
        self._open: tuple[str, int] | None = None
        self._tools: dict[int | None, tuple[int | None, str | None]] = {}
        self._stop: Stop = "end"
        self._stop_sequence: str | None = None

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """The events of one chunk. Raises `Untranslatable`."""
        if chunk.get("error") is not None or (chunk.get("object") == "error" and "choices" not in chunk):
            fault = fault_of(chunk)
            return [Failed(fault.message, fault.type, fault.code)]
        fields = Fields(chunk)
        usage = fields.mapping("usage")
        self.usage = usage if usage is not None else self.usage
        events: list[Event] = []
        if self._id is None and chunk.get("choices"):  # Azure's first chunk has none, nor an id
            self._id = fields.maybe_text("id") or ""
            model, created, tier = fields.maybe_text("model"), fields.whole("created"), fields.maybe_text("service_tier")
            events.append(Started(self._id, model or self._model, created, service_tier=tier))
        for choice in fields.parts("choices"):
            if choice.whole("index"):
                raise Untranslatable(choice.at("index"), "the stream has several choices; other dialects know exactly one")
            delta = choice.part("delta")
            if delta is not None:
                events += self._delta(delta)
            reason = choice.maybe_text("finish_reason")
            if reason:
                self._stop, self.finish_reason = stop_word("chat.completions", reason, choice.at("finish_reason")), reason
                matched = choice.take("stop_reason")
                self._stop_sequence = matched if isinstance(matched, str) else None
        return events

    def end(self) -> list[Event]:
        """What follows when the stream is over: nothing where it was broken off."""
        if self.finish_reason is None:
            return []
        stop = self._stop
        if stop == "end":
            stop = "tools" if self._sequence.tools else "end" if self._stop_sequence is None else "stop_sequence"
        return [*self._sequence.close_all(), Finished(stop, self._stop_sequence, self.usage)]

    def _delta(self, delta: Fields) -> list[Event]:
        events: list[Event] = []
        seen = ""
        for name, empty in _TEXTS:
            text = delta.maybe_text(name)
            if text and not (name == "reasoning" and text == seen):  # some engines send the same thought under both names
                events += self._say(name, empty, text)
                seen = text
        for call in delta.parts("tool_calls"):
            events += self._call(call)
        delta.drop("role", "reasoning_details")
        delta.close({"content": ""})
        return events

    def _say(self, name: str, empty: Text | Thinking | Refusal, text: str) -> list[Event]:
        events: list[Event] = []
        if self._open is None or self._open[0] != name or not self._sequence.knows(self._open):
            self._texts += 1
            self._open = (name, self._texts)
            events += self._sequence.open(self._open, empty)
        return events + self._sequence.add(self._open, text)

    def _call(self, call: Fields) -> list[Event]:
        index, name = call.whole("index"), call.maybe_text("id")
        function = Fields(call.take("function") or {}, call.at("function"))
        called, arguments = function.maybe_text("name"), function.maybe_text("arguments")
        key = self._tools.get(index)
        events: list[Event] = []
        if called and (key is None or (name and name != key[1])):
            key = self._tools[index] = (index, name)
            events += self._sequence.open(key, ToolUse(name or call_id(self._id or "", self._sequence.tools), called))
        return events + self._sequence.add(key, arguments or "")


class ChatStreamWriter:
    """Events in, chunks out. `created` (Unix seconds) stands where the upstream says nothing."""

    def __init__(self, created: int, *, include_usage: bool) -> None:
        self._envelope: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": ""}
        self._include_usage = include_usage
        self._calls = -1
        self._thought = False
        self._gap = ""
        self._block: object = None

    def write(self, event: Event) -> bytes:
        match event:
            case Started():
                self._envelope |= {"id": event.id, "model": event.model}
                if event.created is not None:
                    self._envelope["created"] = event.created
                if (tier := openai_tier(event.service_tier)) is not None:
                    self._envelope["service_tier"] = tier
                return self._chunk({"role": "assistant", "content": None, "refusal": None})
            case Opened(block=block):
                return self._opened(block)
            case Added(text=text):
                return self._added(text)
            case Closed():
                return b""
            case Finished():
                end = self._chunk({}, STOP_WRITTEN["chat.completions"][event.stop])
                usage = chat_usage(event.usage)
                return end if usage is None or not self._include_usage else end + _event({**self._envelope, "choices": [], "usage": usage})
            case Failed():
                return _event(envelope(UpstreamFault(event.message, event.type, event.code), None, "chat.completions"))

    def end(self) -> bytes:
        return DONE

    def _opened(self, block: object) -> bytes:
        self._block = block
        if isinstance(block, ToolUse):
            self._calls += 1
            function = {"name": block.name, "arguments": ""}
            return self._chunk({"tool_calls": [{"index": self._calls, "id": block.id, "type": "function", "function": function}]})
        self._gap = "\n\n" if isinstance(block, Thinking) and self._thought else ""
        return b""

    def _added(self, text: str) -> bytes:
        match self._block:
            case ToolUse():
                return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": text}}]})
            case Thinking():
                text, self._gap, self._thought = self._gap + text, "", True
                return self._chunk({"reasoning_content": text})
            case Refusal():
                return self._chunk({"refusal": text})
        return self._chunk({"content": text})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**self._envelope, "choices": [choice]})


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
