"""The spend of thirty days as a figure: columns by tier, marks where something happened, and the same numbers for the script."""

from collections.abc import Sequence
from datetime import date

import msgspec
from markupsafe import Markup

from penstock.console.days import Days
from penstock.console.figures.columns import Note, Series, columns
from penstock.console.findings import Finding

KINDS = ("w1", "w2", "w3", "w4", "w5")


class Chart(msgspec.Struct, frozen=True):
    """The figure, what its marks mean, its key, and its data as JSON."""

    svg: Markup
    notes: tuple[Note, ...]
    key: tuple[tuple[str, str], ...]
    """(class, name)"""
    data: str


def spend_chart(days: Days, findings: Sequence[Finding]) -> Chart:
    """Thirty days of spend; jumps and anomalies that began in them and price changes are marked."""
    labels = [*(f"{each.day} {each:%b}" for each in map(date.fromisoformat, days.days[:-1])), "today"]
    kinds = KINDS[1:] if len(days.layers) < 4 else KINDS
    series = [
        Series(layer.name, kind, [float(amount) for amount in layer.cost_usd]) for layer, kind in zip(days.layers, kinds, strict=False)
    ]
    happened: list[tuple[str | None, str, str | None]] = [
        (jump.first_day, jump.brief, jump.link) for jump in findings if jump.kind in ("anomaly", "jump")
    ]
    happened += [(event.day, event.words, None) for event in days.prices]
    by_column: dict[int, list[tuple[str, str | None]]] = {}
    for day, said, link in happened:
        if day in days.days:
            by_column.setdefault(days.days.index(day), []).append((said, link))
    lettered = zip(sorted(by_column.items()), "abcdefghij", strict=False)
    notes = tuple(Note(at, letter, tuple(said)) for (at, said), letter in lettered)
    whole = sum(sum(each.values) for each in series)
    desc = ". ".join([f"From {labels[0]} to {labels[-1]}, ${whole:,.2f} in all", *(said for note in notes for said, _ in note.words)])
    return _chart(labels, series, notes, "Spend by day and tier", desc)


def day_chart(days: Sequence[str], series: Sequence[Series], title: str, desc: str) -> Chart:
    """Amounts of USD by day (`2026-11-02`), without marks."""
    return _chart([f"{each.day} {each:%b}" for each in map(date.fromisoformat, days)], series, (), title, desc)


def _chart(labels: Sequence[str], series: Sequence[Series], notes: tuple[Note, ...], title: str, desc: str) -> Chart:
    data = {"days": labels, "series": [{"name": each.name, "kind": each.kind, "values": each.values} for each in series]}
    return Chart(
        columns(labels, series, notes, title, desc),
        notes,
        tuple((each.kind, each.name) for each in series),
        msgspec.json.encode(data | {"notes": [(note.column, note.letter) for note in notes]}).decode(),
    )
