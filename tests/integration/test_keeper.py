"""The keeper of the book: caps open with what the ledger has, dead workers are settled from it, spend without requests is added."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from penstock.ports.budget_book import BESIDE, LEDGER, Ask
from tests.integration.keeper_rig import CONFIG, HOUR, NOW, Desk, record, rows_of


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def test_caps_open_with_what_the_ledger_has(desk: Desk) -> None:
    desk.take_in(record("a", 100), record("b", 20, 15 * HOUR), record("c", 3, 17 * HOUR), record("d", 1000, 0, team="ads"))
    book = desk.book()
    keeper = desk.keeper(book)
    asyncio.run(keeper.step())
    assert keeper.open
    assert rows_of(desk, book, "all") == {LEDGER: 1120}, "the calendar day in UTC"
    assert rows_of(desk, book, "search") == {LEDGER: 123}, "the last 24 hours"


def test_nothing_opens_before_the_journal_is_taken_in(desk: Desk) -> None:
    desk.passes = 0
    book = desk.book()
    keeper = desk.keeper(book)
    asyncio.run(keeper.step())
    assert not keeper.open and asyncio.run(book.opened()) == {}


def test_what_live_workers_have_spent_is_not_counted_twice(desk: Desk) -> None:
    book = desk.book()
    account = desk.accounts["all"]
    span = account.law.span(NOW)
    asyncio.run(book.keep("worker-1", "here", {(account.id, span.begin): 100}))
    desk.alive = {"worker-1"}
    desk.take_in(record("a", 60, writer="worker-1"), record("b", 7, writer="gone"), record("c", 5, writer=None))
    asyncio.run(desk.keeper(book).step())
    assert rows_of(desk, book, "all") == {"worker-1": 100, LEDGER: 12}


def test_a_dead_worker_is_settled_once_all_it_wrote_is_in_the_store(desk: Desk) -> None:
    book = desk.book()
    account = desk.accounts["all"]
    span = account.law.span(NOW)
    keeper = desk.keeper(book)
    asyncio.run(keeper.step())
    asyncio.run(book.keep("worker-1", "here", {}))
    ask = Ask(account.id, span.begin, span.since, account.law.amount, 0, 100_000, 100_000)
    asyncio.run(book.ask("worker-1", [ask]))
    asyncio.run(book.keep("elsewhere", "there", {(account.id, span.begin): 9}))
    for _ in range(3):
        asyncio.run(keeper.step())
        assert rows_of(desk, book, "all")["worker-1"] == 100_000, "what it drew stays held meanwhile"
    desk.take_in(record("a", 30_000, writer="worker-1"), record("b", 500, writer="worker-1"))
    desk.passes += 2
    asyncio.run(keeper.step())
    assert rows_of(desk, book, "all") == {LEDGER: 30_500, "elsewhere": 9}
    assert "settled from the ledger" in desk.log[-1]


def test_a_limit_below_what_is_spent_closes_and_is_said(desk: Desk) -> None:
    desk.take_in(record("a", 2 * 10**9))
    book = desk.book()
    asyncio.run(desk.keeper(book).step())
    assert any("`all` is closed" in line and "2.000000000 USD is spent already" in line for line in desk.log)
    account = desk.accounts["all"]
    span = account.law.span(NOW)
    [answer] = asyncio.run(book.ask("w", [Ask(account.id, span.begin, span.since, account.law.amount, 0, 1, 1)]))
    assert answer.state == "full" and answer.left == -(10**9)


def test_idle_rent_counts_on_a_cap(tmp_path: Path) -> None:
    fleet = '[fleets.own]\nupstream = "main"\ngpu = "L4"\ncount = 2\nprice = "0.1 USD/gpu-hour"\n'
    desk = Desk(tmp_path, CONFIG + fleet)
    desk.take_in(record("a", 100, 3 * HOUR))
    book = desk.book()
    asyncio.run(desk.keeper(book).step())
    beside = rows_of(desk, book, "all")[BESIDE]
    assert beside == pytest.approx(6 * 10**8, rel=0.01), "two GPUs for three hours, though nobody called"
    assert BESIDE not in rows_of(desk, book, "search"), "idle belongs to no team"
    desk.store.close()


def test_gpu_hours_open_with_planned_work(tmp_path: Path) -> None:
    hours = '[fleets.own]\nupstream = "main"\ngpu = "L4"\nplanned_tokens_per_second = 100\n'
    hours += '[[budgets]]\nname = "gpu"\nlimit = "1 gpu-hours / day"\nwhere = { fleet = "own" }\nat_limit = "refuse"\n'
    desk = Desk(tmp_path, CONFIG + hours)
    from penstock.domain.dialects.tokens import Tokens

    served = msgspec.structs.replace(record("a", 1), fleet="own", tokens=Tokens(5, 0, 0, 30, 0))
    desk.take_in(served)
    book = desk.book()
    asyncio.run(desk.keeper(book).step())
    assert rows_of(desk, book, "gpu")[LEDGER] == 300_000, "30 tokens at 10 ms each"
    desk.store.close()
