"""The keeper of the book: opens every cap with what the ledger says was spent, settles for workers that died, adds spend without requests.

It may die and come back at any time: what a live worker may spend stands in the book, all else in the ledger.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Final

from penstock.finops.budgets.beside import beside
from penstock.finops.budgets.opening import RECOUNT_S, Knowledge, Opening, Reading
from penstock.finops.budgets.rollcall import RollCall
from penstock.finops.budgets.spent import Spent, Watched, end_of
from penstock.ports.budget_book import LEASE_S, BookError, BudgetBook, Holder, Row
from penstock.ports.journal import JournalError
from penstock.ports.usage_store import StoreError

STEP_S: Final = 0.5
BESIDE_S: Final = 30.0
GRACE_S: Final = LEASE_S + 2
"""a book that was just begun may have lost its data: until all that was drawn from it has lapsed or is registered again, nothing opens"""
RETOLD_S: Final = 4.0
"""the same for a host's own book that was removed while workers run: they tell it all they hold within 3 s"""
PASSES: Final = 2
"""whole passes of the intake after a worker was seen dead: then all it wrote is in the store"""


class Keeper:
    """The keeper of one host. `taken_in` counts the whole passes of the intake; `alive` are the writers that run here."""

    def __init__(
        self,
        book: BudgetBook,
        host: str,
        watched: Callable[[], Sequence[Watched]],
        reading: Reading,
        alive: Callable[[], set[str]],
        taken_in: Callable[[], int],
        gpu_time: Mapping[str, Fraction],
        log: Callable[[str], None],
        *,
        leased: bool,
        leads: Callable[[], bool] = lambda: True,
        roll: RollCall | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`roll`: where several hosts share the book, and it may lose its data."""
        self._book, self._host, self._watched, self._reading = book, host, watched, reading
        self._alive, self._taken_in, self._gpu_time, self._log = alive, taken_in, gpu_time, log
        self._leased, self._leads, self._roll, self._clock_ns, self._monotonic = leased, leads, roll, clock_ns, monotonic
        self._opening = Opening(book, reading, gpu_time, log, clock_ns, monotonic)
        self._dead_since: dict[str, int] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        """holder -> when the book heard of it last, by the book's clock, and when that was first seen here"""
        self._born_ns, self._retold_at = 0, 0.0
        self._known: Knowledge | None = None
        self._known_at: float | None = None
        self._beside_at: float | None = None
        self._told = ""
        self.open = False
        """every cap can be spent from"""

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop`; what stands in its way is told once, and tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except (BookError, StoreError, JournalError) as problem:
                self._tell(f"error: the budgets cannot be kept: {problem}\nhint: {problem.hint}")
            except Exception as problem:  # whatever it is: a keeper that ends would leave caps closed and dead workers unsettled, unheard
                self._tell(f"error: the budgets cannot be kept: {type(problem).__name__}: {problem}")
            else:
                self._told = ""
            with suppress(TimeoutError):
                async with asyncio.timeout(STEP_S):
                    await stop.wait()
        await self._book.close()

    async def depart(self) -> None:
        """This host has ended in order, and all it wrote is in the store: nobody need wait for it."""
        if self._roll is not None:
            try:
                await self._roll.leave()
            except StoreError as problem:
                self._tell(f"warning: other hosts may wait for this one: {problem}")

    async def step(self) -> None:
        """One look at everything. Raises `BookError`, `StoreError`, `JournalError`."""
        watched = await asyncio.to_thread(self._watched)
        await self._retire_dead(watched)
        if self._taken_in() < 1:
            return
        if self._roll is not None:
            await self._roll.answer(self._book, self._alive, self._taken_in)
        young = await self._is_young()
        already = await self._book.opened()
        closed = [each for each in watched if each.account.id not in already]
        opened = [each for each in watched if each.account.id in already]
        if closed and not young and await self._all_are_told():
            closed = [] if await self._opening.open(closed) else closed
            opened = opened if closed else list(watched)
        self.open = await self._opening.recount(opened, await self._knowledge()) and not closed
        if (self._beside_at is None or self._monotonic() - self._beside_at >= BESIDE_S) and self._leads():
            await self._set_beside(watched)
            self._beside_at = self._monotonic()

    async def _is_young(self) -> bool:
        """Whether workers that live may not have told the book all that they hold. Clocks of two machines are never compared."""
        born_ns = await self._book.born_ns()
        if born_ns != self._born_ns:
            # The own book of a host is begun before its workers are: only one in the place of another lacks what they hold.
            wait_s = GRACE_S if self._leased else RETOLD_S if self._born_ns else 0.0
            self._born_ns, self._retold_at = born_ns, self._monotonic() + wait_s
        if self._monotonic() >= self._retold_at:
            return False
        heard_ns = max((holder.seen_ns for holder in await self._book.holders()), default=0)
        return not self._leased or heard_ns - born_ns < GRACE_S * 10**9

    async def _all_are_told(self) -> bool:
        """Whether the book knows every worker that lives here, and all hosts have delivered."""
        living, holders = await asyncio.to_thread(self._alive), await self._book.holders()
        return living <= {holder.name for holder in holders} and (self._roll is None or await self._roll.is_complete())

    async def _knowledge(self) -> Knowledge | None:
        if self._roll is not None and (self._known_at is None or self._monotonic() - self._known_at >= RECOUNT_S):
            self._known, self._known_at = await self._roll.known(), self._monotonic()
        return self._known

    async def _retire_dead(self, watched: Sequence[Watched]) -> None:
        """Settles for workers of this host that are gone, once all they wrote is in the store."""
        holders, alive = await self._book.holders(), await asyncio.to_thread(self._alive)
        passes = self._taken_in()  # after the look: a pass that was under way then may have missed somebody's last words
        silent = self._silent(holders)
        dead = [holder for holder in holders if holder.host == self._host and holder.name not in alive and holder.name in silent]
        self._dead_since = {holder.name: self._dead_since.get(holder.name, passes) for holder in dead}
        ready = [holder for holder in dead if passes >= self._dead_since[holder.name] + PASSES]
        rows, opened = (await self._book.rows(), await self._book.opened()) if ready else ([], {})
        for holder in ready:
            spent = await asyncio.to_thread(self._spent_by, holder, rows, watched, opened)
            await self._book.retire(holder.name, spent)
            self._log(f"the worker {holder.name} is gone: what it had spent of the budgets is settled from the ledger")

    def _silent(self, holders: Sequence[Holder]) -> set[str]:
        """Holders that a shared book has not heard of for a lease: another host whose journal was copied from here has the same name."""
        now, newest_ns = self._monotonic(), max((holder.seen_ns for holder in holders), default=0)
        before = self._seen
        self._seen = {
            holder.name: before[holder.name] if before.get(holder.name, (0, now))[0] == holder.seen_ns else (holder.seen_ns, now)
            for holder in holders
        }
        return {
            holder.name
            for holder in holders
            if not self._leased or newest_ns - holder.seen_ns >= LEASE_S * 10**9 or now - self._seen[holder.name][1] >= LEASE_S
        }

    def _spent_by(
        self, holder: Holder, rows: Sequence[Row], watched: Sequence[Watched], opened: Mapping[str, int]
    ) -> dict[tuple[str, int], int]:
        """What is not in the row of the ledger yet of what a holder spent: before an account was opened, only what it held there."""
        known, now_ns = {each.account.id: each for each in watched}, self._clock_ns()
        mine = [(row, known[row.account]) for row in rows if row.holder == holder.name and row.account in known]
        found = {}
        with self._reading(now_ns) as books:
            spent = Spent(books.ledger, self._gpu_time, min((row.bucket for row, _ in mine), default=now_ns), now_ns)
            for row, each in mine:
                since, until = max(row.bucket, spent.begun.get(holder.name, now_ns)), end_of(each.account, row.bucket)
                amount = spent.by_writer(each, since, until, {holder.name}).get(holder.name, 0)
                if amount > row.amount and (at := opened.get(row.account, 0)) > since:
                    later = spent.by_writer(each, at, until, {holder.name}).get(holder.name, 0)
                    amount = max(later, min(amount, row.amount))
                found[row.account, row.bucket] = amount
        return found

    async def _set_beside(self, watched: Sequence[Watched]) -> None:
        now_ns = self._clock_ns()
        counted = [each for each in watched if each.has_beside]
        amounts = await asyncio.to_thread(self._beside, counted, now_ns)
        for each, (bucket, amount) in zip(counted, amounts, strict=True):
            await self._book.set_beside(each.account.id, {bucket: amount})
            law = each.account.law
            oldest = law.span(law.span(now_ns).begin - 1).since  # the period before stays, for a clock that is set back
            await self._book.forget({each.account.id: oldest})

    def _beside(self, counted: Sequence[Watched], now_ns: int) -> list[tuple[int, int]]:
        found = []
        with self._reading(now_ns) as books:
            for each in counted:
                span, unit = each.account.law.span(now_ns), each.account.law.unit
                assert unit == "USD" or unit == "gpu-hours"
                found.append((span.begin, beside(books, dict(each.account.where), unit, span.since, now_ns).amount))
        return found

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            self._log(trouble)
        self._told = trouble
