"""Streams: bytes forwarded as they come, looked at only where usage or the end may stand.

What the client sees the end of must be on the journal first, so the last event is held back (`Exchange.tail`) until `settle`
has written the record. A stream that breaks off is passed on as far as it came and then reset.
"""

import time
from typing import Any, cast

from penstock.domain.dialects.chat.assembling import finish_reason
from penstock.domain.dialects.sse import EventSplitter, chunk_of, is_done, strip_usage, usage_in, with_cost
from penstock.domain.dialects.translate import Dialect, StreamTranslator
from penstock.domain.dialects.usage import with_further_answer
from penstock.domain.units import format_usd
from penstock.gateway.exchange import STREAM_ENDPOINTS, Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.metering import meter, own_headers, whole_cost
from penstock.gateway.reading import note
from penstock.gateway.relaying_dialects import KEPT_BYTES, EventRelay, TranslatedRelay, UsageOf, check_pending
from penstock.gateway.text_seen import TextSeen
from penstock.ports.upstream import UpstreamAnswer, UpstreamError

_TELL_FIRST_TOKEN = frozenset({"responses", "messages"})
"""endpoints whose streams begin before the model has made anything, and say when it has"""


class Relay:
    """One stream of chat completions or completions on its way through, or of an endpoint whose streams we know nothing of.

    `usage_of` tells the usage of a translated stream, as the upstream counted it.
    """

    __slots__ = ("apart", "done", "gateway", "kept", "kept_bytes", "last", "seen", "several", "splitter", "strips", "usage_of", "x")

    def __init__(self, gateway: Gateway, x: Exchange, usage_of: UsageOf | None = None) -> None:
        self.gateway = gateway
        self.x = x
        self.usage_of = usage_of
        self.splitter = EventSplitter()
        if usage_of is not None:
            self.strips = not x.wants_usage
        else:
            self.strips = x.candidate is not None and asks_usage(gateway, x, x.candidate.upstream)
        self.seen = TextSeen()
        self.kept: list[bytes] | None = [] if x.keeps_stream else None
        self.kept_bytes = 0
        self.done: bytes | None = None
        self.last = b""
        answers = x.body.get("n") if x.body is not None else None
        self.several = isinstance(answers, int) and answers > 1
        self.apart: dict[str, Any] | None = None
        """usage told on chunks of its own"""

    def pass_on(self, data: bytes) -> bytes:
        """What the client gets for these bytes, complete events only."""
        out = []
        events = self.splitter.feed(data)
        if not events:
            check_pending(self.gateway, self.splitter)
        for event in events:
            if b'"usage"' in event:
                out.append(self._with_usage(event))
            elif b"[DONE]" in event and is_done(event):
                self.done = event
            else:
                self._keep(event)
                out.append(event)
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> bytes:
        """What is left at the end: an event whose blank line is missing counts as whole when it can be read."""
        rest = self.splitter.rest()
        closed = rest + b"\n\n"
        return self.pass_on(closed) if is_done(closed) or chunk_of(closed) is not None else rest

    def leftover(self) -> bytes:
        """What came of an event that was broken off."""
        return self.splitter.rest()

    @property
    def events(self) -> int:
        """Events that carried something, so far."""
        return self.seen.events

    @property
    def made_something(self) -> bool:
        """Whether a stream that failed had brought anything before."""
        return self.events > 1

    @property
    def failed(self) -> bool:
        """Whether the last event before the end is an error of the upstream's."""
        return self.x.finish_reason is None and (chunk_of(self.last) or {}).get("error") is not None

    @property
    def ended(self) -> bool:
        """Whether something says that the stream is over, not only broken off in good manners."""
        x = self.x
        return self.done is not None or x.finish_reason is not None or x.endpoint not in STREAM_ENDPOINTS or self.failed

    def _with_usage(self, event: bytes) -> bytes:
        x = self.x
        usage = usage_in(event)
        bare = strip_usage(event)
        if usage is not None:
            chunk = chunk_of(event)
            if chunk is not None:
                note(x, chunk, translated=self.usage_of is not None)
            x.usage = usage
            if bare is None:
                x.usage = self.apart = with_further_answer(self.apart, usage) if self.apart is not None and self.several else usage
            if self.usage_of is not None:
                x.told_usage, x.usage = usage, self.usage_of()
        if bare is not None:
            self._keep(bare)
        if x.wants_usage and x.payer is not None:
            return event
        if x.wants_usage:
            x.stream_events, x.stream_text = self.seen.events, self.seen.bytes
            return with_cost(event, format_usd(whole_cost(x, meter(self.gateway, x).cost))) if usage is not None else event
        return (bare or b"") if self.strips else event

    def _keep(self, event: bytes) -> None:
        self.seen.add(event)
        self.last = event
        if self.events == 1 and (chunk := chunk_of(event)) is not None:
            note(self.x, chunk, translated=self.usage_of is not None)
        if (reason := finish_reason(event)) is not None:
            self.x.finish_reason = reason[:64]
        if self.kept is not None:
            self.kept_bytes += len(event)
            if self.kept_bytes > KEPT_BYTES:
                self.kept = None
            else:
                self.kept.append(event)


