"""What a FOCUS row has to keep, as a table of rules, and which of them a row breaks.

Source: the requirements of the FOCUS specification, `specification/datasets/cost_and_usage/columns`, as read on 2026-11-21; those that
one row alone can break. A reader forgives, a writer does not: this is for what we write.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from penstock.domain.bills.focus import FocusRow, Value, value_of
from penstock.domain.bills.focus_columns import COLUMN, SKU_PRICE_KEYS, SUBCATEGORIES, Column, Version, columns, emitted


class When(msgspec.Struct, frozen=True):
    """Holds when the column's value is (or is not) among `values`; None among them stands for null."""

    column: str
    values: tuple[str | None, ...]
    negated: bool = False


Demand = Literal["null", "not null", "one of", "none of"]


class Rule(msgspec.Struct, frozen=True):
    """Where every condition holds, `column` has to be null, not null, one of or none of `values`."""

    column: str
    demand: Demand
    when: tuple[When, ...]
    values: tuple[str, ...] = ()
    since: Version = "1.0"


def _is(column: str, *values: str | None) -> When:
    return When(column, values)


def _not(column: str, *values: str | None) -> When:
    return When(column, values, negated=True)


_TAX = (_is("ChargeCategory", "Tax"),)
_CHARGED = (_is("ChargeCategory", "Usage", "Purchase"), _not("ChargeClass", "Correction"))
_USED = (_is("ChargeCategory", "Usage"), _not("CommitmentDiscountStatus", "Unused"), _not("ChargeClass", "Correction"))
_PRICED = ("SkuId", "SkuPriceId", "PricingCategory", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice")
_OF_SKU_PRICE = (
    "PricingCategory",
    "PricingQuantity",
    "ConsumedQuantity",
    "CommitmentDiscountQuantity",
    "ListUnitPrice",
    "ContractedUnitPrice",
)
_OF_COMMITMENT = ("Category", "Name", "Quantity", "Status", "Type", "Unit")
_COMMITTED = (_not("CommitmentDiscountId", None),)


def _together(first: str, *others: str, since: Version = "1.0") -> Iterator[Rule]:
    """`others` are null exactly when `first` is."""
    for other in others:
        yield Rule(other, "null", (_is(first, None),), since=since)
        yield Rule(other, "not null", (_not(first, None),), since=since)


RULES: tuple[Rule, ...] = (
    *(Rule(column, "null", _TAX) for column in (*_PRICED, "ConsumedQuantity", "ConsumedUnit")),
    *(Rule(column, "not null", _CHARGED) for column in _PRICED),
    *(Rule(column, "null", (_is("SkuPriceId", None),), since="1.3") for column in _OF_SKU_PRICE),
    Rule("SkuPriceDetails", "null", (_is("SkuPriceId", None),), since="1.1"),
    Rule("SkuMeter", "null", (_is("SkuId", None),), since="1.1"),
    Rule("ConsumedQuantity", "null", (_not("ChargeCategory", "Usage"),)),
    Rule("ConsumedQuantity", "null", (_is("CommitmentDiscountStatus", "Unused"),)),
    Rule("ConsumedQuantity", "not null", _USED),
    *_together("ConsumedQuantity", "ConsumedUnit"),
    *_together("PricingQuantity", "PricingUnit"),
    *(Rule(f"CommitmentDiscount{part}", "null", (_is("CommitmentDiscountId", None),)) for part in _OF_COMMITMENT),
    *(Rule(f"CommitmentDiscount{part}", "not null", _COMMITTED) for part in ("Category", "Type")),
    *(Rule(f"CommitmentDiscount{part}", "not null", (*_COMMITTED, *_CHARGED), since="1.1") for part in ("Quantity", "Unit")),
    Rule("CommitmentDiscountStatus", "not null", (*_COMMITTED, _is("ChargeCategory", "Usage"))),
    Rule("PricingCategory", "one of", (*_COMMITTED, _is("ChargeCategory", "Usage")), ("Committed",)),
    Rule("PricingCategory", "none of", (_is("ChargeCategory", "Purchase"),), ("Committed",)),
    Rule("CommitmentDiscountId", "not null", (_is("PricingCategory", "Committed"),)),
    Rule("ChargeFrequency", "none of", (_is("ChargeCategory", "Purchase"),), ("Usage-Based",)),
    Rule("CapacityReservationStatus", "null", (_is("CapacityReservationId", None),), since="1.1"),
    Rule("CapacityReservationStatus", "not null", (_not("CapacityReservationId", None), _is("ChargeCategory", "Usage")), since="1.1"),
    *_together("RegionId", "RegionName"),
    *_together("ResourceId", "ResourceType"),
    Rule("ResourceName", "null", (_is("ResourceId", None),)),
    *_together("SubAccountId", "SubAccountName"),
    Rule("SubAccountType", "null", (_is("SubAccountId", None),), since="1.2"),
    *(
        Rule(f"Allocated{part}", "null", (_is("AllocatedMethodId", None),), since="1.3")
        for part in ("MethodDetails", "ResourceId", "ResourceName", "Tags")
    ),
    Rule("AllocatedResourceName", "null", (_is("AllocatedResourceId", None),), since="1.3"),
    Rule("AllocatedTags", "null", (_is("AllocatedResourceId", None),), since="1.3"),
)

_CURRENCY = re.compile(r"[A-Z]{3}")
_KINDS: dict[str, tuple[type, ...]] = {"text": (str,), "decimal": (Decimal,), "time": (datetime,), "json": (dict, list, tuple)}
_PRODUCTS = (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice"))


def violations(row: FocusRow, version: Version, present: Sequence[Column] | None = None) -> list[str]:
    """What a row breaks, one sentence each; empty for a row that may be written.

    `present` are the columns of the file; by default those of `emitted(version)`. What stands in a column that the file does not
    have is a violation too, for it would be lost.
    """
    chosen = emitted(version) if present is None else present
    known = {column.name for column in columns(version)}
    names = {column.name for column in chosen}
    found = [f"{name} is not a column of FOCUS {version}" for name in sorted(names - known)]
    found += [
        f"{column.name} is not in the file"
        for column in COLUMN.values()
        if column.name not in names and value_of(row, column.name) is not None
    ]
    for column in chosen:
        found += _of_cell(column, value_of(row, column.name))
    for rule in RULES:
        if rule.since <= version and rule.column in names and all(_holds(row, when) for when in rule.when):
            found += _of_rule(rule, value_of(row, rule.column))
    return found + list(_of_row(row))


def _holds(row: FocusRow, when: When) -> bool:
    return (value_of(row, when.column) in when.values) != when.negated


def _of_cell(column: Column, value: Value) -> Iterator[str]:
    if value is None:
        if not column.nullable:
            yield f"{column.name} may not be null"
        return
    if not isinstance(value, _KINDS[column.kind]):
        yield f"{column.name} is {type(value).__name__}, not {column.kind}"
    elif value == "":
        yield f"{column.name} is an empty text: null is null"
    elif isinstance(value, str) and value != value.strip():
        yield f"{column.name} has blanks around it"
    elif column.allowed and value not in column.allowed:
        yield f"{column.name} `{value}` is none of {', '.join(column.allowed)}"
    elif isinstance(value, Decimal) and not value.is_finite():
        yield f"{column.name} is not a number"
    elif isinstance(value, Decimal) and value < 0 and not column.negative:
        yield f"{column.name} {value} is below zero"
    elif isinstance(value, datetime) and (value.tzinfo is None or value.microsecond):
        yield f"{column.name} needs a zone and whole seconds"


def _of_rule(rule: Rule, value: Value) -> Iterator[str]:
    reason = " and ".join(_told(when) for when in rule.when)
    match rule.demand:
        case "null" if value is not None:
            yield f"{rule.column} has to be null where {reason}"
        case "not null" if value is None:
            yield f"{rule.column} may not be null where {reason}"
        case "one of" if value not in rule.values:
            yield f"{rule.column} has to be {' or '.join(rule.values)} where {reason}"
        case "none of" if value in rule.values:
            yield f"{rule.column} may not be {' or '.join(rule.values)} where {reason}"
        case _:
            return


def _told(when: When) -> str:
    values = " or ".join("null" if value is None else value for value in when.values)
    return f"{when.column} is {'not ' if when.negated else ''}{values}"


def _of_row(row: FocusRow) -> Iterator[str]:
    """Rules that compare columns with each other, or look inside a cell."""
    for begin, end in (("BillingPeriodStart", "BillingPeriodEnd"), ("ChargePeriodStart", "ChargePeriodEnd")):
        since, until = value_of(row, begin), value_of(row, end)
        if isinstance(since, datetime) and isinstance(until, datetime) and until.replace(tzinfo=UTC) <= since.replace(tzinfo=UTC):
            yield f"{end} has to be after {begin}"
    for cost, price in _PRODUCTS:
        amount, rate, quantity = value_of(row, cost), value_of(row, price), row.pricing_quantity
        if isinstance(amount, Decimal) and isinstance(rate, Decimal) and quantity is not None and amount != rate * quantity:
            yield f"{cost} {amount} is not {price} x PricingQuantity ({rate * quantity})"
    if row.billing_currency is not None and not _CURRENCY.fullmatch(row.billing_currency):
        yield f"BillingCurrency `{row.billing_currency}` is not an ISO 4217 code"
    category, sub = row.service_category, row.service_subcategory
    if category in SUBCATEGORIES and sub is not None and sub not in (*SUBCATEGORIES[category], f"Other ({category})"):
        yield f"ServiceSubcategory `{sub}` does not belong to `{category}`"
    for key in row.sku_price_details or ():
        if not key.startswith("x_") and key not in SKU_PRICE_KEYS:
            yield f"SkuPriceDetails has `{key}`: a key that FOCUS does not define begins with x_"
    for name, values in (("Tags", row.tags), ("SkuPriceDetails", row.sku_price_details)):
        if values is not None and any(not isinstance(each, str | int | float | bool | Decimal | None) for each in values.values()):
            yield f"{name} may hold texts, numbers and booleans only"
    for key in row.x or ():
        if not key.startswith("x_"):
            yield f"the custom column `{key}` has to begin with x_"
