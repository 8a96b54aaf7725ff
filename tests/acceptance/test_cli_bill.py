"""`penstock bill` and `penstock close` as finance meets them: drafts, every format, a frozen month, what arrives later."""

import csv
import io
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock.bootstrap import open_store
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock

CONFIG = """
version = 1
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
provider = "openai"
[upstreams.local]
kind = "simulated"
[fleets.l40s]
upstream = "local"
gpu = "L40S"
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 1000
[fleets.term]
gpu = "H100"
count = 2
price = "2.95 USD/gpu-hour"
commitment = { kind = "reserved", term = "1y", hourly = "1.99", count = 3 }
[costs.weights]
price = "12 USD/month"
[models.large]
upstream = "openai"
name = "gpt-4o"
[models.small]
upstream = "local"
[bill]
by = ["team", "feature"]
idle = "{idle}"
account = "acme"
"""
HOUR_NS = 3_600 * 10**9


class Month(NamedTuple):
    """A calendar month in UTC."""

    name: str
    last_day_ns: int
    """a day before its end: the ledger begins there, so that few hours have to be allocated"""


def month_before(moment: datetime) -> Month:
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    day = first - timedelta(days=1)
    return Month(f"{day:%Y-%m}", int(day.timestamp()) * 10**9)


LAST = month_before(datetime.now(UTC))
THIS = f"{datetime.now(UTC):%Y-%m}"


def record(id: str, hours: int = 1, **fields: Any) -> UsageRecord:
    """A priced answer of the API, some hours into the last day of last month."""
    given: dict[str, Any] = {
        "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "large", "upstream": "openai", "cost": 30_000_001,
        "tokens": Tokens(1000, 500, 0, 2000, 300), "tags": {"team": "search", "feature": "chat"}, "duration_us": 2_000_000,
    }  # fmt: skip
    return UsageRecord(id=id, admitted_ns=LAST.last_day_ns + hours * HOUR_NS, **given | fields)


def served(id: str, hours: int, **fields: Any) -> UsageRecord:
    return record(id, hours, **{"model": "small", "upstream": "local", "fleet": "l40s", "cost": 4_321} | fields)


RECORDS = [
    record("a"),
    record("b", 2, tags={"team": "support"}, cost=7),
    record("c", 3, tags={}, cost=11),
    served("d", 2),
    served("e", 2, tags={"team": "support", "feature": "answers"}),
    served("f", 5, outcome="error", status=500),
]


class Ledger:
    """A directory with a config and a store."""

    def __init__(self, directory: Path, idle: str = "separate") -> None:
        self.directory = directory
        self.config = directory / "penstock.toml"
        self.config.write_text(CONFIG.replace("{idle}", idle))

    def take_in(self, *records: UsageRecord) -> None:
        with closing(open_store(load(self.config, {}))) as store:
            store.take_in(Intake(records, (), (), {}))

    def run(self, *arguments: str, code: int = 0) -> str:
        done = penstock(*arguments, cwd=self.directory)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        self.said = done.stderr
        return done.stdout

    def bill(self, *arguments: str, month: str = LAST.name) -> Any:
        return json.loads(self.run("bill", month, "--json", *arguments))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    made.take_in(*RECORDS)
    return made


def total(cells: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in cells), Decimal(0))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("idle", ["separate", "proportional", "even"])
def test_every_format_comes_to_the_same_total(ledger: Ledger, idle: str) -> None:
    ledger.run("close", LAST.name, "--dry-run", "--allow-unknown")
    drafted = ledger.bill("--idle", idle)
    whole = Decimal(drafted["total_usd"])
    assert whole > 0
    assert sum(Decimal(line["usd"]) for line in drafted["lines"]) == whole
    assert total(table(ledger.run("bill", LAST.name, "--format", "csv", "--idle", idle)), "total_usd") == whole
    for version in ("1.4", "1.2"):
        rows = table(ledger.run("bill", LAST.name, "--format", "focus", "--focus-version", version, "--idle", idle))
        assert total(rows, "BilledCost") == total(rows, "EffectiveCost") == whole
    assert str(whole) in ledger.run("bill", LAST.name, "--format", "html", "--idle", idle)
    assert f"draft bill of {LAST.name}: {whole} USD" in ledger.run("bill", LAST.name, "--idle", idle)


