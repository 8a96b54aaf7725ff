"""What `/metrics` shows of the moment beside the records and the workers: the rent of fleets, and what became of traces."""

import time
from collections.abc import Callable, Mapping, Sequence

from penstock.config.fleets import fleet_plan
from penstock.config.hardware import Fleet
from penstock.finops.metrics import Gauges
from penstock.ports.metrics import FLEET_RENT, TRACES_DROPPED, TRACES_SENT
from penstock.ports.traces import Traces


class Momentary:
    """Read anew at every scrape. `clock`: unix nanoseconds, for dated prices."""

    def __init__(self, fleets: Mapping[str, Fleet], traces: Traces | None = None, *, clock: Callable[[], int] = time.time_ns) -> None:
        """Raises `UnitError` for prices that cannot be read."""
        # fleets that scale (`runs`) are left out: how many of their GPUs run now is not known
        self._fleets = [
            ((name, fleet.upstream or "", fleet.gpu), fleet_plan(name, fleet)) for name, fleet in fleets.items() if fleet.runs is None
        ]
        self._traces = traces
        self._clock = clock

    def __call__(self) -> Gauges:
        now = self._clock()
        rents: list[tuple[tuple[str, ...], float]] = []
        for labels, plan in self._fleets:
            in_force = [price for price in plan.usd_per_hour if price[0] <= now]
            if in_force:
                rents.append((labels, float(max(in_force)[1] * plan.count)))
        gauges: dict[str, list[tuple[tuple[str, ...], float]]] = {FLEET_RENT.name: rents}
        if self._traces is not None:
            gauges[TRACES_SENT.name] = [((), float(self._traces.sent))]
            gauges[TRACES_DROPPED.name] = [((), float(self._traces.dropped))]
        return gauges


def together(*sources: Callable[[], Gauges]) -> Callable[[], Gauges]:
    """Several sources as one; each metric is told by one of them."""

    def gauges() -> Gauges:
        found: dict[str, Sequence[tuple[tuple[str, ...], float]]] = {}
        for source in sources:
            found.update(source())
        return found

    return gauges
