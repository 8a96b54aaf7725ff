"""One request on its way: what is known of it so far. Steps fill it in order; `settle` reads it."""

import asyncio
import re
import time
from collections.abc import Sequence
from random import getrandbits
from typing import Any, Final
from urllib.parse import quote

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import Attempt, CacheDecision, CacheOutcome, Outcome, UsageRecord
from penstock.domain.ledger.request_id import RANDOM_BITS, request_id
from penstock.domain.ledger.routed import Observation, Purpose, RouteDecision
from penstock.domain.routing.course import Course
from penstock.gateway.heads import Heads, read_heads
from penstock.gateway.purses import Held, Purse
from penstock.gateway.refusal import Refusal
from penstock.gateway.semantic.look import Found, Look
from penstock.gateway.targets import Candidate, Target
from penstock.ports.cache import CachedAnswer
from penstock.ports.key_store import ApiKey
from penstock.wire.message import Headers, Request
from penstock.wire.responder import Responder

MODEL_ENDPOINTS = frozenset({"chat.completions", "completions", "embeddings", "responses", "messages"})
"""endpoints whose body must name a model; all others are passed through, by their path"""
STREAM_ENDPOINTS = frozenset({"chat.completions", "completions"})
"""endpoints whose streams tell usage when asked, and end with a finish reason and `[DONE]`"""
UNWORKED = frozenset({"/v1/messages/count_tokens", "/v1/responses/input_tokens"})
"""passed-through paths at which a model is named but does nothing: they count tokens, and cost none"""
LOOKING = frozenset({"GET", "HEAD", "DELETE"})
"""methods that make no model work; a stored response that is looked at shows usage that was metered when it was made"""

FREE: Final = re.compile(r"/v1/(files|uploads(/[\w-]+/(parts|complete|cancel))?|(batches|messages/batches|responses)/[\w-]+/cancel)")
"""other passed-through paths that no provider takes money for: what is uploaded, and what is called off"""
UNFINISHED = ("queued", "in_progress")
"""statuses of a response that is still being made"""

LONGEST_ENDPOINT = 100
"""characters of a passed-through path that the ledger keeps"""
_SAFE = "/:@!$&'()*+,;=~"


def passed_path(path: str) -> str:
    """A decoded path as an upstream and the ledger may see it: what could break a line is percent-encoded again."""
    return quote(path, _SAFE)


def new_id(admitted_ns: int) -> str:
    """A fresh id for a request admitted at that instant."""
    return request_id(admitted_ns, getrandbits(RANDOM_BITS))


class Answer(msgspec.Struct):
    """A whole answer waiting to be sent once its record is on the journal."""

    status: int
    headers: Headers
    body: bytes


class Wasted(msgspec.Struct, frozen=True):
    """A try that brought no answer; `usage`, `service_tier` and `calls` are what its upstream said of it all the same."""

    candidate: Candidate
    usage: dict[str, Any] | None = None
    service_tier: object = None
    calls: dict[str, int] = {}
    duration_us: int = 0
    """how long it was at work, at most"""


