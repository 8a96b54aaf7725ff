"""The course of a request on a route: which tiers are asked, when a cheap answer is kept, and whether all of them answer beside it.

Nothing here raises the loss: what is not known, not permitted or not understood goes to the last tier, and `why` says so.
"""

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.config.routing import JUDGED, LOOKS, Route
from penstock.domain.dialects.content import images, prompts, uncounted_input
from penstock.domain.ledger.routed import RouteDecision
from penstock.domain.routing.complexity import complexity, features, score_of
from penstock.domain.routing.course import Course, Stage, by_signals
from penstock.domain.routing.needs import LEAST_BUDGET, class_of, task_of
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.scoring import placed, settled
from penstock.gateway.routing.sessions import conversation_of
from penstock.gateway.routing.wishes import Wishes, keeps_evidence, no_preset, wishes_of
from penstock.gateway.steering import fits
from penstock.gateway.targets import Candidate, Target

ANSWERS: Final = frozenset({"chat.completions", "completions", "responses", "messages"})
"""endpoints whose answers are texts that can be judged"""
STALE_NS: Final = 600 * 10**9
"""a policy this old is not renewed any more: nobody would see it drift"""
_ONE: Final = (None, 1, "1")
_SILENCE: Final = "what was measured has not been renewed for ten minutes"


class Ladder(msgspec.Struct, frozen=True):
    """The tiers that a request may choose from, cheap to dear."""

    wished: tuple[Candidate, ...]
    usable: tuple[Candidate, ...]
    """of them those that rules and key permit and, but for the last, that can take the request; never below the conversation's tier"""
    said: tuple[str, ...] = ()
    """why others are left out"""
    session: str | None = None
    """the conversation that keeps it from going down"""


async def plan_course(gateway: Gateway, x: Exchange, target: Target) -> None:
    """Sets the strategy's choice, the course of a judged route, the decision, and the complexity where it is looked at.

    Raises `Refusal` (input) for headers that say nothing.
    """
    route, x.primary = target.route, target.primaries[0]
    if route is None:
        if x.heads.preset:
            raise no_preset(x, ())
        return
    wishes = wishes_of(x, route)
    ladder = _ladder(gateway, x, target, route, wishes)
    tag = _tag(x, route) if keeps_evidence(route) else None
    found: TagPolicy | None = None
    if wishes.strategy in JUDGED:
        policy, lacking = _policy(gateway, x, target)
        found = policy.of(tag or "") if policy is not None else None
        why, expected = _judge(gateway, x, wishes, ladder, policy, found, lacking)
    else:
        why, expected = _look(gateway, x, target, wishes, ladder), None
        if wishes.strategy == "fixed" and tag is None and wishes.preset is None:
            return
    share = _shadow_share(gateway, x, target, route, found) if tag is not None else None
    shadowed = share is not None and random.random() < share  # noqa: S311  a sample, no secret
    if shadowed and x.complexity is None and x.body is not None:
        x.complexity = complexity(x.body)
    x.decision = RouteDecision(
        tag=tag,
        why="; ".join((why, *ladder.said)),
        error_budget=wishes.error_budget,
        expected_loss=expected,
        preset=wishes.preset,
        session=ladder.session,
        shadowed=shadowed,
        shadow_propensity=share,
    )


def wished(target: Target, wishes: Wishes) -> tuple[Candidate, ...]:
    """The tiers of a route that a request may choose from, permitted or not."""
    return tuple(each for each in target.primaries if each.tier in wishes.tiers)


def asks_classifier(gateway: Gateway, x: Exchange) -> bool:
    """Whether a model is asked how demanding the request is, before its plan is settled. It is not where a small budget has settled it."""
    route = x.target.route if x.target is not None else None
    if route is None or route.classifier is None or x.endpoint not in ANSWERS or x.steered is not None:
        return False
    wishes, upstream = wishes_of(x, route), gateway.targets.candidate(route.classifier).upstream
    if wishes.strategy != "by_complexity" or (wishes.error_budget is not None and wishes.error_budget <= LEAST_BUDGET):
        return False
    return x.permitted is None or upstream in x.permitted


