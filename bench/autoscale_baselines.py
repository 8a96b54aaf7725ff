"""What the forecaster is held against: simple ways of asking for replicas, and one that sees ahead."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from types import MappingProxyType
from typing import Final

from bench.autoscale_judge import LATE_S, Rates
from penstock.domain.simulation.scaling.forecasting import FIRST, RateForecaster

DAY_S: Final = 86_400.0
HOLD_S: Final = 1_800.0
ERRORS: Final = 144
"""windows whose errors make the head-room of the seasonal law"""
Way = Callable[[Rates, float], list[int]]


def forecast(rates: Rates, rps_per_replica: float) -> list[int]:
    """Ours, window by window: nothing of a window is known before it is answered."""
    forecaster = RateForecaster(late_share=min(1.0, LATE_S / rates.window_s))
    asked = []
    for rate in rates.rps:
        asked.append(forecaster.replicas(rps_per_replica))
        forecaster.observe(rate)
    return asked


def peak(rates: Rates, rps_per_replica: float) -> list[int]:
    return [_count(max(rates.rps), rps_per_replica)] * len(rates.rps)


def reactive(rates: Rates, rps_per_replica: float, times: float, hold_s: float = 0.0) -> list[int]:
    """The last rate with head-room; the most of that which was asked for within the hold."""
    asked = [FIRST, *(_count(times * rate, rps_per_replica) for rate in rates.rps[:-1])]
    held = max(1, round(hold_s / rates.window_s))
    return [max(asked[max(0, at - held + 1) : at + 1]) for at in range(len(asked))]


def seasonal(rates: Rates, rps_per_replica: float) -> list[int]:
    """The last rate, as much more as it became at that time yesterday, times the P95 of what that missed on the last day."""
    day = round(DAY_S / rates.window_s)
    asked, missed = [FIRST], [1.3]
    for at in range(1, len(rates.rps)):
        grows = rates.rps[at - day] / max(rates.rps[at - day - 1], 1e-9) if at > day else 1.0
        told = rates.rps[at - 1] * grows
        asked.append(_count(told * _p95(missed[-ERRORS:]), rps_per_replica))
        missed.append(rates.rps[at] / max(told, 1e-9))
    return asked


def sees(rates: Rates, rps_per_replica: float) -> list[int]:
    """Knows each rate when its window begins, not before."""
    return [_count(rate, rps_per_replica) for rate in rates.rps]


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, ceil(0.95 * len(values)))]


def _count(rate: float, rps_per_replica: float) -> int:
    return max(1, ceil(rate / rps_per_replica))


OURS: Final = "forecast"
AGAINST: Final = "reactive x1.3"
WAYS: Final[Mapping[str, Way]] = MappingProxyType(
    {
        OURS: forecast,
        "static peak": peak,
        "reactive": partial(reactive, times=1.0),
        "reactive x1.2": partial(reactive, times=1.2),
        AGAINST: partial(reactive, times=1.3),
        "reactive x1.1, hold 30 min": partial(reactive, times=1.1, hold_s=HOLD_S),
        "reactive x1.2, hold 30 min": partial(reactive, times=1.2, hold_s=HOLD_S),
        "yesterday's change": seasonal,
        "sees this window": sees,
    }
)
