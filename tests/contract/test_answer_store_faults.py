"""What stores of the semantic cache do when what they lie on is damaged, lost, put back or full: a log begun anew, never a wrong one."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from penstock.adapters.answers import open_answers
from penstock.ports.answer_store import AnswerStore, AnswerStoreError, Entry, LogBegunAnewError
from tests.contract.answer_stores import answer, entry, everything, evidence, vouched
from tests.contract.own_redis import OwnRedis, own_redis


def fill(store: AnswerStore, count: int = 200) -> int:
    """Entries with answers; the place of the last."""
    store.append([entry(f"e{n}", "x" * 500) for n in range(count)], [(f"e{n}", answer(f"e{n}", b"y" * 2000)) for n in range(count)])
    return store.since(0, count)[-1].place


def begins_anew(store: AnswerStore, place: int) -> None:
    """What a reader of the lost log sees, until it reads from the beginning; then all is as in a new one."""
    with pytest.raises(LogBegunAnewError):
        store.since(place)
    with pytest.raises(LogBegunAnewError):
        store.keep_state("acme", place, b"learned")
    with pytest.raises(LogBegunAnewError):
        store.since(place)
    assert everything(store) == [] and store.size() == (0, 0) and store.answer("e0") is None and store.state("acme") is None
    store.append([entry("new"), evidence("r")], [("new", answer("new"))])
    with pytest.raises(LogBegunAnewError):
        store.since(place)
    with pytest.raises(LogBegunAnewError):
        store.trim(place, 2**62)
    assert everything(store) == [entry("new"), evidence("r")] and store.answer("new") == answer("new")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_questions_and_answers_are_not_for_everybody_to_read(folder: Path) -> None:
    before = os.umask(0o002)
    try:
        store = open_answers("local://", folder, print)
        store.append([entry("e")], [("e", answer("e"))])
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.glob("answers.db*") if path.suffix != ".lock"}
        assert modes == dict.fromkeys(("answers.db", "answers.db-wal", "answers.db-shm"), 0o640)
        store.close()
    finally:
        os.umask(before)


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 500)


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def scribbled(path: Path) -> None:
    """All pages but the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [overwritten, truncated, scribbled])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(folder: Path, damage: Callable[[Path], None]) -> None:
    told: list[str] = []
    store = open_answers("local://", folder, told.append)
    place = fill(store)
    store.close()
    damage(folder / "answers.db")
    begins_anew(store, place)
    store.close()
    [line] = told
    [aside] = folder.glob("answers.db.broken-*")
    assert line.startswith("warning: the store") and aside.name in line and "\nhint: " in line
    assert aside.stat().st_size > 4096 and not list(folder.glob("answers.db-*"))


def test_an_emptied_or_removed_file_is_a_new_log(folder: Path) -> None:
    store = open_answers("local://", folder, pytest.fail)
    for damage in (empty, Path.unlink):
        place = fill(store)
        store.close()
        damage(folder / "answers.db")
        begins_anew(store, place)
    store.close()
    assert not list(folder.glob("*.broken-*"))


def test_whoever_has_the_old_file_open_goes_over_to_the_new_one(folder: Path) -> None:
    told: list[str] = []
    one, other = (open_answers("local://", folder, told.append) for _ in range(2))
    place = fill(one)
    assert other.since(0, 1000)[-1].place == place
    one.close()
    # Kept open by `other`: its damage shows to who opens it next.
    overwritten(folder / "answers.db")
    for wal in folder.glob("answers.db-*"):
        wal.unlink()
    one.append([evidence("r")])
    with pytest.raises(LogBegunAnewError):
        other.since(place)
    other.append([evidence("r2")])
    assert everything(one) == [evidence("r"), evidence("r2")] == everything(other)
    assert len(told) == 1
    one.close()
    other.close()


