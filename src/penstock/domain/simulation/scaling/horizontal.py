"""Policies of a HorizontalPodAutoscaler (autoscaling/v2): one metric, one target, a behaviour.

How the metrics of a GPU server are modelled: its CPU feeds the GPU and its web server, about 30 % of what the pod asked for whatever the
load; its RAM holds the weights once and stays at 60 %. Both are what LLM servers show in practice, and why neither says anything of load.
"""

from fractions import Fraction
from typing import Literal

import msgspec

from penstock.domain.simulation.replica import Signals
from penstock.domain.simulation.scaling.behaviour import DEFAULT, Behaving, Behaviour
from penstock.domain.sizing.calculators.scaling import HpaInputs, hpa

Metric = Literal["cpu", "ram", "requests", "gpu", "tokens", "kv"]
CPU_PERCENT = 30.0
RAM_PERCENT = 60.0
UNLIMITED = 10**6


class Horizontal(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas in proportion to a metric over its target."""

    name: str
    metric: Metric
    target: float
    """mean of the ready replicas: percent for `cpu`, `ram` and `gpu`, requests that wait or run for `requests`, a share of the memory for
    keys and values for `tokens` (what is in flight) and `kv` (what is in use)"""
    tolerance: float = 0.1
    """no change within this share of the target"""
    least: int = 1
    behaviour: Behaviour = DEFAULT
    interval_s: float = 15.0
    """`--horizontal-pod-autoscaler-sync-period`"""

    def begin(self) -> "HorizontalScaler":
        return HorizontalScaler(self)


class HorizontalScaler:
    """Remembers what the behaviour needs."""

    def __init__(self, rule: Horizontal) -> None:
        self._rule = rule
        self._behaving = Behaving(rule.behaviour)

    def desired(self, signals: Signals) -> int:
        replicas = signals.ready + signals.starting
        if not replicas:
            return 0  # an autoscaler is off at zero
        value = mean_of(self._rule.metric, signals)
        wanted = replicas if value is None else wanted_of(value, self._rule, signals)
        return self._behaving.limited(max(wanted, self._rule.least), replicas, signals.at_s)


def mean_of(metric: Metric, signals: Signals) -> float | None:
    """Of the ready replicas; None without any."""
    if not signals.ready:
        return None
    if metric == "cpu":
        return CPU_PERCENT
    if metric == "ram":
        return RAM_PERCENT
    if metric == "requests":
        return (signals.waiting + signals.running) / signals.ready
    if metric == "gpu":
        return 100 * signals.active
    if metric == "kv":
        return signals.kv_use
    return signals.tokens_in_flight / signals.token_capacity if signals.token_capacity else None


def wanted_of(value: float, rule: Horizontal, signals: Signals) -> int:
    """By the law of metrics of pods. Those that start count as idle where the others ask for more, so they are not asked for twice."""
    replicas = signals.ready + signals.starting
    wanted = proportional(signals.ready, value, rule.target, rule.tolerance)
    if not signals.starting:
        return wanted
    if value <= rule.target:
        return min(wanted, replicas)
    return max(proportional(replicas, value * signals.ready / replicas, rule.target, rule.tolerance), replicas)


def proportional(replicas: int, value: float, target: float, tolerance: float) -> int:
    """ceil(replicas * value / target), or as many as there are within the tolerance."""
    return hpa(
        HpaInputs(
            replicas=replicas, value=Fraction(value), target=Fraction(str(target)), kind="Value", tolerance=Fraction(str(tolerance)),
            least=0, most=UNLIMITED,
        )
    ).desired  # fmt: skip


def average_value(replicas: int, total: float, target: float, tolerance: float) -> int:
    """ceil(total / target), or as many as there are within the tolerance: `AverageValue`, KEDA's default."""
    return hpa(
        HpaInputs(
            replicas=replicas, value=Fraction(total), target=Fraction(str(target)), kind="AverageValue", tolerance=Fraction(str(tolerance)),
            least=0, most=UNLIMITED,
        )
    ).desired  # fmt: skip


class HpaCpu(Horizontal, frozen=True, kw_only=True):
    """Baseline. CPU at 30 % of a target of 70: it shrinks, whatever waits."""

    name: str = "hpa_cpu"
    metric: Metric = "cpu"
    target: float = 70.0


class HpaRam(Horizontal, frozen=True, kw_only=True):
    """Baseline. RAM at 60 % of a target of 80: it stays, or shrinks."""

    name: str = "hpa_ram"
    metric: Metric = "ram"
    target: float = 80.0


class HpaRequests(Horizontal, frozen=True, kw_only=True):
    """Baseline. Requests in flight per replica, long ones and short ones alike."""

    name: str = "hpa_requests"
    metric: Metric = "requests"
    target: float = 32.0


class HpaGpu(Horizontal, frozen=True, kw_only=True):
    """Baseline. Share of the time in which the GPU does anything, in percent."""

    name: str = "hpa_gpu"
    metric: Metric = "gpu"
    target: float = 70.0


class Tokens(Horizontal, frozen=True, kw_only=True):
    """Tokens in flight over the tokens whose keys and values fit: what waits counts, as long as it will become."""

    name: str = "tokens"
    metric: Metric = "tokens"
    target: float = 0.7


class KvUse(Horizontal, frozen=True, kw_only=True):
    """Share of the memory for keys and values in use (`vllm:kv_cache_usage_perc`): it cannot say how much waits beyond 1."""

    name: str = "kv"
    metric: Metric = "kv"
    target: float = 0.6
