"""How fast a bill is read, and in how much memory: a generated FOCUS file, our reader against Python's bare csv module and DuckDB.

Each reader runs in a process of its own over the same file, in the same run. Ours makes exact decimals, times and nulls of every cell and
keeps the account; `csv` only cuts the text into fields; DuckDB sums the one column of cost on all cores.
`python -m bench.bills [--json] [--full | --mb N]`; `--full` takes 1 GB.
"""

import argparse
import importlib.util
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.rig import machine

FULL_MB, QUICK_MB = 1000, 100
GOAL_ROWS_PER_S = 60_000
MONTH = datetime(2026, 10, 1, tzinfo=UTC)
METERS = ("Input Tokens", "Output Tokens", "Cache Read Input Tokens", "Cache Write Input Tokens")
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "claude-haiku-4", "llama-3.1-70b")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--full", action="store_true", help=f"a file of {FULL_MB} MB")
    parser.add_argument("--mb", type=int, help=f"megabytes of the file (default {QUICK_MB})")
    parser.add_argument("--read", choices=sorted(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(timed(options.read, options.file)))
        return
    result = measure(options.mb or (FULL_MB if options.full else QUICK_MB))
    print(json.dumps(result, indent=2) if options.json else report(result))


def measure(megabytes: int) -> dict[str, Any]:
    names = ["penstock", "csv"] + (["duckdb"] if importlib.util.find_spec("duckdb") else [])
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        file = Path(scratch) / "focus.csv"
        rows = generate(file, megabytes)
        readers = {name: in_own_process(name, file) for name in names}
        size = file.stat().st_size
    assert readers["penstock"]["rows"] == rows == readers["csv"]["rows"], (rows, readers)
    ours = readers["penstock"]
    return {
        "machine": machine(),
        "bytes": size,
        "rows": rows,
        "goal_rows_per_s": GOAL_ROWS_PER_S,
        "readers": readers,
        "time_over_csv": ours["seconds"] / readers["csv"]["seconds"],
        "time_over_duckdb": ours["seconds"] / readers["duckdb"]["seconds"] if "duckdb" in readers else None,
    }


def in_own_process(name: str, file: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.bills", "--read", name, "--file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def timed(name: str, file: Path) -> dict[str, Any]:
    began = time.perf_counter()
    rows, total = READERS[name](file)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, "billed": total, "seconds": took, "rows_per_s": rows / took, "peak_mb": peak}


def read_by_us(file: Path) -> tuple[int, str]:
    from penstock.adapters.bills.reading import Bill

    bill = Bill(file)
    rows = sum(1 for _ in bill.rows())
    return rows, str(bill.report.totals["USD"].billed)


def read_by_csv(file: Path) -> tuple[int, str]:
    import csv

    with file.open(newline="", encoding="utf-8") as text:
        return sum(1 for _ in csv.reader(text)) - 1, ""


def read_by_duckdb(file: Path) -> tuple[int, str]:
    import duckdb

    query = f"SELECT count(*), sum(BilledCost::DECIMAL(38, 12)) FROM read_csv('{file}', all_varchar = true)"
    found = duckdb.connect().execute(query).fetchone()
    assert found is not None
    return int(found[0]), str(found[1])


READERS = {"penstock": read_by_us, "csv": read_by_csv, "duckdb": read_by_duckdb}


def generate(file: Path, megabytes: int) -> int:
    """A FOCUS 1.2 file of about that size, as a cloud writes it: many columns, few values in most of them. Returns its rows."""
    import csv

    from penstock.domain.bills.focus import header, record
    from penstock.domain.bills.focus_columns import emitted

    dice, columns, rows = random.Random(7), emitted("1.2"), 0
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(header(columns, ["x_Operation"]))
        while text.tell() < megabytes * 10**6:
            block = [charge(dice, rows + at) for at in range(500)]
            writer.writerows(record(row, columns, ["x_Operation"]) for row in block)
            rows += len(block)
    return rows


def charge(dice: random.Random, number: int) -> Any:
    from penstock.domain.bills.focus import FocusRow

    start = MONTH + timedelta(hours=number % 744)
    tokens, price = Decimal(dice.randrange(1_000, 5_000_000)), Decimal(dice.choice(("2.5", "10", "0.15", "3", "15")))
    quantity = tokens / 1_000_000
    cost, model, meter = quantity * price, dice.choice(MODELS), dice.choice(METERS)
    team = dice.choice(("support", "search", "billing", "labs"))
    return FocusRow(
        billed_cost=cost, effective_cost=cost, list_cost=cost, contracted_cost=cost, list_unit_price=price, contracted_unit_price=price,
        billing_account_id="acct-0017", billing_account_name="Example GmbH", billing_currency="USD",
        billing_period_start=MONTH, billing_period_end=datetime(2026, 11, 1, tzinfo=UTC),
        charge_category="Usage", charge_description=f"{meter} of {model}", charge_frequency="Usage-Based",
        charge_period_start=start, charge_period_end=start + timedelta(hours=1),
        consumed_quantity=tokens, consumed_unit="Tokens", pricing_quantity=quantity, pricing_unit="1000000 Tokens",
        pricing_category="Standard", invoice_issuer_name="Example AI", provider_name="Example AI", publisher_name="Example AI",
        region_id="us-east-1", region_name="US East", resource_id=f"arn:example:model/{model}/{dice.randrange(10**9):09d}",
        resource_type="Model", service_category="AI and Machine Learning", service_subcategory="Generative AI",
        service_name="Example Inference", sku_id=f"SKU-{model}", sku_meter=meter, sku_price_id=f"SKU-{model}-{meter}",
        sku_price_details={"x_ModelId": model}, sub_account_id=f"sub-{dice.randrange(40)}", sub_account_name="Production",
        tags={"team": team, "feature": dice.choice(("chat", "summaries", "search"))}, x={"x_Operation": "InvokeModel"},
    )  # fmt: skip


def report(result: dict[str, Any]) -> str:
    lines = [f"{result['machine']}; {result['rows']:,} rows, {result['bytes'] / 10**6:,.0f} MB"]
    for name, figures in result["readers"].items():
        lines.append(f"{name:<10} {figures['rows_per_s']:12,.0f} rows/s   {figures['seconds']:7.1f} s   peak {figures['peak_mb']:6.0f} MB")
    lines.append(f"ours takes {result['time_over_csv']:.1f} x the time of the bare csv module; goal {GOAL_ROWS_PER_S:,} rows/s")
    if result["time_over_duckdb"] is not None:
        lines.append(f"and {result['time_over_duckdb']:.1f} x that of DuckDB, which sums one column on {os.cpu_count()} cores")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
