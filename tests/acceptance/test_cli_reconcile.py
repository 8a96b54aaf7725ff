"""`penstock reconcile` as finance meets it: bills of an API and of a cloud beside the ledger, their faults, and the exit codes."""

import csv
import gzip
import io
import json
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.bootstrap import open_store
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock

BILLS = Path(__file__).parents[1] / "golden" / "bills"
CONFIG = """
version = 1
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
[upstreams.anthropic]
kind = "anthropic"
base_urls = ["https://api.anthropic.com"]
[upstreams.local]
kind = "simulated"
[fleets.l40s]
upstream = "local"
gpu = "L40S"
price = "0.79 USD/gpu-hour"
where = { instance = "g6e.xlarge", region = "us-east-1" }
[models.large]
upstream = "openai"
name = "gpt-4o"
[models.mini]
upstream = "openai"
name = "gpt-4o-mini"
[models.claude]
upstream = "anthropic"
name = "claude-sonnet-4-5"
[models.small]
upstream = "local"
"""
DAY_NS = 86_400 * 10**9
MARCH_NS = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**9


def record(id: str, day: int, model: str, upstream: str, cost_usd: str, tokens: Tokens) -> UsageRecord:
    return UsageRecord(
        id=id, admitted_ns=MARCH_NS + (day - 1) * DAY_NS, endpoint="chat.completions", status=200, outcome="ok", model=model,
        upstream=upstream, cost=int(Decimal(cost_usd) * 10**9), tokens=tokens,
    )  # fmt: skip