class Exchange(msgspec.Struct):
    """The state of one request. Money is nano-USD, times are nanoseconds (`*_ns`) or monotonic seconds (`*_at`)."""

    endpoint: str
    request: Request
    responder: Responder
    id: str
    admitted_ns: int
    started_at: float
    heads: Heads

    # what the body says
    body: dict[str, Any] | None = None
    streamed: bool = False
    wants_usage: bool = False
    asked_for: str | None = None
    """the model's name in the body, known here or not"""

    # who and what for
    tags: dict[str, str] = {}
    key_id: str | None = None
    key: ApiKey | None = None
    scope: tuple[str, ...] = ()
    sla: str | None = None
    tenant: str = ""
    """who waits its turn with others of its class: the key's `tenant` tag, else the key, else the team"""
    target: Target | None = None
    permitted: frozenset[str] | None = None
    """upstreams that the rules leave; None: any"""
    tiers: frozenset[str] | None = None
    """tiers that the key is for; None: any, and models without one"""

    # what it may cost
    reserved: int | None = None
    worst_tokens: Tokens | None = None
    caps: Sequence[Purse] = ()
    """of the hard caps that it falls under"""
    held: Sequence[Held] = ()
    """what it holds of them"""
    rates: Sequence[Purse] = ()
    """of the rate limits that it falls under"""
    journaled: Candidate | None = None
    """whom the reservation on the journal names; None: there is none"""
    rated: Sequence[Held] = ()

    # how it is answered
    cache: CacheOutcome = "bypass"
    cache_key: bytes | None = None
    hit: CachedAnswer | None = None
    look: Look | None = None
    """the question, where such ones are answered by meaning and learned from"""
    looking: asyncio.Task[Found] | None = None
    """a look-up by meaning that runs beside the call"""
    cache_decision: CacheDecision | None = None
    would_cache: CacheOutcome | None = None
    """what the cache would have answered with, where it only watched or was probed"""
    embedding_cost: int | None = 0
    """nano-USD of looking by meaning; None: it has no price"""
    embedding_guessed: bool = False
    """its tokens are estimated"""
    embedding_own: bool = False
    """a fleet of our own made the embedding"""
    embedding_held: Sequence[Held] = ()
    """what is held of hard caps for it"""
    waited_s: float = 0.0
    """how long it has waited for places at upstreams; endless: it may wait no more"""
    complexity: float | None = None
    course: Course | None = None
    """the stages that a judged route goes through; None: the plan is asked in its order"""
    decision: RouteDecision | None = None
    asides: list[UsageRecord] = []
    """lines of calls made for this request that are not its answer, journaled with its record"""
    conversation: str | None = None
    """whose tier is kept to, where its route does that"""
    observed: Observation | None = None
    """what its record tells as evidence: of all tiers, or of the answer before, where it is asked again"""
    purpose: Purpose | None = None
    """of an exchange that is such a call itself"""
    parent: str | None = None
    """the request that it is made for"""
    payer: "Exchange | None" = None
    """the exchange of that request, whose reservation the call draws on"""
    helpers: list["Exchange"] = []
    """the exchanges of such calls that are under way, or not told yet whether they answer it"""
    booked: list["Exchange"] = []
    """those of `asides`, one for each"""
    stage: int = 0
    """how many stages of its path it has begun"""
    ended_at: float | None = None
    """when such a call came to its end; None: it is now"""
    plan: tuple[Candidate, ...] = ()
    primary: Candidate | None = None
    """the strategy's choice, permitted or not"""
    steered: str | None = None
    """what sent it to another model than its route did: `budget:<name>`, or the id of a directive"""
    steered_from: str | None = None
    """the model that would have been asked first otherwise"""
    candidate: Candidate | None = None
    called_at: str | None = None
    """the endpoint at which the upstream was called, where it is not the client's: the answer comes in its dialect"""
    replica: str | None = None
    attempts: list[Attempt] = []
    route: list[str] = []
    worked: bool = False
    """the answer at hand is one that an upstream worked for"""
    wasted: list[Wasted] = []
    """tries that may have been worked for, but brought no answer: timed out, broken off, left by the client, not to be translated"""

    # what came back
    answer: Answer | None = None
    parsed: dict[str, Any] | None = None
    """the answer's JSON"""
    tail: bytes | None = None
    """the last bytes of a stream, held until its record is on the journal"""
    stream_events: int = 0
    """events of a stream that carried something: what its output is estimated from when no usage came"""
    stream_text: int = 0
    """bytes of text that a stream brought, nearly: see `TextSeen`"""
    kept: bytes | None = None
    """all events of a complete stream, without usage and `[DONE]`, for the cache"""
    status: int = 0
    outcome: Outcome = "ok"
    error: str | None = None
    refusal: Refusal | None = None
    usage: dict[str, Any] | None = None
    usage_begun: bool = False
    """the usage is what a stream of messages began with: its input is counted, its output is still to come"""
    service_tier: object = None
    """how the upstream says that it served the call, as told in the answer beside its usage"""
    calls: dict[str, int] = {}
    """calls of the provider's own tools that the answer shows, by part"""
    told_usage: dict[str, Any] | None = None
    """the usage as the client was told it, where a translation has changed its form"""
    finish_reason: str | None = None
    response_id: str | None = None
    response_model: str | None = None
    first_token_at: float | None = None

    @property
    def costs_nothing(self) -> bool:
        """Whether no model works for such a call, whatever is answered."""
        return self.endpoint in UNWORKED or self.request.method in LOOKING or FREE.fullmatch(self.endpoint) is not None

    @property
    def keeps_stream(self) -> bool:
        """Whether the events of its stream are wanted when they have been passed on: for the cache, or to be measured beside others."""
        return self.cache_key is not None or (self.decision is not None and self.decision.shadowed)

    def may_use(self, upstream: str, tier: str | None) -> bool:
        """Whether rules and key let this upstream answer, under this tier."""
        return (self.permitted is None or upstream in self.permitted) and (self.tiers is None or tier in self.tiers)

    def begin_try(self, candidate: Candidate, replica: str) -> None:
        """Names who is asked next; nothing that an earlier try said may be taken for this one's."""
        self.candidate, self.replica = candidate, replica
        self.answer = self.parsed = self.usage = self.told_usage = self.finish_reason = self.response_id = self.response_model = None
        self.service_tier = self.first_token_at = None
        self.calls = {}
        self.worked = self.usage_begun = False
        self.stream_events = self.stream_text = 0
        if not self.route or self.route[-1] != candidate.label:
            self.route.append(candidate.label)


def begin(endpoint: str, request: Request, responder: Responder) -> Exchange:
    """A request at the instant of its admission."""
    admitted_ns = time.time_ns()
    return Exchange(
        endpoint[:LONGEST_ENDPOINT], request, responder, new_id(admitted_ns), admitted_ns, time.perf_counter(), read_heads(request.headers)
    )
