"""`penstock prices diff`: what differs between the prices in force now and those of another day, or of another source."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from penstock.cli.options import JsonOption, QuietOption
from penstock.cli.output import FINE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, print_json, say
from penstock.cli.prices_gpus import known_offers
from penstock.cli.prices_source import OptionalConfig, Source, configured, day_of, every_class, fetch, read, with_standard
from penstock.cli.prices_table import figure, new_table, print_table

if TYPE_CHECKING:
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.config.settings import Settings
    from penstock.domain.prices.rates import Rates
    from penstock.domain.prices.schedule import Schedule

    Classes = dict[str | None, Schedule]


class Pair(NamedTuple):
    """A price of one model and processing class (None: standard), before and after."""

    model: str
    processing: str | None
    before: "Rates | None"
    after: "Rates | None"


def diff(
    other: Annotated[
        str | None,
        typer.Argument(help="Another source: price file, data.json of genai-prices, LiteLLM's map, SkyPilot's CSV.", metavar="[FILE]"),
    ] = None,
    at: Annotated[str | None, typer.Option(help="Compare with the prices of this day; with FILE: as of this day.", metavar="DATE")] = None,
    fail_on_change: Annotated[bool, typer.Option("--fail-on-change", help="Exit 3 when something differs.")] = False,
    config: OptionalConfig = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show which figures differ: of the configured models, or without a configuration of all public ones.

    `penstock prices diff --at 2026-10-01`, `penstock prices diff data.json`
    """
    now = time.time_ns()
    today = datetime.fromtimestamp(now / 10**9, UTC).date()
    settings = configured(config)
    if other is None and at is None:
        raise CommandError("nothing to compare with", "name a file, or a day: `--at 2026-10-01`", WRONG_USAGE)
    then = now if at is None else _midnight(day_of(at, "--at", today))
    source = None if other is None else read(other, fetch(other), today)
    if source is not None and source.offers:
        rows = list(_offer_rows(known_offers(settings), source.offers))
        compared = len(source.offers)
    else:
        pairs = list(_by_date(settings, then, now) if source is None else _by_source(settings, source, then))
        rows = [row for pair in pairs for row in _rows(pair)]
        compared = len({pair.model for pair in pairs})
    labels = (at or "", "now") if source is None else ("now" if at is None else at, source.name)
    _print(rows, labels, json)
    say(f"{len(rows)} figures differ, of {compared} {'offers' if source is not None and source.offers else 'models'} compared", quiet)
    return PROBLEMS_FOUND if rows and fail_on_change else FINE


def _by_date(settings: "Settings | None", then: int, now: int) -> Iterator[Pair]:
    from penstock import bootstrap

    if settings is None:
        feed = bootstrap.price_feed()
        for listing in feed.listings(now):
            for processing, schedule in every_class(feed, listing.provider, listing.model).items():
                yield Pair(f"{listing.provider}/{listing.model}", processing, schedule.at(then), schedule.at(now))
        return
    book = bootstrap.price_book(settings)
    for model in book.models():
        for processing, schedule in with_standard(book.schedule(model), book.classes(model)).items():
            yield Pair(model, processing, schedule.at(then), schedule.at(now))


def _by_source(settings: "Settings | None", source: Source, at_ns: int) -> Iterator[Pair]:
    """Ours at an instant, and theirs. What they know nothing of is not compared."""
    from penstock import bootstrap

    if source.file is not None:
        yield from _by_file(settings, source.file, at_ns)
        return
    assert source.prices is not None
    feed = bootstrap.price_feed()
    if settings is None:
        for each in feed.listings(at_ns):
            ours = every_class(feed, each.provider, each.model)
            theirs = every_class(source.prices, each.provider, each.model)
            yield from _against(f"{each.provider}/{each.model}", ours, theirs, at_ns, source.partial)
        return
    book = bootstrap.price_book(settings)
    for model in settings.models:
        if (name := bootstrap.public_name(settings, model, feed)) is not None:
            mine = with_standard(book.schedule(model), book.classes(model))
            yield from _against(model, mine, every_class(source.prices, *name), at_ns, source.partial)


def _against(model: str, ours: "Classes", theirs: "Classes", at_ns: int, partial: bool) -> Iterator[Pair]:
    from penstock.domain.prices.difference import filled

    for processing, schedule in theirs.items():
        mine = ours.get(processing)
        before, after = mine.at(at_ns) if mine is not None else None, schedule.at(at_ns)
        yield Pair(model, processing, before, filled(after, before) if after is not None and partial else after)


def _by_file(settings: "Settings | None", file: Path, at_ns: int) -> Iterator[Pair]:
    """The book as it stands, and as it would be with another price file."""
    import msgspec

    from penstock import bootstrap

    if settings is None:
        raise CommandError("a price file changes the prices of configured models, and there is no configuration", "pass --config")
    server = msgspec.structs.replace(settings.server, prices=str(file))
    ours, theirs = bootstrap.price_book(settings), bootstrap.price_book(msgspec.structs.replace(settings, server=server))
    for model in ours.models():
        for processing in (None, *sorted({*ours.classes(model), *theirs.classes(model)})):
            before, after = ours.schedule(model, processing), theirs.schedule(model, processing)
            yield Pair(model, processing, before.at(at_ns) if before else None, after.at(at_ns) if after else None)


def _rows(pair: Pair) -> Iterator[dict[str, Any]]:
    from penstock.domain.prices.difference import differences

    for change in differences(pair.before, pair.after):
        yield {
            "name": pair.model,
            "processing": pair.processing,
            "figure": change.figure,
            "input_above": change.input_above,
            "per": change.unit,
            "before_usd": None if change.before is None else figure(change.before),
            "after_usd": None if change.after is None else figure(change.after),
        }


def _offer_rows(ours: "list[GpuOffer]", theirs: "tuple[GpuOffer, ...]") -> Iterator[dict[str, Any]]:
    """Offers that both know and price differently."""
    known = {offer.key: offer for offer in ours}
    for offer in theirs:
        before = known.get(offer.key)
        if before is not None and before.usd_per_gpu_hour != offer.usd_per_gpu_hour:
            yield {
                "name": f"{offer.provider} {offer.instance} {offer.region}",
                "processing": offer.kind,
                "figure": offer.gpu,
                "input_above": 0,
                "per": "GPU-hour",
                "before_usd": figure(before.usd_per_gpu_hour),
                "after_usd": figure(offer.usd_per_gpu_hour),
            }


def _print(rows: list[dict[str, Any]], labels: tuple[str, str], json: bool) -> None:
    if json:
        print_json({"before": labels[0], "after": labels[1], "changes": rows})
        return
    if not rows:
        typer.echo(f"no figure differs between {labels[0]} and {labels[1]}")
        return
    table = new_table("model", "class", "figure", "per", *labels, "by", figures=(*labels, "by"))
    for row in rows:
        above = f" above {row['input_above']:,} tokens" if row["input_above"] else ""
        cells = [row["before_usd"] or "no price", row["after_usd"] or "no price", _by(row["before_usd"], row["after_usd"])]
        table.add_row(row["name"], row["processing"] or "standard", row["figure"].replace("_", " ") + above, row["per"], *cells)
    print_table(table)


def _by(before: str | None, after: str | None) -> str:
    from decimal import Decimal

    if before is None or after is None or Decimal(before) == 0:
        return ""
    return f"{(Decimal(after) / Decimal(before) - 1) * 100:+.1f} %"


def _midnight(day: Any) -> int:
    from penstock.domain.prices.schedule import midnight_ns

    return midnight_ns(day)
