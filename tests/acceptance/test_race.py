"""No cap is passed, whatever the form of Penstock and whatever dies: the short form of `python -m bench.race`, all forms at once."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import service_missing

ROOT = Path(__file__).parents[2]
ON_ONE_HOST, ON_HOSTS = ("one", "workers"), ("hosts", "lost")
REQUESTS = {"one": 1000, "workers": 500, "hosts": 400, "lost": 200}
KILLS = 4

Races = dict[str, subprocess.Popen[str]]


def begin(form: str, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "bench.race",
        "--json",
        "--only",
        form,
        "--requests",
        str(REQUESTS[form]),
        "--kills",
        str(KILLS),
        *more,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(race: subprocess.Popen[str]) -> dict[str, Any]:
    """What one race says of itself."""
    told, narration = race.communicate(timeout=180)
    assert told, narration
    [found] = json.loads(told)["races"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def races() -> Iterator[Races]:
    """Those on one host, begun at once: most of their time they wait."""
    with ExitStack() as stack:
        yield {form: stack.enter_context(begin(form)) for form in ON_ONE_HOST}


@pytest.fixture(scope="module")
def shared_races(postgres_server: str) -> Iterator[Races]:
    """Those of several hosts, begun at once."""
    if shutil.which("redis-server") is None:
        service_missing("Redis", "there is no redis-server to start and to kill")
    with ExitStack() as stack:
        yield {form: stack.enter_context(begin(form, "--postgres", postgres_server)) for form in ON_HOSTS}


def check(found: dict[str, Any]) -> None:
    assert found["overspent"] == "0.000000000", found
    assert (found["lost"], found["wrong_cost"], found["unexplained"], found["leaked"]) == (0, 0, 0, 0), found
    assert 0.95 <= found["used"] <= 1, found
    assert found["answers"]["served"] > 10 and found["answers"]["refused, one by one"] > 0, found


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.parametrize("form", ON_HOSTS)
def test_hosts_together_never_pass_a_cap(form: str, shared_races: Races, races: Races) -> None:
    found = outcome(shared_races[form])
    check(found)
    assert found["kills"] == (KILLS if form == "lost" else 0)


@pytest.mark.parametrize("form", ON_ONE_HOST)
def test_one_host_never_passes_a_cap(form: str, races: Races) -> None:
    found = outcome(races[form])
    check(found)
    assert found["at_once"] > 150
