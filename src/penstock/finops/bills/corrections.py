"""Corrections: what became known of a closed month after it was closed, billed once, in the first open month after it.

They come from the ledger's own rows: requests, recorded runs, and the stored hours of own fleets. All bills together are then what the
ledger comes to. What the config alone says (other costs, hours that the month's edge cuts) stays as it was billed: the config of today
says nothing of a month that is paid. So does how a month shared out its pots, or each late request would move everybody's share: what a
pot itself changed by is a correction that nobody bears.
"""

from collections.abc import Iterable, Sequence

from penstock.domain.ledger.entries import HOUR_NS, Close
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.recorded import accrued_cost, key_of_entry
from penstock.finops.bills.document import DIRECT, Bill, Correction, Keys, Line, Money, Piece, read_bill
from penstock.finops.books import Books
from penstock.finops.window import Window, iso

Place = tuple[Keys | None, Line, str]
"""who bears it, its line, and the name of its pot"""
OF_HOURS: tuple[Line, ...] = ("gpu_work", "gpu_waste", "idle", "unallocated", "unused_commitment")


def corrections(books: Books, span: Window, closes: Iterable[Close]) -> tuple[Correction, ...]:
    """Those that the bill of the month `span` carries: of the closed months whose first open month after them it is."""
    frozen = [(close, read_bill(close.bill)) for close in closes if close.since_ns < span.since_ns]
    if not frozen:
        return ()
    closed = {close.month for close, _ in frozen}
    bills = [bill for _, bill in frozen]
    found: list[Correction] = []
    for close, bill in sorted(frozen, key=lambda each: each[0].since_ns):
        if _first_open(close, closed) == span.label:
            found += _of_month(books, close, bill, bills)
    return tuple(found)


def pieces(books: Books, span: Window, bill: Bill) -> tuple[Piece, ...]:
    """What the bill of a month has of own fleets beside their stored hours."""
    changed = {place: usd for place, usd in _frozen(bill).items() if place[1] in OF_HOURS}
    for place, usd in _stored(books, CostQuery(since_ns=span.since_ns, until_ns=span.until_ns, by=bill.by)).items():
        _add(changed, place, -usd)
    return tuple(
        Piece(line=line, usd=Money(usd), keys=keys, name=name) for (keys, line, name), usd in sorted(changed.items(), key=_order) if usd
    )


def _first_open(close: Close, closed: set[str]) -> str:
    """The first month after a closed one that is not closed."""
    month = following(close.month)
    while month in closed:
        month = following(month)
    return month


def following(month: str) -> str:
    """`2026-12` -> `2027-01`."""
    year, number = map(int, month.split("-"))
    return f"{year + 1}-01" if number == 12 else f"{year}-{number + 1:02d}"


def _of_month(books: Books, close: Close, bill: Bill, bills: Sequence[Bill]) -> list[Correction]:
    known = {place: usd for place, usd in _frozen(bill).items() if place[1] != "other"}
    for piece in bill.pieces:
        _add(known, (piece.keys, piece.line, piece.name), -piece.usd)
    for other in bills:
        for each in other.corrections:
            if each.month == close.month:
                keys = None if each.keys is None else tuple(each.keys.get(key) for key in bill.by)
                _add(known, (keys, each.line, each.name), each.usd)
    changed = _live(books, CostQuery(since_ns=close.since_ns, until_ns=close.until_ns, by=bill.by))
    for place, usd in known.items():
        _add(changed, place, -usd)
    since, until = iso(close.since_ns), iso(close.until_ns)
    return [
        Correction(
            month=close.month,
            since=since,
            until=until,
            number=close.number,
            line=line,
            usd=Money(usd),
            keys=bill.names(keys),
            name=name,
        )
        for (keys, line, name), usd in sorted(changed.items(), key=_order)
        if usd
    ]


def _order(item: tuple[Place, int]) -> tuple[object, ...]:
    keys, line, name = item[0]
    return (keys is None, tuple((key is None, key or "") for key in keys or ()), line, name)


def _frozen(bill: Bill) -> dict[Place, int]:
    found: dict[Place, int] = {}
    for charge in bill.charges:
        place: Place = (charge.keys, charge.line, "") if charge.line in DIRECT else (None, charge.line, charge.fleet or charge.name or "")
        _add(found, place, charge.usd)
    return found


def _live(books: Books, query: CostQuery) -> dict[Place, int]:
    """The rows of a month as the ledger has them now, split as its bill was."""
    found = _stored(books, query)
    for keys, sums in books.ledger.sums(query):
        _add(found, (keys, "api", ""), sums.cost - sums.provisional)
    for entry in books.ledger.snapshot.costs.entries(query.since_ns, query.until_ns):
        keys = tuple(key_of_entry(entry, key) for key in query.by)
        _add(found, (keys, "recorded", ""), accrued_cost(entry, query.since_ns, query.until_ns))
    return found


def _stored(books: Books, query: CostQuery) -> dict[Place, int]:
    """Stored hours that lie wholly in a window: what groups bear of them, and what nobody does."""
    found: dict[Place, int] = {}
    first, last = -(-query.since_ns // HOUR_NS), query.until_ns // HOUR_NS
    view = books.ledger.snapshot.costs
    for keys, allocated in view.allocated(query):
        _add(found, (keys, "gpu_work", ""), allocated.amount)
        _add(found, (keys, "gpu_waste", ""), allocated.wasted)
    for hour in view.fleet_hours(first, last):
        _add(found, (None, "idle", hour.fleet), hour.idle)
        _add(found, (None, "unallocated", hour.fleet), hour.unallocated)
        _add(found, (None, "unused_commitment", hour.fleet), hour.unused)
    return found


def _add(sums: dict[Place, int], place: Place, usd: int) -> None:
    if usd:
        sums[place] = sums.get(place, 0) + usd
