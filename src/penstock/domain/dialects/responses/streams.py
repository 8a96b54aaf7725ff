"""Streams of OpenAI's Responses: read and written. Source: OpenAI API reference, "Streaming events", 2026-11."""

from typing import Any

import orjson

from penstock.domain.dialects.canonical import (
    Added,
    Answer,
    Block,
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
from penstock.domain.dialects.errors import fault_of
from penstock.domain.dialects.fields import Fields
from penstock.domain.dialects.origins import from_encrypted
from penstock.domain.dialects.responses.answers import ended, write_responses_answer
from penstock.domain.dialects.responses.items import written_item, written_part
from penstock.domain.dialects.sequence import Sequencer
from penstock.domain.dialects.words import stop_word

_DELTAS = {
    "response.output_text.delta": True,
    "response.refusal.delta": True,
    "response.function_call_arguments.delta": False,
    "response.reasoning_summary_text.delta": False,
    "response.reasoning_text.delta": False,
}
"""events with more text: whether they belong to a part of their item, or to the item itself"""
_WHOLES = {
    "response.output_text.done": ("text", True),
    "response.refusal.done": ("refusal", True),
    "response.function_call_arguments.done": ("arguments", False),
}
"""events that tell a text once more, whole: its name, and the same"""
_ENDS = ("response.completed", "response.incomplete")
_PARTS: dict[str, Text | Refusal] = {"output_text": Text(), "refusal": Refusal()}


class ResponsesStreamReader:
    """Events of Responses in, events out. Kinds of events that carry no content of their own are passed over."""

    def __init__(self, model: str) -> None:
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self._model = model
        self._started = False
        self._sequence = Sequencer()
        self._stop: Stop = "end"

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """The events of one event of theirs. Raises `Untranslatable`."""
        fields = Fields(chunk)
        kind = fields.text("type")
        if kind in _DELTAS:
            return self._sequence.add(_key(fields, part=_DELTAS[kind]), fields.text("delta"))
        if kind in _WHOLES:
            name, part = _WHOLES[kind]
            return self._sequence.complete(_key(fields, part=part), fields.text(name))
        match kind:
            case "response.created" | "response.in_progress" | "response.queued":
                return self._start(Fields(fields.take("response"), "response"))
            case "response.output_item.added":
                return self._open(_key(fields, part=False), Fields(fields.take("item"), "item"))
            case "response.content_part.added":
                empty = _PARTS.get(Fields(fields.take("part"), "part").text("type"))
                return [] if empty is None else self._sequence.open(_key(fields, part=True), empty)
            case "response.reasoning_summary_part.added" if fields.whole("summary_index"):
                return self._sequence.add(_key(fields, part=False), "\n\n")
            case "response.content_part.done":
                return self._sequence.close(_key(fields, part=True))
            case "response.output_item.done":
                return self._close(_key(fields, part=False), Fields(fields.take("item"), "item"))
            case "response.output_text.annotation.added":
                raise Untranslatable("annotation", "citations in a stream have no translation")
            case "error" | "response.failed":
                response = Fields(fields.take("response") or {}, "response")
                self.usage = response.mapping("usage") or self.usage
                fault = fault_of(chunk if kind == "error" else chunk.get("response"))
                return [Failed(fault.message, fault.type, fault.code)]
            case _ if kind in _ENDS:
                response = Fields(fields.take("response"), "response")
                self.usage = response.mapping("usage")
                reason = ended(response)
                self._stop, self.finish_reason = stop_word("responses", reason, "response.status"), reason
        return []

    def end(self) -> list[Event]:
        """What follows when the stream is over: nothing where it was broken off."""
        if self.finish_reason is None:
            return []
        stop: Stop = "tools" if self._stop == "end" and self._sequence.tools else self._stop
        return [*self._sequence.close_all(), Finished(stop, None, self.usage)]

    def _start(self, response: Fields) -> list[Event]:
        if self._started:
            return []
        self._started = True
        name, model = response.maybe_text("id") or "", response.maybe_text("model") or self._model
        return [Started(name, model, response.whole("created_at"), service_tier=response.maybe_text("service_tier"))]

    def _open(self, key: object, item: Fields) -> list[Event]:
        match item.text("type"):
            case "message":
                return []
            case "function_call":
                return self._sequence.open(key, ToolUse(item.text("call_id"), item.text("name")))
            case "reasoning":
                return self._sequence.open(key, Thinking())
            case kind:
                raise Untranslatable("item.type", f"an item of type `{kind[:64]}` has no translation")

    def _close(self, key: object, item: Fields) -> list[Event]:
        if item.text("type") == "reasoning":
            proof = from_encrypted("", item.maybe_text("encrypted_content"), item.maybe_text("id"))
            self._sequence.change(key, signature=proof.signature, redacted=proof.redacted, encrypted=proof.encrypted, id=proof.id)
        return self._sequence.close(key)


class ResponsesStreamWriter:
    """Events in, events of Responses out. `created` (Unix seconds) stands where the upstream says nothing."""

    def __init__(self, created: int) -> None:
        self._created = created
        self._number = -1
        self._started = Started("", "")
        self._blocks: list[Block] = []
        self._block: Block = Text()
        self._silent = True

    def write(self, event: Event) -> bytes:
        match event:
            case Started():
                self._started = event
                response = {**self._response(Finished("end")), "status": "in_progress", "usage": None}
                return self._event("response.created", response=response) + self._event("response.in_progress", response=response)
            case Opened(index=index, block=block):
                return self._opened(index, block)
            case Added(index=index, text=text):
                return self._more(index, text)
            case Closed(index=index, block=block):
                self._blocks.append(block)
                return self._closed(index, block)
            case Finished():
                response = self._response(event)
                return self._event(f"response.{response['status']}", response=response)
            case Failed():
                return self._event("error", code=None if event.code is None else str(event.code), message=event.message, param=None)

    def end(self) -> bytes:
        return b""

    def _opened(self, index: int, block: Block) -> bytes:
        self._silent, self._block = True, block
        item = self._item(block, index, done=False)
        added = self._event("response.output_item.added", output_index=index, item=item)
        if isinstance(block, Text | Refusal):
            part = self._place(index, block, content_index=0)
            added += self._event("response.content_part.added", **part, part=written_part(block))
        return added

    def _more(self, index: int, text: str) -> bytes:
        block = self._block
        match block:
            case Text():
                place = self._place(index, block, content_index=0)
                return self._event("response.output_text.delta", **place, delta=text, logprobs=[])
            case Refusal():
                return self._event("response.refusal.delta", **self._place(index, block, content_index=0), delta=text)
            case ToolUse():
                return self._event("response.function_call_arguments.delta", **self._place(index, block), delta=text)
        place = self._place(index, block, summary_index=0)
        begun = b""
        if self._silent:
            begun = self._event("response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""})
        self._silent = False
        return begun + self._event("response.reasoning_summary_text.delta", **place, delta=text)

    def _closed(self, index: int, block: Block) -> bytes:
        done = b""
        match block:
            case Text(text=text):
                place = self._place(index, block, content_index=0)
                done = self._event("response.output_text.done", **place, text=text, logprobs=[])
                done += self._event("response.content_part.done", **place, part=written_part(block))
            case Refusal(text=text):
                place = self._place(index, block, content_index=0)
                done = self._event("response.refusal.done", **place, refusal=text)
                done += self._event("response.content_part.done", **place, part=written_part(block))
            case ToolUse(name=name, arguments=text):
                place = self._place(index, block)
                done = self._event("response.function_call_arguments.done", **place, name=name, arguments=text)
            case Thinking(text=text) if text:
                place = self._place(index, block, summary_index=0)
                done = self._event("response.reasoning_summary_text.done", **place, text=text)
                done += self._event("response.reasoning_summary_part.done", **place, part={"type": "summary_text", "text": text})
        item = self._item(block, index)
        return done + self._event("response.output_item.done", output_index=index, item=item)

    def _place(self, index: int, block: Block, **within: int) -> dict[str, Any]:
        return {"item_id": self._item(block, index, done=False)["id"], "output_index": index, **within}

    def _item(self, block: Block, index: int, *, done: bool = True) -> dict[str, Any]:
        return written_item(block, self._started.id, index, done=done)

    def _response(self, end: Finished) -> dict[str, Any]:
        started = self._started
        answer = Answer(
            started.id,
            started.model,
            tuple(self._blocks),
            end.stop,
            usage=end.usage,
            created=started.created,
            service_tier=started.service_tier,
        )
        return write_responses_answer(answer, self._created)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        data = orjson.dumps({"type": kind, **fields, "sequence_number": self._number})
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def _key(fields: Fields, *, part: bool) -> tuple[int | None, int | None]:
    return fields.whole("output_index"), fields.whole("content_index") if part else None
