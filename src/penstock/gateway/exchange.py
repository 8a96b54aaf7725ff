"""One request on its way: what is known of it so far. Steps fill it in order; `settle` reads it."""

import time
from random import getrandbits
from typing import Any

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import Attempt, CacheOutcome, Outcome
from penstock.gateway.refusal import Refusal
from penstock.gateway.targets import Candidate, Target
from penstock.ports.cache import CachedAnswer
from penstock.wire.message import Headers, Request
from penstock.wire.responder import Responder


def new_id(admitted_ns: int) -> str:
    """`req_` + 12 hex digits of milliseconds + 16 random ones: unique, and in order of time."""
    return f"req_{admitted_ns // 1_000_000:012x}{getrandbits(64):016x}"


class Answer:
    """A whole answer waiting to be sent once its record is on the journal."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Exchange:
    """The state of one request. Money is nano-USD, times are nanoseconds (`*_ns`) or monotonic seconds."""

    __slots__ = (
        "admitted_ns", "answer", "asked_for", "attempts", "body", "cache", "cache_key", "candidate", "complexity", "endpoint", "error",
        "finish_reason", "first_token_at", "hit", "id", "kept", "key_id", "outcome", "permitted", "plan", "refusal", "replica", "request",
        "reserved", "responder", "response_id", "response_model", "route", "scope", "sla", "started_at", "status", "stream_events",
        "streamed", "tags", "tail", "target", "usage", "wants_usage", "worked", "worst_tokens",
    )  # fmt: skip

    def __init__(self, endpoint: str, request: Request, responder: Responder) -> None:
        self.admitted_ns = time.time_ns()
        self.started_at = time.perf_counter()
        self.id = new_id(self.admitted_ns)
        self.endpoint = endpoint
        self.request = request
        self.responder = responder
        self.body: dict[str, Any] | None = None
        self.streamed = False
        self.wants_usage = False
        # who and what for
        self.tags: dict[str, str] = {}
        self.key_id: str | None = None
        self.scope: tuple[str, ...] = ()
        self.sla: str | None = None
        self.asked_for: str | None = None
        """the model's name in the body, known here or not"""
        self.target: Target | None = None
        self.permitted: frozenset[str] | None = None
        # what it may cost
        self.reserved: int | None = None
        self.worst_tokens: Tokens | None = None
        # how it was answered
        self.cache: CacheOutcome = "bypass"
        self.cache_key: bytes | None = None
        self.hit: CachedAnswer | None = None
        self.complexity: float | None = None
        self.plan: tuple[Candidate, ...] = ()
        self.candidate: Candidate | None = None
        self.replica: str | None = None
        self.attempts: list[Attempt] = []
        self.route: list[str] = []
        self.worked = False
        """an upstream may have done work that is billed"""
        # what came back
        self.answer: Answer | None = None
        self.tail: bytes | None = None
        """the last bytes of a stream, held until its record is on the journal"""
        self.stream_events = 0
        """events of a stream that carried something: what its output is estimated from when no usage came"""
        self.kept: bytes | None = None
        """all events of a complete stream, without usage and `[DONE]`, for the cache"""
        self.status = 0
        self.outcome: Outcome = "ok"
        self.error: str | None = None
        self.refusal: Refusal | None = None
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.first_token_at: float | None = None
