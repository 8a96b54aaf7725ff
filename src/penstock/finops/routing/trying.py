"""What a policy would cost and lose on traffic that was logged, before it acts.

Every request is priced on each tier by the tokens that it used; how often a cheap answer is kept, and what is lost by it, is taken from the
labels of its tag. What no label tells is unknown. Money is nano-USD until it is told.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final
from zlib import crc32

import msgspec

from penstock.domain.ledger.routed import Judge, Observation
from penstock.domain.routing.control import best_split
from penstock.domain.routing.course import Course, Stage, by_signals
from penstock.domain.routing.ladder import blended_cost, course_cost, rungs_of
from penstock.domain.routing.proving.betting import labels_needed
from penstock.domain.routing.proving.fitting import fit
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy
from penstock.domain.routing.replaying import Replayed, replayed
from penstock.domain.units import format_usd
from penstock.finops.costs import share
from penstock.finops.routing.explaining import course_words
from penstock.finops.routing.knowing import Known, judges_of
from penstock.finops.routing.learning import law_for
from penstock.finops.routing.standing import Compared, Replay, Split, control_of, replays_of, split_told
from penstock.finops.routing.traffic import RouteTraffic, Traffic

STRATEGIES: Final = ("fixed", "cascade", "gate", "learned")
"""that can be tried; what goes by the text of requests cannot, for the ledger keeps none"""
_Z: Final = 1.281552
"""half-width of an 80 % interval, in standard errors"""


class TrialError(ValueError):
    """What cannot be tried; `hint` says what can."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One tag, or all of them. None: unknown."""

    tag: str
    requests: int
    state: str | None
    """as the policy would say of it; None: it goes by its signals alone"""
    course: str
    labels: int
    escalation: float | None
    """of the first stage, by its labels"""
    now_usd: str | None
    """what was paid, with every call beside requests"""
    policy_usd: str | None
    shadow_usd: str | None
    """what measuring would cost beside that"""
    last_usd: str | None
    cost_share: float | None
    """of the policy, shadows included, over the last tier's"""
    loss: float | None
    low: float | None
    high: float | None
    """80 % interval"""
    note: str


class FixedSplit(msgspec.Struct, frozen=True, kw_only=True):
    """The best fixed split of this traffic at what the policy would cost, by the mean quality of tiers over all labels."""

    shares: Mapping[str, float]
    request_usd: str | None
    """what a request costs by it"""
    loss: float


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """A policy on logged traffic."""

    route: str
    strategy: str
    error_budget: float | None
    source: str
    """what traffic it is"""
    total: Trial
    tags: tuple[Trial, ...]
    fixed_split: FixedSplit | None
    control: Split | None
    judges: Mapping[Judge, int]
    """who judged how many labels: a loss by `agreement` is one of consistency, not of quality"""
    unknown: tuple[str, ...]
    """what is not known, in words; empty: all is"""


class Asked(msgspec.Struct, frozen=True):
    """The policy to try."""

    strategy: str
    error_budget: float | None


def asked_of(known: Known, strategy: str | None, error_budget: float | None) -> Asked:
    """What is to be tried: as the route has it, but for what is given. Raises `TrialError`."""
    own = known.config.strategy
    chosen = strategy or (own if own in STRATEGIES else "learned")
    if chosen not in STRATEGIES:
        raise TrialError(f"strategy `{chosen}` cannot be tried on logged traffic", f"try one of {', '.join(STRATEGIES)}")
    budget = known.config.error_budget if error_budget is None else error_budget
    if chosen == "learned" and budget is None:
        raise TrialError("strategy `learned` needs an error budget", "pass --error-budget 0.03, or set `error_budget` of the route")
    if len(known.tiers) < 2 or (chosen == "gate" and len(known.tiers) < 3):
        few = f"route `{known.route}` has {len(known.tiers)} tier{'' if len(known.tiers) == 1 else 's'}"
        raise TrialError(f"{few}: too few for strategy `{chosen}`", "a cascade needs two tiers, a gate three: two cheap ones and the last")
    return Asked(chosen, None if chosen == "fixed" else budget)


def policy_of(known: Known, asked: Asked, labels: Sequence[Observation], now_ns: int) -> RoutePolicy | None:
    """What the labels open; None for a strategy that goes by its signals alone."""
    if asked.error_budget is None:
        return None
    route = msgspec.structs.replace(known.config, strategy=asked.strategy, error_budget=asked.error_budget)
    return fit(law_for(known.route, route, known.editions), labels, known.counts, now_ns)


