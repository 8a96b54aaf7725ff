"""`penstock prices update`: takes over newer public prices as dated entries appended to the user's price file; nothing old is edited."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from penstock.cli.options import CONFIG_FILE, ConfigOption, DryRunOption, JsonOption, QuietOption, YesOption
from penstock.cli.output import WRONG_USAGE, CommandError, confirm, print_json, say
from penstock.cli.prices_gpus import is_gpu, known_offers
from penstock.cli.prices_source import Source, day_of, every_class, fetch, read

if TYPE_CHECKING:
    from penstock.adapters.feeds.gpus import GpuOffer
    from penstock.adapters.feeds.overrides import Overrides
    from penstock.config.settings import Settings
    from penstock.domain.prices.book import PriceBook
    from penstock.domain.prices.schedule import Schedule


class Update(NamedTuple):
    """What is to be appended, as (what it is of, text), and what was left alone, with the reason."""

    entries: list[tuple[str, str]]
    left: list[tuple[str, str]]


def update(
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="New prices: data.json of genai-prices, LiteLLM's price map, SkyPilot's CSV of GPUs. [default: genai-prices online]",
            metavar="FILE|URL",
        ),
    ] = None,
    from_date: Annotated[str | None, typer.Option(help="Day from which they hold. [default: today]", metavar="DATE")] = None,
    provider: Annotated[str | None, typer.Option(help="Cloud of a CSV of GPUs. [default: by its path]", metavar="NAME")] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    config: ConfigOption = CONFIG_FILE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Append what has changed for the configured models to the file named by `[server] prices`.

    Prices of the config, of own fleets and agreed ones (entries without a `source`) are left alone.
    """
    import os

    from penstock.config.load import load

    settings = load(config, os.environ)
    if not settings.server.prices:
        hint = 'add `prices = "prices.toml"` under [server]; the file is made when there is something to write'
        raise CommandError("the configuration names no price file", hint, WRONG_USAGE)
    file, today = Path(settings.server.prices), datetime.fromtimestamp(time.time(), UTC).date()
    begin = day_of(from_date, "--from-date", today)
    place = from_ or _published()
    source = read(place, fetch(place), begin, provider)
    if source.file is not None:
        raise CommandError(f"{source.name} is a price file of Penstock itself", "name it in `[server] prices`, or compare: `prices diff`")
    if not file.exists():
        settings = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, prices=None))
    found = _gpus(settings, source) if source.offers else _models(settings, source, place, begin)
    if json:
        shown = {"file": str(file), "from": begin.isoformat(), "written": bool(found.entries) and not dry_run}
        _write(file, found, dry_run, yes)
        print_json({**shown, "entries": [{"name": name, "toml": text} for name, text in found.entries], "left": dict(found.left)})
        return
    for name, text in found.entries:
        typer.echo(f"# {name}\n{text}")
    for name, why in found.left:
        say(f"left alone: {name}: {why}", quiet)
    _write(file, found, dry_run, yes)
    verb = "would be appended" if dry_run else "appended"
    say(f"{len(found.entries)} entries {verb} to {file}" if found.entries else f"nothing has changed: {file} stays as it is", quiet)


def _published() -> str:
    from genai_prices.update_prices import DEFAULT_UPDATE_URL

    return DEFAULT_UPDATE_URL


def _write(file: Path, found: Update, dry_run: bool, yes: bool) -> None:
    """One append of text that has been checked together with what is there."""
    from penstock.adapters.feeds.appending import HEADER, appended

    before = file.read_bytes() if file.exists() else None
    whole = appended(HEADER if before is None else before, [text for _, text in found.entries], file.name)
    if dry_run or whole == before:
        return
    if found.entries and not confirm(f"append {len(found.entries)} entries to {file}?", yes):
        raise CommandError("nothing was changed", "say yes, or pass --yes")
    with file.open("ab") as end:
        end.write(whole[len(before or b"") :])


def _models(settings: "Settings", source: Source, place: str, begin: date) -> Update:
    """Prices of configured models that differ from ours on the day from which theirs are to hold."""
    from penstock import bootstrap

    assert source.prices is not None
    feed, book, own = bootstrap.price_feed(), bootstrap.price_book(settings), bootstrap.own_prices(settings)
    found = Update([], [])
    for model in settings.models:
        name = bootstrap.public_name(settings, model, feed)
        if name is None:
            found.left.append((model, "its price does not come from the public book"))
            continue
        theirs = every_class(source.prices, *name)
        if not theirs:
            found.left.append((model, f"{source.name} has no price of {'/'.join(name)}"))
        for processing, schedule in theirs.items():
            _compare(found, (model, *name, processing), book, own, schedule, begin, place, source.partial)
    return found


def _compare(
    found: Update,
    name: tuple[str, str, str, str | None],
    book: "PriceBook",
    own: "Overrides | None",
    schedule: "Schedule",
    begin: date,
    place: str,
    partial: bool,
) -> None:
    """Adds an entry of one model and class where it differs, or the reason why there is none."""
    from penstock.adapters.feeds.appending import price_entry
    from penstock.domain.prices.config_price import PriceError
    from penstock.domain.prices.difference import differences, filled
    from penstock.domain.prices.schedule import midnight_ns

    model, provider, called, processing = name
    label, at_ns = model + (f", {processing}" if processing else ""), midnight_ns(begin)
    ours = book.schedule(model, processing)
    before, after = ours.at(at_ns) if ours is not None else None, schedule.at(at_ns)
    after = filled(after, before) if after is not None and partial else after
    if after is None or not differences(before, after):
        return
    if any(schedule.windows):
        found.left.append((label, "its price changes by the hour of the day, which an entry cannot say"))
    elif before is not None and before.id.startswith("prices:") and (own is None or (before.id, before.version) not in own.read):
        found.left.append((label, "its price was agreed: the entry of your file names no source"))
    elif ours is not None and any(
        start >= at_ns and rates.id.startswith("prices:") for start, rates in zip(ours.starts, ours.rates, strict=True)
    ):
        found.left.append((label, f"your file has an entry from {begin} on or later: take a later --from-date"))
    else:
        try:
            found.entries.append((label, price_entry(provider, called.lower(), processing, begin, after, place)))
        except PriceError as problem:
            found.left.append((label, str(problem)))


def _gpus(settings: "Settings", source: Source) -> Update:
    """Offers of GPUs that configured fleets are made of, where they are new or have changed."""
    wanted = sorted({fleet.gpu for fleet in settings.fleets.values()})
    known = {offer.key: offer for offer in known_offers(settings)}
    return Update(list(_offers(source.offers, wanted, known)), [] if wanted else [("GPUs", "no fleet is configured")])


def _offers(
    offers: "tuple[GpuOffer, ...]", wanted: list[str], known: "dict[tuple[str, str, str, str], GpuOffer]"
) -> Iterator[tuple[str, str]]:
    from penstock.adapters.feeds.appending import offer_entry

    for offer in offers:
        before = known.get(offer.key)
        if any(is_gpu(offer.gpu, gpu) for gpu in wanted) and (before is None or before.usd_per_hour != offer.usd_per_hour):
            yield f"{offer.provider} {offer.instance} {offer.region}, {offer.kind}", offer_entry(offer)
