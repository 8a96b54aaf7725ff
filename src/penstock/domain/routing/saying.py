"""What somebody says of an answer, or shows by asking again, as evidence of the tier that gave it."""

from collections.abc import Mapping

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged, Observation, Seen


def said_of(record: UsageRecord, score: float, editions: Mapping[str, str], now_ns: int) -> Observation | None:
    """What somebody said (0: wrong, 1: right) of an answer, as evidence of the tier that gave it; `editions`: who answers for the tiers
    of its route, cheap to dear.

    None where routing had no part in it: no decision that keeps evidence, or the last tier or a fallback answered.
    """
    decision, tier = record.route_decision, record.tier
    if decision is None or decision.tag is None or tier is None or tier not in list(editions)[:-1]:
        return None
    kept = next((judged for judged in reversed(decision.stages) if judged.kept), None)
    return Observation(
        id=record.id,
        at_ns=now_ns,
        route=record.requested_model or "",
        tag=decision.tag,
        seen=tuple(
            _seen(name, score if name == tier else None, own if name == tier else "", kept, record.id) for name, own in editions.items()
        ),
        judge="feedback",
        complexity=record.complexity,
    )


def _seen(tier: str, quality: float | None, model: str, kept: Judged | None, id: str) -> Seen:
    """A tier as far as the record tells; answers of a gate are told only as the same or not."""
    if kept is None or tier not in kept.tiers:
        return Seen(tier, quality, model=model)
    same = kept.stratum == "agree" or tier == kept.tiers[0]
    return Seen(
        tier, quality, answer=f"{id}/{'' if same else tier}" if kept.kind == "gate" else None, confidence=kept.confidence, model=model
    )
