"""The journal taken into real stores: killed writers, failing stores, segments that come and go."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.journal.files import FileJournal
from penstock.adapters.journal.reader import JournalDirectory
from penstock.adapters.stores import open_store
from penstock.domain.ledger.interrupted import interrupted
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.intake import Intaker, pending
from penstock.ports.usage_store import Intake, Snapshot, StoreError, UsageStore
from tests.ledger_entries import record, reservation

ALL = CostQuery(since_ns=0, until_ns=2**63 - 1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UsageStore]:
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = open_store(url)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Heard(list[UsageRecord]):
    def ids(self) -> list[str]:
        return [each.id for each in self]


def stored(store: UsageStore) -> dict[str, UsageRecord]:
    with store.snapshot() as snapshot:
        found = list(snapshot.records(ALL))
    assert len(found) == len({each.id for each in found})
    return {each.id: each for each in found}


def pending_ids(directory: Path, store: UsageStore) -> list[str]:
    with store.snapshot() as snapshot:
        return [each.id for each in pending(JournalDirectory(directory), snapshot)]


def test_killed_writers_lose_nothing_and_double_nothing(store: UsageStore, directory: Path, tmp_path: Path) -> None:
    dice = random.Random(20)
    heard = Heard()
    intaker = Intaker(JournalDirectory(directory), store, heard.extend)
    told = []
    for round in range(3):
        writers = []
        for n in range(3):
            ack = tmp_path / f"ack{round}-{n}"
            told.append(ack)
            fsync = ("never", "batch", "always")[n]
            command = [sys.executable, "-m", "tests.integration.journal_writer", str(directory), f"w{round}-{n}", fsync, str(ack)]
            writers.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}))
        try:
            wait_until(lambda: all(ack.exists() and ack.stat().st_size > 100 for ack in told[-3:]))
            for writer in writers:
                time.sleep(dice.random() * 0.05)
                intaker.step()
                writer.send_signal(signal.SIGKILL)
                writer.wait()
        finally:
            for writer in writers:
                writer.kill()
                writer.wait()
    expected_last = pending_ids(directory, store)
    before = len(heard)
    while intaker.step():
        pass
    assert sorted(heard.ids()[before:]) == sorted(expected_last), "a report saw the same before it was taken in"
    assert_every_request_once(store, heard, told)


def assert_every_request_once(store: UsageStore, heard: Heard, told: Sequence[Path]) -> None:
    found = stored(store)
    assert sorted(heard.ids()) == sorted(found), "each record is heard of once"
    said = [line.split() for ack in told for line in ack.read_text().splitlines() if line.count(" ") == 1]
    reserved, finished = {id for tag, id in said if tag == "R"}, {id for tag, id in said if tag == "U"}
    booked = {id for id, each in found.items() if each.outcome == "interrupted"}
    assert finished
    assert booked
    assert finished <= set(found) - booked
    assert reserved - finished <= set(found)
    unsaid = (set(found) - reserved) | (set(found) - booked - finished)
    assert len(unsaid) <= len(told), "at most the call that the kill hit, for each writer"
    assert {found[id].cost for id in booked} == {1_000_000}
    assert {found[id].cost for id in finished} == {1}
    with store.snapshot() as snapshot:
        assert snapshot.open_reservations() == {}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_requests_settle_across_passes_and_restarts(store: UsageStore, directory: Path) -> None:
    journal = FileJournal(directory, "w", "never")
    heard = Heard()
    intaker = Intaker(JournalDirectory(directory), store, heard.extend)
    assert not Intaker(JournalDirectory(directory), store, heard.extend).caught_up, "before the first pass nothing is known"
    for id in ("a", "b", "c"):
        journal.reserve(reservation(id))
    journal.append(record("a"))
    assert intaker.step() == 4
    assert intaker.caught_up
    with store.snapshot() as snapshot:
        assert [held.id for held in snapshot.open_reservations()["w"]] == ["b", "c"]
    journal.append(record("b"))
    assert pending_ids(directory, store) == ["b"]
    intaker = Intaker(JournalDirectory(directory), store, heard.extend)
    assert intaker.step() == 1
    assert intaker.step() == 0
    assert heard.ids() == ["a", "b"]
    with store.snapshot() as snapshot:
        assert [held.id for held in snapshot.open_reservations()["w"]] == ["c"]
    journal.close()
    assert pending_ids(directory, store) == ["c"], "a report books what the next pass will book"
    intaker = Intaker(JournalDirectory(directory), store, heard.extend)
    assert intaker.step() == 0
    assert heard[-1] == interrupted(reservation("c"))
    assert pending_ids(directory, store) == []
    assert intaker.step() == 0
    assert sorted(stored(store)) == heard.ids() == ["a", "b", "c"]


def test_a_writer_of_another_host_is_left_alone(store: UsageStore, directory: Path) -> None:
    store.take_in(Intake((), [reservation("far")], (), {"far.000000.jsonl": 9}, {"far": "far"}))
    FileJournal(directory, "near", "never").close()
    intaker = Intaker(JournalDirectory(directory), store, Heard().extend)
    intaker.step()
    with store.snapshot() as snapshot:
        assert list(snapshot.open_reservations()) == ["far"]
        assert snapshot.offsets() == {"far.000000.jsonl": 9}


def test_segments_go_after_their_grace(store: UsageStore, directory: Path) -> None:
    journal = FileJournal(directory, "w", "never", segment_bytes=1)
    for id in ("a", "b"):
        journal.append(record(id))
    clock, heard = Clock(), Heard()
    intaker = Intaker(JournalDirectory(directory), store, heard.extend, clock=clock)
    intaker.step()
    clock.now = 59
    intaker.step()
    assert len(list(directory.iterdir())) == 3
    clock.now = 60
    intaker.step()
    assert [path.name for path in directory.iterdir()] == ["w.000002.jsonl"], "the live one stays"
    journal.reserve(reservation("c"))
    journal.close()
    intaker.step()
    clock.now = 120
    intaker.step()
    assert list(directory.iterdir()) == []
    intaker.step()
    with store.snapshot() as snapshot:
        assert snapshot.offsets() == {}
    assert heard.ids() == sorted(stored(store)) == ["a", "b", "c"]


def test_damage_is_counted_once(store: UsageStore, directory: Path) -> None:
    journal = FileJournal(directory, "w", "never")
    journal.append(record("a"))
    with journal.path.open("ab") as segment:
        segment.write(b"torn")
    journal.close()
    intaker = Intaker(JournalDirectory(directory), store, Heard().extend)
    intaker.step()
    intaker.step()
    assert intaker.damaged == 1


class FailingStore:
    """A store whose deliveries fail: before anything is written, or after all of it is (the answer got lost)."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store
        self.faults: list[str] = []

    def take_in(self, intake: Intake) -> int:
        fault = self.faults.pop(0) if self.faults else "none"
        new = 0 if fault == "before" else self._store.take_in(intake)
        if fault != "none":
            raise StoreError(fault)
        return new

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return self._store.snapshot()

    def prepare(self) -> None:
        self._store.prepare()

    def flush(self) -> None:
        self._store.flush()

    def forget_segment(self, segment: str) -> None:
        self._store.forget_segment(segment)

    def close(self) -> None:
        self._store.close()


