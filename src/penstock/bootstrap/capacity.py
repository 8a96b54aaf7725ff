"""The capacity plane, wired: the ledger as a trace."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import open_books
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.capacity.traces.ledger import LedgerTrace
    from penstock.finops.window import Window


def ledger_trace(
    settings: Settings,
    window: "Window",
    where: Sequence[str] = (),
    *,
    now_ns: int,
    progress: Callable[[int], None] = lambda read: None,
) -> "LedgerTrace":
    """What engines were asked in a window, of the records that pass `key=value` filters (`tier=large`, `model=...`, `fleet=...`, tags).

    Raises `StoreError`, `QueryError` for a filter that cannot be read, `TraceError` where there is nothing to replay.
    """
    from penstock.capacity.traces.ledger import MOST, trace_from_ledger
    from penstock.finops.costs import cost_query

    query = cost_query(window, (), where)
    with open_books(settings, now_ns) as books:
        return trace_from_ledger(books.ledger.records(query, limit=MOST + 1), progress=progress)
