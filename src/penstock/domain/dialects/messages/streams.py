"""Streams of Anthropic's Messages: read and written. Source: Anthropic API reference, "Streaming messages", 2026-11."""

from typing import Any

import orjson

from penstock.domain.dialects.canonical import (
    Added,
    Block,
    Closed,
    Event,
    Failed,
    Finished,
    Opened,
    Started,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Untranslatable,
)
from penstock.domain.dialects.counts import messages_usage
from penstock.domain.dialects.errors import UpstreamFault, envelope, fault_of
from penstock.domain.dialects.fields import Fields
from penstock.domain.dialects.messages.answers import ARGUMENTS, stop_fields, tier_of
from penstock.domain.dialects.messages.content import read_block, write_block
from penstock.domain.dialects.origins import as_signature, from_signature
from penstock.domain.dialects.sequence import Sequencer
from penstock.domain.dialects.words import stop_word

_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_EMPTY_BLOCKS: dict[str, dict[str, Any]] = {"tool_use": {"input": {}}, "thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}}


class MessagesStreamReader:
    """Events of Messages in, events out. Kinds of events that are not known are passed over, as Anthropic asks of its clients."""

    def __init__(self, model: str) -> None:
        self.usage: dict[str, Any] | None = None
        self.usage_begun = False
        self.finish_reason: str | None = None
        self._model = model
        self._sequence = Sequencer()
        self._stop: Stop = "end"
        self._stop_sequence: str | None = None

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """The events of one event of theirs. Raises `Untranslatable`."""
        fields = Fields(chunk)
        match fields.text("type"):
            case "message_start":
                return self._start(Fields(fields.take("message"), "message"))
            case "content_block_start":
                return self._open(fields.whole("index"), Fields(fields.take("content_block"), "content_block"))
            case "content_block_delta":
                return self._add(fields.whole("index"), Fields(fields.take("delta"), "delta"))
            case "content_block_stop":
                return self._sequence.close(fields.whole("index"))
            case "message_delta":
                self._delta(Fields(fields.take("delta") or {}, "delta"), fields.mapping("usage"))
            case "error":
                fault = fault_of(chunk)
                return [Failed(fault.message, fault.type, fault.code)]
        return []

    def end(self) -> list[Event]:
        """What follows when the stream is over: nothing where it was broken off."""
        if self.finish_reason is None:
            return []
        return [*self._sequence.close_all(), Finished(self._stop, self._stop_sequence, self.usage)]

    def _start(self, message: Fields) -> list[Event]:
        self.usage = message.mapping("usage")
        self.usage_begun = self.usage is not None
        name, model = message.maybe_text("id") or "", message.maybe_text("model") or self._model
        return [Started(name, model, usage=self.usage, service_tier=tier_of(self.usage))]

    def _open(self, index: int | None, block: Fields) -> list[Event]:
        read = read_block(block)
        match read:
            case Text(text=text):
                return self._sequence.open(index, Text()) + self._sequence.add(index, text)
            case Thinking(redacted=None, text=text):
                return self._sequence.open(index, Thinking(signature=read.signature)) + self._sequence.add(index, text)
            case Thinking():
                return self._sequence.open(index, read)
            case ToolUse(id=name, name=function, arguments=arguments):
                opened = self._sequence.open(index, ToolUse(name, function))
                return opened + self._sequence.add(index, "" if arguments == "{}" else arguments)
        raise Untranslatable("content_block.type", "the stream holds a block that no answer has")

    def _add(self, index: int | None, delta: Fields) -> list[Event]:
        kind = delta.text("type")
        if kind == "signature_delta":
            proof = from_signature("", delta.text("signature"))
            self._sequence.change(index, signature=proof.signature, encrypted=proof.encrypted, id=proof.id)
            return []
        if kind not in _DELTAS:
            raise Untranslatable("delta.type", f"a delta of type `{kind[:64]}` has no translation")
        return self._sequence.add(index, delta.text(_DELTAS[kind]))

    def _delta(self, delta: Fields, usage: dict[str, Any] | None) -> None:
        self.usage = merged_usage(self.usage, usage)
        self.usage_begun = self.usage_begun and usage is None
        reason = delta.maybe_text("stop_reason")
        if reason is not None:
            self._stop, self.finish_reason = stop_word("messages", reason, "delta.stop_reason"), reason
            self._stop_sequence = delta.maybe_text("stop_sequence")


class MessagesStreamWriter:
    """Events in, events of Messages out."""

    def __init__(self) -> None:
        self._kind = ""
        self._blocks: list[Block] = []

    def write(self, event: Event) -> bytes:
        match event:
            case Started():
                message: dict[str, Any] = {"id": event.id, "type": "message", "role": "assistant", "model": event.model}
                message["usage"] = messages_usage(event.usage)
                begun: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
                return _event("message_start", message=message | begun)
            case Opened(index=index, block=block):
                written = write_block(block, ARGUMENTS)
                self._kind = written["type"]
                return _event("content_block_start", index=index, content_block=written | _EMPTY_BLOCKS.get(self._kind, {}))
            case Added(index=index, text=text):
                kind = {"thinking": "thinking_delta", "tool_use": "input_json_delta"}.get(self._kind, "text_delta")
                return _event("content_block_delta", index=index, delta={"type": kind, _DELTAS[kind]: text})
            case Closed(index=index, block=block):
                self._blocks.append(block)
                proof = as_signature(block) if isinstance(block, Thinking) and block.redacted is None else ""
                signed = _event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": proof}) if proof else b""
                return signed + _event("content_block_stop", index=index)
            case Finished():
                delta = stop_fields(event.stop, event.stop_sequence, tuple(self._blocks))
                usage = messages_usage(event.usage)
                return _event("message_delta", delta=delta, usage=usage) + _event("message_stop")
            case Failed():
                body = envelope(UpstreamFault(event.message, event.type, event.code), None, "messages")
                return _event(body.pop("type"), **body)

    def end(self) -> bytes:
        return b""


def merged_usage(before: dict[str, Any] | None, further: dict[str, Any] | None) -> dict[str, Any] | None:
    """Usage of `message_start` with that of `message_delta`, whose counts are cumulative and take its place."""
    if further is None:
        return before
    return {**(before or {}), **{name: value for name, value in further.items() if value is not None}}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"