def test_the_bill_is_the_ledger_with_idle_and_unused_commitment(ledger: Ledger) -> None:
    """One day of one L40S, of three committed H100s of which two ran, and of storage; and what the provider billed."""
    drafted = ledger.bill()
    lines = {line["line"]: Decimal(line["usd"]) for line in drafted["lines"]}
    hours = 23  # the ledger begins an hour into the day
    assert lines["api"] == Decimal("0.030000001") + Decimal("0.000000018")
    assert lines["gpu_work"] + lines["gpu_waste"] + lines["idle"] == hours * (Decimal("0.79") + 2 * Decimal("1.99"))
    assert lines["unused_commitment"] == hours * Decimal("1.99")
    assert lines["gpu_waste"] > 0
    keys = [tuple(each["keys"]) for each in drafted["bearers"]]
    assert {("search", "chat"), ("support", None), (None, None), ("support", "answers")} == set(keys)


def test_focus_tells_kinds_of_tokens_and_shares_of_gpus(ledger: Ledger) -> None:
    rows = table(ledger.run("bill", LAST.name, "--format", "focus"))
    by_provider = [row for row in rows if row["ServiceProviderName"] == "openai" and json.loads(row["Tags"] or "{}").get("feature")]
    assert {row["SkuMeter"]: row["ConsumedQuantity"] for row in by_provider} == {
        "Input Tokens": "1000", "Cache Read Input Tokens": "500", "Output Tokens": "2300"
    }  # fmt: skip
    assert {json.loads(row["SkuPriceDetails"])["x_ModelId"] for row in by_provider} == {"gpt-4o"}
    own = [row for row in rows if row["ResourceId"] == "l40s"]
    ratios = [json.loads(row["AllocatedMethodDetails"])["Elements"][0]["AllocatedRatio"] for row in own]
    assert sum(Decimal(str(ratio)) for ratio in ratios) == 1
    assert "team=search/feature=chat/model=small" in {row["AllocatedResourceId"] for row in own}
    [unused] = [row for row in rows if row["CommitmentDiscountStatus"] == "Unused"]
    assert (unused["ResourceId"], unused["ConsumedQuantity"], unused["PricingCategory"]) == ("term", "", "Committed")


def test_our_own_reader_reads_it_back(ledger: Ledger) -> None:
    from penstock.adapters.bills.reading import Bill

    whole = Decimal(ledger.bill()["total_usd"])
    for version in ("1.4", "1.2"):
        file = ledger.directory / f"focus-{version}.csv"
        ledger.run("bill", LAST.name, "--format", "focus", "--focus-version", version, "--output", str(file))
        read = Bill(file)
        rows = list(read.rows())
        assert (read.report.refused, read.report.repaired, read.report.complete) == (0, [], True)
        assert read.report.totals["USD"].billed == read.report.totals["USD"].effective == whole
        assert sum((row.billed_cost or Decimal(0) for row in rows), Decimal(0)) == whole


def test_a_month_is_closed_once_and_stays_as_it_was(ledger: Ledger) -> None:
    drafted = ledger.bill()
    closed = json.loads(ledger.run("close", LAST.name, "--yes", "--allow-unknown", "--json"))
    assert (closed["closed"], closed["number"], closed["total_usd"]) == (True, 1, drafted["total_usd"])
    assert "allocated" in ledger.said
    frozen = ledger.run("bill", LAST.name, "--format", "json")
    again = json.loads(ledger.run("close", LAST.name, "--yes", "--json"))
    assert again == closed
    assert "is closed already" in ledger.said
    ledger.take_in(record("late", 9, cost=500))
    assert ledger.run("bill", LAST.name, "--format", "json") == frozen
    assert json.loads(frozen)["inputs_sha256"] == closed["inputs_sha256"]
    assert f"bill 1 of {LAST.name}, closed" in ledger.run("bill", LAST.name)
    assert "bill 1, frozen" in ledger.run("bill", LAST.name, "--format", "html")
    ledger.run("bill", LAST.name, "--by", "model", code=2)
    assert "is closed: bill 1 is split by team, feature" in ledger.said
    [entry] = json.loads(ledger.run("audit", "--json"))["entries"]
    assert (entry["action"], entry["subject"], entry["details"]["total_usd"]) == ("month.close", LAST.name, closed["total_usd"])


def test_what_arrives_late_is_a_correction_of_the_next_month(ledger: Ledger) -> None:
    ledger.run("close", LAST.name, "--yes", "--allow-unknown")
    ledger.take_in(record("late", 9, cost=500))
    following = ledger.bill(month=THIS)
    assert [(each["month"], each["line"], each["usd"], each["keys"]) for each in following["corrections"]] == [
        (LAST.name, "api", "0.000000500", {"team": "search", "feature": "chat"})
    ]
    [row] = [row for row in table(ledger.run("bill", THIS, "--format", "focus")) if row["ChargeClass"] == "Correction"]
    assert (row["BilledCost"], row["ChargePeriodStart"]) == ("0.000000500", f"{LAST.name}-01T00:00:00Z")


