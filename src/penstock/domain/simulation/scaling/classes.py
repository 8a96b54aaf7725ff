"""Workload classes: whether a fleet may sleep, when it is woken ahead, and how long it stays warm.

After the table of scale-to-zero of "Scaling & Cost Management": interactive no, background and batch yes, webhooks with a pre-warm
where minutes of queueing are acceptable. Times of day are of a trace that begins at midnight, unless `midnight_s` says how long before its
begin that was.
"""

import difflib

import msgspec

from penstock.domain.simulation.replica import Signals
from penstock.domain.simulation.scaling.policy import Policy, Scaler
from penstock.domain.simulation.scaling.sustained import Sustained

DAY_S = 86_400.0
HOUR_S = 3_600.0
SUGGESTED = 1


class Warm(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of every day in which replicas are ready: they are asked for a cold start before."""

    from_s: float
    """after midnight"""
    until_s: float
    """after midnight; at or below `from_s`: of the next day"""
    replicas: int = 1


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of work needs of its fleet besides a policy."""

    name: str
    words: str
    least: int
    """replicas at all times"""
    keep_warm_s: float | None
    """the fleet sleeps when nothing has come, waited or run for so long; None: it never does"""
    warm: tuple[Warm, ...] = ()


INTERACTIVE = Workload(name="interactive", words="people wait: never asleep", least=1, keep_warm_s=None)
BACKGROUND = Workload(name="background", words="hours of delay are fine: asleep when idle", least=0, keep_warm_s=300.0)
NIGHTLY = Workload(
    name="nightly", words="a batch at night: up from 01:00 to 05:00, asleep when idle", least=0, keep_warm_s=300.0,
    warm=(Warm(from_s=1 * HOUR_S, until_s=5 * HOUR_S),),
)  # fmt: skip
WEBHOOK = Workload(
    name="webhook", words="minutes of queueing are acceptable: warm from 08:00 to 20:00, else asleep when idle", least=0, keep_warm_s=900.0,
    warm=(Warm(from_s=8 * HOUR_S, until_s=20 * HOUR_S),),
)  # fmt: skip
SCHEDULED = Workload(
    name="scheduled", words="at known times: up at 06:00, 12:00 and 18:00 for an hour, asleep when idle", least=0, keep_warm_s=120.0,
    warm=tuple(Warm(from_s=hour * HOUR_S, until_s=(hour + 1) * HOUR_S) for hour in (6, 12, 18)),
)  # fmt: skip
WORKLOADS = (INTERACTIVE, BACKGROUND, NIGHTLY, WEBHOOK, SCHEDULED)


def find_workload(name: str) -> Workload:
    """By its name. Raises LookupError that names the nearest."""
    for each in WORKLOADS:
        if each.name == name.strip().lower():
            return each
    names = [each.name for each in WORKLOADS]
    near = difflib.get_close_matches(name.strip().lower(), names, SUGGESTED) or names
    raise LookupError(f"there is no workload class `{name}`; the nearest: {', '.join(near)}")


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """A policy within the bounds of a workload class. The fleet's own bounds must let it reach what the class wants, 0 too."""

    policy: Policy
    workload: Workload
    cold_start_s: float = 180.0
    midnight_s: float = 0.0
    """from the midnight before the trace's begin to its begin"""

    @property
    def name(self) -> str:
        return f"{self.policy.name}, {self.workload.name}"

    @property
    def interval_s(self) -> float:
        return self.policy.interval_s

    def begin(self) -> Scaler:
        return WrappedScaler(self)

    def least(self, at_s: float) -> int:
        """Replicas that must be there whatever comes: always, by schedule, or to be ready a cold start from now."""
        now_s = at_s + self.midnight_s
        soon_s = now_s + self.cold_start_s
        scheduled = (each.replicas for each in self.workload.warm if _within(each, now_s) or _within(each, soon_s))
        return max(self.workload.least, *scheduled, 0)


def wrapped(policy: Policy, workload: Workload, cold_start_s: float = 180.0, midnight_s: float = 0.0) -> Wrapped:
    """The policy for that kind of work."""
    return Wrapped(policy=policy, workload=workload, cold_start_s=cold_start_s, midnight_s=midnight_s)


class WrappedScaler:
    """Knows since when the fleet is idle."""

    def __init__(self, rule: Wrapped) -> None:
        self._rule = rule
        self._inner = rule.policy.begin()
        self._idle = Sustained(rule.workload.keep_warm_s or 0.0)

    def desired(self, signals: Signals) -> int:
        rule = self._rule
        wanted = self._inner.desired(signals)
        least = rule.least(signals.at_s)
        works = bool(signals.waiting or signals.running or signals.arrivals)
        cooled = self._idle.holds(not works, signals.at_s)
        if rule.workload.keep_warm_s is None or works:
            return max(wanted, least, 1)
        if cooled or not signals.ready + signals.starting:
            return least
        return max(wanted, least, 1)


def _within(warm: Warm, at_s: float) -> bool:
    clock = at_s % DAY_S
    if warm.from_s < warm.until_s:
        return warm.from_s <= clock < warm.until_s
    return clock >= warm.from_s or clock < warm.until_s
