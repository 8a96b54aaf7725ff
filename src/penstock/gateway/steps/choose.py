"""Which model answers: the strategy's choice first, then the fallbacks, all within what the rules permit."""

from collections.abc import Sequence

from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import Refusal
from penstock.gateway.routing.planning import asks_classifier, plan_course, wished
from penstock.gateway.routing.wishes import wishes_of
from penstock.gateway.steering import steer
from penstock.gateway.targets import Candidate, Target


async def choose(gateway: Gateway, x: Exchange) -> bool:
    """Fills the course and the plan: candidates in the order in which they are tried. Raises `Refusal` (input, rule)."""
    target = x.target
    if target is None:
        return False
    await plan_course(gateway, x, target)
    x.plan = in_order(gateway, x, target)
    if gateway.standing.shifts and (x.decision is None or x.decision.error_budget is None):
        x.plan = steer(gateway, x, x.plan)  # what a route has promised is kept while an objective is missed
    if x.steered is not None:
        x.course = None
    elif x.course is not None:
        staged = {tier for stage in x.course.stages for tier in stage.tiers}
        x.plan = _with(x, x.plan[:1], [*(each for each in target.primaries if each.tier in staged), *x.plan[1:]])
    elif asks_classifier(gateway, x):
        x.plan = _with(x, x.plan, target.primaries)
    return False


def in_order(gateway: Gateway, x: Exchange, target: Target) -> tuple[Candidate, ...]:
    """The strategy's choice first, then the fallbacks, as far as rules and key permit them. Raises `Refusal` (rule)."""
    plan = _with(x, (), [each for each in (x.primary, *_instead(x, target), *target.fallback) if each is not None])
    if not plan:
        raise forbidden(x)
    return tuple([each for each in plan if gateway.speech.likely(each.upstream, x.endpoint)] or plan) if x.endpoint[0] == "/" else plan


def _with(x: Exchange, plan: Sequence[Candidate], more: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The plan, and each further candidate that may be used, once."""
    return tuple(dict.fromkeys((*plan, *(each for each in more if x.may_use(each.upstream, each.tier)))))


def _instead(x: Exchange, target: Target) -> tuple[Candidate, ...]:
    """What a key for certain tiers gets where the strategy chose another one: the next cheaper tiers to choose from, then dearer ones."""
    if x.primary is None or x.tiers is None or x.primary.tier in x.tiers:
        return ()
    ladder = target.primaries if target.route is None else wished(target, wishes_of(x, target.route))
    place = ladder.index(x.primary)
    return (*reversed(ladder[:place]), *ladder[place + 1 :])


def forbidden(x: Exchange) -> Refusal:
    """The refusal of a request that no permitted upstream can answer."""
    permitted = ", ".join(sorted(x.permitted or ())) or "none"
    return Refusal(
        403,
        "rule",
        "a rule forbids every upstream that could answer this request",
        f"With these tags only these upstreams may be used: {permitted}",
        code="rule",
    )


def passed_through(gateway: Gateway, x: Exchange) -> Candidate:
    """Where a call without a configured model goes: the upstream it names, else the only one that is permitted."""
    names = gateway.upstreams.names
    asked = x.heads.upstream
    if asked and asked not in names:
        raise Refusal(404, "input", f"there is no upstream `{asked}` here", f"There are: {', '.join(sorted(names))}")
    permitted = names if x.permitted is None else names & x.permitted
    choice = [asked] if asked else [name for name in sorted(permitted) if gateway.speech.likely(name, x.request.path)] or sorted(permitted)
    if not permitted or (asked and asked not in permitted):
        raise forbidden(x)
    if len(choice) > 1:
        raise Refusal(
            400,
            "input",
            "this call names no configured model, so it is not clear where it should go",
            f"Send `penstock-upstream: {choice[0]}`",
        )
    return Candidate(x.endpoint, choice[0], x.endpoint, None, None, None, None, None, None)
