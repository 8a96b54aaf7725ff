"""The fleet that nobody scales: what every policy is measured against."""

import msgspec

from penstock.domain.simulation.replica import Signals


class Static(msgspec.Struct, frozen=True, kw_only=True):
    """The same number of replicas all the time."""

    name: str = "static"
    interval_s: float = 60.0
    replicas: int | None = None
    """None: as many as there are at the first tick"""

    def begin(self) -> "StaticScaler":
        return StaticScaler(self.replicas)


class StaticScaler:
    """Remembers the number."""

    def __init__(self, replicas: int | None) -> None:
        self._replicas = replicas

    def desired(self, signals: Signals) -> int:
        if self._replicas is None:
            self._replicas = signals.ready + signals.starting
        return self._replicas
