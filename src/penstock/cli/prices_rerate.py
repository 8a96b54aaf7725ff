"""`penstock prices rerate`: a past month priced again, by the entries that were used then and by the price book of today."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from penstock.cli.options import CONFIG_FILE, ConfigOption, JsonOption, QuietOption
from penstock.cli.output import FINE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, print_json, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.domain.ledger.record import UsageRecord
    from penstock.domain.prices.book import PriceBook
    from penstock.domain.prices.rates import Rates
    from penstock.finops.window import Window


class Rerated(msgspec.Struct):
    """Sums of nano-USD over priced requests of a window; counts of those that could not be priced again."""

    requests: int = 0
    unpriced: int = 0
    """booked without a price"""
    booked: int = 0
    then: int = 0
    """by the entry that each request was booked by; what names no entry stands as booked"""
    changed: int = 0
    """requests for which that is another amount than was booked"""
    entry_gone: int = 0
    """whose entry is not kept: counted as booked in `then`"""
    today: int = 0
    """by the price book of today, at the prices in force at each request's own instant; what it lacks counts as booked"""
    today_unpriced: int = 0

    def add(self, record: "UsageRecord", entries: "Mapping[tuple[str, str], Rates]", book: "PriceBook") -> None:
        """One answered record. The price of today is the book's word now on the day of then."""
        from penstock.domain.ledger.costing import rerated

        if record.cost is None:
            self.unpriced += 1
            return
        self.requests += 1
        self.booked += record.cost
        if record.price_id is None or record.price_version is None:
            self.then += record.cost
            self.today += record.cost
            return
        entry = entries.get((record.price_id, record.price_version))
        again = record.cost if entry is None else rerated(record, entry)
        self.entry_gone += entry is None
        self.changed += again != record.cost
        self.then += record.cost if again is None else again
        schedule = book.schedule(record.model or "", record.processing)
        rates = schedule.at(record.admitted_ns) if schedule is not None else None
        now = rerated(record, rates) if rates is not None else None
        self.today_unpriced += now is None
        self.today += record.cost if now is None else now


def rerate(
    month: Annotated[str, typer.Argument(help="Month `2026-10`, or another start of a window.", metavar="WHEN")],
    until: Annotated[str | None, typer.Option(help="End, exclusive. [default: the end of the month]", metavar="WHEN")] = None,
    prices: Annotated[Path | None, typer.Option(help="Price by this price file instead of the configured one.", metavar="FILE")] = None,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Price the requests of a past month again. Nothing is written.

    By the entries used then the total must be the booked one (else exit 3); by today's book it shows what later price entries,
    or corrections, would have made of the month.
    """
    import os

    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.finops.window import WindowError, iso, window

    settings = load(config, os.environ)
    try:
        span = window(month, until, now_ns=time.time_ns(), timezone=settings.server.timezone)
    except WindowError as problem:
        raise CommandError(str(problem).replace("`--since ", "`"), problem.hint, WRONG_USAGE) from None
    if prices is not None:
        settings = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, prices=str(prices)))
    book = bootstrap.price_book(settings)
    entries = {(rates.id, rates.version): rates for rates in book.entries()}
    total = Rerated()
    with bootstrap.open_reading(settings) as (snapshot, reader):
        entries |= snapshot.costs.price_entries()
        for record in _records(snapshot, reader, span):
            total.add(record, entries, book)
    shown = {"since": iso(span.since_ns), "until": iso(span.until_ns), "label": span.label}
    _print(total, span.label, json, shown)
    _narrate(total, quiet)
    return PROBLEMS_FOUND if total.changed else FINE


def _records(snapshot: object, reader: object, span: "Window") -> "Iterator[UsageRecord]":
    from penstock.domain.ledger.measures import CostQuery
    from penstock.finops.intake import pending
    from penstock.finops.ledger import Ledger

    ledger = Ledger(snapshot, pending(reader, snapshot))  # type: ignore[arg-type]
    query = CostQuery(since_ns=span.since_ns, until_ns=span.until_ns)
    return (record for record in ledger.records(query) if record.outcome != "refused")


def _print(total: Rerated, label: str, json: bool, shown: dict[str, str]) -> None:
    from penstock.domain.units import format_usd

    if json:
        print_json(
            {
                "window": shown,
                "requests": total.requests,
                "unpriced": total.unpriced,
                "booked_usd": format_usd(total.booked),
                "rerated_usd": format_usd(total.then),
                "changed": total.changed,
                "entry_gone": total.entry_gone,
                "today_usd": format_usd(total.today),
                "today_unpriced": total.today_unpriced,
            }
        )
        return
    typer.echo(f"{label}: {total.requests:,} priced requests, {total.unpriced:,} unpriced")
    for amount, text in (
        (total.booked, "as booked"),
        (total.then, "by the entries used then"),
        (total.today, "by the price book of today"),
    ):
        typer.echo(f"{format_usd(amount):>20} USD  {text}")


def _narrate(total: Rerated, quiet: bool) -> None:
    if total.changed:
        say(f"{total.changed:,} requests come to another amount by the entry that they name", quiet)
    if total.entry_gone:
        say(f"{total.entry_gone:,} requests name an entry that is not kept: they stand as booked", quiet)
    if total.today_unpriced:
        say(f"{total.today_unpriced:,} requests have no price in the book of today: they stand as booked", quiet)