def _ladder(gateway: Gateway, x: Exchange, target: Target, route: Route, wishes: Wishes) -> Ladder:
    among = wished(target, wishes)
    usable = [each for each in among if x.may_use(each.upstream, each.tier)]
    said: list[str] = []
    session = None
    if wishes.strategy in JUDGED:
        for each in usable[:-1]:
            if (reason := _unfit(gateway, x, each)) is not None:
                said.append(f"{each.label} is left out: {reason}")
                usable.remove(each)
        said += [f"{each.label} may not be used" for each in among if not x.may_use(each.upstream, each.tier)]
    if route.sticky is not None and x.body is not None and wishes.strategy != "fixed":
        x.conversation, goes_on = conversation_of(x, x.body, target.name)
        floor = gateway.sessions.floor(x.conversation) if goes_on else None
        tiers = [each.tier for each in target.primaries]
        higher = [each for each in usable if floor in tiers and tiers.index(each.tier) >= tiers.index(floor)]
        if higher and len(higher) < len(usable):
            usable, session = higher, x.conversation
            said.append(f"the conversation stays with {floor} or above")
    return Ladder(among, tuple(usable), tuple(said), session)


def _unfit(gateway: Gateway, x: Exchange, candidate: Candidate) -> str | None:
    """Why a tier cannot take the request."""
    if not fits(x, candidate):
        return "the request does not fit its context"
    if gateway.speech.endpoint(candidate.upstream, x.endpoint) is None:
        return "its upstream does not speak the client's dialect"
    return None


def _look(gateway: Gateway, x: Exchange, target: Target, wishes: Wishes, ladder: Ladder) -> str:
    """The choice of strategies that look at no answer."""
    if wishes.strategy == "fixed":
        x.primary = ladder.wished[0]
        return f"{x.primary.label} is fixed"
    assert x.body is not None
    points = features(x.body)
    x.complexity = score_of(points)
    place, why = placed(target, wishes, x.complexity, task_of(points))
    x.primary, why = settled(gateway, x, wishes, ladder.wished, not_below(ladder, place), why)
    return why


def not_below(ladder: Ladder, place: int) -> int:
    """A place on the ladder, not below the tier of the conversation."""
    return place if ladder.session is None else max(place, ladder.wished.index(ladder.usable[0]))


def _judge(
    gateway: Gateway, x: Exchange, wishes: Wishes, ladder: Ladder, policy: RoutePolicy | None, found: TagPolicy | None, lacking: str
) -> tuple[str, float | None]:
    """Sets the course of a judged strategy, and as its choice what is asked at the end. Why, and the loss that is expected of it."""
    last = (ladder.usable or ladder.wished)[-1]
    course, expected = _course(x, wishes, last, policy, found, lacking)
    stages = _within(course.stages, [each.label for each in ladder.usable], wishes.confidence)
    if len(stages) < len(course.stages) or last is not ladder.wished[-1]:
        expected = None  # it was measured with what is left out
    end = stages[-1].tiers[0] if stages and stages[-1].kind == "direct" else last.label
    if not stages or stages[-1].kind != "direct" or end != last.label:
        stages = *stages, Stage("direct", (last.label,))
    x.course = Course(stages, course.why)
    x.primary = next(each for each in (*ladder.usable, last) if each.label == end)
    if wishes.latency_s is not None:
        return f"{course.why}; how long an answer may take is only looked at by `by_complexity`", expected
    return course.why, expected


def _course(
    x: Exchange, wishes: Wishes, last: Candidate, policy: RoutePolicy | None, found: TagPolicy | None, lacking: str
) -> tuple[Course, float | None]:
    """The course before rules, key and conversation have their say."""
    safe = (Stage("direct", (last.label,)),)
    if (barred := _barred(x)) is not None:
        return Course(safe, f"{barred}: the last tier answers"), None
    signals = by_signals(wishes.strategy, wishes.tiers, wishes.confidence)
    if wishes.error_budget is None:
        return Course(signals, "no error budget is set: answers are kept by their signals alone"), None
    lacking = lacking or _too_lossy(wishes, policy, found)
    if found is not None and not lacking:
        return Course(found.course.stages, found.course.why), found.expected_loss
    if wishes.strategy == "gate" and not wishes.stricter and lacking != _SILENCE:
        return Course(signals, f"{lacking}: an answer is kept where both cheap tiers give it"), None
    return Course(safe, f"{lacking}: the last tier answers"), None


