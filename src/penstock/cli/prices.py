"""`penstock prices`: what a token costs, where that comes from, and since when. Works without a configuration file."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CONFIG_FILE, MONEY, JsonOption, QuietOption
from penstock.cli.output import CommandError, print_json, say, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from penstock.domain.prices.book import PriceBook
    from penstock.domain.prices.rates import Rates
    from penstock.domain.prices.schedule import Schedule
    from penstock.ports.price_feed import PriceFeed

OptionalConfig = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file. [default: penstock.toml, if there is one]", metavar="FILE")
]
PIPE_WIDTH = 240
HEADINGS = {
    "uncached_input": "input",
    "cache_read": "cached",
    "cache_write": "cache write",
    "visible_output": "output",
    "reasoning": "reasoning",
}


def register(app: typer.Typer) -> None:
    prices = typer.Typer(help="Look prices up.", rich_markup_mode="rich")
    prices.command("list")(list_)
    prices.command("show")(show)
    app.add_typer(prices, name="prices", rich_help_panel=MONEY)


def list_(
    provider: Annotated[str | None, typer.Option(help="Only this provider.", metavar="NAME")] = None,
    model: Annotated[str | None, typer.Option(help="Only models of this name; `*` stands for anything.", metavar="PATTERN")] = None,
    config: OptionalConfig = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List prices in force now, in USD per million tokens: configured models first, then the public price book.

    `penstock prices list --provider openai --model "gpt*"`
    """
    from penstock import bootstrap

    feed, now = bootstrap.price_feed(), time.time_ns()
    book = None if provider else _book(config)
    rows = list(_configured_rows(book, now)) if book is not None else []
    for listing in feed.listings(now):
        if provider is None or listing.provider == provider.lower():
            rows.append(_row(f"{listing.provider}/{listing.model}", listing.rates, listing.checked))
    if model:
        rows = [row for row in rows if _matches(row["name"], model)]
    if not rows:
        raise CommandError("no price matches", _nearest_hint(feed, provider or "", model or ""))
    if json:
        print_json({"at": _instant(now), "prices": rows})
    else:
        _print(_list_table(rows))
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
    """Show every dated price of a model, its bands by context, and where it comes from.

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
        schedule, why = book.schedule(name), book.why(name)
        if schedule is None:
            from penstock.domain.prices.book import UNPRICED_HINT

            raise CommandError(f"`{name}` is {why}", UNPRICED_HINT)
    else:
        schedule, why = _public(feed, name), f"{feed.name} {feed.version}"
    if schedule is None:
        raise CommandError(f"there is no price of `{name}`", _nearest_hint(feed, "", name))
    entries = list(_entries(schedule))
    if json:
        print_json({"name": name, "source": why, "checked": None, "entries": entries})
        return
    labels = {_label(entry) for entry in entries}
    if len(labels) == 1:
        typer.echo(labels.pop())
    _print(_show_table(entries))
    say(f"{why}; USD per million tokens; date of the last check: unknown", quiet)


def _book(config: Path | None) -> "PriceBook | None":
    """Prices of the configured models; None where there is no configuration and none was named."""
    import os

    from penstock import bootstrap
    from penstock.config.load import load

    if config is None and not CONFIG_FILE.exists():
        return None
    return bootstrap.price_book(load(config or CONFIG_FILE, os.environ))


def _public(feed: "PriceFeed", name: str) -> "Schedule | None":
    provider, slash, model = name.partition("/")
    if slash and (schedule := feed.schedule(provider, model)) is not None:
        return schedule
    maker = feed.provider_of_model(name)
    if maker is not None and (schedule := feed.schedule(maker, name)) is not None:
        return schedule
    seller = next((each.provider for each in feed.listings(time.time_ns()) if each.model == name), None)
    return None if seller is None else feed.schedule(seller, name)


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
            yield _row(model, rates, None)
        else:
            yield {"name": model, "id": None, "version": None, "basis": None, "checked": None, "usd_per_million": None, "bands": 0}


def _row(name: str, rates: "Rates", checked: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "id": rates.id,
        "version": rates.version,
        "basis": rates.basis,
        "checked": checked,
        "usd_per_million": _figures(rates),
        "bands": len(rates.bands),
    }


def _entries(schedule: "Schedule") -> Iterator[dict[str, Any]]:
    """Every dated entry, oldest first, and after each the hours of the day that have rates of their own."""
    from penstock.domain.prices.schedule import ALWAYS

    for index, (start, rates) in enumerate(zip(schedule.starts, schedule.rates, strict=True)):
        until = schedule.starts[index + 1] if index + 1 < len(schedule.starts) else None
        dates = {"from": None if start == ALWAYS else _instant(start), "until": None if until is None else _instant(until)}
        yield {**dates, "hours": None, **_entry(rates)}
        for window in schedule.windows[index] if schedule.windows else ():
            yield {**dates, "hours": f"{_clock(window.start)}-{_clock(window.end)} UTC", **_entry(window.rates)}


def _entry(rates: "Rates") -> dict[str, Any]:
    bands = [{"input_above": band.input_above, "usd_per_million": _figures(rates, band.input_above + 1)} for band in rates.bands]
    fee = _figure(Fraction(rates.per_call, rates.denominator * 10**9)) if rates.per_call else None
    return {"id": rates.id, "version": rates.version, "basis": rates.basis, "usd_per_call": fee, "bands": bands}


def _figures(rates: "Rates", input_tokens: int = 0) -> dict[str, str | None]:
    return {name: None if usd is None else _figure(usd) for name, usd in rates.per_million(input_tokens).items()}


def _figure(usd: Fraction) -> str:
    """The exact decimal, or twelve decimals where there is none."""
    value = Decimal(usd.numerator) / Decimal(usd.denominator)
    if Fraction(value) != usd:
        value = round(value, 12)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _instant(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")


def _clock(time_of_day_ns: int) -> str:
    minutes = time_of_day_ns // (60 * 10**9)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _list_table(rows: list[dict[str, Any]]) -> "Table":
    mixed = len({(row["id"] or "").partition(":")[0] for row in rows}) > 1
    shown = _headings([row["usd_per_million"] for row in rows if row["usd_per_million"]])
    table = _table("model", *(HEADINGS[name] for name in shown), *(["by"] if mixed else []), "")
    for row in rows:
        by = "no price" if row["id"] is None else row["id"].partition(":")[0] + (", estimated" if row["basis"] == "estimated" else "")
        cells = [(row["usd_per_million"] or {}).get(name) or "-" for name in shown]
        table.add_row(row["name"], *cells, *([by] if mixed else []), "more by context" if row["bands"] > 1 else "")
    return table


def _show_table(entries: list[dict[str, Any]]) -> "Table":
    shown = _headings([band["usd_per_million"] for entry in entries for band in entry["bands"]])
    labels = [_label(entry) for entry in entries]
    mixed = len(set(labels)) > 1
    table = _table("in force", "input tokens", *(HEADINGS[name] for name in shown), *(["entry"] if mixed else []))
    for entry, label in zip(entries, labels, strict=True):
        since = f"from {entry['from'][:10]}" if entry["from"] else f"until {entry['until'][:10]}" if entry["until"] else "always"
        bands = entry["bands"]
        for index, band in enumerate(bands):
            above = f"above {band['input_above']:,}" if index else f"up to {bands[1]['input_above']:,}" if len(bands) > 1 else "any"
            cells = [band["usd_per_million"][name] or "-" for name in shown]
            table.add_row(entry["hours"] or since, above, *cells, *([label] if mixed else []))
    return table


def _label(entry: dict[str, Any]) -> str:
    estimated = ", estimated" if entry["basis"] == "estimated" else ""
    fee = f", and {entry['usd_per_call']} USD a call" if entry["usd_per_call"] else ""
    return f"{entry['id']} {entry['version']}{estimated}{fee}"


def _headings(figures: list[dict[str, str | None]]) -> list[str]:
    """Classes worth a column: those with a rate that does not follow from another column."""
    follows = {"cache_read": "uncached_input", "cache_write": "uncached_input", "reasoning": "visible_output"}
    return [name for name in HEADINGS if name not in follows or any(each[name] != each[follows[name]] for each in figures)]


def _table(*headings: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in HEADINGS.values() else "left", no_wrap=True)
    return table


def _print(table: "Table") -> None:
    console = stdout_console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH  # a reader that is a program wants whole lines
    console.print(table)
