"""Where every route stands, tag by tag: what is open and proven, what is lost of what may be, what it saves, and the honest control."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from penstock.domain.ledger.routed import Judge, Observation
from penstock.domain.routing.control import Control, Verdict, against_fixed_split
from penstock.domain.routing.course import Course, by_signals
from penstock.domain.routing.ladder import break_even
from penstock.domain.routing.proving.policy import State, TagPolicy
from penstock.domain.routing.replaying import Replayed, replayed
from penstock.domain.units import format_usd
from penstock.finops.costs import share
from penstock.finops.routing.explaining import course_words, open_shares
from penstock.finops.routing.knowing import Known, judges_of
from penstock.finops.routing.sizes import next_label
from penstock.finops.routing.traffic import RouteTraffic, Traffic, named_tiers

Standing = State | Literal["signals", "new"]
"""`signals`: it goes by its signals alone, and nothing is promised; `new`: nothing is known of it yet"""
Replay = tuple[Replayed, Observation]
"""what a course makes of a label"""
SIGNALS: Final = ("fixed", "cascade", "gate")
"""strategies whose stages are the same for all requests, where there is no error budget"""
FEWEST: Final = 20
"""labels from which on a route is compared with a fixed split"""


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The best fixed split of requests over single tiers at the same cost."""

    shares: Mapping[str, float]
    gain: float
    """quality that the route has more than it"""
    low: float
    """95 % interval"""
    high: float
    verdict: Verdict
    labels: int
    cost_share: float | None
    """of always asking the last tier, at which both are compared: every call counts"""


class Compared(NamedTuple):
    """Courses against the best fixed split over the same labels."""

    control: Control
    labels: int
    cost_share: float | None


class TagStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One tag of a route, or all of it. Losses are means of quality against the last tier; money is of the window. None: unknown."""

    tag: str
    state: Standing
    since_ns: int | None
    course: str
    why: str
    open: Mapping[str, float]
    """stratum -> share of its answers that is kept"""
    labels: int
    loss: float | None
    low: float | None
    high: float | None
    """80 % interval"""
    at_most: float | None
    error_budget: float | None
    budget_used: float | None
    """expected loss over the error budget"""
    requests: int
    escalation: float | None
    """of requests whose first answer was judged, those that went on"""
    break_even: float | None
    """the escalation up to which asking the first stage pays"""
    agreement: float | None
    tiers: Mapping[str, float]
    """who answered"""
    cost_usd: str | None
    """of requests that can be compared, with every call made for them"""
    beside_usd: str
    """of it, calls to be answered that were not the answer"""
    measuring_usd: str
    """of it, shadows and judges"""
    last_usd: str | None
    """what the last tier alone would have cost"""
    cost_share: float | None
    """of that"""
    saved_usd: str | None
    next_label_usd: str | None
    split: Split | None


class RouteStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One route in a window."""

    route: str
    strategy: str
    error_budget: float | None
    sla_budgets: Mapping[str, float]
    """`sla` -> error budget, where a policy of its own holds for it; tags are shown as for all others"""
    tiers: tuple[str, ...]
    policy_ns: int | None
    """when its policy was published; None: none was"""
    judges: Mapping[Judge, int]
    """who judged how many of its labels: a loss by `agreement` is one of consistency, not of quality"""
    all: TagStanding
    tags: tuple[TagStanding, ...]
    """those with most requests first"""
    days: Mapping[str, Mapping[str, int]]
    """day (UTC) -> tier -> requests that it answered"""
    replayed: int
    uncompared: int
    """requests without a known cost, in fact or on one of the tiers"""
    whole: bool
    """False: only the newest requests of the window were read"""
    oldest_ns: int | None
    """admission of the first one that was read"""


def route_standing(known: Known, traffic: RouteTraffic) -> RouteStanding:
    """A route by its policy, its labels and its traffic."""
    labels: dict[str, list[Observation]] = {}
    for each in known.labels:
        labels.setdefault(each.tag, []).append(each)
    policies = known.policy.tags if known.policy is not None else {}
    replays = {tag: replays_of(known, course_of(known, tag), own) for tag, own in labels.items()}
    next_usd, rows = next_label(known, known.labels), []
    for name in {*labels, *policies, *traffic.tags}:
        own, of = labels.get(name, []), traffic.tags.get(name, Traffic())
        rows.append(_tag(known, name, of, len(own), replays.get(name, []), next_label(known, own) if own else next_usd))
    rows.sort(key=lambda row: (-row.requests, -row.labels, row.tag))
    total = traffic.total()
    return RouteStanding(
        route=known.route,
        strategy=known.config.strategy,
        error_budget=known.config.error_budget,
        sla_budgets={} if known.policy is None else {sla: own.error_budget for sla, own in known.policy.sla.items()},
        tiers=known.tiers,
        policy_ns=None if known.policy is None else known.policy.at_ns,
        judges=judges_of(known.labels),
        all=_all(known, rows, total, [each for found in replays.values() for each in found], next_usd),
        tags=tuple(rows),
        days={day: total.days[day] for day in sorted(total.days)},
        replayed=total.replayed,
        uncompared=total.requests - total.priced,
        whole=traffic.whole,
        oldest_ns=traffic.oldest_ns,
    )


def course_of(known: Known, tag: str) -> Course | None:
    """The stages that a tag's requests go through now; None where that goes by each request, or by nothing that is known."""
    policy = _policy(known, tag)
    if policy is not None:
        return policy.course
    if known.config.error_budget is None and known.config.strategy in SIGNALS:
        return Course(by_signals(known.config.strategy, known.tiers, known.config.confidence), "by its signals alone")
    return None


