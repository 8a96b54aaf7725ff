"""The route `careful` in the firm's history: first measured, then opened, through the laws that open ways in the gateway.

Which answers are right is made up, as simulated engines with a skill are right; what is shadowed, opened, kept and escalated follows from
it. What comes of a request: its record, one for each call beside it, and now and then an observation on the last of these.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Final, NamedTuple

import msgspec

from penstock.config.editions import edition_of
from penstock.config.routing import Route, Strategy
from penstock.config.settings import Settings
from penstock.demo.calendar import HOUR_NS
from penstock.demo.firm import CAREFUL
from penstock.demo.lookups import SKILLS
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged, Observation, Purpose, RouteDecision, Seen, Sign
from penstock.domain.routing.course import Course, Stage, stratum_of
from penstock.domain.routing.proving.fitting import Prover
from penstock.domain.routing.proving.knowledge import Law

LABELS: Final = 160
"""observations of a usual feature before its way is opened; in a small history more is shadowed, so that there are so many"""
MOST_SHADOWED, MOST_LATER = 0.25, 2.0
"""part of the requests before that, and times the usual share from then on, at most"""
LEARN_NS: Final = 24 * HOUR_NS
NOISE: Final = 0.06
"""standard deviation of how hard a question is to one model, beside how hard it is"""
MISTAKES: Final = 10
MISJUDGED: Final = 0.05
"""share of labels that agreement is assumed to get wrong"""
_STEEPNESS, _EASE, _DOUBT = 9.0, 1.2, 0.7


class Case(NamedTuple):
    """A request of the route, before anything is answered."""

    id: str
    at_ns: int
    tag: str
    difficulties: Sequence[float]
    """of its feature's questions, one of which it is; none: any from 0 to 1"""
    heuristic: str
    """the tier that its complexity takes"""


class Answered(NamedTuple):
    """What became of it."""

    record: UsageRecord
    asides: list[UsageRecord]


class _Draft(NamedTuple):
    record: UsageRecord
    answer: str
    sure: float


