"""Usage records and reservations for tests: plain ones by id, and Hypothesis strategies that cover every field."""

from typing import Any, get_args

from hypothesis import strategies as st

from penstock.domain.dialects.tokens import PARTS, Tokens
from penstock.domain.ledger.record import Attempt, Basis, CacheOutcome, Outcome, Reservation, UsageRecord, WastedWork

ADMITTED_NS = 1_790_000_000_000_000_000
ODD_TAGS = ("team", "a b", 'say "hi"', "back\\slash", "ünï", "%s", "x'; DROP TABLE records; --", "a.b[0]", "$", "?", "line\nbreak", "")


def record(id: str, **fields: Any) -> UsageRecord:
    given = {"admitted_ns": ADMITTED_NS, "endpoint": "chat.completions", "status": 200, "outcome": "ok"}
    return UsageRecord(id=id, **{**given, **fields})


def reservation(id: str, **fields: Any) -> Reservation:
    given = {
        "admitted_ns": ADMITTED_NS,
        "endpoint": "chat.completions",
        "requested_model": "auto",
        "model": "small",
        "upstream": "local",
        "worst_case": 1_000,
    }
    return Reservation(id=id, **{**given, **fields})


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_FEW = st.sampled_from(["a", "b", "ü%s"])
COUNT = st.integers(0, 10**6)
TOKENS = st.builds(Tokens, COUNT, COUNT, COUNT, COUNT, COUNT)
MONEY = st.none() | st.integers(0, 10**15)
TAGS = st.dictionaries(st.sampled_from(ODD_TAGS), _FEW | TEXT, max_size=3)
ATTEMPT = st.builds(
    Attempt, model=TEXT, upstream=TEXT, replica=TEXT, status=st.none() | COUNT, duration_us=COUNT, error=st.none() | TEXT,
    started_us=st.none() | COUNT,
)  # fmt: skip
_MAYBE = st.none() | _FEW | TEXT

_TEXT_FIELDS = (
    "requested_model", "model", "response_model", "model_version", "optimization", "tier", "sla", "upstream", "replica", "fleet",
    "gpu", "instance", "region", "key_id", "cache_source", "route", "strategy", "error", "finish_reason", "response_id",
    "price_id", "price_version", "baseline", "traceparent",
)  # fmt: skip
_NUMBERS = st.fixed_dictionaries(
    {},
    optional={
        "complexity": st.floats(0, 1),
        "propensity": st.floats(0, 1),
        "first_token_us": COUNT,
        "duration_us": COUNT,
        "cost": MONEY,
        "list_cost": MONEY,
        "wasted_cost": MONEY,
        "counterfactual": MONEY,
        "reserved": MONEY,
        "input_cost": MONEY,
        "provisional": MONEY,
    },
)
_WASTED = st.lists(st.builds(WastedWork, _FEW | TEXT, TOKENS), max_size=2).map(tuple)


def _record(texts: dict[str, Any], numbers: dict[str, Any], **fields: Any) -> UsageRecord:
    return UsageRecord(**texts, **numbers, **fields)


RECORD = st.builds(
    _record,
    st.dictionaries(st.sampled_from(_TEXT_FIELDS), _FEW | TEXT, max_size=6),
    _NUMBERS,
    id=st.just("id"),
    admitted_ns=st.integers(0, 4 * 10**18),
    endpoint=st.sampled_from(["chat.completions", "embeddings"]),
    status=st.sampled_from([200, 402, 500]),
    outcome=st.sampled_from(get_args(Outcome)),
    tags=TAGS,
    streamed=st.booleans(),
    cache=st.sampled_from(get_args(CacheOutcome)),
    attempts=st.lists(ATTEMPT, max_size=1).map(tuple),
    tokens=TOKENS,
    recalled=TOKENS,
    tokens_basis=st.sampled_from(get_args(Basis)),
    cost_basis=st.sampled_from(get_args(Basis)),
    parts=st.just({}) | st.dictionaries(st.sampled_from(PARTS), COUNT, max_size=2),
    processing=st.sampled_from([None, None, "batch", "turbo"]),
    wasted_work=st.just(()) | _WASTED,
)
"""A record with any field given or not. Every id is the same: a test gives its own."""

RESERVATION = st.builds(
    Reservation,
    id=st.just("id"),
    admitted_ns=st.integers(0, 4 * 10**18),
    endpoint=TEXT,
    requested_model=TEXT,
    model=TEXT,
    upstream=TEXT,
    worst_case=MONEY,
    worst_tokens=st.none() | TOKENS,
    tier=_MAYBE,
    tags=TAGS,
    key_id=_MAYBE,
    streamed=st.booleans(),
    traceparent=_MAYBE,
)
