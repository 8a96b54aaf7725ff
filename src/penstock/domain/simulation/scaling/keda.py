"""KEDA's ScaledObject: triggers with thresholds and activations, an HPA between 1 and the most, and KEDA itself between 0 and 1.

KEDA 2.17 (keda.sh/docs/2.17/reference/scaledobject-spec): a trigger is active above its activation, strictly. Any active one wakes the
target from 0 to 1. When none has been for `cooldown_s`, KEDA sets 0, past the HPA's window and its percent a period. From 1 on, the HPA
wants the most that any trigger asks for; `AverageValue`, the default, divides by the target, not by the replicas.
"""

from typing import Literal

import msgspec

from penstock.domain.simulation.replica import Signals
from penstock.domain.simulation.scaling.behaviour import Behaving, Behaviour, Rules, Step
from penstock.domain.simulation.scaling.horizontal import average_value, proportional
from penstock.domain.simulation.scaling.sustained import Sustained

ARTICLE = Behaviour(
    up=Rules(window_s=30, steps=(Step("Pods", 4, 60),)),
    down=Rules(window_s=600, steps=(Step("Percent", 25, 60),)),
)
"""as in "AI Cost Crisis": up 4 pods a minute after 30 s, down a quarter a minute after 10 minutes"""


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A metric and what it asks for."""

    metric: Literal["gpu", "waiting", "kv"]
    """mean GPU use in percent, requests that wait in the whole fleet, or mean use of the memory for keys and values from 0 to 1"""
    threshold: float
    activation: float
    kind: Literal["AverageValue", "Value"] = "AverageValue"


class Keda(msgspec.Struct, frozen=True, kw_only=True):
    """A ScaledObject. Requests that wait are counted before the pods, as a gateway can, so they are seen at zero replicas; GPU use and the
    memory of the pods are not."""

    name: str
    triggers: tuple[Trigger, ...]
    least: int = 0
    """`minReplicaCount`"""
    most: int = 20
    """`maxReplicaCount`"""
    cooldown_s: float = 300.0
    tolerance: float = 0.1
    behaviour: Behaviour = ARTICLE
    interval_s: float = 15.0
    """`pollingInterval`"""

    def begin(self) -> "KedaScaler":
        return KedaScaler(self)


class KedaScaler:
    """Remembers the behaviour's past, and since when nothing is active."""

    def __init__(self, rule: Keda) -> None:
        self._rule = rule
        self._behaving = Behaving(rule.behaviour)
        self._idle = Sustained(rule.cooldown_s)

    def desired(self, signals: Signals) -> int:
        rule = self._rule
        replicas = signals.ready + signals.starting
        values = [(trigger, _value(trigger, signals)) for trigger in rule.triggers]
        active = any(value is not None and value > trigger.activation for trigger, value in values)
        cooled = self._idle.holds(not active, signals.at_s)
        if not replicas:
            return max(rule.least, int(active))
        if not rule.least and cooled:
            return 0
        asks = [_asked(trigger, value, signals, rule.tolerance) for trigger, value in values if value is not None]
        wanted = min(max([rule.least, 1, *asks] if asks else [replicas]), rule.most)
        return self._behaving.limited(wanted, replicas, signals.at_s)


def _value(trigger: Trigger, signals: Signals) -> float | None:
    if trigger.metric == "waiting":
        return float(signals.waiting)
    if not signals.ready:
        return None
    return 100 * signals.active if trigger.metric == "gpu" else signals.kv_use


def _asked(trigger: Trigger, value: float, signals: Signals, tolerance: float) -> int:
    if trigger.kind == "AverageValue":
        return average_value(signals.ready + signals.starting, value, trigger.threshold, tolerance)
    return proportional(signals.ready, value, trigger.threshold, tolerance)


class KedaArticle(Keda, frozen=True, kw_only=True):
    """Baseline. The rule of "AI Cost Crisis" as written: mean GPU use over 70 never asks for more than 2 replicas, 100 must wait for each
    further one, and a single waiting request wakes nothing."""

    name: str = "keda_article"
    triggers: tuple[Trigger, ...] = (
        Trigger(metric="gpu", threshold=70, activation=5),
        Trigger(metric="waiting", threshold=100, activation=1),
    )


class KedaRight(Keda, frozen=True, kw_only=True):
    """The same made right: a replica for each 10 requests that wait (T1), memory in use as `Value`, one waiting request wakes the fleet,
    growth without delay, and a cooldown longer than a cold start."""

    name: str = "keda_right"
    triggers: tuple[Trigger, ...] = (
        Trigger(metric="waiting", threshold=10, activation=0),
        Trigger(metric="kv", threshold=0.6, activation=0.01, kind="Value"),
    )
    cooldown_s: float = 900.0
    behaviour: Behaviour = Behaviour(up=Rules(window_s=0, steps=(Step("Pods", 4, 60), Step("Percent", 100, 60))), down=ARTICLE.down)
