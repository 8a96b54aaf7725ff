"""What `/metrics` shows of budgets and messages, as of the last look of the chores."""

from collections.abc import Callable, Sequence

from penstock.domain.budgets.limits import WHOLE_UNITS
from penstock.finops.budgets.status import BudgetStatus
from penstock.finops.metrics import Gauges
from penstock.ports.metrics import (
    ALERTS_UNDELIVERED,
    BUDGET_FORECAST_GPU_HOURS,
    BUDGET_FORECAST_USD,
    BUDGET_LIMIT_GPU_HOURS,
    BUDGET_LIMIT_USD,
    BUDGET_SPENT_GPU_HOURS,
    BUDGET_SPENT_USD,
    Metric,
)

_SHOWN: dict[str, tuple[Metric, Metric, Metric]] = {
    "USD": (BUDGET_SPENT_USD, BUDGET_LIMIT_USD, BUDGET_FORECAST_USD),
    "gpu-hours": (BUDGET_SPENT_GPU_HOURS, BUDGET_LIMIT_GPU_HOURS, BUDGET_FORECAST_GPU_HOURS),
}


def budget_gauges(standings: Sequence[BudgetStatus], undelivered: int) -> Gauges:
    """One sample for each budget; what is unknown is absent."""
    gauges: dict[str, list[tuple[tuple[str, ...], float]]] = {ALERTS_UNDELIVERED.name: [((), float(undelivered))]}
    for status in standings:
        forecast = None if status.outlook is None else status.outlook.middle
        name = f"key {status.keys[0]}" if status.keys else status.name  # as the counter of refusals names it
        for metric, whole in zip(_SHOWN[status.unit], (status.spent, status.limit, forecast), strict=True):
            if whole is not None:
                gauges.setdefault(metric.name, []).append(((name,), whole / WHOLE_UNITS[status.unit]))
    return gauges


class AlertGauges:
    """Read anew at every scrape: the last standings, and what the outbox could not deliver."""

    def __init__(self, standings: Callable[[], Sequence[BudgetStatus]], undelivered: Callable[[], int]) -> None:
        self._standings, self._undelivered = standings, undelivered

    def __call__(self) -> Gauges:
        return budget_gauges(self._standings(), self._undelivered())
