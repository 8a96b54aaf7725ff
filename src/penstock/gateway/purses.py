"""Purses: what this worker may spend of each account right now, drawn from the book in slices, so that most requests ask nobody.

A purse holds one bucket of one account: of its `row` (all that the book lets this worker have spent there, ever) some is spent, some is
held by requests in flight, and the rest is room. Room that is not used goes back; near a limit slices are single reservations.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from penstock.domain.budgets.accounts import Account
from penstock.ports.budget_book import LEASE_S, Answer, Ask, BookError, BudgetBook

TICK_S: Final = 0.25
SPARE_TICKS: Final = 4
"""ticks of recent use that stay in a purse"""
SLICE: Final = 256
"""reservations like the present one that are asked for at once, where there is plenty"""
REFUSED_S: Final = 0.1
"""how long a full account is not asked again for as much, unless something comes back here"""
RETRY_S: Final = 0.5
"""after a failure of the book: a request need not find out by itself that it hangs"""
HEARTBEAT_S: Final = 3.0
FORGET_NS: Final = 48 * 3600 * 10**9
"""how long the purse of a period that is over stays, for a clock that is set back"""


class Purse(msgspec.Struct, eq=False):
    """One bucket of one account, amounts in whole units. `row` = spent + held + room."""

    account: Account
    since: int
    bucket: int
    until: int
    plain: bool
    """whether its account is: the hot path asks often"""
    row: int = 0
    room: int = 0
    spent: int = 0
    left: int | None = None
    """what of the limit nobody held, when the book was last asked"""
    seen: int = 0
    """`spent` at the last tick"""
    usual: int = 0
    """spent and held in a tick, lately"""
    told: int = 0
    """the row as the book was last told it"""
    refused: Literal["full", "closed"] | None = None
    refused_need: int = 0
    refused_at: float = 0.0

    @property
    def held(self) -> int:
        return self.row - self.spent - self.room


Held = tuple[Purse, int]
"""a purse, and what a request holds of it"""


class Short(msgspec.Struct, frozen=True):
    """Why a reservation was not taken: the first account that stands in its way."""

    purse: Purse
    state: Literal["full", "closed", "away"]
    """`away`: the book cannot be asked"""
    need: int


class Purses:
    """All purses of one worker. Not for several event loops."""

    def __init__(self, book: BudgetBook, holder: str, host: str, log: Callable[[str], None], *, leased: bool) -> None:
        """`leased`: the book can be out of reach while others use it, so what was drawn from it is good for `LEASE_S` only."""
        self._book, self._holder, self._host, self._log, self._leased = book, holder, host, log, leased
        self._purses: dict[str, dict[int, Purse]] = {}
        self._asking = asyncio.Lock()
        self._released = asyncio.Event()
        self._contact = self._told = time.monotonic()
        self._failed: BookError | None = None
        self._failed_at = 0.0
        self.away = False
        """the book has not answered for so long that what was drawn from it has lapsed"""
        self._born_ns: int | None = None
        self.generation = 0
        """changes when purses are dropped: who keeps some looks for them again"""
        self._overdrawing = False

    def purse(self, account: Account, at_ns: int) -> Purse:
        """The purse of the bucket that an instant falls into."""
        buckets = self._purses.setdefault(account.id, {})
        for purse in buckets.values():
            if purse.bucket <= at_ns < purse.until:
                return purse
        span = account.law.span(at_ns)
        purse = buckets[span.begin] = Purse(account, span.since, span.begin, span.until, account.plain)
        return purse

    def take_at_once(self, wants: Sequence[Held]) -> bool:
        """Takes all or nothing from what is at hand."""
        if self.away:
            return False
        for purse, amount in wants:
            if purse.room < amount:
                return False
        for purse, amount in wants:
            purse.room -= amount
        return True

    async def take(self, wants: Sequence[Held]) -> Sequence[Held] | Short:
        """Takes all or nothing, from the book where a purse has too little; what is held then."""
        if self.take_at_once(wants):
            return wants
        if (known := _refused_lately(wants)) is not None:
            return known
        async with self._asking:
            wants = [(self.purse(purse.account, purse.bucket), amount) for purse, amount in wants]  # some may have been dropped meanwhile
            while not self.take_at_once(wants):
                if (known := _refused_lately(wants)) is not None:  # while this one waited for its turn
                    return known
                if self._failed is not None and time.monotonic() - self._failed_at < RETRY_S:
                    return self._while_away(wants, self._failed) or wants
                lacking = [(purse, amount) for purse, amount in wants if purse.room < amount or self.away]
                for purse, _ in lacking:
                    purse.told = -1  # should its answer be lost, the next tick tells what holds
                try:
                    answers = await self._book.ask(self._holder, [self._ask(purse, amount) for purse, amount in lacking])
                except BookError as problem:
                    return self._while_away(wants, problem) or wants
                self._reached()
                if (short := self._take_in(lacking, answers)) is not None:
                    return short
        return wants

    def settle(self, held: Iterable[Held], costs: Sequence[int]) -> None:
        """What was held is spent as far as it cost, and room again beyond; a cost above it overdraws the purse, in full."""
        for (purse, amount), cost in zip(held, costs, strict=True):
            purse.spent += cost
            purse.room += amount - cost
            if purse.refused is not None:
                purse.refused = None
        self._released.set()

    async def some_released(self, wait_s: float) -> None:
        """Returns when something came back here, or after so long: others may have given back as well."""
        self._released.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._released.wait()
        except TimeoutError:
            pass

    async def register(self) -> None:
        """Tells the book of this worker before it asks anything. While it cannot be told, the ticks go on trying."""
        try:
            await self._book.keep(self._holder, self._host, {})
        except BookError as problem:
            self._lost(problem)
        else:
            self._reached()

    async def keep_even(self) -> None:
        """Gives back what lies idle and says that this worker lives, for as long as it does."""
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    async def leave(self) -> None:
        """The worker ends: what it spent stands in the book for good. Where that cannot be told, the ledger will tell it."""
        try:
            await self._book.leave(self._holder, {(p.account.id, p.bucket): p.spent + p.held for p in self.all()})
        except BookError as problem:
            self._log(f"warning: the budget book was not told of the end of this worker: {problem}")
        await self._book.close()

    async def retry_at_ns(self, purse: Purse, need: int) -> int | None:
        """When a rolling limit will have room for so much, if nothing else is taken; None: nobody knows."""
        law = purse.account.law
        if law.rolling_ns is None:
            return purse.until if law.period is not None else None
        try:
            rows = await self._book.rows([purse.account.id])
        except BookError:
            return None
        by_bucket: dict[int, int] = {}
        for row in rows:
            if row.bucket >= purse.since:
                by_bucket[row.bucket] = by_bucket.get(row.bucket, 0) + row.amount
        over = sum(by_bucket.values()) + need - law.amount
        for bucket in sorted(by_bucket):
            over -= by_bucket[bucket]
            if over <= 0:
                return bucket + (purse.until - purse.bucket) + law.rolling_ns
        return None

    def all(self) -> list[Purse]:
        """Every purse that is kept."""
        return [purse for buckets in self._purses.values() for purse in buckets.values()]

    def _ask(self, purse: Purse, amount: int) -> Ask:
        kept, law = purse.spent + purse.held, purse.account.law
        want = max(amount, min(amount * SLICE, law.amount))
        since, now_ns = purse.since, time.time_ns()
        if law.rolling_ns is not None and purse.until <= now_ns:  # it has waited while its window moved on
            since = max(since, law.span(now_ns).since)
        return Ask(purse.account.id, purse.bucket, since, law.amount, kept, amount, want, purse.account.fresh)

    def _take_in(self, lacking: Sequence[Held], answers: Sequence[Answer]) -> Short | None:
        short = None
        for (purse, amount), answer in zip(lacking, answers, strict=True):
            purse.room += answer.row - purse.row
            purse.row, purse.left = answer.row, answer.left
            purse.told = answer.row
            if answer.state != "granted":
                purse.refused, purse.refused_need, purse.refused_at = answer.state, amount, time.monotonic()
                short = short or Short(purse, answer.state, amount)
        return short

    def _while_away(self, wants: Sequence[Held], problem: BookError) -> Short | None:
        """The book is away: accounts that stay closed refuse beyond what is at hand, the others are overdrawn and counted later."""
        self._lost(problem)
        for purse, amount in wants:
            if purse.account.fail == "closed" and (purse.room < amount or self.away):
                return Short(purse, "away", amount)
        for purse, amount in wants:
            purse.room -= amount
        if not self._overdrawing:
            names = ", ".join(sorted({purse.account.name for purse, _ in wants}))
            self._log(
                f"error: the budget book is away: requests are served beyond what was drawn, and counted later, by {names}: {problem}"
            )
        self._overdrawing = True
        return None

    async def tick(self) -> None:
        """Gives back what lies idle, and now and then says that this worker lives."""
        if self._failed is not None and time.monotonic() - self._failed_at < RETRY_S:
            return
        async with self._asking:
            try:
                await self._tell_book(time.time_ns())
            except BookError as problem:
                self._lost(problem)

    async def _tell_book(self, now_ns: int) -> None:
        """What is given back leaves the purse before the book hears of it: requests take from purses while it is told."""
        for purse in self.all():
            _give_back(purse, now_ns)
        gone = dict.fromkeys(self._drop_outdated(now_ns), 0)
        due = self._failed is not None or time.monotonic() - self._told >= HEARTBEAT_S
        anew = due and await self._is_anew()
        changed = [purse for purse in self.all() if purse.told != purse.row or (anew and purse.row)]
        if not (changed or gone or due):
            return
        rows = {(purse.account.id, purse.bucket): purse.row for purse in changed}
        for purse in changed:
            purse.told = purse.row
        try:
            await self._book.keep(self._holder, self._host, rows | gone)
        except BookError:
            for purse in changed:
                purse.told = -1
            raise
        self._reached()
        self._told = time.monotonic()

    async def _is_anew(self) -> bool:
        """Whether the book is another one than at the last look: it lost its data, and has to learn all of it again."""
        born_ns = await self._book.born_ns()
        anew, self._born_ns = born_ns != self._born_ns, born_ns
        return anew

    def _drop_outdated(self, now_ns: int) -> list[tuple[str, int]]:
        """Forgets purses that hold nothing and count no more; what of them the book may forget too, those of rate limits."""
        gone = [purse for purse in self.all() if not purse.held and _is_outdated(purse, now_ns)]
        for purse in gone:
            buckets = self._purses[purse.account.id]
            del buckets[purse.bucket]
            if not buckets:
                del self._purses[purse.account.id]
        self.generation += bool(gone)
        return [(purse.account.id, purse.bucket) for purse in gone if purse.account.fresh]

    def _reached(self) -> None:
        self._contact, self._failed, self._overdrawing = time.monotonic(), None, False
        if self.away:
            self._log("the budget book answers again")
        self.away = False

    def _lost(self, problem: BookError) -> None:
        self._failed, self._failed_at = problem, time.monotonic()
        lapsed = self._leased and time.monotonic() - self._contact > LEASE_S
        if lapsed and not self.away:
            self._log(f"error: the budget book is away, so hard caps are closed or open by their `fail`: {problem}\nhint: {problem.hint}")
        self.away = self.away or lapsed


def _give_back(purse: Purse, now_ns: int) -> None:
    """Lowers the row by room that lies idle, or raises it to what was overdrawn. Near the limit all room goes."""
    purse.usual, purse.seen = max(purse.spent - purse.seen + purse.held, purse.usual // 2), purse.spent
    tight = purse.until <= now_ns or (purse.left or 0) < 2 * purse.room
    spare = 0 if tight else purse.usual * SPARE_TICKS
    if 0 <= purse.room <= 2 * spare:
        return
    back = purse.room - spare if purse.room > 0 else purse.room
    purse.row -= back
    purse.room -= back
    purse.left = (purse.left or 0) + back


def _is_outdated(purse: Purse, now_ns: int) -> bool:
    law = purse.account.law
    over_ns = law.counts_until(purse.bucket) + (FORGET_NS if law.period is not None else 0)
    return over_ns <= now_ns or (purse.account.fresh and not (purse.spent or purse.usual or purse.row))


def _refused_lately(wants: Sequence[Held]) -> Short | None:
    """What was refused a moment ago for as much or less, while nothing came back here: a flood need not ask for each."""
    since = time.monotonic() - REFUSED_S
    for purse, amount in wants:
        if purse.refused is not None and purse.refused_at > since and amount >= purse.refused_need and purse.room < amount:
            return Short(purse, purse.refused, amount)
    return None


def budget_left(purses: Sequence[Purse]) -> int | None:
    """Nano-USD that the tightest cap has left, as far as this worker knows; None where that is none, or none is in USD."""
    left = [purse.room + purse.left for purse in purses if purse.left is not None and purse.account.law.unit == "USD"]
    return max(0, min(left)) if left else None
