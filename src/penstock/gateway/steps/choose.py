"""Which model answers: the strategy's choice first, then the fallbacks, all within what the rules permit."""

from penstock.domain.routing.complexity import complexity
from penstock.domain.routing.tiers import choose_tier
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import Refusal
from penstock.gateway.targets import Candidate, Target


async def choose(gateway: Gateway, x: Exchange) -> bool:
    """Fills the plan: candidates in the order in which they are tried. Raises `Refusal` (rule)."""
    if x.target is None:
        return False
    x.primary = _primary(x, x.target)
    ordered = (x.primary, *x.target.fallback)
    plan = []
    for candidate in ordered:
        if candidate not in plan and (x.permitted is None or candidate.upstream in x.permitted):
            plan.append(candidate)
    if not plan:
        raise forbidden(x)
    x.plan = (
        tuple([each for each in plan if gateway.speech.likely(each.upstream, x.endpoint)] or plan) if x.endpoint[0] == "/" else tuple(plan)
    )
    return False


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
