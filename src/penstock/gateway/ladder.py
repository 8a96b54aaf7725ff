"""The ladder of tiers, cheap to dear: what is cheaper than a candidate and may answer in its place."""

from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.targets import Candidate


def below(gateway: Gateway, x: Exchange, candidate: Candidate) -> tuple[Candidate, ...]:
    """Candidates of cheaper tiers that rules and key permit, dearest first: of the route, and for a model that was asked for by name of
    `[tiers]`. Empty where its tier is the cheapest, or it stands in none."""
    if x.target is None or candidate.tier is None:
        return ()
    ladder = x.target.primaries if len(x.target.primaries) > 1 else gateway.targets.ladder
    tiers = [each.tier for each in ladder]
    if candidate.tier not in tiers:
        return ()
    cheaper = ladder[: tiers.index(candidate.tier)]
    return tuple(each for each in reversed(cheaper) if x.may_use(each.upstream, each.tier))
