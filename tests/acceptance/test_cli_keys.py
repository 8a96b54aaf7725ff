"""`penstock keys`: a secret is shown once, stored as a hash, listed by its prefix, and revoked for good."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from penstock.config.start import simulated
from penstock.ports.key_store import fingerprint
from tests.acceptance.command_line import penstock


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "penstock.toml").write_text(simulated())
    return tmp_path


def keys(project: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(penstock("keys", "list", "--json", cwd=project).stdout)["keys"]
    return listed


def test_the_life_of_a_key(project: Path) -> None:
    made = penstock("keys", "create", "--tag", "Cost-Center=7", "--tag", "team=search", "--model", "auto", "--expires", "90d", cwd=project)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("psk_")
    assert len(secret) == 4 + 48
    assert secret not in made.stderr

    (key,) = keys(project)
    assert secret.startswith(key["prefix"])
    assert (key["state"], key["tags"], key["models"]) == ("active", {"cost_center": "7", "team": "search"}, ["auto"])
    assert key["expires"] > key["created"]
    table = penstock("keys", "list", cwd=project).stdout
    assert key["id"] in table
    assert secret not in table

    refused = penstock("keys", "revoke", key["id"], cwd=project)
    assert (refused.returncode, keys(project)[0]["state"]) == (2, "active")
    assert "--yes" in refused.stderr
    assert penstock("keys", "revoke", key["id"], "--yes", cwd=project).returncode == 0
    assert keys(project)[0]["state"] == "revoked"
    again = penstock("keys", "revoke", key["id"], "--yes", cwd=project)
    assert again.returncode == 1
    assert "revoked before" in again.stderr


def test_a_dry_run_writes_nothing(project: Path) -> None:
    planned = penstock("keys", "create", "--tag", "team=search", "--expires", "90d", "--dry-run", cwd=project)
    assert (planned.returncode, planned.stdout) == (0, "")
    assert "would make a key: team=search; models: all; expires: 2" in planned.stderr
    plan = json.loads(penstock("keys", "create", "--model", "auto", "--dry-run", "--json", cwd=project).stdout)
    assert (plan["dry_run"], plan["models"], "secret" in plan) == (True, ["auto"], False)
    assert penstock("keys", "create", "--tag", "team", "--dry-run", cwd=project).returncode == 2
    assert not (project / "penstock.db").exists()

    penstock("keys", "create", cwd=project)
    (key,) = keys(project)
    planned = penstock("keys", "revoke", key["id"], "--dry-run", cwd=project)
    assert (planned.returncode, planned.stderr) == (0, f"would revoke {key['id']}\n")
    assert keys(project) == [key]
    penstock("keys", "revoke", key["id"], "--yes", cwd=project)
    assert penstock("keys", "revoke", key["id"], "--dry-run", cwd=project).returncode == 1


def test_the_secret_is_nowhere_on_disk(project: Path) -> None:
    made = json.loads(penstock("keys", "create", "--json", cwd=project).stdout)
    content = b"".join(file.read_bytes() for file in project.rglob("*") if file.is_file())
    assert made["secret"].encode() not in content
    with sqlite3.connect(project / "penstock.db") as database:
        assert fingerprint(made["secret"]) in "\n".join(database.iterdump())
    database.close()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "--tag", "team"), 2, "--tag team=search"),
        (("create", "--model", "trial-smal"), 2, "did you mean `trial-small`?"),
        (("create", "--expires", "soon"), 2, "is not a duration"),
        (("create", "--expires", "0d"), 2, "above 0"),
        (("create", "--requests", "fast"), 2, "`--requests`: `fast` is not a rate"),
        (("create", "--budget", "50 EUR / month"), 2, "write it like `2500 USD / month`"),
        (("create", "--concurrent", "0"), 2, "`--concurrent` as 1 or more"),
        (("create", "--tier", "smal"), 2, "did you mean `small`?"),
        (("rotate", "key_none"), 1, "there is no key"),
        (("revoke", "key_none", "--yes"), 1, "there is no key"),
    ],
)
def test_slips(project: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = penstock("keys", *arguments, cwd=project)
    assert result.returncode == code
    assert words in result.stderr
    assert keys(project) == []


def test_values_that_a_tag_may_not_take(project: Path) -> None:
    file = project / "penstock.toml"
    file.write_text(file.read_text().replace("[tags]", '[tags]\nallowed = { sla = ["critical"] }'))
    result = penstock("keys", "create", "--tag", "sla-tier=critcal", cwd=project)
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean `critical`?" in result.stderr


def test_slips_of_the_audit(project: Path) -> None:
    assert "nothing was changed" in penstock("audit", cwd=project).stderr
    wrong = penstock("audit", "--since", "yesterday-ish", cwd=project)
    assert (wrong.returncode, "--since" in wrong.stderr) == (2, True)


def test_no_keys_yet(project: Path) -> None:
    result = penstock("keys", "list", cwd=project)
    assert (result.returncode, result.stdout) == (0, "")
    assert "penstock keys create" in result.stderr


def test_a_key_with_limits_is_rotated_and_its_account_stays(project: Path) -> None:
    limits = ("--requests", "600 / minute", "--tokens", "100000 / minute", "--concurrent", "5", "--budget", "50 USD / month")
    made = penstock("keys", "create", "--name", "ci", "--tier", "small", *limits, cwd=project)
    assert made.returncode == 0, made.stderr
    (old,) = keys(project)
    assert (old["name"], old["tiers"], old["requests"], old["concurrent"]) == ("ci", ["small"], "600 / minute", 5)
    planned = penstock("keys", "rotate", old["id"], "--dry-run", cwd=project)
    assert (planned.returncode, planned.stdout, len(keys(project))) == (0, "", 1)
    assert "50 USD / month" in planned.stderr

    rotated = penstock("keys", "rotate", old["id"], "--grace", "0s", cwd=project)
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.strip() != made.stdout.strip()
    assert "refused from now on" in rotated.stderr
    old, new = keys(project)
    assert (old["state"], old["replaced_by"]) == ("expired", new["id"])
    assert (new["state"], new["replaces"], new["account"], new["budget"]) == ("active", old["id"], old["id"], "50 USD / month")
    table = " ".join(penstock("keys", "list", cwd=project).stdout.split())
    for words in ("name", "limits", "rotation", "ci"):
        assert words in table
    again = penstock("keys", "rotate", old["id"], cwd=project)
    assert (again.returncode, f"rotate that one: {new['id']}" in again.stderr) == (1, True)


def test_every_change_stands_in_the_audit_log(project: Path) -> None:
    environ = {"LOGNAME": "ann"}
    secret = penstock("keys", "create", "--tag", "team=search", cwd=project, environ=environ).stdout.strip()
    (key,) = keys(project)
    penstock("keys", "rotate", key["id"], cwd=project, environ=environ)
    penstock("keys", "revoke", key["id"], "--yes", cwd=project, environ=environ)
    for _ in range(2):  # told twice, recorded once
        penstock("record", "cost", "--name", "labels", "--usd", "12.50", "--id", "l1", cwd=project, environ=environ)
    shown = penstock("audit", "--json", cwd=project)
    assert secret not in shown.stdout
    entries = json.loads(shown.stdout)["entries"]
    assert [entry["action"] for entry in entries] == ["cost.record", "key.revoke", "key.rotate", "key.create"]
    assert {entry["actor"] for entry in entries} == {"cli:ann"}
    assert [entry["subject"] for entry in entries] == ["l1", key["id"], key["id"], key["id"]]
    assert entries[0]["details"]["cost_usd"] == "12.500000000"
    assert sorted((entry["id"] for entry in entries), reverse=True) == [entry["id"] for entry in entries]
    table = penstock("audit", "--limit", "1", "--since", "1h", cwd=project).stdout
    assert ("cost.record" in table, "key.create" in table) == (True, False)
