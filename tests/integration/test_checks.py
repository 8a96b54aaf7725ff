"""Checks in processes of their own and at addresses: what they say, and what becomes of those that hang, raise or are not there."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock.adapters.checks.local import LocalChecks
from penstock.domain.routing.signals.trials import EXACT, Passed, Trial
from penstock.ports.checks import CheckError
from tests.integration.gateway_rig import on_loop
from tests.integration.upstream_rig import answer, closing, dead_url, hanging, scripted

HERE = "tests.integration.checks_of_a_user"
FOREVER = r"^(a|aa)+$"
"""a pattern that backtracks through 2 to the power of 40 ways on forty `a` and a `b`"""


@asynccontextmanager
async def running(most: int = 2) -> AsyncIterator[LocalChecks]:
    checks = LocalChecks(most)
    try:
        yield checks
    finally:
        await checks.close()


async def beats(seconds: float) -> float:
    """The longest that the loop was away, while something else goes on."""
    worst, end = 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - began - 0.01)
    return worst


@on_loop
async def test_checks_of_text() -> None:
    async with running() as checks:
        assert await checks.attempt(Trial("regex", "order 4711", setting=r"\d{4}"), 2) == Passed(True)
        assert not (await checks.attempt(Trial("json_schema", "```\n{}\n```", setting=EXACT, schema={}), 2)).passed
        children = _children()
        assert (await checks.attempt(Trial("sql", "SELECT 1"), 2)).passed
        assert len(children) == 1 and children == _children(), "one process does all"


@on_loop
async def test_a_pattern_that_never_ends_is_ended_and_the_loop_goes_on() -> None:
    async with running(1) as checks:
        await checks.attempt(Trial("json", "1"), 2)
        watched = asyncio.create_task(beats(0.5))
        with pytest.raises(CheckError, match=r"longer than 0\.3 s") as failed:
            await checks.attempt(Trial("regex", "a" * 40 + "b", setting=FOREVER), 0.3)
        assert failed.value.hangs
        assert await watched < 2, "the pattern would take years"
        assert (await checks.attempt(Trial("regex", "aaa", setting=FOREVER), 2)).passed, "the next one has a process again"


@on_loop
async def test_a_schema_of_a_client_that_never_ends_is_ended() -> None:
    async with running(1) as checks:
        with pytest.raises(CheckError, match="longer"):
            await checks.attempt(Trial("json_schema", f'"{"a" * 40}b"', schema={"pattern": FOREVER}), 0.3)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("right", Passed(True)),
        ("wrong", Passed(False)),
        ("likely", Passed(True, score=0.75)),
        ("prints", Passed(True)),
        ("reads", Passed(True, score=0.5)),
    ],
)
@on_loop
async def test_callables_of_users(name: str, result: Passed) -> None:
    async with running() as checks:
        assert await checks.attempt(Trial("python", "the answer", "the question", f"{HERE}:{name}"), 5) == result


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (f"{HERE}:raises", "ZeroDivisionError"),
        (f"{HERE}:leaves", "SystemExit"),
        (f"{HERE}:dies", "its process ended"),
        (f"{HERE}:nonsense", "return a bool, or a probability"),
        (f"{HERE}:beyond", "return a bool, or a probability"),
        (f"{HERE}:missing", "no callable"),
        (f"{HERE}:HERE", "no callable"),
        ("no.such.module:f", "cannot be imported"),
        ("", "ValueError"),
    ],
)
@on_loop
async def test_callables_that_fail_have_not_passed(setting: str, said: str) -> None:
    async with running() as checks:
        with pytest.raises(CheckError, match=said):
            await checks.attempt(Trial("python", "a", "q", setting), 5)
        assert (await checks.attempt(Trial("json", "1"), 5)).passed


@on_loop
async def test_callables_that_hang_do_not_stop_the_others() -> None:
    async with running(2) as checks:
        began = time.monotonic()
        stuck = [checks.attempt(Trial("python", "a", "q", f"{HERE}:hangs"), 0.4) for _ in range(4)]
        said = await asyncio.gather(*stuck, return_exceptions=True)
        assert all(isinstance(each, CheckError) and each.hangs for each in said)
        assert time.monotonic() - began < 8
        assert (await checks.attempt(Trial("json", "1"), 5)).passed


@on_loop
async def test_no_process_is_left_behind() -> None:
    async with running() as checks:
        await checks.attempt(Trial("json", "1"), 5)
        hung = asyncio.create_task(checks.attempt(Trial("python", "a", "q", f"{HERE}:hangs"), 60))
        await asyncio.sleep(1)
        children = _children()
        assert len(children) == 1
        hung.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hung
    assert not children & _children()


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as listed:
        return {int(each) for each in listed.read().split()}


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"pass": True}, Passed(True)),
        ({"pass": False, "reason": "it is late"}, Passed(False, "it is late")),
        ({"score": 0.9}, Passed(True, score=0.9)),
        ({"score": 1}, Passed(True, score=1.0)),
        ({"pass": False, "score": 0.9}, Passed(False, score=0.9)),
    ],
)
@on_loop
async def test_addresses(body: dict[str, Any], result: Passed) -> None:
    async with scripted(answer(body)) as service, running() as checks:
        trial = Trial("http", "the answer", "the question", f"{service.url}/check?a=b", tags={"feature": "faq"})
        assert await checks.attempt(trial, 2) == result
        (asked,) = service.asked
        assert (asked.method, asked.path) == ("POST", "/v1/check?a=b")
        assert asked.headers["content-type"] == "application/json"
        assert asked.json == {"question": "the question", "answer": "the answer", "tags": {"feature": "faq"}}


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (answer({}, 500), "answered 500"),
        (answer({}, 302, {"location": "http://127.0.0.1:1/"}), "answered 302"),
        (answer(b"<html>"), "no JSON"),
        (answer([1]), "neither"),
        (answer({"ok": True}), "neither"),
        (answer({"pass": "yes"}), "neither"),
        (answer({"score": 7}), "no number from 0 to 1"),
        (answer({"score": True}), "no number from 0 to 1"),
        (answer({"score": "high"}), "no number from 0 to 1"),
        (answer({"pass": True, "reason": "x" * 100_000}), "larger"),
        (closing(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"), "closed"),
        (closing(b"SSH-2.0\r\n"), "HTTP"),
        (hanging(), "longer than|in time"),
        (hanging(b'HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"pass"'), "longer than|in time"),
    ],
)
@on_loop
async def test_addresses_that_fail_have_not_passed(play: Any, said: str) -> None:
    async with scripted(play) as service, running() as checks:
        with pytest.raises(CheckError, match=said):
            await checks.attempt(Trial("http", "a", "q", service.url), 0.3)


@pytest.mark.parametrize("url", ["", "ftp://x/y", "http://", "not a url", "http://127.0.0.1:99999999/", "http://caf\u00e9/"])
@on_loop
async def test_addresses_that_are_none(url: str) -> None:
    async with running() as checks:
        with pytest.raises(CheckError, match="no http"):
            await checks.attempt(Trial("http", "a", "q", url), 1)


@on_loop
async def test_an_address_where_nobody_is() -> None:
    async with running() as checks:
        with pytest.raises(CheckError, match="no connection"):
            await checks.attempt(Trial("http", "a", "q", dead_url()), 1)