def test_writers_meet_in_the_new_file_when_theirs_is_damaged_under_them(folder: Path) -> None:
    command = [sys.executable, "-m", "tests.contract.answer_stores", "local://", str(folder)]
    writers = {name: subprocess.Popen([*command, name, "1000000"], stdout=subprocess.PIPE, text=True) for name in "ab"}
    for writer in writers.values():
        assert writer.stdout is not None
        assert any(line == "3000\n" for line in writer.stdout)  # most of it is in the file by now, not in the log beside it
    os.truncate(folder / "answers.db", 20_000)
    store, seen = open_answers("local://", folder, lambda line: None), set[str]()
    try:
        while seen < set(writers):
            with suppress(AnswerStoreError):  # the log begins anew while it is read
                everything(store)
                if aside(folder):
                    seen |= {each.id.partition("-")[0] for each in everything(store) if isinstance(each, Entry)}
    finally:
        for writer in writers.values():
            writer.kill()
    acknowledged = {name: [line for line in writer.communicate()[0].split() if line.isdigit()][-1] for name, writer in writers.items()}
    kept = {each.id for each in everything(store) if isinstance(each, Entry)}
    assert {f"{name}-{number}" for name, number in acknowledged.items()} <= kept and "a-0" not in kept
    assert len(aside(folder)) == 1 and store.size()[0] == len(kept)
    store.close()


def aside(folder: Path) -> list[Path]:
    """Files that were set aside, without what SQLite kept beside them."""
    return [file for file in folder.glob("answers.db.broken-*") if not file.name.endswith(("-wal", "-shm"))]


def test_a_log_left_beside_a_removed_file_is_not_taken_for_the_new_ones(folder: Path) -> None:
    store = open_answers("local://", folder, pytest.fail)
    fill(store)
    kept = folder.parent / "kept"
    shutil.copytree(folder, kept)
    store.close()
    (kept / "answers.db").unlink()
    said: list[str] = []
    new = open_answers("local://", kept, said.append)
    assert everything(new) == [] and new.size() == (0, 0)
    new.close()


def test_a_place_where_no_file_can_be_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "answers.db").mkdir()
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "file"):
        store = open_answers("local://", folder, pytest.fail)
        with pytest.raises(AnswerStoreError, match="cannot be opened") as told:
            store.append([entry("e1")])
        assert "[server] journal" in told.value.hint


def test_a_newer_file_is_refused_and_left_as_it_is(folder: Path) -> None:
    store = open_answers("local://", folder, pytest.fail)
    place = fill(store)
    store.close()
    with closing(sqlite3.connect(folder / "answers.db")) as db, db:
        db.execute("UPDATE answer_head SET version = 2")
    with pytest.raises(AnswerStoreError, match="newer penstock") as told:
        store.since(place)
    assert "upgrade" in told.value.hint
    with closing(sqlite3.connect(folder / "answers.db")) as db, db:
        db.execute("UPDATE answer_head SET version = 1")
    assert list(store.since(place)) == []
    store.close()


def test_events_of_another_version_are_left_out_and_counted_once(folder: Path) -> None:
    store = open_answers("local://", folder, pytest.fail)
    store.append([evidence(f"r{number}") for number in range(40)], [])
    store.append([entry("e1")], [("e1", answer("e1"))])
    with closing(sqlite3.connect(folder / "answers.db")) as db, db:
        db.execute("UPDATE answer_log SET body = x'02c0' WHERE place BETWEEN 5 AND 20 OR place = 40")
        db.execute("UPDATE answer_log SET body = x'01c1ff' WHERE place = 30")
        db.execute("UPDATE answer_bodies SET body = x'02c0'")
    for _ in range(2):
        assert everything(store)[3:5] == [evidence("r3"), evidence("r20")] and len(everything(store, 5)) == 23
        assert store.unreadable == 18
    assert store.answer("e1") is None
    places = [each.place for each in store.since(0)]
    [last] = store.since(places[-2])
    after = last.place - 3
    with closing(sqlite3.connect(folder / "answers.db")) as db, db:
        db.execute("UPDATE answer_log SET body = x'02' WHERE place > 38")
    assert list(store.since(after, 2)) == [] == list(store.since(after, 2))
    store.append([evidence("new")])
    assert [each.event for each in store.since(after, 2)] == [evidence("new")] and store.since(after)[0].place > last.place
    store.close()