RECORDS = [
    record("a", 1, "large", "openai", "4.50", Tokens(1_000_000, 0, 0, 150_000, 50_000)),
    record("b", 2, "large", "openai", "4.50", Tokens(1_000_000, 0, 0, 200_000, 0)),
    record("c", 3, "large", "openai", "4.50", Tokens(1_000_000, 0, 0, 200_000, 0)),
    record("d", 1, "mini", "openai", "0.60", Tokens(4_000_000, 0, 0, 0, 0)),
    record("e", 2, "claude", "anthropic", "0.30", Tokens(100_000, 0, 0, 0, 0)),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a config and a ledger of March 2026."""
    file = tmp_path / "penstock.toml"
    file.write_text(CONFIG)
    with closing(open_store(load(file, {}))) as store:
        store.take_in(Intake(RECORDS, [], [], {}))
    return tmp_path


def reconciled(place: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = penstock("reconcile", *arguments, "--json", cwd=place)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def by_key(shown: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["service"], row["model"], row["day"]): row for row in shown["rows"]}


def test_an_api_bill_line_by_line(place: Path) -> None:
    code, shown = reconciled(place, str(BILLS / "focus_tokens.csv"), "--since", "2026-03-01", "--until", "2026-03-04")
    assert (code, shown["equal"], shown["complete"]) == (3, False, True)
    rows = by_key(shown)
    assert rows["openai", "large", "2026-03-01"]["status"] == "matched"
    assert rows["openai", "mini", "2026-03-01"]["status"] == "matched"
    more = rows["openai", "large", "2026-03-02"]
    assert (more["status"], more["billed_usd"], more["booked_usd"]) == ("quantity differs", "7.50", "4.50")
    assert "1.2 M input tokens more than metered: traffic that bypasses the gateway" in more["what"]
    cheaper = rows["openai", "large", "2026-03-03"]
    assert cheaper["status"] == "rate differs"
    assert "same tokens, rate 1.88 instead of 3.75 USD per million tokens: half the price" in cheaper["what"]
    unheard = rows["OpenAI API", "o9-unheard", "2026-03-02"]
    assert (unheard["status"], unheard["billed_usd"], unheard["booked_usd"]) == ("missing", "3.00", None)
    assert len(rows) == 5
    assert shown["elsewhere"] == [{"service": "anthropic", "booked_usd": "0.30"}, {"service": "g6e.xlarge", "booked_usd": "56.88"}]
    assert shown["outside"] == [{"currency": "USD", "charges": 1, "cost": "1.90"}], "the tax of the 30th"


def test_what_is_on_no_bill_is_extra(place: Path) -> None:
    window = ("--since", "2026-03-01", "--until", "2026-03-04")
    _, shown = reconciled(place, str(BILLS / "focus_tokens.csv"), *window, "--all")
    rows = by_key(shown)
    unbilled = rows["anthropic", "claude", "2026-03-02"]
    assert (unbilled["status"], unbilled["billed_usd"], unbilled["booked_usd"]) == ("extra", None, "0.30")
    gpus = rows["g6e.xlarge", "l40s", "2026-03-01"]
    assert (gpus["status"], gpus["booked_usd"]) == ("extra", "18.96")
    lines = (BILLS / "focus_tokens.csv").read_text().splitlines()
    (place / "some.csv").write_text("\n".join(line for line in lines if "gpt-4o-mini" not in line))
    _, shown = reconciled(place, "some.csv", *window)
    assert by_key(shown)["openai", "mini", "2026-03-01"]["status"] == "extra", "its provider is on the bill"


def test_every_dollar_of_a_bill_is_told(place: Path) -> None:
    _, shown = reconciled(place, str(BILLS / "cur_legacy.csv"), str(BILLS / "focus_tokens.csv"))
    compared = Decimal(shown["total"]["billed_usd"])
    told = [Decimal(part["cost_usd"]) for place in ("apart", "beyond") for part in shown[place]]
    told += [Decimal(part["cost"]) for place in ("outside", "repeated") for part in shown[place]]
    assert compared + sum(told) == sum(Decimal(file["totals"]["USD"]["effective"]) for file in shown["files"])
    assert {(part["kind"], part["service"]) for part in shown["apart"]} >= {
        ("tax", "OpenAI API"),
        ("credits", "Amazon Elastic Compute Cloud"),
    }
    assert [part["service"] for part in shown["beyond"]] == ["Amazon Simple Storage Service"]


def test_the_hours_of_a_fleet(place: Path) -> None:
    lines = (BILLS / "cur_legacy.csv").read_text().splitlines()
    first_hour = lines[1].replace("2026-03-01T01:00:00Z", "2026-03-02T00:00:00Z").replace(",1.0,USD,0.79,0.79,", ",24.0,USD,0.79,18.96,")
    (place / "day.csv").write_text("\n".join([lines[0], first_hour]))
    code, shown = reconciled(place, "day.csv", "--since", "2026-03-01", "--until", "2026-03-02", "--by", "service")
    rows = {row["service"]: row for row in shown["rows"]}
    assert rows["g6e.xlarge"]["status"] == "matched"
    assert rows["g6e.xlarge"]["quantities"]["GPU-Hours"] == {"billed": "24.00", "booked": "24.00"}
    assert code == 0, "the API is on another bill"
    assert {part["service"] for part in shown["elsewhere"]} == {"openai"}


def test_a_bill_that_agrees_is_exit_0(place: Path) -> None:
    lines = (BILLS / "focus_tokens.csv").read_text().splitlines()
    (place / "penstock.toml").write_text(CONFIG.replace("[fleets.l40s]", "[fleets.l40s]\ncount = 0"))
    (place / "large.csv").write_text("\n".join(lines[:3]))
    first_day = ("--since", "2026-03-01", "--until", "2026-03-02")
    done = penstock("reconcile", "large.csv", *first_day, cwd=place)
    assert done.returncode == 3, "the other model is not on the bill"
    done = penstock("reconcile", "large.csv", *first_day, "--tolerance", "0.61 USD", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    (place / "both.csv").write_text("\n".join([*lines[:3], lines[7]]))
    done = penstock("reconcile", "both.csv", *first_day, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "billed 5.10 USD, booked 5.10 USD (0.00): agrees" in done.stdout
    assert "2 lines agree: 5.10 USD" in done.stdout


def test_one_export_twice_counts_once(place: Path) -> None:
    name, window = str(BILLS / "focus_tokens.csv"), ("--since", "2026-03-01", "--until", "2026-03-04")
    (place / "again.csv.gz").write_bytes(gzip.compress((BILLS / "focus_tokens.csv").read_bytes()))
    _, once = reconciled(place, name, *window)
    _, twice = reconciled(place, name, "again.csv.gz", *window)
    assert twice["rows"] == once["rows"]
    assert twice["repeated"] == [{"currency": "USD", "charges": 9, "cost": "19.75"}]


def test_faults_are_told_row_by_row_and_make_it_incomplete(place: Path) -> None:
    done = penstock("reconcile", str(BILLS / "focus_faults.csv"), cwd=place)
    assert done.returncode == 4
    assert "6 of 11 rows read, 6 charges" in done.stderr
    assert "refused 1: BilledCost is no number, rows 9" in done.stderr
    assert "refused 1: 31 fields instead of 30, rows 11" in done.stderr
    assert "refused 1: cut off: the file ends within this row, rows 14" in done.stderr
    assert "put aside 1: totals row" in done.stderr
    assert "left out: Id" in done.stderr
    assert "in CAD, never added to USD: 7.12 (1 charge)" in done.stdout
    assert done.stdout.startswith("incomplete: 4 rows were refused\n")
    assert "warning: the comparison is incomplete: 4 rows were refused" in done.stderr


def test_csv_has_a_line_per_group(place: Path) -> None:
    done = penstock("reconcile", str(BILLS / "focus_tokens.csv"), "--by", "model", "--csv", "--quiet", cwd=place)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert (done.returncode, done.stderr) == (3, "")
    assert list(rows[0]) == ["model", "status", "billed_usd", "booked_usd", "difference_usd", "charges", "what"]
    assert {row["model"]: row["status"] for row in rows}["mini"] == "matched"


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        (None, [], 1, "no such file"),
        ("", [], 1, "bill.csv is empty"),
        ("name,colour\nx,red\n", [], 1, "has no header that is known"),
        ("Tags,Quantity\nx,1\n", [], 1, "are those of no known bill"),
        ('{"a": 1}', [], 1, "are those of no known bill"),
        ("BilledCost,ChargePeriodStart\n1,2026-03-01T00:00:00Z\n", ["--by", "team"], 2, "`--by team` is not a key of a bill"),
        ("BilledCost,ChargePeriodStart\n1,2026-03-01T00:00:00Z\n", ["--tolerance", "little"], 2, "is not a tolerance"),
        ("BilledCost,ChargePeriodStart\n1,2026-03-01T00:00:00Z\n", ["--cost", "list"], 2, "`--cost list` is not known"),
        ("BilledCost,ChargePeriodStart\n1,2026-03-01T00:00:00Z\n", ["--format", "sap"], 2, "`--format sap` is not known"),
        ("BilledCost,ChargePeriodStart\n1,2026-03-01T00:00:00Z\n", ["--format", "azure"], 1, "the columns are not those of `azure`"),
        ("PAR1 and then nothing", [], 1, "is not a whole Parquet file"),
        ("BilledCost,BillingCurrency,ChargePeriodStart\n1,EUR,2026-03-01T00:00:00Z\n", [], 4, "the bill is in EUR, the ledger in USD"),
        ("BilledCost,ServiceName,ChargePeriodStart\n1,Storage,2026-03-01T00:00:00Z\n", [], 4, "nothing could be compared"),
    ],
)
def test_what_cannot_be_compared(place: Path, content: str | None, arguments: list[str], code: int, message: str) -> None:
    if content is not None:
        (place / "bill.csv").write_text(content)
    done = penstock("reconcile", "bill.csv", *arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr


def test_our_own_bill_agrees_with_our_own_ledger(place: Path) -> None:
    assert penstock("bill", "2026-03", "--format", "focus", "--output", "own.csv", cwd=place).returncode == 0
    code, shown = reconciled(place, "own.csv", "--by", "service,model")
    [file] = shown["files"]
    assert (code, file["format"], file["repaired"], file["refused"]["rows"]) == (0, "FOCUS 1.4", [], 0)
    bill = json.loads(penstock("bill", "2026-03", "--json", cwd=place).stdout)
    assert Decimal(file["totals"]["USD"]["billed"]) == Decimal(bill["total_usd"])
