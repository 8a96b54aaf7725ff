"""What clients may ask for: models and routes, compiled from the settings once at start."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from hashlib import blake2b
from operator import attrgetter
from typing import Final

import msgspec

from penstock.config.routing import JUDGED, LOOKS, Route
from penstock.config.settings import Settings
from penstock.domain.routing.tiers import TierLaw, edition, parse_condition

LONGEST_NAME = 200
"""characters of an unknown name that are looked at: comparing is slow on long ones"""


class Fleet(msgspec.Struct, frozen=True):
    """The labels that a fleet puts on the records of the upstream behind it."""

    name: str
    gpu: str
    instance: str | None
    region: str | None


class Candidate(msgspec.Struct, frozen=True):
    """One way to answer: a configured model, under the tier that led to it."""

    model: str
    upstream: str
    upstream_model: str
    tier: str | None
    version: str | None
    optimization: str | None
    context: int | None
    max_output: int | None
    fleet: Fleet | None

    @property
    def label(self) -> str:
        """How this candidate is named in a route: by tier if it has one, else by model."""
        return self.tier or self.model

    @property
    def edition(self) -> str:
        """How evidence names what answers: another edition has to be measured anew."""
        return edition(self.upstream_model, self.version)


CANDIDATE_KEYS: Final[Mapping[str, Callable[[Candidate], str | None]]] = {
    "model": attrgetter("model"),
    "model_version": attrgetter("version"),
    "optimization": attrgetter("optimization"),
    "tier": attrgetter("tier"),
    "upstream": attrgetter("upstream"),
    "fleet": lambda candidate: candidate.fleet.name if candidate.fleet is not None else None,
    "gpu": lambda candidate: candidate.fleet.gpu if candidate.fleet is not None else None,
    "instance": lambda candidate: candidate.fleet.instance if candidate.fleet is not None else None,
    "region": lambda candidate: candidate.fleet.region if candidate.fleet is not None else None,
}
"""what the config tells of a model that may answer, by the words of reports"""


class Target(msgspec.Struct, frozen=True):
    """A name that clients ask for. `primaries` are what the strategy chooses from, cheap to dear."""

    name: str
    strategy: str
    primaries: tuple[Candidate, ...]
    laws: tuple[TierLaw, ...]
    fallback: tuple[Candidate, ...]
    cacheable: bool
    by_meaning: bool
    """whether its answers are also for questions in other words"""
    ttl_s: float | None
    """how long its answers may be replayed at most; None: as long as each layer says"""
    fingerprint: str
    """changes with anything that changes which model may answer: part of the cache key"""
    candidates: tuple[Candidate, ...]
    """all that may answer, each once"""
    route: Route | None = None
    """of the config; None: it is a model"""
    told_apart: tuple[str, ...] = ()
    """tags by whose values it differs which answers are good enough: what was kept for one is not replayed for another"""


class Targets:
    """All names, with the nearest ones for a name that is not there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fleets = {
            fleet.upstream: Fleet(name, fleet.gpu, fleet.where.instance, fleet.where.region)
            for name, fleet in settings.fleets.items()
            if fleet.upstream is not None
        }
        self._tier_of_model: dict[str, str] = {}
        for tier_name, tier in settings.tiers.items():
            self._tier_of_model.setdefault(tier.model, tier_name)
        self.ladder = tuple(self.candidate(tier.model, name) for name, tier in settings.tiers.items())
        """every tier, cheap to dear"""
        self._by_name = {name: self._model(name) for name in settings.models} | {name: self._route(name) for name in settings.routes}

    def names(self) -> list[str]:
        return list(self._by_name)

    def find(self, name: str) -> Target | None:
        return self._by_name.get(name)

    def nearest(self, name: str) -> list[str]:
        return get_close_matches(name[:LONGEST_NAME], self._by_name, 3, 0.4)

    def candidate(self, model: str, tier: str | None = None) -> Candidate:
        settings = self._settings.models[model]
        return Candidate(
            model,
            settings.upstream,
            settings.name or model,
            tier or self._tier_of_model.get(model),
            settings.version,
            settings.optimization,
            settings.context,
            settings.max_output,
            self._fleets.get(settings.upstream),
        )

    def _model(self, name: str) -> Target:
        candidates = (self.candidate(name),)
        return Target(name, "fixed", candidates, (), (), True, True, None, _fingerprint(candidates), candidates)

    def _route(self, name: str) -> Target:
        route = self._settings.routes[name]
        tiers = self._settings.tiers
        primaries = tuple(self.candidate(tiers[tier].model, tier) for tier in route.tiers)
        laws = tuple(TierLaw(tier, parse_condition(condition) if (condition := tiers[tier].complexity) else None) for tier in route.tiers)
        fallback = tuple(self.candidate(tiers[f].model, f) if f in tiers else self.candidate(f) for f in route.fallback)
        judged = _careful(route) if route.strategy in JUDGED or route.error_budget is not None else ()
        fingerprint = _fingerprint(primaries, route.strategy, laws, *judged)
        candidates = tuple(dict.fromkeys(primaries + fallback))
        kept, by_meaning = route.cache != "off", route.cache == "on"
        apart = _told_apart(route, self._settings)
        return Target(
            name, route.strategy, primaries, laws, fallback, kept, by_meaning, route.cache_ttl, fingerprint, candidates, route, apart
        )


def _careful(route: Route) -> tuple[object, ...]:
    """What says which answers are good enough: an answer that was kept under another word on it is not replayed."""
    return route.error_budget, route.confidence, route.checks, route.samples, sorted(route.sla.items()), sorted(route.presets.items())


def _told_apart(route: Route, settings: Settings) -> tuple[str, ...]:
    """Tags that decide on a judged route: what is proven is proven for their values, or a check is for some of them."""
    strategies = {route.strategy, *(each.strategy for each in route.sla.values()), *(each.strategy for each in route.presets.values())}
    if not JUDGED & strategies:
        return ()
    proven = set() if route.error_budget is None else set(route.by) - LOOKS
    return tuple(sorted(proven.union(*(settings.checks[name].where for name in route.checks))))


def _fingerprint(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()
