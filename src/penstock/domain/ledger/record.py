"""The usage record, one immutable row per request, and the reservation that stands for it while it runs.

Field names are the words of the reports. Times are unix nanoseconds (UTC) or microseconds of duration, money is
nano-USD, None means unknown. A field at its default is left out of the journal, so adding one is compatible.
"""

from typing import Literal

import msgspec

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens

Outcome = Literal["ok", "error", "refused", "client_closed", "stream_broken", "interrupted"]
CacheOutcome = Literal["exact", "normalised", "semantic", "miss", "bypass"]
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
    tags: dict[str, str] = {}
    key_id: str | None = None
    streamed: bool = False
    traceparent: str | None = None


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
    first_token_us: int | None = None
    duration_us: int = 0

    price_id: str | None = None
    price_version: str | None = None
    cost: int | None = None
    """billed to us; None: unpriced"""
    list_cost: int | None = None
    """what the answer would have cost from the same model without cache"""
    wasted_cost: int | None = 0
    """the part of `cost` for tries that brought no answer but may have been worked for, each booked whole; None: there were some,
    and nothing bounds them"""
    cost_basis: Basis = "measured"
    counterfactual: int | None = None
    """what the configured baseline would have cost"""
    baseline: str | None = None
    """the model that the counterfactual is priced on"""
    reserved: int | None = None
