"""Usage records and reservations for tests: plain ones by id, and Hypothesis strategies that cover every field."""

from typing import Any, get_args

from hypothesis import strategies as st

from penstock.domain.dialects.tokens import PARTS, Tokens
from penstock.domain.ledger.record import Attempt, Basis, CacheDecision, CacheOutcome, Outcome, Reservation, UsageRecord, WastedWork
from penstock.domain.ledger.routed import Judged, Observation, Purpose, RouteDecision, Seen, Sign

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


DECISION = st.builds(
    CacheDecision,
    verdict=st.sampled_from(["served", "probe", "refused", "nothing", "unfit", "unavailable"]),
    mode=st.sampled_from(["zero-trust", "learned", "shadow"]),
    entry=_MAYBE,
    similarity=st.none() | st.floats(0, 1),
    risk=st.none() | st.floats(0, 1),
    guards=st.just(()) | st.just(("numbers", "negation")),
    reason=_MAYBE,
    embedding_us=st.none() | COUNT,
)
_DECIDED: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {"cache_decision": DECISION, "embedding_cost": MONEY}, optional={"would_cache": st.sampled_from(get_args(CacheOutcome))}
)
"""an embedding without a price is known by the decision that it was made for"""


_SHARE = st.floats(0, 1)
_SIGN = st.builds(Sign, name=_FEW, value=st.none() | _SHARE, fails=st.booleans(), said=TEXT)
_JUDGED = st.builds(
    Judged, kind=st.sampled_from(["direct", "cascade", "gate"]), tiers=st.just(("small", "large")),
    stratum=st.sampled_from(["confident", "unsure", "agree", "differ", "failed"]), kept=st.booleans(), share=_SHARE,
    confidence=st.none() | _SHARE, signs=st.lists(_SIGN, max_size=2).map(tuple),
)  # fmt: skip
ROUTED = st.builds(
    RouteDecision, tag=_MAYBE, why=TEXT, stages=st.lists(_JUDGED, max_size=2).map(tuple), expected_loss=st.none() | _SHARE,
    shadowed=st.booleans(), shadow_propensity=st.none() | _SHARE,
)  # fmt: skip
_SEEN = st.builds(Seen, tier=_FEW, quality=st.none() | _SHARE, cost=st.none() | COUNT, answer=_MAYBE, failed=st.booleans(), model=TEXT)
OBSERVATION = st.builds(
    Observation, id=st.just("id"), at_ns=st.integers(0, 4 * 10**18), route=_FEW, tag=TEXT,
    seen=st.lists(_SEEN, min_size=1, max_size=3).map(tuple), judge=st.sampled_from(["check", "agreement", "model", "feedback"]),
    propensity=_SHARE, complexity=st.none() | _SHARE, length=st.none() | COUNT,
)  # fmt: skip
ASIDE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"purpose": st.sampled_from(get_args(Purpose)), "parent": _FEW}, optional={"observed": OBSERVATION}
)
"""what makes a record that of a call beside a request's answer"""
_REQUEST: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries({"route_decision": ROUTED})


def _record(texts: dict[str, Any], numbers: dict[str, Any], decided: dict[str, Any], routed: dict[str, Any], **fields: Any) -> UsageRecord:
    return UsageRecord(**texts, **numbers, **decided, **routed, **fields)


RECORD = st.builds(
    _record,
    st.dictionaries(st.sampled_from(_TEXT_FIELDS), _FEW | TEXT, max_size=6),
    _NUMBERS,
    _DECIDED,
    _REQUEST | ASIDE,
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
