"""What stands out, in sentences: an anomaly that goes on, a spend that jumped, hardware that nobody uses, a cache that pays.

The rules are `finops`'s own.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal
from urllib.parse import urlencode

import msgspec

from penstock.console import words
from penstock.console.anomalies import Strayed, strayed
from penstock.console.context import Context
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.prices.schedule import DAY_NS
from penstock.domain.units import format_usd
from penstock.finops.fleets import FleetUse
from penstock.finops.savings import savings_by
from penstock.finops.standing_out import CACHE_RULE, IDLE_RULE, SPEND_RULE, Rise, paying_cache, spend_rises, unused

KEYS = ("team", "feature")
MOST_GROUPS = 1000
"""beyond so many pairs of team and feature, teams alone are looked at: one day of each for weeks would be too many"""
MOST = 3
"""of each kind"""
ANOMALY_RULE = (
    "an anomaly: what a team's feature spends or uses, looked at every five minutes, is beyond what the same hours of the weeks before "
    "lead to expect, and what that costs matters beside all spend"
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth a look: what it is, in words, its dollars, where to look further, and the rule that found it."""

    kind: Literal["anomaly", "jump", "idle", "cache"]
    title: str
    words: str
    brief: str
    """in a few words, for a mark on a figure"""
    amount_usd: str | None
    first_day: str | None
    link: str
    rule: str
    ongoing: bool = False


def findings(context: Context, fleets: Sequence[FleetUse]) -> tuple[Finding, ...]:
    """What stands out over the last weeks; `fleets` are those of the window that the page shows."""
    today = context.now_ns // DAY_NS * DAY_NS  # whole days, which the store keeps the sums of
    month = CostQuery(since_ns=today - 30 * DAY_NS, until_ns=today + DAY_NS, by=KEYS)
    keys = KEYS if len(context.ledger.sums(month)) <= MOST_GROUPS else KEYS[:1]
    odd = [_anomaly(each, context.zone) for each in strayed(context, ongoing=True)[:MOST]]
    jumps = [_jump(rise, keys, context) for rise in spend_rises(context.ledger, context.now_ns, by=keys)[:MOST]]
    jumps = [jump for jump in jumps if not (jump.ongoing and jump.title in {each.title for each in odd})]
    idle = [_idle(use) for use in unused(fleets)[:MOST]]
    cached = []
    for row in paying_cache(savings_by(context.ledger, msgspec.structs.replace(month, by=keys)))[:MOST]:
        saved = row.savings.by_cache
        share = saved / max(row.savings.list_cost, 1)
        cached.append(
            Finding(
                kind="cache",
                title=_name(row.keys, keys),
                words=f"Replays from the cache saved {words.usd(format_usd(saved))} in 30 days, "
                f"{words.percent(share, 0)} of what its answers would have cost.",
                brief=f"{_name(row.keys, keys)}: the cache pays",
                amount_usd=format_usd(saved),
                first_day=None,
                link=_link("/savings", keys, row.keys, by="model"),
                rule=CACHE_RULE,
            )
        )
    return (*odd, *jumps, *idle, *cached)


def _anomaly(each: Strayed, zone: str) -> Finding:
    cause = f" First cause: {each.cause}." if each.cause else ""
    return Finding(
        kind="anomaly",
        title=each.title,
        words=f"{each.observed[:1].upper()}{each.observed[1:]} for {each.lasted}: {each.impact}.{cause}",
        brief=f"{each.title}: {each.observed}",
        amount_usd=each.impact_usd,
        first_day=words.moment(each.since_ns, zone, "%Y-%m-%d"),
        link=each.link,
        rule=ANOMALY_RULE,
        ongoing=True,
    )


def _jump(rise: Rise, keys: Sequence[str], context: Context) -> Finding:
    first, last = date.fromisoformat(rise.first_day), date.fromisoformat(rise.last_day)
    span = _day(first) if first == last else f"{_day(first)} to {_day(last)}"
    times = "" if rise.ratio is None else f"{float(rise.ratio):,.{1 if rise.ratio < 10 else 0}f} times the usual"
    compared = f"{times} {words.usd(format_usd(rise.usual))}" if times else "where nothing was usual"
    return Finding(
        kind="jump",
        title=_name(rise.keys, keys),
        words=f"Spent {words.usd(format_usd(rise.cost))} on {span}, {compared}; "
        f"{words.count(rise.requests)} requests where {words.count(rise.usual_requests)} are usual.",
        brief=f"{_name(rise.keys, keys)} begins to spend" + (f" {times}" if times else ""),
        amount_usd=format_usd(rise.excess),
        first_day=rise.first_day,
        link=_link("/costs", keys, rise.keys, by="hour", since=f"{first - timedelta(days=1)}", until=f"{last + timedelta(days=1)}"),
        rule=SPEND_RULE,
        ongoing=rise.ongoing,
    )


def _idle(use: FleetUse) -> Finding:
    reached = "No request reached it" if not use.requests else f"{words.plural(use.requests, 'request')} reached it"
    return Finding(
        kind="idle",
        title=f"fleet {use.name}",
        words=f"{reached}: {words.usd(format_usd(use.at_rest))} of {words.usd(format_usd(use.rent))} rent for "
        f"{use.count} \u00d7 {use.gpu} stood idle in 30 days.",
        brief=f"fleet {use.name} stands idle",
        amount_usd=format_usd(use.at_rest),
        first_day=None,
        link="/fleet",
        rule=IDLE_RULE,
    )


def _name(values: Sequence[str | None], keys: Sequence[str]) -> str:
    return " / ".join(f"no {key}" if value is None else value for key, value in zip(keys, values, strict=False))


def _link(page: str, keys: Sequence[str], values: Sequence[str | None], *, by: str, since: str = "30d", until: str | None = None) -> str:
    fields = [("since", since), *([("until", until)] if until else []), ("by", by)]
    fields += [("where", f"{key}={value}") for key, value in zip(keys, values, strict=False) if value is not None]
    return f"{page}?{urlencode(fields)}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"
