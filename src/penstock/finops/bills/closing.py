"""Closing a month: what stands in the way, the digest of what its bill was made from, and the frozen bill itself."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

import msgspec

from penstock.domain.ledger.entries import HOUR_NS, Close, FleetHour
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import Reservation, provisional_of
from penstock.finops.bills.bill import draft, with_number
from penstock.finops.bills.corrections import pieces
from penstock.finops.bills.covering import covers, reaches_back
from penstock.finops.bills.document import Bill, bill_bytes
from penstock.finops.books import Books
from penstock.finops.fleet_costs import fleet_costs
from penstock.finops.window import Window, iso
from penstock.ports.journal import JournalReader
from penstock.ports.usage_store import Snapshot

TICK = 1_000
"""records between two calls of `tick`"""


class Obstacle(msgspec.Struct, frozen=True):
    """Why a month cannot be closed yet, and what to do about it."""

    what: str
    hint: str
    always: bool = False
    """whether nobody can allow it"""


def frozen_close(closes: Iterable[Close], month: str) -> Close | None:
    """The close of a month; None while it is open."""
    return next((close for close in closes if close.month == month), None)


def obstacles(snapshot: Snapshot, reader: JournalReader, span: Window, now_ns: int) -> list[Obstacle]:
    """What has to happen before the month can be closed, hours of own fleets left out: the month over, every request on record."""
    found = []
    if now_ns < span.until_ns:
        found.append(
            Obstacle(f"{span.label} is not over: it ends at {iso(span.until_ns)}", "close it after that; `penstock bill` drafts it")
        )
    waiting, open_ = _outstanding(reader, snapshot, span)
    if waiting:
        found.append(
            Obstacle(
                f"{waiting:,} entries of the journal are of {span.label} and not in the store yet",
                "start `penstock serve`, which takes the journal in, and close again when it has",
            )
        )
    if open_:
        found.append(
            Obstacle(
                f"{open_:,} requests of {span.label} are still in flight",
                "wait until they have ended; what a killed process left open is booked by the next `penstock serve`",
            )
        )
    return found


def _outstanding(reader: JournalReader, snapshot: Snapshot, span: Window) -> tuple[int, int]:
    """(records of the month that only the journal holds, requests of the month or before it that nothing followed yet)."""
    held = {each.id: each for reservations in snapshot.open_reservations().values() for each in reservations}
    waiting = 0
    for chunk in reader.read(snapshot.offsets()):
        for entry in chunk.entries:
            if isinstance(entry, Reservation):
                held[entry.id] = entry
                continue
            held.pop(entry.id, None)
            waiting += span.since_ns <= entry.admitted_ns < span.until_ns and snapshot.find(entry.id) is None
    return waiting, sum(span.since_ns <= each.admitted_ns < span.until_ns for each in held.values())


def open_hours(books: Books, span: Window) -> list[FleetHour]:
    """Whole hours of the month that are not allocated for good: the ledger still works them out anew for each report."""
    view = books.ledger.snapshot.costs
    stored = {(each.fleet, each.hour) for each in view.fleet_hours(span.since_ns // HOUR_NS, -(-span.until_ns // HOUR_NS))}
    hours = fleet_costs(books, CostQuery(since_ns=span.since_ns, until_ns=span.until_ns)).hours
    return [each for each in hours if each.until_ns - each.since_ns == HOUR_NS and (each.fleet, each.hour) not in stored]


def open_hours_obstacle(hours: list[FleetHour]) -> Obstacle:
    """The sentence for hours that could not be allocated."""
    first = hours[0]
    why = f" ({first.note})" if first.note else ""
    return Obstacle(
        f"{len(hours):,} hours of own fleets are not allocated, from {iso(first.since_ns)} of fleet {first.fleet} on{why}",
        "let `penstock serve` run until it has allocated them",
    )


def not_known(bill: Bill) -> list[Obstacle]:
    """What the bill lacks: days before the ledger began, and what has no known cost."""
    found, allowing = [], "`--allow-unknown` closes the month without it, and the bill says so"
    if not reaches_back(bill):
        if bill.covered_since >= bill.covered_until and not any(charge.line == "recorded" for charge in bill.charges):
            hint = "close a month of which something is on record"
            return [Obstacle(f"nothing of {bill.month} or before is on record", hint, always=True)]
        found.append(Obstacle(f"its bill {covers(bill)}", f"the other days are on no bill; {allowing}"))
    hint = f"give it a price where it lacks one (`penstock check` names models without); {allowing}"
    return found + [Obstacle(f"not known: {clause}", hint) for clause in bill.unknown]


def freeze(books: Books, span: Window, closes: list[Close], tick: Callable[[int], None] = lambda records: None) -> tuple[Close, Bill]:
    """The close of a month, ready to be written. `tick` hears how many more records went into the digest."""
    number = max((close.number for close in closes), default=0) + 1
    digest = inputs_sha256(books, span, tick)
    made = draft(books, span, closes)
    bill = with_number(msgspec.structs.replace(made, pieces=pieces(books, span, made)), number, digest)
    close = Close(
        number=number,
        month=span.label,
        timezone=span.timezone,
        since_ns=span.since_ns,
        until_ns=span.until_ns,
        closed_ns=books.now_ns,
        inputs_sha256=digest,
        total=int(bill.total_usd),
        bill=bill_bytes(bill).decode(),
    )
    return close, bill


def inputs_sha256(books: Books, span: Window, tick: Callable[[int], None] = lambda records: None) -> str:
    """SHA-256 over what the bill is made from, one JSON line each, in an order that the ledger itself gives.

    The records of the month newest first (id, cost, provisional part, price entry), the hours of own fleets and what groups bear of
    them, recorded costs, the price entries that the records name, and the settings that say what is rented and who is billed how.
    """
    digest, encode = sha256(), msgspec.json.Encoder(order="sorted", enc_hook=str).encode
    for line in _inputs(books, span, tick):
        digest.update(encode(line) + b"\n")
    return digest.hexdigest()


def _inputs(books: Books, span: Window, tick: Callable[[int], None]) -> Iterator[object]:
    query = CostQuery(since_ns=span.since_ns, until_ns=span.until_ns)
    used: set[tuple[str, str]] = set()
    since_tick = 0
    for record in books.ledger.records(query):
        yield "record", record.id, record.cost, provisional_of(record), record.price_id, record.price_version
        if record.price_id is not None:
            used.add((record.price_id, record.price_version or ""))
        since_tick += 1
        if since_tick == TICK:
            tick(TICK)
            since_tick = 0
    tick(since_tick)
    by = (*books.settings.bill.by, "upstream", "model")
    own = fleet_costs(books, msgspec.structs.replace(query, by=tuple(dict.fromkeys(by))))
    yield from (("hour", hour) for hour in own.hours)
    for keys, allocated in sorted(own.groups, key=lambda each: tuple((key is None, key or "") for key in each[0])):
        yield "allocated", keys, allocated
    costs = books.ledger.snapshot.costs
    for entry in sorted(costs.entries(span.since_ns, span.until_ns), key=lambda each: each.id):
        yield "entry", entry
    for name, rates in sorted(costs.price_entries().items()):
        if name in used:
            yield "price", name, rates
    settings = books.settings
    yield "settings", span.timezone, settings.bill, settings.fleets, settings.costs