def replays_of(known: Known, course: Course | None, labels: Iterable[Observation]) -> list[Replay]:
    """What a course makes of those labels of which quality and cost of all tiers are known."""
    if course is None:
        return []
    found: list[Replay] = []
    for each in labels:
        whole = all(seen.quality is not None and seen.cost is not None for seen in each.seen)
        if whole and tuple(seen.tier for seen in each.seen) == known.tiers and (made := replayed(course, each)) is not None:
            found.append((made, each))
    return found


def control_of(rows: Sequence[Replay], measuring: float = 0.0) -> Compared | None:
    """Labels on their courses against the best fixed split over the same labels; None: too few. `measuring`: nano-USD of shadows and
    judges that a request bears on average."""
    if len(rows) < FEWEST:
        return None
    weights = [1 / each.propensity for _, each in rows]
    costs = [(found.cost or 0.0) + measuring for found, _ in rows]
    control = against_fixed_split(
        [found.quality or 0.0 for found, _ in rows],
        costs,
        [[seen.quality or 0.0 for seen in each.seen] for _, each in rows],
        [[float(seen.cost or 0) for seen in each.seen] for _, each in rows],
        weights=weights,
    )
    spent = sum(cost * weight for cost, weight in zip(costs, weights, strict=True))
    last = sum((each.seen[-1].cost or 0) * weight for (_, each), weight in zip(rows, weights, strict=True))
    return Compared(control, len(rows), spent / last if last else None)


def _policy(known: Known, tag: str) -> TagPolicy | None:
    return None if known.policy is None else known.policy.of(tag)


def _tag(known: Known, name: str, traffic: Traffic, labels: int, replays: Sequence[Replay], next_usd: str | None) -> TagStanding:
    policy, course = _policy(known, name), course_of(known, name)
    own = known.policy.tags.get(name) if known.policy is not None else None
    told = policy if policy is not None else TagPolicy(tag=name, state="closed", course=Course(()))
    state: Standing = policy.state if policy is not None else "new" if known.config.error_budget is not None else "signals"
    return _told(
        known, traffic, name, state, course, control_of(replays, _measuring(traffic)),
        since_ns=own.since_ns or None if own is not None else None, labels=labels, loss=told.expected_loss, low=told.loss_low,
        high=told.loss_high, at_most=told.at_most, next_label_usd=next_usd,
    )  # fmt: skip


def _all(known: Known, rows: Sequence[TagStanding], total: Traffic, replays: Sequence[Replay], next_usd: str | None) -> TagStanding:
    """All tags together. Losses are weighted by requests, over tags of which they are known; so are the ends of their intervals."""
    told = [row for row in rows if row.loss is not None and row.requests]
    return _told(
        known, total, "all", _worst([row.state for row in rows]), None, control_of(replays, _measuring(total)),
        since_ns=None, labels=len(known.labels), loss=_mean([(row.loss, row.requests) for row in told]),
        low=_mean([(row.low, row.requests) for row in told]), high=_mean([(row.high, row.requests) for row in told]), at_most=None,
        next_label_usd=next_usd,
    )  # fmt: skip


def _told(
    known: Known,
    traffic: Traffic,
    tag: str,
    state: Standing,
    course: Course | None,
    control: Compared | None,
    *,
    since_ns: int | None,
    labels: int,
    loss: float | None,
    low: float | None,
    high: float | None,
    at_most: float | None,
    next_label_usd: str | None,
) -> TagStanding:
    budget, last = known.config.error_budget, traffic.on.get(known.tiers[-1]) if traffic.priced else None
    return TagStanding(
        tag=tag, state=state, since_ns=since_ns, labels=labels, loss=loss, low=low, high=high, at_most=at_most, error_budget=budget,
        course="" if course is None else course_words(course),
        why="" if course is None else course.why,
        open={} if course is None else open_shares(course),
        budget_used=None if loss is None or not budget else loss / budget,
        requests=traffic.requests,
        escalation=share(traffic.escalated, traffic.judged),
        break_even=None if course is None else _break_even(course, traffic),
        agreement=share(traffic.agreed, traffic.gates),
        tiers=named_tiers(traffic.by_tier, known.tiers),
        cost_usd=format_usd(traffic.spent) if traffic.priced else None,
        beside_usd=format_usd(traffic.beside),
        measuring_usd=format_usd(traffic.measuring),
        last_usd=format_usd(last),
        cost_share=None if last is None else share(traffic.spent, last),
        saved_usd=None if last is None else format_usd(last - traffic.spent),
        next_label_usd=next_label_usd,
        split=split_told(known, control),
    )  # fmt: skip


def split_told(known: Known, compared: Compared | None) -> Split | None:
    """A comparison by names of tiers; None where there is none."""
    if compared is None:
        return None
    found, labels, cost_share = compared
    shares = {known.tiers[at]: part for at, part in found.split}
    return Split(
        shares=shares, gain=found.gain, low=found.low, high=found.high, verdict=found.verdict, labels=labels, cost_share=cost_share
    )


def _measuring(traffic: Traffic) -> float:
    """Nano-USD of shadows and judges for a request."""
    return traffic.measuring / traffic.requests if traffic.requests else 0.0


def _break_even(course: Course, traffic: Traffic) -> float | None:
    """Of the first stage against what follows it, by what this traffic would cost on each tier."""
    if len(course.stages) < 2 or not traffic.priced:
        return None
    before = [traffic.on.get(tier, 0) / traffic.priced for tier in course.stages[0].tiers]
    after = traffic.on.get(course.stages[1].tiers[0], 0) / traffic.priced
    return break_even(before, after) if after else None


def _worst(states: Sequence[Standing]) -> Standing:
    order: tuple[Standing, ...] = ("alarm", "off", "expected", "gated", "proven", "closed", "signals", "new")
    return next((state for state in order if state in states), "new")


def _mean(parts: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in parts if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
