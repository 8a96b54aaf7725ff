"""What is in no figure of a statement because nobody knows it, a clause each."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from penstock.config.fleets import holdings
from penstock.domain.ledger.entries import Entry, FleetHour
from penstock.domain.ledger.measures import CostQuery, lines
from penstock.domain.prices.hardware import begins_ns
from penstock.domain.prices.schedule import ALWAYS
from penstock.finops.books import Books
from penstock.finops.window import iso


def gaps(books: Books, query: CostQuery, unpriced: tuple[int, int], hours: Sequence[FleetHour], entries: Iterable[Entry]) -> Iterator[str]:
    """`unpriced`: requests that nothing tells the cost of, and calls beside requests; `hours`: of own fleets; `entries`: recorded costs of
    the window."""
    requests, asides = unpriced
    if requests:
        yield f"{_requests(requests)} {'has' if requests == 1 else 'have'} no price"
    if asides:
        yield f"{'1 call beside a request has' if asides == 1 else f'{asides:,} calls beside requests have'} no price"
    for fleet in dict.fromkeys(hour.fleet for hour in hours if hour.rent is None):
        missing = [hour for hour in hours if hour.fleet == fleet and hour.rent is None]
        yield f"the rent of fleet {fleet} in {_hours(len(missing))} from {iso(missing[0].since_ns)} on ({missing[0].note})"
    yield from _removed(books, query, hours)
    yield from _before(books, query)
    for entry in entries:
        if entry.gpu_cost is None:
            yield f"what the GPUs of {entry.name} ({entry.id}) cost"


def _removed(books: Books, query: CostQuery, hours: Iterable[FleetHour]) -> Iterator[str]:
    """Fleets that answered requests and that the config does not name, in hours that were not closed while it did."""
    span = CostQuery(since_ns=query.since_ns, until_ns=query.until_ns, by=("fleet",))
    served = {fleet for (fleet,), sums in books.ledger.sums(span) if fleet is not None and lines(sums) > sums.cache_hits}
    for fleet in sorted(served - books.settings.fleets.keys()):
        kept = {iso(hour.since_ns)[:13] for hour in hours if hour.fleet == fleet}
        of_it = msgspec.structs.replace(span, by=("hour",), where=(("fleet", fleet),))
        answered = {str(keys[0]) for keys, sums in books.ledger.sums(of_it) if lines(sums) > sums.cache_hits}
        if missing := sorted(answered - kept):
            yield f"the rent of fleet {fleet} in {_hours(len(missing))} from {missing[0]}:00:00Z on (the config does not name it any more)"


def _before(books: Books, query: CostQuery) -> Iterator[str]:
    """The part of the window that the ledger does not reach back to, where it is as good as certain that hardware was paid in it."""
    begin = books.ledger.begin
    if begin is None or query.since_ns >= begin:
        return
    end = min(begin, query.until_ns)
    starts = {name: begins_ns(held) for name, held in holdings(books.settings).items()}
    there = [name for name, start in starts.items() if start is not None and max(start, ALWAYS) < end]
    if there:
        strays = f" ({_requests(books.ledger.strays)} from long before, so a clock was wrong)" if books.ledger.strays else ""
        fleets = f"{'fleet' if len(there) == 1 else 'fleets'} {', '.join(there)}"
        yield f"the rent of {fleets} before {iso(end)}, where the ledger begins{strays}"


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def _hours(count: int) -> str:
    return "1 hour" if count == 1 else f"{count:,} hours"
