"""What a route's evidence has told so far: losses by way, stratum and tag, how often each stratum comes, what tiers cost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Observation, Stratum
from penstock.domain.routing.proving.estimating import Belief, Labels, Stratified
from penstock.domain.routing.proving.opening import CLOSED, SETTLED_CAUTION, Choice, Opening, openings
from penstock.domain.routing.proving.ways import Outcome, Way, outcome_of, ways_of

FRESH: Final = "\0fresh"
"""stands for a tag that was never seen"""
_SMOOTHING: Final = 10.0
"""requests of a usual tag that are added to those of a tag, where shares of strata are told"""
_TRUSTED: Final = 30.0
"""labels of answers that two tiers agreed on, from which on it is known how such answers do"""
_MOST_DOUBTED: Final = 2.0
"""that a loss is taken for"""
_OWN: Final = 30.0
"""labels of its own that a tag needs before answers are kept that nobody has looked at"""
_LOYALTY: Final = 0.03
"""share of the last tier's cost that another way has to save, to be taken instead of the present one"""


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """What the config says of a route. `tiers`: cheap to dear, the last one is the reference."""

    route: str
    tiers: tuple[str, ...]
    strategy: str = "learned"
    error_budget: float
    confidence: float = 0.85
    cost_weight: float | None = None
    """quality that one USD per 1,000 requests is worth; None: whatever keeps the budget and is cheapest"""
    together: bool = False
    """the budget is for all tags together, so that one may lose what another gains; a new tag never lives on what others have proven"""
    shadow: float = 0.02
    models: Mapping[str, str] = {}
    """tier -> `name@version`; empty: any"""


