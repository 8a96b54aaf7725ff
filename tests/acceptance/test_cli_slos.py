"""`penstock slos`: objectives and what their responses saved, as table and JSON; it writes nothing."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.command_line import penstock
from tests.integration.objective_rig import CHEAP, DEAR, MINUTE, Site

SLO = '[[slos]]\nmetric = "cp1kt"\nwhere = { model = "dear" }\ntarget = "<= 0.004 USD"\nwindow = "1h"\nrespond = ["shift_traffic:small"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger over which an objective was missed and met again, in January 2026."""
    with closing(Site(f"sqlite:///{tmp_path}/ledger.db", tmp_path, SLO)) as site:
        site.calls(50)
        site.step()
        (directive,) = site.standing()
        for _ in range(4):
            site.now += 2 * MINUTE
            site.calls(100, "cheap", steered=directive.id, steered_from="dear")
            site.step()
    return tmp_path


def test_json(folder: Path) -> None:
    done = penstock("slos", "--since", "2026-01", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (objective,) = told["objectives"]
    assert (objective["objective"], objective["state"], objective["acting"]) == ("cp1kt model=dear", "no data", False)
    assert objective["long"] == {"cp1kt_usd": None, "burn_rate": None, "requests": 0, "unpriced": 0}
    assert objective["responses"] == [] and "would" not in objective
    (ended,) = told["ended"]
    assert ended["response"] == "shift_traffic:small" and ended["expected_usd"] == "0.006750000"
    assert ended["measured_usd"] == f"0.{400 * (DEAR - CHEAP):09d}"


def test_table_and_dry_run(folder: Path) -> None:
    before = (folder / "ledger.db").read_bytes()
    done = penstock("slos", "--since", "2026-01", "--dry-run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "cp1kt model=dear: no data" in done.stdout
    assert "CP1KT unknown, burn rate unknown, 0 requests" in done.stdout
    assert "would begin: shift_traffic:small, expected to save 0.000000000 USD a window" in done.stdout
    assert "0.054000000" in done.stdout
    assert (folder / "ledger.db").read_bytes() == before
    assert "0.054000000" not in penstock("slos", "--since", "2026-02-01", cwd=folder).stdout


def test_without_objectives_and_with_wrong_words(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("version = 1\n")
    done = penstock("slos", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "") and "[[slos]]" in done.stderr
    wrong = penstock("slos", "--since", "soon", cwd=tmp_path)
    assert wrong.returncode == 2 and wrong.stderr.count("error: ") == 1 and "hint: " in wrong.stderr
