"""What a request used and cost, from what its upstream said of it; without a word of usage, an estimate that says so."""

import msgspec

from penstock.domain.dialects.content import text_bytes
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.dialects.usage import UsageError, estimate_tokens, priced_apart, tokens_from_usage
from penstock.domain.ledger.costing import counterfactual, price_call, price_recall
from penstock.domain.ledger.record import Basis
from penstock.domain.units import format_usd
from penstock.gateway.bounds import worst_case_of
from penstock.gateway.exchange import LOOKING, UNFINISHED, UNWORKED, Exchange, Wasted
from penstock.gateway.gateway import Gateway
from penstock.wire.message import Headers


class Metered(msgspec.Struct, frozen=True):
    """Tokens and money (nano-USD, None: unknown) of one request."""

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


def meter(gateway: Gateway, x: Exchange) -> Metered:
    """The figures of a request as far as it has come."""
    if x.hit is not None:
        return _of_hit(gateway, x)
    if not x.worked or x.endpoint in UNWORKED or x.request.method in LOOKING:
        return _without_answer(gateway, x)
    tokens, basis = measure(x)
    model = x.candidate.model if x.candidate is not None and x.target is not None else None
    if model is None:
        return Metered(tokens, basis, cost_basis="unknown")
    priced = price_call(gateway.prices, model, tokens, x.admitted_ns)
    wasted, _, sure = _wasted(gateway, x)
    cost = None if priced.cost is None else priced.cost + (wasted or 0)
    guessed = basis == "estimated" or not sure or (x.usage is not None and priced_apart(x.usage))
    return Metered(
        tokens,
        basis,
        cost=cost,
        list_cost=priced.list_cost,
        cost_basis="unknown" if cost is None else "estimated" if guessed else priced.cost_basis,
        wasted_cost=wasted,
        price_id=priced.price_id,
        price_version=priced.price_version,
        counterfactual=counterfactual(gateway.prices, gateway.baseline, model, tokens, x.admitted_ns),
    )


def _without_answer(gateway: Gateway, x: Exchange) -> Metered:
    """Nothing came back: nothing to pay if nothing was worked for, else what the tries cost."""
    if not x.wasted:
        return Metered(NO_TOKENS, "measured", cost=0, list_cost=0, counterfactual=0)
    cost, tokens, sure = _wasted(gateway, x)
    if tokens is None:
        return Metered(NO_TOKENS, "unknown", cost_basis="unknown", wasted_cost=None)
    basis: Basis = "measured" if sure else "estimated"
    return Metered(tokens, basis, cost=cost, cost_basis="unknown" if cost is None else basis, wasted_cost=cost)


def _wasted(gateway: Gateway, x: Exchange) -> tuple[int | None, Tokens | None, bool]:
    """Cost and tokens of the tries that brought no answer, added up, and whether they are known exactly.

    A try that told no usage is booked whole, as after a crash: at its worst case. None where one of them has no bound.
    """
    total: int | None = 0
    tokens: Tokens | None = NO_TOKENS
    sure = True
    for each in x.wasted:
        cost, most, measured = _wasted_try(gateway, x, each)
        sure = sure and measured
        total = None if total is None or cost is None else total + cost
        tokens = None if tokens is None or most is None else tokens.plus(most)
    return total, tokens, sure


def _wasted_try(gateway: Gateway, x: Exchange, wasted: Wasted) -> tuple[int | None, Tokens | None, bool]:
    if wasted.usage is not None:
        try:
            told = tokens_from_usage(wasted.usage)
        except UsageError as error:
            x.error = x.error or f"usage not credible: {error}"
        else:
            priced = price_call(gateway.prices, wasted.candidate.model, told, x.admitted_ns)
            return priced.cost, told, priced.cost_basis == "measured" and not priced_apart(wasted.usage)
    return *worst_case_of(gateway, x, (wasted.candidate,)), False


def _of_hit(gateway: Gateway, x: Exchange) -> Metered:
    """A replayed answer: nothing processed, nothing paid, and what it would have cost to make again."""
    hit = x.hit
    assert hit is not None
    priced = price_recall(gateway.prices, hit.model, hit.tokens, x.admitted_ns)
    return Metered(
        NO_TOKENS,
        "measured",
        hit.tokens,
        cost=priced.cost,
        list_cost=priced.list_cost,
        price_id=priced.price_id,
        price_version=priced.price_version,
        counterfactual=counterfactual(gateway.prices, gateway.baseline, hit.model, hit.tokens, x.admitted_ns),
    )


def measure(x: Exchange) -> tuple[Tokens, Basis]:
    """The tokens that models processed for this request, and how we know."""
    if x.usage is not None:
        try:
            told = tokens_from_usage(x.usage)
            if not x.usage_begun:
                return told, "measured"
            return Tokens(told.uncached_input, told.cache_read, told.cache_write, max(told.output, x.stream_events), 0), "estimated"
        except UsageError as error:
            x.error = x.error or f"usage not credible: {error}"
    if x.worst_tokens is not None and x.parsed is not None and x.parsed.get("status") in UNFINISHED:
        return x.worst_tokens, "estimated"  # works on in the background, and its end is never told to us: booked whole
    if x.endpoint == "embeddings":
        answered = 0
    elif x.stream_events:
        answered = x.stream_events
    else:
        answered = estimate_tokens(len(x.answer.body)) if x.answer is not None else 0
    asked = estimate_tokens(text_bytes(x.body)) if x.body is not None else 0
    return Tokens(asked, 0, 0, answered, 0), "estimated"


def own_headers(x: Exchange, cost: int | None = None, *, cost_known: bool = False) -> Headers:
    """The `penstock-*` headers of an answer; `cost_known` is False where it is told elsewhere (on streams)."""
    headers = [(b"penstock-request-id", x.id.encode()), (b"penstock-cache", x.cache.encode())]
    if x.candidate is not None:
        if x.target is not None:
            headers.append((b"penstock-model", x.candidate.model.encode()))
        if x.candidate.tier is not None:
            headers.append((b"penstock-tier", x.candidate.tier.encode()))
        headers.append((b"penstock-route", ">".join(x.route or (x.candidate.label,)).encode()))
    if cost_known:
        headers.append((b"penstock-cost-usd", (format_usd(cost) or "unknown").encode()))
    return headers
