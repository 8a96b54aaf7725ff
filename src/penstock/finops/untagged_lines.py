"""Which lines of a bill carry no tag: how many, what they come to, and of which services. Currencies are kept apart."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from penstock.domain.bills.focus import FocusRow
from penstock.ports.bill_source import BillSource

TOP = 5
APART = ("Tax", "Credit", "Adjustment")
"""charges that nobody can tag"""
Place = tuple[str, str]
"""(currency, service)"""


class Lines(msgspec.Struct):
    """Charges, and their cost as far as it is known."""

    count: int = 0
    amount: Decimal = Decimal(0)

    def add(self, amount: Decimal | None) -> None:
        self.count += 1
        self.amount += amount or 0


class UntaggedLines(msgspec.Struct, frozen=True):
    """Of charges that can be tagged. `services`: those with the largest untagged amounts."""

    whole: dict[str, Lines]
    """by currency; `unknown` where the bill names none"""
    untagged: dict[str, Lines]
    services: tuple[tuple[str, str, Lines], ...]
    """(currency, service, its untagged charges)"""
    apart: int
    """taxes, credits and adjustments"""


def untagged_lines(source: BillSource) -> UntaggedLines:
    """Reads a bill to its end, in bounded memory. Raises `BillError`."""
    whole: dict[str, Lines] = {}
    untagged: dict[str, Lines] = {}
    services: dict[Place, Lines] = {}
    apart = 0
    for row in source.rows():
        if row.charge_category in APART:
            apart += 1
            continue
        amount = row.billed_cost if row.effective_cost is None else row.effective_cost
        currency = row.billing_currency or "unknown"
        whole.setdefault(currency, Lines()).add(amount)
        if not _is_tagged(row):
            untagged.setdefault(currency, Lines()).add(amount)
            services.setdefault((currency, row.service_name or "unknown"), Lines()).add(amount)
    most = sorted(services.items(), key=lambda each: (-each[1].amount, each[0]))[:TOP]
    return UntaggedLines(whole, untagged, tuple((*place, lines) for place, lines in most), apart)


def untagged_json(found: UntaggedLines) -> dict[str, object]:
    """By currency, amounts as decimal strings."""
    return {
        "currencies": [
            {
                "currency": currency,
                "lines": whole.count,
                "amount": f"{whole.amount:f}",
                "untagged_lines": found.untagged.get(currency, Lines()).count,
                "untagged_amount": f"{found.untagged.get(currency, Lines()).amount:f}",
            }
            for currency, whole in sorted(found.whole.items())
        ],
        "services": [{"currency": c, "service": s, "lines": lines.count, "amount": f"{lines.amount:f}"} for c, s, lines in found.services],
        "apart": found.apart,
    }


def _is_tagged(row: FocusRow) -> bool:
    tags = row.tags
    return isinstance(tags, Mapping) and any(value not in (None, "") for value in tags.values())
