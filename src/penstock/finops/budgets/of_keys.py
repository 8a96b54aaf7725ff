"""Where the budgets of keys stand: a hard cap each, counted over all keys of a chain of rotations, by their requests alone.

No roll-up knows keys, so all keys of a window are read at once, and what has long been over is read again only now and then.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from penstock.config.limits import law_of
from penstock.config.spending import Budget
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.finops.books import Books
from penstock.finops.budgets.beside import Beside
from penstock.finops.budgets.course import Course
from penstock.finops.budgets.history import FRESH_NS, LATE
from penstock.finops.budgets.standing import Standing, booked_of, status_of
from penstock.finops.ledger import Keys
from penstock.ports.key_store import ApiKey

NOT_FORECAST = "not forecast"
PAYMENT_REQUIRED: Final = "402"
MOST_READING: Final = 100
"""hours that took long to read are good for so many times as long, within their hour"""
_MARKS = (50.0, 80.0, 95.0)
_Table = dict[str, list[tuple[Keys, Sums]]]
"""key -> what its requests came to, by status"""


class KeyBudget(msgspec.Struct, frozen=True):
    """The budget of a key and of those that took its place: `keys` are their ids, that of the first, its account, foremost."""

    keys: tuple[str, ...]
    name: str | None
    limit: str

    def as_budget(self) -> Budget:
        """It as one of the config would be."""
        name = f"key {self.keys[0]}" + (f" ({self.name})" if self.name else "")
        return Budget(name=name, where={"key_id": self.keys[0]}, limit=self.limit, at_limit="refuse", alert_at=_MARKS)


def budgets_of(keys: Sequence[ApiKey], now_ns: int) -> Iterator[KeyBudget]:
    """The budgets of all chains that have a key which still works."""
    chains: dict[str, list[ApiKey]] = {}
    for key in keys:
        chains.setdefault(key.account, []).append(key)
    for account, chain in chains.items():
        limits = [(key.name, key.budget) for key in chain if key.budget is not None and _works(key, now_ns)]
        if limits:
            name, limit = limits[-1]
            yield KeyBudget((account, *(key.id for key in chain if key.id != account)), name, limit)


class KeyBudgets:
    """The budgets of one store's keys, for those who look again and again. Safe in threads: at worst something is read twice."""

    def __init__(self, keys: Callable[[], Sequence[ApiKey]]) -> None:
        """`keys`: every key, oldest first."""
        self._keys = keys
        self._kept: dict[tuple[int, int], tuple[int, int, _Table]] = {}
        """hours from, to -> (when they were read, until when that is good, what was read)"""

    def found(self, now_ns: int) -> tuple[KeyBudget, ...]:
        """The budgets that count at an instant. Raises `StoreError`."""
        return tuple(budgets_of(self._keys(), now_ns))

    def standings(self, books: Books, budgets: Sequence[KeyBudget]) -> tuple[Standing, ...]:
        """Where they stand; their course is not known. Raises `StoreError`."""
        tables: dict[tuple[int, int], list[_Table]] = {}
        return tuple(self._standing(books, budget, tables) for budget in budgets)

    def _standing(self, books: Books, own: KeyBudget, tables: dict[tuple[int, int], list[_Table]]) -> Standing:
        budget = own.as_budget()
        law = law_of(budget, books.settings.server.timezone)
        since = law.span(books.now_ns).since
        window = since, max(books.now_ns, since + 1)
        if window not in tables:
            tables[window] = list(self._read(books, *window))
        groups = [group for table in tables[window] for key in own.keys for group in table.get(key, ())]
        note = NOT_FORECAST if len(own.keys) == 1 else f"counts {', '.join(own.keys[1:])} too, by rotation; {NOT_FORECAST}"
        status = status_of(budget, law, books.now_ns, booked_of(books, law, groups), Beside(0, note), Course())
        refused = sum(sums.refused for (answered,), sums in groups if answered == PAYMENT_REQUIRED)
        return Standing(msgspec.structs.replace(status, keys=own.keys), Course(), refused)

    def _read(self, books: Books, since_ns: int, until_ns: int) -> Iterator[_Table]:
        """What was spent in [since, until), in parts that add up."""
        first, last = -(-since_ns // HOUR_NS), until_ns // HOUR_NS - LATE
        if first >= last:
            yield _table(books, since_ns, until_ns)
            return
        if since_ns < first * HOUR_NS:
            yield _table(books, since_ns, first * HOUR_NS)
        yield self._over(books, first, last)
        yield _table(books, last * HOUR_NS, until_ns)

    def _over(self, books: Books, first: int, last: int) -> _Table:
        now_ns = books.now_ns
        fresh = {hours: kept for hours, kept in tuple(self._kept.items()) if kept[0] <= now_ns < kept[1]}
        if (first, last) not in fresh:
            began_ns = time.perf_counter_ns()
            table = _table(books, first * HOUR_NS, last * HOUR_NS)
            took_ns = time.perf_counter_ns() - began_ns
            fresh[first, last] = now_ns, now_ns + max(FRESH_NS, MOST_READING * took_ns), table
        self._kept = fresh
        return fresh[first, last][2]


def _table(books: Books, since_ns: int, until_ns: int) -> _Table:
    table: _Table = {}
    for (key, *status), sums in books.ledger.sums(CostQuery(since_ns=since_ns, until_ns=until_ns, by=("key_id", "status"))):
        if key is not None:
            table.setdefault(key, []).append((tuple(status), sums))
    return table


def _works(key: ApiKey, now_ns: int) -> bool:
    return key.revoked_ns is None and (key.expires_ns is None or key.expires_ns > now_ns)
