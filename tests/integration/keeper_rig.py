"""A keeper over a real store and a real book, with clocks that a test holds."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from penstock.adapters.shared import open_book
from penstock.adapters.stores import open_store
from penstock.bootstrap.ledger import open_books
from penstock.config.accounts import cap_accounts, key_cap
from penstock.config.load import absolute, parse
from penstock.config.settings import Settings
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.books import Books
from penstock.finops.budgets.keeper import Keeper
from penstock.finops.budgets.rollcall import RollCall
from penstock.finops.budgets.spent import Watched
from penstock.ports.budget_book import BudgetBook
from penstock.ports.usage_store import Intake

NOW = 1_795_276_800_000_000_000
"""2026-11-21T16:00:00Z"""
HOUR = 3600 * 10**9
CONFIG = """
version = 1
[upstreams.main]
base_urls = ["http://127.0.0.1:9/v1"]
[models.m]
upstream = "main"
[[budgets]]
name = "all"
limit = "1 USD / day"
at_limit = "refuse"
[[budgets]]
name = "search"
limit = "0.5 USD / rolling 24h"
where = { team = "search" }
at_limit = "refuse"
"""


def record(id: str, cost: int, ago_ns: int = 0, writer: str | None = "gone", team: str = "search", key: str | None = None) -> UsageRecord:
    return UsageRecord(
        id=id,
        admitted_ns=NOW - ago_ns,
        endpoint="chat.completions",
        status=200,
        outcome="ok",
        model="m",
        cost=cost,
        tags={"team": team},
        writer=writer,
        key_id=key,
    )


class Desk:
    """A keeper over a real store and a real book."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.settings: Settings = absolute(parse(config, {}), folder)
        Path(self.settings.server.journal).mkdir(exist_ok=True)
        self.alive: set[str] = set()
        self.passes = 1
        self.seconds = 1000.0
        self.of_keys: list[Watched] = []
        self.log: list[str] = []
        self.accounts = {account.name: account for account in cap_accounts(self.settings)}
        self.store = open_store(self.settings.server.store)
        self.store.prepare()

    def book(self) -> BudgetBook:
        return open_book("local://", self.settings.server.journal)

    def keeper(self, book: BudgetBook, *, host: str = "here", leased: bool = False, roll: RollCall | None = None) -> Keeper:
        return Keeper(
            book,
            host,
            lambda: [*(Watched(account, (account.where,)) for account in self.accounts.values()), *self.of_keys],
            self.reading,
            lambda: self.alive,
            lambda: self.passes,
            {"own": Fraction(10_000)},
            self.log.append,
            leased=leased,
            roll=roll,
            clock_ns=lambda: NOW,
            monotonic=lambda: self.seconds,
        )

    @contextmanager
    def reading(self, now_ns: int) -> Iterator[Books]:
        with open_books(self.settings, now_ns) as books:
            yield books

    def take_in(self, *records: UsageRecord) -> None:
        self.store.take_in(Intake(records, [], [], {}))


def rows_of(desk: Desk, book: BudgetBook, name: str) -> dict[str, int]:
    """Holder -> all its rows that count now."""
    account = desk.accounts.get(name) or next(each.account for each in desk.of_keys if each.account.name == name)
    since = account.law.span(NOW).since
    found: dict[str, int] = {}
    for row in asyncio.run(book.rows([account.id])):
        if row.bucket >= since:
            found[row.holder] = found.get(row.holder, 0) + row.amount
    return {holder: amount for holder, amount in found.items() if amount}


def give_budgets(desk: Desk, *keys: str, limit: str = "1 USD / month") -> None:
    caps = [(key, key_cap(key, limit, "UTC")) for key in keys]
    desk.of_keys = [Watched(cap, ((("key_id", key),),), has_beside=False) for key, cap in caps]