async def relay(gateway: Gateway, x: Exchange, upstream: UpstreamAnswer) -> None:
    """Streams the answer through. Raises `UpstreamError` when it breaks off, `ClientGone` when nobody listens any more."""
    first = await upstream.chunk()
    x.status = upstream.status
    if x.endpoint not in _TELL_FIRST_TOKEN and x.called_at is None:
        x.first_token_at = time.perf_counter()
    content_type = next((value for name, value in upstream.headers if name == b"content-type"), b"")
    if not content_type.lower().startswith(b"text/event-stream"):
        await _relay_bytes(x, upstream, first)
        return
    relay = _relay_of(gateway, x)
    data, rest = first, b""
    try:
        while data is not None:
            out = relay.pass_on(data)
            if out:
                if not x.responder.started:
                    start(x, upstream)
                await x.responder.write(out)
            data = await upstream.chunk()
        rest = relay.end()
        if not relay.ended:
            raise UpstreamError("reset", "the stream stopped before its end")
    except UpstreamError:
        if relay.done is None:
            rest = rest or relay.leftover()
            if x.responder.started and rest:
                await x.responder.write(rest)
            raise
    finally:
        x.stream_events, x.stream_text = relay.seen.events, relay.seen.bytes
    if not x.responder.started:
        start(x, upstream)
    if relay.failed:
        x.outcome, x.error, x.worked = "error", x.error or "the upstream sent an error in its stream", relay.made_something
    x.tail = rest + (relay.done or b"")
    x.kept = b"".join(relay.kept) if relay.kept is not None and relay.done is not None else None


def _relay_of(gateway: Gateway, x: Exchange) -> Relay | EventRelay | TranslatedRelay:
    """What passes this stream on in the client's dialect."""
    if x.called_at is None:
        return Relay(gateway, x) if x.endpoint not in _TELL_FIRST_TOKEN else EventRelay(gateway, x)
    source, target = cast(Dialect, x.called_at), cast(Dialect, x.endpoint)
    named = x.candidate.upstream_model if x.candidate is not None else ""
    translator = StreamTranslator(source, target, model=named, created=int(time.time()))
    told: Relay | EventRelay = (Relay if target == "chat.completions" else EventRelay)(gateway, x, lambda: translator.usage)
    return TranslatedRelay(gateway, x, translator, told)


async def _relay_bytes(x: Exchange, upstream: UpstreamAnswer, first: bytes | None) -> None:
    """Passes on what is neither JSON nor events (audio, images), holding back the last piece."""
    start(x, upstream)
    held = first
    while held is not None and (data := await upstream.chunk()) is not None:
        await x.responder.write(held)
        held = data
    x.tail = held or b""


def asks_usage(gateway: Gateway, x: Exchange, upstream: str) -> bool:
    """Whether a stream is asked for its usage on our account only: the client did not, and is not to see it."""
    return x.streamed and not x.wants_usage and x.endpoint in STREAM_ENDPOINTS and gateway.upstreams.asks_usage[upstream]


def start(x: Exchange, upstream: UpstreamAnswer) -> None:
    """Sends the head; the cost is not known yet, so it stands on the usage chunk instead. What a call made aside costs is told with what
    its request does."""
    x.responder.start(upstream.status, upstream.headers if x.payer is not None else upstream.headers + own_headers(x))
