"""Policies of two thresholds with durations: add a replica after the signal was high for so long, take one away after it was low.

The articles give signals, thresholds and durations; by how much to scale they do not say: it is one replica here, and the time counts anew
after each. A fleet is left alone while it is empty: to wake it is the business of a workload class (`classes.py`).
"""

from typing import Literal

import msgspec

from penstock.domain.simulation.replica import Signals
from penstock.domain.simulation.scaling.sustained import Sustained

Signal = Literal["waiting", "active", "ttft"]


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Above `up` for `up_for_s`: more. Below `down` for `down_for_s`: fewer. Both strictly."""

    name: str
    signal: Signal
    up: float
    up_for_s: float
    down: float
    down_for_s: float
    step: int = 1
    """replicas at once"""
    least: int = 1
    """replicas that stay whatever the signal says"""
    interval_s: float = 15.0

    def begin(self) -> "ThresholdScaler":
        return ThresholdScaler(self)


class ThresholdScaler:
    """Counts how long the signal has been high or low."""

    def __init__(self, rule: Thresholds) -> None:
        self._rule = rule
        self._high, self._low = Sustained(rule.up_for_s), Sustained(rule.down_for_s)

    def desired(self, signals: Signals) -> int:
        rule = self._rule
        replicas = signals.ready + signals.starting
        value = value_of(rule.signal, signals)
        up = self._high.holds(value is not None and value > rule.up, signals.at_s)
        down = self._low.holds(value is not None and value < rule.down, signals.at_s)
        if up:
            self._high.again()
            return replicas + rule.step
        if down and replicas > rule.least:
            self._low.again()
            return max(rule.least, replicas - rule.step)
        return replicas


def value_of(signal: Signal, signals: Signals) -> float | None:
    """None: nothing is known. Without a first token lately there is none to wait for, unless requests wait: then they wait for one."""
    if signal == "waiting":
        return float(signals.waiting)
    if signal == "active":
        return signals.active if signals.ready else None
    return 0.0 if signals.ttft_p95_s is None and not signals.waiting else signals.ttft_p95_s


class Queue(Thresholds, frozen=True, kw_only=True):
    """Requests that wait, of the whole fleet (values of "Scaling & Cost Management")."""

    name: str = "queue"
    signal: Signal = "waiting"
    up: float = 10
    up_for_s: float = 60.0
    down: float = 2
    down_for_s: float = 300.0


class Utilization(Thresholds, frozen=True, kw_only=True):
    """Share of the time in which the engines work. Near 1 at any load of continuous batching: compare, do not use."""

    name: str = "utilization"
    signal: Signal = "active"
    up: float = 0.8
    up_for_s: float = 120.0
    down: float = 0.2
    down_for_s: float = 600.0


class Ttft(msgspec.Struct, frozen=True, kw_only=True):
    """P95 of the time to first token against its objective (values of "Scaling & Cost Management")."""

    name: str = "ttft"
    sla_s: float = 2.0
    up: float = 2.0
    """times the objective"""
    up_for_s: float = 60.0
    down: float = 0.5
    """times the objective"""
    down_for_s: float = 300.0
    step: int = 1
    least: int = 1
    interval_s: float = 15.0

    def begin(self) -> ThresholdScaler:
        return ThresholdScaler(
            Thresholds(
                name=self.name, signal="ttft", up=self.up * self.sla_s, up_for_s=self.up_for_s, down=self.down * self.sla_s,
                down_for_s=self.down_for_s, step=self.step, least=self.least,
            )
        )  # fmt: skip
