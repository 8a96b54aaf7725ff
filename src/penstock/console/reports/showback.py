"""The review as one HTML file: seven questions, each with its answer, its figures and a picture of them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup

from penstock.console.figures.flow import Branch, flow
from penstock.console.reports.paper import environment
from penstock.console.reports.showback_words import ADVICE, Answer, answers, grown, money, team_name, used, version_name
from penstock.console.savings import NAMES
from penstock.console.words import join, percent, places_of, plural, signed_usd, usd
from penstock.domain.units import format_usd
from penstock.finops.bills.document import Money
from penstock.finops.showback.document import Showback, Span

KINDS = ("w4", "water", "w2", "w1")
"""colours of the teams that use the hardware most, in order; those behind them share the last"""


class Head(msgspec.Struct, frozen=True):
    """What stands above the questions."""

    title: str
    period: str
    before: str
    made: str
    covered: str | None
    said: str


def showback_html(review: Showback) -> str:
    """One self-contained HTML document."""
    made = environment()
    made.globals |= {"grown": grown, "money": _money, "team_name": team_name, "used": used, "version_name": version_name, "width": width}
    told: dict[str, Answer] = {each.id: each for each in answers(review)}
    return made.get_template("showback.html").render(
        review=review,
        head=head(review),
        told=told,
        advice=ADVICE,
        levers=NAMES,
        hours=list(gpu_hour_parts(review)),
        pipe=savings_pipe(review),
        widest=max((max(each.usd or 0, each.before_usd or 0) for each in review.growth), default=0),
    )


def head(review: Showback) -> Head:
    """The window in words, and what it came to."""
    zone = review.timezone
    named = {
        "week": f"Week {review.label.rpartition('W')[2]}",
        "month": f"{_local(review.window.since, zone):%B %Y}",
        "window": review.label,
    }
    covered = [span for span in (review.window, review.before) if (span.since, span.until) != (span.covered_since, span.covered_until)]
    return Head(
        title=named[review.kind],
        period=_period(review.window, zone),
        before=_period(review.before, zone),
        made=f"{_local(review.made, zone):%-d %B %Y, %H:%M}",
        covered=f"{_moment(covered[0].covered_since, zone)} to {_moment(covered[0].covered_until, zone)}" if covered else None,
        said=_said(review),
    )


def gpu_hour_parts(review: Showback) -> Iterator[tuple[str, float, str]]:
    """All GPU-hours that ran as parts of a whole: what worked for each team, and what stood idle."""
    whole = review.fleet_gpu_hours
    if not whole:
        return
    left = whole
    users = sorted((each for each in review.teams if each.gpu_hours), key=lambda each: -each.gpu_hours)
    for index, each in enumerate(users):
        left -= each.gpu_hours
        yield f"{team_name(each)}: {each.gpu_hours:,.1f} GPU-hours", each.gpu_hours / whole, KINDS[min(index, len(KINDS) - 1)]
    if left > 0:
        yield f"idle: {left:,.1f} GPU-hours", left / whole, "w5"


def savings_pipe(review: Showback) -> Markup | None:
    """From what the baseline would have cost to what was paid; None where nothing can be compared."""
    if not review.compared or review.counterfactual_usd <= 0:
        return None
    whole, paid = format_usd(review.counterfactual_usd), format_usd(review.paid_usd)
    places = places_of(whole)
    branches, told = [], []
    for lever in review.levers:
        amount = format_usd(lever.realised_usd)
        name = NAMES[lever.name]
        off = signed_usd(f"{-Decimal(amount):f}", places) if Decimal(amount) else usd("0", places)
        branches.append(Branch(name, float(amount), off, plural(lever.requests, "request")))
        told.append(f"{name} {off}")
    title = f"{usd(whole, places)} on the baseline became {usd(paid, places)} paid"
    return flow(float(whole), branches, (usd(whole, places), "on the baseline"), (usd(paid, places), "paid"), title, f"{join(told)}.")


def width(part: int | None, whole: int) -> float | None:
    """An amount as a share of the widest bar."""
    return None if part is None else part / whole if whole > 0 and part > 0 else 0.0


def _money(amount: Money | None) -> str:
    """An amount for paper: what is unknown is set apart by more than its word."""
    return Markup('<span class="unknown">unknown</span>') if amount is None else money(amount)


def _said(review: Showback) -> str:
    """What it came to, against the window before."""
    total = next((each for each in review.growth if each.workload == "all"), None)
    share = review.priced_share
    whose = "requests and of the calls beside them" if review.asides else "requests"
    priced = "" if share is None or share == 1 else f" {percent(share)} of the {whose} have a price."
    if total is None or total.spend_growth is None:
        why = total.note if total is not None and review.before_total_usd is not None and not review.before_total_usd else ""
        reach = "the ledger does not reach the time before" if review.before_total_usd is None else why or "nothing was spent before"
        return f"{money(review.total_usd)} in all; {reach}.{priced}"
    return f"{money(review.total_usd)} in all: {grown(total.spend_growth)} per day against the time before.{priced}"


def _period(span: Span, zone: str) -> str:
    """Whole days as days, everything else to the minute."""
    begin, end = _local(span.since, zone), _local(span.until, zone)
    if begin.time() == end.time() == begin.time().min:
        return f"{begin:%-d %B %Y} to {end - timedelta(days=1):%-d %B %Y}"
    return f"{_moment(span.since, zone)} to {_moment(span.until, zone)}"


def _moment(instant: str, zone: str) -> str:
    return f"{_local(instant, zone):%-d %B %Y, %H:%M}"


def _local(instant: str, zone: str) -> datetime:
    seconds, _, _ = instant.removesuffix("Z").partition(".")  # beyond the microsecond nobody reads
    return datetime.fromisoformat(f"{seconds}+00:00").astimezone(ZoneInfo(zone))
