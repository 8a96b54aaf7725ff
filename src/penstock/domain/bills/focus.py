"""One charge as a FOCUS row, and how it is written: the one shape that every bill is read into and sent out in.

Money and quantities are `Decimal` in the row's own currency, times are UTC and ends exclusive, None is null.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal

import msgspec

from penstock.domain.bills.focus_columns import COLUMN, Column

EXACT = Context(prec=200)
"""sums and products of amounts of up to sixty digits stay exact"""

Json = Mapping[str, object] | Sequence[object]
Value = str | Decimal | datetime | Json | None


class FocusRow(msgspec.Struct, frozen=True, kw_only=False, omit_defaults=True):
    """One charge. Fields are the columns of FOCUS 1.0 to 1.4 in the order of `COLUMNS`; `x` are custom columns, `x_` included."""

    allocated_method_details: Json | None = None
    allocated_method_id: str | None = None
    allocated_resource_id: str | None = None
    allocated_resource_name: str | None = None
    allocated_tags: Mapping[str, object] | None = None
    availability_zone: str | None = None
    billed_cost: Decimal | None = None
    billing_account_id: str | None = None
    billing_account_name: str | None = None
    billing_account_type: str | None = None
    billing_currency: str | None = None
    billing_period_end: datetime | None = None
    billing_period_start: datetime | None = None
    capacity_reservation_id: str | None = None
    capacity_reservation_status: str | None = None
    charge_category: str | None = None
    charge_class: str | None = None
    charge_description: str | None = None
    charge_frequency: str | None = None
    charge_period_end: datetime | None = None
    charge_period_start: datetime | None = None
    commitment_discount_category: str | None = None
    commitment_discount_id: str | None = None
    commitment_discount_name: str | None = None
    commitment_discount_quantity: Decimal | None = None
    commitment_discount_status: str | None = None
    commitment_discount_type: str | None = None
    commitment_discount_unit: str | None = None
    commitment_program_eligibility_details: Json | None = None
    consumed_quantity: Decimal | None = None
    consumed_unit: str | None = None
    contract_applied: Json | None = None
    contracted_cost: Decimal | None = None
    contracted_unit_price: Decimal | None = None
    effective_cost: Decimal | None = None
    host_provider_name: str | None = None
    invoice_detail_id: str | None = None
    invoice_id: str | None = None
    invoice_issuer_name: str | None = None
    list_cost: Decimal | None = None
    list_unit_price: Decimal | None = None
    pricing_category: str | None = None
    pricing_currency: str | None = None
    pricing_currency_contracted_unit_price: Decimal | None = None
    pricing_currency_effective_cost: Decimal | None = None
    pricing_currency_list_unit_price: Decimal | None = None
    pricing_quantity: Decimal | None = None
    pricing_unit: str | None = None
    provider_name: str | None = None
    publisher_name: str | None = None
    region_id: str | None = None
    region_name: str | None = None
    resource_id: str | None = None
    resource_name: str | None = None
    resource_type: str | None = None
    service_category: str | None = None
    service_name: str | None = None
    service_provider_name: str | None = None
    service_subcategory: str | None = None
    sku_id: str | None = None
    sku_meter: str | None = None
    sku_price_details: Mapping[str, object] | None = None
    sku_price_id: str | None = None
    sub_account_id: str | None = None
    sub_account_name: str | None = None
    sub_account_type: str | None = None
    tags: Mapping[str, object] | None = None
    x: Mapping[str, str] | None = None
    """custom columns -> text as written"""

    @property
    def cost(self) -> Decimal | None:
        """What the charge costs: EffectiveCost, else BilledCost."""
        return self.billed_cost if self.effective_cost is None else self.effective_cost

    @property
    def provider(self) -> str | None:
        """Who provides the service, by the newest column that says it."""
        return self.service_provider_name or self.provider_name or self.invoice_issuer_name


def header(chosen: Iterable[Column], custom: Iterable[str] = ()) -> list[str]:
    """The names of a file's columns: those of FOCUS, then custom ones, which have to begin with `x_`."""
    return [column.name for column in chosen] + list(custom)


def record(row: FocusRow, chosen: Iterable[Column], custom: Iterable[str] = ()) -> list[str | None]:
    """A row as the cells under `header`: decimals without exponent, times as `2026-10-01T00:00:00Z`, JSON compact, None for null."""
    return [written(row, column) for column in chosen] + [(row.x or {}).get(name) for name in custom]


def written(row: FocusRow, column: Column) -> str | None:
    """One cell as text; None for null."""
    value: Value = getattr(row, column.field)
    match value:
        case None | str():
            return value
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_number)


def value_of(row: FocusRow, name: str) -> Value:
    """What stands in the column of that FOCUS name."""
    value: Value = getattr(row, COLUMN[name].field)
    return value


def _number(value: object) -> int | float:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
