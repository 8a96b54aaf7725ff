"""What went over a route in a window, tag by tag: who answered, what was escalated, what it cost, and what it would have cost on each tier.

It is read from records, the newest ones up to `MOST`, for no sums are kept by what clients ask for. Money is nano-USD.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import price_call
from penstock.domain.ledger.grouping import key_of
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import REPLAYED, UsageRecord
from penstock.domain.prices.book import PriceBook
from penstock.domain.routing.proving.observation import tag_of
from penstock.finops.ledger import Ledger

MOST: Final = 10_000
"""records of a route that are read, lines of calls beside requests included"""
NOMINAL: Final = Tokens(1_000, 0, 0, 300, 0)
"""a request that tiers are priced on where there was none"""
MEASURING: Final = ("shadow", "judge")
"""purposes of calls that measure, and answer nobody"""


class Traffic(msgspec.Struct):
    """One tag, or all of a route. Additive."""

    requests: int = 0
    """answered by a model"""
    replayed: int = 0
    """by the cache: no tier was asked"""
    failed: int = 0
    priced: int = 0
    """requests whose cost is known on every tier as well as in fact"""
    cost: int = 0
    """of the priced ones"""
    beside: int = 0
    """calls made for requests to be answered: drafts, votes, verifiers ..."""
    measuring: int = 0
    """calls made to measure: shadows and judges"""
    beside_unpriced: int = 0
    on: dict[str, int] = {}
    """tier -> what it would have cost to ask it alone, of the priced requests"""
    by_tier: dict[str, int] = {}
    """who answered; `other` for what is no tier of the route"""
    days: dict[str, dict[str, int]] = {}
    """day (UTC) -> the same"""
    judged: int = 0
    """requests with a first stage whose answer was judged"""
    escalated: int = 0
    gates: int = 0
    agreed: int = 0
    shadowed: int = 0

    def add(self, other: "Traffic") -> None:
        """Puts another tag's beside it."""
        for name in self.__struct_fields__:
            mine, more = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + more)
        for tier, cost in other.on.items():
            self.on[tier] = self.on.get(tier, 0) + cost
        _count(self.by_tier, other.by_tier)
        for day, tiers in other.days.items():
            _count(self.days.setdefault(day, {}), tiers)

    @property
    def spent(self) -> int:
        """What the priced requests cost, with every call that was made for them."""
        return self.cost + self.beside + self.measuring


class RouteTraffic(msgspec.Struct, frozen=True):
    """A route in a window, by tag."""

    tags: Mapping[str, Traffic]
    whole: bool
    """False: only the newest records were read"""
    oldest_ns: int | None = None
    """admission of the first one that was"""

    def total(self) -> Traffic:
        """Of all tags."""
        total = Traffic()
        for each in self.tags.values():
            total.add(each)
        return total


def route_traffic(
    ledger: Ledger, query: CostQuery, by: Sequence[str], models: Mapping[str, str], book: PriceBook, most: int = MOST
) -> RouteTraffic:
    """What a query finds, by the values of a route's `by`; `models`: tier -> model. The query's own keys are not looked at."""
    query = msgspec.structs.replace(query, by=())
    records = ledger.records(query, limit=most + 1)
    tags: dict[str, Traffic] = {}
    seen, oldest_ns = 0, None
    for record in records:
        seen += 1
        if seen > most:
            break
        oldest_ns = record.admitted_ns
        _take(tags, record, by, models, book)
    return RouteTraffic(tags, seen <= most, oldest_ns)


def _take(tags: dict[str, Traffic], record: UsageRecord, by: Sequence[str], models: Mapping[str, str], book: PriceBook) -> None:
    if record.outcome == "refused":
        return
    decision = record.route_decision
    tag = decision.tag if decision is not None and decision.tag is not None else tag_of(record.tags, by)
    of = tags.setdefault(tag, Traffic())
    if record.purpose is not None:
        _aside(of, record)
    elif record.cache in REPLAYED:
        of.replayed += 1
    elif record.outcome in ("error", "interrupted") or record.model is None:
        of.failed += 1
    else:
        _answered(of, record, models, book)


def _aside(of: Traffic, record: UsageRecord) -> None:
    if record.cost is None:
        of.beside_unpriced += 1
    elif record.purpose in MEASURING:
        of.measuring += record.cost
    else:
        of.beside += record.cost


def _answered(of: Traffic, record: UsageRecord, models: Mapping[str, str], book: PriceBook) -> None:
    of.requests += 1
    tier = next((name for name, model in models.items() if name == record.tier or model == record.model), "other")
    _count(of.by_tier, {tier: 1})
    _count(of.days.setdefault(key_of(record, "day") or "", {}), {tier: 1})
    decision = record.route_decision
    if decision is not None:
        of.shadowed += decision.shadowed
        first = decision.stages[0] if decision.stages else None
        if first is not None and first.kind != "direct":
            of.judged += 1
            of.escalated += not first.kept
        gates = [judged for judged in decision.stages if judged.kind == "gate" and judged.stratum != "failed"]
        of.gates += len(gates)
        of.agreed += sum(judged.stratum == "agree" for judged in gates)
    costs = {name: price_call(book, model, record.tokens, record.admitted_ns, record.parts).cost for name, model in models.items()}
    known = {name: cost for name, cost in costs.items() if cost is not None}
    if record.cost is not None and len(known) == len(costs):
        of.priced += 1
        of.cost += record.cost
        for name, cost in known.items():
            of.on[name] = of.on.get(name, 0) + cost


def _count(into: dict[str, int], more: Mapping[str, int]) -> None:
    for key, count in more.items():
        into[key] = into.get(key, 0) + count


def cost_per_request(traffic: Traffic, models: Mapping[str, str], book: PriceBook, at_ns: int) -> dict[str, float | None]:
    """Nano-USD of a request on each tier alone: mean of this traffic, or of a nominal request where there was none. None: no price."""
    if traffic.priced:
        return {tier: traffic.on[tier] / traffic.priced for tier in models}
    return {tier: price_call(book, model, NOMINAL, at_ns).cost for tier, model in models.items()}


def named_tiers(counts: Mapping[str, int], order: Iterable[str]) -> dict[str, float]:
    """Shares of who answered, cheap to dear, `other` last; empty where nobody did."""
    total = sum(counts.values())
    return {tier: counts[tier] / total for tier in (*order, "other") if counts.get(tier)}
