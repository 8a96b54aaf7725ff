"""`penstock record` as somebody who trained a model meets it: told once, counted once, shown in every report."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command_line import penstock

CONFIG = """
version = 1
[upstreams.local]
kind = "simulated"
[fleets.h100]
gpu = "H100"
count = 8
price = "2.95 USD/gpu-hour"
[models.small]
upstream = "local"
price = { input = 1, output = 2 }
[tags]
allowed = { sla = ["critical", "best_effort"] }
"""
RUN = ("record", "training-run", "--name", "fine-tune-7b", "--since", "2026-10-20T08:00:00Z", "--until", "2026-10-20T20:00:00Z")
WINDOW = ("--since", "2026-10")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "penstock.toml").write_text(CONFIG)
    return tmp_path


def told(project: Path, *arguments: str) -> Any:
    done = penstock(*arguments, "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_rented_run_is_recorded_once_and_stands_in_reports(project: Path) -> None:
    words = (*RUN, "--tag", "team=search", "--gpus", "8", "--gpu-price", "2.34", "--storage", "3.10", "--lost-gpu-hours", "12")
    first = penstock(*words, cwd=project)
    again = penstock(*words, cwd=project)
    assert (first.returncode, again.returncode) == (0, 0)
    assert first.stdout == again.stdout
    assert "recorded before" in again.stderr
    [run] = told(project, "record", "list", *WINDOW)["entries"]
    assert run["id"] == first.stdout.strip()
    assert (run["compute_usd"], run["lost_usd"], run["total_usd"]) == ("224.640000000", "28.080000000", "227.740000000")
    assert "227.74" in penstock("record", "list", *WINDOW, cwd=project).stdout
    cost = told(project, "cost", "--by", "team", *WINDOW)
    [row] = cost["rows"]
    assert (row["team"], row["recorded_usd"]) == ("search", "227.740000000")


def test_a_dry_run_writes_nothing(project: Path) -> None:
    done = penstock(*RUN, "--gpus", "8", "--gpu-price", "2", "--dry-run", cwd=project)
    assert (done.returncode, done.stdout) == (0, "")
    assert "would record run_" in done.stderr
    assert sorted(file.name for file in project.iterdir()) == ["penstock.toml"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--fleet", "h10", "--gpus", "8"), 2, "did you mean `h100`?"),
        (("--fleet", "h100", "--gpus", "8", "--gpu-hours", "97"), 2, "more than"),
        (("--fleet", "h100", "--gpus", "8", "--gpu-price", "2"), 2, "`--gpu-price` would count them twice"),
        (("--gpus", "many"), 2, "`--gpus`"),
        (("--gpus", "8", "--storage", "-1"), 2, "below 0"),
        (("--gpus", "8", "--tag", "sla=gold"), 2, "may not be `gold`"),
        (("--gpus", "8", "--tag", "team"), 2, "--tag team=search"),
    ],
)
def test_slips_are_told_in_the_words_of_the_command(project: Path, more: tuple[str, ...], code: int, said: str) -> None:
    done = penstock(*RUN, *more, cwd=project)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "hint:" in done.stderr
    assert told(project, "record", "list", *WINDOW)["entries"] == []


def test_a_run_that_ends_before_it_begins_is_refused(project: Path) -> None:
    done = penstock("record", "training-run", "--name", "x", "--since", "2026-10-21", "--until", "2026-10-20", cwd=project)
    assert (done.returncode, "ends before it begins" in done.stderr) == (2, True)


def test_other_costs_and_corrections(project: Path) -> None:
    spent = told(project, "record", "cost", "--name", "labels", "--usd", "1200.5", "--since", "2026-10-05")
    told(project, "record", "cost", "--name", "labels, refunded", "--usd", "-200", "--since", "2026-10-06", "--id", "refund-1")
    assert (spent["recorded"], spent["entry"]["cost_usd"]) == (True, "1200.500000000")
    taken = penstock("record", "cost", "--name", "other", "--usd", "1", "--since", "2026-10-06", "--id", "refund-1", cwd=project)
    assert taken.returncode == 1
    assert "another cost was recorded as `refund-1`" in taken.stderr
    lines = {line["line"]: line["usd"] for line in told(project, "cost", *WINDOW)["statement"]["lines"]}
    assert lines["recorded"] == "1000.500000000"


def test_files_are_imported_once(project: Path) -> None:
    body = {"kind": "training-run", "name": "night", "id": "run_1", "since": "2026-10-01", "until": "2026-10-02", "gpus": "0"}
    (project / "good.json").write_text(json.dumps(body | {"transfer": "1.25"}))
    (project / "bad.json").write_text(json.dumps(body | {"id": "run_2", "storage": "three dollars"}))
    done = penstock("record", "import", "good.json", "bad.json", "good.json", cwd=project)
    assert (done.returncode, done.stdout.split()) == (4, ["run_1", "run_1"])
    assert "bad.json: " in done.stderr
    assert [run["total_usd"] for run in told(project, "record", "list", *WINDOW)["entries"]] == ["1.250000000"]
