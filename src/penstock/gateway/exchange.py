"""One request on its way: what is known of it so far. Steps fill it in order; `settle` reads it."""

import time
from random import getrandbits
from typing import Any
from urllib.parse import quote

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import Attempt, CacheOutcome, Outcome
from penstock.gateway.heads import Heads, read_heads
from penstock.gateway.refusal import Refusal
from penstock.gateway.targets import Candidate, Target
from penstock.ports.cache import CachedAnswer
from penstock.wire.message import Headers, Request
from penstock.wire.responder import Responder

MODEL_ENDPOINTS = frozenset({"chat.completions", "completions", "embeddings"})
"""endpoints whose body must name a model; all others are passed through, by their path"""
STREAM_ENDPOINTS = frozenset({"chat.completions", "completions"})
"""endpoints whose streams tell usage when asked, and end with a finish reason and `[DONE]`"""

LONGEST_ENDPOINT = 100
"""characters of a passed-through path that the ledger keeps"""
_SAFE = "/:@!$&'()*+,;=~"


def passed_path(path: str) -> str:
    """A decoded path as an upstream and the ledger may see it: what could break a line is percent-encoded again."""
    return quote(path, _SAFE)


def new_id(admitted_ns: int) -> str:
    """`req_` + 12 hex digits of milliseconds + 16 random ones: unique, and in order of time."""
    return f"req_{admitted_ns // 1_000_000:012x}{getrandbits(64):016x}"


class Answer(msgspec.Struct):
    """A whole answer waiting to be sent once its record is on the journal."""

    status: int
    headers: Headers
    body: bytes


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
    scope: tuple[str, ...] = ()
    sla: str | None = None
    target: Target | None = None
    permitted: frozenset[str] | None = None

    # what it may cost
    reserved: int | None = None
    worst_tokens: Tokens | None = None

    # how it is answered
    cache: CacheOutcome = "bypass"
    cache_key: bytes | None = None
    hit: CachedAnswer | None = None
    complexity: float | None = None
    plan: tuple[Candidate, ...] = ()
    primary: Candidate | None = None
    """the strategy's choice, permitted or not"""
    candidate: Candidate | None = None
    replica: str | None = None
    attempts: list[Attempt] = []
    route: list[str] = []
    worked: bool = False
    """the answer at hand is one that an upstream worked for"""
    wasted: list[Candidate] = []
    """tries that may have been worked for, but brought no answer: timed out, broken off, left by the client"""

    # what came back
    answer: Answer | None = None
    parsed: dict[str, Any] | None = None
    """the answer's JSON"""
    tail: bytes | None = None
    """the last bytes of a stream, held until its record is on the journal"""
    stream_events: int = 0
    """events of a stream that carried something: what its output is estimated from when no usage came"""
    kept: bytes | None = None
    """all events of a complete stream, without usage and `[DONE]`, for the cache"""
    status: int = 0
    outcome: Outcome = "ok"
    error: str | None = None
    refusal: Refusal | None = None
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    response_model: str | None = None
    first_token_at: float | None = None


def begin(endpoint: str, request: Request, responder: Responder) -> Exchange:
    """A request at the instant of its admission."""
    admitted_ns = time.time_ns()
    return Exchange(
        endpoint[:LONGEST_ENDPOINT], request, responder, new_id(admitted_ns), admitted_ns, time.perf_counter(), read_heads(request.headers)
    )
