"""AWS Cost and Usage Reports, legacy (`lineItem/UnblendedCost`) and 2.0 (`line_item_unblended_cost`), as FOCUS rows.

BilledCost is UnblendedCost, row by row, so that its sum is the invoice: what a savings plan covers stands there with its price, and
the negation takes it off again. EffectiveCost is the amortised cost as AWS defines it (user guide of Cost and Usage Reports, "savings
plans" and "reservation" columns, 2026-11): the effective cost of covered usage, of fees only what stayed unused.
"""

from decimal import Decimal

from penstock.adapters.bills.formats import Field, Format, Row, custom, total
from penstock.domain.bills.focus import FocusRow

ZERO = Decimal(0)
CATEGORIES = {
    "Usage": "Usage",
    "DiscountedUsage": "Usage",
    "SavingsPlanCoveredUsage": "Usage",
    "SavingsPlanNegation": "Adjustment",
    "SavingsPlanRecurringFee": "Purchase",
    "SavingsPlanUpfrontFee": "Purchase",
    "RIFee": "Purchase",
    "Fee": "Purchase",
    "Tax": "Tax",
    "Credit": "Credit",
    "Refund": "Usage",
    "BundledDiscount": "Credit",
    "Discount": "Credit",
    "EdpDiscount": "Credit",
    "PrivateRateDiscount": "Credit",
}


def charges(row: Row) -> list[FocusRow]:
    """One line item."""
    kind = row.get("kind") or ""
    category = CATEGORIES.get(kind, "Credit" if kind.endswith("Discount") else "Adjustment")
    used = category == "Usage"
    quantity, unit = row.get("quantity"), row.get("unit")
    instance = row.get("instance")
    commitment = row.get("plan") or row.get("reservation")
    return [
        FocusRow(
            billed_cost=row["cost"],
            effective_cost=_effective(kind, row),
            list_cost=row.get("list_cost"),
            contracted_cost=row["cost"],
            list_unit_price=row.get("list_rate"),
            contracted_unit_price=row.get("rate"),
            billing_account_id=row.get("payer"),
            sub_account_id=row.get("account"),
            sub_account_name=row.get("account_name"),
            billing_currency=row.get("currency"),
            billing_period_start=row.get("period_start"),
            billing_period_end=row.get("period_end"),
            charge_period_start=row.get("start"),
            charge_period_end=row.get("end"),
            charge_category=category,
            charge_class="Correction" if kind == "Refund" else None,
            charge_description=row.get("description"),
            charge_frequency="Usage-Based" if used else "Recurring" if "Recurring" in kind or kind == "RIFee" else "One-Time",
            commitment_discount_id=commitment,
            commitment_discount_status="Used" if commitment and used else None,
            commitment_discount_type=_commitment_type(row),
            consumed_quantity=quantity if used else None,
            consumed_unit=unit if used and quantity is not None else None,
            pricing_quantity=quantity,
            pricing_unit=unit if quantity is not None else None,
            pricing_category=_pricing(kind, row.get("term")),
            invoice_id=row.get("invoice"),
            invoice_issuer_name=row.get("issuer"),
            service_provider_name="AWS",
            host_provider_name="AWS",
            availability_zone=row.get("zone"),
            region_id=row.get("region"),
            region_name=row.get("location"),
            resource_id=row.get("resource"),
            service_name=row.get("service") or row.get("product_name") or row.get("product"),
            sku_id=row.get("sku"),
            sku_price_id=row.get("rate_code"),
            sku_price_details={"InstanceType": instance} if instance else None,
            sku_meter=row.get("usage_type"),
            tags=_tags(row.get("tags")),
            x=custom(
                LineItemId=row.get("id"), LineItemType=row.get("kind"), Operation=row.get("operation"), ServiceCode=row.get("product")
            ),
        )
    ]


def _tags(tags: dict[str, str] | None) -> dict[str, str] | None:
    """Keys as users gave them; those that AWS makes keep their `aws:`."""
    return {key.removeprefix("user:").removeprefix("user_"): value for key, value in (tags or {}).items()} or None


