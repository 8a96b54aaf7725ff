"""Streams of Responses and Messages, and streams that are translated on their way; see `relaying.py` for what holds of every stream."""

import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from penstock.domain.dialects.sse import EventSplitter, chunk_of, is_done, with_cost
from penstock.domain.dialects.streams import Native, finish_reason_of, is_delta, is_end, usage_so_far
from penstock.domain.dialects.translate import Dialect, StreamTranslator
from penstock.domain.units import format_usd
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.metering import meter, whole_cost
from penstock.gateway.reading import note, note_service
from penstock.gateway.text_seen import TextSeen
from penstock.ports.upstream import UpstreamError

KEPT_BYTES = 1_000_000
"""a longer stream is not kept for the cache"""

UsageOf = Callable[[], dict[str, Any] | None]


class Told(Protocol):
    """A stream in the client's dialect."""

    done: bytes | None
    seen: TextSeen
    kept: list[bytes] | None

    @property
    def failed(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    def pass_on(self, data: bytes) -> bytes: ...


class EventRelay:
    """A stream of Responses or Messages: every event as it came, the cost beside the usage, the last event held back.

    `usage_of` tells the usage of a translated stream, as the upstream counted it.
    """

    __slots__ = ("_bytes", "_dialect", "_gateway", "_usage_of", "_x", "done", "failed", "kept", "seen", "splitter")

    def __init__(self, gateway: Gateway, x: Exchange, usage_of: UsageOf | None = None) -> None:
        self._gateway = gateway
        self._x = x
        self._dialect = cast(Native, x.endpoint)
        self._usage_of = usage_of
        self.splitter = EventSplitter()
        self.seen = TextSeen()
        self.kept: list[bytes] | None = [] if x.keeps_stream else None
        self._bytes = 0
        self.done: bytes | None = None
        self.failed = False

    @property
    def ended(self) -> bool:
        return self.done is not None

    @property
    def made_something(self) -> bool:
        """Whether a stream that failed had brought anything before."""
        return self.seen.events > 0 or self._x.usage is not None

    def pass_on(self, data: bytes) -> bytes:
        """What the client gets for these bytes, complete events only."""
        events = self.splitter.feed(data)
        check_pending(self._gateway, self.splitter)
        out = [self._event(event) for event in events if self.done is None]
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> bytes:
        """What is left at the end: an event whose blank line is missing counts as whole when it can be read."""
        rest = self.splitter.rest()
        closed = rest + b"\n\n"
        return self.pass_on(closed) if chunk_of(closed) is not None else rest

    def leftover(self) -> bytes:
        """What came of an event that was broken off."""
        return self.splitter.rest()

    def _event(self, event: bytes) -> bytes:
        x = self._x
        self._keep(event)
        if is_delta(self._dialect, event):
            if x.first_token_at is None:
                x.first_token_at = time.perf_counter()
            self.seen.add(event)
            return event
        if x.response_id is None:
            begun = (chunk_of(event) or {}).get("message" if self._dialect == "messages" else "response")
            note(x, begun if isinstance(begun, dict) else {}, translated=self._usage_of is not None)
        told = usage_so_far(self._dialect, event, x.usage)
        counted = told is not None and told is not x.usage
        if counted:
            x.usage = self._usage_of() if self._usage_of is not None else told
        if (reason := finish_reason_of(self._dialect, event)) is not None:
            x.finish_reason = reason[:64]
        ends = is_end(self._dialect, event)
        closing = ends or b'"message_delta"' in event
        if counted and self._usage_of is None:
            note_service(x, self._dialect, event)
            x.usage_begun = not closing
        if counted and closing and x.payer is None:
            x.stream_events, x.stream_text = self.seen.events, self.seen.bytes
            event = with_cost(event, format_usd(whole_cost(x, meter(self._gateway, x).cost)))
        if not ends:
            return event
        self.done = event
        self.failed = (chunk_of(event) or {}).get("type") in ("error", "response.failed")
        return b""

    def _keep(self, event: bytes) -> None:
        if self.kept is not None:
            self._bytes += len(event)
            if self._bytes > KEPT_BYTES:
                self.kept = None
            else:
                self.kept.append(event)


class TranslatedRelay:
    """A stream in the upstream's dialect, told in the client's: `told` does there what it does with a stream that needs no translation."""

    __slots__ = ("_closed", "_gateway", "_source", "_told", "_x", "splitter", "translator")

    def __init__(self, gateway: Gateway, x: Exchange, translator: StreamTranslator, told: Told) -> None:
        self._gateway = gateway
        self._x = x
        self._source = cast(Dialect, x.called_at)
        self._told = told
        self._closed = False
        self.translator = translator
        self.splitter = EventSplitter()

    @property
    def done(self) -> bytes | None:
        return self._told.done

    @property
    def seen(self) -> TextSeen:
        return self._told.seen

    @property
    def kept(self) -> list[bytes] | None:
        return self._told.kept

    @property
    def failed(self) -> bool:
        return self._told.failed

    @property
    def ended(self) -> bool:
        return self._told.failed or (self.translator.error is None and self._told.done is not None)

    @property
    def made_something(self) -> bool:
        return self._told.seen.events > 1 or self.translator.usage is not None

    def pass_on(self, data: bytes) -> bytes:
        """What the client gets for these bytes, complete events only."""
        events = self.splitter.feed(data)
        check_pending(self._gateway, self.splitter)
        return b"".join([self._tell(event) for event in events if not self._closed])

    def end(self) -> bytes:
        """What is left at the end, and what closes the stream where no event of the upstream's has."""
        rest = self.splitter.rest() + b"\n\n"
        last = self._tell(rest) if chunk_of(rest) is not None and not self._closed else b""
        return last if self._closed else last + self._close()

    def leftover(self) -> bytes:
        """Half an event cannot be translated."""
        return b""

    def _tell(self, event: bytes) -> bytes:
        x = self._x
        if x.first_token_at is None and self._brings(event):
            x.first_token_at = time.perf_counter()
        said = self.translator.feed(event)
        note_service(x, self._source, event)
        self._count()
        told = self._told.pass_on(said)
        self._count()
        return told + self._close() if self._is_last(event) else told

    def _brings(self, event: bytes) -> bool:
        """Whether the model has begun to say something."""
        return b"data:" in event if self._source == "chat.completions" else is_delta(self._source, event)

    def _is_last(self, event: bytes) -> bool:
        """Whether the upstream's stream is over with this event, even if its connection breaks after it."""
        return is_done(event) if self._source == "chat.completions" else is_end(self._source, event)

    def _close(self) -> bytes:
        """What closes the stream in the client's dialect, if the upstream's came to its regular end."""
        self._closed = True
        closing = self._told.pass_on(self.translator.end())
        self._count()
        self._x.error = self.translator.error or self._x.error
        if self.translator.error is None:
            self._x.finish_reason = self.translator.finish_reason
        return closing

    def _count(self) -> None:
        """The usage is the upstream's, whatever the client is told of it."""
        self._x.usage = self.translator.usage
        self._x.usage_begun = self.translator.usage_begun


def check_pending(gateway: Gateway, splitter: EventSplitter) -> None:
    """Raises `UpstreamError` when an event grows beyond all bounds."""
    if splitter.pending > gateway.settings.server.max_answer:
        raise UpstreamError("too_large", "the upstream sends an event without end")
