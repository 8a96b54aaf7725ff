"""The keeper when hosts, books and configs change under it: nothing that was spent is forgotten, or counted twice for long."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from penstock.adapters.stores import open_documents
from penstock.bootstrap.ledger import open_keys
from penstock.bootstrap.sharing import begin_sharing
from penstock.bootstrap.spending import KEYS_S, Watching
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.finops.budgets.keeper import GRACE_S, RETOLD_S, STEP_S, Keeper
from penstock.finops.budgets.opening import COUNTS, RECOUNT_S
from penstock.finops.budgets.rollcall import RollCall, announce
from penstock.finops.budgets.spent import Watched
from penstock.finops.ledger import Keys, Ledger
from penstock.ports.budget_book import LEDGER, BookError
from penstock.ports.key_store import ApiKey
from tests.integration.keeper_rig import CONFIG, HOUR, NOW, Desk, give_budgets, record, rows_of


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def test_what_a_live_worker_spent_that_does_not_know_the_cap_counts(desk: Desk) -> None:
    book = desk.book()
    asyncio.run(book.keep("old-worker", "there", {}))
    desk.take_in(record("a", 900, writer="old-worker"))
    asyncio.run(desk.keeper(book).step())
    assert rows_of(desk, book, "all") == {LEDGER: 900}
    asyncio.run(book.leave("old-worker", {}))
    assert rows_of(desk, book, "all") == {LEDGER: 900}


def test_a_live_worker_that_knows_a_part_of_what_it_spent_counts_in_whole(desk: Desk) -> None:
    book = desk.book()
    account = desk.accounts["all"]
    asyncio.run(book.keep("worker-1", "here", {(account.id, account.law.span(NOW).begin): 40}))
    desk.alive = {"worker-1"}
    desk.take_in(record("a", 100, writer="worker-1"))
    asyncio.run(desk.keeper(book).step())
    assert rows_of(desk, book, "all") == {"worker-1": 40, LEDGER: 60}


def test_while_a_host_runs_without_a_cap_what_it_spends_is_counted_on_it(desk: Desk) -> None:
    """A rolling change of the config: `there` still runs without the caps, and is restarted with them later."""
    book, documents = desk.book(), open_documents(desk.settings.server.store)
    ids = [account.id for account in desk.accounts.values()]
    here = RollCall(documents, "here", desk.log.append, ids, clock_ns=lambda: NOW)
    there = RollCall(documents, "there", desk.log.append, [], clock_ns=lambda: NOW)
    keeper, known = desk.keeper(book, roll=here), desk.keeper(book, host="there", roll=there)
    known._watched = list
    asyncio.run(book.keep("old-worker", "there", {}))

    def go_on(seconds: float, *keepers: Keeper) -> None:
        desk.seconds += seconds
        desk.passes += 2
        for each in keepers:
            asyncio.run(each.step())

    for host in ("here", "there"):
        announce(documents, host, NOW)
    for _ in range(3):
        go_on(0, keeper, known)
    assert keeper.open, "it need not wait for the other host to know the caps"
    for number in range(2 * COUNTS):
        desk.take_in(record(f"r{number}", 100, writer="old-worker"))
        go_on(RECOUNT_S, keeper, known)
        assert rows_of(desk, book, "all") == {LEDGER: 100 * (number + 1)}
    asyncio.run(book.leave("old-worker", {}))
    desk.take_in(record("last", 5, writer="old-worker"))
    asyncio.run(there.leave())
    go_on(RECOUNT_S, keeper)
    assert rows_of(desk, book, "all") == {LEDGER: 605}
    for _ in range(COUNTS):
        go_on(RECOUNT_S, keeper)
    desk.take_in(record("later", 7))
    go_on(RECOUNT_S, keeper)
    assert rows_of(desk, book, "all") == {LEDGER: 605}, "all hosts know it: it is counted no more"


def test_a_worker_that_left_before_its_last_words_were_in_the_store_is_counted_in_the_end(desk: Desk) -> None:
    book, documents = desk.book(), open_documents(desk.settings.server.store)
    account = desk.accounts["all"]
    keeper = desk.keeper(book, roll=RollCall(documents, "here", desk.log.append, list(desk.accounts), clock_ns=lambda: NOW))
    asyncio.run(book.leave("quick", {(account.id, account.law.span(NOW).begin): 100}))
    desk.take_in(record("a", 30, writer="older"))
    for _ in range(3):
        desk.passes += 2
        asyncio.run(keeper.step())
    assert rows_of(desk, book, "all") == {LEDGER: 100}
    desk.take_in(record("b", 100, writer="quick"))
    desk.seconds += RECOUNT_S
    asyncio.run(keeper.step())
    assert rows_of(desk, book, "all") == {LEDGER: 130}


def test_a_book_removed_while_workers_live_opens_once_they_have_told_it_all(desk: Desk) -> None:
    book = desk.book()
    account = desk.accounts["all"]
    row = {(account.id, account.law.span(NOW).begin): 800}
    asyncio.run(book.keep("worker-1", "here", row))
    desk.alive = {"worker-1"}
    desk.take_in(record("a", 800, writer="worker-1"))
    keeper = desk.keeper(book)
    asyncio.run(keeper.step())
    assert keeper.open and rows_of(desk, book, "all") == {"worker-1": 800}
    for path in Path(desk.settings.server.journal).glob("budgets.db*"):
        path.unlink()

    def opens() -> bool:
        asyncio.run(keeper.step())
        return keeper.open

    assert not opens()
    desk.seconds += 10 * RETOLD_S
    assert not opens(), "nobody has told what worker-1 holds"
    asyncio.run(book.keep("worker-1", "here", row))
    assert opens() and rows_of(desk, book, "all") == {"worker-1": 800}


def test_a_worker_of_a_host_with_a_copied_journal_is_left_alone_while_it_is_heard_of(desk: Desk) -> None:
    book, keeper = desk.book(), desk.keeper(desk.book(), leased=True)
    row = {(desk.accounts["all"].id, desk.accounts["all"].law.span(NOW).begin): 10}
    for _ in range(5):
        asyncio.run(book.keep("of-the-copy", "here", row))
        desk.seconds += 3
        desk.passes += 3
        asyncio.run(keeper.step())
    assert [holder.name for holder in asyncio.run(book.holders())] == ["of-the-copy"]
    for _ in range(3):
        desk.seconds += GRACE_S
        desk.passes += 3
        asyncio.run(keeper.step())
    assert asyncio.run(book.holders()) == [], "silent for a lease: it has died"


def test_the_age_of_a_shared_book_is_not_told_by_the_clock_of_this_host(desk: Desk) -> None:
    """`born_ns` is of the clock of another machine: here it is months away from this one's."""
    keeper = desk.keeper(desk.book(), leased=True)
    keeper._clock_ns = lambda: NOW + 10**18
    opens = []
    for seconds in (0, GRACE_S - 1, 1):
        desk.seconds += seconds
        asyncio.run(keeper.step())
        opens.append(keeper.open)
    assert opens == [False, False, True]


