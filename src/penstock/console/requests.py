"""Requests: the newest ones under any filters, page by page, as they come, or all of them as CSV.

Calls beside requests are listed where a filter asks for a purpose; the CSV holds them too, so that its costs add up.
"""

import asyncio
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from penstock.console import words
from penstock.console.context import Context, View
from penstock.console.periods import period_words, windows
from penstock.console.query import Address, read_address
from penstock.console.streams import Busy, Sources
from penstock.domain.ledger.measures import CostQuery, lines
from penstock.domain.ledger.record import REPLAYED, UsageRecord
from penstock.domain.units import format_usd
from penstock.finops.costs import QueryError
from penstock.finops.intake import pending
from penstock.finops.ledger import Ledger, Place, place
from penstock.finops.request_rows import csv_piece, decided, embedding_usd, milliseconds
from penstock.finops.window import iso
from penstock.wire.message import Request
from penstock.wire.responder import Responder

SINCE = "24h"
PAGE = 50
EXPORTED_AT_ONCE = 250
OFFERED = ("team", "feature", "model", "outcome", "cache")
MOST_OFFERED = 40
NICENESS = 19
"""of the thread that exports: the data plane's workers go first"""
_AFTER = re.compile(r"(\d{1,19})\.(.{1,200})")
_CSV = [
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="penstock-requests.csv"'),
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One request in the list. Money is a decimal string of USD; None is unknown."""

    id: str
    admitted: str
    admitted_ns: int
    team: str | None
    feature: str | None
    asked: str | None
    model: str | None
    route: str | None
    outcome: str
    status: int
    cache: str
    cache_verdict: str | None
    """what the semantic cache made of it; None: it was not asked"""
    cache_similarity: float | None
    """cosine of the nearest question"""
    cache_risk: float | None
    """probability that its answer is wrong here"""
    would_cache: str | None
    """the layer that had an answer, though a model made this one"""
    input_tokens: int
    output_tokens: int
    replayed: bool
    """the tokens were replayed, not processed"""
    first_token_ms: float | None
    duration_ms: float
    cost_usd: str | None
    embedding_usd: str | None
    estimated: bool
    purpose: str | None
    """of a call beside a request; None: it is a request"""


class Choice(msgspec.Struct, frozen=True):
    """A key to filter by: its values with the most requests, and the one that is chosen."""

    key: str
    values: tuple[str, ...]
    chosen: str | None


class Requests(View, frozen=True, kw_only=True):
    """The page: at most `PAGE` rows, newest first."""

    rows: tuple[Row, ...]
    matching: int
    """requests of the window that pass the filters, refused ones too; calls beside requests where those are asked for"""
    exported: int
    """lines of the CSV"""
    choices: tuple[Choice, ...]
    older: str | None
    """address of the next page"""
    newest: str | None
    """address of the first page, from any other"""
    live: str | None
    """address of the tail, when it is switched on"""
    switch: str
    """address of this page with the tail switched the other way"""
    export: str
    windows: tuple[tuple[str, str], ...]


def build(context: Context, address: Address) -> Requests:
    """The page from one reading. Raises `QueryError` for a place that does not exist."""
    after, live = _after(address), address.get("live") == "on"
    report = context.report(address.query())
    found = context.ledger.newest(_listed(address), PAGE + 1, after)
    rows = tuple(map(row, found[:PAGE]))
    exported = lines(report.total) + report.total.refused
    matching = exported if _asks_for_asides(address) else exported - report.total.asides
    bare = _with(address)
    return Requests(
        answer=_answer(address, matching, report.total.refused, report.total.failed),
        standing=context.standing(report.coverage),
        rows=rows,
        matching=matching,
        exported=exported,
        choices=_choices(context, address),
        older=_with(address, after=f"{found[PAGE - 1].admitted_ns}.{found[PAGE - 1].id}").link() if len(found) > PAGE else None,
        newest=bare.link() if after is not None else None,
        live=bare.link(path="/requests/live") if live else None,
        switch=(bare if live else _with(address, live="on")).link(),
        export=bare.link(".csv"),
        windows=windows(context.now_ns, context.zone),
    )


def row(record: UsageRecord) -> Row:
    """A record as the list shows it; the tokens of a replay are those that were replayed."""
    replayed = record.cache in REPLAYED
    tokens = record.recalled if replayed else record.tokens
    verdict, similarity, risk = decided(record.cache_decision)
    return Row(
        id=record.id,
        admitted=iso(record.admitted_ns),
        admitted_ns=record.admitted_ns,
        team=record.tags.get("team"),
        feature=record.tags.get("feature"),
        asked=record.requested_model,
        model=record.model,
        route=record.route,
        outcome=record.outcome,
        status=record.status,
        cache=record.cache,
        cache_verdict=verdict,
        cache_similarity=similarity,
        cache_risk=risk,
        would_cache=record.would_cache,
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        replayed=replayed,
        first_token_ms=milliseconds(record.first_token_us),
        duration_ms=record.duration_us / 1000,
        cost_usd=format_usd(record.cost),
        embedding_usd=embedding_usd(record),
        estimated=record.cost_basis == "estimated",
        purpose=record.purpose,
    )


def _asks_for_asides(address: Address) -> bool:
    return any(key == "purpose" for key, _ in address.where)


def _listed(address: Address) -> CostQuery:
    return msgspec.structs.replace(address.query(), requests_alone=not _asks_for_asides(address))


def _answer(address: Address, matching: int, refused: int, failed: int) -> str:
    if not matching:
        return f"Nothing: no request {'with these filters ' if address.where else ''}{period_words(address)}."
    told = f"{_counted(address, matching)} {period_words(address)}"
    told += f" with {words.join([f'{key} {value}' for key, value in address.where])}" if address.where else ""
    if _asks_for_asides(address):
        return f"{told}."
    troubles = [words.plural(failed, "failed", "failed")] if failed else []
    troubles += [words.plural(refused, "was refused", "were refused")] if refused else []
    return f"{told}; {words.join(troubles)}." if troubles else f"{told}, none failed."


def _counted(address: Address, number: int) -> str:
    if _asks_for_asides(address):
        return words.plural(number, "call beside a request", "calls beside requests")
    return words.plural(number, "request")


def _choices(context: Context, address: Address) -> tuple[Choice, ...]:
    """The values of the usual keys in this window, most requests first; filters by other keys leave them as they are."""
    given = dict(address.where)
    found = []
    for key in OFFERED:
        query = msgspec.structs.replace(address.query(key), where=())
        counted = [(sums.requests + sums.refused, keys[0]) for keys, sums in context.ledger.sums(query) if keys[0]]
        values = [value for _, value in sorted(counted, key=lambda pair: (-pair[0], pair[1] or ""))[:MOST_OFFERED] if value]
        chosen = given.get(key)
        found.append(Choice(key, tuple(dict.fromkeys([*values, *([chosen] if chosen else [])])), chosen))
    return tuple(found)


def _after(address: Address) -> Place | None:
    text = address.get("after")
    if text is None:
        return None
    match = _AFTER.fullmatch(text)
    if match is None or int(match[1]) >= 2**63:
        raise QueryError(f"`after={text[:80]}` is no place in the ledger", "follow the link to older requests, or leave it out")
    return int(match[1]), match[2]


def _with(address: Address, **fields: str) -> Address:
    """The same address at the newest requests, without the tail, but for what is given."""
    kept = tuple(pair for pair in address.more if pair[0] not in ("after", "live"))
    return msgspec.structs.replace(address, more=(*kept, *fields.items()))


async def export(sources: Sources, request: Request, responder: Responder) -> None:
    """All requests of the window and its filters as CSV, newest first, as fast as the client takes them.

    Raises `WindowError`, `QueryError` or `Busy` before the first byte, and `StoreError` when the ledger goes away at any time.
    """
    asked = _read(sources, request.query)
    if sources.exports.locked():
        raise Busy("as many exports run as may at once")
    async with sources.exports:
        await _send(_pieces(sources, asked), responder)


async def _send(pieces: Iterator[bytes], responder: Responder) -> None:
    """The pieces, made one by one in a thread that steps back behind the data plane."""
    worker = ThreadPoolExecutor(1, "export", initializer=_step_back)
    loop = asyncio.get_running_loop()
    try:
        while (piece := await loop.run_in_executor(worker, next, pieces, None)) is not None:
            if not responder.started:
                responder.start(200, _CSV)
            await responder.write(piece)
        responder.finish()
    finally:
        worker.shutdown(wait=False, cancel_futures=True)


def _read(sources: Sources, query: str) -> Address:
    zone = sources.settings.server.timezone
    return read_address("/requests", query, now_ns=sources.clock_ns(), timezone=zone, since=SINCE)


def _pieces(sources: Sources, asked: Address) -> Iterator[bytes]:
    """The export piece by piece, each from a reading of its own, so that a slow client holds no transaction open."""
    after = _after(asked)
    declared = sources.settings.tags.declared
    first = True
    while True:
        with sources.reading() as (snapshot, reader):
            ledger = Ledger(snapshot, pending(reader, snapshot))
            records = list(ledger.records(asked.query(), after=after, limit=EXPORTED_AT_ONCE))
        if records or first:
            yield csv_piece(records, declared, first=first)
        if len(records) < EXPORTED_AT_ONCE:
            return
        first, after = False, place(records[-1])


def _step_back() -> None:
    with suppress(OSError):  # a system that knows no niceness of threads
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def wanted(sources: Sources, query: str) -> CostQuery:
    """The filters of a live tail; its window is all that is to come. Raises `WindowError` or `QueryError`."""
    return CostQuery(since_ns=0, until_ns=2**63 - 1, where=_read(sources, query).where)
