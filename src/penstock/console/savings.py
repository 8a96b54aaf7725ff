"""Savings: from what the baseline would have cost to what was paid, lever by lever, and by whom."""

from decimal import Decimal

import msgspec

from penstock.console import words
from penstock.console.caching import CachingView, caching_view
from penstock.console.context import Context, Sheet, View
from penstock.console.periods import period_words, steps_of, windows
from penstock.console.query import Address
from penstock.domain.units import usd
from penstock.finops import savings as figures
from penstock.finops.caching_value import caching_value
from penstock.finops.costs import share
from penstock.finops.savings import OF_THE_CACHE, LeverName, SavingsRow

NAMES: dict[LeverName, str] = {
    "routing": "routing",
    "processing": "processing class",
    "exact_cache": "exact cache",
    "normalised_cache": "normalised cache",
    "semantic_cache": "semantic cache",
    "embedding": "embeddings",
    "asides": "calls beside",
    "wasted_tries": "tries in vain",
}
LEVERS = tuple(NAMES)
ALWAYS: tuple[LeverName, ...] = ("routing", "exact_cache", "wasted_tries")
"""levers that are shown even where they did nothing"""


class LeverView(msgspec.Struct, frozen=True, kw_only=True):
    """One lever: what it took off the cost (below 0: put on), as a decimal string of USD."""

    lever: str
    name: str
    saved_usd: str
    share: float | None
    """of what the baseline would have cost"""
    requests: int
    meaning: str


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The same for one group: its keys, and each lever by name."""

    keys: dict[str, str | None]
    compared: int
    counterfactual_usd: str
    paid_usd: str
    saved_usd: str
    saved_share: float | None
    cache_usd: str
    """by all layers of the cache, less embeddings"""
    levers_usd: dict[str, str]


class SavingsView(View, frozen=True, kw_only=True):
    """The page: the levers over the window, by group, and by day."""

    baselines: tuple[str, ...]
    definition: str
    not_told: str
    """what is no lever here, and why"""
    compared: int
    counterfactual_usd: str
    paid_usd: str
    saved_usd: str
    saved_share: float | None
    levers: tuple[LeverView, ...]
    apart: int
    apart_cost_usd: str
    unpriced: int
    asides_unpriced: int
    """calls beside requests without a known cost"""
    caching: CachingView
    groups: tuple[Group, ...]
    days: tuple[Group, ...]
    windows: tuple[tuple[str, str], ...]
    offered: tuple[str, ...]


def build(context: Context, address: Address) -> SavingsView:
    """The page from one reading."""
    found = figures.savings(context.ledger, address.query())
    groups = figures.savings_by(context.ledger, address.query(*address.by)) if address.by else ()
    dearest = sorted(groups, key=lambda row: (-row.savings.saved, tuple(key or "" for key in row.keys)))
    by_day = {row.keys[0]: row for row in figures.savings_by(context.ledger, address.query("day"))}
    days = steps_of(max(address.window.since_ns, _first(context)), min(address.window.until_ns, context.now_ns), "day") if by_day else []
    report, semantic = context.report(address.query()), context.settings.cache.semantic
    value = caching_value(context.ledger, address.query(), context.cache_scopes, semantic)
    return SavingsView(
        answer=_answer(address, found),
        standing=context.standing(report.coverage),
        baselines=found.baselines,
        definition=found.definition,
        not_told=figures.NOT_TOLD,
        compared=found.compared,
        counterfactual_usd=_usd(found.counterfactual),
        paid_usd=_usd(found.paid),
        saved_usd=_usd(found.saved),
        saved_share=share(found.saved, found.counterfactual),
        levers=tuple(
            LeverView(
                lever=lever.name,
                name=NAMES[lever.name],
                saved_usd=_usd(lever.amount),
                share=share(lever.amount, found.counterfactual),
                requests=lever.requests,
                meaning=lever.meaning,
            )
            for lever in found.levers
        ),
        apart=found.apart,
        apart_cost_usd=_usd(found.apart_cost),
        unpriced=found.unpriced,
        asides_unpriced=found.asides_unpriced,
        caching=caching_view(value, semantic, context.papers.meaning_off),
        groups=tuple(_group(row, address.by) for row in dearest),
        days=tuple(_group(by_day.get(day) or SavingsRow((day,), figures.of_groups(())), ("day",)) for day in days),
        windows=windows(context.now_ns, context.zone),
        offered=("feature", "team", "model", "tier", "user"),
    )


def sheet(view: SavingsView, address: Address) -> Sheet:
    """The groups, all of them."""
    header = (*address.by, "compared_requests", "counterfactual_usd", *(f"{name}_usd" for name in LEVERS), "paid_usd", "saved_usd")
    rows = (
        (*group.keys.values(), group.compared, group.counterfactual_usd, *group.levers_usd.values(), group.paid_usd, group.saved_usd)
        for group in view.groups
    )
    return Sheet(header, rows)


def drawn(view: SavingsView) -> list[LeverView]:
    """The levers that a table shows: those beside `ALWAYS` only where they touched some request."""
    return [lever for lever in view.levers if lever.lever in ALWAYS or lever.requests]


def branches(view: SavingsView) -> list[LeverView]:
    """The levers that a figure has room for: all that the cache did as one, where it is more than replays of the very same."""
    shown = drawn(view)
    cache = [lever for lever in shown if lever.lever in OF_THE_CACHE]
    if len(cache) == 1:
        return shown
    amount = sum((Decimal(lever.saved_usd) for lever in cache), Decimal(0))
    whole = LeverView(
        lever="cache",
        name="cache",
        saved_usd=f"{amount:f}",
        share=None,
        requests=sum(lever.requests for lever in cache if lever.lever != "embedding"),
        meaning="",
    )
    return [whole if lever is cache[0] else lever for lever in shown if lever not in cache[1:]]


def _group(row: SavingsRow, by: tuple[str, ...]) -> Group:
    found = row.savings
    return Group(
        keys=dict(zip(by, row.keys, strict=True)),
        compared=found.compared,
        counterfactual_usd=_usd(found.counterfactual),
        paid_usd=_usd(found.paid),
        saved_usd=_usd(found.saved),
        saved_share=share(found.saved, found.counterfactual),
        cache_usd=_usd(found.by_cache),
        levers_usd={lever.name: _usd(lever.amount) for lever in found.levers},
    )


def _answer(address: Address, found: figures.Savings) -> str:
    if not found.compared:
        return f"That is unknown: no request {period_words(address)} has both a cost and a baseline to compare it with."
    part = "" if found.saved_share is None else f" ({words.percent(float(found.saved_share), 0)})"
    whole = f"{words.usd(_usd(found.counterfactual))} on the baseline became {words.usd(_usd(found.paid))} paid {period_words(address)}"
    if found.saved < 0:
        return f"They cost more than they earn: {whole}."
    best = max(found.levers, key=lambda lever: lever.amount)
    most = f" Most of it by {NAMES[best.name]}: {words.usd(_usd(best.amount))}." if best.amount > 0 else ""
    return f"{words.usd(_usd(found.saved))}{part}: {whole}.{most}"


def _first(context: Context) -> int:
    span = context.ledger.span()
    return span[0] if span else context.now_ns


def _usd(nano: int) -> str:
    return f"{usd(nano):f}"
