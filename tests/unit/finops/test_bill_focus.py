"""A bill in FOCUS: no row breaks a rule, and nothing of the bill is lost or told twice, whatever stands in it."""

import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.bills.focus_columns import emitted
from penstock.domain.bills.focus_rules import violations
from penstock.domain.units import usd
from penstock.finops.bills.document import (
    Bill,
    BillCoverage,
    Charge,
    Correction,
    FleetFacts,
    ModelFacts,
    Money,
    bill_bytes,
    check,
    read_bill,
)
from penstock.finops.bills.focus import CUSTOM, ExportVersion, focus_csv, focus_rows

SEPTEMBER = "2026-09-01T00:00:00Z"
VERSIONS: tuple[ExportVersion, ...] = ("1.4", "1.2")
FLEETS = {
    "demand": FleetFacts(gpu="L40S", held="on-demand", instance="g6e.xlarge", region="us-east-1"),
    "spot": FleetFacts(gpu="L4", held="spot"),
    "term": FleetFacts(gpu="H100", held="reserved", region="eu-west-1"),
    "mine": FleetFacts(gpu="A100-80GB 2g.20gb", held="owned"),
}


def bill_of(charges: list[Charge], corrections: list[Correction] | None = None, number: int | None = None) -> Bill:
    """A bill around some charges; its other parts are left out, except that the total is right."""
    later = tuple(corrections or ())
    return Bill(
        month="2026-10",
        timezone="UTC",
        since="2026-10-01T00:00:00Z",
        until="2026-11-01T00:00:00Z",
        covered_since="2026-10-01T00:00:00Z",
        covered_until="2026-11-01T00:00:00Z",
        made="2026-11-02T00:00:00Z",
        issuer="Penstock",
        account="acme",
        number=number,
        by=("team", "feature"),
        idle="proportional",
        idle_meaning="shared",
        total_usd=Money(sum(charge.usd for charge in charges) + sum(each.usd for each in later)),
        lines=(),
        bearers=(),
        pots=(),
        corrections=later,
        coverage=BillCoverage(requests=0, priced=0, estimated=0, tagged={}, untagged_usd=Money(0)),
        definitions={},
        fleets=FLEETS,
        models={"large": ModelFacts(upstream="openai", called="gpt-4o", version="2024-08-06")},
        providers={"openai": "openai"},
        charges=tuple(charges),
    )


amounts = st.integers(0, 10**15).map(Money)
words = st.none() | st.text(max_size=8)
groups = st.tuples(words, words)
counts = st.integers(0, 10**13).map(str)
hours = st.none() | st.decimals(0, 10**5, places=9).map(lambda each: f"{each:f}")
METERS = ("Input Tokens", "Cache Read Input Tokens", "Cache Write Input Tokens", "Output Tokens")
api = st.builds(
    Charge,
    line=st.just("api"),
    meter=st.sampled_from(METERS),
    keys=groups,
    usd=amounts,
    quantity=counts,
    unit=st.just("Tokens"),
    list_price=st.none() | st.decimals(0, 1000, places=6).map(lambda each: f"{each:f}"),
    upstream=st.sampled_from(["openai", "elsewhere", None]),
    model=st.sampled_from(["large", "gone", None]),
    processing=st.sampled_from([None, "batch"]),
    price_id=st.sampled_from([None, "genai-prices:openai/gpt-4o"]),
)
work = st.builds(
    Charge,
    line=st.sampled_from(["gpu_work", "gpu_waste"]),
    meter=st.sampled_from(METERS),
    keys=groups,
    usd=amounts,
    quantity=counts,
    unit=st.just("Tokens"),
    gpu_hours=hours,
    upstream=st.just("local"),
    model=st.sampled_from(["small", None]),
    fleet=st.sampled_from([*FLEETS, "gone"]),
)
pots = st.builds(
    Charge,
    line=st.sampled_from(["idle", "unallocated", "unused_commitment"]),
    meter=st.just("Idle GPU Time"),
    keys=st.none() | groups,
    usd=amounts,
    gpu_hours=hours,
    fleet=st.sampled_from([*FLEETS, "gone"]),
)
others = st.builds(
    Charge,
    line=st.sampled_from(["other", "recorded"]),
    meter=st.just("Other Costs"),
    keys=st.none() | groups,
    usd=amounts,
    quantity=st.sampled_from([None, "1"]),
    unit=st.just("Runs"),
    name=st.text(min_size=1, max_size=8),
)
corrections = st.builds(
    Correction,
    month=st.sampled_from(["2026-09", "2025-12"]),
    since=st.just(SEPTEMBER),
    until=st.just("2026-10-01T00:00:00Z"),
    number=st.integers(1, 9),
    usd=st.integers(-(10**12), 10**12).map(Money),
    line=st.sampled_from(["api", "idle"]),
    keys=st.none() | st.fixed_dictionaries({"team": words}),
    name=st.sampled_from(["", "demand"]),
)
bills = st.builds(
    bill_of,
    st.lists(api | work | pots | others, max_size=12),
    st.lists(corrections, max_size=3),
    st.none() | st.integers(1, 99),
)


@pytest.mark.parametrize("version", VERSIONS)
@given(bill=bills)
def test_no_row_breaks_a_rule_and_the_costs_add_up_to_the_bill(version: ExportVersion, bill: Bill) -> None:
    rows = list(focus_rows(bill, version))
    assert [violations(row, version, emitted(version)) for row in rows] == [[] for _ in rows]
    assert sum((row.billed_cost or Decimal(0) for row in rows), Decimal(0)) == usd(bill.total_usd)
    assert sum((row.effective_cost or Decimal(0) for row in rows), Decimal(0)) == usd(bill.total_usd)


