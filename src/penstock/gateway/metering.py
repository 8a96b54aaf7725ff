"""What a request used and cost, from what its upstream said of it; without a word of usage, an estimate that says so."""

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.domain.dialects.content import text_bytes
from penstock.domain.dialects.processing import processing_of
from penstock.domain.dialects.tokens import CLASS_OF_PART, NO_TOKENS, Tokens
from penstock.domain.dialects.usage import MeteredUsage, estimate_tokens, metered_usage
from penstock.domain.dialects.usage_fields import UsageError
from penstock.domain.dialects.usage_parts import Made
from penstock.domain.ledger.costing import Priced, counterfactual, price_call, price_recall
from penstock.domain.ledger.record import Basis, UsageRecord, WastedWork, booked_of
from penstock.domain.units import format_usd
from penstock.gateway.bounds import worst_case_of
from penstock.gateway.exchange import UNFINISHED, Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.purses import budget_left
from penstock.gateway.rates import rate_headers
from penstock.gateway.routing.path import path_of
from penstock.gateway.wasting import WastedTries, wasted_tries
from penstock.wire.message import Headers

_MADE: Final[tuple[tuple[str, Made], ...]] = (("/v1/images/", "image"), ("/v1/audio/speech", "audio"))
"""passed-through paths whose answers are not text, though their usage may not say so"""
_OUTPUT_CLASSES: Final = ("visible_output", "reasoning")
_BROKEN: Final = frozenset({"client_closed", "stream_broken", "interrupted"})
"""outcomes of streams that may have had more to tell"""


class Metered(msgspec.Struct, frozen=True):
    """Tokens and money (nano-USD, None: unknown) of one request. Field names are those of the usage record."""

    tokens: Tokens
    tokens_basis: Basis
    recalled: Tokens = NO_TOKENS
    cost: int | None = None
    list_cost: int | None = None
    cost_basis: Basis = "measured"
    wasted_cost: int | None = 0
    price_id: str | None = None
    price_version: str | None = None
    counterfactual: int | None = None
    parts: dict[str, int] = {}
    processing: str | None = None
    input_cost: int | None = None
    provisional: int | None = None
    wasted_work: tuple[WastedWork, ...] = ()


def meter(gateway: Gateway, x: Exchange) -> Metered:
    """The figures of a request as far as it has come, with what it cost to look for an answer by meaning."""
    metered = _metered(gateway, x)
    return metered if x.embedding_cost == 0 else _with_embedding(x, metered, x.embedding_cost)


def _with_embedding(x: Exchange, metered: Metered, embedding: int | None) -> Metered:
    """Nano-USD of the embedding are part of the cost, and of what no provider bills where a fleet of our own made it."""
    own = x.candidate is not None and x.candidate.fleet is not None
    if embedding is None:
        return msgspec.structs.replace(metered, cost=None, cost_basis="unknown")
    if metered.cost is None and not own:
        return metered
    cost = None if metered.cost is None else metered.cost + embedding
    before = metered.provisional if metered.provisional is not None else (metered.cost or 0) if own else 0
    part = before + (embedding if x.embedding_own else 0)
    basis: Basis = "estimated" if x.embedding_guessed and metered.cost_basis == "measured" else metered.cost_basis
    return msgspec.structs.replace(metered, cost=cost, cost_basis=basis, provisional=None if part == ((cost or 0) if own else 0) else part)


def _metered(gateway: Gateway, x: Exchange) -> Metered:
    if x.hit is not None:
        return _of_hit(gateway, x)
    if x.costs_nothing or not (x.worked or x.wasted):
        return Metered(NO_TOKENS, "measured", cost=0, list_cost=0, input_cost=0, counterfactual=0)
    if not x.worked:
        return _without_answer(x, wasted_tries(gateway, x))
    seen, basis, ended = measure(x)
    bound, most = (x.reserved, x.worst_tokens) if ended or path_of(x) is None else _bound_of_one(gateway, x)
    used = seen if ended else _at_most(most, seen)
    processing = processing_of(x.usage, x.service_tier)
    model = x.candidate.model if x.candidate is not None and x.target is not None else None
    if model is None:
        return Metered(used.tokens, basis, cost_basis="unknown", parts=used.parts, processing=processing)
    priced = price_call(gateway.prices, model, used.tokens, x.admitted_ns, used.parts, processing)
    wasted = wasted_tries(gateway, x)
    answered = priced.cost if ended else _as_reserved(bound, priced.cost, wasted)
    cost = None if answered is None else answered + wasted.cost
    guessed = basis == "estimated" or not wasted.exact or bool(priced.lacking) or _in_doubt(gateway, x, model, used, priced)
    return Metered(
        used.tokens,
        basis,
        cost=cost,
        list_cost=priced.list_cost,
        cost_basis="unknown" if cost is None else "estimated" if guessed else priced.cost_basis,
        wasted_cost=wasted.cost if wasted.known else None,
        price_id=priced.price_id,
        price_version=priced.price_version,
        counterfactual=_counterfactual(gateway, x, model, used, processing, priced),
        parts=used.parts,
        processing=processing,
        input_cost=priced.input_cost,
        provisional=_provisional(x, cost, answered, wasted),
        wasted_work=wasted.work if x.outcome == "ok" else (*wasted.work, *_own_work(x, seen.tokens)),
    )


