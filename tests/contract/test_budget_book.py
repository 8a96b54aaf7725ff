"""What every book of grants does: one law over a file of one host and over Redis."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from penstock.adapters.shared import open_book
from penstock.ports.budget_book import BESIDE, LEDGER, Answer, Ask, BudgetBook, Row

DAY = 86_400 * 10**9
NOW = 20_000 * DAY + 1
"""buckets are odd in their last digit: none may go through a double"""
T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest) -> str:
    return "local://" if request.param == "local" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
def do() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def book(place: str, tmp_path: Path, do: Run[None]) -> Iterator[BudgetBook]:
    book = open_book(place, tmp_path)
    yield book
    do(book.close())


def ask(need: int, account: str = "a", *, bucket: int = NOW, limit: int = 1000, fresh: bool = True, **more: int) -> Ask:
    """Of one bucket that counts, just what is needed."""
    kept, want, since = more.get("kept", 0), more.get("want", need), more.get("since", bucket)
    return Ask(account, bucket, since, limit, kept, need, want, fresh)


async def rows(book: BudgetBook, *accounts: str) -> set[Row]:
    return set(await book.rows(accounts or None))


def test_rows_are_raised_to_what_is_needed_and_in_slices_while_there_is_plenty(book: BudgetBook, do: Run[Any]) -> None:
    assert do(book.ask("w", [ask(10, want=500)])) == [Answer("granted", 125, 875)]
    assert do(book.ask("w", [ask(100, kept=20)])) == [Answer("granted", 125, 875)], "it has that already"
    assert do(book.ask("v", [ask(875)])) == [Answer("granted", 875, 0)]
    assert do(book.ask("w", [ask(1, kept=125)])) == [Answer("full", 125, 0)]
    assert do(rows(book)) == {Row("a", NOW, "w", 125), Row("a", NOW, "v", 875)}


def test_all_are_granted_or_none(book: BudgetBook, do: Run[Any]) -> None:
    asks = [ask(10, "a"), ask(10, "b", limit=5), ask(10, "c", fresh=False), ask(10, "d")]
    assert do(book.ask("w", asks)) == [
        Answer("granted", 0, 1000),
        Answer("full", 0, 5),
        Answer("closed", 0, 1000),
        Answer("granted", 0, 1000),
    ]
    assert do(rows(book)) == set()
    assert do(book.ask("w", [asks[0], asks[3]])) == [Answer("granted", 10, 990)] * 2
    assert do(book.ask("w", [])) == []
    with pytest.raises(ValueError, match="twice"):
        do(book.ask("w", [ask(1), ask(1)]))


def test_only_buckets_from_since_on_count(book: BudgetBook, do: Run[Any]) -> None:
    for bucket in (NOW, NOW + DAY, NOW + 2 * DAY):
        do(book.ask("w", [ask(300, bucket=bucket)]))
    assert do(book.ask("w", [ask(100, bucket=NOW + 2 * DAY, since=NOW + DAY, kept=300)])) == [Answer("granted", 400, 300)]
    assert do(book.ask("w", [ask(101, bucket=NOW + 2 * DAY, since=NOW, kept=300)])) == [Answer("full", 400, 0)]
    assert do(book.ask("w", [ask(700, bucket=NOW + 3 * DAY, since=NOW + DAY)])) == [Answer("full", 0, 300)]


def test_what_was_spent_was_spent(book: BudgetBook, do: Run[Any]) -> None:
    assert do(book.ask("w", [ask(5, kept=1200)])) == [Answer("full", 1200, -200)]
    assert do(book.ask("v", [ask(0, kept=7)])) == [Answer("granted", 7, -207)]
    assert do(book.ask("u", [ask(0, kept=9, fresh=False)])) == [Answer("closed", 9, -216)]
    do(book.keep("v", "host", {("a", NOW): 3000}))
    assert do(rows(book)) == {Row("a", NOW, "w", 1200), Row("a", NOW, "v", 3000), Row("a", NOW, "u", 9)}


def test_an_account_is_closed_until_it_is_opened(book: BudgetBook, do: Run[Any]) -> None:
    do(book.keep("w", "host", {("a", NOW): 100}))
    assert do(book.ask("w", [ask(10, kept=100, fresh=False)])) == [Answer("closed", 100, 900)]
    assert not do(book.open("a", {NOW: 300}, [], 17)), "the reading has counted `w` as one that is gone"
    assert not do(book.open("a", {NOW: 300}, ["v"], 17)) and not do(book.open("a", {NOW: 300}, ["v", "w"], 17))
    assert do(book.opened()) == {} and do(rows(book)) == {Row("a", NOW, "w", 100)}
    assert do(book.open("a", {NOW: 300, NOW + DAY: 0}, ["w"], 17))
    assert do(book.opened()) == {"a": 17}
    assert do(book.ask("w", [ask(600, kept=100, fresh=False)])) == [Answer("granted", 700, 0)]
    assert do(rows(book)) == {Row("a", NOW, "w", 700), Row("a", NOW, LEDGER, 300)}
    assert do(book.ask("w", [ask(10, "b", fresh=False)])) == [Answer("closed", 0, 1000)]


def test_opening_compares_a_set_of_holders(book: BudgetBook, do: Run[Any]) -> None:
    for name in ("v", "w"):
        do(book.keep(name, "host", {}))
    assert do(book.open("a", {}, ["w", "v", "w"], 17))


def test_an_older_reading_takes_nothing_from_an_open_account(book: BudgetBook, do: Run[Any]) -> None:
    assert do(book.open("a", {NOW: 100}, [], 17))
    do(book.keep("w", "host", {}))
    do(book.leave("w", {("a", NOW): 50}))
    assert do(book.open("a", {NOW: 100, NOW + DAY: 5}, [], 18)), "read before `w` came"
    assert do(rows(book)) == {Row("a", NOW, LEDGER, 150), Row("a", NOW + DAY, LEDGER, 5)} and do(book.opened()) == {"a": 17}


def test_keeping_sets_rows_gives_back_and_says_who_lives(book: BudgetBook, do: Run[Any]) -> None:
    do(book.ask("w", [ask(800), ask(5, "b")]))
    assert do(book.holders()) == [], "one that only asks is not known"
    before = time.time_ns()
    do(book.keep("w", "a host", {("a", NOW): 300, ("b", NOW): 0, ("c", NOW): 7, ("d", NOW): 0}))
    assert do(rows(book)) == {Row("a", NOW, "w", 300), Row("c", NOW, "w", 7)}
    [known] = do(book.holders())
    assert (known.name, known.host) == ("w", "a host") and before - 10**6 <= known.seen_ns <= time.time_ns() + 10**6
    do(book.ask("w", [ask(1, kept=300)]))
    [again] = do(book.holders())
    assert again.seen_ns > known.seen_ns
    do(book.keep("w", "other", {}))
    assert [each.host for each in do(book.holders())] == ["other"] and len(do(rows(book))) == 2
    assert do(book.ask("v", [ask(700)]))[0].state == "full" and do(book.ask("v", [ask(699)]))[0].state == "granted"


def test_one_that_leaves_is_in_the_ledger_once(book: BudgetBook, do: Run[Any]) -> None:
    for name in ("v", "w"):
        do(book.keep(name, "host", {("a", NOW): 100, ("b", NOW): 50}))
    do(book.leave("w", {("a", NOW): 80, ("c", NOW): 0}))
    left = {Row("a", NOW, "v", 100), Row("b", NOW, "v", 50), Row("a", NOW, LEDGER, 80)}
    assert do(rows(book)) == left and [each.name for each in do(book.holders())] == ["v"]
    do(book.leave("w", {("a", NOW): 80}))
    assert not do(book.retire("w", {("a", NOW): 80}))
    assert do(rows(book)) == left
    do(book.leave("v", {("a", NOW): 90}))
    assert do(rows(book)) == {Row("a", NOW, LEDGER, 170)}


def test_one_that_leaves_a_newer_book_is_counted(book: BudgetBook, do: Run[Any]) -> None:
    do(book.leave("w", {("a", NOW): 80}))
    do(book.leave("w", {("a", NOW): 80}))
    assert do(rows(book)) == {Row("a", NOW, LEDGER, 80)}


def test_one_that_died_is_retired_once(book: BudgetBook, do: Run[Any]) -> None:
    do(book.keep("w", "host", {("a", NOW): 100, ("b", NOW): 50}))
    do(book.ask("stranger", [ask(10)]))
    assert not do(book.retire("nobody", {("a", NOW): 5}))
    assert do(book.retire("w", {("a", NOW): 60}))
    assert not do(book.retire("w", {("a", NOW): 60}))
    assert do(rows(book)) == {Row("a", NOW, LEDGER, 60), Row("a", NOW, "stranger", 10)} and do(book.holders()) == []
    assert do(book.retire("stranger", {}))
    assert do(rows(book)) == {Row("a", NOW, LEDGER, 60)}
    do(book.keep("w", "host", {("a", NOW): 61}))
    assert do(book.retire("w", {("a", NOW): 1})), "it had only been away, and came back"
    assert do(rows(book)) == {Row("a", NOW, LEDGER, 61)}


def test_spend_beside_requests_counts(book: BudgetBook, do: Run[Any]) -> None:
    do(book.set_beside("a", {NOW: 400, NOW + DAY: 100}))
    do(book.set_beside("b", {NOW: 1}))
    do(book.set_beside("a", {NOW: 600, NOW + 2 * DAY: 0}))
    assert do(rows(book)) == {Row("a", NOW, BESIDE, 600), Row("b", NOW, BESIDE, 1)}
    assert do(book.ask("w", [ask(401)])) == [Answer("full", 0, 400)]
    do(book.set_beside("a", {}))
    assert do(book.ask("w", [ask(1000)])) == [Answer("granted", 1000, 0)]


def test_a_credit_beside_requests_makes_room(book: BudgetBook, do: Run[Any]) -> None:
    do(book.ask("w", [ask(50)]))
    do(book.set_beside("a", {NOW: -50}))
    assert do(rows(book, "a")) == {Row("a", NOW, "w", 50), Row("a", NOW, BESIDE, -50)}
    assert do(book.ask("v", [ask(1000)])) == [Answer("granted", 1000, 0)]
    do(book.forget({"a": NOW + 1}))
    assert do(rows(book)) == set()


def test_old_buckets_are_forgotten_by_account(book: BudgetBook, do: Run[Any]) -> None:
    do(book.open("a", {NOW: 5}, [], 17))
    for bucket in (NOW, NOW + DAY):
        do(book.ask("w", [ask(10, "a", bucket=bucket), ask(10, "b", bucket=bucket)]))
    do(book.forget({"a": NOW + DAY, "unheard of": NOW}))
    assert do(rows(book)) == {Row("a", NOW + DAY, "w", 10), Row("b", NOW, "w", 10), Row("b", NOW + DAY, "w", 10)}
    assert do(book.ask("w", [ask(990, "a", bucket=NOW + 2 * DAY, since=NOW)])) == [Answer("granted", 990, 0)]
    assert do(book.opened()) == {"a": 17}


def test_rows_can_be_read_by_account(book: BudgetBook, do: Run[Any]) -> None:
    names = ["plain", 'quo"ted', "a b : c", "žluťoučký", "", "limits/1 key_id=x"]
    for number, name in enumerate(names):
        do(book.keep("w", "host name", {(name, NOW + number): number + 1}))
    for number, name in enumerate(names):
        assert do(rows(book, name)) == {Row(name, NOW + number, "w", number + 1)}
    assert len(do(rows(book))) == len(do(rows(book, *names))) == 6 and do(rows(book, "unheard of")) == set()
    assert do(book.rows([])) == []


def test_large_amounts_are_exact(book: BudgetBook, do: Run[Any]) -> None:
    limit = 9_000_000 * 10**9
    assert do(book.ask("w", [ask(limit - 3, limit=limit)])) == [Answer("granted", limit - 3, 3)]
    assert do(book.ask("v", [ask(4, limit=limit)])) == [Answer("full", 0, 3)]
    assert do(book.ask("v", [ask(3, limit=limit)])) == [Answer("granted", 3, 0)]
    assert do(rows(book)) == {Row("a", NOW, "w", limit - 3), Row("a", NOW, "v", 3)}


def test_many_accounts_at_once(book: BudgetBook, do: Run[Any]) -> None:
    asks = [ask(1, f"account {number}", limit=2, want=2) for number in range(1000)]
    assert do(book.ask("w", asks)) == [Answer("granted", 1, 1)] * 1000
    assert do(book.ask("v", asks)) == [Answer("granted", 1, 0)] * 1000
    refused = do(book.ask("u", [*asks, ask(1, "another")]))
    assert [answer.state for answer in refused] == ["full"] * 1000 + ["granted"] and len(do(book.rows(["another"]))) == 0


def test_a_book_is_the_same_for_all_who_open_it(place: str, tmp_path: Path, book: BudgetBook, do: Run[Any]) -> None:
    other = open_book(place, tmp_path)
    assert do(other.born_ns()) == do(book.born_ns()) <= time.time_ns()
    assert do(book.ask("w", [ask(600)])) == [Answer("granted", 600, 400)]
    assert do(other.ask("v", [ask(600)])) == [Answer("full", 0, 400)]
    do(other.keep("v", "host", {}))
    do(other.close())
    do(other.close())
    assert [each.name for each in do(book.holders())] == ["v"]
