"""Tags and trends on the command line: who sends untagged traffic, which lines of a bill carry no tag, what became cheaper."""

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

CONFIG = """
version = 1
[upstreams.local]
kind = "simulated"
[models.small]
upstream = "local"
price = { input = 1, output = 2 }
[objectives.default]
duration = "2s"
"""
DAY_NS = 86_400 * 10**9
BILL = """BillingCurrency,ServiceName,ChargeCategory,BilledCost,EffectiveCost,Tags,ChargePeriodStart,ChargePeriodEnd
USD,Compute,Usage,1.50,1.50,,2026-10-01T00:00:00Z,2026-10-02T00:00:00Z
USD,Compute,Usage,2.00,2.00,"{""team"": ""search""}",2026-10-01T00:00:00Z,2026-10-02T00:00:00Z
USD,Storage,Usage,4.00,4.00,{},2026-10-01T00:00:00Z,2026-10-02T00:00:00Z
"""


def record(id: str, days_ago: float, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {
        "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "small", "cost": 10**9, "tokens": Tokens(10, 0, 0, 10, 0),
        "duration_us": 1_000_000, "tags": {"team": "search"},
    }  # fmt: skip
    return UsageRecord(id=id, admitted_ns=time.time_ns() - int(days_ago * DAY_NS), **given | fields)


def project(folder: Path, records: list[UsageRecord], more: str = "") -> Path:
    (folder / "penstock.toml").write_text(CONFIG + more)
    settings = load(folder / "penstock.toml", {})
    with closing(open_store(settings)) as store:
        store.take_in(Intake(records, (), (), {}))
    return folder


def test_a_required_tag_that_recent_traffic_lacks_is_a_problem(tmp_path: Path) -> None:
    records = [record("a", 0.1, tags={}, key_id="key_7"), record("b", 0.2), record("c", 9, tags={})]
    done = penstock("check", cwd=project(tmp_path, records, '[tags]\nrequired = ["team"]'))
    assert done.returncode == 3
    assert "1 requests of the last 24 hours lack the required tag `team`" in done.stderr
    assert "key_7 to small" in done.stderr
    assert "penstock keys create --tag team=" in done.stderr


def test_what_nobody_requires_is_a_warning(tmp_path: Path) -> None:
    records = [record("a", 3, tags={}, key_id="key_7"), record("b", 2), record("c", 2, tags={"team": "Search"})]
    done = penstock("check", cwd=project(tmp_path, records))
    assert done.returncode == 0, done.stderr
    assert "1 requests of the last 30 days (1.000000000 USD)" in done.stderr
    assert "team is spelled in 2 ways" in done.stderr
    assert penstock("check", "--json", cwd=tmp_path).returncode == 0


def test_a_required_tag_that_only_old_traffic_lacks_is_a_warning(tmp_path: Path) -> None:
    done = penstock("check", cwd=project(tmp_path, [record("a", 3, tags={}), record("b", 0.1)], '[tags]\nrequired = ["team"]'))
    assert done.returncode == 0, done.stderr
    assert "without a required tag (team)" in done.stderr


def test_lines_of_a_bill_without_tags(tmp_path: Path) -> None:
    folder = project(tmp_path, [record("b", 2)])
    (folder / "bill.csv").write_text(BILL)
    done = penstock("check", "--bill", "bill.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "bill.csv: 2 of 3 lines carry no tag: 5.50 of 7.50 USD (Storage 4.00, Compute 1.50)" in done.stderr
    facts = json.loads(penstock("check", "--bill", "bill.csv", "--json", cwd=folder).stdout)["facts"]
    assert facts["bill"]["currencies"][0]["untagged_amount"] == "5.50"
    (folder / "bill.csv").write_text("")
    assert penstock("check", "--bill", "bill.csv", cwd=folder).returncode == 3


def test_coverage_stands_in_the_json_of_costs(tmp_path: Path) -> None:
    done = penstock("cost", "--json", cwd=project(tmp_path, [record("a", 3, tags={}), record("b", 2)]))
    tags = json.loads(done.stdout)["tags"]
    assert (tags["untagged"]["requests"], tags["untagged"]["usd"]) == (1, "1.000000000")
    assert tags["untagged"]["senders"] == [{"key_id": None, "model": "small", "endpoint": "chat.completions", "requests": 1}]


@pytest.mark.parametrize("form", ["text", "json"])
def test_trends_of_a_window(tmp_path: Path, form: str) -> None:
    records = [record("a", 9, model_version="1"), record("b", 1, model_version="2", cost=5 * 10**8, duration_us=9_000_000)]
    done = penstock("cost", "--trends", *(("--json",) if form == "json" else ()), cwd=project(tmp_path, records))
    assert done.returncode == 0, done.stderr
    if form == "text":
        for said in ("cost per request", "growth of spend against usage", "what carries the costs", "duration within 2 s", "1 of 2"):
            assert said in done.stdout
        return
    trends = json.loads(done.stdout)["trends"]
    assert [arrival["value"] for arrival in trends["arrivals"]] == ["2"]
    assert trends["latency"][0]["met_per_usd"] == "0.666667"
    assert trends["growth"][0]["spend_growth"] == "-0.500000"


def test_without_the_flag_there_are_no_trends(tmp_path: Path) -> None:
    assert "trends" not in json.loads(penstock("cost", "--json", cwd=project(tmp_path, [record("a", 1)])).stdout)


def test_a_key_carries_its_tags_in_the_allowed_spelling(tmp_path: Path) -> None:
    folder = project(tmp_path, [], '[tags]\nallowed = { sla = ["best_effort"] }')
    assert penstock("keys", "create", "--tag", "sla-tier=Best-Effort", cwd=folder).returncode == 0
    [key] = json.loads(penstock("keys", "list", "--json", cwd=folder).stdout)["keys"]
    assert key["tags"] == {"sla": "best_effort"}
