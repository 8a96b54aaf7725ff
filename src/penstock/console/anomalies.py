"""Anomalies as the pages show them: what strayed from the usual, what it cost, why, and what somebody said of it."""

from urllib.parse import urlencode

import msgspec

from penstock.console.context import Context
from penstock.domain.prices.schedule import DAY_NS
from penstock.domain.units import format_usd
from penstock.finops.anomalies.book import AnomalyBook, Feedback, Found, Verdict
from penstock.finops.anomalies.words import anomaly_json, cause, impact, lasted, name, observed
from penstock.finops.window import iso

SHOWN_NS = 7 * DAY_NS


class Strayed(msgspec.Struct, frozen=True, kw_only=True):
    """One anomaly in words, and as `penstock anomalies --json` tells it."""

    id: str
    title: str
    observed: str
    impact: str
    impact_usd: str | None
    cause: str | None
    """the first one"""
    lasted: str
    since_ns: int
    ongoing: bool
    verdict: Verdict | None
    """what somebody said of it"""
    link: str
    """its costs"""
    anomaly: dict[str, object]


def strayed(context: Context, *, ongoing: bool = False) -> tuple[Strayed, ...]:
    """Anomalies of the last week, those that go on before the others, each with the largest impact first. `ongoing`: these alone, less
    those of which somebody said that they are none, or were planned. Raises `StoreError`."""
    book = AnomalyBook(context.papers.documents)
    found, said = book.since(context.now_ns - SHOWN_NS), book.feedback()
    found.sort(key=lambda each: (each.end_ns is not None, -each.impact))
    rows = [_row(each, said.get(each.id), context.now_ns) for each in found]
    return tuple(row for row in rows if not ongoing or (row.ongoing and row.verdict in (None, "YES")))


def _row(found: Found, said: Feedback | None, now_ns: int) -> Strayed:
    return Strayed(
        id=found.id,
        title=name(found),
        observed=observed(found),
        impact=impact(found),
        impact_usd=format_usd(found.impact),
        cause=cause(found.causes[0]) if found.causes else None,
        lasted=lasted(found, now_ns),
        since_ns=found.begin_ns,
        ongoing=found.end_ns is None,
        verdict=None if said is None else said.verdict,
        link=_link(found),
        anomaly=anomaly_json(found, said),
    )


def _link(found: Found) -> str:
    fields = [("since", iso(found.begin_ns)), ("by", "hour")]
    tags = (("team", found.team), ("feature", found.feature), ("model", found.model))
    return f"/costs?{urlencode([*fields, *(('where', f'{key}={value}') for key, value in tags if value is not None)])}"
