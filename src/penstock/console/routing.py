"""Routing: route by route and tag by tag what is open, what it loses of what may be lost, what it saves, and the honest control."""

from collections.abc import Mapping, Sequence

import msgspec
from markupsafe import Markup

from penstock.console import words
from penstock.console.charts import KINDS
from penstock.console.context import Context, Sheet, View
from penstock.console.figures.bars import stack
from penstock.console.figures.interval import Interval, interval
from penstock.console.periods import period_words, windows
from penstock.console.query import Address
from penstock.finops.routing.explaining import judged_words
from penstock.finops.routing.knowing import Known, known_of
from penstock.finops.routing.ladders import LadderReport, ladder_report
from penstock.finops.routing.sizes import FeatureSize, sizes_report
from penstock.finops.routing.standing import RouteStanding, Split, TagStanding, route_standing
from penstock.finops.routing.traffic import route_traffic

SINCE = "24h"
"""no sums are kept by route: the records of the window are read"""
SHOWN, DAYS_SHOWN = 30, 14
ALARM, LOOKED_THROUGH = "routing.alarm", 2_000
ALARMS_NS = 30 * 86_400 * 10**9
COLUMNS = (
    "route", "tag", "state", "requests", "labels", "expected_loss", "loss_low", "loss_high", "at_most", "error_budget", "escalation",
    "break_even", "agreement", "cost_usd", "last_tier_usd", "saved_usd", "beside_usd", "measuring_usd", "next_label_usd", "course",
)  # fmt: skip
STATES = {
    "proven": "proven",
    "expected": "likely, not proven",
    "gated": "little known: only what two tiers agree on",
    "closed": "closed: the last tier answers",
    "alarm": "closed by an alarm",
    "off": "off: a fixed split does better",
    "signals": "by its signals alone",
    "new": "nothing known yet",
}


class LastAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """When a tag was last closed because its labels showed more loss than was expected."""

    tag: str
    at_ns: int


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """One route with its ladder and the last alarm of each of its tags."""

    route: RouteStanding
    ladder: LadderReport
    alarms: tuple[LastAlarm, ...]
    budget: str | None
    """the error budget in words"""


class RoutingView(View, frozen=True, kw_only=True):
    """The page: every route with tiers to choose from, and the right size of every feature."""

    routes: tuple[RouteView, ...]
    sizes: tuple[FeatureSize, ...]
    unvalued: tuple[str, ...]
    windows: tuple[tuple[str, str], ...]


def build(context: Context, address: Address) -> RoutingView:
    """The page from one reading. Raises `StoreError`."""
    known = _known(context)
    alarms = _alarms(context) if known else {}
    routes = []
    for each in known:
        query = msgspec.structs.replace(address.query(), where=(*address.where, ("requested_model", each.route)))
        traffic = route_traffic(context.ledger, query, each.config.by, each.models, context.prices)
        routes.append(
            RouteView(
                route=route_standing(each, traffic),
                ladder=ladder_report(each, traffic, context.prices, context.now_ns),
                alarms=alarms.get(each.route, ()),
                budget=None if each.config.error_budget is None else words.percent(each.config.error_budget, 2),
            )
        )
    sizes = sizes_report(context.settings, known, context.ledger, address.query())
    return RoutingView(
        answer=answer(address, [each.route for each in routes]),
        standing=context.standing(context.report(address.query()).coverage),
        routes=tuple(routes),
        sizes=sizes.rows,
        unvalued=sizes.unvalued,
        windows=windows(context.now_ns, context.zone),
    )


def _known(context: Context) -> list[Known]:
    """Routes with more than one tier; none where nothing keeps evidence."""
    evidence = context.papers.evidence
    names = [name for name, route in context.settings.routes.items() if len(route.tiers) > 1]
    if evidence is None:
        return []
    return [known_of(context.settings, name, evidence, context.papers.documents, context.now_ns) for name in names]


def _alarms(context: Context) -> dict[str, tuple[LastAlarm, ...]]:
    """Of each route the last alarm of each tag, newest first."""
    found: dict[str, dict[str, LastAlarm]] = {}
    for entry in context.papers.audit.since(context.now_ns - ALARMS_NS, LOOKED_THROUGH):
        if entry.action == ALARM:
            route, _, tag = entry.subject.partition("/")
            found.setdefault(route, {}).setdefault(tag, LastAlarm(tag=tag, at_ns=entry.at_ns))
    return {route: tuple(tags.values()) for route, tags in found.items()}