@given(bill=bills)
def test_the_shares_of_a_fleet_add_up_to_one(bill: Bill) -> None:
    ratios: dict[str, Decimal] = {}
    for row in focus_rows(bill, "1.4"):
        details = row.allocated_method_details
        if isinstance(details, dict):
            ratios[row.resource_id or ""] = ratios.get(row.resource_id or "", Decimal(0)) + details["Elements"][0]["AllocatedRatio"]
    paid = {charge.fleet for charge in bill.charges if charge.fleet is not None and charge.usd}
    assert ratios == dict.fromkeys(paid, Decimal(1))


@given(bill=bills)
def test_a_bill_is_read_back_as_it_was_frozen(bill: Bill) -> None:
    written = bill_bytes(bill)
    assert bill_bytes(read_back(written)) == written


def read_back(written: bytes) -> Bill:
    """As `read_bill`, without its check: these bills have charges only."""
    import msgspec

    from penstock.finops.bills.document import _read

    return msgspec.json.decode(written, type=Bill, dec_hook=_read)


def test_the_file_has_the_columns_of_its_version_and_custom_ones_last() -> None:
    charge = Charge(line="api", meter="Input Tokens", keys=("search", None), usd=Money(5), quantity="3", unit="Tokens", upstream="openai")
    for version in VERSIONS:
        [head, row] = list(csv.reader(io.StringIO(focus_csv(bill_of([charge]), version))))
        assert head == [*(column.name for column in emitted(version)), *CUSTOM]
        told = dict(zip(head, row, strict=True))
        assert ("ProviderName" in told, "ServiceProviderName" in told) == ((False, True) if version == "1.4" else (True, False))
        assert (told["BilledCost"], told["ConsumedQuantity"], told["PricingQuantity"]) == ("0.000000005", "3", "0.000003")
        assert (told["BillingPeriodStart"], told["BillingPeriodEnd"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
        assert json.loads(told["Tags"]) == {"team": "search"}
        assert told["ChargeClass"] == ""


def test_the_worked_example_of_the_specification() -> None:
    """0.5 M uncached, 2 M cache write, 8 M cache read, 1.5 M output at 3.00 / 3.75 / 0.30 / 15.00 USD per million."""
    given_rows = (
        ("Input Tokens", 500_000, "3", "1.5"),
        ("Cache Write Input Tokens", 2_000_000, "3.75", "7.5"),
        ("Cache Read Input Tokens", 8_000_000, "0.3", "2.4"),
        ("Output Tokens", 1_500_000, "15", "22.5"),
    )
    charges = [
        Charge(
            line="api",
            meter=meter,
            keys=("search", None),
            usd=Money(Decimal(cost) * 10**9),
            quantity=str(count),
            unit="Tokens",
            list_price=price,
            upstream="openai",
            model="large",
            price_id="config:large",
        )
        for meter, count, price, cost in given_rows
    ]
    rows = list(focus_rows(bill_of(charges)))
    assert [row.list_cost for row in rows] == [row.billed_cost for row in rows] == [Decimal(cost) for *_, cost in given_rows]
    assert {row.pricing_unit for row in rows} == {"1000000 Tokens"}
    assert [(row.sku_price_details or {}).get("x_TokenCacheAction") for row in rows] == ["Uncached", "Write", "Read", None]
    assert {(row.sku_price_details or {})["x_ModelId"] for row in rows} == {"gpt-4o"}
    assert sum(row.billed_cost or 0 for row in rows[:3]) == Decimal("11.4")


def test_unused_commitment_is_a_row_of_its_own_without_consumption() -> None:
    unused = Charge(line="unused_commitment", meter="Unused Commitment", keys=None, usd=Money(7 * 10**9), fleet="term")
    used = Charge(
        line="gpu_work",
        meter="Output Tokens",
        keys=("a", "b"),
        usd=Money(10**9),
        quantity="9",
        unit="Tokens",
        gpu_hours="1.5",
        fleet="term",
    )
    rest, paid = focus_rows(bill_of([unused, used]))
    assert (rest.commitment_discount_status, rest.consumed_quantity, rest.allocated_resource_id) == ("Unused", None, None)
    assert (paid.commitment_discount_status, paid.consumed_quantity) == ("Used", Decimal(9))
    assert (paid.allocated_resource_id, paid.allocated_tags) == ("team=a/feature=b", {"team": "a", "feature": "b"})
    assert paid.allocated_method_details == {
        "Elements": [{"AllocatedRatio": Decimal("0.125000000000"), "UsageUnit": "GPU-Hours", "UsageQuantity": Decimal("1.5")}]
    }


def test_a_correction_is_charged_now_for_the_month_that_it_corrects() -> None:
    late = Correction(
        month="2026-09", since=SEPTEMBER, until="2026-10-01T00:00:00Z", number=4, line="api", usd=Money(-5), keys={"team": "search"}
    )
    [row] = focus_rows(bill_of([], [late], number=5))
    assert (row.charge_class, row.billed_cost, row.invoice_id) == ("Correction", Decimal("-0.000000005"), "acme-000005")
    assert row.charge_period_start is not None
    assert row.billing_period_start is not None
    assert (row.charge_period_start.month, row.billing_period_start.month) == (9, 10)
    assert row.charge_description == "Correction of bill 4, 2026-09: api"


def test_a_bill_that_does_not_add_up_is_refused() -> None:
    from penstock.finops.bills.document import BillingError

    bill = bill_of([Charge(line="api", meter="Requests", keys=("a", "b"), usd=Money(5))])
    with pytest.raises(BillingError, match="the lines of the bill of 2026-10 add up to 0"):
        check(bill)
    with pytest.raises(BillingError, match="add up to"):
        read_bill(bill_bytes(bill))
    with pytest.raises(BillingError, match="cannot be read"):
        read_bill("{}")
