"""A bill against a ledger: every charge in one place, every difference with its reason."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.bills.comparing import LONGER, By, Group, LedgerLine, Tolerance, compare
from penstock.domain.bills.explaining import amount, price
from penstock.domain.bills.focus import FocusRow
from penstock.domain.bills.invoice import Invoice
from penstock.domain.bills.meters import CACHE_READ, GPU_HOURS, HOURS, INPUT, OUTPUT
from penstock.domain.bills.subjects import Matcher, Subject

GPT = Subject(kind="api", service="openai", model="large", names=("gpt-4o",), provider="openai")
FLEET = Subject(kind="fleet", service="g6e.12xlarge", model="l40s", names=("g6e.12xlarge",), region="us-east-1")
WEIGHTS = Subject(kind="other", service="weights", model="weights", names=("weights",))
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
ALL: tuple[By, ...] = ("service", "model", "day")
D = Decimal


def charge(cost: str, **fields: Any) -> FocusRow:
    given = {
        "effective_cost": D(cost), "billed_cost": D(cost), "billing_currency": "USD", "charge_category": "Usage", "provider_name": "OpenAI",
        "charge_period_start": MARCH, "charge_period_end": MARCH + timedelta(days=1), "service_name": "OpenAI API",
    }  # fmt: skip
    return FocusRow(**{**given, **fields})


def tokens(cost: str, meter: str, count: int, **fields: Any) -> FocusRow:
    details = {"sku_price_details": {"ModelId": "gpt-4o"}, "sku_meter": meter, "consumed_quantity": D(count), "consumed_unit": "Tokens"}
    return charge(cost, **{**details, **fields})


def hours(cost: str, count: str, **fields: Any) -> FocusRow:
    given = {"sku_meter": "BoxUsage:g6e.12xlarge", "consumed_quantity": D(count), "consumed_unit": "Hrs", "provider_name": "AWS"}
    return charge(cost, **{**given, "region_id": "us-east-1", "service_name": "EC2", **fields})


def booked(cost: str | None, subject: Subject = GPT, day: str = "2026-03-01", **fields: Any) -> LedgerLine:
    return LedgerLine(subject=subject, day=day, cost=None if cost is None else D(cost), **fields)


def compared(rows: list[FocusRow], lines: list[LedgerLine], by: tuple[By, ...] = ALL, tolerance: Tolerance | None = None) -> list[Group]:
    invoice = Invoice(Matcher((GPT, FLEET, WEIGHTS)))
    for row in rows:
        invoice.add(row)
    return compare(invoice, lines, by, tolerance or Tolerance())


@pytest.mark.parametrize(
    ("rows", "lines", "status", "what"),
    [
        ([tokens("2.5", INPUT, 10**6)], [booked("2.5", quantities={INPUT: D(10**6)})], "matched", ""),
        ([tokens("2.51", INPUT, 10**6)], [booked("2.5", quantities={INPUT: D(10**6)})], "matched", ""),
        (
            [tokens("5.5", INPUT, 2_200_000)],
            [booked("2.5", quantities={INPUT: D(10**6)})],
            "quantity differs",
            "1.2 M input tokens more than metered: traffic that bypasses the gateway",
        ),
        (
            [tokens("1.25", INPUT, 500_000)],
            [booked("2.5", quantities={INPUT: D(10**6)}, requests=9, estimated=4)],
            "quantity differs",
            "billed later or on another bill, or credited, or estimates (4 of 9 requests told no usage)",
        ),
        (
            [tokens("3.0", INPUT, 10**6)],
            [booked("2.5", quantities={INPUT: D(10**6)})],
            "rate differs",
            "same tokens, rate 3.00 instead of 2.50 USD per million tokens: the price changed, a discount holds",
        ),
        (
            [tokens("1.25", INPUT, 10**6)],
            [booked("2.5", quantities={INPUT: D(10**6)})],
            "rate differs",
            "same tokens, rate 1.25 instead of 2.50 USD per million tokens: half the price, as batch and flex have it",
        ),
        (
            [tokens("4.25", INPUT, 10**6, charge_description="gpt-4o input tokens, priority")],
            [booked("2.5", quantities={INPUT: D(10**6)})],
            "rate differs",
            "same tokens, rate 4.25 instead of 2.50 USD per million tokens: the bill says priority",
        ),
        (
            [tokens("2.5", INPUT, 10**6)],
            [booked("1.375", quantities={INPUT: D(100_000), CACHE_READ: D(900_000)})],
            "quantity differs",
            "the same input in all, of which the bill counts fewer tokens as read from or written to the cache",
        ),
        ([charge("2", sku_price_details={"ModelId": "gpt-4o"})], [booked("2.5")], "rate differs", "the bill tells no quantities"),
        (
            [tokens("9", OUTPUT, 10**6)],
            [booked(None, requests=3, unpriced=3)],
            "rate differs",
            "3 of 3 requests have no price in the ledger",
        ),
        ([tokens("2.5", INPUT, 10**6)], [], "missing", "1 M input tokens on the bill only: traffic that bypasses the gateway"),
        ([], [booked("2.5")], "extra", "in the ledger only: not billed yet, free of charge, prepaid, or under another name"),
        ([], [booked("0")], "matched", ""),
        ([hours("75.84", "24")], [booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})], "matched", ""),
        (
            [hours("94.8", "30")],
            [booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})],
            "quantity differs",
            "120 GPU-hours billed (an instance holds 4 GPUs), 96 in the config: more ran than `count` or `runs` says",
        ),
        (
            [hours("96", "24")],
            [booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})],
            "rate differs",
            "rate 1.00 instead of 0.79 USD per GPU-hour: another price, a discount, or a commitment that the config does not know",
        ),
        ([], [booked("75.84", FLEET)], "extra", "the config counts hardware that is not billed here"),
        ([hours("75.84", "24")], [], "missing", "hours of an instance that the config does not count then"),
        ([charge("1", service_name="Weights", provider_name="Z")], [], "missing", "the config has no such cost at that time"),
        ([hours("1", "1")], [booked(None, FLEET, unpriced=1)], "rate differs", "the rent of 1 hour is unknown"),
    ],
)
def test_differences_and_their_reasons(rows: list[FocusRow], lines: list[LedgerLine], status: str, what: str) -> None:
    [group] = compared(rows, lines)
    assert group.status == status
    assert what in group.what if what else group.what == ""


def test_tolerance_may_be_an_amount() -> None:
    lines = [booked("2.5", quantities={INPUT: D(10**6)})]
    allowed = Tolerance(share=D(0), usd=D("0.10"))
    assert compared([tokens("2.6", INPUT, 10**6)], lines, tolerance=allowed)[0].status == "matched"
    assert compared([tokens("2.61", INPUT, 10**6)], lines, tolerance=allowed)[0].status == "rate differs"


def test_days_that_are_only_booked_otherwise_say_so() -> None:
    rows = [tokens("5", INPUT, 2 * 10**6)]
    lines = [booked("2.5", quantities={INPUT: D(10**6)}), booked("2.5", day="2026-03-02", quantities={INPUT: D(10**6)})]
    groups = compared(rows, lines)
    assert [group.status for group in groups] == ["quantity differs", "extra"]
    assert all("all days together agree" in group.what for group in groups)
    [whole] = compared(rows, lines, by=("service", "model"))
    assert whole.status == "matched"


def test_what_is_billed_by_the_month_is_compared_by_the_month() -> None:
    rows = [tokens("5", INPUT, 2 * 10**6, charge_period_end=MARCH + timedelta(days=31))]
    lines = [booked("2.5", day=f"2026-03-{day:02}", quantities={INPUT: D(10**6)}) for day in (3, 20)]
    [group] = compared(rows, lines)
    assert (group.day, group.status) == (LONGER, "matched")


def test_models_that_the_config_does_not_name_are_missing_and_others_are_beyond() -> None:
    invoice = Invoice(Matcher((GPT, FLEET)))
    invoice.add(tokens("3", OUTPUT, 5, sku_price_details={"ModelId": "o9"}))
    invoice.add(charge("1", provider_name="AWS", service_name="Amazon S3"))
    invoice.add(charge("7", provider_name="AWS", service_name="EC2", sku_meter="BoxUsage:p5.48xlarge"))
    groups = compare(invoice, [], ALL, Tolerance())
    assert {(group.service, group.model): (group.status, group.billed) for group in groups} == {
        ("OpenAI API", "o9"): ("missing", D(3)), ("EC2", "BoxUsage:p5.48xlarge"): ("missing", D(7)),
    }  # fmt: skip
    assert invoice.beyond["Amazon S3"].cost == 1


def test_no_currency_is_ever_added_to_another() -> None:
    invoice = Invoice(Matcher((GPT,)), since=MARCH, until=MARCH + timedelta(days=1))
    later = {"charge_period_start": MARCH + timedelta(days=2)}
    for row in (charge("1"), charge("2", **later), charge("4", billing_currency="EUR", **later), charge("8", billing_currency="EUR")):
        invoice.add(row)
        invoice.repeat(row)
    invoice.add(charge("16", billing_currency="usd", charge_category="Tax"))
    assert invoice.unnamed == 0
    invoice.add(charge("32", billing_currency=None, charge_category="Tax"))
    assert {currency: amount.cost for currency, amount in invoice.outside.items()} == {"USD": 2, "EUR": 4}
    assert {currency: amount.cost for currency, amount in invoice.repeated.items()} == {"USD": D(3), "EUR": D(12)}
    assert {currency: amount.cost for currency, amount in invoice.foreign.items()} == {"EUR": 8}
    assert (invoice.apart["tax", "OpenAI API"].cost, invoice.unnamed) == (D(48), 1)


def test_what_is_bought_is_told_as_it_was_invoiced() -> None:
    invoice = Invoice(Matcher((GPT,)))
    invoice.add(charge("0", billed_cost=D(15000), charge_category="Purchase"))
    [bought] = invoice.apart.values()
    assert (bought.charges, bought.cost, bought.billed) == (1, D(0), D(15000))


def test_the_tolerance_holds_for_unknown_models_as_well() -> None:
    unheard = tokens("0.50", OUTPUT, 5, sku_price_details={"ModelId": "o9"})
    [group] = compared([unheard], [], tolerance=Tolerance(share=D(0), usd=D(1)))
    assert (group.status, group.billed) == ("matched", D("0.50"))
    [group] = compared([unheard], [], tolerance=Tolerance(share=D(0), usd=D("0.49")))
    assert group.status == "missing" and "the config names no such model" in group.what


def test_a_day_is_told_once_whatever_is_on_it() -> None:
    rows = [tokens("2.5", INPUT, 10**6), tokens("3", OUTPUT, 5, sku_price_details={"ModelId": "o9"}), hours("75.84", "24")]
    lines = [booked("2.5", quantities={INPUT: D(10**6)}), booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})]
    [group] = compared(rows, lines, by=("day",))
    assert (group.day, group.billed, group.booked, group.charges) == ("2026-03-01", D("81.34"), D("78.34"), 3)
    assert group.status == "quantity differs"
    assert (
        group.what == "above all OpenAI API o9: the config names no such model or hardware: add it, or see who uses it beside the gateway"
    )


def test_of_a_mixed_group_only_the_part_that_differs_most_is_explained() -> None:
    rows = [tokens("2.75", INPUT, 1_100_000), hours("94.8", "30")]
    lines = [booked("2.5", quantities={INPUT: D(10**6)}), booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})]
    [group] = compared(rows, lines, by=("day",))
    assert group.status == "quantity differs"
    assert group.what.startswith("above all g6e.12xlarge l40s, and 1 more: 120 GPU-hours billed (an instance holds 4 GPUs), 96 in")
    assert "million tokens" not in group.what and "input tokens" not in group.what
    [group] = compared(rows, [lines[1], booked(None, requests=3, unpriced=3)], by=("day",))
    assert group.what.endswith("; 3 of 3 requests have no price")


def test_parts_that_agree_may_differ_together() -> None:
    rows = [tokens("2.6", INPUT, 10**6), hours("75.94", "24")]
    lines = [booked("2.5", quantities={INPUT: D(10**6)}), booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})]
    [group] = compared(rows, lines, by=("day",), tolerance=Tolerance(share=D(0), usd=D("0.1")))
    assert (group.status, group.what) == ("rate differs", "each of its parts agrees within the tolerance, all together do not")


@pytest.mark.parametrize(
    "fields",
    [
        {"consumed_quantity": D(96), "consumed_unit": "GPU-Hours"},
        {"consumed_quantity": D(96), "consumed_unit": "GPU Hours"},
        {"consumed_quantity": D(5_000), "consumed_unit": "Tokens", "pricing_quantity": D(96), "pricing_unit": "GPU-Hours"},
        {"consumed_quantity": D(24), "consumed_unit": "Hrs", "sku_price_details": {"GpuCount": 4}},
        {"consumed_quantity": D(24), "consumed_unit": "Hrs", "pricing_quantity": D(96), "pricing_unit": "GPU-Hours"},
    ],
)
def test_hours_of_gpus_are_not_multiplied_again(fields: dict[str, Any]) -> None:
    [group] = compared([hours("75.84", "0", **fields)], [booked("75.84", FLEET, quantities={GPU_HOURS: D(96)})])
    assert (group.status, group.quantities) == ("matched", ((GPU_HOURS, D(96), D(96)),))


def test_instances_of_unknown_size_are_no_gpu_hours() -> None:
    box = Subject(kind="fleet", service="gpu-box", model="box", names=("gpu-box",))
    invoice = Invoice(Matcher((box,)))
    invoice.add(hours("9", "24", sku_meter="gpu-box", region_id=None))
    lines = [booked("6", box, quantities={GPU_HOURS: D(48)})]
    [group] = compare(invoice, lines, ALL, Tolerance())
    assert group.quantities == ((GPU_HOURS, None, D(48)), (HOURS, D(24), None))
    assert "24 instance-hours billed, 48 GPU-hours in the config; how many GPUs an instance has is not known" in group.what


CATEGORIES = st.sampled_from(["Usage", "Usage", "Usage", "Purchase", "Tax", "Credit", "Adjustment", None])
CHARGES = st.builds(
    lambda cost, fields: charge(str(cost), **fields),
    st.decimals(min_value=-(10**6), max_value=10**6, places=9),
    st.fixed_dictionaries(
        {},
        optional={
            "charge_category": CATEGORIES,
            "charge_class": st.sampled_from([None, "Correction"]),
            "billing_currency": st.sampled_from(["USD", "EUR", None]),
            "service_name": st.sampled_from([None, "OpenAI API", "Amazon S3", "AWS Support (Business)", "weights"]),
            "provider_name": st.sampled_from([None, "OpenAI", "AWS", "Acme"]),
            "sku_price_details": st.sampled_from([None, {"ModelId": "gpt-4o"}, {"ModelId": "o9"}, {"InstanceType": "g6e.12xlarge"}]),
            "sku_meter": st.sampled_from([None, INPUT, OUTPUT, "BoxUsage:g6e.12xlarge", "gpt 4o"]),
            "consumed_quantity": st.none() | st.integers(0, 10**9).map(Decimal),
            "consumed_unit": st.sampled_from([None, "Tokens", "1K Tokens", "Hrs", "GB"]),
            "region_id": st.sampled_from([None, "us-east-1", "eu-west-1"]),
            "commitment_discount_status": st.sampled_from([None, "Unused"]),
            "charge_period_start": st.none() | st.integers(0, 40).map(lambda days: MARCH + timedelta(days=days)),
            "charge_period_end": st.none() | st.integers(0, 80).map(lambda days: MARCH + timedelta(days=days)),
            "effective_cost": st.none() | st.decimals(min_value=-10, max_value=10, places=3),
        },
    ),
)
LINES = st.builds(
    lambda subject, day, cost, quantity: booked(
        cost and str(cost), subject, f"2026-03-{day:02}", quantities={INPUT: D(quantity)}, unpriced=1
    ),
    st.sampled_from([GPT, FLEET, WEIGHTS]),
    st.integers(1, 31),
    st.none() | st.decimals(min_value=0, max_value=10**6, places=9),
    st.integers(0, 10**9),
)


@given(
    rows=st.lists(CHARGES, max_size=30),
    lines=st.lists(LINES, max_size=10),
    by=st.sets(st.sampled_from(ALL)).map(lambda keys: tuple(key for key in ALL if key in keys)),
    window=st.booleans(),
    repeated=st.integers(0, 3),
)
def test_every_charge_stands_in_exactly_one_place(
    rows: list[FocusRow], lines: list[LedgerLine], by: tuple[By, ...], window: bool, repeated: int
) -> None:
    invoice = Invoice(Matcher((GPT, FLEET, WEIGHTS)), since=MARCH if window else None, until=MARCH + timedelta(days=20) if window else None)
    for row in rows[:repeated]:
        invoice.repeat(row)
    for row in rows[repeated:]:
        invoice.add(row)
    for currency in ("USD", "EUR"):
        costs = [row.cost for row in rows if (row.billing_currency or "USD") == currency and row.cost is not None]
        assert sum((place.cost for each, place in invoice.places() if each == currency), D(0)) == sum(costs, D(0))
    assert sum(place.charges for _, place in invoice.places()) + invoice.without_cost == len(rows)
    assert invoice.unnamed == sum(1 for row in rows[repeated:] if row.billing_currency is None)
    groups = compare(invoice, lines, by, Tolerance())
    compared_cost = sum((found.amount.cost for found in invoice.days.values()), D(0)) + sum(
        (each.cost for each in invoice.unknown.values()), D(0)
    )
    assert sum((group.billed or D(0) for group in groups), D(0)) == compared_cost
    assert sum((group.booked or D(0) for group in groups), D(0)) == sum((line.cost or D(0) for line in lines), D(0))
    assert all(group.what for group in groups if group.status != "matched")


@pytest.mark.parametrize(
    ("quantity", "spoken"),
    [("1200000", "1.2 M"), ("35400", "35.4 k"), ("31.5", "31.5"), ("120", "120"), ("999999999999", "1,000 G"), ("0", "0")],
)
def test_quantities_as_they_are_spoken_of(quantity: str, spoken: str) -> None:
    assert amount(Decimal(quantity)) == spoken


@pytest.mark.parametrize(("usd", "spoken"), [("2.5", "2.50"), ("0.0625", "0.0625"), ("15", "15.00")])
def test_rates_as_they_are_spoken_of(usd: str, spoken: str) -> None:
    assert price(Decimal(usd)) == spoken