def courses_of(known: Known, asked: Asked, policy: RoutePolicy | None, tags: Sequence[str]) -> dict[str, Course]:
    """Tag -> its stages under the policy to try."""
    if policy is None:
        signals = Course(by_signals(asked.strategy, known.tiers, known.config.confidence), "by its signals alone")
        return dict.fromkeys(tags, signals)
    last = Course((Stage("direct", known.tiers[-1:]),))
    return {tag: last if (own := policy.of(tag)) is None else own.course for tag in tags}


def trial(known: Known, asked: Asked, traffic: RouteTraffic, source: str, now_ns: int, *, is_paid: bool = True) -> TrialReport:
    """A policy on traffic. `is_paid`: False where it was only graded, so that nothing was paid for it yet."""
    policy = policy_of(known, asked, known.labels, now_ns)
    names = sorted(traffic.tags, key=lambda name: (-traffic.tags[name].requests, name))
    courses = courses_of(known, asked, policy, names)
    labels: dict[str, list[Observation]] = {}
    for each in known.labels:
        labels.setdefault(each.tag, []).append(each)
    rows = [
        _Row(known, name, traffic.tags[name], courses[name], policy, labels.get(name, [])) for name in names if traffic.tags[name].requests
    ]
    total = _total(rows, traffic.total())
    return TrialReport(
        route=known.route,
        strategy=asked.strategy,
        error_budget=asked.error_budget,
        source=source,
        total=total if is_paid else msgspec.structs.replace(total, now_usd=None),
        tags=tuple(row.told() if is_paid else msgspec.structs.replace(row.told(), now_usd=None) for row in rows),
        fixed_split=_fixed_split(known, rows, traffic.total()),
        control=split_told(known, _control(known, asked, now_ns)),
        judges=judges_of(known.labels),
        unknown=tuple(_unknown(rows, traffic, asked)),
    )


def _control(known: Known, asked: Asked, now_ns: int) -> Compared | None:
    """The policy against a fixed split, each half of the labels on the courses that the other half opens: none judges itself."""
    halves: tuple[list[Observation], list[Observation]] = [], []
    for each in known.labels:
        halves[crc32(each.id.encode()) % 2].append(each)
    rows: list[Replay] = []
    for taught, judged in (halves, halves[::-1]):
        courses = courses_of(known, asked, policy_of(known, asked, taught, now_ns), sorted({each.tag for each in judged}))
        rows += [found for each in judged for found in replays_of(known, courses[each.tag], (each,))]
    return control_of(rows)


class _Row:
    """One tag on its course."""

    def __init__(
        self,
        known: Known,
        tag: str,
        traffic: Traffic,
        course: Course,
        policy: RoutePolicy | None,
        labels: Sequence[Observation],
    ) -> None:
        self.tag, self.traffic, self.course, self.labels = tag, traffic, course, len(labels)
        self.told_of: TagPolicy | None = None if policy is None else policy.of(tag)
        self.tiers = known.tiers
        own = _replays(course, labels)
        self.borrowed = not own and len(course.stages) > 1
        found = own or _replays(course, known.labels)
        self.reached = (1.0,) if len(course.stages) == 1 else _means([each.reached for each in found]) if found else None
        self.cost = self._cost()
        self.shadows = self._shadows()
        self.loss, self.low, self.high = self._losses(own)

    def _cost(self) -> float | None:
        """Nano-USD of its priced requests, without shadows."""
        if self.reached is None or not self.traffic.priced:
            return None
        return course_cost([sum(self.traffic.on[tier] for tier in stage.tiers) for stage in self.course.stages], self.reached)

    def _shadows(self) -> float | None:
        if self.told_of is None:
            return 0.0
        if self.cost is None:
            return None
        return self.told_of.shadow * max(sum(self.traffic.on.values()) - self.cost, 0.0)

    def _losses(self, own: Sequence[Replayed]) -> tuple[float | None, float | None, float | None]:
        if all(stage.tiers[0] == self.tiers[-1] for stage in self.course.stages):
            return 0.0, 0.0, 0.0
        if self.told_of is not None:
            return self.told_of.expected_loss, self.told_of.loss_low, self.told_of.loss_high
        losses = [each.reference_quality - each.quality for each in own if each.quality is not None and each.reference_quality is not None]
        if not losses:
            return None, None, None
        mean = sum(losses) / len(losses)
        half = _Z * sqrt(sum((loss - mean) ** 2 for loss in losses)) / len(losses)
        return mean, mean - half, max(mean + half, (sum(losses) + 1) / (len(losses) + 1))

    def told(self) -> Trial:
        """For people and programs."""
        on = self.traffic.on.get(self.tiers[-1]) if self.traffic.priced else None
        paid = None if self.cost is None or self.shadows is None else self.cost + self.shadows
        return Trial(
            tag=self.tag, requests=self.traffic.requests, state=None if self.told_of is None else self.told_of.state,
            course=course_words(self.course), labels=self.labels,
            escalation=self.reached[1] if self.reached is not None and len(self.reached) > 1 else None,
            now_usd=format_usd(self.traffic.spent) if self.traffic.priced else None,
            policy_usd=_usd(self.cost), shadow_usd=_usd(self.shadows), last_usd=format_usd(on),
            cost_share=None if paid is None or not on else paid / on, loss=self.loss, low=self.low, high=self.high, note=self._note(),
        )  # fmt: skip

    def _note(self) -> str:
        if self.reached is None:
            return "how often its cheap answers would be kept is unknown: no label tells"
        if self.borrowed:
            return "no label of its own: as other tags"
        return "what it would lose is unknown: no label tells" if self.loss is None else ""


