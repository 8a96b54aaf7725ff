"""What a request used and cost, from what its upstream said of it; without a word of usage, an estimate that says so."""

from collections.abc import Sequence

import msgspec

from penstock.domain.dialects.content import text_bytes
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.dialects.usage import UsageError, estimate_tokens, tokens_from_usage
from penstock.domain.ledger.costing import counterfactual, price_call, price_recall
from penstock.domain.ledger.record import Basis
from penstock.domain.units import format_usd
from penstock.gateway.bounds import worst_case_of
from penstock.gateway.exchange import LOOKING, UNWORKED, Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.targets import Candidate
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
    wasted, _ = _whole(gateway, x, x.wasted)
    cost = None if priced.cost is None else priced.cost + (wasted or 0)
    guessed = cost is not None and (basis == "estimated" or bool(x.wasted))
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
    """Nothing came back: nothing to pay if nothing was worked for, else each try is booked whole, as after a crash."""
    if not x.wasted:
        return Metered(NO_TOKENS, "measured", cost=0, list_cost=0, counterfactual=0)
    cost, tokens = _whole(gateway, x, x.wasted)
    if tokens is None:
        return Metered(NO_TOKENS, "unknown", cost_basis="unknown", wasted_cost=None)
    return Metered(tokens, "estimated", cost=cost, cost_basis="unknown" if cost is None else "estimated", wasted_cost=cost)


def _whole(gateway: Gateway, x: Exchange, wasted: Sequence[Candidate]) -> tuple[int | None, Tokens | None]:
    """The worst cases of tries, added up; None where one of them has no bound."""
    total: int | None = 0
    tokens: Tokens | None = NO_TOKENS
    for candidate in wasted:
        cost, most = worst_case_of(gateway, x, (candidate,))
        total = None if total is None or cost is None else total + cost
        tokens = None if tokens is None or most is None else tokens.plus(most)
    return total, tokens


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
