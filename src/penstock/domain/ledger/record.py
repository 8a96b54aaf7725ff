"""The usage record, one immutable row per request and per call made beside one, and the reservation that stands for it while it runs.

Field names are the words of the reports. Times are unix nanoseconds (UTC) or microseconds of duration, money is
nano-USD, None means unknown. A field at its default is left out of the journal, so adding one is compatible.
"""

from typing import Literal

import msgspec

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.routed import Observation, Purpose, RouteDecision

Outcome = Literal["ok", "error", "refused", "client_closed", "stream_broken", "interrupted"]
CacheOutcome = Literal["exact", "normalised", "semantic", "miss", "bypass"]
REPLAYED = ("exact", "normalised", "semantic")
"""cache outcomes of answers that no model made again"""
Basis = Literal["measured", "estimated", "unknown"]


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try of one upstream replica: what `penstock explain` shows of retries and fallbacks."""

    model: str
    upstream: str
    replica: str
    status: int | None
    duration_us: int
    error: str | None = None
    started_us: int | None = None
    """when it began, from the admission on; None on records of before this was kept"""


class WastedWork(msgspec.Struct, frozen=True, array_like=True):
    """What a try on own hardware may have worked for, though no answer came of it: its share of the hour is waste."""

    fleet: str
    tokens: Tokens


class CacheDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the semantic cache made of a request: what `penstock explain` shows of it."""

    verdict: Literal["served", "probe", "refused", "nothing", "unfit", "unavailable"]
    """`probe`: could be served, was asked all the same; `refused`: what was near was not near enough; `nothing`: nothing was near;
    `unfit`: such requests are never answered by meaning; `unavailable`: the embedder or the store did not answer"""
    mode: Literal["zero-trust", "learned", "shadow"]
    """the mode that decided; an alarm turns `learned` into `zero-trust`"""
    entry: str | None = None
    """the request whose answer was, or would have been, served"""
    similarity: float | None = None
    """cosine"""
    risk: float | None = None
    """probability that its answer is wrong, as judged"""
    threshold: float | None = None
    """the most risk that was served at that moment; in zero-trust the least similarity"""
    propensity: float | None = None
    """probability with which such a request was served"""
    guards: tuple[str, ...] = ()
    """differences that spoke against it: `numbers`, `negation` ..."""
    reason: str | None = None
    """why it was unfit, or what was not available"""
    embedding_us: int | None = None


