"""The stages that a request really goes through: those of its course, with the candidates that its rules, its key and its route leave."""

import msgspec

from penstock.domain.routing.course import Stage
from penstock.gateway.exchange import Exchange
from penstock.gateway.targets import Candidate


class Leg(msgspec.Struct, frozen=True):
    """A stage that is judged, and who is asked; the first one's answer is the one that may be kept."""

    stage: Stage
    candidates: tuple[Candidate, ...]


class Path(msgspec.Struct, frozen=True):
    """Stages in order, then who is asked when none of their answers is kept: the last tier, and after it the fallbacks."""

    legs: tuple[Leg, ...]
    finals: tuple[Candidate, ...]


def path_of(x: Exchange) -> Path | None:
    """The path of a request over its plan; None where nothing is judged on it.

    A stage lacking one of its tiers is left out; the last stage that is not is never judged.
    """
    if x.course is None or all(stage.kind == "direct" for stage in x.course.stages):
        return None
    by_tier = {each.tier: each for each in reversed(x.plan) if each.tier is not None}
    legs = [Leg(stage, tuple(by_tier[tier] for tier in stage.tiers)) for stage in x.course.stages if by_tier.keys() >= set(stage.tiers)]
    end = next((place for place, leg in enumerate(legs) if leg.stage.kind == "direct"), len(legs) - 1)
    last, legs = legs[end : end + 1], legs[: max(end, 0)]
    finals = tuple(leg.candidates[0] for leg in last)
    staged = {tier for stage in x.course.stages for tier in stage.tiers} if last else set()
    named = x.target.fallback if x.target is not None else ()
    rest = tuple(each for each in x.plan if each not in finals and (each.tier not in staged or each in named))
    return Path(tuple(legs), finals + rest)
