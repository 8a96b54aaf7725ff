"""A journal that takes entries and cannot bring them to the disk (`fsync = "always"`), and one that somebody else holds."""

import fcntl
import os
from pathlib import Path

import pytest

from penstock import supervisor
from penstock.ports.journal import JournalError
from tests.integration.gateway_rig import on_loop, one_upstream, rig
from tests.integration.upstream_rig import simulated


async def _no_sync() -> None:
    raise JournalError("cannot sync the journal: input/output error")


@pytest.mark.parametrize("policy", ["refuse", "serve"])
@on_loop
async def test_a_record_that_is_not_safe(policy: str) -> None:
    async with simulated() as url, rig(one_upstream(url, server=f'journal_failure = "{policy}"')) as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running.journal, "durable", _no_sync)
            whole, streamed = await running.chat(), await running.chat(stream=True)
        assert running.gateway.counters.journal_failures == 2
        assert any("may not survive a power loss" in line for line in running.log)
        if policy == "serve":
            assert (whole.status, whole.whole, streamed.whole) == (200, True, True)
        else:
            assert (whole.status, whole.headers["penstock-error"]) == (503, "limit")
            assert not streamed.whole, "its end was not promised, so it is not shown"
        assert len(running.records) == 2, "what was paid for is counted either way"


def test_the_lock_of_a_journal_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOCK_WAIT_S", 0.1)
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    said: list[str] = []
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(supervisor.StartError, match="is in use") as caught:
            supervisor._lock(tmp_path, said.append)
    finally:
        os.close(held)
    assert "give this one a journal of its own" in caught.value.hint
    assert len(said) == 1
    os.close(supervisor._lock(tmp_path, said.append))
