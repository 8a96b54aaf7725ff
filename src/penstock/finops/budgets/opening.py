"""The opening of accounts, and their recounts: the row `LEDGER` of an account is what the ledger has but for what live workers hold there.

A worker that runs with a config from before a cap was written has no row on it, so of what such a worker spent nothing is left out, and
while its host runs the account is counted again and again: whoever changes the config of one host after another need not stop all of them
first, and nothing of what the old ones spend meanwhile is forgotten. What a reading lacks because a journal was not taken in yet, a
recount brings too: a row of the ledger is only ever raised.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Final

from penstock.domain.budgets.accounts import Account
from penstock.domain.units import format_usd
from penstock.finops.books import Books
from penstock.finops.budgets.spent import Spent, Watched, buckets
from penstock.ports.budget_book import BudgetBook, Holder

COUNTS: Final = 3
"""how often an account is counted after all hosts know it, the opening included"""
RECOUNT_S: Final = 10.0

Reading = Callable[[int], AbstractContextManager[Books]]
Counted = list[tuple[int, int, dict[str, int]]]
"""bucket, all that the ledger has in it, and how much of that each live worker spent"""
Knowledge = Mapping[str, frozenset[str]]
"""host -> the accounts of the config that all of its workers know"""


class Opening:
    """Opens and recounts for one keeper."""

    def __init__(
        self,
        book: BudgetBook,
        reading: Reading,
        gpu_time: Mapping[str, Fraction],
        log: Callable[[str], None],
        clock_ns: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._book, self._reading, self._gpu_time, self._log = book, reading, gpu_time, log
        self._clock_ns, self._monotonic = clock_ns, monotonic
        self._counts: dict[str, tuple[int, float]] = {}
        """account -> how often it was counted since all hosts knew it, and when last"""

    async def open(self, closed: Sequence[Watched]) -> bool:
        """Opens all, those of the config first, for keys are many; False: a worker has come or gone, so all is to be read once more."""
        of_config, of_keys = [each for each in closed if each.has_beside], [each for each in closed if not each.has_beside]
        for part in (of_config, of_keys):
            if part and not await self._count(part, None):
                return False
        return True

    async def recount(self, opened: Sequence[Watched], known: Knowledge | None) -> bool:
        """Counts again what is due, with what hosts know of the config (None: all that run here do). Whether all was counted once."""
        kept = {each.account.id for each in opened}
        self._counts = {account: counted for account, counted in self._counts.items() if account in kept}
        due = [each for each in opened if self._is_due(each, known)]
        if due:
            await self._count(due, known or {})
        return all(each.account.id in self._counts for each in opened if known is not None or not each.has_beside)

    def _is_due(self, each: Watched, known: Knowledge | None) -> bool:
        if known is None and each.has_beside:
            return False
        times, at = self._counts.get(each.account.id, (0, 0.0))
        wanted = times < COUNTS or bool(_strangers(each, known))
        return wanted and (not times or self._monotonic() - at >= RECOUNT_S)

    async def _count(self, accounts: Sequence[Watched], known: Knowledge | None) -> bool:
        """`known`: None at an opening, when only the row of a worker tells what it counted."""
        now_ns, holders = self._clock_ns(), await self._book.holders()
        names = [holder.name for holder in holders]
        counted = await asyncio.to_thread(self._read, accounts, names, now_ns)
        # Read after the ledger: what the ledger has of a worker by then stands in its row, where the worker counts on the account at all.
        found = await self._book.rows([each.account.id for each in accounts])
        rows = {(row.account, row.bucket, row.holder): row.amount for row in found}
        for each, parts in zip(accounts, counted, strict=True):
            doubted = _doubted(each, holders, known)
            amounts = {bucket: _of_others(each, bucket, total, by_writer, doubted, rows) for bucket, total, by_writer in parts}
            if not await self._book.open(each.account.id, amounts, names, now_ns):
                return False  # a worker has come or gone since
            if known is None:
                self._note_overdrawn(each.account, amounts, now_ns)
            times = self._counts.get(each.account.id, (0, 0.0))[0]
            self._counts[each.account.id] = (1 if _strangers(each, known) else times + 1, self._monotonic())
        return True

    def _read(self, accounts: Sequence[Watched], holders: Sequence[str], now_ns: int) -> list[Counted]:
        spans = [buckets(each.account, now_ns) for each in accounts]
        with self._reading(now_ns) as books:
            spent = Spent(books.ledger, self._gpu_time, min(begin for each in spans for begin, _ in each), now_ns)
            return [
                [(begin, spent.total(each, begin, end), spent.by_writer(each, begin, end, holders)) for begin, end in span]
                for each, span in zip(accounts, spans, strict=True)
            ]

    def _note_overdrawn(self, account: Account, spent: Mapping[int, int], now_ns: int) -> None:
        span = account.law.span(now_ns)
        amount = sum(each for bucket, each in spent.items() if bucket >= span.since)
        if amount > account.law.amount and account.law.unit == "USD":
            self._log(
                f"warning: the budget `{account.name}` is closed: {format_usd(amount)} USD is spent already, its limit is {account.text}"
            )


def _strangers(each: Watched, known: Knowledge | None) -> set[str]:
    """Hosts where workers run that may not know an account of the config; those of keys all learn from the store."""
    return {host for host, accounts in (known or {}).items() if each.account.id not in accounts} if each.has_beside else set()


def _doubted(each: Watched, holders: Sequence[Holder], known: Knowledge | None) -> set[str]:
    """Live workers that may have spent what they did not count on the account."""
    if known is None or not each.has_beside:
        return {holder.name for holder in holders}
    strangers = _strangers(each, known)
    return {holder.name for holder in holders if holder.host in strangers}


def _of_others(
    each: Watched, bucket: int, total: int, by_writer: Mapping[str, int], doubted: set[str], rows: Mapping[tuple[str, int, str], int]
) -> int:
    """What no live worker holds in its row."""
    for writer, spent in by_writer.items():
        total -= min(spent, rows.get((each.account.id, bucket, writer), 0)) if writer in doubted else spent
    return max(0, total)