class Reservation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money held for a request in flight, journaled before the upstream is called.

    If no record follows (crash, kill), the request is booked whole from this: `worst_case` nano-USD, marked estimated.
    """

    id: str
    admitted_ns: int
    endpoint: str
    model: str | None
    upstream: str
    worst_case: int | None
    worst_tokens: Tokens | None = None
    requested_model: str | None = None
    tier: str | None = None
    fleet: str | None = None
    model_version: str | None = None
    optimization: str | None = None
    gpu: str | None = None
    instance: str | None = None
    region: str | None = None
    tags: dict[str, str] = {}
    key_id: str | None = None
    streamed: bool = False
    traceparent: str | None = None
    writer: str | None = None
    steered: str | None = None
    steered_from: str | None = None
    purpose: Purpose | None = None
    parent: str | None = None


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to one request, and what it cost."""

    id: str
    admitted_ns: int
    """the instant of admission: the period that the record belongs to"""
    endpoint: str
    """`chat.completions`, `completions`, `embeddings`, or the path for what is passed through"""
    status: int
    """HTTP status that the client got (499: it went away first)"""
    outcome: Outcome

    requested_model: str | None = None
    model: str | None = None
    """configured name of the model that answered"""
    response_model: str | None = None
    """what the upstream called itself"""
    model_version: str | None = None
    optimization: str | None = None
    tier: str | None = None
    sla: str | None = None
    upstream: str | None = None
    upstream_endpoint: str | None = None
    """the endpoint at which the upstream was called, where the call was translated; None: the client's own"""
    replica: str | None = None
    fleet: str | None = None
    gpu: str | None = None
    instance: str | None = None
    region: str | None = None
    tags: dict[str, str] = {}
    key_id: str | None = None
    streamed: bool = False

    cache: CacheOutcome = "miss"
    cache_source: str | None = None
    """id of the request whose answer was replayed"""
    route: str | None = None
    """tiers (or models) tried in order: `small>large`"""
    strategy: str | None = None
    complexity: float | None = None
    propensity: float | None = None
    """probability with which the route was chosen; None when the choice was not random"""
    attempts: tuple[Attempt, ...] = ()
    """every try, unless the first one succeeded: that one is the record itself"""
    error: str | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    traceparent: str | None = None
    """the caller's span (W3C), when it sent one"""

    tokens: Tokens = NO_TOKENS
    """processed by models for this request; a cache hit processes none"""
    recalled: Tokens = NO_TOKENS
    """tokens of a replayed answer: served, but not processed again"""
    tokens_basis: Basis = "measured"
    parts: dict[str, int] = {}
    """what of the tokens has a price of its own, and calls of tools that are billed beside them (`dialects.tokens.PARTS`)"""
    processing: str | None = None
    """`batch`, `flex` or `priority`, as the provider said; None: standard"""
    first_token_us: int | None = None
    duration_us: int = 0

    price_id: str | None = None
    price_version: str | None = None
    cost: int | None = None
    """billed to us; None: unpriced"""
    list_cost: int | None = None
    """what the answer would have cost from the same model without cache"""
    input_cost: int | None = None
    """the input side of `list_cost`; the rest of it is for output"""
    provisional: int | None = None
    """the part of `cost` for work of own fleets, which allocation replaces; None: all of it where `fleet` is set, else nothing"""
    wasted_work: tuple[WastedWork, ...] = ()
    """tries on own fleets that brought no answer; where the request got none, all that own fleets did for it"""
    wasted_cost: int | None = 0
    """the part of `cost` for tries that brought no answer but may have been worked for, each booked whole; None: there were some at
    providers, and nothing bounds them. All that is booked where `cost` is None on an own fleet: see `is_unbooked`"""
    cost_basis: Basis = "measured"
    counterfactual: int | None = None
    """what the configured baseline would have cost"""
    baseline: str | None = None
    """the model that the counterfactual is priced on"""
    reserved: int | None = None
    writer: str | None = None
    """the data worker that served it: what it had spent of a budget when it died is read from its records"""
    steered: str | None = None
    """what sent it to another model than its route did: `budget:<name>`, or the id of a directive"""
    steered_from: str | None = None
    """the model that would have been asked first otherwise"""
    cache_decision: CacheDecision | None = None
    would_cache: CacheOutcome | None = None
    """what the cache would have answered with, where it only watched (mode `shadow`) or was probed; None: nothing"""
    embedding_cost: int | None = 0
    """the part of `cost` for the embedding that looked for an answer; None: it has no price"""
    purpose: Purpose | None = None
    """what a call was made for that answered no client: it costs, but is no request of its own; None: it answered one"""
    parent: str | None = None
    """the request that such a call was made for"""
    route_decision: RouteDecision | None = None
    observed: Observation | None = None
    """of the last shadow of a request: what all tiers made of it"""


def is_aside(record: UsageRecord) -> bool:
    """A call made for a request that is not its answer: it costs, but is no request."""
    return record.purpose is not None


def is_embedding_unknown(record: UsageRecord) -> bool:
    """Looked for an answer by an embedding without a price. Without a decision there was no embedding, so nothing to pay for it."""
    return record.embedding_cost is None and record.cache_decision is not None


def is_unbooked(record: UsageRecord) -> bool:
    """Worked for by an own fleet that has no price to book it at: its hours tell what it cost, `wasted_cost` what tries elsewhere did,
    and `embedding_cost` what looking for an answer did. Where one of these is unknown, the record is unpriced."""
    unpriced = record.cost is None and record.fleet is not None
    return unpriced and record.wasted_cost is not None and not is_embedding_unknown(record)


def booked_of(record: UsageRecord) -> int | None:
    """Nano-USD that a record adds to the books: its cost, or what is known beside its fleet's work where it is unbooked. None: unpriced."""
    if not is_unbooked(record):
        return record.cost
    return (record.wasted_cost or 0) + (record.embedding_cost or 0)


def provisional_of(record: UsageRecord) -> int:
    """Nano-USD of what is booked that no provider bills: work of own fleets, at the rate it was booked at."""
    if booked_of(record) is None:
        return 0
    if record.provisional is not None:
        return record.provisional
    return (record.cost or 0) if record.fleet is not None else 0


def billed_of(record: UsageRecord) -> int:
    """Nano-USD that providers bill for a record, as far as it is known."""
    return (booked_of(record) or 0) - provisional_of(record)


def own_tokens(record: UsageRecord) -> Tokens:
    """The tokens that count as work of the fleet that the record names, beside its `wasted_work`.

    Without an answer the record's tokens are a bound over all tries, at providers too, which `wasted_work` replaces. A record
    without it was written before it was kept: only what a process held when it died is known to be a bound then.
    """
    told = record.outcome == "ok" or (not record.wasted_work and record.outcome != "interrupted")
    return record.tokens if told else NO_TOKENS
