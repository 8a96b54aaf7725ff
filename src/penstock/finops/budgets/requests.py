"""What requests were booked at, for many budgets at once."""

from collections import Counter
from collections.abc import Iterable, Mapping

from penstock.domain.dialects.content import normal_tag
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.finops.books import Books
from penstock.finops.ledger import Keys

Where = Mapping[str, str]


class Requests:
    """What requests were booked at, for many budgets: those that name the same keys are read at once."""

    def __init__(self, books: Books, wheres: Iterable[Where]) -> None:
        self._books = books
        self._alike = Counter(_keys(where) for where in wheres)
        self._tables: dict[CostQuery, dict[Keys, list[tuple[Keys, Sums]]]] = {}

    def sums(self, where: Where, since_ns: int, until_ns: int, by: tuple[str, ...] = ()) -> list[tuple[Keys, Sums]]:
        """Sums of what matches, by further keys."""
        keys = _keys(where)
        if self._alike[keys] < 2 or not keys:
            filters = tuple((normal_tag(key), value) for key, value in where.items())
            return self._books.ledger.sums(CostQuery(since_ns=since_ns, until_ns=until_ns, by=by, where=filters))
        query = CostQuery(since_ns=since_ns, until_ns=until_ns, by=(*by, *keys))
        if query not in self._tables:
            table: dict[Keys, list[tuple[Keys, Sums]]] = {}
            for found, sums in self._books.ledger.sums(query):
                table.setdefault(found[len(by) :], []).append((found[: len(by)], sums))
            self._tables[query] = table
        plain = {normal_tag(key): value for key, value in where.items()}
        return self._tables[query].get(tuple(plain[key] for key in keys), [])


def _keys(where: Where) -> tuple[str, ...]:
    return tuple(sorted(normal_tag(key) for key in where))