def _without_answer(x: Exchange, wasted: WastedTries) -> Metered:
    """Nothing came back: what the tries cost. An own fleet that did nothing for it is told so, for the tokens are those of all tries."""
    own = x.candidate is not None and x.candidate.fleet is not None
    cost = None if not wasted.known or (wasted.unbooked and own) else wasted.cost
    basis: Basis = "measured" if wasted.exact else "estimated"
    return Metered(
        NO_TOKENS if wasted.tokens is None else wasted.tokens,
        "unknown" if wasted.tokens is None else basis,
        cost=cost,
        cost_basis="unknown" if cost is None else basis,
        wasted_cost=wasted.cost if wasted.known else None,
        provisional=_provisional(x, cost, 0, wasted),
        wasted_work=wasted.work or _own_work(x, NO_TOKENS),
    )


def _own_work(x: Exchange, tokens: Tokens) -> tuple[WastedWork, ...]:
    """What the last candidate did in vain, where that is an own fleet."""
    fleet = x.candidate.fleet if x.candidate is not None else None
    return (WastedWork(fleet.name, tokens),) if fleet is not None else ()


def _in_doubt(gateway: Gateway, x: Exchange, model: str, used: MeteredUsage, priced: Priced) -> bool:
    """Whether the body leaves open what its tokens were, and that makes a difference in money."""
    if used.otherwise is None or priced.cost is None:
        return False
    processing = processing_of(x.usage, x.service_tier)
    return price_call(gateway.prices, model, used.tokens, x.admitted_ns, used.otherwise, processing).cost != priced.cost


def _counterfactual(gateway: Gateway, x: Exchange, model: str, used: MeteredUsage, processing: str | None, priced: Priced) -> int | None:
    """What the baseline would have cost; the price just found, where that is the same model's."""
    baseline = gateway.baseline
    if baseline is None or (baseline == model and processing is None):
        return priced.list_cost
    return counterfactual(gateway.prices, baseline, model, used.tokens, x.admitted_ns, used.parts, processing)


def _provisional(x: Exchange, cost: int | None, answered: int | None, wasted: WastedTries) -> int | None:
    """The part of the cost for work of own fleets; None where `record.provisional_of` says the same by itself."""
    own = x.candidate is not None and x.candidate.fleet is not None
    if cost is None and not (own and wasted.known):
        return None
    part = ((answered or 0) if own else 0) + wasted.provisional
    return None if part == ((cost or 0) if own else 0) else part


def _of_hit(gateway: Gateway, x: Exchange) -> Metered:
    """A replayed answer: nothing processed, nothing paid but for a call that was begun beside the look-up, and what it would have cost
    to make again."""
    hit = x.hit
    assert hit is not None
    priced = price_recall(gateway.prices, hit.model, hit.tokens, x.admitted_ns, hit.parts, hit.processing)
    wasted = wasted_tries(gateway, x)
    own = x.candidate is not None and x.candidate.fleet is not None
    cost = None if not wasted.known or (wasted.unbooked and own) else wasted.cost
    return Metered(
        NO_TOKENS,
        "measured",
        hit.tokens,
        cost=cost,
        cost_basis="unknown" if cost is None else "measured" if wasted.exact else "estimated",
        wasted_cost=wasted.cost if wasted.known else None,
        provisional=_provisional(x, cost, 0, wasted),
        wasted_work=wasted.work,
        list_cost=priced.list_cost,
        price_id=priced.price_id,
        price_version=priced.price_version,
        counterfactual=counterfactual(gateway.prices, gateway.baseline, hit.model, hit.tokens, x.admitted_ns, hit.parts, hit.processing),
        input_cost=priced.input_cost,
    )