ACTION = st.sampled_from(["reserve", "append", "append new", "rotate", "die", "step", "fail before", "fail after", "restart"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTION, max_size=30))
def test_whatever_fails_every_request_is_booked_once(tmp_path_factory: pytest.TempPathFactory, actions: list[str]) -> None:
    base = tmp_path_factory.mktemp("intake")
    store = FailingStore(open_store(f"sqlite:///{base}/ledger.db"))
    store.prepare()
    heard, restarts = Heard(), 0
    intaker = Intaker(JournalDirectory(base / "j"), store, heard.extend)
    writer = FileJournal(base / "j", "w0", "never")
    open_ids: list[str] = []
    expected: dict[str, UsageRecord] = {}
    for number, action in enumerate([*actions, "die", "step", "step"]):
        id = str(number)
        if action == "reserve":
            writer.reserve(reservation(id))
            open_ids.append(id)
        elif action == "append new" or (action == "append" and open_ids):
            finished = id if action == "append new" else open_ids.pop(0)
            expected[finished] = record(finished, cost=number)
            writer.append(expected[finished])
        elif action == "rotate":
            writer._rotate()
        elif action == "die":
            writer.close()
            expected.update((each, interrupted(reservation(each))) for each in open_ids)
            open_ids.clear()
            writer = FileJournal(base / "j", f"w{number + 1}", "never")
        elif action == "restart":
            restarts += 1
            intaker = Intaker(JournalDirectory(base / "j"), store, heard.extend)
        else:
            step(intaker, store, action.removeprefix("fail "))
    assert stored(store) == expected
    assert len(heard) == len(set(heard.ids()))
    assert set(heard.ids()) == set(expected) or restarts, "only an end between a commit and its news may keep the news back"
    with store.snapshot() as snapshot:
        assert snapshot.open_reservations() == {}
    writer.close()
    store.close()


def step(intaker: Intaker, store: FailingStore, fault: str) -> None:
    store.faults = [] if fault == "step" else [fault]
    try:
        intaker.step()
    except StoreError:
        assert not intaker.caught_up
    else:
        assert intaker.caught_up
        assert intaker.lag == 0


def test_lag_counts_what_a_failing_store_leaves_on_the_journal(tmp_path: Path, directory: Path) -> None:
    store = FailingStore(open_store(f"sqlite:///{tmp_path}/ledger.db"))
    store.prepare()
    journal = FileJournal(directory, "w", "never")
    intaker = Intaker(JournalDirectory(directory), store, Heard().extend)
    for round, lag in ((1, 2), (2, 4), (3, 6)):
        journal.append(record(f"a{round}"))
        journal.append(record(f"b{round}"))
        store.faults = ["before"]
        with pytest.raises(StoreError):
            intaker.step()
        assert intaker.lag == lag
    assert intaker.step() == 6
    assert intaker.lag == 0
    journal.close()
    store.close()
