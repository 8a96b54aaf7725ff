"""`penstock simulate`: what a policy costs and keeps on a file, on made traffic and on the ledger; and what is said when it cannot be."""

import json
import shutil
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from penstock import bootstrap
from tests.acceptance.command_line import penstock
from tests.integration.console_rig import CONFIG, console, fill, firm, settings_in

HARDWARE = ("--model", "llama-3.1-8b", "--gpu", "L40S", "--usd-per-hour", "1.80")
MADE = ("--synthetic", "rps=1,input=600,output=80,hours=0.5")
NOW_NS = 1_795_262_400 * 10**9


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trace, and a ledger of some hours."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "penstock.toml").write_text(CONFIG.format(folder=folder).replace("[models.small]", '[models.small]\nname = "llama-3.1-8b"'))
    settings = settings_in(folder)
    fill(settings, list(firm(bootstrap.price_book(settings), NOW_NS, 600, days=1)))
    rows = "".join(f"{at * 2.5},{300 + at % 90},{40 + at % 30}\n" for at in range(200))
    (folder / "trace.csv").write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    return folder


def told(project: Path, *arguments: str, code: int = 0) -> Any:
    done = penstock("simulate", *arguments, "--json", "--quiet", cwd=project)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_policies_are_compared_on_a_file(project: Path) -> None:
    done = penstock("simulate", "trace.csv", *HARDWARE, "--policy", "queue", "--policy", "forecast", "--slo", "ttft_p95=2s", cwd=project)
    assert done.returncode == 0, done.stderr
    heading, *rows = done.stdout.splitlines()
    assert heading.split()[:2] == ["policy", "keeps"] and "of oracle" in heading and "binds" in heading and "rev/h" in heading
    assert [row.split()[0] for row in rows[:3]] == ["static:replicas=1", "queue", "forecast"]
    assert "keeps ttft_p95=2s for least: $" in rows[3]
    assert "trace.csv (plain): 200 requests" in done.stderr and "llama-3.1-8b as bf16 on 1 x L40S-48GB" in done.stderr
    assert "step times are predicted, not measured" in done.stderr


def test_the_document_is_exact_and_the_same_for_the_same_seed(project: Path) -> None:
    report = told(project, "trace.csv", *HARDWARE, "--policy", "queue")
    assert (report["requests"], report["usd_per_replica_hour"]) == (200, "1.800000000")
    for row in report["rows"]:
        assert row["served"] == 200 and row["cp1kt_usd"] is not None and Decimal(row["cost_usd"]) > 0
    again = told(project, "trace.csv", *HARDWARE, "--policy", "queue")
    assert again["rows"] == report["rows"] and again["courses"] == report["courses"]


def test_an_slo_that_no_fleet_keeps_says_what_is_reached(project: Path) -> None:
    done = penstock("simulate", *MADE, *HARDWARE, "--slo", "ttft_p95=1ms", cwd=project)
    assert done.returncode == 3
    assert "none of these keeps ttft_p95=1ms" in done.stdout and "the best that was reached, with " in done.stdout


def test_a_fleet_may_sleep_behind_a_shield(project: Path) -> None:
    asked = (
        "--policy",
        "queue",
        "--shield",
        "hold",
        "--shield",
        "spill",
        "--spill",
        "after=1s,input=0.5,output=1.5",
        "--slo",
        "ttft_p95=10s",
    )
    report = told(project, "--synthetic", "rps=0.003,input=600,output=80,hours=6", *HARDWARE, *asked)
    static, hold, spill = report["rows"]
    assert (hold["shield"], spill["shield"]) == ("hold", "spill")
    assert Decimal(hold["cost_usd"]) < Decimal(static["cost_usd"]) and spill["spilled"] > 0
    assert spill["first_token_s"]["p95"] < hold["first_token_s"]["p95"]


def test_the_picture_and_the_document_are_files(project: Path) -> None:
    done = penstock("simulate", *MADE, *HARDWARE, "--picture", "run.svg", "--output", "run.json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "cost so far" in "".join(Xml.parse(project / "run.svg").getroot().itertext())
    assert json.loads((project / "run.json").read_text())["requests"] > 1000


def test_the_ledger_is_replayed_on_a_fleet_of_the_config_and_kept_for_the_console(project: Path) -> None:
    asked = ("--from-ledger", "2026-11", "--where", "upstream=gpu", "--fleet", "l40s", "--limit", "200", "--name", "the firm", "--keep")
    done = penstock("simulate", *asked, "--policy", "queue", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "the price of the config's fleet" in done.stderr and "static:replicas=2" in done.stdout
    assert "kept as sim_" in done.stderr
    with console(settings_in(project)) as rig:
        page = json.loads(rig.get("/simulation.json")[2])
        assert page["run"]["name"] == "the firm" and page["run"]["requests"] == 200
        assert "the firm" in rig.page("/simulation")


def test_shares_are_taken_as_given_or_as_the_ledger_measured_them(project: Path) -> None:
    half = told(project, "trace.csv", *HARDWARE, "--cache-hit-rate", "0.5")
    assert half["rows"][0]["cached"] == pytest.approx(100, abs=25) and "50.0% of requests" in " ".join(half["notes"])
    part = told(project, "trace.csv", *HARDWARE, "--tier-share", "0.25")
    assert 30 < part["requests"] < 70 and "25.0% of the requests" in " ".join(part["notes"])


def test_the_ledger_says_what_its_cache_and_tiers_did(project: Path) -> None:
    now = project / "now"
    now.mkdir()
    (now / "penstock.toml").write_text(CONFIG.format(folder=now))
    settings = settings_in(now)
    records = list(firm(bootstrap.price_book(settings), time.time_ns(), 400, days=1))
    fill(settings, records)
    hits = sum(record.cache == "exact" for record in records)
    asked = sum(record.outcome == "ok" for record in records)
    shutil.copy(project / "trace.csv", now / "trace.csv")
    measured = told(now, "trace.csv", *HARDWARE, "--cache-hit-rate", "measured", "--tier-share", "small")
    notes = " ".join(measured["notes"])
    assert f"{hits / asked:.1%} of the requests of the ledger's last 30d were answered by its cache" in notes
    assert 90 < measured["requests"] < 190 and measured["rows"][0]["cached"] > 0
    replayed = told(now, "--from-ledger", "7d", *HARDWARE)
    assert "of those that models answered, by tier: small " in " ".join(replayed["notes"])
    for asked_for, error in (
        (("--from-ledger", "7d", "--cache-hit-rate", "measured"), "what the ledger's cache answered is not in its trace"),
        (("trace.csv", "--tier-share", "smal"), "the ledger has no tier `smal`"),
        (("trace.csv", "--cache-hit-rate", "1.5"), "`--cache-hit-rate 1.5` is not a share"),
    ):
        done = penstock("simulate", *asked_for, *HARDWARE, cwd=now)
        assert done.returncode == 2 and error in done.stderr and done.stdout == ""
