"""When a fleet ran, read from a file of intervals or from a bill."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.bills.runs import read_runs
from penstock.domain.prices.config_price import PriceError
from penstock.domain.prices.hardware import Steps
from penstock.domain.prices.schedule import ALWAYS
from penstock.ports.bill_source import BillError

HOUR = 3_600 * 10**9
OCTOBER = 1_790_812_800 * 10**9
FOCUS = """\
BilledCost,EffectiveCost,ListCost,ContractedCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,\
ChargeCategory,ChargeDescription,ConsumedQuantity,ConsumedUnit,ServiceName,ServiceCategory,ProviderName,SkuPriceDetails
7.00,7.00,7.00,7.00,USD,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,\
Usage,g6e.xlarge hours,2,Hours,EC2,Compute,AWS,"{""InstanceType"": ""g6e.xlarge""}"
3.50,3.50,3.50,3.50,USD,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-01T01:00:00Z,2026-10-01T02:00:00Z,\
Usage,g6e.xlarge hours,1,Hours,EC2,Compute,AWS,"{""InstanceType"": ""g6e.xlarge""}"
9.99,9.99,9.99,9.99,USD,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-01T01:00:00Z,2026-10-01T02:00:00Z,\
Usage,p5.48xlarge hours,1,Hours,EC2,Compute,AWS,"{""InstanceType"": ""p5.48xlarge""}"
-1.00,-1.00,-1.00,-1.00,USD,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,\
Credit,g6e.xlarge credit,1,Hours,EC2,Compute,AWS,"{""InstanceType"": ""g6e.xlarge""}"
"""


def test_intervals_are_steps_and_overlaps_add_up(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("start,end,count\n2026-10-01T00:00:00Z,2026-10-01T02:00:00Z,2\n2026-10-01T01:00:00Z,,1\n")
    assert read_runs(file, None) == ((OCTOBER, 2), (OCTOBER + HOUR, 3), (OCTOBER + 2 * HOUR, 1))


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("start,end,count\n2026-10-01T00:00:00Z,2026-10-01T02:00:00Z,some\n")
    with pytest.raises(PriceError, match="row 2"):
        read_runs(file, None)


def test_a_bill_tells_when_instances_ran(tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    file.write_text(FOCUS)
    assert read_runs(file, "g6e.xlarge") == ((ALWAYS, None), (OCTOBER, 2), (OCTOBER + HOUR, 1), (OCTOBER + 2 * HOUR, None))
    assert read_runs(file, "g5.xlarge") is None, "unknown, not zero"


def test_a_bill_tells_as_much_as_it_reaches(tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    file.write_text(FOCUS)
    assert read_runs(file, "p5.48xlarge") == ((ALWAYS, None), (OCTOBER, 0), (OCTOBER + HOUR, 8), (OCTOBER + 2 * HOUR, None))
    other = FOCUS.splitlines()[-2]
    fee = other.replace("2026-10-01T01:00:00Z,2026-10-01T02:00:00Z", "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z")
    later = other.replace("T01:00:00Z", "T04:00:00Z").replace("T02:00:00Z", "T05:00:00Z")
    file.write_text(f"{FOCUS}{fee}\n{later}\n")
    assert read_runs(file, "g6e.xlarge") == (
        (ALWAYS, None), (OCTOBER, 2), (OCTOBER + HOUR, 1), (OCTOBER + 2 * HOUR, 0), (OCTOBER + 5 * HOUR, None)
    ), "no row of it, though the bill has come so far; a fee of the whole month does not say so"  # fmt: skip


def bill(file: Path, *rows: str) -> Path:
    """A bill of rows of (first hour, hour after the last one, instance, quantity, unit) of October."""
    head = "BilledCost,BillingCurrency,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,SkuMeter,ConsumedQuantity,ConsumedUnit"
    written = [head]
    for row in rows:
        first, end, rest = row.split(",", 2)
        times = [f"{datetime.fromtimestamp(OCTOBER // 10**9 + 3600 * int(hour), UTC):%Y-%m-%dT%H:%M:%SZ}" for hour in (first, end)]
        written.append(f"1,USD,{','.join(times)},Usage,{rest}")
    file.write_text("\n".join(written) + "\n")
    return file


def gpu_ns(steps: Steps | None) -> int:
    assert steps is not None
    return sum((after[0] - before[0]) * (before[1] or 0) for before, after in pairwise(steps))


@given(st.lists(st.tuples(st.integers(0, 5), st.decimals(0, 100, places=9)), min_size=1, max_size=12))
def test_the_hours_of_a_bill_stay_what_they_are(charges: list[tuple[int, Decimal]]) -> None:
    with TemporaryDirectory() as place:
        rows = [f"{24 * day},{24 * day + 24},BoxUsage:g6e.xlarge,{hours},Hrs" for day, hours in charges]
        steps = read_runs(bill(Path(place) / "bill.csv", *rows), "g6e.xlarge")
    total = sum(int(hours * HOUR) for _, hours in charges)
    assert (gpu_ns(steps) if steps is not None else 0) == total


def test_days_that_instances_ran_in_part(tmp_path: Path) -> None:
    day = bill(tmp_path / "bill.csv", "0,24,BoxUsage:g6e.xlarge,10,Hrs", "24,48,BoxUsage:g6e.xlarge,14,Hrs", "24,48,Spot:g6e.xlarge,20,Hrs")
    assert read_runs(day, "g6e.xlarge") == (
        (ALWAYS, None), (OCTOBER, 1), (OCTOBER + 10 * HOUR, 0), (OCTOBER + 24 * HOUR, 2), (OCTOBER + 34 * HOUR, 1),
        (OCTOBER + 48 * HOUR, None),
    )  # fmt: skip


def test_other_sizes_of_an_instance_are_other_instances(tmp_path: Path) -> None:
    both = bill(tmp_path / "bill.csv", "0,1,g2-standard-4,1,hour", "0,1,g2-standard-48,1,hour", "0,1,xg2-standard-4,1,hour")
    assert gpu_ns(read_runs(both, "g2-standard-4")) == HOUR
    assert gpu_ns(read_runs(both, "g2-standard-48")) == 4 * HOUR, "it holds four"


def test_only_hours_are_hours(tmp_path: Path) -> None:
    rows = ("0,1,EBS:g6e.12xlarge,500,GB-Mo", "0,1,EBSOptimized:g6e.12xlarge,1,Hrs", "0,1,BoxUsage:g6e.12xlarge,8,GPU-Hours")
    assert gpu_ns(read_runs(bill(tmp_path / "bill.csv", *rows), "g6e.12xlarge")) == 8 * HOUR
    assert read_runs(bill(tmp_path / "bill.csv", *rows[:2]), "g6e.12xlarge") is None, "unknown, not zero"


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ("0,1,gpu-box,1,Hrs", PriceError, "how many GPUs it holds is not known"),
        ("0,1,gpu-box,,GPU-Hours", PriceError, "does not say how many hours"),
        ("0,1,gpu-box,-2,GPU-Hours", PriceError, "come to -2 GPU-hours"),
        ("0,1,gpu-box,1,GPU-Hours,and more", BillError, "does not tell all hours: 1 row cannot be read: 9 fields instead of 8"),
    ],
)
def test_hours_that_cannot_be_known(tmp_path: Path, row: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_runs(bill(tmp_path / "bill.csv", "1,2,gpu-box,1,GPU-Hours", row), "gpu-box")


def test_a_file_without_intervals_tells_nothing(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("start,end,count\n")
    assert read_runs(file, None) is None
    file.write_text("start,end,count\n" + "9" * 2_000_000 + ",,1\n")
    with pytest.raises(PriceError, match="line 2 cannot be read"):
        read_runs(file, None)


def test_a_bill_needs_an_instance_to_look_for(tmp_path: Path) -> None:
    file = tmp_path / "focus.csv"
    file.write_text(FOCUS)
    with pytest.raises(PriceError, match=r"where\.instance"):
        read_runs(file, None)
