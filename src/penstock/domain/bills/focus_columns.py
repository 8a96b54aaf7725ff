"""The columns of the FOCUS Cost and Usage dataset, 1.0 to 1.4, as a table: type, level, nulls, allowed values, versions.

Source: FinOps Open Cost and Usage Specification, `specification/datasets/cost_and_usage` as read on 2026-11-21. What the working draft
after 1.4 adds (PrincipalId, CredentialId, CredentialDetails) is not in the table; ProviderName and PublisherName end with 1.3.
"""

from typing import Literal

import msgspec

Version = Literal["1.0", "1.1", "1.2", "1.3", "1.4"]
VERSIONS: tuple[Version, ...] = ("1.0", "1.1", "1.2", "1.3", "1.4")
Kind = Literal["text", "decimal", "time", "json"]
Level = Literal["mandatory", "conditional", "recommended"]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: its FOCUS id, the field of `FocusRow` that holds it, and what may stand in it."""

    name: str
    field: str
    kind: Kind
    level: Level
    nullable: bool
    since: Version
    until: Version = "1.4"
    """last version that has it"""
    allowed: tuple[str, ...] = ()
    negative: bool = True
    """whether a decimal may be below zero"""


CHARGE_CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
PRICING_CATEGORIES = ("Standard", "Dynamic", "Committed", "Other")
CHARGE_FREQUENCIES = ("One-Time", "Recurring", "Usage-Based")
STATUSES = ("Used", "Unused")

SUBCATEGORIES: dict[str, tuple[str, ...]] = {
    "AI and Machine Learning": ("AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing"),
    "Analytics": ("Analytics Platforms", "Business Intelligence", "Data Processing", "Search", "Streaming Analytics"),
    "Business Applications": ("Productivity and Collaboration",),
    "Compute": ("Containers", "End User Computing", "Quantum Compute", "Serverless Compute", "Virtual Machines"),
    "Databases": (
        "Caching", "Data Warehouses", "Ledger Databases", "NoSQL Databases", "Relational Databases", "Time Series Databases",
    ),
    "Developer Tools": (
        "Developer Platforms", "Continuous Integration and Deployment", "Development Environments", "Source Code Management",
        "Quality Assurance",
    ),
    "Identity": ("Identity and Access Management",),
    "Integration": ("API Management", "Messaging", "Workflow Orchestration"),
    "Internet of Things": ("IoT Analytics", "IoT Platforms"),
    "Management and Governance": (
        "Architecture", "Compliance", "Cost Management", "Data Governance", "Disaster Recovery", "Endpoint Management", "Observability",
        "Support",
    ),
    "Media": ("Content Creation", "Gaming", "Media Streaming", "Mixed Reality"),
    "Migration": ("Data Migration", "Resource Migration"),
    "Mobile": (),
    "Multicloud": ("Multicloud Integration",),
    "Networking": (
        "Application Networking", "Content Delivery", "Network Connectivity", "Network Infrastructure", "Network Routing",
        "Network Security",
    ),
    "Security": ("Secret Management", "Security Posture Management", "Threat Detection and Response"),
    "Storage": ("Backup Storage", "Block Storage", "File Storage", "Object Storage", "Storage Platforms"),
    "Web": ("Application Platforms",),
    "Other": (),
}  # fmt: skip
"""ServiceCategory -> its ServiceSubcategories; each has `Other (<category>)` besides"""

SKU_PRICE_KEYS = (
    "CoreCount", "DiskMaxIops", "DiskSpace", "DiskType", "GpuCount", "InstanceSeries", "InstanceType", "MemorySize", "NetworkMaxIops",
    "NetworkMaxThroughput", "OperatingSystem", "Redundancy", "StorageClass",
)  # fmt: skip
"""FOCUS-defined keys of SkuPriceDetails, 1.2 to 1.4. The draft of 1.5 has some for models and tokens (`ModelId`, `TokenDirection`): until
it is out they are custom keys, `x_ModelId`"""

_M: Level = "mandatory"
_C: Level = "conditional"
_R: Level = "recommended"
_TABLE: tuple[tuple[str, Kind, Level, bool, str], ...] = (
    ("AllocatedMethodDetails", "json", _R, True, "1.3"),
    ("AllocatedMethodId", "text", _C, True, "1.3"),
    ("AllocatedResourceId", "text", _C, True, "1.3"),
    ("AllocatedResourceName", "text", _C, True, "1.3"),
    ("AllocatedTags", "json", _C, True, "1.3"),
    ("AvailabilityZone", "text", _R, True, "1.0"),
    ("BilledCost", "decimal", _M, False, "1.0"),
    ("BillingAccountId", "text", _M, False, "1.0"),
    ("BillingAccountName", "text", _M, True, "1.0"),
    ("BillingAccountType", "text", _C, False, "1.2"),
    ("BillingCurrency", "text", _M, False, "1.0"),
    ("BillingPeriodEnd", "time", _M, False, "1.0"),
    ("BillingPeriodStart", "time", _M, False, "1.0"),
    ("CapacityReservationId", "text", _C, True, "1.1"),
    ("CapacityReservationStatus", "text", _C, True, "1.1"),
    ("ChargeCategory", "text", _M, False, "1.0"),
    ("ChargeClass", "text", _M, True, "1.0"),
    ("ChargeDescription", "text", _M, True, "1.0"),
    ("ChargeFrequency", "text", _R, False, "1.0"),
    ("ChargePeriodEnd", "time", _M, False, "1.0"),
    ("ChargePeriodStart", "time", _M, False, "1.0"),
    ("CommitmentDiscountCategory", "text", _C, True, "1.0"),
    ("CommitmentDiscountId", "text", _C, True, "1.0"),
    ("CommitmentDiscountName", "text", _C, True, "1.0"),
    ("CommitmentDiscountQuantity", "decimal", _C, True, "1.1"),
    ("CommitmentDiscountStatus", "text", _C, True, "1.0"),
    ("CommitmentDiscountType", "text", _C, True, "1.0"),
    ("CommitmentDiscountUnit", "text", _C, True, "1.1"),
    ("CommitmentProgramEligibilityDetails", "json", _C, True, "1.4"),
    ("ConsumedQuantity", "decimal", _C, True, "1.0"),
    ("ConsumedUnit", "text", _C, True, "1.0"),
    ("ContractApplied", "json", _C, True, "1.3"),
    ("ContractedCost", "decimal", _M, False, "1.0"),
    ("ContractedUnitPrice", "decimal", _C, True, "1.0"),
    ("EffectiveCost", "decimal", _M, False, "1.0"),
    ("HostProviderName", "text", _M, False, "1.3"),
    ("InvoiceDetailId", "text", _C, True, "1.4"),
    ("InvoiceId", "text", _C, True, "1.2"),
    ("InvoiceIssuerName", "text", _M, False, "1.0"),
    ("ListCost", "decimal", _M, False, "1.0"),
    ("ListUnitPrice", "decimal", _C, True, "1.0"),
    ("PricingCategory", "text", _C, True, "1.0"),
    ("PricingCurrency", "text", _C, False, "1.2"),
    ("PricingCurrencyContractedUnitPrice", "decimal", _C, True, "1.2"),
    ("PricingCurrencyEffectiveCost", "decimal", _C, False, "1.2"),
    ("PricingCurrencyListUnitPrice", "decimal", _C, True, "1.2"),
    ("PricingQuantity", "decimal", _M, True, "1.0"),
    ("PricingUnit", "text", _M, True, "1.0"),
    ("ProviderName", "text", _M, False, "1.0"),
    ("PublisherName", "text", _M, False, "1.0"),
    ("RegionId", "text", _C, True, "1.0"),
    ("RegionName", "text", _C, True, "1.0"),
    ("ResourceId", "text", _C, True, "1.0"),
    ("ResourceName", "text", _C, True, "1.0"),
    ("ResourceType", "text", _C, True, "1.0"),
    ("ServiceCategory", "text", _M, False, "1.0"),
    ("ServiceName", "text", _M, False, "1.0"),
    ("ServiceProviderName", "text", _M, False, "1.3"),
    ("ServiceSubcategory", "text", _R, False, "1.1"),
    ("SkuId", "text", _C, True, "1.0"),
    ("SkuMeter", "text", _C, True, "1.1"),
    ("SkuPriceDetails", "json", _C, True, "1.1"),
    ("SkuPriceId", "text", _C, True, "1.0"),
    ("SubAccountId", "text", _C, True, "1.0"),
    ("SubAccountName", "text", _C, True, "1.0"),
    ("SubAccountType", "text", _C, True, "1.2"),
    ("Tags", "json", _C, True, "1.0"),
)
_ENDS: dict[str, Version] = {"ProviderName": "1.3", "PublisherName": "1.3"}
_ALLOWED: dict[str, tuple[str, ...]] = {
    "CapacityReservationStatus": STATUSES,
    "ChargeCategory": CHARGE_CATEGORIES,
    "ChargeClass": ("Correction",),
    "ChargeFrequency": CHARGE_FREQUENCIES,
    "CommitmentDiscountCategory": ("Spend", "Usage"),
    "CommitmentDiscountStatus": STATUSES,
    "PricingCategory": PRICING_CATEGORIES,
    "ServiceCategory": tuple(SUBCATEGORIES),
}


def snake(name: str) -> str:
    """`BilledCost` -> `billed_cost`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


COLUMNS: tuple[Column, ...] = tuple(
    Column(
        name=name,
        field=snake(name),
        kind=kind,
        level=level,
        nullable=nullable,
        since=next(version for version in VERSIONS if version == since),
        until=_ENDS.get(name, "1.4"),
        allowed=_ALLOWED.get(name, ()),
        negative=not name.endswith("UnitPrice"),
    )
    for name, kind, level, nullable, since in _TABLE
)
COLUMN: dict[str, Column] = {column.name: column for column in COLUMNS}


def columns(version: Version) -> tuple[Column, ...]:
    """The columns of one version, in the order in which they are written."""
    return tuple(column for column in COLUMNS if column.since <= version <= column.until)


def emitted(version: Version) -> tuple[Column, ...]:
    """The columns that an exporter with one type of account and one currency writes: the others may not be null, so they stay out."""
    return tuple(column for column in columns(version) if column.nullable or column.level != "conditional")
