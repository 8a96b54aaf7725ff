"""What a charge meters and which line of the ledger it belongs to, however the bill spells it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from penstock.domain.bills.focus import FocusRow
from penstock.domain.bills.meters import CACHE_READ, CACHE_WRITE, GPU_HOURS, HOURS, INPUT, OUTPUT, TOKENS, hours_of, meter_of, quantity_of
from penstock.domain.bills.repeats import Repeats
from penstock.domain.bills.subjects import Matcher, Subject, cloud_of, gpus_of, is_ai, provider_of

GPT = Subject(kind="api", service="openai", model="large", names=("gpt-4o", "large"), provider="openai")
GPT_AZURE = Subject(kind="api", service="azure", model="large-eu", names=("gpt-4o",), provider="azure")
GPT4 = Subject(kind="api", service="openai", model="old", names=("gpt-4",), provider="openai")
CLAUDE = Subject(kind="api", service="bedrock", model="claude", names=("anthropic/claude-3.5-sonnet",), provider="aws")
LLAMA = Subject(kind="api", service="host", model="llama", names=("meta-llama/Llama-3.1-8B-Instruct",))
EAST = Subject(kind="fleet", service="g6e.xlarge", model="l40s", names=("g6e.xlarge",), region="us-east-1")
WEST = Subject(kind="fleet", service="g6e.xlarge", model="west", names=("g6e.xlarge",), region="us-west-2")
STORAGE = Subject(kind="other", service="Weights", model="weights", names=("weights", "Example Object Storage"))
EVERY = (GPT, GPT_AZURE, GPT4, CLAUDE, LLAMA, EAST, WEST, STORAGE)


@pytest.mark.parametrize(
    ("fields", "meter", "quantity"),
    [
        ({"sku_meter": "Input Tokens", "consumed_unit": "Tokens"}, INPUT, 12),
        ({"sku_meter": "Cache Read Input Tokens", "consumed_unit": "Tokens"}, CACHE_READ, 12),
        ({"sku_meter": "Cache Write Input Tokens", "consumed_unit": "1K Tokens"}, CACHE_WRITE, 12_000),
        ({"sku_meter": "gpt 4o 0806 cchd Inp glbl Tokens", "consumed_unit": "1M"}, CACHE_READ, 12_000_000),
        ({"charge_description": "Output tokens of x", "consumed_unit": "1000000 Tokens"}, OUTPUT, 12_000_000),
        ({"sku_meter": "Generated something", "consumed_unit": "Tokens"}, OUTPUT, 12),
        ({"sku_meter": "Model use", "consumed_unit": "Tokens"}, TOKENS, 12),
        ({"sku_price_details": {"TokenDirection": "Input", "TokenCacheAction": "Read"}, "consumed_unit": "Tokens"}, CACHE_READ, 12),
        ({"sku_price_details": {"x_TokenDirection": "Output"}, "consumed_unit": "Tokens"}, OUTPUT, 12),
        ({"sku_meter": "BoxUsage:g6e.xlarge", "consumed_unit": "Hrs"}, HOURS, 12),
        ({"sku_meter": "NC40ads", "consumed_unit": "10 Hours"}, HOURS, 120),
        ({"sku_meter": "rented", "consumed_unit": "GPU-Hours"}, GPU_HOURS, 12),
        ({"sku_meter": "GPU", "consumed_unit": "GPU Hours"}, GPU_HOURS, 12),
        ({"sku_meter": "Requests-Tier1", "consumed_unit": "Requests"}, None, 12),
        ({"sku_meter": "Storage", "consumed_unit": "GB-Months"}, None, 12),
    ],
)
def test_meters(fields: dict[str, Any], meter: str | None, quantity: int) -> None:
    row = FocusRow(consumed_quantity=Decimal(12), **fields)
    assert (meter_of(row), quantity_of(row)) == (meter, Decimal(quantity))


@pytest.mark.parametrize(
    ("fields", "hours"),
    [
        (
            {"consumed_quantity": Decimal(2), "consumed_unit": "Hrs", "pricing_quantity": Decimal(2), "pricing_unit": "Hrs"},
            (HOURS, Decimal(2)),
        ),
        (
            {"consumed_quantity": Decimal(9), "consumed_unit": "Tokens", "pricing_quantity": Decimal(2), "pricing_unit": "GPU-Hours"},
            (GPU_HOURS, Decimal(2)),
        ),
        ({"pricing_quantity": Decimal("2.4"), "pricing_unit": "10 Hours"}, (HOURS, Decimal(24))),
        ({"pricing_unit": "Hours"}, (HOURS, None)),
        ({"pricing_quantity": Decimal(2), "pricing_unit": "GB-Mo"}, None),
        ({"pricing_quantity": Decimal(2), "pricing_unit": "Hours", "commitment_discount_status": "Unused"}, None),
        ({"pricing_quantity": Decimal(2), "pricing_unit": "hour", "sku_meter": "A3 Instance Core running in Iowa"}, None),
        (
            {
                "pricing_quantity": Decimal(2),
                "pricing_unit": "hour",
                "sku_meter": "Nvidia H100 80GB GPU running",
                "provider_name": "Google Cloud",
            },
            (GPU_HOURS, Decimal(2)),
        ),
    ],
)
def test_hours_that_hardware_ran(fields: dict[str, Any], hours: tuple[str, Decimal | None] | None) -> None:
    assert hours_of(FocusRow(**fields)) == hours


def test_a_quantity_that_the_bill_does_not_tell_is_unknown() -> None:
    assert quantity_of(FocusRow(sku_meter="Input Tokens", consumed_unit="Tokens")) is None
    assert quantity_of(FocusRow(pricing_quantity=Decimal("1.5"), pricing_unit="1000000 Tokens")) == 1_500_000


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({"sku_price_details": {"ModelId": "gpt-4o-2024-08-06"}, "provider_name": "OpenAI"}, GPT),
        ({"sku_price_details": {"ModelId": "gpt-4o-mini"}, "provider_name": "OpenAI"}, None),
        ({"sku_price_details": {"ModelId": "gpt-4.1"}, "provider_name": "OpenAI"}, None),
        ({"sku_price_details": {"ModelId": "gpt-4-0613"}, "provider_name": "OpenAI"}, GPT4),
        ({"sku_price_details": {"x_ModelId": "large"}, "provider_name": "OpenAI"}, GPT),
        ({"x": {"x_model": "GPT-4o"}, "provider_name": "OpenAI"}, GPT),
        ({"sku_meter": "gpt 4o 0806 Input global Tokens", "provider_name": "Microsoft", "service_name": "Azure OpenAI"}, GPT_AZURE),
        ({"sku_meter": "gpt 4o mini 0718 Input Tokens", "provider_name": "Microsoft"}, None),
        ({"charge_description": "Input tokens of gpt-4o", "provider_name": "OpenAI"}, GPT),
        ({"charge_description": "Input tokens of gpt-4o"}, None),  # two upstreams have it, and nobody says which bills
        ({"charge_description": "large objects", "provider_name": "OpenAI"}, None),
        ({"sku_price_details": {"ModelId": "us.anthropic.claude-3-5-sonnet-20240620-v1:0"}, "provider_name": "AWS"}, CLAUDE),
        ({"charge_description": "Claude 3.5 Sonnet input tokens", "provider_name": "AWS"}, CLAUDE),
        ({"charge_description": "Claude 3.5 Sonnet input tokens", "provider_name": "Anthropic"}, None),
        ({"sku_meter": "llama-3.1-8b-instruct output", "provider_name": "A host"}, LLAMA),
        ({"sku_meter": "llama-3.1-70b-instruct output", "provider_name": "A host"}, None),
        ({"sku_meter": "USE1-BoxUsage:g6e.xlarge", "region_id": "us-east-1"}, EAST),
        ({"sku_price_details": {"InstanceType": "g6e.xlarge"}, "region_id": "us-west-2"}, WEST),
        ({"sku_meter": "BoxUsage:g6e.xlarge"}, None),  # either
        ({"sku_meter": "BoxUsage:g6e.xlarge", "region_id": "eu-west-1"}, None),
        ({"sku_meter": "BoxUsage:g6e.xlarge.other", "region_id": "us-east-1"}, EAST),
        ({"sku_meter": "BoxUsage:xg6e.xlarge", "region_id": "us-east-1"}, None),
        ({"service_name": "example object storage"}, STORAGE),
        ({"service_name": "Amazon Simple Storage Service"}, None),
    ],
)
def test_whose_charge_it_is(fields: dict[str, Any], subject: Subject | None) -> None:
    matcher = Matcher(EVERY)
    row = FocusRow(**fields)
    assert matcher.subject_of(row) == subject
    assert matcher.subject_of(row) == subject, "the same when it is remembered"


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("OpenAI, LLC", "openai"),
        ("Amazon Web Services, Inc.", "aws"),
        ("https://api.anthropic.com", "anthropic"),
        ("Acme", None),
        (None, None),
    ],
)
def test_providers_by_the_names_on_bills(name: str | None, provider: str | None) -> None:
    assert provider_of(name) == provider


@pytest.mark.parametrize(
    ("instance", "gpus", "cloud"),
    [
        ("g6e.xlarge", 1, "aws"), ("g6e.12xlarge", 4, "aws"), ("p5.48xlarge", 8, "aws"), ("Standard_ND96isr_H100_v5", 8, "azure"),
        ("Standard_NC80adis_H100_v5", 2, "azure"), ("a3-highgpu-8g", 8, "google"), ("gpu-box", None, None), ("H100", None, None),
        ("g2-standard-4", 1, "google"), ("g2-standard-48", 4, "google"), ("p3.8xlarge", 4, "aws"), ("g4dn.12xlarge", 4, "aws"),
    ],
)  # fmt: skip
def test_instances_by_their_names(instance: str, gpus: int | None, cloud: str | None) -> None:
    assert (gpus_of(instance), cloud_of(instance)) == (gpus, cloud)


@pytest.mark.parametrize(
    ("fields", "ai"),
    [
        ({"service_category": "AI and Machine Learning"}, True),
        ({"service_name": "Amazon Bedrock"}, True),
        ({"sku_meter": "BoxUsage:p5.48xlarge"}, True),
        ({"charge_description": "Nvidia H100 80GB GPU running in Iowa"}, True),
        ({"service_name": "Amazon Simple Storage Service", "sku_meter": "Requests-Tier1"}, False),
        ({"sku_meter": "BoxUsage:m5.large"}, False),
    ],
)
def test_what_the_ledger_should_know_of(fields: dict[str, Any], ai: bool) -> None:
    assert is_ai(FocusRow(**fields)) is ai


def test_repeats_are_between_files_never_within_one() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    one = FocusRow(billed_cost=Decimal(1), charge_period_start=start, tags={"a": "1", "b": "2"})
    other = FocusRow(billed_cost=Decimal("1.0"), charge_period_start=start, tags={"b": "2", "a": "1"})
    third = FocusRow(billed_cost=Decimal(2), charge_period_start=start)
    repeats = Repeats()
    assert [repeats.is_repeat(row) for row in (one, other, third)] == [False, False, False]
    repeats.next_file()
    assert [repeats.is_repeat(row) for row in (other, third, one, one)] == [True, True, True, False], "the third alike is new"
    repeats.next_file()
    assert [repeats.is_repeat(row) for row in (one, one, one, one)] == [True, True, True, False]