def answer(address: Address, routes: Sequence[RouteStanding]) -> str:
    """Whether cheap answers are good enough, and what they earn."""
    if not routes:
        return "There is no route with tiers to choose from."
    alarmed = [f"{row.tag} on {each.route}" for each in routes for row in each.tags if row.state == "alarm"]
    parts = [_sentence(each) for each in routes[:3]]
    begun = any(each.all.requests or each.all.labels for each in routes)
    told = f"{' '.join(parts)}" if begun else f"Nothing came over a route {period_words(address)}, and nothing was measured yet."
    return f"Not of {words.join(alarmed[:3])}, which an alarm has closed. {told}" if alarmed else told


def _sentence(route: RouteStanding) -> str:
    found, last = route.all, route.tiers[-1]
    name = words.quoted(route.route)
    if found.loss is None:
        lost = f"What {name} loses is not known"
    elif found.error_budget is None:
        lost = f"{name} is expected to lose {words.percent(max(found.loss, 0.0), 2)}, and nothing is promised"
    else:
        lost = f"{name} is expected to lose {words.percent(max(found.loss, 0.0), 2)} of the {words.percent(found.error_budget, 2)} it may"
    if found.cost_share is None:
        return f"{lost}; what it saves is unknown."
    return f"{lost}, at {words.percent(found.cost_share, 0)} of what always asking {last} would have cost."


def loss_figure(tag: TagStanding) -> Markup:
    """The expected loss with its interval against the error budget; empty while it is not known."""
    if tag.loss is None or tag.low is None or tag.high is None:
        return Markup("")
    shown = Interval(max(tag.loss, 0.0), max(tag.low, 0.0), max(tag.high, 0.0), tag.error_budget, "expected", "error budget")
    budget = "" if tag.error_budget is None else f", of {words.percent(tag.error_budget, 2)} that may be lost"
    desc = f"Between {words.percent(shown.low, 2)} and {words.percent(shown.high, 2)} with a probability of 80 %{budget}."
    return interval(shown, f"Expected loss of {tag.tag}: {words.percent(shown.estimate, 2)}", desc)


def split_words(split: Split | None) -> str:
    """What the honest control says, in a sentence."""
    if split is None:
        return "Whether it beats the best fixed split at the same cost is unknown: too few requests were answered by all tiers."
    mix = words.join([f"{words.percent(part, 0)} {tier}" for tier, part in split.shares.items()])
    verdict = {"wins": "It beats", "loses": "It does worse than", "undecided": "It cannot be told from"}[split.verdict]
    points = f"{split.gain * 100:+.1f} points of quality, between {split.low * 100:+.1f} and {split.high * 100:+.1f}"
    at = "the same cost" if split.cost_share is None else f"{words.percent(split.cost_share, 0)} of the last tier's cost"
    return f"{verdict} the best fixed split at {at}, shadows included ({mix}): {points}, on {words.plural(split.labels, 'label')}."


def shares_bar(shares: Mapping[str, float], tiers: Sequence[str], title: str) -> Markup:
    """Who answered, as parts of a bar, cheap to dear."""
    order = [tier for tier in (*tiers, "other") if tier in shares]
    said = [(tier, shares[tier], tier_kind(tier, tiers)) for tier in order]
    return stack(said, title, words.join([f"{tier} {words.percent(share, 0)}" for tier, share, _ in said]))


def tier_kind(tier: str, tiers: Sequence[str]) -> str:
    """The colour of a tier; what is none of the route's is copper."""
    return KINDS[min(list(tiers).index(tier), len(KINDS) - 1)] if tier in tiers else "copper"


def day_shares(route: RouteStanding) -> list[tuple[str, int, dict[str, float]]]:
    """The last days, newest first: day, requests, and who answered."""
    rows = [(day, sum(counts.values()), counts) for day, counts in route.days.items()]
    return [(day, count, {tier: part / count for tier, part in counts.items()}) for day, count, counts in reversed(rows)][:DAYS_SHOWN]


def sheet(view: RoutingView, address: Address) -> Sheet:
    """The tags, one a line."""
    return Sheet(COLUMNS, (_line(each.route, row) for each in view.routes for row in each.route.tags))


def _line(route: RouteStanding, row: TagStanding) -> tuple[object, ...]:
    return (
        route.route, row.tag, row.state, row.requests, row.labels, row.loss, row.low, row.high, row.at_most, row.error_budget,
        row.escalation, row.break_even, row.agreement, row.cost_usd, row.last_usd, row.saved_usd, row.beside_usd, row.measuring_usd,
        row.next_label_usd, row.course,
    )  # fmt: skip


GLOBALS = {
    "loss_figure": loss_figure,
    "split_words": split_words,
    "judged_words": judged_words,
    "shares_bar": shares_bar,
    "tier_kind": tier_kind,
    "day_shares": day_shares,
    "route_states": STATES,
}
"""what the template calls"""
