"""Which charges were in an earlier file already: exports of one month are often fetched twice, or overlap.

A charge is known by what it says: accounts, period, SKU, resource, quantities, costs and tags, and where its format has one, the id of
its line (AWS `identity/LineItemId`). Charges that are alike WITHIN one file are different charges; the n-th of them is a repeat only
of the n-th in another file. So reading a file twice, or two exports that overlap, changes nothing. A restated export (other amounts
for the same usage) is not recognised: its charges say something else.
"""

from collections.abc import Hashable
from datetime import datetime

import msgspec

from penstock.domain.bills.focus import FocusRow

Key = tuple[Hashable, ...]


def identity(row: FocusRow) -> Key:
    """What makes two charges of different files the same charge."""
    x = row.x or {}
    return (
        row.billing_account_id,
        row.sub_account_id,
        row.invoice_id,
        row.invoice_detail_id,
        row.billing_currency,
        row.charge_category,
        row.charge_class,
        row.charge_description,
        row.charge_period_start,
        row.charge_period_end,
        row.billed_cost,
        row.effective_cost,
        row.contracted_cost,
        row.list_cost,
        row.pricing_quantity,
        row.consumed_quantity,
        row.provider,
        row.service_name,
        row.sku_id,
        row.sku_price_id,
        row.sku_meter,
        row.resource_id,
        row.region_id,
        row.commitment_discount_id,
        row.commitment_discount_status,
        row.allocated_resource_id,
        _plain(row.tags),
        _plain(row.allocated_tags),
        _plain(row.sku_price_details),
        x.get("x_LineItemId"),
        x.get("x_Line"),
    )


class Repeats:
    """Tells repeats over files in the order in which they are read. Needs some 200 bytes per charge, and nothing for one file alone."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}
        self._here: dict[int, int] = {}

    def is_repeat(self, row: FocusRow) -> bool:
        """Whether a file before this one has that charge."""
        key = hash(identity(row))
        count = self._here.get(key, 0) + 1
        self._here[key] = count
        return count <= self._before.get(key, 0)

    def next_file(self) -> None:
        """What was read so far is before the file that comes."""
        for key, count in self._here.items():
            if count > self._before.get(key, 0):
                self._before[key] = count
        self._here = {}


def _plain(value: object) -> Hashable:
    if value is None or isinstance(value, str | int | datetime):
        return value
    return msgspec.json.encode(value, order="deterministic")
