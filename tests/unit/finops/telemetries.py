"""A Telemetry of given series, for tests of what is made of them: selectors find them by name and label, other PromQL by its text."""

import re
from collections.abc import Callable, Mapping

from penstock.adapters.telemetry.prometheus import Prometheus
from penstock.finops.meters.series import ALIVE
from penstock.ports.telemetry import MeterNames, Series, TelemetryError

HOUR = 489_000
SINCE = HOUR * 3600.0
STEP = 30.0
Values = Mapping[int, float]
"""number of the half minute since the hour's begin -> value"""


def every(value: float, since: int = -20, until: int = 121) -> dict[int, float]:
    return dict.fromkeys(range(since, until), value)


def rising(per_instant: float, start: float = 0.0, since: int = -20, until: int = 121) -> dict[int, float]:
    return {index: start + per_instant * (index - since) for index in range(since, until)}


def series(name: str, values: Values, dropped: tuple[int, ...] = (), /, **labels: str) -> Series:
    points = tuple((SINCE + index * STEP, value) for index, value in sorted(values.items()))
    return Series({"__name__": name, **labels}, points, tuple(SINCE + index * STEP for index in dropped))


class Given:
    """At work all the time unless `alive` says otherwise. `raises` is asked before anything else."""

    def __init__(self, *told: Series, alive: Values | None = None, gives: Mapping[str, list[Series]] | None = None) -> None:
        self.told = list(told)
        self.alive = alive
        self.gives = dict(gives or {})
        self.raises: Callable[[str], TelemetryError | None] = lambda promql: None
        self.asked: list[str] = []

    @property
    def names(self) -> MeterNames:
        return Prometheus("http://127.0.0.1:1", {}).names

    def range(self, promql: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        if promql == ALIVE and self.alive is None and self.raises(promql) is None:
            self.asked.append(promql)
            return [Series({}, tuple((start_s + index * step_s, 1.0) for index in range(int((end_s - start_s) / step_s) + 1)))]
        return [each for each in self._found(promql) if each.points or each.dropped]

    def instant(self, promql: str, at_s: float) -> list[Series]:
        return [each for each in self._found(promql) if each.points]

    def _found(self, promql: str) -> list[Series]:
        self.asked.append(promql)
        if (problem := self.raises(promql)) is not None:
            raise problem
        if promql == ALIVE:
            return [series("", every(1.0) if self.alive is None else self.alive)]
        if promql == "up == 0":
            down = [
                Series(each.labels, tuple(point for point in each.points if point[1] == 0))
                for each in self.told
                if each.labels["__name__"] == "up"
            ]
            return [each for each in down if each.points]
        if promql in self.gives:
            return self.gives[promql]
        selected = re.search(r'\{__name__=~"([^"]*)"([^}]*)\}', promql)
        assert selected is not None, promql
        labels = dict(re.findall(r'(\w+)="([^"]*)"', selected[2]))
        return [
            each
            for each in self.told
            if re.fullmatch(selected[1], each.labels["__name__"]) and all(each.labels.get(name) == value for name, value in labels.items())
        ]
