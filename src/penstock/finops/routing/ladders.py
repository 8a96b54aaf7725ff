"""The ladder of a route: what its rungs cost on this traffic, what they are worth, and which of them is not worth its place."""

from collections.abc import Mapping
from typing import Final

import msgspec

from penstock.domain.ledger.routed import Judge
from penstock.domain.prices.book import PriceBook
from penstock.domain.routing.ladder import FOLK_ALARM, BreakEven, Dominated, Rung, break_evens, relative_costs, rungs_of
from penstock.domain.units import format_usd
from penstock.finops.routing.knowing import Known, judges_of
from penstock.finops.routing.traffic import NOMINAL, RouteTraffic, cost_per_request

NO_TRAFFIC: Final = f"a request of {NOMINAL.input:,} tokens of input and {NOMINAL.output:,} of output: there was none"


class RungTold(msgspec.Struct, frozen=True, kw_only=True):
    """One rung. None: unknown."""

    tier: str
    model: str
    request_usd: str | None
    """what a request of this traffic costs on it alone, at its prices"""
    relative: float | None
    """that over the last tier's"""
    labels: int
    """requests that its quality rests on"""
    quality: float | None
    low: float | None
    high: float | None
    dominated: Dominated | None


class LadderReport(msgspec.Struct, frozen=True, kw_only=True):
    """The rungs of a route, cheap to dear."""

    route: str
    basis: str
    """what requests the costs are of"""
    rungs: tuple[RungTold, ...]
    break_evens: tuple[BreakEven, ...]
    judges: Mapping[Judge, int]
    """who judged how many labels: `agreement` speaks of consistency, not of quality"""
    folk_alarm: tuple[float, float]
    folk: str
    notes: tuple[str, ...]


def ladder_report(known: Known, traffic: RouteTraffic, book: PriceBook, now_ns: int) -> LadderReport:
    """The ladder by the prices of its models on this traffic, and by the labels of the route."""
    total = traffic.total()
    costs = cost_per_request(total, known.models, book, now_ns)
    rungs = rungs_of(known.labels, known.tiers)
    relative = relative_costs(list(costs.values()))
    priced = [(tier, cost) for tier, cost in costs.items() if cost is not None]
    rates = break_evens(priced)
    return LadderReport(
        route=known.route,
        basis=f"the mean of {total.priced:,} requests" if total.priced else NO_TRAFFIC,
        rungs=tuple(
            RungTold(
                tier=rung.tier, model=known.models[rung.tier], request_usd=_usd(costs[rung.tier]), relative=over, labels=rung.answers,
                quality=rung.quality, low=rung.low, high=rung.high, dominated=rung.dominated,
            )
            for rung, over in zip(rungs, relative, strict=True)
        ),
        break_evens=rates,
        judges=judges_of(known.labels),
        folk_alarm=FOLK_ALARM,
        folk=_folk(rates),
        notes=tuple(_notes(rungs, costs)),
    )  # fmt: skip


def _folk(rates: tuple[BreakEven, ...]) -> str:
    fitting = [f"{'+'.join(each.tiers)} before {each.target}" for each in rates if each.folk_fits]
    where = f"here for {', '.join(fitting)}" if fitting else "for none of these"
    return f"an alarm at 30 to 40 % escalated would be right where the cheap tier costs 60 to 70 % of the next: {where}"


def _notes(rungs: tuple[Rung, ...], costs: Mapping[str, float | None]) -> list[str]:
    notes = []
    unpriced = [tier for tier, cost in costs.items() if cost is None]
    if unpriced:
        notes.append(f"no price is known of {', '.join(unpriced)}: what such a rung saves is unknown")
    unlabelled = [rung.tier for rung in rungs if rung.quality is None]
    if unlabelled:
        notes.append(f"nothing was measured of {', '.join(unlabelled)}: shadows (`shadow` of the route) bring labels")
    known = [cost for cost in costs.values() if cost is not None]
    if known != sorted(known):
        notes.append("the tiers do not stand cheap to dear by these prices")
    return notes


def _usd(nano: float | None) -> str | None:
    return None if nano is None else format_usd(round(nano))
