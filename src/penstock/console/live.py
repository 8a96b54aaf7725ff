"""The live tail: requests as they are taken into the ledger, as events that a page puts on top of its list.

An event `rows` holds rows of HTML (or a JSON array), `missed` how many requests were left out: a burst shows its newest
`MOST_ROWS`, and whoever reads too slowly loses whole batches.
"""

import re
from functools import partial

import msgspec

from penstock.console.requests import Row, row, wanted
from penstock.console.streams import Sources
from penstock.domain.ledger.grouping import matches
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.finops.live import Batch
from penstock.wire.message import Request
from penstock.wire.responder import Responder

MOST_ROWS = 30
HEARTBEAT_S = 15.0
AGAIN_MS = 2000
_LINE_END = re.compile(r"\r\n|\r|\n")
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


async def tail_html(sources: Sources, request: Request, responder: Responder) -> None:
    """The tail as rows of the requests page. Raises `WindowError` or `QueryError` for filters that cannot be read."""
    await _follow(sources, request, responder, as_json=False)


async def tail_json(sources: Sources, request: Request, responder: Responder) -> None:
    """The tail as JSON, each row as the page's twin has it."""
    await _follow(sources, request, responder, as_json=True)


async def _follow(sources: Sources, request: Request, responder: Responder, *, as_json: bool) -> None:
    query = wanted(sources, request.query)
    subscription = sources.tail.subscribe()
    try:
        responder.start(200, _HEADERS)
        await responder.write(b"retry: %d\n\n" % AGAIN_MS)
        while True:
            batch = await subscription.next(HEARTBEAT_S)
            await responder.write(b": still here\n\n" if batch is None else _told(sources, query, batch, as_json))
    finally:
        subscription.close()


def _told(sources: Sources, query: CostQuery, batch: Batch, as_json: bool) -> bytes:
    whole = not query.where
    records = batch.records if whole else tuple(record for record in batch.records if matches(record, query))
    missed = batch.missed + max(0, len(records) - MOST_ROWS)
    told = _event("missed", str(missed)) if missed else b""
    if records and as_json:
        told += _event("rows", msgspec.json.encode([_plain(row(record)) for record in records[-MOST_ROWS:][::-1]]).decode())
    elif records:
        make = partial(_rows, sources, records)
        told += sources.last.made(records, make) if whole else make()
    return told


def _rows(sources: Sources, records: tuple[UsageRecord, ...]) -> bytes:
    shown = [row(record) for record in records[-MOST_ROWS:][::-1]]
    return _event("rows", sources.fragments.fragment("request_rows.html", rows=shown, zone=sources.settings.server.timezone))


def _plain(shown: Row) -> dict[str, object]:
    return msgspec.structs.asdict(shown)


def _event(name: str, data: str) -> bytes:
    """One server-sent event; every line of the data gets its prefix, whatever ends it."""
    return "".join([f"event: {name}\n", *(f"data: {line}\n" for line in _LINE_END.split(data)), "\n"]).encode()
