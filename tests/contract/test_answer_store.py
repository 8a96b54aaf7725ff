"""What every store of the semantic cache does: one law over a file, PostgreSQL and Redis."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.adapters.answers import open_answers
from penstock.ports.answer_store import AnswerStore, AnswerStoreError, Entry, Event, Evidence, LogBegunAnewError
from tests.contract.answer_stores import answer, entry, everything, evidence, removal, told, used, vouched

KINDS = ["file", pytest.param("postgres", marks=pytest.mark.postgres), pytest.param("redis", marks=pytest.mark.redis)]


class Where(NamedTuple):
    url: str
    folder: Path

    def open(self) -> AnswerStore:
        return open_answers(self.url, self.folder, pytest.fail)


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    if request.param == "file":
        return Where("local://", tmp_path / "journal")
    return Where(str(request.getfixturevalue(f"{request.param}_url")), tmp_path)


@pytest.fixture
def store(where: Where) -> Iterator[AnswerStore]:
    store = where.open()
    yield store
    store.close()


def test_an_empty_log_has_nothing(store: AnswerStore) -> None:
    assert list(store.since(0)) == [] and store.size() == (0, 0)
    assert store.answer("e1") is None and store.state("acme") is None and store.trim(0, 10**19) == 0
    store.append([])
    assert list(store.since(0)) == []


def test_every_kind_of_event_comes_back_whole_and_in_order(store: AnswerStore, where: Where) -> None:
    events: list[Event] = [
        entry("e1", "\U0001f600 \x00 ünïcode 水", tags={"team": "search"}, users=("bob",), worth=12_345_678_901, alike="e0", curated=True),
        entry("e2", vector=None, embedder=None, tier="small", user=None),
        evidence("r1"), told("r2", "e1"), used(4), removal("gone"), vouched("e1"), vouched("never"),
    ]  # fmt: skip
    store.append(events[:3])
    store.append(events[3:])
    assert everything(store) == events == everything(store, page=1)
    reader = where.open()
    assert everything(reader) == events
    reader.close()


def test_what_follows_a_place_is_what_came_after(store: AnswerStore) -> None:
    store.append([entry("e1"), evidence("r1")])
    [_, last] = store.since(0)
    assert list(store.since(last.place)) == []
    store.append([evidence("r2")])
    [new] = store.since(last.place)
    assert new.event == evidence("r2") and new.place > last.place
    assert [each.event for each in store.since(0, 2)] == [entry("e1"), evidence("r1")]


def test_an_answer_lies_under_its_entry(store: AnswerStore, where: Where) -> None:
    store.append([entry("e1"), entry("e2")], [("e1", answer("e1")), ("e2", answer("e2", b"\x00\xff" * 50_000))])
    store.close()
    reader = where.open()
    assert reader.answer("e1") == answer("e1") and reader.answer("e2") == answer("e2", b"\x00\xff" * 50_000)
    assert reader.answer("e3") is None
    reader.close()


def test_an_answer_of_no_entry_is_refused(store: AnswerStore) -> None:
    with pytest.raises(ValueError, match="e2"):
        store.append([entry("e1")], [("e2", answer("e2"))])
    assert everything(store) == []


def test_a_removal_takes_the_entry_its_answer_and_what_was_vouched_for_it(store: AnswerStore) -> None:
    store.append([entry("e1"), entry("e2"), evidence("r1"), vouched("e1"), vouched("e2")], [("e1", answer("e1")), ("e2", answer("e2"))])
    one = store.size()[1] // 2
    store.append([removal("e1", "unknown")])
    assert everything(store) == [entry("e2"), evidence("r1"), vouched("e2"), removal("e1", "unknown")]
    assert store.answer("e1") is None and store.answer("e2") == answer("e2")
    assert store.size() == (1, one)


def test_an_entry_that_comes_and_goes_in_one_call_is_gone(store: AnswerStore) -> None:
    store.append([entry("e1"), removal("e1")], [("e1", answer("e1"))])
    assert everything(store) == [removal("e1")] and store.answer("e1") is None and store.size() == (0, 0)


def test_an_entry_put_again_takes_the_place_of_the_first(store: AnswerStore) -> None:
    store.append([entry("e1"), entry("e2")], [("e1", answer("e1")), ("e2", answer("e2"))])
    [first, _] = store.since(0)
    size = store.size()
    changed = entry("e1", users=("bob",))
    store.append([changed])
    assert everything(store) == [entry("e2"), changed] and store.since(first.place)[-1].event == changed
    assert store.answer("e1") == answer("e1") and store.size()[0] == 2
    store.append([entry("e1")], [("e1", answer("e1"))])
    assert store.size() == size


def test_the_last_that_was_vouched_stands(store: AnswerStore) -> None:
    store.append([entry("e1"), vouched("e1", 6)])
    store.append([vouched("e1", 7, False)])
    assert everything(store) == [entry("e1"), vouched("e1", 7, False)]


def test_what_is_appended_again_is_not_there_twice(store: AnswerStore) -> None:
    events: list[Event] = [entry("e1"), evidence("r1"), told("r2", "e1"), used(4), vouched("e1")]
    for _ in range(2):
        store.append(events, [("e1", answer("e1"))])
    assert everything(store) == events
    before = store.size()
    store.append([entry("e1")], [("e1", answer("e1"))])
    assert store.size() == before


def test_a_half_emoji_is_an_error_and_nothing_of_it_is_kept(store: AnswerStore) -> None:
    with pytest.raises(AnswerStoreError, match="cannot be written"):
        store.append([entry("e1"), entry("e2", "\ud83d")], [("e1", answer("e1"))])
    assert everything(store) == [] and store.answer("e1") is None


def test_a_state_is_kept_unless_a_later_one_is(store: AnswerStore, where: Where) -> None:
    store.append([evidence(f"r{number}") for number in range(5)])
    one, two, three, _, five = (each.place for each in store.since(0))
    store.keep_state("acme", three, b"\x00three \xff")
    store.keep_state("acme", two, b"two")
    store.keep_state("other", one, b"")
    assert store.state("acme") == (three, b"\x00three \xff") and store.state("other") == (one, b"")
    store.keep_state("acme", three, b"three again")
    assert store.state("acme") == (three, b"three again")
    other = where.open()
    other.keep_state("acme", five, b"five")
    assert store.state("acme") == (five, b"five") == other.state("acme")
    other.close()


def test_trimming_forgets_old_events_but_no_entries(store: AnswerStore) -> None:
    store.append([entry("e1", at_ns=1), evidence("r1", 10), vouched("e1", 11), evidence("r2", 2**60), used(12), evidence("r3", 2**60 + 1)])
    places = [each.place for each in store.since(0)]
    assert store.trim(places[0], 2**62) == 0 and store.trim(places[-1], 10) == 0
    assert store.trim(places[1], 2**62) == 1
    assert store.trim(places[-1], 2**60 + 1) == 2
    assert everything(store) == [entry("e1", at_ns=1), vouched("e1", 11), evidence("r3", 2**60 + 1)]
    assert store.trim(places[-1], 2**80) == 1
    store.append([evidence("r4")])
    assert store.since(places[-1])[0].place > places[-1]


def test_trimming_many(store: AnswerStore) -> None:
    store.append([evidence(f"r{number}", number) for number in range(2_500)])
    last = store.since(0, 3_000)[-1].place
    assert store.trim(last, 2_400) == 2_400 and len(everything(store)) == 100


def test_a_place_beyond_the_log_is_of_another_one(store: AnswerStore) -> None:
    store.append([evidence("r1")])
    [first] = store.since(0)
    for _ in range(2):
        with pytest.raises(LogBegunAnewError):
            store.since(first.place + 1)
    with pytest.raises(LogBegunAnewError):
        store.keep_state("acme", first.place + 1, b"")
    with pytest.raises(LogBegunAnewError):
        store.trim(first.place + 1, 2**62)
    assert store.state("acme") is None and [each.event for each in store.since(0)] == [evidence("r1")]
    assert list(store.since(first.place)) == []


def test_two_writers_and_a_reader_that_sees_all_in_order(store: AnswerStore, where: Where) -> None:
    count, failed = 60, list[BaseException]()

    def write(name: str) -> None:
        writer = where.open()
        try:
            for number in range(count):
                writer.append([entry(f"{name}-{number}-{part}") for part in range(3)])
        except BaseException as problem:
            failed.append(problem)
            raise
        finally:
            writer.close()

    store.since(0)
    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    seen, place, ended = [], 0, False
    while True:
        some = store.since(place, 7)
        seen += [each.event.id for each in some if isinstance(each.event, Entry)]
        place = some[-1].place if some else place
        if ended and not some:
            break
        ended = not any(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    assert not failed
    assert seen == [each.id for each in everything(store) if isinstance(each, Entry)]
    for name in "ab":
        assert [id for id in seen if id.startswith(name)] == [f"{name}-{number}-{part}" for number in range(count) for part in range(3)]


def test_what_was_acknowledged_outlives_a_writer_that_is_killed(store: AnswerStore, where: Where) -> None:
    command = [sys.executable, "-m", "tests.contract.answer_stores", where.url, str(where.folder), "k", "100000"]
    acknowledged = -1
    for kills in range(3):
        command[-2] = f"k{kills}"
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            deadline = time.monotonic() + 0.2
            for line in writer.stdout:
                acknowledged = int(line)
                if time.monotonic() > deadline and acknowledged > 5:
                    break
            writer.kill()
        found = [each for each in everything(store) if isinstance(each, Entry) and each.id.startswith(f"k{kills}-")]
        assert [each.id for each in found][: acknowledged + 1] == [f"k{kills}-{number}" for number in range(acknowledged + 1)]
        assert all(store.answer(each.id) == answer(each.id) for each in found)
        evidences = [each.id for each in everything(store) if isinstance(each, Evidence) and each.id.startswith(f"k{kills}-")]
        assert evidences == [f"{each.id}-seen" for each in found]


def test_calls_from_many_threads_wait_for_each_other(store: AnswerStore) -> None:
    store.append([entry("e1")], [("e1", answer("e1"))])
    failed = []

    def work(name: int) -> None:
        for number in range(20):
            store.append([evidence(f"{name}-{number}")])
            if store.answer("e1") != answer("e1"):
                failed.append(number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(everything(store)) == 81


@pytest.mark.parametrize("url", ["mysql://x", "auto", "sqlite:///x.db"])
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(AnswerStoreError) as told:
        open_answers(url, tmp_path, pytest.fail)
    assert "[cache.semantic] store" in told.value.hint


@pytest.mark.parametrize("url", ["postgresql://root@127.0.0.1:1/x", "redis://127.0.0.1:1/0"])
def test_a_server_that_is_away_is_an_error_with_a_hint(url: str, tmp_path: Path) -> None:
    store = open_answers(url, tmp_path, pytest.fail)
    for call in (lambda: store.append([entry("e1")]), lambda: store.since(0), lambda: store.answer("e1"), lambda: store.size()):
        with pytest.raises(AnswerStoreError) as told:
            call()
        assert "[cache.semantic] store" in told.value.hint
    store.close()