def test_a_dry_run_writes_nothing(ledger: Ledger) -> None:
    told = ledger.run("close", LAST.name, "--dry-run", "--allow-unknown")
    assert f"would close {LAST.name} as bill 1" in told
    assert "would first allocate" in ledger.said
    assert ledger.bill()["number"] is None


def test_without_a_terminal_a_close_needs_yes(ledger: Ledger) -> None:
    ledger.run("close", LAST.name, "--allow-unknown", code=2)
    assert "pass --yes" in ledger.said
    assert ledger.bill()["number"] is None


def test_a_month_that_runs_is_not_closed(ledger: Ledger) -> None:
    ledger.run("close", THIS, "--yes", code=3)
    assert f"{THIS} cannot be closed: {THIS} is not over" in ledger.said
    assert "hint:" in ledger.said


def test_what_nobody_knows_stands_in_the_way_until_it_is_allowed(ledger: Ledger) -> None:
    ledger.take_in(record("free?", 4, cost=None, cost_basis="unknown"))
    ledger.run("close", LAST.name, "--yes", code=3)
    assert "not known: 1 request has no price" in ledger.said
    assert "not in the bill" in (ledger.run("bill", LAST.name), ledger.said)[1]
    ledger.run("close", LAST.name, "--yes", "--allow-unknown")
    assert "1 request has no price" in ledger.bill()["unknown"]
    assert "Not in this bill, because nobody knows it" in ledger.run("bill", LAST.name, "--format", "html")


def test_a_month_that_the_ledger_does_not_reach_back_to_says_so_and_is_not_closed_unasked(ledger: Ledger) -> None:
    """The ledger begins an hour into the last day of the month."""
    last = datetime.fromtimestamp(LAST.last_day_ns / 10**9, UTC)
    told = f"covers {last:%-d %B %Y} alone: the ledger begins on {last:%-d %B} at 01:00"
    assert ledger.run("bill", LAST.name).splitlines()[1] == told
    assert f"This bill {told}." in ledger.run("bill", LAST.name, "--format", "html")
    ledger.run("close", LAST.name, "--yes", code=3)
    assert f"{LAST.name} cannot be closed: its bill {told}" in ledger.said
    assert "--allow-unknown" in ledger.said
    ledger.run("close", LAST.name, "--yes", "--allow-unknown")
    assert f"warning: the bill {told}" in ledger.said
    assert ledger.run("bill", LAST.name).splitlines()[1] == told


def test_a_month_before_the_ledger_is_never_closed(ledger: Ledger) -> None:
    before = month_before(datetime.fromtimestamp(LAST.last_day_ns / 10**9, UTC)).name
    ledger.run("close", before, "--yes", "--allow-unknown", code=3)
    assert f"nothing of {before} or before is on record" in ledger.said


def test_another_zone_after_a_close_is_refused(ledger: Ledger) -> None:
    ledger.run("close", LAST.name, "--yes", "--allow-unknown")
    ledger.config.write_text(ledger.config.read_text() + '[server]\ntimezone = "Asia/Tokyo"\n')
    ledger.run("bill", THIS, code=1)
    assert f"{LAST.name} was closed in UTC" in ledger.said
    assert "hint: set `[server] timezone` back" in ledger.said


def test_keys_that_nothing_has_a_value_for_are_doubted(ledger: Ledger) -> None:
    ledger.run("bill", LAST.name, "--by", "team,feture")
    assert f"warning: nothing in {LAST.name} has a value for `feture`" in ledger.said
    assert "did you mean `feature`?" in ledger.said
    ledger.run("bill", LAST.name, "--by", "team,model")
    assert "has a value for" not in ledger.said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2026-13"], "`2026-13` is not a month"),
        ([LAST.name, "--focus-version", "1.2"], "--focus-version 1.2 goes with --format focus, not table"),
        (["October"], "`October` is not a month"),
        (["2199-01"], "has not begun"),
        ([LAST.name, "--format", "xml"], "`--format xml` is not known"),
        ([LAST.name, "--format", "csv", "--json"], "exclude each other"),
        ([LAST.name, "--idle", "fair"], "`--idle fair` is not known"),
        ([LAST.name, "--focus-version", "9"], "`--focus-version 9` is not known"),
        ([LAST.name, "--by", "cost_usd"], "is a measure"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_hint(ledger: Ledger, arguments: list[str], message: str) -> None:
    assert ledger.run("bill", *arguments, code=2) == ""
    assert message in ledger.said
    assert "hint:" in ledger.said


def test_a_bill_of_an_empty_ledger_is_all_zero(tmp_path: Path) -> None:
    empty = Ledger(tmp_path)
    drafted = empty.bill()
    assert (drafted["total_usd"], drafted["bearers"], drafted["charges"]) == ("0.000000000", [], drafted["charges"])
    assert [file.name for file in tmp_path.iterdir()] == ["penstock.toml"]
