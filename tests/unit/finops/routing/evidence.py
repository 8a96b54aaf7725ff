"""Records and observations of a route `auto` with three tiers, for the tests of what learns from them."""

from collections.abc import Sequence

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judge, Judged, Observation, RouteDecision, Seen, Stratum

TIERS = ("small", "mid", "large")
EDITIONS = {tier: f"m-{tier}@1" for tier in TIERS}
S = 10**9
DAY = 86_400 * S


def judged(stratum: Stratum = "agree", kept: bool = True, tiers: Sequence[str] = ("small", "mid")) -> Judged:
    return Judged("gate" if len(tiers) > 1 else "cascade", tuple(tiers), stratum, kept, confidence=None if len(tiers) > 1 else 0.9)


def routed(id: str, *stages: Judged, at_ns: int = 0, tag: str | None = "support", tier: str = "small", route: str = "auto") -> UsageRecord:
    return UsageRecord(
        id=id, admitted_ns=at_ns, endpoint="chat.completions", status=200, outcome="ok", requested_model=route, model=f"m-{tier}",
        model_version="1", tier=tier, route_decision=RouteDecision(tag, "why", stages),
    )  # fmt: skip


def label(
    id: str, *qualities: float | None, judge: Judge = "agreement", at_ns: int = 0, tag: str = "support", same: bool = False
) -> Observation:
    """`same`: all tiers gave the same answer."""
    answers = ("x" if same or name == "large" else name for name in TIERS)
    seen = tuple(
        Seen(tier, quality, 1000, answer, model=f"m-{tier}@1") for tier, quality, answer in zip(TIERS, qualities, answers, strict=True)
    )
    return Observation(id=id, at_ns=at_ns, route="auto", tag=tag, seen=seen, judge=judge)
