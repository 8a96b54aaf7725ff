"""The cache: an answer to the very same request, else to the same question, in the form this client asks for."""

from typing import Any, cast

import msgspec
import orjson

from penstock.domain.dialects.chat.assembling import assemble, complete, complete_stream, disassemble
from penstock.domain.dialects.content import prompts
from penstock.domain.dialects.forms import complete_answer, events_of, whole_of
from penstock.domain.dialects.splice import add_member
from penstock.domain.dialects.sse import chunk_of, split_events, with_cost
from penstock.domain.dialects.streams import Native
from penstock.domain.ledger.record import CacheOutcome, UsageRecord
from penstock.domain.routing.cache_key import cache_key, cacheable
from penstock.domain.units import format_usd
from penstock.gateway.exchange import Answer, Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.heads import Heads, share_of
from penstock.gateway.metering import meter, whole_cost
from penstock.gateway.refusal import Refusal
from penstock.ports.cache import CachedAnswer

DONE = b"data: [DONE]\n\n"
NATIVE = frozenset({"messages", "responses"})
"""endpoints whose streams hold their usage and their end in events of their own"""
DIRECTIVES = (b"", b"no-store", b"no-cache", b"exact")
_exact_size = msgspec.json.Encoder().encode
"""encodes what is kept: orjson's bytes would hold on to the 4 kB that it wrote them into"""


async def recall(gateway: Gateway, x: Exchange) -> bool:
    """Answers from the cache when it can. True: answered."""
    cache, meaning, target = gateway.cache, gateway.meaning, x.target
    if (cache is None and meaning is None) or x.body is None or target is None or not target.cacheable or not cacheable(x.endpoint, x.body):
        return False
    check_wishes(x.heads)
    if x.heads.cache == b"no-store":
        return False
    if meaning is not None and (not target.by_meaning or x.heads.cache == b"exact"):
        meaning = None
    if cache is None and meaning is None:
        return False
    partition = (*x.scope, x.request.query, *x.heads.variants)
    x.cache_key = cache_key(partition, x.endpoint, target.name, target.fingerprint, x.body)
    if x.cache_key is None:
        return False
    if x.heads.cache == b"no-cache":
        if meaning is not None:
            meaning.afresh(x)
        return False
    x.cache = "miss"
    hit = await cache.get(x.cache_key) if cache is not None else None
    if hit is not None and not _is_withdrawn(gateway, x, hit) and replay(gateway, x, hit, "exact"):
        if meaning is not None:
            meaning.exact(x)
        return True
    return meaning is not None and await meaning.recall(gateway, x)


def _is_withdrawn(gateway: Gateway, x: Exchange, hit: CachedAnswer) -> bool:
    """Whether somebody purged this answer, or called it wrong: that is told by the log of the semantic cache."""
    return gateway.meaning is not None and gateway.meaning.withdrawn(x, hit.request_id)


def check_wishes(heads: Heads) -> None:
    """Raises `Refusal` (input) for wishes of the client about the cache that mean nothing."""
    if heads.cache not in DIRECTIVES:
        asked = heads.cache.decode("latin-1")[:40]
        raise Refusal(400, "input", f"`penstock-cache: {asked}` is not known", "Send `no-store`, `no-cache` or `exact`")
    if heads.max_error and share_of(heads.max_error) is None:
        asked = heads.max_error.decode("latin-1")[:40]
        hint = "Send the share of wrong answers that is accepted, between 0 and 1, such as `0.001`"
        raise Refusal(400, "input", f"`penstock-cache-max-error: {asked}` is no share", hint)


def replay(gateway: Gateway, x: Exchange, hit: CachedAnswer, outcome: CacheOutcome) -> bool:
    """Answers with what was kept, in the form that is asked for. False: it cannot be turned faithfully, or may not be used."""
    if not x.may_use(hit.upstream, hit.tier):
        return False
    before, x.hit = x.candidate, hit
    x.candidate = gateway.targets.candidate(hit.model, hit.tier) if hit.model in gateway.settings.models else None
    nothing = x.embedding_cost == 0 and not (x.wasted or x.asides)
    body = _in_form(x, hit, 0 if nothing else whole_cost(x, meter(gateway, x).cost))
    if body is None:
        x.hit, x.candidate = None, before
        return False
    x.cache = outcome
    x.status = 200
    x.finish_reason = hit.finish_reason
    x.response_model = hit.response_model
    content_type = b"text/event-stream; charset=utf-8" if x.streamed else b"application/json"
    x.answer = Answer(200, [(b"content-type", content_type)], body)
    return True


