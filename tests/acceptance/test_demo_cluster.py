"""`penstock demo --cluster`: two gateways agree to the last digit, share cap and cache, survive a kill, and leave nothing behind."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.command_line import SOURCE, penstock
from tests.acceptance.serving import wait_until
from tests.conftest import REDIS

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


def databases(server: str) -> set[Any]:
    with psycopg.connect(server) as db:
        return {name for (name,) in db.execute("SELECT datname FROM pg_database WHERE datname LIKE 'penstock_demo%'")}


def children_of(directory: Path) -> list[str]:
    """Processes that run in a directory or were started on a file of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = f"{(process / 'cwd').readlink()} {(process / 'cmdline').read_bytes().decode(errors='replace')}"
        except OSError:
            continue
        if str(directory) in said:
            found.append(said)
    return found


def command(postgres: str) -> list[str]:
    return ["demo", "--cluster", "--postgres", postgres, "--redis", os.environ.get("PENSTOCK_TEST_REDIS", REDIS)]


def test_two_gateways_are_one(tmp_path: Path, postgres_server: str, redis_url: str) -> None:
    before = databases(postgres_server)
    seen = penstock(*command(postgres_server), "--seconds", "6", "--json", cwd=tmp_path, environ={"TMPDIR": str(tmp_path)})
    told = json.loads(seen.stdout)
    first, second = told["replicas"]
    killed = next(each for each in told["replicas"] if each["name"] == told["killed"])
    left = next(each for each in told["replicas"] if each["name"] != told["killed"])
    assert left["answered"] > 5 and left["failed"] == 0, told
    assert killed["answered"] > 0
    for each in (first, second):
        assert 0 <= Decimal(each["capped_usd"]) <= Decimal(told["cap_usd"]), told
        assert each["recalled"] <= each["asked_again"]
    assert first["recalled"] + second["recalled"] > 0, "one answers from what the other kept"
    assert databases(postgres_server) == before and not list(tmp_path.iterdir()) and not children_of(tmp_path)


def test_a_kill_that_cannot_be_caught_leaves_nothing_behind(tmp_path: Path, postgres_server: str, redis_url: str) -> None:
    before = databases(postgres_server)
    demo = subprocess.Popen(
        [sys.executable, "-m", "penstock", *command(postgres_server), "--seconds", "60"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path)}, cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: databases(postgres_server) > before, "the demo to begin")
    demo.kill()
    demo.wait()
    wait_until(lambda: databases(postgres_server) == before and not children_of(tmp_path), "it to be cleared away")


@pytest.mark.parametrize(
    ("option", "url", "words"),
    [("--postgres", "postgresql://127.0.0.1:9/none", "there is no PostgreSQL"), ("--redis", "redis://127.0.0.1:9", "there is no Redis")],
)
def test_it_says_which_service_is_missing(tmp_path: Path, postgres_server: str, option: str, url: str, words: str) -> None:
    said = penstock(*command(postgres_server), option, url, cwd=tmp_path)
    assert said.returncode == 1
    assert words in said.stderr and "hint: start one" in said.stderr and option in said.stderr
    assert "Traceback" not in said.stderr
