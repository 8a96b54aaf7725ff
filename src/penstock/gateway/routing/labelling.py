"""From the answers of all tiers to one label: by the route's checks, else by a judge model, else by agreement with the last tier.

Agreement is consistency, not quality: the last tier counts as right there, and so it does before a judge model, which is asked whether a
cheap answer is worse. Each judge errs: the share of its labels that are assumed to be wrong stands on the observation.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Judge, Judged, Observation, Seen
from penstock.domain.routing.agreement.canonical import digest
from penstock.domain.routing.course import Stage, confidence_of
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.asides import Draft, ask, book
from penstock.gateway.routing.comparing import Verdict, asked_of, comparison, quality_of, verdict_of
from penstock.gateway.routing.judging import alike, form_of, judge, quality, question_of
from penstock.gateway.targets import Candidate

NOISE: Final[Mapping[Judge, float]] = {"check": 0.0, "model": 0.1, "agreement": 0.05}
"""share of labels that a judge is assumed to get wrong, unless it is measured: a check is what the operator calls right; of a judge model
and of comparing answers these are cautious guesses, which widen every bound"""


Alikeness = Mapping[tuple[int, int], bool | None]
"""places of two tiers, cheap to dear -> whether their answers say the same; None: it cannot be told"""


class Told(msgspec.Struct, frozen=True):
    """The answer of one tier, and what it cost (nano-USD; None: unknown)."""

    draft: Draft
    cost: int | None


async def observed(gateway: Gateway, x: Exchange, s: Exchange, told: Sequence[Told]) -> Observation:
    """The label of request `x` by its tiers' answers, cheap to dear; what judging costs stands on lines of `s`."""
    assert x.target is not None and x.decision is not None
    question = question_of(x) or ""
    alike = await _alikeness(gateway, s, told)
    judged, qualities = await _qualities(gateway, s, told, alike)
    answers = _digests(told, alike, question)
    seen = [await _seen(gateway, x, s, each, good, answer) for each, good, answer in zip(told, qualities, answers, strict=True)]
    return Observation(
        id=x.id,
        at_ns=x.admitted_ns,
        route=x.target.name,
        tag=x.decision.tag or "",
        seen=tuple(seen),
        judge=judged,
        propensity=x.decision.shadow_propensity or 1.0,
        noise=NOISE[judged],
        complexity=x.complexity,
        length=len(question),
    )


async def _alikeness(gateway: Gateway, s: Exchange, told: Sequence[Told]) -> Alikeness:
    """Whether any two answers say the same."""
    pairs = combinations([place for place, each in enumerate(told) if each.draft.ok], 2)
    return {(one, other): await alike(gateway, s, told[one].draft, told[other].draft) for one, other in pairs}


def _digests(told: Sequence[Told], alike: Alikeness, question: str) -> list[str | None]:
    """Equal for answers that say the same: each takes that of the dearest one that it is the same as."""
    found = [digest(form_of(each.draft, question)) if each.draft.ok else None for each in told]
    for place in reversed(range(len(told))):
        for other in reversed(range(place + 1, len(told))):
            if alike.get((place, other)):
                found[place] = found[other]
                break
    return found


async def _qualities(gateway: Gateway, s: Exchange, told: Sequence[Told], alike: Alikeness) -> tuple[Judge, list[float | None]]:
    """Who judged, and the quality of each tier's answer. Without a check a last tier that was cut off, declines, or lacks the form asked
    for is no reference: then nobody can tell."""
    last = len(told) - 1
    checked = [(await quality(gateway, s, each.draft))[0] for each in told]
    if gateway.checks is not None and gateway.checks.of(s) and checked[last] is not None:
        if any(each is not None for each in checked[:last]):
            return "check", checked
    elif checked[last] == 0.0:
        return "agreement", [None] * len(told)
    agreed = [_agreed(alike.get((place, last))) for place in range(last)]
    asked, reference = _judge_of(gateway, s), told[last].draft.text
    if asked is None or reference is None or all(each == 1.0 for each in agreed):
        return "agreement", [*agreed, 1.0]
    compared = [
        good if good == 1.0 else await _compared(gateway, s, asked, each.draft.text, reference)
        for each, good in zip(told, agreed, strict=False)
    ]
    return "model", [*compared, 1.0]


def _agreed(alike: bool | None) -> float | None:
    return None if alike is None else float(alike)


def _judge_of(gateway: Gateway, x: Exchange) -> Candidate | None:
    """The judge model of the route, where the request's rules let its upstream see it."""
    route = x.target.route if x.target is not None else None
    if route is None or route.judge is None:
        return None
    candidate = gateway.targets.candidate(route.judge)
    return candidate if x.permitted is None or candidate.upstream in x.permitted else None


async def _compared(gateway: Gateway, s: Exchange, asked: Candidate, answer: str | None, reference: str) -> float | None:
    """Quality of a cheap answer by the words of a judge model on both orders; None where it gives no clear word on one."""
    if answer is None:
        return None
    words = await asyncio.gather(
        _word(gateway, s, asked, answer, reference), _word(gateway, s, asked, reference, answer)
    )  # fmt: skip
    return quality_of(*words)


async def _word(gateway: Gateway, s: Exchange, asked: Candidate, first: str, second: str) -> Verdict | None:
    body = comparison(asked.upstream_model, asked_of(s.body or {}), first, second)
    if body is None:
        return None
    draft = await ask(gateway, s, asked, "judge", body=body)
    book(gateway, s, draft, "judge")
    return verdict_of(draft.text)


async def _seen(gateway: Gateway, x: Exchange, s: Exchange, told: Told, good: float | None, answer: str | None) -> Seen:
    candidate = told.draft.candidate
    seen = Seen(candidate.label, good, told.cost, answer, model=candidate.edition)
    if x.target is not None and candidate == x.target.primaries[-1]:
        return seen
    if not told.draft.ok:
        return msgspec.structs.replace(seen, failed=True)
    confidence, failed = await _signs(gateway, x, s, told.draft)
    return msgspec.structs.replace(seen, confidence=confidence, failed=failed)


async def _signs(gateway: Gateway, x: Exchange, s: Exchange, draft: Draft) -> tuple[float | None, bool]:
    """Confidence of a cheap answer, and whether something speaks against it: as it was judged on its way, else as it would be."""
    route = x.target.route if x.target is not None else None
    assert route is not None and x.decision is not None
    before = _judged(x.decision.stages, draft.candidate.label)
    if before is not None:
        return before.confidence, before.stratum == "failed"
    stage = Stage("gate" if route.strategy == "gate" else "cascade", (draft.candidate.label,), confidence=route.confidence)
    verdict = await judge(gateway, s, stage, (draft,))
    return confidence_of(verdict.signs), any(sign.fails for sign in verdict.signs)


def _judged(stages: Sequence[Judged], tier: str) -> Judged | None:
    return next((judged for judged in stages if judged.kind == "cascade" and judged.tiers[0] == tier), None)
