"""What the race is judged by: the ledger of all hosts, with what stands on their journals, and the book of budgets."""

from collections.abc import Sequence

import msgspec

from penstock.adapters.journal.reader import JournalDirectory
from penstock.bootstrap import open_reading
from penstock.bootstrap.sharing import open_book
from penstock.config.settings import Settings
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.intake import pending
from penstock.ports.budget_book import BESIDE


class Ledger(msgspec.Struct):
    """Every record once, and the ids of reservations that nothing settled."""

    records: dict[str, UsageRecord]
    open: set[str]

    def spent(self, team: str | None = None) -> int:
        """Nano-USD of all records, or of one team's."""
        return sum(record.cost or 0 for record in self.records.values() if team is None or record.tags.get("team") == team)


def read_ledger(hosts: Sequence[Settings]) -> Ledger:
    """The store that they share and the journal of each. Raises `StoreError`; a record that stands there twice fails."""
    with open_reading(hosts[0]) as (snapshot, _):
        stored = list(snapshot.records(CostQuery(since_ns=0, until_ns=2**62)))
        held = {held.id for reservations in snapshot.open_reservations().values() for held in reservations}
        waiting = [record for host in hosts for record in pending(JournalDirectory(host.server.journal), snapshot)]
        total = sum(sums.cost for _, sums in snapshot.sums(CostQuery(since_ns=0, until_ns=2**62)))
    assert total == sum(record.cost or 0 for record in stored), "sums and records disagree"
    records = {record.id: record for record in (*stored, *waiting)}
    assert len(records) == len(stored) + len(waiting), "a request stands in the ledger twice"
    return Ledger(records, held - set(records))


async def book_sums(settings: Settings) -> dict[str, int]:
    """By account, what the book holds for requests, of all buckets. Raises `BookError`."""
    book = open_book(settings)
    sums: dict[str, int] = {}
    try:
        for row in await book.rows():
            if row.holder != BESIDE:
                sums[row.account] = sums.get(row.account, 0) + row.amount
    finally:
        await book.close()
    return sums
