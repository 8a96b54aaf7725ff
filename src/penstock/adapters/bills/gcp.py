"""Google Cloud's detailed billing export, as FOCUS rows: CSV flattened (`service.description`, `service_description`), JSON of BigQuery.

BilledCost and EffectiveCost are cost and credits together (credits are negative), as Google's own FOCUS view has it; ContractedCost is
the cost before credits, ListCost is cost_at_list where the export has it.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from penstock.adapters.bills.azure import product
from penstock.adapters.bills.cells import CellError
from penstock.adapters.bills.formats import Field, Format, Row, custom, total
from penstock.domain.bills.focus import FocusRow

CATEGORIES = {"regular": "Usage", "tax": "Tax", "adjustment": "Adjustment", "rounding_error": "Adjustment"}


def charges(row: Row) -> list[FocusRow]:
    """One row, its credits in it."""
    category = CATEGORIES.get((row.get("kind") or "regular").lower(), "Adjustment")
    used = category == "Usage"
    credits_ = _credits(row.get("credits"))
    # an export that has both says the same twice: the list, and its sum
    net = total((row["cost"], *(credits_.values() or (row.get("credits_total"),))))
    quantity = row.get("quantity")
    priced, unit = row.get("pricing_quantity"), row.get("pricing_unit")
    return [
        FocusRow(
            billed_cost=net,
            effective_cost=net,
            list_cost=row.get("list_cost") if row.get("list_cost") is not None else product(row.get("list_rate"), priced),
            contracted_cost=row["cost"],
            list_unit_price=row.get("list_rate"),
            contracted_unit_price=row.get("rate"),
            billing_account_id=row.get("account"),
            billing_currency=row.get("currency"),
            charge_period_start=row.get("start"),
            charge_period_end=row.get("end"),
            charge_category=category,
            charge_class="Correction" if row.get("adjustment") else None,
            charge_description=row.get("sku_name"),
            charge_frequency="Usage-Based" if used else "One-Time",
            commitment_discount_type="Committed use discount" if any("COMMITTED" in name for name in credits_) else None,
            consumed_quantity=quantity if used else None,
            consumed_unit=row.get("unit") if used and quantity is not None else None,
            pricing_quantity=priced,
            pricing_unit=unit if priced is not None else None,
            pricing_category="Dynamic" if "spot" in (row.get("sku_name") or "").lower() else "Standard" if used else None,
            invoice_id=row.get("invoice"),
            invoice_issuer_name=row.get("seller") or "Google Cloud",
            service_provider_name=row.get("seller") or "Google Cloud",
            host_provider_name="Google Cloud",
            region_id=row.get("region"),
            region_name=row.get("region"),
            availability_zone=row.get("zone"),
            resource_id=row.get("resource") or row.get("resource_name"),
            resource_name=row.get("resource_name"),
            service_name=row.get("service"),
            sku_id=row.get("sku"),
            sku_meter=row.get("sku_name"),
            sku_price_id=row.get("sku"),
            sub_account_id=row.get("project"),
            sub_account_name=row.get("project_name"),
            tags=row.get("labels"),
            x=custom(
                CostType=row.get("kind"),
                **{f"Credit_{name}": format(amount, "f") for name, amount in credits_.items()},
                MachineSpec=_label(row.get("system_labels"), "compute.googleapis.com/machine_spec"),
            ),
        )
    ]


def _credits(value: Any) -> dict[str, Decimal]:
    """`[{"name": ..., "type": ..., "amount": -0.12}, ...]` -> type -> amount, exact."""
    items: Sequence[Any] = value if isinstance(value, list) else [value] if isinstance(value, dict) and "amount" in value else []
    found: dict[str, Decimal] = {}
    for item in items:
        name = str(item.get("type") or item.get("name") or "OTHER").upper()
        try:
            amount = Decimal(str(item.get("amount", 0)))
        except InvalidOperation:
            raise CellError(f"credits has an amount that is no number: `{str(item.get('amount'))[:40]}`") from None
        known = total((found.get(name), amount))
        if known is not None:
            found[name] = known
    return found


def _label(labels: Any, name: str) -> str | None:
    value = labels.get(name) if isinstance(labels, dict) else None
    return None if value is None else str(value)


FORMAT = Format(
    name="Google Cloud billing export",
    word="gcp",
    marks=(("cost", "sku.description", "service.description"), ("cost", "sku.id", "service.id")),
    charges=charges,
    amount="cost",
    currency="currency",
    tag_prefixes=("labels.", "labels_"),
    fields=(
        Field("cost", "decimal", ("cost",), needed=True),
        Field("currency", "currency", ("currency",)),
        Field("credits", "json", ("credits",), needed=True),
        Field("credits_total", "decimal", ("credits.amount", "total_credits"), needed=True),
        Field("kind", "text", ("cost_type",)),
        Field("account", "text", ("billing_account_id",)),
        Field("service", "text", ("service.description",)),
        Field("sku", "text", ("sku.id",)),
        Field("sku_name", "text", ("sku.description",)),
        Field("start", "time", ("usage_start_time",), needed=True),
        Field("end", "time", ("usage_end_time",)),
        Field("project", "text", ("project.id",)),
        Field("project_name", "text", ("project.name",)),
        Field("labels", "json", ("labels",)),
        Field("system_labels", "json", ("system_labels",)),
        Field("region", "text", ("location.region", "location.location")),
        Field("zone", "text", ("location.zone",)),
        Field("quantity", "decimal", ("usage.amount",)),
        Field("unit", "text", ("usage.unit",)),
        Field("pricing_quantity", "decimal", ("usage.amount_in_pricing_units",)),
        Field("pricing_unit", "text", ("usage.pricing_unit",)),
        Field("rate", "decimal", ("price.effective_price",)),
        Field("list_rate", "decimal", ("price.list_price",)),
        Field("list_cost", "decimal", ("cost_at_list",)),
        Field("invoice", "text", ("invoice.id",)),
        Field("seller", "text", ("seller_name",)),
        Field("adjustment", "text", ("adjustment_info.id",)),
        Field("resource", "text", ("resource.global_name",)),
        Field("resource_name", "text", ("resource.name",)),
    ),
)
