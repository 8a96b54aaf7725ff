"""Which labels count: where several speak of one request the strongest judge has the last word, and people can only make things stricter.

Feedback is no fair sample, for those who are content say nothing. On a request that was shadowed it goes before mere agreement, and only
downwards. Elsewhere it is a floor: so many requests were lost for certain. Where that floor alone is above the error budget, what people
said becomes labels; below it, it says nothing that fair labels do not say better.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Judge, Observation, Seen
from penstock.finops.routing.counting import Key, faded

STRENGTH: Final[Mapping[Judge, int]] = {"agreement": 0, "feedback": 1, "model": 2, "check": 3, "table": 4}
COMPLAINT: Final = 0.5
"""scores below say that the answer was not good enough"""


def settled(
    observations: Iterable[Observation], counts: Mapping[Key, float], error_budget: float, now_ns: int
) -> list[Observation]:  # fmt: skip
    """One label for each request, oldest first. `counts`: requests lately, by tag, stage and stratum."""
    fair: dict[str, Observation] = {}
    said: dict[str, Observation] = {}
    for each in sorted(observations, key=attrgetter("at_ns")):
        if each.judge == "feedback":
            said[each.id] = each
        elif each.id not in fair or STRENGTH[each.judge] >= STRENGTH[fair[each.id].judge]:
            fair[each.id] = each
    heeded = [_heeding(each, said.get(id)) for id, each in fair.items()]
    alone = [each for id, each in said.items() if id not in fair]
    return sorted([*heeded, *_complaints(alone, counts, error_budget, now_ns)], key=attrgetter("at_ns"))


def _heeding(fair: Observation, said: Observation | None) -> Observation:
    """Mere agreement gives way to a worse word of a person, but where the last tier says the very same: routing did not lose that."""
    if said is None or STRENGTH[fair.judge] > STRENGTH[said.judge]:
        return fair
    words = {seen.tier: seen.quality for seen in said.seen if seen.quality is not None}
    reference = fair.seen[-1]

    def worse(seen: Seen) -> Seen:
        word = words.get(seen.tier)
        same = seen is reference or (seen.answer is not None and seen.answer == reference.answer)
        if word is None or same:
            return seen
        return msgspec.structs.replace(seen, quality=word if seen.quality is None else min(word, seen.quality))

    return msgspec.structs.replace(fair, seen=tuple(worse(seen) for seen in fair.seen))


def _complaints(said: Sequence[Observation], counts: Mapping[Key, float], error_budget: float, now_ns: int) -> list[Observation]:
    """Of tags where complaints alone are more than the error budget of their requests: with a last tier that would have been right."""
    by_tag: dict[str, list[Observation]] = {}
    for each in said:
        if (word := _word(each)) is not None and word < COMPLAINT:
            by_tag.setdefault(each.tag, []).append(each)
    kept: list[Observation] = []
    for tag, complaints in by_tag.items():
        lost = sum(faded(1 - (_word(each) or 0.0), now_ns - each.at_ns) for each in complaints)
        requests = max(_requests(tag, counts), sum(faded(1, now_ns - each.at_ns) for each in complaints))
        if lost > error_budget * requests:
            kept += [_against_right(each) for each in complaints]
    return kept


def _word(said: Observation) -> float | None:
    return next((seen.quality for seen in said.seen if seen.quality is not None), None)


def _requests(tag: str, counts: Mapping[Key, float]) -> float:
    """At least so many requests of the tag: those that the stage with most of them had."""
    by_stage: dict[str, float] = {}
    for (name, stage, _), count in counts.items():
        if name == tag:
            by_stage[stage] = by_stage.get(stage, 0.0) + count
    return max(by_stage.values(), default=0.0)


def _against_right(said: Observation) -> Observation:
    *cheap, reference = said.seen
    return msgspec.structs.replace(said, seen=(*cheap, msgspec.structs.replace(reference, quality=1.0)))
