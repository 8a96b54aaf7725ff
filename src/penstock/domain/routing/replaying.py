"""What a course would have made of a request that all tiers have answered: the mean over its coins."""

from typing import NamedTuple

from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.course import Course
from penstock.domain.routing.proving.ways import Way, outcome_of


class Replayed(NamedTuple):
    """One request on one course. None: unknown. Costs are nano-USD."""

    quality: float | None
    cost: float | None
    """of every call, kept or not"""
    reached: tuple[float, ...]
    """probability that a stage is asked, by stage"""
    reference_quality: float | None


def replayed(course: Course, observation: Observation) -> Replayed | None:
    """None where what a stage goes by is not known of the request."""
    by_tier = {seen.tier: seen for seen in observation.seen}
    reach, quality, cost = 1.0, 0.0, 0.0
    reached: list[float] = []
    told, priced = True, True
    for at, stage in enumerate(course.stages):
        way = Way(stage.kind, stage.tiers, stage.confidence)
        outcome = outcome_of(way, observation)
        reached.append(reach)
        if outcome is None and reach:
            return None
        if outcome is None:
            continue
        is_last = at == len(course.stages) - 1
        kept = reach * (1.0 if is_last else stage.share(outcome.stratum))
        own = by_tier[stage.tiers[0]].quality
        quality, told = quality + kept * (own or 0.0), told and (own is not None or not kept)
        cost, priced = cost + reach * (outcome.cost or 0), priced and (outcome.cost is not None or not reach)
        reach -= kept
    return Replayed(quality if told else None, cost if priced else None, tuple(reached), observation.seen[-1].quality)
