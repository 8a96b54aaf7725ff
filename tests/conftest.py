"""Fixtures that every ring shares: real services in a corner of their own, and one line at the end that says what was skipped and why.

A test that needs a service which is not there is skipped with the reason; where `CI=true` it fails instead, so that nothing
is skipped unseen. `PENSTOCK_TEST_POSTGRES` and `PENSTOCK_TEST_REDIS` point at other servers than the local ones.
"""

import os
import secrets
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # how long an example takes tells of the machine, not of the code
settings.load_profile("unhurried")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C, and so would all that they start

POSTGRES = "postgresql://root@127.0.0.1:5432/test"
REDIS = "redis://127.0.0.1:6379"


def service_missing(what: str, reason: object) -> NoReturn:
    """Ends the test that needs `what`: skipped with the reason, or failed where CI=true."""
    message = f"{what} is not there: {' '.join(str(reason).split())}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a database from which databases can be created."""
    url = os.environ.get("PENSTOCK_TEST_POSTGRES", POSTGRES)
    try:
        import psycopg

        psycopg.connect(url, connect_timeout=3).close()
    except (ImportError, psycopg.Error) as error:
        service_missing("PostgreSQL", error)
    return url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database of this test's own, dropped after it."""
    import psycopg

    name = f"penstock_test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def redis_url() -> Iterator[str]:
    """URL of an empty Redis database of this test's own, emptied after it."""
    server = os.environ.get("PENSTOCK_TEST_REDIS", REDIS).rstrip("/")
    try:
        import redis
    except ImportError as error:
        service_missing("Redis", error)
    with redis.Redis.from_url(f"{server}/0", socket_connect_timeout=3) as claims:
        for number in range(15, 0, -1):
            claim = f"penstock-test-claim:{number}"
            try:
                if not claims.set(claim, os.getpid(), nx=True, ex=600):
                    continue
            except redis.ConnectionError as error:
                service_missing("Redis", error)
            with redis.Redis.from_url(f"{server}/{number}") as client:
                free = client.dbsize() == 0
                try:
                    if free:
                        yield f"{server}/{number}"
                        client.flushdb()
                finally:
                    claims.delete(claim)
            if free:
                return
    service_missing("Redis", "all of its databases 1 to 15 are in use")


@pytest.fixture(scope="session")
def llama_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL (`http://127.0.0.1:PORT/v1`) of a real llama.cpp server with a tiny model of random weights."""
    try:
        from tests.engines.llama import running_engine
    except ImportError as error:
        service_missing("the llama.cpp engine", error)
    with running_engine(tmp_path_factory.mktemp("llama")) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return Path(__file__).resolve().parent.parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line: how many tests were skipped, for which reasons."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "no reason given"
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped: {told}", yellow=True)
