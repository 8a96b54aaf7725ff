"""`penstock route`: where routes stand, whether ladders are sane, what a policy would cost, and which tier features need."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock import bootstrap
from penstock.domain.ledger.measures import CostQuery
from tests.acceptance.command_line import penstock
from tests.integration.routed_rig import CONFIG, routed, routed_settings

LEARNED = "error_budget = 0.03"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose ledger holds traffic of a route, its labels and its policy."""
    folder = tmp_path_factory.mktemp("routed")
    routed(folder)
    (folder / "penstock.toml").write_text(CONFIG.format(folder=folder, strategy="learned", route=LEARNED))
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The same project before anything came."""
    bootstrap.open_store(routed_settings(tmp_path)).close()
    (tmp_path / "penstock.toml").write_text(CONFIG.format(folder=tmp_path, strategy="learned", route=LEARNED))
    return tmp_path


def told(project: Path, *arguments: str, code: int = 0) -> Any:
    done = penstock("route", *arguments, "--json", cwd=project)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def shown(project: Path, *arguments: str, code: int = 0) -> str:
    done = penstock("route", *arguments, cwd=project)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_status_tells_what_is_open_and_what_it_earns(project: Path) -> None:
    (route,) = told(project, "status")["routes"]
    assert (route["route"], route["strategy"], route["error_budget"]) == ("auto", "learned", 0.03)
    assert [row["tag"] for row in route["tags"]] == ["chat", "code"]
    assert Decimal(route["all"]["saved_usd"]) == Decimal("0.2448")
    assert route["all"]["split"]["verdict"] == "wins"
    lines = shown(project, "status")
    assert "route auto: learned, small < mid < large, error budget 3 %" in lines
    assert "beats the best fixed split at " in lines and "every call beside requests counted" in lines


def test_the_ladder_tells_prices_quality_and_break_evens(project: Path) -> None:
    (ladder,) = told(project, "ladder")["ladders"]
    small, mid, large = ladder["rungs"]
    assert [Decimal(rung["request_usd"]) for rung in (small, mid, large)] == [Decimal("0.00018"), Decimal("0.00054"), Decimal("0.0054")]
    assert [round(rung["relative"], 4) for rung in (small, mid, large)] == [0.0333, 0.1, 1.0]
    assert small["low"] < small["quality"] < mid["quality"] < large["quality"]
    rates = {("+".join(each["tiers"]), each["target"]): round(each["escalation"], 3) for each in ladder["break_evens"]}
    assert rates == {("small", "mid"): 0.667, ("small", "large"): 0.967, ("mid", "large"): 0.9, ("small+mid", "large"): 0.867}
    lines = shown(project, "ladder")
    assert "gate small and mid before large: pays while less than 86.7 % go on" in lines
    assert "30 to 40 % escalated would be right where the cheap tier costs 60 to 70 % of the next: for none of these" in lines


def test_a_policy_is_priced_before_it_acts(project: Path) -> None:
    report = told(project, "try")
    total = report["total"]
    assert (report["strategy"], total["requests"], report["unknown"]) == ("learned", 120, [])
    assert Decimal(total["now_usd"]) == Decimal("0.4032") and Decimal(total["last_usd"]) == Decimal("0.648")
    assert Decimal(total["policy_usd"]) < Decimal(total["now_usd"])
    assert 0 < total["loss"] < 0.03 and total["low"] <= total["loss"] <= total["high"]
    assert report["fixed_split"]["loss"] > total["loss"], "a coin that costs as much loses more here"
    assert float(report["fixed_split"]["request_usd"]) == pytest.approx(float(total["policy_usd"]) / 120, rel=1e-4)
    assert report["control"]["verdict"] == "wins"
    lines = shown(project, "try")
    for words in ("best fixed split of these requests at the same cost", "the policy beats", "labels: 800 by checks"):
        assert words in lines


def test_other_policies_can_be_tried(project: Path) -> None:
    first = told(project, "try", "--strategy", "fixed")
    assert Decimal(first["total"]["policy_usd"]) == 120 * Decimal("0.00018") and first["total"]["escalation"] is None
    assert first["total"]["loss"] > 0.2, "the small tier alone loses a lot"
    gate = told(project, "try", "--strategy", "gate", "--error-budget", "0.05")
    assert (gate["strategy"], gate["error_budget"]) == ("gate", 0.05)
    assert {row["tag"] for row in gate["tags"]} == {"chat", "code"} and gate["tags"][0]["escalation"] is not None
    tight = told(project, "try", "--error-budget", "0.001")
    assert Decimal(tight["total"]["policy_usd"]) > Decimal(told(project, "try")["total"]["policy_usd"])


def test_traffic_of_a_plain_model_can_be_tried_and_what_no_label_tells_is_unknown(project: Path) -> None:
    found = told(project, "try", "--where", "model=l")
    assert found["total"]["requests"] == 60 and "model=l" in found["source"]
    other = told(project, "try", "--where", "team=t", "--strategy", "cascade", "--error-budget", "0.03")
    assert other["total"]["requests"] == 120


def test_without_labels_nothing_is_opened_and_that_is_said(bare: Path) -> None:
    done = penstock("route", "try", cwd=bare)
    assert done.returncode == 4, done.stderr
    assert "no request of the window was answered by a model" in done.stdout
    assert told(bare, "status")["routes"][0]["tags"] == []
    assert "nothing came over it, and nothing was measured" in shown(bare, "status")
    (ladder,) = told(bare, "ladder", code=4)["ladders"]
    assert [rung["quality"] for rung in ladder["rungs"]] == [None] * 3
    assert "there was none" in ladder["basis"] and Decimal(ladder["rungs"][0]["request_usd"]) == Decimal("0.00022")
    sizes = told(bare, "sizes", code=4)["features"]
    assert {row["feature"]: row["smallest"] for row in sizes} == {"chat": None, "code": None}
    assert all(row["lacking"] > 50 for row in sizes)


def test_graded_answers_can_be_tried_without_a_ledger(bare: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": f"r{number}",
            "task": "quiz" if number % 2 else "maths",
            "m": {
                "small": {"q": float(number % 2 or number % 6 == 0), "c": 0.0001, "a": "7"},
                "m": {"q": float(number % 2 or number % 3 == 0), "c": 0.0003, "a": "7" if number % 2 else str(number)},
                "large": {"q": 1.0, "c": 0.003, "a": "7"},
            },
        }
        for number in range(600)
    ]
    (bare / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = told(bare, "try", "--rows", "rows.jsonl")
    quiz = next(row for row in report["tags"] if row["tag"] == "quiz")
    assert quiz["state"] == "proven" and quiz["loss"] < 0.03 and quiz["cost_share"] < 0.5
    assert report["total"]["now_usd"] is None and Decimal(report["total"]["last_usd"]) == Decimal("1.8")
    assert report["control"]["labels"] == 600 and report["window"] is None
    del rows[0]["m"]["large"]
    (bare / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    short = told(bare, "try", "--rows", "rows.jsonl", code=4)
    assert "1 row lacks a graded answer" in short["unknown"][-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "rows.jsonl:1:"),
        ('{"id": "a", "m": {"small": {"q": 7}}}', "the quality of `small` is 7, not between 0 and 1"),
        ('{"id": "a", "m": {"small": {"q": 1, "c": -1}}}', "below 0"),
        ('{"id": "a"}', "missing required field `m`"),
    ],
)
def test_a_table_that_cannot_be_read_names_its_line(bare: Path, line: str, words: str) -> None:
    (bare / "rows.jsonl").write_text(line + "\n")
    done = penstock("route", "try", "--rows", "rows.jsonl", cwd=bare)
    assert done.returncode == 2 and words in done.stderr and "hint: a line is" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "--route", "aut"], "did you mean `auto`?"),
        (["try", "--strategy", "by_complexity"], "try one of fixed, cascade, gate, learned"),
        (["try", "--rows", "x.jsonl", "--since", "7d"], "--rows is tried instead of the ledger"),
        (["try", "--error-budget", "0.9"], "error-budget"),
        (["try", "--where", "feature"], "feature"),
        (["sizes", "--since", "tomorrow"], "tomorrow"),
    ],
)
def test_what_cannot_be_meant_is_refused(bare: Path, arguments: list[str], words: str) -> None:
    done = penstock("route", *arguments, cwd=bare)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_gate_needs_three_tiers(tmp_path: Path) -> None:
    bootstrap.open_store(routed_settings(tmp_path)).close()
    text = CONFIG.format(folder=tmp_path, strategy="fixed", route="").replace('"small", "mid", "large"', '"small", "large"')
    (tmp_path / "penstock.toml").write_text(text)
    done = penstock("route", "try", "--strategy", "gate", cwd=tmp_path)
    assert done.returncode == 2 and "too few for strategy `gate`" in done.stderr
    learned = penstock("route", "try", "--strategy", "learned", cwd=tmp_path)
    assert learned.returncode == 2 and "pass --error-budget 0.03" in learned.stderr


def test_sizes_put_cost_beside_value(project: Path) -> None:
    rows = told(project, "sizes")["features"]
    chat, code = rows
    assert (chat["feature"], chat["smallest"], chat["error_budget"], code["error_budget"]) == ("chat", "large", 0.03, 0.01)
    assert (chat["value_share"], code["value_share"]) == (0.75, 0.25)
    assert chat["cost_share"] + code["cost_share"] == pytest.approx(1, abs=1e-5)
    assert [each["tier"] for each in code["tiers"]] == ["small", "mid"]
    assert "every smaller tier loses more" in shown(project, "sizes")


def test_explain_tells_the_way_over_the_tiers(project: Path) -> None:
    with bootstrap.open_reading(routed_settings(project)) as (snapshot, _):
        record = next(
            each
            for each in snapshot.records(CostQuery(since_ns=0, until_ns=2**63 - 1))
            if each.route_decision is not None and any(stage.stratum == "differ" for stage in each.route_decision.stages)
        )
    lines = penstock("explain", record.id, cwd=project).stdout
    assert "asked small and mid at once: they differed" in lines and "expected loss  1.2 % of 3 %" in lines
