"""What the dashboard shows of budgets, limits and objectives."""

from penstock.deploy.panels import Panel, Query, Row
from penstock.deploy.promql import Selection
from penstock.ports import metrics as m


def budget_row(x: Selection, over: Selection) -> Row:
    """`x` looks at a moment, `over` at the whole range shown."""
    return Row("Budgets and objectives", (*_budgets(x), *_limits(x, over), *_objectives(x)))


def _budgets(x: Selection) -> tuple[Panel, ...]:
    def shown(metric: m.Metric, legend: str) -> Query:
        return Query(f"max by (budget) ({x.series(metric)})", f"{{{{budget}}}} {legend}")

    usd = ((m.BUDGET_SPENT_USD, "spent"), (m.BUDGET_LIMIT_USD, "limit"), (m.BUDGET_FORECAST_USD, "forecast"))
    hours = ((m.BUDGET_SPENT_GPU_HOURS, "spent"), (m.BUDGET_LIMIT_GPU_HOURS, "limit"), (m.BUDGET_FORECAST_GPU_HOURS, "forecast"))
    return (
        Panel(
            title="Budgets in USD", says="Spent in the current period, its limit, and where it is expected to end.", unit="currencyUSD",
            queries=tuple(shown(*each) for each in usd),
        ),
        Panel(
            title="Budgets in GPU-hours", says="Used in the current period, its limit, and where it is expected to end.", unit="short",
            queries=tuple(shown(*each) for each in hours),
        ),
        Panel(
            title="Refused by budgets", says="Requests per second answered 402 because a limit is reached.", unit="reqps",
            queries=(Query(x.rate(m.REFUSED_BUDGET, by=("budget",)), "{{budget}}"),),
        ),
    )  # fmt: skip


def _limits(x: Selection, over: Selection) -> tuple[Panel, ...]:
    def stat(title: str, says: str, expr: str, alarm: float | None = None) -> Panel:
        return Panel(title=title, says=says, unit="short", queries=(Query(expr),), kind="stat", width=6, decimals=0, alarm=alarm)

    return (
        stat("Held too little", "Answers that cost more than was held for them.", over.gained(m.RESERVATION_EXCEEDED), 1),
        stat("Undelivered messages", "Refused by a receiver so far, or given up.", f"max({x.series(m.ALERTS_UNDELIVERED)})", 1),
        stat("Books that are up", "Hosts whose book of grants answers.", f"sum({x.series(m.BOOK_UP)})"),
        stat("Leaders", "Hosts that do what only one does: 1 when all is well.", f"sum({x.series(m.IS_LEADER)})", 2),
        Panel(
            title="Waiting for a place", says="Requests that wait at busy upstreams, by sla.", unit="short", stacked=True, width=12,
            queries=(Query(f"sum by (sla) ({x.series(m.QUEUE_WAITING)})", "{{sla}}"),),
        ),
        Panel(
            title="Shed", says="Requests per second answered 429 because the wait was too long, by sla.", unit="reqps", width=12,
            queries=(Query(x.rate(m.SHED, by=("sla",)), "{{sla}}"),),
        ),
    )  # fmt: skip


def _objectives(x: Selection) -> tuple[Panel, ...]:
    active = f"max by (objective, kind) ({x.series(m.DIRECTIVE_ACTIVE)})"
    return (
        Panel(
            title="Objectives", says="What is measured over its target; above 1 in both windows an objective is missed.", unit="short",
            queries=(Query(f"max by (objective, window) ({x.series(m.OBJECTIVE_BURN_RATE)})", "{{objective}} {{window}}"),),
        ),
        Panel(
            title="Responses", says="1 while an objective has something done.", unit="short",
            queries=(Query(active, "{{objective}} {{kind}}"),),
        ),
        Panel(
            title="Fleets to be scaled down", says="GPUs or slices that should run, while an objective asks for it.", unit="short",
            queries=(Query(f"max by (fleet) ({x.series(m.FLEET_TARGET_UNITS)})", "{{fleet}}"),),
        ),
    )  # fmt: skip