def tellable(x: Exchange, hit: CachedAnswer) -> bool:
    """Whether `replay` would answer with it."""
    return x.may_use(hit.upstream, hit.tier) and _in_form(x, hit, 0) is not None


async def remember(gateway: Gateway, x: Exchange, record: UsageRecord) -> None:
    """Keeps a complete answer of the model that was chosen (not of a fallback) for the next one who asks the same, or means the same."""
    if x.cache_key is None or x.target is None or x.candidate is None or x.candidate != x.primary:
        return
    usage = x.usage if x.told_usage is None or x.usage is None else x.told_usage
    body = x.kept if x.streamed else x.answer.body if x.answer is not None else None
    if body is None or not _is_complete(x, body):
        return
    answer = CachedAnswer(
        request_id=x.id,
        model=x.candidate.model,
        upstream=x.candidate.upstream,
        tier=x.candidate.tier,
        streamed=x.streamed,
        body=body,
        usage=_exact_size(usage) if usage is not None else None,
        tokens=record.tokens,
        tokens_estimated=record.tokens_basis != "measured",
        parts=record.parts,
        processing=record.processing,
        finish_reason=x.finish_reason,
        response_model=x.response_model,
    )
    if x.look is not None and gateway.meaning is not None:
        gateway.meaning.learn(x, answer, record)
    if gateway.cache is not None:
        ttl_s: float = gateway.settings.cache.exact.ttl
        await gateway.cache.put(x.cache_key, answer, ttl_s if x.target.ttl_s is None else min(ttl_s, x.target.ttl_s))


def _is_complete(x: Exchange, body: bytes) -> bool:
    """Whether every answer in it came to a regular end: neither broken off nor filtered."""
    assert x.body is not None
    if x.endpoint in NATIVE:
        dialect = cast(Native, x.endpoint)
        return complete_answer(dialect, whole_of(dialect, split_events(body)[0]) if x.streamed else x.parsed)
    if x.streamed:
        each = x.body.get("n")
        return complete_stream(split_events(body)[0], (each if type(each) is int else 1) * prompts(x.body))
    return complete(x.parsed)


def _in_form(x: Exchange, hit: CachedAnswer, cost: int | None) -> bytes | None:
    """The answer as this client asked for it, a stream with its cost in nano-USD; None where it cannot be turned faithfully."""
    if x.endpoint in NATIVE:
        return _in_native_form(cast(Native, x.endpoint), x.streamed, hit, cost)
    if not x.streamed:
        return hit.body if not hit.streamed else _as_body(hit)
    events = hit.body if hit.streamed else _as_events(hit)
    if events is None:
        return None
    usage = _usage_event(events, hit.usage, cost) if x.wants_usage and hit.usage is not None else b""
    return events + usage + DONE


def _in_native_form(dialect: Native, streamed: bool, hit: CachedAnswer, cost: int | None) -> bytes | None:
    if not streamed:
        if not hit.streamed:
            return hit.body
        whole = whole_of(dialect, split_events(hit.body)[0])
        return None if whole is None else orjson.dumps(whole)
    events = split_events(hit.body)[0] if hit.streamed else events_of(dialect, orjson.loads(hit.body))
    if events is None:
        return None
    telling = b'"message_delta"' if dialect == "messages" else b'"response":'
    at = max((place for place, event in enumerate(events) if telling in event), default=None)
    if at is not None and hit.usage is not None:
        events[at] = with_cost(events[at], format_usd(cost))
    return b"".join(events)


def _as_body(hit: CachedAnswer) -> bytes | None:
    body = assemble(split_events(hit.body)[0])
    return body if body is None or hit.usage is None else add_member(body, "usage", hit.usage)


def _as_events(hit: CachedAnswer) -> bytes | None:
    events = disassemble(hit.body)
    return None if events is None else b"".join(events)


def _usage_event(events: bytes, usage: bytes, cost: int | None) -> bytes:
    first: dict[str, Any] = next((told for event in split_events(events)[0] if (told := chunk_of(event)) is not None), {})
    shared = {name: first[name] for name in ("id", "object", "created", "model", "system_fingerprint") if name in first}
    chunk = orjson.dumps({**shared, "choices": [], "usage": orjson.Fragment(usage)})
    return with_cost(b"data: " + chunk + b"\n\n", format_usd(cost))
