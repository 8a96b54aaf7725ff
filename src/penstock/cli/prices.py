"""`penstock prices`: what a token or a GPU costs, where that comes from, and since when; what changed, and what that makes of the past.

Looking prices up works without a configuration file.
"""

import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import prices_diff, prices_gpus, prices_rerate, prices_update
from penstock.cli.options import MONEY, JsonOption, QuietOption
from penstock.cli.output import WRONG_USAGE, CommandError, print_json, say
from penstock.cli.prices_source import OptionalConfig, configured
from penstock.cli.prices_table import entries, instant, label_of, list_table, print_table, row, show_table

if TYPE_CHECKING:
    from penstock.domain.prices.book import PriceBook
    from penstock.domain.prices.schedule import Schedule
    from penstock.ports.price_feed import PriceFeed


def register(app: typer.Typer) -> None:
    prices = typer.Typer(help="Look prices up, compare them, take new ones over.", rich_markup_mode="rich")
    prices.command("list")(list_)
    prices.command("show")(show)
    prices.command("diff")(prices_diff.diff)
    prices.command("update")(prices_update.update)
    prices.command("rerate")(prices_rerate.rerate)
    app.add_typer(prices, name="prices", rich_help_panel=MONEY)


def list_(
    provider: Annotated[str | None, typer.Option(help="Only this provider.", metavar="NAME")] = None,
    model: Annotated[str | None, typer.Option(help="Only models of this name; `*` stands for anything.", metavar="PATTERN")] = None,
    gpus: Annotated[bool, typer.Option("--gpus", help="Prices of GPUs by the hour instead.")] = False,
    gpu: Annotated[str | None, typer.Option(help="With --gpus: only this one, such as `H100`.", metavar="NAME")] = None,
    config: OptionalConfig = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List prices in force now, in USD per million tokens: configured models first, then the public price book.

    `penstock prices list --provider openai --model "gpt*"`
    """
    from penstock import bootstrap

    if gpu is not None and not gpus:
        raise CommandError("--gpu says which prices of GPUs to list", "add --gpus", WRONG_USAGE)
    if gpus:
        prices_gpus.list_gpus(provider, gpu or model, config, json, quiet)
        return
    feed, now = bootstrap.price_feed(), time.time_ns()
    book = None if provider else _book(config)
    rows = list(_configured_rows(book, now)) if book is not None else []
    for listing in feed.listings(now):
        if provider is None or listing.provider == provider.lower():
            rows.append(row(f"{listing.provider}/{listing.model}", listing.rates, listing.checked))
    if model:
        rows = [row for row in rows if _matches(row["name"], model)]
    if not rows:
        raise CommandError("no price matches", _nearest_hint(feed, provider or "", model or ""))
    if json:
        print_json({"at": instant(now), "prices": rows})
    else:
        print_table(list_table(rows))
    unpriced = sum(row["usd_per_million"] is None for row in rows)
    note = f", {unpriced} without a price" if unpriced else ""
    say(f"{len(rows)} models{note}; USD per million tokens; public prices by {feed.name} {feed.version}", quiet)


def show(
    name: Annotated[str, typer.Argument(help="Configured model, `provider/model`, or a model's public name.", metavar="NAME")],
    near: Annotated[bool, typer.Option("--near", help="List names that look alike instead.")] = False,
    config: OptionalConfig = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show every dated price of a model, its bands by context, its processing classes, and where it comes from.

    `penstock prices show gpt-4o`
    """
    from penstock import bootstrap

    feed = bootstrap.price_feed()
    if near:
        names = _nearest(feed, name)
        if json:
            print_json(names)
        else:
            typer.echo("\n".join(names))
        return
    book = _book(config)
    if book is not None and name in book.models():
        schedule, classes, why = book.schedule(name), dict(book.classes(name)), book.why(name)
        if schedule is None and not classes:
            from penstock.domain.prices.book import UNPRICED_HINT

            raise CommandError(f"`{name}` is {why}", UNPRICED_HINT)
    else:
        schedule, classes = _public(feed, name)
        why = f"{feed.name} {feed.version}"
    if schedule is None and not classes:
        raise CommandError(f"there is no price of `{name}`", _nearest_hint(feed, "", name))
    standard = list(entries(schedule)) if schedule is not None else []
    by_class = {label: list(entries(each, label)) for label, each in sorted(classes.items())}
    if json:
        print_json({"name": name, "source": why, "checked": None, "entries": standard, "classes": by_class})
        return
    told = [*standard, *(entry for each in by_class.values() for entry in each)]
    labels = {label_of(entry) for entry in told}
    if len(labels) == 1:
        typer.echo(labels.pop())
    print_table(show_table(told))
    say(f"{why}; USD per million tokens; date of the last check: unknown", quiet)


def _book(config: Path | None) -> "PriceBook | None":
    """Prices of the configured models; None where there is no configuration and none was named."""
    from penstock import bootstrap

    settings = configured(config)
    return None if settings is None else bootstrap.price_book(settings)


def _public(feed: "PriceFeed", name: str) -> "tuple[Schedule | None, dict[str, Schedule]]":
    """The standard price and the processing classes of a public model."""
    provider, slash, model = name.partition("/")
    maker = feed.provider_of_model(name)
    for seller, called in ((provider, model) if slash else (None, name), (maker, name)):
        if seller is not None and (schedule := feed.schedule(seller, called)) is not None:
            return schedule, dict(feed.classes(seller, called))
    seller = next((each.provider for each in feed.listings(time.time_ns()) if each.model == name), None)
    return (None, {}) if seller is None else (feed.schedule(seller, name), dict(feed.classes(seller, name)))


def _nearest(feed: "PriceFeed", name: str, limit: int = 5) -> list[str]:
    provider, slash, model = name.partition("/")
    within = [f"{provider}/{each}" for each in feed.nearest(provider, model, limit)] if slash and feed.schedule(provider, model) else []
    return within or feed.nearest("", name, limit)


def _nearest_hint(feed: "PriceFeed", provider: str, name: str) -> str:
    names = feed.nearest(provider, name.strip("*")) if provider or name else []
    return f"did you mean {' or '.join(f'`{each}`' for each in names)}?" if names else "see `penstock prices list`"


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    return fnmatch(name, pattern) or fnmatch(name.partition("/")[2], pattern)


def _configured_rows(book: "PriceBook", now: int) -> Iterator[dict[str, Any]]:
    for model in book.models():
        schedule = book.schedule(model)
        rates = None if schedule is None else schedule.at(now)
        if rates is not None:
            yield row(model, rates, None)
        else:
            yield {"name": model, "id": None, "version": None, "basis": None, "checked": None, "usd_per_million": None, "bands": 0}
