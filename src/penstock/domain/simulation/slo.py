"""Latency objectives of a fleet, as they are written on a command line: `ttft_p95=2s, tpot_p99=50ms, e2e_p95=30s`."""

import difflib
import re
from typing import Literal, get_args

import msgspec

from penstock.domain.units import Duration, UnitError

LatencyMetric = Literal["ttft", "tpot", "e2e"]
METRICS: tuple[LatencyMetric, ...] = get_args(LatencyMetric)
EXAMPLE = "write it like `ttft_p95=2s`, several with commas between: `ttft_p95=2s, tpot_p99=50ms, e2e_p95=30s`"
_PART = re.compile(r"^\s*([a-z0-9]+)_p([0-9.]+)\s*(?:=|<=|<)\s*(\S.*?)\s*$", re.IGNORECASE)


class SloError(ValueError):
    """An objective that cannot be read."""

    def __init__(self, message: str, hint: str = EXAMPLE) -> None:
        super().__init__(message)
        self.hint = hint


class Objective(msgspec.Struct, frozen=True):
    """`percentile` per cent of all requests have a `metric` of at most `within_s`."""

    metric: LatencyMetric
    """`ttft`: to the first token; `tpot`: per further token, for answers of two tokens or more; `e2e`: to the last token"""
    percentile: float
    within_s: float

    @property
    def name(self) -> str:
        """As it is written: `ttft_p95`."""
        return f"{self.metric}_p{self.percentile:g}"


class Slo(msgspec.Struct, frozen=True):
    """Objectives that hold together."""

    objectives: tuple[Objective, ...]


def parse_slo(text: str) -> Slo:
    """Reads objectives. Raises `SloError` that says which part is wrong and what would be right."""
    objectives: dict[str, Objective] = {}
    for part in filter(str.strip, re.split(r"[,;]", text)):
        objective = _objective(part.strip())
        if objective.name in objectives:
            raise SloError(f"`{objective.name}` is there twice", "leave one out")
        objectives[objective.name] = objective
    if not objectives:
        raise SloError("an objective is missing")
    return Slo(tuple(objectives.values()))


def _objective(part: str) -> Objective:
    match = _PART.match(part)
    if match is None:
        raise SloError(f"`{part}` is not an objective")
    metric = next((name for name in METRICS if name == match[1].lower()), None)
    if metric is None:
        near = difflib.get_close_matches(match[1].lower(), [*METRICS, "itl", "latency"], 1, 0.4)
        meant = {"itl": "tpot", "latency": "e2e"}.get(near[0], near[0]) if near else None
        raise SloError(f"`{match[1]}` is not a latency", f"did you mean `{meant}`?" if meant else f"there are {', '.join(METRICS)}")
    try:
        percentile = float(match[2])
    except ValueError:
        percentile = 0.0
    if not 0 < percentile < 100:
        raise SloError(f"`p{match[2]}` is not a percentile", "write p50, p95, p99 or p99.9")
    try:
        within_s = Duration.parse(match[3])
    except UnitError as error:
        raise SloError(f"`{part}`: {error}") from None
    if within_s <= 0:
        raise SloError(f"`{part}`: no answer takes no time", "write a duration above 0, such as `2s`")
    return Objective(metric, percentile, float(within_s))