def measure(x: Exchange) -> tuple[MeteredUsage, Basis, bool]:
    """What models processed for this request as far as it was seen, how we know, and whether that is all that will be booked for it.

    It is not where the end was not seen: of what is held against a cap, and of work in the background, which goes on without us.
    """
    stands = bool(x.held) or _in_background(x)
    if x.usage is not None:
        try:
            told = metered_usage(x.usage, x.calls, _made(x.endpoint))
            if x.usage_begun:
                return _as_begun(told, _streamed_tokens(x)), "estimated", not stands
            broken = stands and x.streamed and x.finish_reason is None and x.outcome in _BROKEN
            return told, "estimated" if broken else "measured", not broken
        except UsageError as error:
            x.error = x.error or f"usage not credible: {error}"
    if x.endpoint == "embeddings":
        answered = 0
    elif x.stream_events:
        answered = _streamed_tokens(x)
    else:
        answered = estimate_tokens(len(x.answer.body)) if x.answer is not None else 0
    asked = estimate_tokens(text_bytes(x.body)) if x.body is not None else 0
    return MeteredUsage(Tokens(asked, 0, 0, answered, 0), dict(x.calls)), "estimated", not stands


def _in_background(x: Exchange) -> bool:
    """Whether a response is made in the background: its client may leave and look at it later, and its end is never told to us."""
    if x.parsed is not None:
        return x.parsed.get("status") in UNFINISHED
    return x.streamed and x.finish_reason is None and x.endpoint == "responses" and x.body is not None and bool(x.body.get("background"))


def _streamed_tokens(x: Exchange) -> int:
    """An event is about a token, unless it brings more text than that."""
    return max(x.stream_events, estimate_tokens(x.stream_text))


def _bound_of_one(gateway: Gateway, x: Exchange) -> tuple[int | None, Tokens | None]:
    """What is reserved for the call that answered, with the tries before it, where other calls were made under the same reservation."""
    assert x.candidate is not None
    cost, most = worst_case_of(gateway, x, (x.candidate,))
    return None if cost is None else cost + wasted_tries(gateway, x).cost, most


def _at_most(most: Tokens | None, seen: MeteredUsage) -> MeteredUsage:
    """What was seen, and all that is reserved beyond it."""
    if most is None:
        return seen
    further = Tokens(max(0, most.input - seen.tokens.input), 0, 0, max(0, most.output - seen.tokens.output), 0)
    return MeteredUsage(seen.tokens.plus(further), seen.parts)


def _as_reserved(reserved: int | None, cost: int | None, wasted: WastedTries) -> int | None:
    """What the answer is booked at whose end was not seen, in nano-USD: all that is reserved but for the tries before it."""
    return cost if cost is None or reserved is None else max(cost, reserved - wasted.cost)


def _as_begun(told: MeteredUsage, streamed: int) -> MeteredUsage:
    """The usage that a stream began with, and as output what came before it broke off."""
    entered = {name: number for name, number in told.parts.items() if CLASS_OF_PART[name] not in _OUTPUT_CLASSES}
    tokens = Tokens(told.tokens.uncached_input, told.tokens.cache_read, told.tokens.cache_write, max(told.tokens.output, streamed), 0)
    return MeteredUsage(tokens, entered)


def _made(endpoint: str) -> Made | None:
    if not endpoint.startswith("/"):
        return None
    return next((made for path, made in _MADE if endpoint.startswith(path)), None)


def aside_cost(asides: Sequence[UsageRecord]) -> int:
    """Nano-USD that calls made aside add to the books."""
    return sum(booked_of(each) or 0 for each in asides)


def whole_cost(x: Exchange, cost: int | None) -> int | None:
    """What a request costs with all calls made for it, as its client is told; None where any of them is unknown."""
    for each in x.asides:
        cost = None if cost is None or each.cost is None else cost + each.cost
    return cost


def own_headers(x: Exchange, cost: int | None = None, *, cost_known: bool = False) -> Headers:
    """The `penstock-*` headers of an answer; `cost_known` is False where it is told elsewhere (on streams)."""
    headers = [(b"penstock-request-id", x.id.encode()), (b"penstock-cache", x.cache.encode())]
    if x.hit is not None and x.cache != "exact":
        headers.append((b"penstock-cache-source", x.hit.request_id.encode()))
        if x.cache_decision is not None and x.cache_decision.similarity is not None:
            headers.append((b"penstock-cache-similarity", b"%.4f" % x.cache_decision.similarity))
    if x.candidate is not None:
        if x.target is not None:
            headers.append((b"penstock-model", x.candidate.model.encode()))
        if x.candidate.tier is not None:
            headers.append((b"penstock-tier", x.candidate.tier.encode()))
        headers.append((b"penstock-route", ">".join(x.route or (x.candidate.label,)).encode()))
    if cost_known:
        headers.append((b"penstock-cost-usd", (format_usd(cost) or "unknown").encode()))
    if x.caps and (left := budget_left(x.caps)) is not None:
        headers.append((b"penstock-budget-left-usd", (format_usd(left) or "unknown").encode()))
    if x.rates:
        headers += rate_headers(x)
    return headers
