"""When a fleet ran, from a file: intervals (`start,end,count`), or a bill whose rows are hours of its instance."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path

from penstock.domain.bills.explaining import counted
from penstock.domain.bills.focus import EXACT, FocusRow
from penstock.domain.bills.meters import GPU_HOURS, hours_of
from penstock.domain.bills.subjects import Matcher, Subject, gpus_held
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.hardware import HOUR_NS, Steps, known_until, parse_intervals, steps_of
from penstock.domain.prices.schedule import ALWAYS
from penstock.ports.bill_source import BillError

INTERVALS = ["start", "end", "count"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_runs(path: Path, instance: str | None, region: str | None = None) -> Steps | None:
    """Running units through time; None when the file has no interval, or the bill no row of the instance.

    In a bill, n GPU-hours over charge periods of h hours are n / h units: whole ones all through the period and one more for a part of
    it, so that the hours stay what they are; instance-hours count for every GPU of the instance. Credits, purchases and what stayed
    unused are left out. Before its first and after its last charge nothing is known. Raises `PriceError` for intervals or quantities
    that cannot be read or a bill without a configured `where.instance`, `BillError` (also for a bill that cannot be read as a whole:
    hours that are missing would be rent that is missing), `OSError`.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        try:
            if [cell.strip().lower() for cell in next(rows, [])] == INTERVALS:
                return parse_intervals(chain([INTERVALS], rows)) or None
        except csv.Error as problem:
            raise PriceError(f"line {rows.line_num} cannot be read: {problem}") from None
    if instance is None:
        raise PriceError(f"{path.name} is no file of intervals, and in a bill the fleet is found by its `where.instance`: give one")
    from penstock.adapters.bills.reading import Bill

    bill, fleet = Bill(path), Subject(kind="fleet", service=instance, model=None, names=(instance,), region=region)
    steps = _steps(bill.rows(), Matcher((fleet,)), instance)
    if not bill.report.complete:
        why = bill.report.broken or f"{counted(bill.report.refused, 'row')} cannot be read: {next(iter(bill.report.refused_by_reason))}"
        raise BillError(f"{path.name} does not tell all hours: {why}", "mend it or fetch it again; `penstock reconcile` names every row")
    return steps


def _steps(rows: Iterator[FocusRow], matcher: Matcher, instance: str) -> Steps | None:
    hours: dict[tuple[int, int], Decimal] = {}
    told: list[tuple[int, int]] = []
    for row in rows:
        start, end = row.charge_period_start, row.charge_period_end
        if row.charge_category != "Usage" or start is None or end is None or end <= start:
            continue
        span = _ns(start), _ns(end)
        found = _gpu_hours(row, instance) if matcher.subject_of(row) is not None else None
        if found is not None:
            hours[span] = EXACT.add(hours.get(span, Decimal(0)), found)
        elif end - start > timedelta(days=1):
            continue  # such as a fee of the whole month: it does not say how far the bill has come
        told.append(span)
    spans = [piece for span, sum_ in hours.items() for piece in _spans(*span, sum_)]
    if not spans:
        return None
    begin, until = min(start for start, _ in told), max(end for _, end in told)
    steps = known_until(steps_of(spans), until)
    return ((ALWAYS, None), *(((begin, 0),) if begin < steps[0][0] else ()), *steps)


def _gpu_hours(row: FocusRow, instance: str) -> Decimal | None:
    """None for a charge that counts no hours, such as the storage of an instance. Raises `PriceError`."""
    metered = hours_of(row)
    if metered is None:
        return None
    meter, quantity = metered
    gpus = Decimal(1) if meter == GPU_HOURS else gpus_held(row, instance)
    if gpus is None:
        raise PriceError(f"the bill counts hours of `{instance}`, and how many GPUs it holds is not known: give a file of intervals")
    if quantity is None:
        raise PriceError(f"a charge of `{instance}` for {row.charge_period_start} does not say how many hours it is for")
    return EXACT.multiply(quantity, gpus)


def _spans(start: int, end: int, hours: Decimal) -> Iterator[tuple[int, int, int]]:
    """GPU-hours within a charge period as runs: whole GPUs all through it, and one more for as long as what is left over lasts."""
    if hours < 0:
        raise PriceError(f"its charges from {_EPOCH + timedelta(microseconds=start // 1000)} on come to {hours:f} GPU-hours")
    units, rest = divmod(round(EXACT.multiply(hours, Decimal(HOUR_NS))), end - start)
    if units:
        yield start, end, units
    if rest:
        yield start, start + rest, 1


def _ns(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
