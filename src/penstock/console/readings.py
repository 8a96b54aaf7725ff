"""The figures since this hour yesterday, each with what it is compared with, or with the reason why it is unknown."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from penstock.console import words
from penstock.console.context import Context
from penstock.console.days import Days, cost_per_request
from penstock.domain.ledger.measures import CostQuery, Sums, cp1kt_usd, saved
from penstock.domain.units import format_usd
from penstock.finops.costs import share
from penstock.finops.fleets import FleetUse
from penstock.finops.serving import Serving
from penstock.finops.window import iso

Unit = Literal["usd", "share", "seconds", "count"]
TOLD = ("team", "feature")
"""the tags that costs are asked by first"""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One figure since this hour yesterday. None is unknown, and `beside` says why."""

    name: str
    unit: Unit
    value: str | float | None
    beside: str
    link: str | None = None
    trend: tuple[str | float | None, ...] | None = None
    """of the last thirty days, each as `value`"""
    kind: Literal["water", "copper"] = "water"


def money(total: Sums, days: Days, baseline: str | None, since: str) -> tuple[Reading, ...]:
    """Unit costs and what was saved; `since` is where the figures begin, for links to the very same."""
    rate = cp1kt_usd(total.cost, total.priced_tokens)
    earned = saved(total) if total.compared else None
    against = f"{words.quoted(baseline)} for everything" if baseline else "the same models without cache"
    part = share(max(earned or 0, 0), total.counterfactual) if earned is not None else None
    return (
        Reading(
            name="CP1KT",
            unit="usd",
            value=None if rate is None else f"{rate:f}",
            beside=_beside(days.cp1kt_usd, "per 1,000 tokens, as booked") if rate is not None else "no token was processed",
            trend=tuple(days.cp1kt_usd),
            link=f"/costs?since={since}&by=model",
        ),
        Reading(
            name="Cost per request",
            unit="usd",
            value=cost_per_request(total),
            beside=_beside(days.cost_per_request_usd, "as booked, replays included") if total.priced else "no request has a price",
            trend=tuple(days.cost_per_request_usd),
            link=f"/costs?since={since}&by=feature",
        ),
        Reading(
            name="Saved",
            unit="usd",
            value=format_usd(earned),
            beside=f"{words.percent(part, 0)} less than {against}" if earned is not None else "nothing can be compared",
            trend=tuple(days.saved_usd),
            link=f"/savings?since={since}",
        ),
        Reading(
            name="Cache hits",
            unit="share",
            value=share(total.cache_hits, total.requests),
            beside=f"{words.count(total.cache_hits)} of {words.plural(total.requests, 'request')}" + _beyond(total),
            trend=days.cache_share,
            link=f"/costs?since={since}&by=cache",
        ),
    )


def service(served: Serving, since: str) -> tuple[Reading, ...]:
    """How long answers take to begin, and what is in flight now."""
    median = f"half within {words.seconds(served.first_token_p50_s)}; off histograms, approximate"
    waiting = served.in_flight_note or ", ".join(
        f"{state.name} {state.outstanding}" + (f", {state.open_circuits} cut off" if state.open_circuits else "")
        for state in served.upstreams
    )
    return (
        Reading(
            name="First token, P95",
            unit="seconds",
            value=served.first_token_p95_s,
            beside=median if served.first_token_p95_s is not None else "no answer has told when it began",
            link=f"/fleet?since={since}",
        ),
        Reading(
            name="In flight now", unit="count", value=served.in_flight,
            beside=f"{waiting}; queues unknown" if served.queue_depth is None else f"{waiting}; {served.queue_depth} queued", link="/fleet",
        ),
    )  # fmt: skip


def gpus(fleets: Sequence[FleetUse], since: str) -> Reading:
    """What of the rent was used, over the fleets where both are known, and what the rest cost."""
    known = [use for use in fleets if use.at_rest is not None and use.rent]
    if not known:
        why = "; ".join(use.note for use in fleets[:1]) or "no [fleets] in the config"
        return Reading(name="GPU use", unit="share", value=None, beside=why, link="/fleet")
    rent, idle = sum(use.rent or 0 for use in known), sum(use.at_rest or 0 for use in known)
    left_out = len(fleets) - len(known)
    told = f"{words.usd(format_usd(idle))} of {words.usd(format_usd(rent))} rent idle"
    sure = "" if all(use.basis in ("engine", "none") for use in known) else ", an estimate"
    return Reading(
        name="GPU use",
        unit="share",
        value=share(rent - idle, rent),
        beside=told + (f"; {words.plural(left_out, 'fleet')} unknown" if left_out else sure),
        kind="copper",
        link=f"/fleet?since={since}",
    )


def untagged(context: Context, day: CostQuery, total: Sums) -> Reading:
    """The share of requests without one of the tags that matter: those that the config requires, and team and feature."""
    tags = tuple(dict.fromkeys((*TOLD, *context.settings.tags.required)))
    missing: dict[str, int] = {}
    for tag in tags:
        by_value = context.ledger.sums(msgspec.structs.replace(day, by=(tag,)))
        missing[tag] = sum(sums.requests for keys, sums in by_value if keys[0] is None)
    worst = max(missing, key=lambda tag: missing[tag])
    told = ", ".join(f"{tag} {words.percent(share(number, total.requests))}" for tag, number in missing.items())
    return Reading(
        name="Untagged",
        unit="share",
        value=share(missing[worst], total.requests),
        beside=f"without {told}" if total.requests else "no request",
        kind="copper",
        link=f"/costs?since={iso(day.since_ns)}&by={worst}",
    )


def _beyond(total: Sums) -> str:
    """What the cache could have answered as well, had it not only watched or measured itself."""
    more = total.would_normalised + total.would_semantic
    return f"; {words.count(more)} more had an answer that was not served" if more else ""


def _beside(daily: Sequence[str | None], what: str) -> str:
    """The middle of the days before today, to compare with."""
    known = sorted(Decimal(amount) for amount in daily[:-1] if amount is not None)
    return f"{what}; {words.usd(str(known[len(known) // 2]))} on a middling day" if known else what