def _policy(gateway: Gateway, x: Exchange, target: Target) -> tuple[RoutePolicy | None, str]:
    """What has been proven of a route; else None, and why it does not count."""
    policy = gateway.policies.of(target.name)
    if policy is None or not any(tag.labels for tag in policy.tags.values()):
        return None, "nothing has been measured on this route yet"
    if x.admitted_ns - policy.at_ns > STALE_NS:
        return None, _SILENCE
    changed = [each.label for each in target.primaries if policy.models.get(each.label) != each.edition]
    if changed:
        return None, f"what was measured is about another model of {' and '.join(changed)}"
    return policy.sla.get(x.sla or "", policy), ""


def _too_lossy(wishes: Wishes, policy: RoutePolicy | None, found: TagPolicy | None) -> str:
    """Why what was measured of a tag does not serve this request; empty: it does."""
    if policy is None or found is None:
        return "nothing is known of requests with this tag"
    kinds = {stage.kind for stage in found.course.stages}
    if wishes.strategy != "learned" and not kinds <= {"direct", wishes.strategy}:
        return f"what was measured is about another strategy than `{wishes.strategy}`"
    assert wishes.error_budget is not None
    if wishes.error_budget >= policy.error_budget or found.course.stages[0].tiers == wishes.tiers[-1:]:
        return ""
    bound = found.at_most if found.state == "proven" and found.at_most is not None else found.loss_high
    if bound is None:
        return "how much may be lost is not known well enough"
    return "" if bound <= wishes.error_budget else f"up to {bound:.2%} may be lost, and {wishes.error_budget:.2%} are accepted"


def _within(stages: Sequence[Stage], tiers: Sequence[str], confidence: float) -> tuple[Stage, ...]:
    """Stages of which every tier may be asked, up to the first that is never judged. What would be asked at the end is asked once."""
    kept: list[Stage] = []
    for stage in stages:
        if not set(stage.tiers) <= set(tiers):
            continue
        if stage.kind == "direct":
            return *kept, stage
        if tiers[-1] in stage.tiers:
            continue
        if stage.confidence is not None and stage.confidence < confidence:
            stage = msgspec.structs.replace(stage, confidence=confidence)
        kept.append(stage)
    return tuple(kept)


def _barred(x: Exchange) -> str | None:
    """Why no cheap answer to this request can be judged."""
    body = x.body
    if x.endpoint not in ANSWERS or body is None:
        return "what is asked for is no text"
    if any(isinstance(body.get(name), bool) or body.get(name) not in _ONE for name in ("n", "best_of")) or prompts(body) > 1:
        return "several answers are asked for"
    if body.get("background"):
        return "the answer is made in the background"
    if body.get("modalities") not in (None, ["text"]) or body.get("audio") is not None:
        return "more than text is asked for"
    return "it is about more than stands in the request" if uncounted_input(body) else None


def _shadow_share(gateway: Gateway, x: Exchange, target: Target, route: Route, found: TagPolicy | None) -> float | None:
    """The probability with which all tiers answer the request, beside what the client gets; None: they never do."""
    body = x.body
    if gateway.shadows is None or body is None or _barred(x) is not None or x.heads.cache == b"no-store":
        return None
    if images(body) or body.get("tools") or body.get("functions"):
        return None
    if not all(x.may_use(each.upstream, each.tier) for each in target.primaries):
        return None
    return (route.shadow if found is None else found.shadow) or None


def _tag(x: Exchange, route: Route) -> str:
    """The values of the route's `by`: tags, or what the request looks like."""
    looks: dict[str, str] = {}
    if x.body is not None and not LOOKS.isdisjoint(route.by):
        points = features(x.body)
        x.complexity = score_of(points)
        looks = {"task": task_of(points), "complexity": class_of(x.complexity, "open")}
    return " / ".join(looks.get(name) or x.tags.get(name, "unknown") for name in route.by) or "all"
