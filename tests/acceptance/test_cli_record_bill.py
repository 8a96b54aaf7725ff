"""`penstock record bill` as whoever pays for the cloud meets it: what the ledger lacks is in it once, and in a team's budget."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from penstock.bootstrap import open_audit, open_books
from penstock.config.load import load
from penstock.finops.budgets.standing import budget_standings
from penstock.finops.budgets.status import BudgetStatus
from tests.acceptance.command_line import penstock

BILLS = Path(__file__).parents[1] / "golden" / "bills"
CONFIG = """
version = 1
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
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
[models.small]
upstream = "local"
[[budgets]]
name = "search"
where = { team = "search" }
limit = "10 USD / month"
alert_at = [50, 80]
"""
MIDDLE_NS = 1_773_576_000 * 10**9  # 2026-03-15T12:00:00Z
HEADER = (
    "EffectiveCost",
    "BillingCurrency",
    "ChargeCategory",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ServiceName",
    "ServiceProviderName",
    "Tags",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "penstock.toml").write_text(CONFIG)
    return tmp_path


def storage(place: Path, cost: str, more: str = "1.75") -> str:
    """A small FOCUS file of storage: of the team search, and of nobody."""
    with (place / "storage.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(HEADER)
        day = ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", "Amazon S3", "AWS")
        lines.writerow((cost, "USD", "Usage", *day, '{"team": "search"}'))
        lines.writerow((more, "USD", "Usage", *day, ""))
    return "storage.csv"


def imported(place: Path, *arguments: str, code: int = 0) -> Any:
    done = penstock("record", "bill", *arguments, "--json", cwd=place)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def standing(place: Path) -> BudgetStatus:
    with open_books(load(place / "penstock.toml", os.environ), MIDDLE_NS) as books:
        return budget_standings(books)[0]


def test_bills_of_a_cloud_and_of_an_api(place: Path) -> None:
    done = penstock("record", "bill", str(BILLS / "cur_legacy.csv"), str(BILLS / "focus_tokens.csv"), cwd=place)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == [
        "of 20 charges USD",
        "new 5 entries 3.09",
        "left out: metered by request: models of the config 7 charges 14.85",
        "left out: rent of own fleets 3 charges 1.75",
    ]
    [row] = json.loads(penstock("cost", "--since", "2026-03", "--by", "team", "--json", cwd=place).stdout)["rows"]
    assert row["recorded_usd"] == "3.090000300"
    again = penstock("record", "bill", str(BILLS / "focus_tokens.csv"), str(BILLS / "cur_legacy.csv"), cwd=place)
    assert (again.returncode, "recorded before" in again.stdout) == (0, True)
    assert "there is nothing to record" not in again.stderr
    [entry] = open_audit(load(place / "penstock.toml", os.environ)).since(0, None)
    assert (entry.action, entry.details["entries"], entry.details["cost_usd"]) == ("bill.import", 5, "3.090000300")


def test_a_teams_budget_counts_it_and_its_mark_is_passed(place: Path) -> None:
    assert (standing(place).spent, [mark.passed for mark in standing(place).marks]) == (0, [False, False])
    imported(place, storage(place, "6.00"), "--tags-from", "team")
    found = standing(place)
    assert (found.spent, float(found.share or 0)) == (6 * 10**9, 0.6)
    assert [(mark.at, mark.passed) for mark in found.marks] == [(50, True), (80, False)]
    imported(place, storage(place, "9.00"), "--tags-from", "team", "--correct")
    assert [mark.passed for mark in standing(place).marks] == [True, True]
    assert standing(place).spent == 9 * 10**9


def test_a_restated_bill_is_refused_until_it_is_to_be_corrected(place: Path) -> None:
    imported(place, storage(place, "6.00"), "--tags-from", "team")
    done = penstock("record", "bill", storage(place, "7.00", "2.00"), "--tags-from", "team", cwd=place)
    assert done.returncode == 3
    assert "not recorded: restated  2 entries" in done.stdout
    assert "error: 2 entries not recorded: the ledger has another amount" in done.stderr
    assert "add `--correct`" in done.stderr
    assert "Amazon S3 2026-03-02 team=search: billed 7.000000000, recorded 6.000000000 USD" in done.stderr
    found = imported(place, "storage.csv", "--tags-from", "team", "--correct")
    assert [entry["cost_usd"] for entry in found["entries"]] == ["0.250000000", "1.000000000"]


def test_the_same_charges_by_other_options_are_refused(place: Path) -> None:
    imported(place, storage(place, "6.00"), "--where", "team=search", "--tag", "team=search")
    [refused] = imported(place, "storage.csv", code=3)["against"]
    assert (refused["state"], refused["billed_usd"]) == ("overlapping", "7.750000000")
    imported(place, "storage.csv", "--where", "team=other")


def test_a_dry_run_writes_nothing(place: Path) -> None:
    before = sorted(file.name for file in place.iterdir())
    done = penstock("record", "bill", str(BILLS / "cur_2_0.csv"), "--dry-run", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "would record" in done.stderr
    assert sorted(file.name for file in place.iterdir()) == before


def test_what_is_counted_twice_is_warned_of(place: Path) -> None:
    done = penstock("record", "bill", str(BILLS / "cur_legacy.csv"), "--all", cwd=place)
    assert done.returncode == 0
    assert "warning: 3 charges of 1.75 USD are counted twice: rent of own fleets" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([str(BILLS / "focus_faults.csv")], 4, "nothing is recorded: not every row"),
        ([str(BILLS / "azure_ea_actual.csv")], 4, "--where BillingCurrency=USD"),
        ([str(BILLS / "cur_legacy.csv"), "--where", "ServiceNam=x"], 0, "`--where` lets no charge pass"),
        ([str(BILLS / "cur_legacy.csv"), "--where", "ServiceName"], 2, "write it like `--where ServiceName=...`"),
        ([str(BILLS / "cur_legacy.csv"), "--tag", "team"], 2, "write it like `--tag team=search`"),
        ([str(BILLS / "cur_legacy.csv"), "--since", "soon"], 2, "hint:"),
        ([str(BILLS / "cur_legacy.csv"), "--format", "sap"], 2, "`--format sap` is not known"),
        (["absent.csv"], 1, "no such file"),
        (["penstock.toml"], 1, "hint:"),
    ],
)
def test_slips_are_told(place: Path, arguments: list[str], code: int, said: str) -> None:
    done = penstock("record", "bill", *arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "penstock.db").exists()
