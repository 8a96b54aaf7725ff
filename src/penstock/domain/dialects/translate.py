"""Translates calls, answers, streams and errors between the dialects: three readers and three writers of each, no pairs.

A call or an answer in its own dialect is left as it is. What cannot be said raises `Untranslatable`; nothing is passed over that the
tables of `words.py` do not name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from penstock.domain.dialects.canonical import Answer, Call, Dialect, Event, Failed, Finished, Untranslatable
from penstock.domain.dialects.chat.answers import read_chat_answer, write_chat_answer
from penstock.domain.dialects.chat.calls import read_chat_call, write_chat_call
from penstock.domain.dialects.chat.streams import ChatStreamReader, ChatStreamWriter
from penstock.domain.dialects.errors import translate_error
from penstock.domain.dialects.messages.answers import read_messages_answer, write_messages_answer
from penstock.domain.dialects.messages.calls import read_messages_call, write_messages_call
from penstock.domain.dialects.messages.streams import MessagesStreamReader, MessagesStreamWriter
from penstock.domain.dialects.responses.answers import read_responses_answer, write_responses_answer
from penstock.domain.dialects.responses.calls import read_responses_call, write_responses_call
from penstock.domain.dialects.responses.streams import ResponsesStreamReader, ResponsesStreamWriter
from penstock.domain.dialects.sse import chunk_of, event_data, is_done
from penstock.domain.dialects.words import FIELDS

__all__ = ["Dialect", "StreamTranslator", "Untranslatable", "translate_answer", "translate_call", "translate_error"]

_CALL_READERS = {"chat.completions": read_chat_call, "responses": read_responses_call, "messages": read_messages_call}
_ANSWER_READERS = {"chat.completions": read_chat_answer, "responses": read_responses_answer, "messages": read_messages_answer}
_STREAM_READERS: Mapping[Dialect, Callable[[str], ChatStreamReader | ResponsesStreamReader | MessagesStreamReader]] = {
    "chat.completions": ChatStreamReader,
    "responses": ResponsesStreamReader,
    "messages": MessagesStreamReader,
}


def translate_call(body: dict[str, Any], source: Dialect, target: Dialect, *, model: str, max_output: int | None = None) -> dict[str, Any]:
    """The body that makes the same call in the target dialect, for the upstream's `model`.

    `max_output` (tokens) is the limit where the target demands one and the client set none. Raises `Untranslatable`.
    """
    if source == target:
        return {**body, "model": model}
    call = _CALL_READERS[source](body)
    try:
        return _write_call(call, target, model, max_output)
    except Untranslatable as error:
        name = FIELDS[source].get(error.field)
        if name is None:
            raise
        raise Untranslatable(name, str(error).replace(f"`{error.field}`", f"`{name}`"), error.hint) from None


def translate_answer(answer: dict[str, Any], source: Dialect, target: Dialect, *, model: str, created: int = 0) -> dict[str, Any]:
    """An upstream's whole answer, in the target dialect.

    `model` and `created` (Unix seconds) stand where the target wants them and the source has none. Raises `Untranslatable`.
    """
    if source == target:
        return answer
    return _write_answer(_ANSWER_READERS[source](answer, model), target, created)


def _write_call(call: Call, target: Dialect, model: str, max_output: int | None) -> dict[str, Any]:
    match target:
        case "chat.completions":
            return write_chat_call(call, model)
        case "responses":
            return write_responses_call(call, model)
        case "messages":
            return write_messages_call(call, model, max_output)


def _write_answer(answer: Answer, target: Dialect, created: int) -> dict[str, Any]:
    match target:
        case "chat.completions":
            return write_chat_answer(answer, created)
        case "responses":
            return write_responses_answer(answer, created)
        case "messages":
            return write_messages_answer(answer)


class StreamTranslator:
    """One stream on its way from the upstream's dialect to the client's: complete server-sent events in, complete ones out.

    `feed` never gives what ends a stream: that is `end`, and only where the upstream came to a regular end. An error of the upstream's
    in its stream, or something that has no translation, becomes an error event of the client's dialect; after it, nothing follows.
    `include_usage`: whether a client of chat completions asked for usage. `created`: Unix seconds, where the upstream has none.
    """

    def __init__(self, source: Dialect, target: Dialect, *, model: str, include_usage: bool = True, created: int = 0) -> None:
        self._reader = _STREAM_READERS[source](model)
        self._writer = _writer(target, created, include_usage)
        self.error: str | None = None
        """why the stream failed; None while it has not"""

    @property
    def usage(self) -> dict[str, Any] | None:
        """The upstream's usage object as far as told, merged as `tokens_from_usage` reads it."""
        return self._reader.usage

    @property
    def usage_begun(self) -> bool:
        """Whether the usage is what a stream of Messages began with: its input is counted, its output is still to come."""
        return isinstance(self._reader, MessagesStreamReader) and self._reader.usage_begun

    @property
    def finish_reason(self) -> str | None:
        """The upstream's word for why it ended; None: it has not ended regularly."""
        return self._reader.finish_reason

    def feed(self, event: bytes) -> bytes:
        """What the client gets for one complete event of the upstream's; nothing for comments and pings."""
        data = event_data(event)
        if data is None or is_done(event):
            return b""
        chunk = chunk_of(event)
        if chunk is None:
            return self._fail("stream", "the upstream's stream holds something else than JSON objects")
        try:
            return self._write(self._reader.read(chunk))
        except Untranslatable as error:
            return self._fail(error.field, str(error))

    def end(self) -> bytes:
        """What closes the stream. Empty where the upstream broke off or failed: the client must not take it for whole."""
        if self.error is not None:
            return b""
        try:
            events = self._reader.end()
            written = self._write(events)
        except Untranslatable as error:
            return self._fail(error.field, str(error))
        return written + self._writer.end() if events and isinstance(events[-1], Finished) else written

    def _write(self, events: list[Event]) -> bytes:
        out = []
        for event in events:
            if self.error is not None:
                break
            if isinstance(event, Failed):
                self.error = event.message
            out.append(self._writer.write(event))
        return b"".join(out)

    def _fail(self, field: str, reason: str) -> bytes:
        return self._write([Failed(f"{field}: {reason}", "api_error", "untranslatable")])


def _writer(target: Dialect, created: int, include_usage: bool) -> ChatStreamWriter | ResponsesStreamWriter | MessagesStreamWriter:
    match target:
        case "chat.completions":
            return ChatStreamWriter(created, include_usage=include_usage)
        case "responses":
            return ResponsesStreamWriter(created)
        case "messages":
            return MessagesStreamWriter()
