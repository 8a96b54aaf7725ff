"""Calls made for a request that are not its answer, or not yet: drafts, votes, samples, verifiers, classifiers, shadows and judges.

Each is an exchange of its own, a child of its request's: it draws on the reservation of the request, its answer goes into a buffer, and
what it cost stands on a line of its own (`book`), unless its answer becomes the client's (`adopt`). What is neither booked nor adopted
when the request ends is booked then.
"""

import asyncio
import time
from typing import Any

import msgspec
import orjson

from penstock.domain.dialects.splice import add_member, remove_member
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Purpose
from penstock.domain.routing.similarity.answers import answer_text
from penstock.gateway.exchange import Answer, Exchange, new_id
from penstock.gateway.gateway import Gateway
from penstock.gateway.heads import Heads
from penstock.gateway.refusal import Refusal
from penstock.gateway.routing.odds import hide
from penstock.gateway.routing.streaming import Buffer
from penstock.gateway.steps.call import call
from penstock.gateway.steps.reserve import reserve_aside
from penstock.gateway.steps.settle import CLIENT_CLOSED, book_aside
from penstock.gateway.targets import Candidate
from penstock.wire.message import ClientGone, Request

_CHAT = "/v1/chat/completions"
_JSON = (b"content-type", b"application/json")


class Draft(msgspec.Struct):
    """What one call made for a request has come to. The bytes of its answer, those of a stream too, are `exchange.answer.body`."""

    candidate: Candidate
    exchange: Exchange
    text: str | None
    """plain text of the answer; None: it has none (tool calls, several answers, cut off), or there is no answer"""
    ok: bool
    """2xx and readable"""
    error: str | None


async def ask(
    gateway: Gateway,
    x: Exchange,
    candidate: Candidate,
    purpose: Purpose,
    *,
    body: dict[str, Any] | None = None,
    streamed: bool | None = None,
    into: Buffer | None = None,
) -> Draft:
    """Calls exactly this candidate for a request, retries included, into a buffer.

    `body`: a chat completion to ask instead of what the client asks, its `model` is filled in. `streamed`: None for as the client asks.
    Trouble is told by the draft: only a cancellation is raised, and what is wrong inside Penstock.
    """
    buffer = Buffer(gateway.settings.server.max_answer) if into is None else into
    child = _child(x, candidate, purpose, _request_of(x, candidate, body, streamed), buffer)
    x.helpers.append(child)
    buffer.of = child
    try:
        if not child.may_use(candidate.upstream, candidate.tier):
            raise Refusal(403, "rule", f"a rule or the key forbids the upstream of `{candidate.model}`")
        if not await reserve_aside(gateway, x, child):
            raise Refusal(402, "budget", "a hard cap has no room for a further call")
        await call(gateway, child)
    except Refusal as refusal:
        child.answer, child.status = None, refusal.status
        child.outcome = "error" if refusal.category == "upstream" else "refused"
        child.error = child.error or refusal.message
    except ClientGone:
        child.outcome, child.status = "client_closed", CLIENT_CLOSED
    except asyncio.CancelledError:
        child.outcome, child.status = ("client_closed", CLIENT_CLOSED) if x.responder.gone else ("interrupted", 503)
        raise
    finally:
        child.ended_at = time.perf_counter()
        buffer.of = None
        if purpose in ("draft", "vote"):
            x.waited_s = max(x.waited_s, child.waited_s)
            later_us = int((child.started_at - x.started_at) * 1e6)
            x.attempts += [msgspec.structs.replace(each, started_us=(each.started_us or 0) + later_us) for each in child.attempts]
    if buffer.started:
        child.answer = Answer(buffer.status, buffer.headers, buffer.body + (child.tail or b""))
    ok = child.outcome == "ok" and child.answer is not None and 200 <= child.status < 300
    child.streamed = child.streamed and (buffer.started or not ok)  # some answer whole what was asked for as a stream
    text = answer_text(child.endpoint, child.streamed, child.answer.body) if ok and child.answer is not None else None
    return Draft(candidate, child, text, ok, None if ok else child.error or f"upstream status {child.status}")


def book(gateway: Gateway, x: Exchange, draft: Draft, purpose: Purpose) -> UsageRecord | None:
    """Puts the line of a call that is not the answer on `x.asides`; None where nobody worked for it."""
    draft.exchange.purpose = purpose
    return book_aside(gateway, x, draft.exchange) if draft.exchange in x.helpers else None


def adopt(x: Exchange, draft: Draft) -> None:
    """Makes the answer of a call, or its failure, that of its request; a stream that was buffered is sent in one go."""
    child = draft.exchange
    x.helpers.remove(child)
    hide(child)
    for name in _ADOPTED:
        setattr(x, name, getattr(child, name))
    x.wasted += child.wasted
    if not x.responder.started:
        x.first_token_at = None if child.first_token_at is None else time.perf_counter()  # nobody has seen any of it before


_ADOPTED = (
    "answer", "called_at", "calls", "candidate", "error", "finish_reason", "kept", "outcome", "parsed", "replica",
    "response_id", "response_model", "service_tier", "status", "stream_events", "stream_text", "told_usage", "usage", "usage_begun",
    "worked",
)  # fmt: skip
"""what an exchange knows of an answer"""


class _Said(msgspec.Struct, frozen=True):
    """A request as a call made aside puts it."""

    endpoint: str
    request: Request
    heads: Heads
    body: dict[str, Any] | None
    streamed: bool
    own: bool
    """in words of our own, not the client's"""


def _request_of(x: Exchange, candidate: Candidate, body: dict[str, Any] | None, streamed: bool | None) -> _Said:
    if body is not None:
        told = {"model": candidate.upstream_model, **body}
        request = Request("POST", _CHAT, _CHAT, "", [_JSON], orjson.dumps(told))
        return _Said("chat.completions", request, Heads([_JSON], traceparent=x.heads.traceparent), told, False, True)
    if streamed is None or streamed == x.streamed or x.body is None:
        return _Said(x.endpoint, x.request, x.heads, x.body, x.streamed, False)
    asked = {name: value for name, value in x.body.items() if name != "stream_options"} | {"stream": streamed}
    data = remove_member(add_member(x.request.body, "stream", orjson.dumps(streamed)), "stream_options")
    before = x.request
    request = Request(before.method, before.target, before.path, before.query, before.headers, data, before.keep_alive, before.chunks)
    return _Said(x.endpoint, request, x.heads, asked, streamed, False)


def _child(x: Exchange, candidate: Candidate, purpose: Purpose, said: _Said, buffer: Buffer) -> Exchange:
    """The exchange of a call made for `x`. It belongs to the instant at which its request came in, as all that the request costs does."""
    return Exchange(
        said.endpoint,
        said.request,
        buffer,
        new_id(x.admitted_ns),
        x.admitted_ns,
        time.perf_counter(),
        said.heads,
        body=said.body,
        streamed=said.streamed,
        wants_usage=x.wants_usage and said.streamed,
        asked_for=x.asked_for,
        tags=x.tags,
        key_id=x.key_id,
        key=x.key,
        scope=x.scope,
        sla=x.sla,
        tenant=x.tenant,
        target=x.target,
        permitted=x.permitted,
        tiers=None if said.own else x.tiers,
        cache_key=None if said.own else x.cache_key,
        waited_s=x.waited_s,
        purpose=purpose,
        parent=x.id if x.purpose is None else x.parent,
        payer=x,
        plan=(candidate,),
        primary=candidate,
    )
