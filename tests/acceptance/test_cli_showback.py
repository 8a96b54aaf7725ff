"""`penstock showback` as a review meeting meets it: the last week against the one before, every format, wrong words."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
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
[upstreams.openai]
base_urls = ["https://api.openai.com/v1"]
provider = "openai"
[models.large]
upstream = "openai"
version = "2"
[[budgets]]
name = "tuning"
where = { workload_type = "training" }
limit = "100 USD / month"
"""
HOUR_NS = 3_600 * 10**9
NOW = datetime.now(UTC)
MONDAY = (NOW - timedelta(days=NOW.weekday() + 7)).replace(hour=0, minute=0, second=0, microsecond=0)
"""of the last whole week"""


def record(id: str, days: int, **fields: Any) -> UsageRecord:
    """An answer some days after that Monday."""
    given: dict[str, Any] = {
        "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": "large", "model_version": "2", "upstream": "openai",
        "tokens": Tokens(1000, 0, 0, 1000, 0), "tags": {"team": "search"}, "cost": 2 * 10**9, "duration_us": 1_000,
    }  # fmt: skip
    return UsageRecord(id=id, admitted_ns=int(MONDAY.timestamp()) * 10**9 + days * 24 * HOUR_NS, **given | fields)


RECORDS = [
    record("begin", -7),
    record("before", -3),
    record("a", 0, cost=3 * 10**9),
    record("b", 2, cost=3 * 10**9),
    record("c", 6, tags={"team": "support"}, cost=3 * 10**9),
    record("after", 7, cost=10**12),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("showback")
    (made / "penstock.toml").write_text(CONFIG)
    with closing(open_store(load(made / "penstock.toml", {}))) as store:
        store.take_in(Intake(RECORDS, (), (), {}))
    return made


def run(directory: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    done = penstock("showback", *arguments, cwd=directory)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_the_last_week_is_reviewed_against_the_one_before(directory: Path) -> None:
    made = json.loads(run(directory, "--weekly", "--format", "json")[0])
    assert made["window"]["since"] == f"{MONDAY:%Y-%m-%dT%H:%M:%SZ}"
    assert (made["total_usd"], made["before_total_usd"]) == ("9.000000000", "4.000000000")
    inference = made["growth"][0]
    assert (inference["used"], inference["before_used"], inference["spend_growth"], inference["faster"]) == (3, 2, 1.25, True)
    [version] = made["versions"]
    assert (version["usd_per_request"], version["before_usd_per_request"], version["change"]) == ("3.000000000", "2.000000000", 0.5)
    assert {each["team"]: each["usage_usd"] for each in made["teams"]} == {"search": "6.000000000", "support": "3.000000000"}
    assert [budget["within"] for budget in made["training_budgets"]] == [True]


def test_a_week_is_the_default_and_json_a_format(directory: Path) -> None:
    plain, weekly = (json.loads(run(directory, *how)[0]) for how in (["--json"], ["--weekly", "--format", "json"]))
    assert {**plain, "made": ""} == {**weekly, "made": ""}


def test_the_table_answers_every_question(directory: Path) -> None:
    text, said = run(directory)
    assert "Inference: yes. Per day, spend +125 %, requests answered +50 %" in text
    assert "tuning: yes, 0 % of 100 USD / month is used" in text
    assert "Nothing is rented that Penstock knows of." in text
    assert said == ""


def test_the_page_is_written_to_a_file(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "review.html"
    shown, said = run(directory, "--format", "html", "--output", str(file))
    assert (shown, said) == ("", f"wrote {file}\n")
    assert "AI costs in review, Week" in file.read_text()


def test_any_window_can_be_reviewed(directory: Path) -> None:
    since, until = MONDAY - timedelta(days=7), MONDAY
    made = json.loads(run(directory, "--since", f"{since:%Y-%m-%d}", "--until", f"{until:%Y-%m-%d}", "--json")[0])
    assert (made["total_usd"], made["before_total_usd"]) == ("4.000000000", None)
    assert made["growth"][0]["note"] == "the ledger does not reach the time before"
    assert json.loads(run(directory, "--monthly", "--json")[0])["kind"] == "month"


def test_a_window_that_the_ledger_does_not_reach_gives_a_hint(directory: Path) -> None:
    text, said = run(directory, "--since", "2020-01", "--until", "2020-02")
    assert "No model answered in the window." in text
    assert "hint: review what it knows with `--since 7d`" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weekly", "--monthly"], "--weekly, --monthly and --since/--until exclude each other"),
        (["--weekly", "--since", "7d"], "--weekly, --monthly and --since/--until exclude each other"),
        (["--format", "htm"], "`--format htm` is not known"),
        (["--json", "--format", "html"], "--json and --format html exclude each other"),
        (["--since", "yesterday"], "`--since yesterday` is not a window of time"),
        (["--since", "2199-01", "--until", "2199-02"], "the window has not begun"),
    ],
)
def test_wrong_usage_is_exit_2_with_a_hint(directory: Path, arguments: list[str], message: str) -> None:
    _, said = run(directory, *arguments, code=2)
    assert f"error: {message}" in said
    assert "hint: " in said
