"""How prices are shown: rows of `penstock prices` as JSON and as tables, exact decimals in both."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from penstock.cli.output import stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from penstock.domain.prices.rates import Rates
    from penstock.domain.prices.schedule import Schedule

PIPE_WIDTH = 240
HEADINGS = {
    "uncached_input": "input",
    "cache_read": "cached",
    "cache_write": "cache write",
    "visible_output": "output",
    "reasoning": "reasoning",
}


def row(name: str, rates: "Rates", checked: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "id": rates.id,
        "version": rates.version,
        "basis": rates.basis,
        "checked": checked,
        "usd_per_million": figures(rates),
        "bands": len(rates.bands),
    }


def entries(schedule: "Schedule", processing: str | None = None) -> Iterator[dict[str, Any]]:
    """Every dated entry, oldest first, and after each the hours of the day that have rates of their own."""
    from penstock.domain.prices.schedule import ALWAYS

    for index, (start, rates) in enumerate(zip(schedule.starts, schedule.rates, strict=True)):
        until = schedule.starts[index + 1] if index + 1 < len(schedule.starts) else None
        dates = {"from": None if start == ALWAYS else instant(start), "until": None if until is None else instant(until)}
        yield {"processing": processing, **dates, "hours": None, **entry_of(rates)}
        for window in schedule.windows[index] if schedule.windows else ():
            hours = f"{_clock(window.start)}-{_clock(window.end)} UTC"
            yield {"processing": processing, **dates, "hours": hours, **entry_of(window.rates)}


def entry_of(rates: "Rates") -> dict[str, Any]:
    bands = [{"input_above": band.input_above, **_band(rates, band.input_above + 1)} for band in rates.bands]
    fee = figure(Fraction(rates.per_call, rates.denominator * 10**9)) if rates.per_call else None
    tools = {name: figure(usd) for name, usd in rates.usd_per_call().items()}
    return {
        "id": rates.id,
        "version": rates.version,
        "basis": rates.basis,
        "usd_per_call": fee,
        "usd_per_tool_call": tools,
        "bands": bands,
    }


def _band(rates: "Rates", input_tokens: int) -> dict[str, Any]:
    parts = {name: figure(usd) for name, usd in rates.parts_per_million(input_tokens).items()}
    return {"usd_per_million": figures(rates, input_tokens), "parts_usd_per_million": parts}


def figures(rates: "Rates", input_tokens: int = 0) -> dict[str, str | None]:
    return {name: None if usd is None else figure(usd) for name, usd in rates.per_million(input_tokens).items()}


def figure(usd: Fraction) -> str:
    """The exact decimal, or twelve decimals where there is none."""
    value = Decimal(usd.numerator) / Decimal(usd.denominator)
    if Fraction(value) != usd:
        value = round(value, 12)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def instant(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")


def _clock(time_of_day_ns: int) -> str:
    minutes = time_of_day_ns // (60 * 10**9)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def list_table(rows: list[dict[str, Any]]) -> "Table":
    mixed = len({(row["id"] or "").partition(":")[0] for row in rows}) > 1
    shown = _headings([row["usd_per_million"] for row in rows if row["usd_per_million"]])
    table = new_table("model", *(HEADINGS[name] for name in shown), *(["by"] if mixed else []), "")
    for row in rows:
        by = "no price" if row["id"] is None else row["id"].partition(":")[0] + (", estimated" if row["basis"] == "estimated" else "")
        cells = [(row["usd_per_million"] or {}).get(name) or "-" for name in shown]
        table.add_row(row["name"], *cells, *([by] if mixed else []), "more by context" if row["bands"] > 1 else "")
    return table


def show_table(entries: list[dict[str, Any]]) -> "Table":
    """Standard prices and those of processing classes, a row for each date, hour and band."""
    bands = [band for entry in entries for band in entry["bands"]]
    shown = _headings([band["usd_per_million"] for band in bands])
    parts = list(dict.fromkeys(name for band in bands for name in band["parts_usd_per_million"]))
    labels = [label_of(entry) for entry in entries]
    mixed, classes = len(set(labels)) > 1, any(entry["processing"] for entry in entries)
    headings = [*(HEADINGS[name] for name in shown), *(part.replace("_", " ") for part in parts)]
    leading = (["class"] if classes else []) + ["in force", "input tokens"]
    table = new_table(*leading, *headings, *(["entry"] if mixed else []), figures=headings)
    for entry, label in zip(entries, labels, strict=True):
        since = f"from {entry['from'][:10]}" if entry["from"] else f"until {entry['until'][:10]}" if entry["until"] else "always"
        for index, band in enumerate(entry["bands"]):
            cells = [band["usd_per_million"][name] or "-" for name in shown] + [
                band["parts_usd_per_million"].get(part, "-") for part in parts
            ]
            begin = [entry["processing"] or "standard"] if classes else []
            table.add_row(*begin, entry["hours"] or since, _above(entry["bands"], index), *cells, *([label] if mixed else []))
    return table


def _above(bands: list[dict[str, Any]], index: int) -> str:
    if index:
        return f"above {bands[index]['input_above']:,}"
    return f"up to {bands[1]['input_above']:,}" if len(bands) > 1 else "any"


def label_of(entry: dict[str, Any]) -> str:
    """The entry's source, and what it charges beside tokens. Dates and hours stand beside it."""
    estimated = ", estimated" if entry["basis"] == "estimated" else ""
    fee = f", and {entry['usd_per_call']} USD a call" if entry["usd_per_call"] else ""
    tools = "".join(f", {usd} USD for each of {name.replace('_', ' ')}" for name, usd in entry["usd_per_tool_call"].items())
    return f"{entry['id']} {entry['version'].partition('/')[0]}{estimated}{fee}{tools}"


def _headings(figures: list[dict[str, str | None]]) -> list[str]:
    """Classes worth a column: those with a rate that does not follow from another column."""
    follows = {"cache_read": "uncached_input", "cache_write": "uncached_input", "reasoning": "visible_output"}
    return [name for name in HEADINGS if name not in follows or any(each[name] != each[follows[name]] for each in figures)]


def new_table(*headings: str, figures: Collection[str] = tuple(HEADINGS.values())) -> "Table":
    """An empty table; columns named in `figures` are set to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        figure = heading in figures
        table.add_column(heading, justify="right" if figure else "left", no_wrap=figure, overflow="fold")
    return table


def print_table(table: "Table") -> None:
    console = stdout_console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH  # a reader that is a program wants whole lines
    console.print(table)