def test_the_budgets_of_many_keys_open_by_few_readings_after_those_of_the_config(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    give_budgets(desk, *(f"k{number}" for number in range(100)))
    desk.take_in(record("a", 60, key="k1"), record("b", 7, key="k1"), record("c", 5, key="k2", writer="w"), record("d", 1))
    book = desk.book()
    asked: list[CostQuery] = []
    opened: list[str] = []
    sums, open_one = Ledger.sums, book.open

    def sums_noted(ledger: Ledger, query: CostQuery) -> list[tuple[Keys, Sums]]:
        asked.append(query)
        return sums(ledger, query)

    async def open_noted(account: str, spent: Mapping[int, int], holders: Sequence[str], at_ns: int) -> bool:
        opened.append(account)
        return await open_one(account, spent, holders, at_ns)

    monkeypatch.setattr(Ledger, "sums", sums_noted)
    monkeypatch.setattr(book, "open", open_noted)
    keeper = desk.keeper(book)
    asyncio.run(keeper.step())
    assert keeper.open and rows_of(desk, book, "key k1") == {LEDGER: 67} and rows_of(desk, book, "key k2") == {LEDGER: 5}
    assert len([query for query in asked if "key_id" in query.by]) == 2, "this month, and the one before"
    assert not any(key == "key_id" for query in asked for key, _ in query.where)
    assert len(opened) == 102 and set(opened[:2]) == {account.id for account in desk.accounts.values()}


def test_what_a_worker_spent_on_a_key_before_it_had_a_budget_is_not_settled_twice(desk: Desk) -> None:
    book = desk.book()
    asyncio.run(book.keep("worker-1", "here", {}))
    desk.alive = {"worker-1"}
    desk.take_in(record("a", 900, HOUR, writer="worker-1", key="k1"))
    give_budgets(desk, "k1")
    keeper = desk.keeper(book)
    asyncio.run(keeper.step())
    assert rows_of(desk, book, "key k1") == {LEDGER: 900}
    cap = desk.of_keys[0].account
    asyncio.run(book.keep("worker-1", "here", {(cap.id, cap.law.span(NOW).begin): 50}))
    desk.take_in(record("b", 40, writer="worker-1", key="k1"))
    desk.alive = set()
    for _ in range(3):
        desk.passes += 2
        asyncio.run(keeper.step())
    assert rows_of(desk, book, "key k1") == {LEDGER: 950}, "not 1840: at most what it had drawn comes to what was counted"


@pytest.mark.anyio
async def test_no_trouble_of_any_kind_ends_the_keeper(desk: Desk) -> None:
    keeper, stop, looks = desk.keeper(desk.book()), asyncio.Event(), [0]

    def look() -> list[Watched]:
        looks[0] += 1
        if looks[0] == 1:
            raise ZeroDivisionError("a bug")
        return []

    keeper._watched = look
    running = asyncio.create_task(keeper.run(stop))
    async with asyncio.timeout(10 * STEP_S):
        while not keeper.open:
            await asyncio.sleep(0.02)
    stop.set()
    await running
    assert "error: the budgets cannot be kept: ZeroDivisionError: a bug" in desk.log


def test_keys_with_budgets_need_the_shared_book_at_the_start(tmp_path: Path) -> None:
    bare = CONFIG.split("[[budgets]]")[0] + '[server]\nshared = "redis://127.0.0.1:1/0"\n'
    desk = Desk(tmp_path, bare)
    begin_sharing(desk.settings)
    open_keys(desk.settings).add(ApiKey(id="k", prefix="p", sha256="0" * 64, created_ns=NOW, budget="1 USD / day"))
    with pytest.raises(BookError, match="cannot be reached"):
        begin_sharing(desk.settings)
    desk.store.close()


def test_caps_are_made_anew_only_when_keys_changed(desk: Desk) -> None:
    seconds = [0.0]
    watching = Watching(desk.settings, monotonic=lambda: seconds[0])
    first = watching.look()
    assert [each.account.name for each in first] == ["all", "search"]
    open_keys(desk.settings).add(ApiKey(id="k", prefix="p", sha256="0" * 64, created_ns=NOW, budget="1 USD / day"))
    assert watching.look() is first
    seconds[0] += KEYS_S
    second = watching.look()
    assert [each.account.name for each in second] == ["all", "search", "key k"] and second[0] is first[0]
    seconds[0] += KEYS_S
    assert watching.look() is second
