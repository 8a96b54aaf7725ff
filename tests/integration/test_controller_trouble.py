"""What goes wrong beside the work: unreadable segments, journals that cannot shrink, tasks that must not end."""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.journal.files import FileJournal
from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores.sqlite import SqliteStore
from penstock.domain.ledger.measures import CostQuery
from penstock.finops.controller import Controller
from penstock.finops.intake import pending
from penstock.finops.metrics import MetricsAggregator
from penstock.gateway import keys, worker
from penstock.gateway.keys import KeyRing
from penstock.gateway.routing.policies import Policies
from penstock.gateway.standing import Standing
from penstock.ports.journal import JournalError
from penstock.ports.key_store import ApiKey
from tests.ledger_entries import record

ALL = CostQuery(since_ns=0, until_ns=2**63 - 1)


def written(directory: Path, *writers: str) -> None:
    for name in writers:
        journal = FileJournal(directory, name, "never")
        journal.append(record(name))
        journal.close()


def stored(store: SqliteStore) -> list[str]:
    with store.snapshot() as snapshot:
        return sorted(each.id for each in snapshot.records(ALL))


async def passes(controller: Controller, count: int = 1) -> None:
    """So many passes of the intake, and the one at the end."""
    stop = asyncio.Event()
    for _ in range(count):
        await asyncio.to_thread(controller._step)
    stop.set()
    await controller._take_in_until(stop)


def controller_of(tmp_path: Path, log: list[str]) -> tuple[Controller, SqliteStore]:
    store = SqliteStore(tmp_path / "ledger.db")
    return Controller(JournalDirectory(tmp_path / "j"), store, MetricsAggregator((), "1"), log.append), store


def refusing(broken: Path) -> Callable[..., int]:
    real = os.open

    def opening(path: Path, *rest: int) -> int:
        if path == broken:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *rest)

    return opening


def test_an_unreadable_segment_waits_and_the_rest_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "j", "a", "b", "c")
    log: list[str] = []
    controller, store = controller_of(tmp_path, log)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing(tmp_path / "j" / "b.000000.jsonl"))
        asyncio.run(passes(controller, 3))
        assert stored(store) == ["a", "c"]
        assert not controller._ready, "what an earlier run left has not been taken in"
        with store.snapshot() as snapshot, pytest.raises(JournalError, match=r"b\.000000\.jsonl: permission denied"):
            list(pending(JournalDirectory(tmp_path / "j"), snapshot))
    assert len(log) == 1
    assert "b.000000.jsonl: permission denied" in log[0]
    assert "hint: " in log[0]
    asyncio.run(passes(controller))
    assert (stored(store), controller._ready, len(log)) == (["a", "b", "c"], True, 1)
    store.close()


def test_a_segment_that_cannot_be_removed_stays_and_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    log: list[str] = []
    controller, store = controller_of(tmp_path, log)
    controller._intaker._grace_s = 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        for name in ("a", "b"):
            written(tmp_path / "j", name)
            asyncio.run(passes(controller, 2))
        with store.snapshot() as snapshot:
            assert list(pending(JournalDirectory(tmp_path / "j"), snapshot)) == [], "the offset is kept as long as the segment is there"
    assert stored(store) == ["a", "b"]
    assert controller._ready
    assert len(log) == 1
    assert "cannot remove the journal segment" in log[0]
    assert b"penstock_requests_total" in (page := controller._metrics.render({}))
    assert sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(b"penstock_requests_total")) == 2
    asyncio.run(passes(controller))
    assert list((tmp_path / "j").iterdir()) == []
    store.close()


def heard_of(semantic: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """What a worker says of itself, just now."""
    numbers = dict.fromkeys(("requests_in_flight", "unmetered_requests", "reservations_exceeded", "rss_bytes", "journal_failures"), 0)
    tables: dict[str, Any] = {name: [] for name in ("upstream_outstanding", "circuit_open")} | {"queue": {}, "shed": {}}
    return time.monotonic(), {**numbers, **tables, "refused_budget": {}, "book_up": True, "cache": {}, "semantic": semantic}


def test_a_store_of_answers_that_one_worker_cannot_reach_is_down(tmp_path: Path) -> None:
    controller, store = controller_of(tmp_path, [])
    away = {"entries": 5, "bytes": 9, "waiting": 7, "dropped": 2, "store_up": False}
    controller._workers = {"w1": heard_of(away), "w2": heard_of(away | {"waiting": 1, "dropped": 0, "store_up": True}), "w3": heard_of({})}
    gauges = controller.gauges()
    assert gauges["penstock_semantic_cache_store_up"] == [((), 0.0)]
    assert gauges["penstock_semantic_cache_waiting"] == [((), 7.0), ((), 1.0)]
    assert gauges["penstock_semantic_cache_dropped_total"] == [(("w1",), 2.0), (("w2",), 0.0)]
    assert b"penstock_semantic_cache_waiting 8.0" in controller._metrics.render(gauges)
    controller._workers = {"w3": heard_of({})}
    assert not [name for name in controller.gauges() if "semantic" in name], "nothing is answered by meaning"
    store.close()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), OSError(errno.EMFILE, "too many open files")])
def test_keys_stay_fresh_whatever_happens_to_a_look(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(keys, "REFRESH_S", 0.001)
    looks: list[int] = []
    log: list[str] = []

    def load() -> list[ApiKey]:
        looks.append(1)
        if len(looks) <= 5:
            raise error
        return []

    async def scenario() -> None:
        task = asyncio.create_task(KeyRing(load, log.append).keep_fresh())
        async with asyncio.timeout(10):
            while len(looks) < 8:
                await asyncio.sleep(0.001)
        assert not task.done()
        task.cancel()

    asyncio.run(scenario())
    assert len(log) == 1, "said once, not at each look"
    assert type(error).__name__ in log[0]


def test_reports_go_on_whatever_happens_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "REPORT_S", 0.001)
    log: list[str] = []
    done = asyncio.Event()

    class Link:
        tries = 0

        async def report(self, gauges: object, hear: object, learn: object) -> None:
            self.tries += 1
            if self.tries <= 3:
                raise OSError(errno.EMFILE, "too many open files")
            done.set()
            await asyncio.Event().wait()

    class Gateway:
        standing = Standing()
        policies = Policies()

    async def scenario() -> None:
        gateway: Any = Gateway()
        gateway.log = log.append
        link: Any = Link()
        task = asyncio.create_task(worker._report(gateway, link, "w"))
        async with asyncio.timeout(10):
            await done.wait()
        assert not task.done()
        task.cancel()

    asyncio.run(scenario())
    assert len(log) == 1
    assert "too many open files" in log[0]
