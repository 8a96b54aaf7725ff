"""From evidence to policy: which way is open on each tag of a route, and how far.

**What is promised.** A tag is `proven` when its own labels, chosen by a coin, prove that the mean loss of what is open is below the error
budget, with probability 1 - delta at all times at once, while its mean does not move (`betting`). It is `expected` when its labels and
those of other tags make that likely (`estimating`, `opening`): that holds as far as tags are like each other, and on average only. A tag
of which too little is known is `gated`, if answers that two cheap tiers agree on have done well elsewhere. Judges miss losses: a share
`noise` of them is assumed to be missed.

**When it moves.** An alarm sees labels of what is kept that are worse than the budget; what was known of the tag before then counts for
little, and it begins anew from the safest. Evidence of other models than the configured ones is not used.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Observation, Stratum
from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.betting import Alarm, at_most, is_proven
from penstock.domain.routing.proving.controlling import MOST, Row, controlled, row_of
from penstock.domain.routing.proving.estimating import SETTLED
from penstock.domain.routing.proving.knowledge import FRESH, Knowledge, Law
from penstock.domain.routing.proving.opening import NEW_CAUTION, SETTLED_CAUTION, STEPS, Choice, allocate
from penstock.domain.routing.proving.policy import RoutePolicy, State, TagPolicy
from penstock.domain.routing.proving.ways import Outcome

_REMEMBERED: Final = 0.2
"""of what was known of a tag, after an alarm"""
_TRIAL: Final = 30
"""labels that an alarm lasts, at least"""
_HISTORY: Final = 2_000
"""labels of a tag that proofs look at"""
_PATIENCE: Final = 16
"""labels between two looks at the tags while evidence is read, at least, and a part of all labels"""
_WHY: Final[Mapping[State, str]] = {
    "proven": "its labels prove that the error budget is kept",
    "expected": "its labels, and those of other tags, make it likely that the error budget is kept",
    "gated": "too little is known of it, so only what two cheap tiers agree on is kept",
    "closed": "nothing cheaper is known to keep the error budget",
    "alarm": "its labels showed more loss than the error budget",
    "off": "what was open earned less than a fixed split of the requests at the same cost would",
}


class _Tag:
    """What is known of one tag beside its labels."""

    def __init__(self, budget: float) -> None:
        self.alarm = Alarm(budget)
        self.alarmed = False
        self.trial = 0
        self.due = False
        """a look has not come to it yet"""
        self.history: list[tuple[Outcome | None, ...]] = []
        self.chosen: Choice | None = None
        self.gated = False
        self.state: State = "closed"
        self.since_ns = 0


class Prover:
    """Reads evidence of one route in its order. The same evidence in the same order gives the same policy."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._known = Knowledge(law)
        self._tags: dict[str, _Tag] = {}
        self._rows: list[Row] = []
        self._due = 0.0

    def learn(self, observation: Observation) -> None:
        """Takes in one labelled request; one that other models answered, or whose tiers are not the route's, is passed over."""
        if not self._is_ours(observation):
            return
        name, outcomes = observation.tag, self._known.outcomes(observation)
        tag = self._tags.setdefault(name, _Tag(self._law.error_budget))
        self._watch(name, tag, outcomes)
        self._known.learn(observation, outcomes)
        if (row := row_of(observation, outcomes)) is not None:
            self._rows.append(row)
            del self._rows[:-MOST]
        tag.history.append(outcomes)
        del tag.history[:-_HISTORY]
        self._due -= 1

    def saw(self, tag: str, key: str, stratum: str, times: float = 1.0) -> None:
        """So many requests of a tag fell into a stratum of the way with this key, labelled or not."""
        self._known.saw(tag, key, stratum, times)

    def policy(self, now_ns: int) -> RoutePolicy:
        """What is open now."""
        self._look()
        self._choose([name for name, tag in self._tags.items() if tag.due])
        control = controlled(self._rows, lambda name: self._tags[name].chosen)
        if control is not None and control.verdict == "loses":
            return self._off(now_ns)
        fresh, gated = self._best([FRESH])[0]
        return RoutePolicy(
            route=self._law.route,
            at_ns=now_ns,
            error_budget=self._law.error_budget,
            models=dict(self._law.models),
            tags={name: self._told(name, tag, now_ns) for name, tag in self._tags.items()},
            fresh=self._tag_policy("", fresh, "gated" if gated else "closed" if fresh is None else "expected", [], now_ns),
        )

    def _off(self, now_ns: int) -> RoutePolicy:
        """The cheapest single tier that keeps the budget over all tags, for those that are settled and bear it; the last one for others."""
        single = self._known.single(self._law.error_budget)
        policies = {
            name: self._tag_policy(name, single if self._bears(name, tag, single) else None, "off", tag.history, now_ns)
            for name, tag in self._tags.items()
        }
        fresh = self._tag_policy("", None, "off", [], now_ns)
        models = dict(self._law.models)
        return RoutePolicy(
            route=self._law.route, at_ns=now_ns, error_budget=self._law.error_budget, models=models, tags=policies, fresh=fresh
        )

    def _bears(self, name: str, tag: _Tag, single: Choice | None) -> bool:
        """Whether enough is known of a tag, and nothing that speaks against the tier; one that shares its budget may lose more."""
        if self._is_new(name) or tag.trial or single is None or single.way is None:
            return False
        return self._law.together or (not tag.alarmed and self._known.lost(name, single.way) <= self._law.error_budget)

    def _is_ours(self, observation: Observation) -> bool:
        models = self._law.models
        if not 0 < observation.propensity <= 1 or not 0 <= observation.noise < 1:
            return False
        if not all(isfinite(seen.quality or 0.0) for seen in observation.seen):
            return False
        if tuple(seen.tier for seen in observation.seen) != self._law.tiers:
            return False
        return all(not seen.model or seen.model == models.get(seen.tier, seen.model) for seen in observation.seen)

    def _watch(self, name: str, tag: _Tag, outcomes: tuple[Outcome | None, ...]) -> None:
        """Whether a label of what is open is one too many; it is asked before the label is learned from."""
        if self._due <= 0:
            self._look()
        if tag.due:
            self._choose([name])
        tag.trial = max(tag.trial - 1, 0)
        if tag.chosen is None:
            return
        since = [tag.alarm.heard(loss) for loss in _kept_losses([outcomes], tag.chosen)]
        if since and since[0] is not None:
            tag.alarmed, tag.trial, tag.chosen = True, _TRIAL, None
            before = max(len(tag.history) - since[0], 0)
            self._known.forget(name)
            for at, each in enumerate(tag.history):
                self._known.label(name, each, _REMEMBERED if at < before else 1.0)
            del tag.history[:before]

    def _look(self) -> None:
        """Looks at all tags anew: at those that share the budget at once, at others when their next label comes, for no earlier one could
        tell them apart. What an alarm has closed is left alone."""
        self._due = max(_PATIENCE, sum(len(tag.history) for tag in self._tags.values()) / _PATIENCE)
        self._known.look()
        names = [name for name, tag in self._tags.items() if not tag.trial]
        together = [name for name in names if not self._is_new(name)] if self._law.together else []
        for name in names:
            self._tags[name].due = True
        if together:
            self._choose(together)

    def _choose(self, names: Sequence[str]) -> None:
        """What is open on tags by the last look: on each for itself, or on all together that share the budget."""
        shared = self._law.together and not any(map(self._is_new, names))
        for group in [names] if shared else [[name] for name in names]:
            for name, (chosen, gated) in zip(group, self._best(group), strict=True):
                tag = self._tags[name]
                tag.chosen, tag.gated, tag.due = chosen, gated, False
                tag.alarmed = tag.alarmed and chosen is None

    def _is_new(self, name: str) -> bool:
        return name not in self._tags or len(self._tags[name].history) < SETTLED

    def _best(self, names: Sequence[str]) -> list[tuple[Choice | None, bool]]:
        """For tags that share the budget: what is open, and whether that is only the plain gate."""
        present = [self._tags[name].chosen if name in self._tags else None for name in names]
        choices = [self._known.choices(name, None if now is None else now.way) for name, now in zip(names, present, strict=True)]
        are_new = all(map(self._is_new, names))
        caution = NEW_CAUTION if are_new else SETTLED_CAUTION
        chosen = allocate(choices, [self._known.requests(name) for name in names], self._law.error_budget, caution)
        found: list[tuple[Choice | None, bool]] = []
        for name, each in zip(names, chosen, strict=True):
            gate = self._known.plain_gate(name) if are_new else None
            if gate is not None and gate.worth < each.worth:
                found.append((gate, True))
            else:
                found.append((None if each.way is None else each, False))
        return found

    def _told(self, name: str, tag: _Tag, now_ns: int) -> TagPolicy:
        state: State = "alarm" if tag.alarmed else "closed"
        losses: list[float] = []
        if tag.chosen is not None:
            losses = _kept_losses(tag.history, tag.chosen)
            state = "proven" if self._is_proven(tag.history, tag.chosen) else "gated" if tag.gated else "expected"
        if state != tag.state:
            tag.state, tag.since_ns = state, now_ns
        policy = self._tag_policy(name, tag.chosen, state, tag.history, tag.since_ns)
        return msgspec.structs.replace(policy, at_most=at_most(losses)) if losses else policy

    def _tag_policy(
        self, name: str, chosen: Choice | None, state: State, history: Sequence[tuple[Outcome | None, ...]], since_ns: int
    ) -> TagPolicy:
        labels, shadow, last = len(history), self._law.shadow, Stage("direct", self._law.tiers[-1:])
        if chosen is None or chosen.way is None:
            course = Course((last,), _WHY[state])
            return TagPolicy(tag=name, state=state, course=course, labels=labels, cost_share=1.0, shadow=shadow, since_ns=since_ns)
        way, opened = self._known.ways[chosen.way], chosen.opening
        stage = Stage(way.kind, way.tiers, {} if way.kind == "direct" else dict(opened.parts), way.confidence)
        low, high = opened.interval
        return TagPolicy(
            tag=name, state=state, course=Course((stage,) if way.kind == "direct" else (stage, last), _WHY[state]), labels=labels,
            expected_loss=opened.loss, loss_low=low, loss_high=high, cost_share=self._known.cost_share(name or FRESH, way, opened.kept),
            shadow=shadow, since_ns=since_ns,
        )  # fmt: skip

    def _is_proven(self, history: Sequence[tuple[Outcome | None, ...]], chosen: Choice) -> bool:
        """Fixed-sequence testing of all smaller openings, then of this one. Where nothing was ever gained, what proves a part of a stratum
        proves all smaller parts."""
        assert chosen.way is not None
        told = (outcomes[chosen.way] for outcomes in history)
        gains = any(each is not None and each.loss is not None and each.loss < 0 for each in told)
        by_steps = gains and len(self._known.ways[chosen.way].strata) > 1
        parts: tuple[tuple[Stratum, float], ...] = ()
        for stratum, part in chosen.opening.parts:
            for step in range(1, round(part * STEPS)) if by_steps else ():
                if not self._keeps(history, chosen, (*parts, (stratum, step / STEPS))):
                    return False
            parts = (*parts, (stratum, part))
            if not self._keeps(history, chosen, parts):
                return False
        return True

    def _keeps(self, history: Sequence[tuple[Outcome | None, ...]], chosen: Choice, parts: tuple[tuple[Stratum, float], ...]) -> bool:
        """Whether labels prove by themselves that these parts of the chosen way keep the budget."""
        opened = chosen._replace(opening=chosen.opening._replace(parts=parts))
        return is_proven(_kept_losses(history, opened), self._law.error_budget)


def fit(law: Law, observations: Iterable[Observation], counts: Mapping[tuple[str, str, str], float], now_ns: int) -> RoutePolicy:
    """The policy of a route by all its evidence, oldest first. `counts`: (tag, key of a way, stratum) -> requests lately."""
    prover = Prover(law)
    for observation in observations:
        prover.learn(observation)
    for (tag, key, stratum), times in counts.items():
        prover.saw(tag, key, stratum, times)
    return prover.policy(now_ns)


def _kept_losses(history: Sequence[tuple[Outcome | None, ...]], chosen: Choice) -> list[float]:
    """What the choice would have lost on each labelled request."""
    assert chosen.way is not None
    parts = dict(chosen.opening.parts)
    told = (outcomes[chosen.way] for outcomes in history)
    return [parts.get(each.stratum, 0.0) * each.loss for each in told if each is not None and each.loss is not None]