class Careful:
    """The route over the days."""

    def __init__(self, settings: Settings, measured_ns: int, learned_ns: int, shadow: float, rng: random.Random) -> None:
        """Shadows from `measured_ns` on, a share `shadow` of its requests; goes by what that has taught from `learned_ns` on."""
        route = settings.routes[CAREFUL]
        self._measured_ns, self._learned_ns, self._rng = measured_ns, learned_ns, rng
        self._tiers = route.tiers
        self._models = {tier: edition_of(settings, tier) for tier in route.tiers}
        self._law = _law(route, self._models)
        self._shadow, self._later = shadow, min(shadow / route.shadow, MOST_LATER)
        self._prover = Prover(self._law)
        self._policy = self._prover.policy(learned_ns)
        self._due_ns = learned_ns

    def answer(self, asked: Case, call: Callable[[str], UsageRecord]) -> Answered:
        """Plays a request; `call` makes the record of a tier's answer to it."""
        if asked.at_ns < self._measured_ns:
            return Answered(msgspec.structs.replace(call(asked.heuristic), id=asked.id), [])
        made: dict[str, _Draft] = {}
        question = self._rng.choice(asked.difficulties) if asked.difficulties else self._rng.random()

        def ask(tier: str) -> _Draft:
            if tier not in made:
                made[tier] = self._draft(tier, question, call(tier))
            return made[tier]

        strategy: Strategy = "by_complexity" if asked.at_ns < self._learned_ns else "learned"
        course = self._course(asked) if strategy == "learned" else Course((Stage("direct", (asked.heuristic,)),), "its complexity")
        stages = self._walked(course, asked.tag, ask)
        served = stages[-1].tiers[0]
        propensity = self._propensity(asked)
        shadowed = self._rng.random() < propensity
        decision = RouteDecision(
            tag=asked.tag,
            why=course.why,
            stages=stages,
            error_budget=self._law.error_budget,
            expected_loss=None if strategy != "learned" or (known := self._policy.of(asked.tag)) is None else known.expected_loss,
            shadowed=shadowed,
            shadow_propensity=propensity,
        )
        beside = [(tier, _purpose(tier, stages)) for tier in made if tier != served]
        if shadowed:
            beside += [(tier, "shadow") for tier in self._tiers if tier not in made]
        asides = [_aside(ask(tier).record, asked.id, purpose, strategy) for tier, purpose in beside]
        if shadowed and asides:
            seen = self._observed(asked, propensity, ask)
            asides[-1] = msgspec.structs.replace(asides[-1], observed=seen)
            self._prover.learn(seen)
        record = msgspec.structs.replace(
            made[served].record,
            id=asked.id,
            strategy=strategy,
            complexity=None if strategy == "learned" else made[served].record.complexity,
        )
        return Answered(_of_stages(made, stages, record, decision), asides)

    def _course(self, asked: Case) -> Course:
        if asked.at_ns >= self._due_ns:
            self._policy = self._prover.policy(asked.at_ns)
            self._due_ns = asked.at_ns + LEARN_NS
        known = self._policy.of(asked.tag)
        return Course((Stage("direct", self._tiers[-1:]),), "nothing is known of it") if known is None else known.course

    def _propensity(self, asked: Case) -> float:
        if asked.at_ns < self._learned_ns:
            return self._shadow
        known = self._policy.of(asked.tag)
        return self._later * (self._law.shadow if known is None else known.shadow)

    def _walked(self, course: Course, tag: str, ask: Callable[[str], _Draft]) -> tuple[Judged, ...]:
        judged: list[Judged] = []
        for stage in course.stages:
            drafts = [ask(tier) for tier in stage.tiers]
            signs = (Sign("logprobs", round(drafts[0].sure, 3)),) if stage.kind == "cascade" else ()
            stratum = stratum_of(stage, signs, len(drafts) > 1 and drafts[0].answer == drafts[1].answer)
            share = stage.share(stratum)
            kept = self._rng.random() < share
            confidence = signs[0].value if signs else None
            judged.append(Judged(stage.kind, stage.tiers, stratum, kept, share, confidence, signs))
            self._prover.saw(tag, f"{stage.kind}:{'+'.join(stage.tiers)}", stratum)
            if kept:
                break
        return tuple(judged)

    def _draft(self, tier: str, question: float, record: UsageRecord) -> _Draft:
        random, gauss = self._rng.random, self._rng.gauss
        above = SKILLS[tier] - question + gauss(0, NOISE)
        sure = 1 / (1 + exp(-(_STEEPNESS * above + _EASE + gauss(0, _DOUBT))))
        return _Draft(record, "right" if above > 0 else f"wrong-{int(random() * MISTAKES)}", sure)

    def _observed(self, asked: Case, propensity: float, ask: Callable[[str], _Draft]) -> Observation:
        """What all tiers made of it, judged by whether they agree with the last one."""
        drafts = {tier: ask(tier) for tier in self._tiers}
        reference = drafts[self._tiers[-1]].answer
        seen = tuple(
            Seen(
                tier=tier,
                quality=1.0 if draft.answer == reference else 0.0,
                cost=draft.record.cost,
                answer=draft.answer,
                confidence=None if tier == self._tiers[-1] else round(draft.sure, 3),
                model=self._models[tier],
            )
            for tier, draft in drafts.items()
        )
        length = drafts[self._tiers[0]].record.tokens.input * 4
        return Observation(
            id=asked.id,
            at_ns=asked.at_ns,
            route=CAREFUL,
            tag=asked.tag,
            seen=seen,
            judge="agreement",
            propensity=propensity,
            noise=MISJUDGED,
            length=length,
        )


def _aside(record: UsageRecord, parent: str, purpose: Purpose, strategy: Strategy) -> UsageRecord:
    """The line of a call made for a request that is not its answer."""
    return msgspec.structs.replace(
        record, purpose=purpose, parent=parent, cache="bypass", counterfactual=0, first_token_us=None, strategy=strategy, complexity=None
    )


def _of_stages(made: Mapping[str, _Draft], stages: Sequence[Judged], record: UsageRecord, decision: RouteDecision) -> UsageRecord:
    """The answer after what came before it: nothing of a stage that is judged is sent before it is whole."""
    waited_us = sum(max(made[tier].record.duration_us for tier in stage.tiers) for stage in stages[:-1])
    first_us = record.first_token_us
    if first_us is not None:
        first_us = waited_us + (first_us if stages[-1].kind == "direct" else record.duration_us)
    return msgspec.structs.replace(
        record, route=">".join("+".join(stage.tiers) for stage in stages), route_decision=decision, first_token_us=first_us,
        duration_us=waited_us + record.duration_us,
    )  # fmt: skip


def _purpose(tier: str, stages: Sequence[Judged]) -> Purpose:
    return "draft" if any(stage.tiers[0] == tier for stage in stages) else "vote"


def _law(route: Route, models: Mapping[str, str]) -> Law:
    assert route.error_budget is not None
    return Law(
        route=CAREFUL, tiers=route.tiers, strategy=route.strategy, error_budget=route.error_budget, confidence=route.confidence,
        cost_weight=route.cost_weight, shadow=route.shadow, models=models,
    )  # fmt: skip
