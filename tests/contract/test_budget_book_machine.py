"""Holders that reserve, settle, give back, die and come anew over one book: whatever the order, no limit is passed and nothing is lost."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from tempfile import TemporaryDirectory
from typing import Any, Final

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from penstock.adapters.shared import fresh_book, open_book
from penstock.domain.budgets.grants import Claim, decide
from penstock.ports.budget_book import BESIDE, LEDGER, Ask, BudgetBook, Row
from tests.contract.own_redis import OwnRedis, own_redis

DAY: Final = 86_400 * 10**9
FIRST: Final = 20_000 * DAY
LIMITS: Final = {"organisation": 1000, "team": 400, "rolling": 300}
WINDOWS: Final = {"organisation": 0, "team": 0, "rolling": 2}
"""buckets before the present one that count too"""
ACCOUNTS: Final = st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, unique=True)
SELDOM: Final = st.integers(0, 5)
"""0: it happens"""
PICK: Final = st.integers(0, 10**6)
RESERVE: Final = st.tuples(PICK, ACCOUNTS, st.integers(1, 150), st.sampled_from([0, 30, 10**6]))
SETTLE: Final = st.tuples(PICK, st.sampled_from([0, 10, 50, 100, 100, 130]))
Key = tuple[str, int]


class Held(msgspec.Struct):
    """A reservation in flight."""

    keys: list[Key]
    amount: int


class Worker(msgspec.Struct):
    """What a data worker knows of itself. `rows`: what it believes that it may have spent; `over`: spent beyond that, and not yet told."""

    name: str
    rows: Counter[Key]
    spent: Counter[Key]
    over: Counter[Key]
    held: list[Held]
    known: bool = True

    def kept(self) -> Counter[Key]:
        kept = Counter(self.spent)
        for held in self.held:
            kept.update(dict.fromkeys(held.keys, held.amount))
        return kept


class Bookkeeping(RuleBasedStateMachine):
    """`ledger` is the truth: what each writer spent. `allowed` is what may stand above a limit: overruns, and spend beside requests."""

    place = "local://"

    def __init__(self) -> None:
        super().__init__()
        self.ends = contextlib.ExitStack()
        self.folder = self.ends.enter_context(TemporaryDirectory())
        self.run = self.ends.enter_context(asyncio.Runner()).run
        self.book: BudgetBook = open_book(self.place, self.folder)
        self.workers: list[Worker] = []
        self.dead: list[str] = []
        self.ledger: dict[str, Counter[Key]] = {}
        self.beside: Counter[Key] = Counter()
        self.allowed: Counter[Key] = Counter()
        self.bucket, self.born = FIRST, 0

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.run(call)

    def since(self, account: str) -> int:
        return self.bucket - WINDOWS[account] * DAY

    def counted(self, amounts: Mapping[Key, int], account: str) -> int:
        return sum(amount for (name, bucket), amount in amounts.items() if name == account and bucket >= self.since(account))

    def rows(self) -> list[Row]:
        return list(self.do(self.book.rows()))

    def pick(self, number: int, *, with_reservation: bool = False) -> Worker:
        able = [worker for worker in self.workers if worker.known and (worker.held or not with_reservation)]
        return able[number % len(able)]

    def able(self, *, with_reservation: bool = False) -> bool:
        return any(worker.known and (worker.held or not with_reservation) for worker in self.workers)

    @initialize()
    def begin(self) -> None:
        self.born = self.do(self.book.born_ns())
        for account in LIMITS:
            assert self.do(self.book.open(account, {}, [], FIRST))
        self.start()
        self.start()

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def start(self) -> None:
        worker = Worker(f"w{len(self.ledger)}", Counter(), Counter(), Counter(), [])
        self.do(self.book.keep(worker.name, "host", {}))
        self.workers.append(worker)
        self.ledger[worker.name] = Counter()

    @precondition(lambda self: self.able())
    @rule(acts=st.lists(RESERVE | SETTLE, min_size=1, max_size=10))
    def work(self, acts: list[tuple[int, list[str], int, int] | tuple[int, int]]) -> None:
        """Settling refunds all at 0 percent, and is an overrun above 100."""
        for act in acts:
            if len(act) == 4:
                self.reserve(*act)
            elif self.able(with_reservation=True):
                worker = self.pick(act[0], with_reservation=True)
                self.end_of(worker, worker.held.pop(act[0] % len(worker.held)), act[1])

    def reserve(self, number: int, accounts: list[str], need: int, more: int) -> None:
        worker = self.pick(number)
        keys, kept = [(account, self.bucket) for account in accounts], worker.kept()
        if all(kept[key] + need <= worker.rows[key] for key in keys) or self.ask(worker, keys, kept, need, more):
            worker.held.append(Held(keys, need))

    def ask(self, worker: Worker, keys: list[Key], kept: Counter[Key], need: int, more: int) -> bool:
        rows, opened = self.rows(), self.do(self.book.opened())
        asks = [Ask(name, bucket, self.since(name), LIMITS[name], kept[name, bucket], need, need + more) for name, bucket in keys]
        totals = {key: sum(row.amount for row in rows if row.account == key[0] and row.bucket >= self.since(key[0])) for key in keys}
        mine = {(row.account, row.bucket): row.amount for row in rows if row.holder == worker.name}
        law = decide([Claim(LIMITS[k[0]], totals[k], mine.get(k, 0), kept[k], need, need + more, k[0] in opened) for k in keys])
        answers = self.do(self.book.ask(worker.name, asks))
        assert [(each.state, each.row, each.left) for each in answers] == [(each.state, each.row, each.left) for each in law]
        now = {(row.account, row.bucket): row.amount for row in self.rows() if row.holder == worker.name}
        for key, answer in zip(keys, answers, strict=True):
            worker.rows[key], worker.over[key] = answer.row, 0
            forced = max(mine.get(key, 0), kept[key])
            assert now.get(key, 0) == answer.row == forced or totals[key] - mine.get(key, 0) + answer.row <= LIMITS[key[0]]
        return all(answer.state == "granted" for answer in answers)

    def end_of(self, worker: Worker, held: Held, percent: int) -> None:
        cost = held.amount * percent // 100
        for key in held.keys:
            worker.spent[key] += cost
            self.ledger[worker.name][key] += cost
            beyond = max(0, cost - held.amount)
            worker.over[key] += beyond
            self.allowed[key] += beyond

    @precondition(lambda self: self.able())
    @rule(number=PICK)
    def give_back(self, number: int) -> None:
        self.tell(self.pick(number))

    def tell(self, worker: Worker) -> None:
        kept = worker.kept()
        self.do(self.book.keep(worker.name, "host", {key: kept[key] for key in worker.rows.keys() | kept.keys()}))
        worker.rows, worker.over, worker.known = Counter(kept), Counter(), True

    @precondition(lambda self: self.able())
    @rule(number=PICK)
    def die(self, number: int) -> None:
        """What it held is booked whole, from the journal."""
        worker = self.pick(number)
        self.workers.remove(worker)
        self.dead.append(worker.name)
        for held in worker.held:
            self.end_of(worker, held, 100)

    @precondition(lambda self: self.dead)
    @rule()
    def retire(self) -> None:
        name = self.dead.pop()
        assert self.do(self.book.retire(name, self.ledger[name]))
        assert not self.do(self.book.retire(name, self.ledger[name]))

    @precondition(lambda self: self.able())
    @rule(number=PICK)
    def leave(self, number: int) -> None:
        worker = self.pick(number)
        for held in worker.held:
            self.end_of(worker, held, 50)
        self.workers.remove(worker)
        for _ in range(2):
            self.do(self.book.leave(worker.name, worker.spent))

    @rule(account=st.sampled_from(sorted(LIMITS)), amount=st.integers(0, 200))
    def spend_beside(self, account: str, amount: int) -> None:
        self.beside[account, self.bucket] = amount
        self.allowed[account, self.bucket] += amount
        self.tell_beside(account)

    def tell_beside(self, account: str) -> None:
        self.do(self.book.set_beside(account, {bucket: amount for (name, bucket), amount in self.beside.items() if name == account}))

    @rule(chance=SELDOM)
    def time_passes(self, chance: int) -> None:
        if chance:
            return
        self.bucket += DAY
        before = {account: self.since(account) for account in LIMITS}
        self.do(self.book.forget(before))
        for amounts in (self.beside, *(each for worker in self.workers for each in (worker.rows, worker.over))):
            for key in [key for key in amounts if key[1] < before[key[0]]]:
                del amounts[key]

    @rule(chance=SELDOM)
    def lose_the_book(self, chance: int) -> None:
        """Whoever lives must tell first what it keeps; the dead are in the ledger that the accounts are opened from."""
        if chance:
            return
        self.forget_all()
        assert self.do(self.book.born_ns()) > self.born
        self.born = self.do(self.book.born_ns())
        self.dead.clear()
        for worker in self.workers:
            worker.known = False

    def forget_all(self) -> None:
        fresh_book(self.folder)

    @precondition(lambda self: not all(worker.known for worker in self.workers))
    @rule(count=st.integers(1, 4))
    def come_back(self, count: int) -> None:
        for worker in [worker for worker in self.workers if not worker.known][:count]:
            self.tell(worker)

    @precondition(lambda self: len(self.do(self.book.opened())) < len(LIMITS))
    @rule(accounts=ACCOUNTS)
    def open_again(self, accounts: list[str]) -> None:
        for account in accounts:
            self.open(account)

    def open(self, account: str) -> None:
        if account in self.do(self.book.opened()):
            return
        living = {worker.name for worker in self.workers}
        gone = sum((spent for name, spent in self.ledger.items() if name not in living | set(self.dead)), Counter())
        spent = {bucket: amount for (name, bucket), amount in gone.items() if name == account and bucket >= self.since(account)}
        self.tell_beside(account)
        opened = self.do(self.book.open(account, spent, sorted(living | set(self.dead)), self.bucket))
        assert opened == all(worker.known for worker in self.workers)

    @precondition(lambda self: all(worker.known for worker in self.workers))
    @rule(percent=st.sampled_from([0, 70, 100]))
    def settle_all(self, percent: int) -> None:
        """Then the book says what was spent, to the unit."""
        while self.dead:
            self.retire()
        for worker in self.workers:
            while worker.held:
                self.end_of(worker, worker.held.pop(), percent)
            self.tell(worker)
        for account in LIMITS:
            self.open(account)
        known: Counter[Key] = Counter()
        for row in self.rows():
            known[row.account, row.bucket] += row.amount
        spent = sum(self.ledger.values(), Counter(self.beside))
        assert self.present(known) == self.present(spent)

    def present(self, amounts: Counter[Key]) -> Counter[Key]:
        """Without what no longer counts: it may be forgotten, or told of later by one whose answer came late."""
        return +Counter({key: amount for key, amount in amounts.items() if key[1] >= self.since(key[0])})

    @invariant()
    def no_limit_is_passed(self) -> None:
        held = sum((worker.kept() - worker.spent for worker in self.workers), Counter[Key]())
        spent = sum(self.ledger.values(), Counter(self.beside) + held)
        rows = self.rows()
        for account, limit in LIMITS.items():
            most = limit + self.counted(self.allowed, account)
            assert self.counted(spent, account) <= most
            assert sum(row.amount for row in rows if row.account == account and row.bucket >= self.since(account)) <= most

    @invariant()
    def whoever_spends_may(self) -> None:
        rows = {(row.account, row.bucket, row.holder): row.amount for row in self.rows()}
        assert all(amount > 0 for amount in rows.values())
        assert {holder for *_, holder in rows} <= {LEDGER, BESIDE, *self.dead, *(worker.name for worker in self.workers)}
        for worker in self.workers:
            for key, kept in worker.kept().items():
                if worker.known and key[1] >= self.since(key[0]):
                    assert kept - worker.over[key] <= rows.get((*key, worker.name), 0)

    def teardown(self) -> None:
        self.do(self.book.close())
        self.ends.close()


def test_a_local_book() -> None:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Bookkeeping, settings=settings(max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=slow)
    )


@pytest.fixture(scope="module")
def server() -> Iterator[OwnRedis]:
    with own_redis() as server:
        yield server


@pytest.mark.redis
def test_a_book_in_redis(server: OwnRedis) -> None:
    class InRedis(Bookkeeping):
        place = server.url

        def __init__(self) -> None:
            server("FLUSHALL")
            super().__init__()

        def forget_all(self) -> None:
            server("FLUSHALL")

    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        InRedis, settings=settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=slow)
    )
