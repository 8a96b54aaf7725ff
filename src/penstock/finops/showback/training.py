"""Whether training is within its budget: what requests, recorded runs and own GPUs came to, in the budget's own period."""

from decimal import Decimal
from fractions import Fraction

from penstock.config.limits import Limit, law_of, parse_limit
from penstock.config.spending import Budget
from penstock.domain.budgets.limits import calendar
from penstock.domain.dialects.content import normal_tag
from penstock.domain.ledger.entries import HOUR_NS, Entry
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.recorded import key_of_entry
from penstock.domain.units import usd
from penstock.finops.books import Books
from penstock.finops.showback.document import TrainingBudget
from penstock.finops.showback.groups import run_gpu_hours, trains
from penstock.finops.statement import Row, known, statement, whole
from penstock.finops.window import Window, iso


def training_budgets(books: Books, window: Window) -> tuple[TrainingBudget, ...]:
    """Every `[[budgets]]` whose `where` is training, in the period that holds the window's last instant. Raises `UnitError`."""
    return tuple(_status(books, budget, window) for budget in books.settings.budgets if _of_training(budget))


def _of_training(budget: Budget) -> bool:
    return any(normal_tag(key) == "workload_type" and trains(value) for key, value in budget.where.items())


def _status(books: Books, budget: Budget, window: Window) -> TrainingBudget:
    limit = parse_limit(budget.limit)
    last = min(window.until_ns, books.now_ns)
    since, until = _period(budget, last, window.timezone)
    where = tuple((normal_tag(key), value) for key, value in budget.where.items())
    stated = statement(books, CostQuery(since_ns=since, until_ns=min(until, last), where=where), "separate")
    spent, note = _spent(books, limit, whole(stated), where, since, min(until, last))
    notes = [note, "; ".join(stated.unknown)]
    return TrainingBudget(
        name=budget.name,
        limit_text=budget.limit,
        unit=limit.unit,
        limit=f"{limit.amount:f}",
        spent=None if spent is None else f"{spent:f}",
        share=None if spent is None else round(float(spent / limit.amount), 4),
        elapsed=round((last - since) / (until - since), 4) if until > since else 1.0,
        within=None if spent is None or (spent <= limit.amount and stated.unknown) else spent <= limit.amount,
        since=iso(since),
        until=iso(until),
        note="; ".join(filter(None, notes)),
    )


def _period(budget: Budget, last_ns: int, timezone: str) -> tuple[int, int]:
    """The calendar period before an instant, or the window that ends there."""
    law = law_of(budget, timezone)
    if law.period is not None:
        return calendar(law.period, last_ns - 1, law.timezone)
    return last_ns - (law.rolling_ns or 0), last_ns


def _spent(books: Books, limit: Limit, row: Row, where: tuple[tuple[str, str], ...], since: int, until: int) -> tuple[Decimal | None, str]:
    """What of the limit is used, in its unit, and a note."""
    if limit.unit == "USD":
        return (usd(row.usage), "") if known(row) else (None, "none of its requests has a price")
    total = Fraction(row.allocated.gpu_ns, HOUR_NS)
    for entry in books.ledger.snapshot.costs.entries(since, until):
        if entry.fleet is None and _matches(entry, where):
            part = run_gpu_hours(entry, since, until)
            if part is None:
                return None, f"recorded run {entry.name} ({entry.id}) does not say its GPU-hours"
            total += part
    return (Decimal(total.numerator) / total.denominator).quantize(Decimal("0.001")), ""


def _matches(entry: Entry, where: tuple[tuple[str, str], ...]) -> bool:
    return all(key_of_entry(entry, key) == value for key, value in where)
