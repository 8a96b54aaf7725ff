"""Purses over a real book, as a machine: whatever requests, crashes and outages do, the cap holds and nothing stays held."""

import asyncio
import tempfile
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from penstock.adapters.shared import fresh_book, open_book
from penstock.domain.budgets.accounts import Account
from penstock.domain.budgets.limits import Law
from penstock.gateway.purses import Held, Purse, Purses, Short, budget_left
from penstock.ports.budget_book import Answer, Ask, BookError, BudgetBook
from tests.integration.gateway_rig import on_loop

LIMIT = 1000
NOW = 1_795_276_800_000_000_000
CAP = Account("budget:cap", "cap", Law("USD", LIMIT, "month"))
INNER = Account("budget:inner", "inner", Law("USD", LIMIT // 2, "month"))
OPEN = msgspec.structs.replace(CAP, fail="open")
RATE = Account("limit:rate", "rate", Law("requests", 5, rolling_ns=60 * 10**9), fail="open", fresh=True)
Result = TypeVar("Result")


class Flaky:
    """A book that can be taken away; it may even have done what it was asked when it fails."""

    def __init__(self, book: BudgetBook) -> None:
        self.book, self.away, self.after = book, False, False

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            if self.away and not self.after:
                raise BookError("away", "wait")
            done = await getattr(self.book, name)(*args)
            if self.away:
                raise BookError("away", "wait")
            return done

        return call


class Life(msgspec.Struct, eq=False):
    """One worker: its purses, its way to the book, and what it has really spent, by account."""

    name: str
    book: Flaky
    purses: Purses
    spent: dict[str, int]
    held: list[tuple[Sequence[Held], "Life"]] = []


class Caps(RuleBasedStateMachine):
    """Three workers draw on one cap and one inside it."""

    requests = Bundle("requests")

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.book = open_book("local://", self.folder.name)
        self.count = 0
        self.beyond = 0
        self.gone: list[Life] = []
        self.lives = [self.live() for _ in range(3)]
        names = [life.name for life in self.lives]
        for account in (CAP, INNER):
            assert self.run(self.book.open(account.id, {}, names, 1))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def live(self) -> Life:
        self.count += 1
        book = Flaky(open_book("local://", self.folder.name))
        name = f"worker-{self.count}"
        life = Life(name, book, Purses(book, name, "here", lambda text: None, leased=False), {CAP.id: 0, INNER.id: 0})
        self.run(life.purses.register())
        return life

    @rule(target=requests, worker=st.integers(0, 2), amount=st.integers(1, 300), inner=st.booleans())
    def take(self, worker: int, amount: int, inner: bool) -> tuple[Life, Sequence[Held]] | None:
        life = self.lives[worker]
        wants = [(life.purses.purse(account, NOW), amount) for account in ((CAP, INNER) if inner else (CAP,))]
        outcome = self.run(life.purses.take(wants))
        if isinstance(outcome, Short):
            assert outcome.state in ("full", "away")
            return None
        return life, outcome

    @rule(request=consumes(requests), share=st.floats(0, 1), over=st.sampled_from([0] * 9 + [50]))
    def settle(self, request: tuple[Life, Sequence[Held]] | None, share: float, over: int) -> None:
        if request is None or request[0] in self.gone:
            return
        life, held = request
        amount = held[0][1]
        cost = int(amount * share) if not over else amount + over
        self.beyond += max(0, cost - amount)
        life.purses.settle(held, [cost] * len(held))
        for purse, _ in held:
            life.spent[purse.account.id] += cost

    @rule(worker=st.integers(0, 2))
    def tick(self, worker: int) -> None:
        self.run(self.lives[worker].purses.tick())

    @rule(worker=st.integers(0, 2), after=st.booleans())
    def lose_the_book(self, worker: int, after: bool) -> None:
        self.lives[worker].book.away, self.lives[worker].book.after = True, after

    @rule(worker=st.integers(0, 2))
    def find_the_book(self, worker: int) -> None:
        self.lives[worker].book.away = False

    @rule(worker=st.integers(0, 2))
    def die(self, worker: int) -> None:
        """What it held is booked whole; its rows stay until it is retired."""
        life, self.lives[worker] = self.lives[worker], self.live()
        for purse in life.purses.all():
            life.spent[purse.account.id] += purse.held
        self.gone.append(life)

    @precondition(lambda self: bool(self.gone))
    @rule()
    def retire(self) -> None:
        life = self.gone[-1]
        bucket = CAP.law.span(NOW).begin
        self.run(self.book.retire(life.name, {(account, bucket): amount for account, amount in life.spent.items()}))

    @invariant()
    def no_cap_is_passed(self) -> None:
        for account, limit in ((CAP, LIMIT), (INNER, LIMIT // 2)):
            lives = [*self.lives, *self.gone]
            used = sum(life.spent[account.id] for life in lives)
            used += sum(purse.held for life in self.lives for purse in life.purses.all() if purse.account is account)
            assert used <= limit + self.beyond

    @invariant()
    def the_book_knows_of_all_that_is_spent(self) -> None:
        rows = self.run(self.book.rows())
        for life in self.lives:
            for purse in life.purses.all():
                assert purse.row == purse.spent + purse.held + purse.room
                row = sum(each.amount for each in rows if each.holder == life.name and each.account == purse.account.id)
                assert row >= purse.spent + purse.held - self.beyond

    def teardown(self) -> None:
        if not hasattr(self, "lives"):
            return
        for life in self.lives:
            life.book.away = False
            for purse in life.purses.all():
                held = purse.held
                life.purses.settle([(purse, held)], [0])
            self.run(life.purses.leave())
        for life in self.gone:
            bucket = CAP.law.span(NOW).begin
            self.run(self.book.retire(life.name, {(account, bucket): amount for account, amount in life.spent.items()}))
        rows = self.run(self.book.rows())
        for account in (CAP, INNER):
            spent = sum(life.spent[account.id] for life in [*self.lives, *self.gone])
            assert sum(row.amount for row in rows if row.account == account.id) == spent
        self.run(self.book.close())
        self.loop.close()
        self.folder.cleanup()


TestCaps = Caps.TestCase
TestCaps.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Counting:
    """A book that notes how often it is asked."""

    def __init__(self, book: BudgetBook) -> None:
        self.book, self.asked = book, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.book, name)

    async def ask(self, holder: str, asks: Sequence[Ask]) -> list[Answer]:
        self.asked += 1
        return await self.book.ask(holder, asks)


async def _purses(folder: str, limit: int = 10**9) -> tuple[Counting, Purses, Purse]:
    book = Counting(open_book("local://", folder))
    purses = Purses(book, "w", "here", lambda text: None, leased=False)
    await purses.register()
    account = msgspec.structs.replace(CAP, law=Law("USD", limit, "month"))
    assert await book.open(account.id, {}, ["w"], 1)
    return book, purses, purses.purse(account, NOW)


@on_loop
async def test_where_there_is_plenty_most_requests_ask_nobody() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book, purses, purse = await _purses(folder)
        for _ in range(2560):
            held = await purses.take([(purse, 1000)])
            assert not isinstance(held, Short)
            purses.settle(held, [1000])
        assert book.asked == 10


@on_loop
async def test_a_flood_of_refusals_asks_seldom() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book, purses, purse = await _purses(folder, 100)
        outcomes = [await purses.take([(purse, 101)]) for _ in range(500)]
        assert all(isinstance(outcome, Short) for outcome in outcomes) and book.asked <= 5


@on_loop
async def test_room_that_lies_idle_goes_back() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book, purses, purse = await _purses(folder)
        held = await purses.take([(purse, 1000)])
        assert not isinstance(held, Short)
        purses.settle(held, [400])
        for _ in range(16):
            await purses.tick()
        assert purse.room == 0 and [row.amount for row in await book.rows()] == [400]
        assert budget_left([purse]) == 10**9 - 400


@on_loop
async def test_without_the_book_for_long_what_was_drawn_has_lapsed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        flaky = Flaky(open_book("local://", folder))
        log: list[str] = []
        purses = Purses(flaky, "w", "here", log.append, leased=True)
        await purses.register()
        await flaky.book.open(CAP.id, {}, ["w"], 1)
        purse = purses.purse(CAP, NOW)
        assert not isinstance(await purses.take([(purse, 10)]), Short)
        flaky.away = True
        assert not isinstance(await purses.take([(purse, 10)]), Short), "what was drawn is good for a while"
        purses._contact -= 60
        purses._told -= 60
        await purses.tick()
        outcome = await purses.take([(purse, 10)])
        assert isinstance(outcome, Short) and outcome.state == "away" and any("closed or open" in line for line in log)
        flaky.away = False
        assert isinstance(await purses.take([(purse, 10)]), Short), "a request does not find out by itself"
        purses._failed_at -= 60
        await purses.tick()
        assert "answers again" in log[-1] and not isinstance(await purses.take([(purse, 10)]), Short)


@on_loop
async def test_rate_limits_leave_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = open_book("local://", folder)
        purses = Purses(book, "w", "here", lambda text: None, leased=False)
        await purses.register()
        old = purses.purse(RATE, NOW - 600 * 10**9)
        held = await purses.take([(old, 1)])
        assert not isinstance(held, Short)
        purses.settle(held, [1])
        generation = purses.generation
        for _ in range(4):
            await purses.tick()
        assert not purses.all() and await book.rows() == [] and purses.generation > generation


class Slow(Counting):
    """A book that takes its time."""

    async def ask(self, holder: str, asks: Sequence[Ask]) -> list[Answer]:
        answers = await super().ask(holder, asks)
        await asyncio.sleep(0.01)
        return answers


@on_loop
async def test_a_request_that_is_given_up_while_it_asks_leaves_nothing_held() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = Slow(open_book("local://", folder))
        purses = Purses(book, "w", "here", lambda text: None, leased=False)
        await purses.register()
        await book.open(CAP.id, {}, ["w"], 1)
        taking = asyncio.create_task(purses.take([(purses.purse(CAP, NOW), 10)]))
        await asyncio.sleep(0.002)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        assert book.asked == 1 and [row.amount for row in await book.rows()] != []
        await purses.tick()
        assert await book.rows() == []


@on_loop
async def test_a_flood_on_one_full_budget_does_not_keep_others_waiting() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = Slow(open_book("local://", folder))
        purses = Purses(book, "w", "here", lambda text: None, leased=False)
        await purses.register()
        for account, spent in ((CAP, LIMIT), (INNER, 0)):
            await book.open(account.id, {account.law.span(NOW).begin: spent}, ["w"], 1)
        flood = [asyncio.create_task(purses.take([(purses.purse(CAP, NOW), 5)])) for _ in range(500)]
        other = await purses.take([(purses.purse(INNER, NOW), 5)])
        assert not isinstance(other, Short) and book.asked <= 3
        assert all(isinstance(outcome, Short) for outcome in await asyncio.gather(*flood))


@on_loop
async def test_a_book_that_lost_its_data_learns_all_of_it_again() -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = open_book("local://", folder)
        purses = Purses(book, "w", "here", lambda text: None, leased=False)
        await purses.register()
        await book.open(CAP.id, {}, ["w"], 1)
        held = await purses.take([(purses.purse(CAP, NOW), 10)])
        assert not isinstance(held, Short)
        purses._told -= 60
        await purses.tick()
        await book.close()
        fresh_book(folder)
        purses._told -= 60
        await purses.tick()
        assert [row.amount for row in await book.rows()] == [purses.purse(CAP, NOW).row]


@on_loop
async def test_purses_of_a_rolling_window_do_not_pile_up() -> None:
    account = msgspec.structs.replace(CAP, id="rolling", law=Law("USD", 10**9, rolling_ns=60 * 10**9))
    with tempfile.TemporaryDirectory() as folder:
        book = open_book("local://", folder)
        purses = Purses(book, "w", "here", lambda text: None, leased=False)
        await purses.register()
        now_ns = time.time_ns()
        await book.open(account.id, {}, ["w"], 1)
        for ago_s in range(300, 0, -1):
            held = await purses.take([(purses.purse(account, now_ns - ago_s * 10**9), 10)])
            assert not isinstance(held, Short)
            purses.settle(held, [10])
        await purses.tick()
        assert len(purses.all()) <= 64