@pytest.fixture
def server() -> Iterator[OwnRedis]:
    with own_redis("--appendonly", "no", "--enable-debug-command", "yes") as running:
        yield running


@pytest.fixture
def shared(server: OwnRedis, tmp_path: Path) -> Iterator[AnswerStore]:
    store = open_answers(server.url, tmp_path, pytest.fail)
    yield store
    store.close()


pytest_redis = pytest.mark.redis


@pytest_redis
def test_an_emptied_redis_begins_anew(server: OwnRedis, shared: AnswerStore) -> None:
    place = fill(shared)
    assert server("FLUSHALL") == "+OK"
    begins_anew(shared, place)


@pytest_redis
def test_a_redis_that_lost_all_by_a_restart_begins_anew(server: OwnRedis, shared: AnswerStore) -> None:
    place = fill(shared)
    server.kill()
    with pytest.raises(AnswerStoreError, match="failed"):
        shared.since(place)
    server.start()
    begins_anew(shared, place)


@pytest_redis
def test_a_redis_that_came_back_without_its_last_seconds_is_read_anew(server: OwnRedis, shared: AnswerStore, tmp_path: Path) -> None:
    place = fill(shared, 3)
    shared.keep_state("acme", place, b"three")
    assert server("SAVE") == "+OK"
    shared.append([entry("lost"), vouched("e1")])
    lost = shared.since(place)[-1].place
    server.kill()
    server.start()
    other = open_answers(server.url, tmp_path, pytest.fail)
    other.append([entry("a"), entry("b"), entry("c")])
    with pytest.raises(LogBegunAnewError):
        shared.keep_state("acme", lost, b"of what is lost")
    with pytest.raises(LogBegunAnewError):
        shared.since(lost)
    kept = [entry(f"e{number}", "x" * 500) for number in range(3)]
    assert everything(shared) == [*kept, entry("a"), entry("b"), entry("c")] == everything(other)
    assert shared.state("acme") == (shared.since(0)[2].place, b"three") and shared.answer("e1") == answer("e1", b"y" * 2000)
    other.close()


@pytest_redis
@pytest.mark.parametrize("key", ["log", "entries", "bodies", "digests", "states"])
def test_a_key_that_was_dropped_takes_the_log_with_it(server: OwnRedis, shared: AnswerStore, key: str) -> None:
    place = fill(shared)
    shared.keep_state("acme", place, b"learned")
    assert server("DEL", "{penstock:answers:1}:" + key) == ":1"
    begins_anew(shared, place)


@pytest_redis
def test_a_full_redis_is_an_error_and_keeps_what_it_has(server: OwnRedis, shared: AnswerStore) -> None:
    place = fill(shared)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(AnswerStoreError, match="no memory left") as told:
            shared.append([entry("e1")])
        assert "maxmemory" in told.value.hint
        client.config_set("maxmemory", "0")
    assert list(shared.since(place)) == [] and shared.size()[0] == 200


@pytest_redis
def test_scripts_that_a_server_has_forgotten_are_sent_again(server: OwnRedis, shared: AnswerStore) -> None:
    place = fill(shared, 2)
    assert server("SCRIPT", "FLUSH") == "+OK"
    shared.append([evidence("r")])
    assert [each.event for each in shared.since(place)] == [evidence("r")]


@pytest_redis
def test_events_that_another_version_put_into_redis_are_left_out(server: OwnRedis, shared: AnswerStore) -> None:
    fill(shared, 2)
    with redis.Redis.from_url(server.url) as client:
        shared.append([evidence("r")])
        [(id, _)] = client.xrevrange("{penstock:answers:1}:log", count=1)
        client.xdel("{penstock:answers:1}:log", id)
        client.xadd("{penstock:answers:1}:log", {"b": b"\x02"}, id="4-0")
        client.hset("{penstock:answers:1}:meta", "last", 4)
    assert len(everything(shared)) == 2 and shared.unreadable == 1
