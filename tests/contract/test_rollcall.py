"""The roll call: no cap opens over a book that was begun anew before every host has delivered; over SQLite and PostgreSQL."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from penstock.adapters.shared import fresh_book, open_book
from penstock.adapters.stores import open_documents
from penstock.finops.budgets.rollcall import FORGOTTEN_NS, KIND, PASSES, RollCall, announce
from penstock.ports.budget_book import BudgetBook
from penstock.ports.documents import Document

NOW = 1_795_276_800_000_000_000


class Site:
    """Hosts on one store, and a book that can lose its data."""

    def __init__(self, url: str, folder: Path) -> None:
        self.documents, self._folder = open_documents(url), folder
        self.now_ns = NOW
        self.log: list[str] = []
        fresh_book(folder)

    def book(self) -> BudgetBook:
        return open_book("local://", self._folder)

    def lose_the_book(self) -> None:
        fresh_book(self._folder)

    def host(self, name: str, accounts: Sequence[str] = ()) -> "Host":
        announce(self.documents, name, self.now_ns)
        return Host(self, name, accounts)


class Host:
    def __init__(self, site: Site, name: str, accounts: Sequence[str]) -> None:
        self._site = site
        self.alive: set[str] = set()
        self.passes = 1
        self.roll = RollCall(site.documents, name, site.log.append, accounts, clock_ns=lambda: site.now_ns)

    def look(self, passes: int = 0) -> bool:
        """One look at the book after so many more passes of the intake; whether all are there."""

        async def look() -> bool:
            book = self._site.book()
            await self.roll.answer(book, lambda: self.alive, lambda: self.passes)
            await book.close()
            return await self.roll.is_complete()

        self.passes += passes
        return asyncio.run(look())


@pytest.fixture
def site(url: str, tmp_path: Path) -> Site:
    return Site(url, tmp_path)


def test_a_host_answers_when_all_is_taken_in_that_the_dead_wrote(site: Site) -> None:
    here = site.host("east")
    assert [here.look(), here.look(PASSES - 1), here.look(1), here.look()] == [False, False, True, True]
    assert len(site.log) == 1 and "east" in site.log[0]


def test_a_host_does_not_answer_while_a_living_worker_is_unknown_to_the_book(site: Site) -> None:
    here = site.host("east")
    here.alive = {"worker-1"}
    assert not here.look() and not here.look(10)
    asyncio.run(site.book().keep("worker-1", "east", {}))
    assert not here.look(), "from now on passes count"
    assert here.look(PASSES)


def test_every_host_is_waited_for_and_named(site: Site) -> None:
    here, there = site.host("east"), site.host("west")
    here.look()
    assert not here.look(PASSES)
    assert "west" in site.log[-1] and "east" not in site.log[-1]
    there.look()
    assert there.look(PASSES) and here.look()


def test_a_new_book_is_answered_for_anew(site: Site) -> None:
    here, there = site.host("east"), site.host("west")
    for host in (here, there):
        host.look()
        host.look(PASSES)
    assert here.look()
    site.lose_the_book()
    here.look()
    assert not here.look(PASSES), "there may still hold what nobody knows"
    there.look()
    assert there.look(PASSES) and here.look()


def test_a_host_that_was_killed_and_started_again_has_to_answer_again(site: Site) -> None:
    here, there = site.host("east"), site.host("west")
    for host in (here, there):
        host.look()
        host.look(PASSES)
    assert here.look()
    again = site.host("west")
    assert not here.look()
    again.look()
    assert again.look(PASSES) and here.look()


def test_a_host_that_stopped_in_order_is_not_waited_for(site: Site) -> None:
    here, there = site.host("east"), site.host("west")
    asyncio.run(there.roll.leave())
    here.look()
    assert here.look(PASSES)


def test_a_host_that_was_silent_for_a_day_is_not_waited_for(site: Site) -> None:
    site.host("west")
    here = site.host("east")
    here.look()
    here.look(PASSES)
    for _ in range(5):
        assert not here.look()
        site.now_ns += FORGOTTEN_NS // 5
    site.now_ns += 1
    assert here.look(), "it has said all the time that it is there"


def test_a_host_tells_which_caps_its_workers_know_once_it_has_answered(site: Site) -> None:
    here, there = site.host("east", ["budget:a", "budget:b"]), site.host("west", ["budget:a"])
    for host in (here, there):
        host.look()
    assert asyncio.run(here.roll.known()) == {"east": frozenset(), "west": frozenset()}
    for host in (here, there):
        host.look(PASSES)
    assert asyncio.run(here.roll.known()) == {"east": {"budget:a", "budget:b"}, "west": {"budget:a"}}
    site.host("west", ["budget:a", "budget:b"])
    assert asyncio.run(here.roll.known())["west"] == frozenset(), "its journal may hold what its workers before spent"
    asyncio.run(there.roll.leave())
    assert asyncio.run(here.roll.known()) == {"east": {"budget:a", "budget:b"}}


def test_a_document_of_a_version_before_knows_no_caps(site: Site) -> None:
    here = site.host("east")
    site.documents.put(Document(KIND, "west", NOW, '{"book":1}'))
    assert asyncio.run(here.roll.known())["west"] == frozenset()
