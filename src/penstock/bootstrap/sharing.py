"""What processes and hosts share beside the ledger, by `[server] shared`."""

import asyncio
import time
from typing import TYPE_CHECKING

from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.ports.budget_book import BudgetBook


def open_book(settings: Settings) -> "BudgetBook":
    """The book of budgets, nothing touched yet. One book serves one event loop. Raises `BookError`."""
    from penstock.adapters.shared import open_book

    return open_book(settings.server.shared, settings.server.journal)


def begin_sharing(settings: Settings) -> None:
    """Before any process of this host runs: its own book is begun anew; one that hosts share must answer where caps rest on it, for a cap
    that cannot be held is no cap. Raises `BookError`, `StoreError`."""
    from penstock.adapters.shared import fresh_book

    host_of(settings)
    if settings.server.shared == "local://":
        fresh_book(settings.server.journal)
    else:
        if _rests_on_the_book(settings):
            asyncio.run(ask_book(settings))
        from penstock.bootstrap.ledger import open_documents
        from penstock.finops.budgets.rollcall import announce

        announce(open_documents(settings), host_of(settings), time.time_ns())


def _rests_on_the_book(settings: Settings) -> bool:
    """Whether a cap stays closed without it: one of the config, or the budget of a key. Raises `StoreError`."""
    from penstock.bootstrap.ledger import open_keys
    from penstock.config.checks_spending import is_cap

    if any(is_cap(budget) and budget.fail == "closed" for budget in settings.budgets):
        return True
    return any(key.budget is not None and key.revoked_ns is None for key in open_keys(settings).all())


async def ask_book(settings: Settings) -> None:
    """Whether the book answers. Raises `BookError`."""
    book = open_book(settings)
    try:
        await book.born_ns()
    finally:
        await book.close()


def host_of(settings: Settings) -> str:
    """The name of this host in what hosts share, the same after every restart. Raises `JournalError`."""
    from penstock.adapters.journal.host import host_of

    return host_of(settings.server.journal)
