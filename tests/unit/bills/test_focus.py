"""The FOCUS table and its rules: versions, how a row is written, and which rows may not be."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.bills.focus import FocusRow, header, record
from penstock.domain.bills.focus_columns import COLUMNS, VERSIONS, Version, columns, emitted, snake
from penstock.domain.bills.focus_rules import RULES, violations

START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
PLAIN = FocusRow(
    billed_cost=Decimal("2.50"), effective_cost=Decimal("2.50"), list_cost=Decimal("2.50"), contracted_cost=Decimal("2.50"),
    list_unit_price=Decimal("2.5"), contracted_unit_price=Decimal("2.5"), pricing_quantity=Decimal(1), pricing_unit="1000000 Tokens",
    consumed_quantity=Decimal(10**6), consumed_unit="Tokens", billing_account_id="a", billing_currency="USD", billing_period_start=START,
    billing_period_end=END, charge_period_start=START, charge_period_end=END, charge_category="Usage", charge_frequency="Usage-Based",
    pricing_category="Standard", invoice_issuer_name="x", provider_name="x", publisher_name="x", service_category="AI and Machine Learning",
    service_subcategory="Generative AI", service_name="y", sku_id="s", sku_price_id="p", sku_meter="Input Tokens",
)  # fmt: skip


def of(version: Version, **fields: Any) -> FocusRow:
    row = PLAIN
    if version >= "1.3":
        row = msgspec.structs.replace(row, service_provider_name="x", host_provider_name="x")
    if version == "1.4":
        row = msgspec.structs.replace(row, provider_name=None, publisher_name=None)
    return msgspec.structs.replace(row, **fields)


def test_fields_of_a_row_are_the_columns_in_order() -> None:
    assert [column.field for column in COLUMNS] == list(FocusRow.__struct_fields__)[:-1]
    assert snake("SkuPriceId") == "sku_price_id"


@pytest.mark.parametrize(("version", "mandatory"), [("1.0", 21), ("1.2", 21), ("1.3", 23), ("1.4", 21)])
def test_each_version_has_its_mandatory_columns(version: Version, mandatory: int) -> None:
    assert sum(column.level == "mandatory" for column in columns(version)) == mandatory


def test_versions_have_their_own_columns() -> None:
    names = {version: {column.name for column in columns(version)} for version in VERSIONS}
    assert "SkuMeter" in names["1.1"] - names["1.0"]
    assert {"AllocatedMethodId", "HostProviderName"} <= names["1.3"] - names["1.2"]
    assert names["1.3"] - names["1.4"] == {"ProviderName", "PublisherName"}
    assert {column.name for column in columns("1.4")} - {column.name for column in emitted("1.4")} == {
        "BillingAccountType", "PricingCurrency", "PricingCurrencyEffectiveCost",
    }  # fmt: skip


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_a_plain_row_breaks_nothing(version: Version) -> None:
    assert violations(of(version), version) == []


def test_a_row_is_written_without_exponents_and_in_utc() -> None:
    row = msgspec.structs.replace(PLAIN, billed_cost=Decimal("1E-9"), tags={"team": "ü", "n": Decimal("1.5")}, x={"x_Line": "api"})
    written = dict(zip(header(emitted("1.2"), ["x_Line"]), record(row, emitted("1.2"), ["x_Line"]), strict=True))
    assert written["BilledCost"] == "0.000000001"
    assert written["ChargePeriodStart"] == "2026-03-01T00:00:00Z"
    assert written["Tags"] == '{"team":"ü","n":1.5}'
    assert (written["x_Line"], written["RegionId"]) == ("api", None)


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({"billed_cost": None}, "BilledCost may not be null"),
        ({"billed_cost": Decimal("NaN")}, "BilledCost is not a number"),
        ({"list_cost": Decimal(3)}, "ListCost 3 is not ListUnitPrice x PricingQuantity (2.5)"),
        ({"contracted_unit_price": Decimal(-1)}, "ContractedUnitPrice -1 is below zero"),
        ({"billing_currency": "dollars"}, "BillingCurrency `dollars` is not an ISO 4217 code"),
        ({"charge_category": "usage"}, "ChargeCategory `usage` is none of Usage, Purchase, Tax, Credit, Adjustment"),
        ({"charge_period_end": START}, "ChargePeriodEnd has to be after ChargePeriodStart"),
        ({"charge_period_end": datetime(2026, 4, 1)}, "ChargePeriodEnd needs a zone and whole seconds"),  # noqa: DTZ001
        ({"charge_description": ""}, "ChargeDescription is an empty text: null is null"),
        ({"service_subcategory": "Caching"}, "ServiceSubcategory `Caching` does not belong to `AI and Machine Learning`"),
        ({"consumed_unit": None}, "ConsumedUnit may not be null where ConsumedQuantity is not null"),
        ({"charge_category": "Tax"}, "SkuId has to be null where ChargeCategory is Tax"),
        ({"commitment_discount_status": "Unused"}, "ConsumedQuantity has to be null where CommitmentDiscountStatus is Unused"),
        ({"pricing_category": "Committed"}, "CommitmentDiscountId may not be null where PricingCategory is Committed"),
        ({"region_id": "us-east-1"}, "RegionName may not be null where RegionId is not null"),
        ({"sku_price_details": {"Colour": "red"}}, "SkuPriceDetails has `Colour`: a key that FOCUS does not define begins with x_"),
        ({"tags": {"a": ["b"]}}, "Tags may hold texts, numbers and booleans only"),
        ({"x": {"Line": "1"}}, "the custom column `Line` has to begin with x_"),
        ({"allocated_method_id": "m"}, "AllocatedMethodId is not in the file"),
    ],
)
def test_what_a_row_breaks_is_named(fields: dict[str, Any], broken: str) -> None:
    assert broken in violations(of("1.2", **fields), "1.2")


def test_unused_commitments_have_no_consumption() -> None:
    unused = of(
        "1.4", commitment_discount_id="c", commitment_discount_category="Spend", commitment_discount_type="Reserved",
        commitment_discount_status="Unused", commitment_discount_quantity=Decimal(1), commitment_discount_unit="USD",
        pricing_category="Committed", consumed_quantity=None, consumed_unit=None,
    )  # fmt: skip
    assert violations(unused, "1.4") == []


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_keys_of_the_draft_are_custom_ones_until_it_is_out(version: Version) -> None:
    assert violations(of(version, sku_price_details={"x_ModelId": "gpt-4o", "InstanceType": "g6e.xlarge"}), version) == []
    for key in ("ModelId", "ModelVersion", "TokenDirection", "TokenCacheAction"):
        told = [f"SkuPriceDetails has `{key}`: a key that FOCUS does not define begins with x_"]
        assert violations(of(version, sku_price_details={key: "a"}), version) == told


@given(st.sampled_from(RULES))
def test_every_rule_names_columns_that_exist(rule: Any) -> None:
    known = {column.name for column in COLUMNS}
    assert {rule.column, *(when.column for when in rule.when)} <= known
