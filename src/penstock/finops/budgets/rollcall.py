"""The roll call of hosts: after the book has lost its data, no cap opens before every host has delivered what its dead workers wrote.

The ledger then tells what a worker had spent that died, but only once its host has taken in its journal, which may take that host longer
than any grace: it is slow, or down itself. So each host has a document in the store that names the book it has answered for. A host that
stops in order takes its document away; one that is silent for `FORGOTTEN_NS` is waited for no longer. The document also tells which caps
of the config the workers of the host know: what others spend has to be counted on such a cap for them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from penstock.ports.budget_book import BudgetBook
from penstock.ports.documents import Document, Documents

KIND: Final = "host"
FORGOTTEN_NS: Final = 24 * 3600 * 10**9
SAY_NS: Final = 600 * 10**9
"""how often a host says that it is still there"""
PASSES: Final = 2
"""whole passes of the intake after all dead workers were dead: then what they wrote is in the store"""


class Presence(msgspec.Struct, frozen=True):
    """`book`: when the book was begun that this host has answered for, unix ns; 0: its journal may hold what no ledger knows."""

    book: int
    accounts: tuple[str, ...] = ()
    """the caps of the config that its workers know, once it has answered"""


def announce(documents: Documents, host: str, now_ns: int) -> None:
    """Before any worker of a host runs: its journal has to be taken in before it can answer. Raises `StoreError`."""
    documents.put(_document(host, 0, now_ns))


class RollCall:
    """One host's part in it."""

    def __init__(
        self,
        documents: Documents,
        host: str,
        log: Callable[[str], None],
        accounts: Sequence[str] = (),
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`accounts`: the caps of the config that this host runs with."""
        self._documents, self._host, self._log, self._clock_ns = documents, host, log, clock_ns
        self._accounts = tuple(accounts)
        self._born_ns = 0
        self._since: int | None = None
        """passes of the intake when all workers that live were known to the book"""
        self._said_ns: int | None = None
        self._absent: tuple[str, ...] = ()

    async def answer(self, book: BudgetBook, alive: Callable[[], set[str]], taken_in: Callable[[], int]) -> None:
        """Says for this host, once it is so: whoever is dead is in the ledger, and whoever lives is known to this book. Raises
        `BookError`, `StoreError`, `JournalError`."""
        born_ns = await book.born_ns()
        if born_ns != self._born_ns:
            self._born_ns, self._since, self._said_ns = born_ns, None, None
        now_ns = self._clock_ns()
        if self._said_ns is not None:
            if now_ns - self._said_ns >= SAY_NS:
                await self._say(now_ns)
        elif self._since is None:
            living = await asyncio.to_thread(alive)
            if living <= {holder.name for holder in await book.holders()}:
                self._since = taken_in()  # after the look: a pass that was under way then may have missed somebody's last words
        elif taken_in() >= self._since + PASSES:
            await self._say(now_ns)

    async def is_complete(self) -> bool:
        """Whether every host has answered for the book that `answer` saw last. Raises `StoreError`."""
        absent = tuple(await asyncio.to_thread(self._who_is_absent))
        if absent and absent != self._absent:
            self._log(
                f"warning: caps stay closed until {', '.join(absent)} delivered what was spent before the shared store began anew\n"
                "hint: start Penstock on that host's journal again"
            )
        self._absent = absent
        return not absent

    async def known(self) -> dict[str, frozenset[str]]:
        """By host, the caps of the config that all of its workers know; none while it has not answered. Raises `StoreError`."""
        return {host: frozenset(presence.accounts) for host, presence in (await asyncio.to_thread(self._present)).items()}

    async def leave(self) -> None:
        """This host ends, and all it wrote is in the store. Raises `StoreError`."""
        await asyncio.to_thread(self._documents.remove, KIND, self._host)

    async def _say(self, now_ns: int) -> None:
        await asyncio.to_thread(self._documents.put, _document(self._host, self._born_ns, now_ns, self._accounts))
        self._said_ns = now_ns

    def _who_is_absent(self) -> list[str]:
        return sorted(host for host, presence in self._present().items() if presence.book != self._born_ns)

    def _present(self) -> dict[str, Presence]:
        found = self._documents.since(KIND, self._clock_ns() - FORGOTTEN_NS)
        return {each.id: msgspec.json.decode(each.body, type=Presence) for each in found}


def _document(host: str, book: int, now_ns: int, accounts: tuple[str, ...] = ()) -> Document:
    return Document(KIND, host, now_ns, msgspec.json.encode(Presence(book, accounts)).decode())
