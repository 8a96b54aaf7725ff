"""Processes on one store: one leads; when it is killed another does, within the time of the lease."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 15.0


class Host:
    def __init__(self, url: str, name: str) -> None:
        command = [sys.executable, "-m", "tests.integration.leading_host", url, name]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def said(self) -> tuple[str, float]:
        """The next change, and when it was."""
        assert self.process.stdout is not None
        sign, at = self.process.stdout.readline().split()
        return sign, float(at)


@contextmanager
def host(url: str, name: str) -> Iterator[Host]:
    running = Host(url, name)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_kill_is_followed_by_another_leader(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres_url") if store == "postgres" else f"sqlite:///{tmp_path}/ledger.db"
    with ExitStack() as stack:
        first = stack.enter_context(host(url, "first"))
        assert first.said()[0] == "+"
        second = stack.enter_context(host(url, "second"))
        time.sleep(1.0)  # longer than a lease: it is renewed, so nobody else leads
        first.process.kill()
        killed = time.time()
        sign, at = second.said()
        assert sign == "+"
        assert killed < at < killed + PATIENCE_S
        third = stack.enter_context(host(url, "third"))
        second.process.kill()
        assert third.said()[0] == "+"
