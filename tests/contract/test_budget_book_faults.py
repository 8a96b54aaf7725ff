"""Books of grants under concurrency and faults: killed processes, lost files, servers that die, freeze, forget or come back old."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.shared import fresh_book, open_book
from penstock.ports.budget_book import LEDGER, Answer, Ask, BookError, BudgetBook, Row
from tests.contract.own_redis import OwnRedis, own_redis

NOW = 20_000 * 86_400 * 10**9
SPAWN = multiprocessing.get_context("spawn")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def ask(need: int, kept: int = 0, *, limit: int = 1000, want: int = 0, account: str = "a", fresh: bool = True) -> Ask:
    return Ask(account, NOW, NOW, limit, kept, need, want, fresh)


@pytest.fixture
def do() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def server() -> Iterator[OwnRedis]:
    with own_redis() as server:
        yield server


@pytest.fixture
def redis(server: OwnRedis, do: Run) -> Iterator[BudgetBook]:
    server("FLUSHALL")
    book = open_book(server.url, "")
    yield book
    do(book.close())


@pytest.fixture
def local(tmp_path: Path, do: Run) -> Iterator[BudgetBook]:
    book = open_book("local://", tmp_path)
    yield book
    do(book.close())


def hammer(place: str, folder: str, holder: str, limit: int, together: threading.Barrier) -> int:
    """Asks for ever more until nothing is left, once all are there; what was granted and used."""
    together.wait(60)

    async def work() -> int:
        book, kept = open_book(place, folder), 0
        while True:
            [answer] = await book.ask(holder, [ask(7, kept, limit=limit, want=50)])
            if answer.state != "granted":
                break
            kept += 7
            if kept % 3 == 0:
                await book.keep(holder, "host", {("a", NOW): kept})
        await book.keep(holder, "host", {("a", NOW): kept})
        await book.close()
        return kept

    return asyncio.run(work())


@pytest.mark.parametrize("place", ["local://", pytest.param("redis", marks=pytest.mark.redis)])
def test_processes_that_ask_at_once_never_get_more_than_the_limit(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if place == "redis":
        server: OwnRedis = request.getfixturevalue("server")
        server("FLUSHALL")
        place = server.url
    with SPAWN.Manager() as manager, SPAWN.Pool(4) as pool:
        together = manager.Barrier(4)
        used = pool.starmap(hammer, [(place, str(tmp_path), f"w{number}", 5000, together) for number in range(4)])
    assert 5000 - 4 * 50 <= sum(used) <= 5000
    assert sum(map(bool, used)) >= 2


def test_threads_share_a_local_book(local: BudgetBook) -> None:
    def work(number: int) -> int:
        async def asks() -> int:
            granted = 0
            while (await local.ask(f"w{number}", [ask(1, granted)]))[0].state == "granted":
                granted += 1
            return granted

        return asyncio.run(asks())

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 1000


def endless(folder: str, started: Any) -> None:
    async def work() -> None:
        book = open_book("local://", folder)
        kept = 0
        while True:
            await book.ask("killed", [ask(1, kept, limit=10**9, account=name) for name in "abcdefgh"])
            kept += 1
            if kept == 20:
                started.set()

    asyncio.run(work())


def test_a_killed_process_leaves_a_local_book_whole_and_free(tmp_path: Path, local: BudgetBook, do: Run) -> None:
    for _ in range(3):
        started = SPAWN.Event()
        process = SPAWN.Process(target=endless, args=(str(tmp_path), started))
        process.start()
        assert started.wait(20)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        begun = time.monotonic()
        assert do(local.ask("v", [ask(0)]))[0].state == "granted" and time.monotonic() - begun < 0.5
        amounts = {row.amount for row in do(local.rows()) if row.holder == "killed"}
        assert len(amounts) == 1, "eight accounts were raised together, or none"
        do(local.retire("killed", {}))
    with closing(sqlite3.connect(tmp_path / "budgets.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_local_book_that_is_held_says_so(tmp_path: Path, local: BudgetBook, do: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.shared.local.BUSY_S", 0.1)
    do(local.ask("w", [ask(1)]))
    with closing(sqlite3.connect(tmp_path / "budgets.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BookError, match="held by another process") as refusal:
            do(local.ask("w", [ask(2)]))
        assert "stopped" in refusal.value.hint
    assert do(local.ask("w", [ask(2)])) == [Answer("granted", 2, 998)]


def test_a_local_book_that_is_held_for_a_moment_is_waited_for(tmp_path: Path, local: BudgetBook, do: Run) -> None:
    do(local.ask("w", [ask(1)]))
    with closing(sqlite3.connect(tmp_path / "budgets.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.02, other.execute, ["ROLLBACK"])
        begun = time.monotonic()
        release.start()
        assert do(local.ask("w", [ask(2)])) == [Answer("granted", 2, 998)]
        assert time.monotonic() - begun >= 0.015
        release.join()


@pytest.mark.parametrize("how", ["fresh", "only the file"])
def test_a_local_book_that_was_removed_begins_anew_for_all(how: str, tmp_path: Path, local: BudgetBook, do: Run) -> None:
    other = open_book("local://", tmp_path)
    born = do(local.born_ns())
    do(local.open("a", {}, [], 17))
    do(local.ask("w", [ask(900)]))
    if how == "fresh":
        fresh_book(tmp_path)
        assert list(tmp_path.iterdir()) == []
        fresh_book(tmp_path)
    else:
        (tmp_path / "budgets.db").unlink()
    assert do(local.born_ns()) == do(other.born_ns()) > born
    assert do(local.opened()) == {} and do(other.rows()) == []
    assert do(other.ask("v", [ask(600)])) == [Answer("granted", 600, 400)]
    assert do(local.ask("w", [ask(600)])) == [Answer("full", 0, 400)]
    do(other.close())


def test_a_local_book_that_cannot_be_says_what_to_do(tmp_path: Path, do: Run) -> None:
    with pytest.raises(BookError, match="cannot be opened") as refusal:
        do(open_book("local://", tmp_path / "missing").born_ns())
    assert "directory" in refusal.value.hint
    (tmp_path / "budgets.db").write_text("no book of any kind, but long enough to be taken for one" * 100)
    book = open_book("local://", tmp_path)
    with pytest.raises(BookError, match="not a book") as refusal:
        do(book.ask("w", [ask(1)]))
    assert "start it again" in refusal.value.hint
    fresh_book(tmp_path)
    assert do(book.ask("w", [ask(1)]))[0].state == "granted"
    do(book.close())


def test_a_call_that_failed_leaves_nothing_behind(local: BudgetBook, do: Run) -> None:
    do(local.ask("w", [ask(5)]))
    with pytest.raises(OverflowError):
        do(local.keep("new", "host", {("new", NOW): 1, ("a", NOW): 2**70}))
    assert do(local.holders()) == [] and do(local.rows()) == [Row("a", NOW, "w", 5)]
    do(local.keep("new", "host", {("new", NOW): 1}))
    assert set(do(local.rows())) == {Row("a", NOW, "w", 5), Row("new", NOW, "new", 1)}


def test_a_book_of_no_kind_is_refused() -> None:
    with pytest.raises(BookError, match="nothing is shared by `memcached://`"):
        open_book("memcached://host", "")
    with pytest.raises(BookError, match="cannot be read"):
        open_book("redis://host:6379/0?socket_timeout=soon", "")


@pytest.mark.redis
def test_scripts_that_redis_forgot_are_sent_again(server: OwnRedis, redis: BudgetBook, do: Run) -> None:
    do(redis.ask("w", [ask(1)]))
    server("SCRIPT", "FLUSH")
    assert do(redis.ask("w", [ask(2)])) == [Answer("granted", 2, 998)]


@pytest.mark.redis
def test_a_dropped_connection_costs_no_decision(server: OwnRedis, redis: BudgetBook, do: Run) -> None:
    do(redis.keep("w", "host", {}))
    born = do(redis.born_ns())
    for _ in range(3):
        server("CLIENT", "KILL", "TYPE", "normal")
        assert do(redis.ask("w", [ask(100)])) == [Answer("granted", 100, 900)]
    assert do(redis.born_ns()) == born


@pytest.mark.redis
def test_a_flushed_redis_is_a_new_book(server: OwnRedis, redis: BudgetBook, do: Run) -> None:
    born = do(redis.born_ns())
    do(redis.open("a", {}, [], 17))
    server("FLUSHALL")
    assert do(redis.ask("w", [ask(1, fresh=False)])) == [Answer("closed", 0, 1000)]
    do(redis.keep("w", "host", {("a", NOW): 5}))
    other = open_book(server.url, "")
    assert do(other.born_ns()) == do(redis.born_ns()) > born
    assert do(other.rows()) == [Row("a", NOW, "w", 5)], "the connection of another begins it only once"
    do(other.close())


@pytest.mark.redis
def test_a_redis_that_came_back_old_is_a_new_book(do: Run) -> None:
    """It saved itself, granted more, and was killed: what it then loads would give that away twice."""
    with own_redis() as server:
        book = open_book(server.url, "")
        do(book.keep("w", "host", {("a", NOW): 100}))
        do(book.open("a", {NOW: 1}, ["w"], 17))
        born = do(book.born_ns())
        assert server("SAVE") == "+OK"
        assert do(book.ask("w", [ask(800, 100)]))[0].row == 900
        server.kill()
        with pytest.raises(BookError, match=r"redis at 127.0.0.1:\d+ cannot be reached") as refusal:
            do(book.ask("v", [ask(800)]))
        assert "start it" in refusal.value.hint
        server.start()
        assert server("DBSIZE") != ":0"
        assert do(book.ask("v", [ask(800, fresh=False)])) == [Answer("closed", 0, 1000)]
        assert do(book.born_ns()) > born and do(book.rows()) == [] and do(book.holders()) == [] and do(book.opened()) == {}
        do(book.keep("w", "host", {("a", NOW): 900}))
        assert do(book.open("a", {NOW: 1}, ["w"], 18))
        assert do(book.ask("v", [ask(100, fresh=False)])) == [Answer("full", 0, 99)]
        do(book.close())


@pytest.mark.redis
def test_a_redis_that_hangs_is_given_up_and_its_late_calls_take_nothing_back(do: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.shared.redis.ANSWER_S", 0.3)
    with own_redis() as server:
        late, book = open_book(server.url, ""), open_book(server.url, "")
        do(late.keep("w", "host", {("a", NOW): 100}))
        do(book.born_ns())
        server.freeze()
        begun = time.monotonic()
        with pytest.raises(BookError, match="does not answer in time"):
            do(late.keep("w", "host", {("a", NOW): 50}))
        assert time.monotonic() - begun < 1.0
        server.thaw()
        assert do(book.ask("w", [ask(300, 100)])) == [Answer("granted", 400, 600)]
        assert do(book.rows()) == [Row("a", NOW, "w", 400)]
        for each in (late, book):
            do(each.close())


@pytest.mark.redis
def test_rows_that_are_given_back_take_no_room(server: OwnRedis, redis: BudgetBook, do: Run) -> None:
    do(redis.keep("w", "host", {}))
    empty = server("DBSIZE")
    do(redis.ask("w", [ask(5, account=name) for name in "abc"]))
    do(redis.keep("v", "host", {("a", NOW): 5}))
    do(redis.keep("w", "host", {(name, NOW): 0 for name in "abc"}))
    do(redis.forget({"a": NOW + 1}))
    assert do(redis.rows()) == []
    server("DEL", "penstock:{0}:writers")
    assert server("DBSIZE") == empty


@pytest.mark.redis
def test_a_call_that_a_later_one_overtook_lowers_nothing(redis: Any, do: Run) -> None:
    do(redis.keep("w", "host", {("a", NOW): 100}))
    early = redis._next_turn()
    do(redis.ask("w", [ask(300, 100)]))
    redis._next_turn = lambda: early
    do(redis.keep("w", "host", {("a", NOW): 150, ("b", NOW): 5}))
    assert set(do(redis.rows())) == {Row("a", NOW, "w", 400), Row("b", NOW, "w", 5)}
    del redis._next_turn
    do(redis.leave("w", {("a", NOW): 400}))
    redis._next_turn = lambda: early
    do(redis.keep("w", "host", {("a", NOW): 150}))
    assert do(redis.holders()) == [] and do(redis.rows()) == [Row("a", NOW, LEDGER, 400)]


def refused(do: Run, url: str, sign: str, hint: str) -> None:
    book = open_book(url, "")
    with pytest.raises(BookError, match=sign) as refusal:
        do(book.keep("w", "host", {("a", NOW): 1}))
    assert hint in refusal.value.hint and "wrong" not in str(refusal.value)
    do(book.close())


@pytest.mark.redis
def test_a_redis_that_may_not_be_used_says_what_to_do(do: Run) -> None:
    with own_redis() as server:
        server("REPLICAOF", "127.0.0.1", "1")
        refused(do, server.url, "is a replica", "primary")
        server("REPLICAOF", "NO", "ONE")
        server("CONFIG", "SET", "maxmemory", "100mb")
        server("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        refused(do, server.url, "may forget keys", "noeviction")
        server("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server("CONFIG", "SET", "maxmemory", "1")
        refused(do, server.url, "no memory left", "maxmemory")
        server("CONFIG", "SET", "maxmemory", "0")
        server("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read")
        refused(do, server.url.replace("//", "//reader:secret@"), "does not let this user", "run scripts")
        server("CONFIG", "SET", "requirepass", "secret")
        refused(do, server.url, "wants a password", "user:password")
        refused(do, server.url.replace("//", "//:wrong@"), "refuses the user or the password", "user:password")
        book = open_book(server.url.replace("//", "//:secret@"), "")
        assert do(book.ask("w", [ask(1)]))[0].state == "granted"
        do(book.close())


@pytest.mark.redis
def test_a_node_of_a_cluster_is_told_to_be_one(do: Run) -> None:
    with own_redis("--cluster-enabled", "yes") as server:
        refused(do, server.url, "is a node of a cluster", "a Redis that is none")


@pytest.mark.redis
def test_a_redis_that_was_demoted_decides_nothing(do: Run) -> None:
    with own_redis() as server:
        book = open_book(server.url, "")
        do(book.keep("w", "host", {("a", NOW): 5}))
        server("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BookError, match="is a replica"):
            do(book.ask("w", [ask(1)]))
        do(book.close())


CLAIM = st.tuples(st.integers(0, 200), st.integers(0, 60), st.integers(0, 60), st.integers(0, 200), st.booleans())


@pytest.mark.redis
@settings(max_examples=50, deadline=None)
@given(calls=st.lists(st.lists(CLAIM, min_size=1, max_size=4), min_size=1, max_size=6))
def test_both_books_give_the_same_answers(
    calls: list[list[tuple[int, int, int, int, bool]]], server: OwnRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def compare() -> None:
        server("FLUSHALL")
        local, redis = open_book("local://", tmp_path_factory.mktemp("book")), open_book(server.url, "")
        for turn, call in enumerate(calls):
            asks = [
                Ask(f"a{number}", NOW + turn % 2, NOW, limit, kept, need, want, fresh)
                for number, (limit, kept, need, want, fresh) in enumerate(call)
            ]
            assert await local.ask(f"w{turn % 3}", asks) == await redis.ask(f"w{turn % 3}", asks)
            assert set(await local.rows()) == set(await redis.rows())
        await local.close()
        await redis.close()

    asyncio.run(compare())
