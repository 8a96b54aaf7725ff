"""A bill as a sheet: one line per group, pot and correction, with the amounts that add up to its total."""

from collections.abc import Iterator

from penstock.domain.units import format_usd
from penstock.finops.bills.document import Bill
from penstock.finops.sheet import csv_text

MEASURES = (
    "requests", "unpriced_requests", "input_tokens", "output_tokens", "cp1kt_usage_usd", "cp1kt_allocated_usd", "usage_usd", "shared_usd",
    "total_usd",
)  # fmt: skip


def bill_csv(bill: Bill) -> str:
    """The chargeback as CSV; `total_usd` of all lines is the bill's total. What is unknown is an empty cell."""
    header = ("month", "bill", "row", *bill.by, "line", "name", *MEASURES)
    return csv_text(header, _rows(bill))


def _rows(bill: Bill) -> Iterator[tuple[object, ...]]:
    head, nobody = (bill.month, "draft" if bill.number is None else bill.number), (None,) * len(bill.by)
    for each in bill.bearers:
        counts = (each.requests, each.unpriced, each.input_tokens, each.output_tokens, each.cp1kt_usage_usd, each.cp1kt_allocated_usd)
        money = (format_usd(each.usage_usd), format_usd(each.shared_usd), format_usd(each.total_usd))
        yield (*head, "group", *each.keys, None, None, *counts, *money)
    for pot in bill.pots:
        if pot.rest_usd:
            yield (*head, "nobody", *nobody, pot.line, pot.name, *(None,) * 8, format_usd(pot.rest_usd))
    for correction in bill.corrections:
        keys = tuple((correction.keys or {}).get(key) for key in bill.by)
        name = f"{correction.month} {correction.name}".strip()
        yield (*head, "correction", *keys, correction.line, name, *(None,) * 8, format_usd(correction.usd))