class Knowledge:
    """Of one route."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self.ways: tuple[Way, ...] = ways_of(law.strategy, law.tiers, law.confidence)
        self._labels: list[dict[Stratum, dict[str, Labels]]] = [{stratum: {} for stratum in way.strata} for way in self.ways]
        self._keys = tuple(way.key for way in self.ways)
        self._counts: dict[str, dict[str, dict[str, float]]] = {}
        """tag -> key of a stage -> stratum -> requests"""
        self._costs: dict[tuple[str, str], Labels] = {}
        self._stratified: list[dict[Stratum, Stratified]] = []
        self.look()

    def look(self) -> None:
        """What labels say of tags is told by those that were there at the last look; of a tag itself by all of its own."""
        self._stratified = [{stratum: Stratified(tags) for stratum, tags in labels.items()} for labels in self._labels]

    def outcomes(self, observation: Observation) -> tuple[Outcome | None, ...]:
        """What each way would have made of it, with the losses that its judge may have missed."""
        return tuple([_doubted(outcome_of(way, observation), observation.noise) for way in self.ways])

    def learn(self, observation: Observation, outcomes: Sequence[Outcome | None]) -> None:
        self.label(observation.tag, outcomes)
        for key, outcome in zip(self._keys, outcomes, strict=True):
            if outcome is not None:
                self.saw(observation.tag, key, outcome.stratum)
        for seen in observation.seen:
            if seen.cost is not None:
                for name in (observation.tag, FRESH):
                    self._costs[name, seen.tier] = self._costs.get((name, seen.tier), Labels()).plus(seen.cost)

    def label(self, tag: str, outcomes: Sequence[Outcome | None], weight: float = 1.0) -> None:
        """Takes in one label of a tag."""
        for labels, outcome in zip(self._labels, outcomes, strict=True):
            if outcome is not None and outcome.loss is not None and outcome.stratum in labels:
                of_tags = labels[outcome.stratum]
                of_tags[tag] = of_tags.get(tag, Labels()).plus(outcome.loss, weight)

    def forget(self, tag: str) -> None:
        """All labels of a tag."""
        for labels in self._labels:
            for of_tags in labels.values():
                of_tags.pop(tag, None)

    def saw(self, tag: str, key: str, stratum: str, times: float = 1.0) -> None:
        """So many requests of a tag fell into a stratum of the way with this key, labelled or not."""
        for name in (tag, FRESH):
            strata = self._counts.setdefault(name, {}).setdefault(key, {})
            strata[stratum] = strata.get(stratum, 0.0) + times

    def requests(self, tag: str) -> float:
        """How many requests of a tag are known, by the stage that knows most: where nothing is open that is the last tier."""
        return max((1.0, *(sum(strata.values()) for strata in self._counts.get(tag, {}).values())))

    def choices(self, tag: str, present: int | None) -> list[Choice]:
        """All that a tag may be given; the present way is taken for a little cheaper than it is."""
        found = [Choice(None, CLOSED, 1.0)]
        for at, way in enumerate(self.ways):
            if way.kind == "direct" and self._labels[at]["direct"].get(tag, Labels()).count < _OWN:
                continue
            beliefs = {stratum: self._stratified[at][stratum].belief(tag) for stratum in way.strata}
            loyal = _LOYALTY if present == at else 0.0
            worth_of = self._worths(tag, way)
            for each in openings(way.strata, self._shares(tag, at), beliefs):
                worth = worth_of(each)
                if worth < 1:
                    found.append(Choice(at, each, worth - loyal))
        return found

    def plain_gate(self, tag: str) -> Choice | None:
        """What is left where too little is known of a tag: the cheapest gate whose agreed answers do well, on the tags that are known."""
        found = []
        for at, way in enumerate(self.ways):
            if way.kind != "gate":
                continue
            agreed = self._stratified[at]["agree"]
            belief = agreed.belief(tag) or Belief(agreed.pooled.mean, 0.0)
            share = self._shares(tag, at)["agree"]
            opened = Opening((("agree", 1.0),), share, share * belief.mean, share * belief.deviation)
            worth = self._worths(tag, way)(opened)
            if agreed.pooled.count >= _TRUSTED and opened.loss <= self._law.error_budget and worth < 1:
                found.append(Choice(at, opened, worth))
        return min(found, key=lambda each: each.worth, default=None)

    def single(self, budget: float) -> Choice | None:
        """The cheapest tier that alone keeps the budget over all tags as if they were one; None: only the last one does."""
        found = []
        for at, way in enumerate(self.ways):
            pooled = self._stratified[at]["direct"].pooled if way.kind == "direct" else Labels()
            opened = Opening((("direct", 1.0),), 1.0, pooled.mean, pooled.error)
            worth = self._worths(FRESH, way)(opened)
            if pooled.count >= _TRUSTED and opened.bound(SETTLED_CAUTION) <= budget and worth < 1:
                found.append(Choice(at, opened, worth))
        return min(found, key=lambda each: each.worth, default=None)

    def lost(self, tag: str, at: int) -> float:
        """Mean loss of the labels that a tag has of a way with one stratum; 0 without any."""
        return self._labels[at][self.ways[at].strata[0]].get(tag, Labels()).mean

    def cost_share(self, tag: str, way: Way, kept: float) -> float | None:
        """Of a way, as a share of the last tier's cost; None where costs are unknown."""
        reference, costs = self._cost(tag, self._law.tiers[-1]), [self._cost(tag, tier) for tier in way.tiers]
        if not reference or None in costs:
            return None
        return sum(each for each in costs if each is not None) / reference + 1 - kept

    def _shares(self, tag: str, at: int) -> dict[Stratum, float]:
        """Of the tag's requests, by stratum; little of its own is filled up with what is usual."""
        strata = _all_strata(self.ways[at])
        own, usual = ([of.get(stratum, 0.0) for stratum in strata] for of in (self._counted(tag, at), self._counted(FRESH, at)))
        all_usual, all_own = sum(usual) or 1.0, sum(own)
        return {
            stratum: (count + _SMOOTHING * other / all_usual) / (all_own + _SMOOTHING)
            for stratum, count, other in zip(strata, own, usual, strict=True)
        }

    def _counted(self, tag: str, at: int) -> Mapping[str, float]:
        return self._counts.get(tag, {}).get(self._keys[at], {})

    def _cost(self, tag: str, tier: str) -> float | None:
        """Nano-USD of a request."""
        own = self._costs.get((tag, tier), Labels())
        found = own if own.count >= _SMOOTHING else self._costs.get((FRESH, tier), own)
        return found.mean if found.count else None

    def _worths(self, tag: str, way: Way) -> Callable[[Opening], float]:
        """What an opening of a way is worth. Less is better: a share of the last tier's cost, which is itself worth 1."""
        whole = self.cost_share(tag, way, 0.0)
        reference, weight = self._cost(tag, self._law.tiers[-1]), self._law.cost_weight
        if whole is None or not reference:
            return lambda opened: 1 - opened.kept
        if weight is None:
            return lambda opened: whole - opened.kept
        dear = max(weight * reference / 1e6, 1e-9)
        return lambda opened: whole - opened.kept + opened.loss / dear


def _all_strata(way: Way) -> tuple[Stratum, ...]:
    return way.strata if way.kind == "direct" else (*way.strata, "failed")


def _doubted(outcome: Outcome | None, noise: float) -> Outcome | None:
    """With what a judge misses: losses may be more than it saw, gains less."""
    if outcome is None or not outcome.loss or not noise:
        return outcome
    loss = outcome.loss / (1 - noise) if outcome.loss > 0 else outcome.loss * (1 - noise)
    return msgspec.structs.replace(outcome, loss=min(loss, _MOST_DOUBTED))
