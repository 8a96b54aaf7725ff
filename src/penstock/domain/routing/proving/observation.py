"""The loss of a tier on a request that all tiers have answered: the quality of the last one (the reference) minus its own."""

from collections.abc import Mapping, Sequence

from penstock.domain.ledger.routed import Observation


def loss_of(observation: Observation, tier: str) -> float | None:
    """The reference's quality minus the tier's; None where either is unknown."""
    reference = observation.seen[-1].quality
    own = next((seen.quality for seen in observation.seen if seen.tier == tier), None)
    return None if reference is None or own is None else reference - own


def tag_of(tags: Mapping[str, str], by: Sequence[str]) -> str:
    """Under what name evidence of a request is kept: its values of a route's `by`, `unknown` for one that is missing."""
    return " / ".join(tags.get(key, "unknown") for key in by)
