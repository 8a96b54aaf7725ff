"""Azure cost exports, EA and MCA, actual and amortised, as FOCUS rows.

The cost is CostInBillingCurrency, else Cost. What a reservation or savings plan covers, and what of it stayed unused, is amortised cost:
EffectiveCost, with nothing billed; buying one is billed, with no EffectiveCost. All else is both. So an actual export sums to its
BilledCost, an amortised one to its EffectiveCost. Quantity counts blocks of UnitOfMeasure (`10K`, `10 Hours`): PricingQuantity;
ConsumedQuantity is the count in single units.
"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

from penstock.adapters.bills.formats import Field, Format, Row, custom
from penstock.domain.bills.focus import EXACT, FocusRow

ZERO = Decimal(0)
DAY = timedelta(days=1)
CATEGORIES = {
    "usage": "Usage",
    "unusedreservation": "Usage",
    "unusedsavingsplan": "Usage",
    "purchase": "Purchase",
    "refund": "Purchase",
    "tax": "Tax",
    "credit": "Credit",
}
PRICING = {"ondemand": "Standard", "spot": "Dynamic", "reservation": "Committed", "savingsplan": "Committed"}
FREQUENCIES = {"usagebased": "Usage-Based", "onetime": "One-Time", "recurring": "Recurring"}
_BLOCK = re.compile(r"(\d+(?:\.\d+)?)\s*([KM](?![A-Za-z]))?\s*/?\s*(.*)")
_PLURALS = {"hour": "Hours", "day": "Days", "month": "Months", "minute": "Minutes", "second": "Seconds"}


def charges(row: Row) -> list[FocusRow]:
    """One line of an export."""
    kind = (row.get("kind") or "usage").lower()
    category = CATEGORIES.get(kind, "Adjustment")
    quantity, unit = row.get("quantity"), row.get("unit")
    size, single = block(unit)
    consumed = category == "Usage" and not kind.startswith("unused") and quantity is not None
    start, end = row.get("date"), row.get("period_end")
    frequency = row.get("frequency")
    return [
        FocusRow(
            **_costs(row, kind, category),
            billing_account_id=row.get("account"),
            billing_account_name=row.get("account_name"),
            billing_currency=row.get("currency"),
            billing_period_start=row.get("period_start"),
            billing_period_end=None if end is None else end + DAY,
            charge_period_start=start,
            charge_period_end=None if start is None else start + DAY,
            charge_category=category,
            charge_class="Correction" if kind == "refund" else None,
            charge_description=row.get("product"),
            charge_frequency=FREQUENCIES.get((frequency or "").lower(), frequency),
            consumed_quantity=product(quantity, size) if consumed else None,
            consumed_unit=single if consumed else None,
            pricing_quantity=quantity,
            pricing_unit=unit,
            invoice_id=row.get("invoice"),
            invoice_issuer_name="Microsoft",
            service_provider_name=row.get("publisher") or "Microsoft",
            host_provider_name="Microsoft",
            availability_zone=row.get("zone"),
            region_id=_region(row.get("location")),
            region_name=row.get("location"),
            resource_id=row.get("resource"),
            resource_name=row.get("resource_name"),
            service_name=row.get("service"),
            sku_id=row.get("meter_id"),
            sku_meter=row.get("meter"),
            sku_price_id=row.get("part"),
            sku_price_details=_details(row.get("info")),
            sub_account_id=row.get("subscription"),
            sub_account_name=row.get("subscription_name"),
            tags=row.get("tags"),
            x=custom(
                MeterSubCategory=row.get("subcategory"),
                ChargeType=row.get("kind"),
                ResourceGroup=row.get("group"),
                CostCenter=row.get("center"),
            ),
        )
    ]


def _costs(row: Row, kind: str, category: str) -> dict[str, Any]:
    """Columns of cost and of the commitment that covers it."""
    pricing = PRICING.get((row.get("model") or "").replace(" ", "").lower())
    commitment = row.get("reservation") or row.get("benefit")
    covered = category == "Usage" and (pricing == "Committed" or kind.startswith("unused"))
    bought = category == "Purchase" and bool(commitment)
    status = "Unused" if kind.startswith("unused") else "Used"
    return {
        "billed_cost": ZERO if covered else row["cost"],
        "effective_cost": ZERO if bought else row["cost"],
        "list_cost": product(row.get("list_rate"), row.get("quantity")),
        "contracted_cost": product(row.get("rate"), row.get("quantity")),
        "list_unit_price": row.get("list_rate"),
        "contracted_unit_price": row.get("rate"),
        "pricing_category": pricing,
        "commitment_discount_id": commitment,
        "commitment_discount_name": row.get("reservation_name") or row.get("benefit_name"),
        "commitment_discount_status": status if covered and commitment else None,
        "commitment_discount_type": ("Reservation" if row.get("reservation") else "Savings Plan") if commitment else None,
    }


def _details(info: Any) -> dict[str, str] | None:
    instance = info.get("ServiceType") if isinstance(info, dict) else None
    return {"InstanceType": instance} if isinstance(instance, str) else None


def block(unit: str | None) -> tuple[Decimal, str | None]:
    """`10 Hours` -> 10 and `Hours`, `10K` -> 10,000 and `Units`, `1 GB/Month` -> 1 and `GB/Month`; what has no number is one unit."""
    match = _BLOCK.fullmatch(unit.strip()) if unit else None
    if match is None:
        return Decimal(1), unit
    scale = {"K": 1000, "M": 1_000_000}.get(match[2] or "", 1)
    word = match[3].strip() or "Units"
    return Decimal(match[1]) * scale, _PLURALS.get(word.lower(), word)


def product(rate: Decimal | None, quantity: Decimal | None) -> Decimal | None:
    """Exact; None when one of them is unknown."""
    return None if rate is None or quantity is None else EXACT.multiply(rate, quantity)


def _region(location: str | None) -> str | None:
    return None if location is None else re.sub(r"[\s()]", "", location).lower()


FORMAT = Format(
    name="Azure cost export",
    word="azure",
    marks=(("CostInBillingCurrency", "MeterCategory"), ("Cost", "MeterCategory"), ("Cost", "MeterId"), ("PreTaxCost", "MeterCategory")),
    charges=charges,
    amount="cost",
    currency="currency",
    fields=(
        Field("cost", "decimal", ("CostInBillingCurrency", "Cost", "PreTaxCost"), needed=True),
        Field("currency", "currency", ("BillingCurrency", "BillingCurrencyCode", "Currency")),
        Field("date", "time", ("Date", "UsageDateTime", "UsageDate"), needed=True),
        Field("period_start", "time", ("BillingPeriodStartDate",)),
        Field("period_end", "time", ("BillingPeriodEndDate",)),
        Field("account", "text", ("BillingAccountId",)),
        Field("account_name", "text", ("BillingAccountName",)),
        Field("subscription", "text", ("SubscriptionId", "SubscriptionGuid")),
        Field("subscription_name", "text", ("SubscriptionName",)),
        Field("group", "text", ("ResourceGroup", "ResourceGroupName")),
        Field("center", "text", ("CostCenter",)),
        Field("invoice", "text", ("InvoiceId",)),
        Field("location", "text", ("ResourceLocation", "ResourceLocationNormalized", "MeterRegion")),
        Field("zone", "text", ("AvailabilityZone",)),
        Field("product", "text", ("ProductName", "Product")),
        Field("service", "text", ("MeterCategory",)),
        Field("subcategory", "text", ("MeterSubCategory",)),
        Field("meter_id", "text", ("MeterId",)),
        Field("meter", "text", ("MeterName",)),
        Field("part", "text", ("PartNumber", "ProductId")),
        Field("unit", "text", ("UnitOfMeasure",)),
        Field("quantity", "decimal", ("Quantity", "UsageQuantity")),
        Field("rate", "decimal", ("UnitPrice", "ResourceRate", "EffectivePrice")),
        Field("list_rate", "decimal", ("PayGPrice",)),
        Field("resource", "text", ("ResourceId", "InstanceId", "InstanceName")),
        Field("resource_name", "text", ("ResourceName",)),
        Field("reservation", "text", ("ReservationId",)),
        Field("reservation_name", "text", ("ReservationName",)),
        Field("benefit", "text", ("benefitId",)),
        Field("benefit_name", "text", ("benefitName",)),
        Field("publisher", "text", ("PublisherName",)),
        Field("kind", "text", ("ChargeType",)),
        Field("frequency", "text", ("Frequency",)),
        Field("model", "text", ("PricingModel",)),
        Field("info", "json", ("AdditionalInfo",)),
        Field("tags", "json", ("Tags",)),
    ),
)
