"""The form of a scaling policy: told signals at every tick, it answers how many replicas there shall be."""

from typing import Protocol

from penstock.domain.simulation.replica import Signals


class Scaler(Protocol):
    """A policy at work on one fleet; it may remember."""

    def desired(self, signals: Signals) -> int:
        """Replicas that shall exist, those that start included; the fleet's own bounds are applied to it afterwards."""
        ...


class Policy(Protocol):
    """A policy by its name. `begin` is called once for each run."""

    @property
    def name(self) -> str: ...

    @property
    def interval_s(self) -> float:
        """Seconds between two ticks."""
        ...

    def begin(self) -> Scaler: ...