def _replays(course: Course, labels: Sequence[Observation]) -> list[Replayed]:
    return [found for each in labels if (found := replayed(course, each)) is not None]


def _means(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def _total(rows: Sequence[_Row], traffic: Traffic) -> Trial:
    """All tags: sums of money where all of it is known, and losses weighted by requests where all of them are."""
    costs, shadows = [row.cost for row in rows if row.traffic.priced], [row.shadows for row in rows if row.traffic.priced]
    cost = None if None in costs or not costs else sum(each for each in costs if each is not None)
    shadow = None if None in shadows or not shadows else sum(each for each in shadows if each is not None)
    last = [row.traffic.on[row.tiers[-1]] for row in rows if row.traffic.priced]
    losses = [_weighted([(getattr(row, name), row.traffic.requests) for row in rows]) for name in ("loss", "low", "high")]
    escalations = [(row.reached[1] if row.reached and len(row.reached) > 1 else None, row.traffic.requests) for row in rows]
    return Trial(
        tag="all", requests=traffic.requests, state=None, course="", labels=sum(row.labels for row in rows),
        escalation=_weighted([each for each in escalations if each[0] is not None]),
        now_usd=format_usd(traffic.spent) if traffic.priced else None, policy_usd=_usd(cost), shadow_usd=_usd(shadow),
        last_usd=format_usd(sum(last)) if last else None,
        cost_share=None if cost is None or shadow is None else share(round(cost + shadow), sum(last)),
        loss=losses[0], low=losses[1], high=losses[2], note="",
    )  # fmt: skip


def _weighted(parts: Sequence[tuple[float | None, int]]) -> float | None:
    total = sum(weight for _, weight in parts)
    if not total or any(value is None for value, weight in parts if weight):
        return None
    return sum((value or 0.0) * weight for value, weight in parts) / total


def _fixed_split(known: Known, rows: Sequence[_Row], traffic: Traffic) -> FixedSplit | None:
    """None where a cost or the quality of a tier is unknown."""
    costs = [row.cost for row in rows if row.traffic.priced]
    quality = [rung.quality for rung in rungs_of(known.labels, known.tiers)]
    if not costs or None in costs or None in quality:
        return None
    means = [each for each in quality if each is not None]
    budget = sum(each for each in costs if each is not None) / traffic.priced
    each = [traffic.on[tier] / traffic.priced for tier in known.tiers]
    split, reached = best_split(means, each, budget)
    cost = blended_cost([part for _, part in split], [each[at] for at, _ in split])
    return FixedSplit(shares={known.tiers[at]: part for at, part in split}, request_usd=_usd(cost), loss=means[-1] - reached)


def _unknown(rows: Sequence[_Row], traffic: RouteTraffic, asked: Asked) -> list[str]:
    told = []
    total = traffic.total()
    if not total.requests:
        told.append("no request of the window was answered by a model")
    if total.requests > total.priced:
        told.append(f"{total.requests - total.priced:,} requests have no known cost, in fact or on one of the tiers")
    if total.beside_unpriced:
        told.append(f"{total.beside_unpriced:,} calls beside requests have no known cost")
    if not traffic.whole:
        told.append(f"only the newest {total.requests + total.replayed + total.failed:,} requests were read: take a shorter window")
    lost = [row for row in rows if row.loss is None]
    if lost:
        told.append(f"the loss of {sum(row.traffic.requests for row in lost):,} requests in {len(lost)} tag(s): no label tells")
    blind = [row for row in rows if row.reached is None]
    if blind:
        told.append(f"the cost of {sum(row.traffic.requests for row in blind):,} requests: no label tells how often they would go on")
    unlabelled = [row.tag for row in rows if not row.labels]
    if unlabelled and asked.error_budget is not None:
        needed = round(labels_needed(asked.error_budget, 0.0))
        told.append(f"{len(unlabelled)} tag(s) without a label of their own; about {needed:,} without a loss would prove one")
    return told


def _usd(nano: float | None) -> str | None:
    return None if nano is None else format_usd(round(nano))
