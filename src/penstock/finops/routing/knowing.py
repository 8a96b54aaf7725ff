"""What is known of a route now: labels of its present models, its requests by stratum, and the policy that stands."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from penstock.config.editions import editions_of
from penstock.config.routing import Route
from penstock.config.settings import Settings
from penstock.domain.ledger.routed import Judge, Observation, Seen
from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.finops.routing.counting import Counting, Key
from penstock.finops.routing.labels import settled
from penstock.finops.routing.learning import WINDOW_NS
from penstock.finops.routing.publishing import published
from penstock.ports.documents import Documents
from penstock.ports.evidence import EvidenceStore

MOST: Final = 10_000
"""labels of a route that reports rest on, the newest"""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One route."""

    route: str
    config: Route
    models: Mapping[str, str]
    """tier -> configured model"""
    editions: Mapping[str, str]
    """tier -> the model as evidence names it"""
    labels: tuple[Observation, ...]
    """requests that a coin chose and that the last tier answered, too; oldest first"""
    counts: Mapping[Key, float]
    policy: RoutePolicy | None

    @property
    def tiers(self) -> tuple[str, ...]:
        """Cheap to dear."""
        return self.config.tiers


def judges_of(labels: Iterable[Observation]) -> dict[Judge, int]:
    """Who judged labels, and how many: those by agreement speak of consistency, not of quality."""
    return dict(Counter(each.judge for each in labels).most_common())


def known_of(settings: Settings, name: str, evidence: EvidenceStore, documents: Documents, now_ns: int) -> Known:
    """What is known of a configured route. Raises `StoreError`."""
    config = settings.routes[name]
    models = {tier: settings.tiers[tier].model for tier in config.tiers}
    editions = editions_of(settings, name)
    counts = Counting(documents, "", (name,)).of(name, now_ns)
    budget = 1.0 if config.error_budget is None else config.error_budget
    labels = settled(evidence.since(now_ns - WINDOW_NS, name, MOST), counts, budget, now_ns)
    return Known(
        route=name,
        config=config,
        models=models,
        editions=editions,
        labels=fair_labels(labels, config.tiers, editions),
        counts=counts,
        policy=next(iter(published(documents, (name,))), None),
    )


def fair_labels(labels: Sequence[Observation], tiers: Sequence[str], editions: Mapping[str, str]) -> tuple[Observation, ...]:
    """Those that a coin chose, with what the present models of these tiers made of them; without their last tier they tell nothing."""

    def is_ours(seen: Seen) -> bool:
        return seen.tier in editions and seen.model in ("", editions[seen.tier])

    kept = [msgspec.structs.replace(each, seen=tuple(filter(is_ours, each.seen))) for each in labels if each.judge != "feedback"]
    return tuple(each for each in kept if len(each.seen) > 1 and each.seen[-1].tier == tiers[-1])
