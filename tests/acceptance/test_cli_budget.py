"""`penstock budget list` and `forecast` as people run them: spend, what is expected, the day a budget ends, wrong words."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.bootstrap import open_store
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock

HOUR_NS = 3_600 * 10**9
NOW_NS = time.time_ns()
HOURS = 24 * 40
CONFIG = """
version = 1
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
provider = "openai"
[models.large]
upstream = "openai"
[[budgets]]
name = "everything"
limit = "5000 USD / month"
at_limit = "refuse"
[[budgets]]
name = "search, daily"
where = { team = "search" }
limit = "12 USD / rolling 24h"
[[budgets]]
name = "support"
where = { team = "support" }
limit = "1 USD / month"
alert_at = [50, "forecast"]
notify = ["ops"]
[notify.ops]
kind = "webhook"
url = "http://127.0.0.1:9/"
"""


def record(number: int, team: str, cost: int) -> UsageRecord:
    return UsageRecord(
        id=f"{team}{number}", admitted_ns=NOW_NS - number * HOUR_NS - HOUR_NS // 2, endpoint="chat.completions", status=200, outcome="ok",
        model="large", upstream="openai", tokens=Tokens(1000, 0, 0, 1000, 0), tags={"team": team}, cost=cost, duration_us=1_000,
    )  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("budget")
    (made / "penstock.toml").write_text(CONFIG)
    records = [record(number, team, cost) for number in range(HOURS) for team, cost in (("search", 10**9), ("support", 10**7))]
    with closing(open_store(load(made / "penstock.toml", {}))) as store:
        store.take_in(Intake(records=records, opened=(), settled=(), offsets={}))
    return made


def told(directory: Path, *words: str) -> Any:
    run = penstock("budget", *words, "--json", cwd=directory)
    assert (run.returncode, run.stderr.count("error:")) == (0, 0), run.stderr
    return json.loads(run.stdout)


def test_list_says_what_is_spent_left_and_expected(directory: Path) -> None:
    whole, search, support = told(directory, "list")["budgets"]
    hours = (time.time_ns() - NOW_NS) / HOUR_NS
    assert whole["where"] == {} and whole["at_limit"] == "refuse" and whole["exceeds"] is None
    assert float(whole["spent_usd"]) + float(whole["left_usd"]) == 5000
    assert float(whole["forecast_low_usd"]) <= float(whole["forecast_usd"]) <= float(whole["forecast_high_usd"])
    assert float(search["spent_usd"]) == pytest.approx(24, abs=1 + hours) and search["rolling"]
    assert float(search["burn_per_hour_usd"]) == pytest.approx(1, rel=0.2)
    assert search["alerts"] == [] or "is spent" in search["alerts"][0]
    assert [mark["at"] for mark in support["marks"]] == [50, "forecast"] and support["marks"][0]["notify"] == ["ops"]


def test_forecast_ends_where_list_says(directory: Path) -> None:
    listed = {each["budget"]: each for each in told(directory, "list")["budgets"]}
    [found] = told(directory, "forecast", "support")["budgets"]
    ahead = found["course"]["ahead"]
    assert ahead[-1]["at"] == found["until"]
    assert float(ahead[-1]["middle"]) == pytest.approx(float(listed["support"]["forecast_usd"]), rel=0.01)
    spends = [float(point["spent"]) for point in found["course"]["past"]]
    assert spends == sorted(spends) and spends[-1] == float(found["spent_usd"])
    assert found["exceeds"] is not None, "a cent an hour is 7 USD a month"


def test_people_get_a_table_and_bars(directory: Path) -> None:
    run = penstock("budget", "list", cwd=directory)
    assert run.returncode == 0
    assert "everything" in run.stdout and "team=search" in run.stdout and "/ rolling 24h" in run.stdout
    assert "as the ledger has it" in run.stderr
    assert penstock("budget", "list", "--quiet", cwd=directory).stderr == ""
    chart = penstock("budget", "forecast", "support", cwd=directory).stdout.splitlines()
    assert chart[0].startswith("support: ") and "the limit " in chart[0]
    days = [line for line in chart if line.startswith("  20")]
    assert 28 <= len(days) <= 31 and all("|" in line or "░" in line or "█" in line for line in days)


def test_an_unknown_name_says_which_there_are(directory: Path) -> None:
    run = penstock("budget", "forecast", "suport", cwd=directory)
    assert run.returncode == 2
    assert "there is no budget `suport`" in run.stderr and "support" in run.stderr


def test_without_budgets_a_hint_says_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text('version = 1\n[upstreams.a]\nbase_urls = ["http://127.0.0.1:9/v1"]\n')
    run = penstock("budget", "list", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (0, "")
    assert "hint: write [[budgets]]" in run.stderr
