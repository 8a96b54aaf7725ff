"""Which model answers: the strategy's choice first, then the fallbacks, all within what the rules permit."""

from penstock.domain.routing.complexity import complexity
from penstock.domain.routing.tiers import choose_tier
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import Refusal
from penstock.gateway.steering import steer
from penstock.gateway.targets import Candidate, Target


async def choose(gateway: Gateway, x: Exchange) -> bool:
    """Fills the plan: candidates in the order in which they are tried. Raises `Refusal` (rule)."""
    if x.target is None:
        return False
    x.primary = _primary(x, x.target)
    ordered = (x.primary, *_instead(x, x.target), *x.target.fallback)
    plan = []
    for candidate in ordered:
        if candidate not in plan and x.may_use(candidate.upstream, candidate.tier):
            plan.append(candidate)
    if not plan:
        raise forbidden(x)
    x.plan = (
        tuple([each for each in plan if gateway.speech.likely(each.upstream, x.endpoint)] or plan) if x.endpoint[0] == "/" else tuple(plan)
    )
    if gateway.standing.shifts:
        x.plan = steer(gateway, x, x.plan)
    return False


def _instead(x: Exchange, target: Target) -> tuple[Candidate, ...]:
    """What a key for certain tiers gets where the strategy chose another one: the route's next cheaper tiers, then its dearer ones."""
    if x.primary is None or x.tiers is None or x.primary.tier in x.tiers:
        return ()
    place = target.primaries.index(x.primary)
    return (*reversed(target.primaries[:place]), *target.primaries[place + 1 :])


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


def _primary(x: Exchange, target: Target) -> Candidate:
    if target.strategy != "by_complexity":
        return target.primaries[0]
    assert x.body is not None
    x.complexity = complexity(x.body)
    chosen = choose_tier(target.laws, x.complexity)
    return next(candidate for candidate in target.primaries if candidate.tier == chosen)


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
