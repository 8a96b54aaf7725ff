"""The cheap ways that a route could go, and what each would have made of a request that all tiers have answered."""

from collections.abc import Sequence
from itertools import combinations

import msgspec

from penstock.domain.ledger.routed import Kind, Observation, Seen, Stratum
from penstock.domain.routing.course import STRATA


class Way(msgspec.Struct, frozen=True):
    """A stage before the last tier. The first tier's answer is the one that may be kept."""

    kind: Kind
    tiers: tuple[str, ...]
    confidence: float | None = None

    @property
    def key(self) -> str:
        """As strata are counted under: `gate:small+mid`."""
        return f"{self.kind}:{'+'.join(self.tiers)}"

    @property
    def strata(self) -> tuple[Stratum, ...]:
        """From the safest on."""
        return STRATA[self.kind]


class Outcome(msgspec.Struct, frozen=True):
    """What a way would have made of one request. `loss` is None where a judge could not tell; costs are nano-USD."""

    stratum: Stratum
    loss: float | None
    cost: int | None
    """of its own calls"""


def ways_of(strategy: str, tiers: Sequence[str], confidence: float) -> tuple[Way, ...]:
    """What a strategy may open on a ladder (cheap to dear, the last one is the reference)."""
    cheap = tuple(tiers[:-1])
    cascades = tuple(Way("cascade", (tier,), confidence) for tier in cheap)
    gates = tuple(Way("gate", pair) for each in combinations(cheap, 2) for pair in (each, each[::-1]))
    if strategy == "cascade":
        return cascades
    if strategy == "gate":
        return gates
    return (*(Way("direct", (tier,)) for tier in cheap), *cascades, *gates)


def outcome_of(way: Way, observation: Observation) -> Outcome | None:
    """None: the request was not answered by all tiers of the way, or what it goes by is not known of it."""
    by_tier = {seen.tier: seen for seen in observation.seen}
    reference = observation.seen[-1]
    asked = [by_tier[tier] for tier in way.tiers if tier in by_tier]
    if len(asked) < len(way.tiers) or not _is_told(way, asked):
        return None
    kept = asked[0]
    loss = None if reference.quality is None or kept.quality is None else reference.quality - kept.quality
    costs = [seen.cost for seen in asked]
    cost = None if None in costs else sum(each for each in costs if each is not None)
    return Outcome(_stratum(way, asked), loss, cost)


def _is_told(way: Way, asked: Sequence[Seen]) -> bool:
    if way.kind == "gate":
        return any(seen.answer is not None or seen.failed for seen in asked)
    return way.kind == "direct" or asked[0].confidence is not None or asked[0].failed


def _stratum(way: Way, asked: Sequence[Seen]) -> Stratum:
    first = asked[0]
    if way.kind == "direct":
        return "direct"
    if first.failed:
        return "failed"
    if way.kind == "gate":
        return "agree" if first.answer is not None and first.answer == asked[1].answer else "differ"
    sure = first.confidence is not None and way.confidence is not None and first.confidence >= way.confidence
    return "confident" if sure else "unsure"
