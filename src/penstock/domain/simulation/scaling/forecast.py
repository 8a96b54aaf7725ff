"""The policy that asks for what the next window will need, before it needs it (`forecasting.py`), and for what drains a queue."""

from math import ceil
from typing import Final

import msgspec

from penstock.domain.simulation.replica import Signals
from penstock.domain.simulation.scaling.forecasting import COST_RATIO, OVER_SHARE, RateForecaster
from penstock.domain.simulation.scaling.throughput import Throughput

LEAST_WINDOW_S: Final = 60.0


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Looks one window ahead."""

    name: str = "forecast"
    rps_per_replica: float | None = None
    """requests a second that a replica serves within the objective; None: learned (`throughput.py`)"""
    use: float = 0.7
    """share of what a replica can do that is wanted of it, where that is learned"""
    cold_start_s: float = 180.0
    window_s: float | None = None
    """None: as long as a cold start, a minute at least"""
    quantile: float = 1 - OVER_SHARE
    """share of requests that shall find capacity"""
    cost: float = COST_RATIO
    """replicas over those of a perfect forecast that are accepted before that"""
    hold_s: float = 1800.0
    """from one turn from growing to shrinking to the next, at least"""
    drain_s: float = 180.0
    """in which what waits is to be served, by further replicas"""
    interval_s: float = 15.0

    def __post_init__(self) -> None:
        """Raises ValueError for what a forecaster cannot work with."""
        self.forecaster(0)

    def begin(self) -> "ForecastScaler":
        return ForecastScaler(self)

    def window(self) -> float:
        """Its length in seconds."""
        return max(LEAST_WINDOW_S, self.cold_start_s) if self.window_s is None else self.window_s

    def forecaster(self, first: int) -> RateForecaster:
        """For windows of this policy; `first`: replicas that there are."""
        window_s = self.window()
        return RateForecaster(
            late_share=min(1.0, self.cold_start_s / window_s), over_share=1 - self.quantile, cost_ratio=self.cost,
            hold_windows=ceil(self.hold_s / window_s), first=first,
        )  # fmt: skip


class ForecastScaler:
    """Sums up the window, and asks at its end."""

    def __init__(self, rule: Forecast) -> None:
        self._rule = rule
        self._forecaster: RateForecaster | None = None
        self._throughput = Throughput(rule.use)
        self._replicas = self._drain = 0
        self._arrivals = self._seconds = 0.0

    def desired(self, signals: Signals) -> int:
        rule = self._rule
        if self._forecaster is None:
            self._replicas = signals.ready + signals.starting
            self._forecaster = rule.forecaster(self._replicas)
        self._throughput.observe(signals)
        self._arrivals += signals.arrivals
        self._seconds += signals.interval_s
        over = self._seconds >= rule.window()
        if over:
            self._throughput.learn(signals.waiting)
        rps = rule.rps_per_replica or self._throughput.rps
        if over:
            self._forecaster.observe(self._arrivals / self._seconds)
            self._replicas = self._forecaster.replicas(rps) if rps else self._replicas
            self._arrivals = self._seconds = 0.0
            self._drain = 0
        if rps:
            self._drain = max(self._drain, int(signals.waiting / (rps * rule.drain_s)))
        return self._replicas + self._drain