def _effective(kind: str, row: Row) -> Decimal | None:
    match kind:
        case "SavingsPlanCoveredUsage":
            return row.get("plan_effective")
        case "SavingsPlanRecurringFee":
            used = row.get("plan_used")
            return total((row.get("plan_commitment"), None if used is None else -used))
        case "SavingsPlanNegation" | "SavingsPlanUpfrontFee":
            return ZERO
        case "DiscountedUsage":
            return row.get("reservation_effective")
        case "RIFee":
            return total((row.get("unused_upfront"), row.get("unused_recurring")))
        case "Fee" if row.get("reservation"):
            return ZERO
        case _:
            cost: Decimal | None = row["cost"]
            return cost


def _pricing(kind: str, term: str | None) -> str | None:
    if kind in ("DiscountedUsage", "SavingsPlanCoveredUsage"):
        return "Committed"
    return {"OnDemand": "Standard", "Spot": "Dynamic", "Reserved": "Committed"}.get(term or "")


def _commitment_type(row: Row) -> str | None:
    if row.get("plan"):
        return "Savings Plan"
    return "Reservation" if row.get("reservation") else None


FORMAT = Format(
    name="AWS CUR",
    word="cur",
    marks=(("lineItem/UnblendedCost", "lineItem/LineItemType"),),
    charges=charges,
    amount="cost",
    currency="currency",
    versions=(("lineItem/", "legacy"), ("line_item_", "2.0")),
    tag_prefixes=("resourceTags/user:", "resourceTags/", "resource_tags_user_"),
    fields=(
        Field("cost", "decimal", ("lineItem/UnblendedCost",), needed=True),
        Field("currency", "currency", ("lineItem/CurrencyCode",)),
        Field("kind", "text", ("lineItem/LineItemType",)),
        Field("id", "text", ("identity/LineItemId",)),
        Field("invoice", "text", ("bill/InvoiceId",)),
        Field("issuer", "text", ("bill/InvoicingEntity", "lineItem/LegalEntity")),
        Field("payer", "text", ("bill/PayerAccountId",)),
        Field("period_start", "time", ("bill/BillingPeriodStartDate",)),
        Field("period_end", "time", ("bill/BillingPeriodEndDate",)),
        Field("account", "text", ("lineItem/UsageAccountId",)),
        Field("account_name", "text", ("lineItem/UsageAccountName",)),
        Field("start", "time", ("lineItem/UsageStartDate",), needed=True),
        Field("end", "time", ("lineItem/UsageEndDate",)),
        Field("product", "text", ("lineItem/ProductCode",)),
        Field("product_name", "text", ("product/ProductName",)),
        Field("service", "text", ("product/servicename",)),
        Field("usage_type", "text", ("lineItem/UsageType",)),
        Field("operation", "text", ("lineItem/Operation",)),
        Field("zone", "text", ("lineItem/AvailabilityZone",)),
        Field("resource", "text", ("lineItem/ResourceId",)),
        Field("quantity", "decimal", ("lineItem/UsageAmount",)),
        Field("rate", "decimal", ("lineItem/UnblendedRate",)),
        Field("description", "text", ("lineItem/LineItemDescription",)),
        Field("instance", "text", ("product/instanceType",)),
        Field("region", "text", ("product/regionCode", "product/region")),
        Field("location", "text", ("product/location",)),
        Field("sku", "text", ("product/sku",)),
        Field("rate_code", "text", ("pricing/RateCode",)),
        Field("list_cost", "decimal", ("pricing/publicOnDemandCost",)),
        Field("list_rate", "decimal", ("pricing/publicOnDemandRate",)),
        Field("term", "text", ("pricing/term",)),
        Field("unit", "text", ("pricing/unit",)),
        Field("reservation", "text", ("reservation/ReservationARN",)),
        Field("reservation_effective", "decimal", ("reservation/EffectiveCost",)),
        Field("unused_upfront", "decimal", ("reservation/UnusedAmortizedUpfrontFeeForBillingPeriod",)),
        Field("unused_recurring", "decimal", ("reservation/UnusedRecurringFee",)),
        Field("plan", "text", ("savingsPlan/SavingsPlanARN",)),
        Field("plan_effective", "decimal", ("savingsPlan/SavingsPlanEffectiveCost",)),
        Field("plan_commitment", "decimal", ("savingsPlan/TotalCommitmentToDate",)),
        Field("plan_used", "decimal", ("savingsPlan/UsedCommitment",)),
        Field("tags", "json", ("resource_tags",)),
    ),
)
