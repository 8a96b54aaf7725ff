"""The right size of every feature: the smallest tier that keeps its error budget, beside what it costs and what it is worth."""

from collections.abc import Mapping, Sequence

import msgspec

from penstock.config.settings import Settings
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.right_size import TierLoss, right_size
from penstock.domain.units import format_usd
from penstock.finops.costs import share
from penstock.finops.ledger import Summed
from penstock.finops.routing.knowing import Known

FEATURE = "feature"
NO_BUDGET = "neither the route nor the feature has an error budget"


class FeatureSize(msgspec.Struct, frozen=True, kw_only=True):
    """One feature on one route. None: unknown."""

    feature: str
    route: str
    error_budget: float | None
    smallest: str | None
    """tier that keeps the budget by what was measured"""
    proven: str | None
    """tier of which the labels prove it"""
    labels: int
    lacking: int | None
    """about how many labels more would prove the smallest"""
    next_label_usd: str | None
    """what one more costs"""
    tiers: tuple[TierLoss, ...]
    mix: Mapping[str, float]
    """tier -> share of its requests now, whatever route they came by"""
    cost_usd: str | None
    cost_share: float | None
    """of the cost of all features"""
    value_share: float | None
    """of the value of all features that have one"""
    why: str


class SizesReport(msgspec.Struct, frozen=True, kw_only=True):
    """Every feature of every route with tiers."""

    rows: tuple[FeatureSize, ...]
    unvalued: tuple[str, ...]
    """features without a `value`"""


class _Spent(msgspec.Struct):
    cost: int = 0
    known: bool = True
    tiers: dict[str, int] = {}


def sizes_report(settings: Settings, routes: Sequence[Known], ledger: Summed, query: CostQuery) -> SizesReport:
    """The sizes; what features cost, and who answers them, is of the query's window and filters."""
    spent = _spent(ledger, query)
    whole = sum(each.cost for each in spent.values())
    values = {name: given.value for name, given in settings.features.items() if given.value is not None}
    worth = sum(values.values())
    rows = []
    measured = {known.route: _by_feature(known) for known in routes}
    lacking = settings.features.keys() - {feature for labels in measured.values() for feature in labels}
    for known in routes:
        labels = measured[known.route]
        for feature in sorted({*labels, *(lacking if FEATURE in known.config.by else ())}):
            own = spent.get(feature, _Spent())
            rows.append(
                msgspec.structs.replace(
                    _row(settings, known, feature, labels.get(feature, ())),
                    mix={tier: count / sum(own.tiers.values()) for tier, count in sorted(own.tiers.items(), key=lambda each: -each[1])},
                    cost_usd=format_usd(own.cost) if own.known else None,
                    cost_share=share(own.cost, whole) if own.known else None,
                    value_share=values[feature] / worth if worth and feature in values else None,
                )
            )
    return SizesReport(rows=tuple(rows), unvalued=tuple(sorted({row.feature for row in rows} - values.keys())))


def _by_feature(known: Known) -> dict[str, list[Observation]]:
    """Labels by feature; by the whole tag where the route does not go by it."""
    at = known.config.by.index(FEATURE) if FEATURE in known.config.by else None
    found: dict[str, list[Observation]] = {}
    for each in known.labels:
        parts = each.tag.split(" / ")
        name = parts[at] if at is not None and len(parts) == len(known.config.by) else each.tag
        found.setdefault(name, []).append(each)
    return found


def _row(settings: Settings, known: Known, feature: str, labels: Sequence[Observation]) -> FeatureSize:
    given = settings.features.get(feature)
    budget = given.error_budget if given is not None and given.error_budget is not None else known.config.error_budget
    found = None if budget is None else right_size(labels, known.tiers, budget)
    return FeatureSize(
        feature=feature,
        route=known.route,
        error_budget=budget,
        smallest=None if found is None else found.smallest,
        proven=None if found is None else found.proven,
        labels=len(labels),
        lacking=None if found is None else found.lacking,
        next_label_usd=next_label(known, labels or known.labels),
        tiers=() if found is None else found.tiers,
        mix={},
        cost_usd=None,
        cost_share=None,
        value_share=None,
        why=_why(budget, found.smallest if found is not None else None, found.lacking if found is not None else None, len(labels)),
    )


def _why(budget: float | None, smallest: str | None, lacking: int | None, labels: int) -> str:
    if budget is None:
        return NO_BUDGET
    if lacking == 0:
        return "its labels prove it"
    more = "" if lacking is None else f"; about {lacking:,} {'more ' if labels else ''}labels would prove it"
    if not labels:
        return f"nothing was measured{more}"
    return f"measured, not proven{more}" if smallest is not None and lacking is not None else f"every smaller tier loses more{more}"


def next_label(known: Known, labels: Sequence[Observation]) -> str | None:
    """What one more label costs, in USD: all tiers but those that are asked first anyway. None: unknown."""
    costs = []
    for each in labels:
        policy = known.policy.of(each.tag) if known.policy is not None else None
        asked = known.tiers[-1:] if policy is None else policy.course.stages[0].tiers
        beside = [seen.cost for seen in each.seen if seen.tier not in asked]
        costs += [sum(cost for cost in beside if cost is not None)] if None not in beside else []
    return format_usd(round(sum(costs) / len(costs))) if costs else None


def _spent(ledger: Summed, query: CostQuery) -> dict[str, _Spent]:
    """What features cost with all that was called for them, and which tiers answered."""
    found: dict[str, _Spent] = {}
    for (feature, tier), sums in ledger.sums(msgspec.structs.replace(query, by=(FEATURE, "tier"))):
        if feature is None:
            continue
        own = found.setdefault(feature, _Spent())
        own.cost += sums.cost
        own.known = own.known and not (sums.requests and not sums.priced)
        if sums.requests:
            own.tiers[tier or "unknown"] = own.tiers.get(tier or "unknown", 0) + sums.requests
    return found
