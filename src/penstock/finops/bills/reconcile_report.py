"""A reconciliation as JSON and CSV: money as exact decimal texts, None for what a side does not have."""

from decimal import Decimal
from typing import Any

from penstock.domain.bills.comparing import Group
from penstock.domain.bills.focus import EXACT
from penstock.domain.bills.invoice import Amount
from penstock.finops.bills.reconcile import Reconciliation
from penstock.finops.sheet import csv_text
from penstock.finops.window import iso
from penstock.ports.bill_source import ReadReport, Refusal, Totals

COLUMNS = ("status", "billed_usd", "booked_usd", "difference_usd", "charges", "what")

PLACES, LONGEST_PLACES = Decimal("1e-9"), 20
"""no bill writes more decimals than that"""


def reconcile_json(found: Reconciliation) -> dict[str, Any]:
    """The whole of it, with the account of every file."""
    question = found.question
    return {
        "window": {"since": iso(found.since_ns), "until": iso(found.until_ns)} if found.since_ns < found.until_ns else None,
        "by": list(question.by),
        "basis": question.basis,
        "tolerance": {"share": text(question.tolerance.share), "usd": text(question.tolerance.usd)},
        "complete": found.complete,
        "incomplete_because": found.gap or None,
        "equal": not found.differences if found.complete else None,
        "total": {
            "billed_usd": text(found.billed),
            "booked_usd": text(found.booked),
            "difference_usd": text(found.billed - found.booked),
        },
        "rows": [_group(group) for group in found.groups],
        "apart": [
            {"kind": kind, "service": service} | _amount(amount) | {"billed_usd": text(amount.billed)}
            for (kind, service), amount in sorted(found.apart.items())
        ],
        "beyond": [{"service": service} | _amount(amount) for service, amount in sorted(found.beyond.items())],
        "other_currencies": _by_currency(found.foreign),
        "outside": _by_currency(found.outside),
        "repeated": _by_currency(found.repeated),
        "elsewhere": [{"service": service, "booked_usd": text(amount)} for service, amount in sorted(found.elsewhere.items())],
        "without_cost": found.without_cost,
        "files": [_file(report) for report in found.files],
        "notes": list(found.notes),
    }


def reconcile_csv(found: Reconciliation) -> str:
    """One line per group; the keys asked for first."""
    keys = found.question.by
    rows = ([getattr(group, key) for key in keys] + [_cell(group, column) for column in COLUMNS] for group in found.groups)
    return csv_text((*keys, *COLUMNS), rows)


def _cell(group: Group, column: str) -> object:
    match column:
        case "billed_usd":
            return text(group.billed)
        case "booked_usd":
            return text(group.booked)
        case "difference_usd":
            return text(group.difference)
        case _:
            return getattr(group, column)


def _group(group: Group) -> dict[str, Any]:
    return {
        "service": group.service,
        "model": group.model,
        "day": group.day,
        "status": group.status,
        "billed_usd": text(group.billed),
        "booked_usd": text(group.booked),
        "difference_usd": text(group.difference),
        "charges": group.charges,
        "quantities": {meter: {"billed": text(billed), "booked": text(booked)} for meter, billed, booked in group.quantities},
        "what": group.what,
    }


def _amount(amount: Amount) -> dict[str, Any]:
    return {"charges": amount.charges, "cost_usd": text(amount.cost)}


def _by_currency(amounts: dict[str, Amount]) -> list[dict[str, Any]]:
    return [{"currency": currency, "charges": amount.charges, "cost": text(amount.cost)} for currency, amount in sorted(amounts.items())]


def _file(report: ReadReport) -> dict[str, Any]:
    return {
        "path": report.path,
        "format": report.format,
        "container": report.container,
        "rows": report.rows,
        "read": report.read,
        "charges": report.charges,
        "broken": report.broken or None,
        "repaired": [
            {"reason": each.reason, "count": each.count, "columns": list(each.columns), "first_rows": list(each.first_rows)}
            for each in report.repaired
        ],
        "refused": {"rows": report.refused, "by_reason": report.refused_by_reason, "first": [_refusal(each) for each in report.refusals]},
        "aside": report.aside,
        "left_out": report.left_out,
        "notes": report.notes,
        "since": report.since,
        "until": report.until,
        "amount_column": report.amount_column,
        "amounts": {currency: text(amount) for currency, amount in report.amounts.items()},
        "totals": {currency: _totals(totals) for currency, totals in report.totals.items()},
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {"row": refusal.row, "reason": refusal.reason}


def _totals(totals: Totals) -> dict[str, Any]:
    """A sum over charges of which none knows its cost is unknown."""
    sums = (("billed", totals.billed), ("effective", totals.effective), ("listed", totals.listed))
    known = {name: text(amount) if getattr(totals, f"without_{name}") < totals.charges else None for name, amount in sums}
    return {"charges": totals.charges} | known


def text(amount: Decimal | None) -> str | None:
    """`12.50`: at least two decimals, no exponent; a quotient without an end is rounded to `PLACES`."""
    if amount is None:
        return None
    exponent = amount.as_tuple().exponent
    endless = isinstance(exponent, int) and exponent < -LONGEST_PLACES
    shown = format(amount.quantize(PLACES, context=EXACT) if endless else amount, "f")
    shown = shown.rstrip("0") if "." in shown else shown
    whole, _, part = shown.partition(".")
    return f"{whole}.{part:0<2}"
