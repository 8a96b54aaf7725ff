"""How `penstock calc` shows a calculation: inputs, figures, tables with a bar, the formula, and what to know beside it."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import zip_longest
from math import floor, log10
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.cli.output import stdout_console
from penstock.cli.prices_table import PIPE_WIDTH, new_table, print_table
from penstock.domain.sizing.calculators.calculator import Calculator, Inputs, Quantity, quantities
from penstock.domain.sizing.calculators.registry import THEMES, calculators

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DIGITS = 6
"""figures that are shown of one that is not whole"""
RATIO_DIGITS = 4
"""of shares, factors and sizes"""
MOST_DIGITS = 16
JSON_PLACES = 12
BAR_WIDTH = 32
WIDE = 120
"""characters of a terminal from which on every column has its place"""
NAMED = "default"


def listed_json() -> list[dict[str, Any]]:
    """Every calculator with its inputs."""
    return [
        {
            "name": each.name,
            "words": each.words,
            "inputs": {name: {"words": of.words, "unit": of.unit} for name, of in quantities(each.inputs).items()},
        }
        for each in calculators().values()
    ]


def print_list() -> None:
    """Names by theme."""
    table = new_table("about", "calculator", "what it answers")
    for theme, members in THEMES.items():
        for about, each in zip_longest([theme], members, fillvalue=""):
            assert isinstance(each, Calculator)
            table.add_row(str(about), each.name, each.words)
    print_table(table)


def calculated_json(calculator: Calculator, inputs: Inputs, result: msgspec.Struct, given: Collection[str]) -> dict[str, Any]:
    """Amounts of USD are decimal strings; what is not a number is null, and `unknown` says why."""
    known, figures = quantities(type(inputs)), quantities(type(result))
    return {
        "name": calculator.name,
        "inputs": {
            name: {"value": _plain(getattr(inputs, name), of), "unit": of.unit, "given": name in given, "source": of.source}
            for name, of in known.items()
        },
        "result": {name: _plain_field(result, name, figures.get(name)) for name in result.__struct_fields__},
        "units": {name: of.unit for name, of in figures.items()},
        "unknown": {name: of.otherwise for name, of in figures.items() if getattr(result, name) is None},
        "formula": calculator.formula,
        "notes": calculator.notes,
    }


def print_calculated(calculator: Calculator, inputs: Inputs, result: msgspec.Struct, given: Collection[str]) -> None:
    """The tables, then lines."""
    console = stdout_console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(f"{calculator.name}: {calculator.words}\n")
    known, figures = quantities(type(inputs)), quantities(type(result))
    rows = [(name, _input(getattr(inputs, name), of), _unit(of), of.words, _origin(name, of, given)) for name, of in known.items()]
    _print_lines(("input", "value", "unit", "meaning", "from"), rows, console)
    rows = [(name, shown(getattr(result, name), of), _unit(of), of.words, "") for name, of in figures.items()]
    _print_lines(("result", "value", "unit", "meaning", ""), rows, console)
    for table in (value for name in result.__struct_fields__ if name not in figures and (value := getattr(result, name))):
        _print_rows(table, console)
    for line in (*(f"formula: {each}" for each in calculator.formula), *(f"note: {each}" for each in calculator.notes)):
        console.print(line, soft_wrap=not console.is_terminal)


def _print_lines(headings: Sequence[str], rows: Sequence[Sequence[str]], console: "Console") -> None:
    """A line for each name; on a narrow terminal unit and origin stand with the meaning."""
    if not rows:
        return
    if console.width < WIDE:
        headings = (*headings[:2], headings[3])
        rows = [(name, value, _together(words, unit, origin)) for name, value, unit, words, origin in rows]
    table = _table(headings, ["value"])
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _together(words: str, unit: str, origin: str) -> str:
    return "; ".join(part for part in (words, "" if unit in words else unit, "" if origin == NAMED else origin) if part)


def _print_rows(rows: Sequence[msgspec.Struct], console: "Console") -> None:
    """A table, turned where that fits better, and a bar for each row: beside it where there is room, else beneath."""
    columns = quantities(type(rows[0]))
    headings = [of.words if of.unit in ("", "x", "share") or of.unit in of.words else f"{of.words}, {of.unit}" for of in columns.values()]
    right = [heading for heading, name in zip(headings, columns, strict=True) if not isinstance(getattr(rows[0], name), str)]
    bars = next(([getattr(row, name) for row in rows] for name, of in columns.items() if of.bar), None)
    drawn = None if bars is None else _bars(bars, "█" if console.encoding.startswith("utf") else "#")
    beside = drawn is not None and console.width >= WIDE
    cells = [[shown(getattr(row, name), of) for name, of in columns.items()] for row in rows]
    if console.width < WIDE and len(rows) < len(headings) and len(right) > len(headings) / 2:
        names = [row[0] for row in cells]
        table = _table([headings[0], *names], names)
        for heading, *turned in zip(headings[1:], *(row[1:] for row in cells), strict=True):
            table.add_row(heading, *turned)
    else:
        table = _table([*headings, ""] if beside else headings, right)
        for number, row in enumerate(cells):
            table.add_row(*row, *([drawn[number]] if drawn is not None and beside else []))
    console.print(table)
    if drawn is not None and not beside:
        width = max(len(row[0]) for row in cells)
        for row, bar in zip(cells, drawn, strict=True):
            console.print(f"{row[0]:<{width}}  {bar}", no_wrap=True)
        console.print()


def _bars(values: Sequence[Fraction | None], block: str) -> list[str]:
    most = max((each for each in values if each is not None), default=Fraction(0))
    return [block * max(1, round(BAR_WIDTH * each / most)) if each and most else "" for each in values]


def _table(headings: Sequence[str], right: Collection[str]) -> "Table":
    """The first column and figures stay whole; words and headings fold."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold", no_wrap=not number)
    return table


def _input(value: Any, of: Quantity) -> str:
    return "none" if value is None else shown(value, of)


def _origin(name: str, of: Quantity, given: Collection[str]) -> str:
    if name in given:
        return "given"
    return f"{NAMED}: {of.source}" if of.source else NAMED


def shown(value: Any, of: Quantity) -> str:
    """A value for people: enough digits, its unit beside it where that is short."""
    if value is None:
        return of.otherwise
    if isinstance(value, tuple):
        return ", ".join(shown(each, of) for each in value) or "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | Fraction):
        if of.unit == "share":
            return _share(value)
        if of.unit == "x":
            return f"{number(value, digits=RATIO_DIGITS)}x"
        if of.unit == "GB":
            return number(value, digits=RATIO_DIGITS)
        return number(value, 2 if of.unit.startswith("USD") else 0)
    return str(getattr(value, "name", value))


def _share(value: int | Fraction) -> str:
    """In percent; what is short of all, such as an availability, never becomes all."""
    told = next((text for digits in range(RATIO_DIGITS, MOST_DIGITS) if (text := number(value * 100, digits=digits)) != "100"), "100")
    return f"{told} %"


def number(value: int | Fraction, places: int = 0, digits: int = DIGITS) -> str:
    """`digits` figures and at least `places` decimals; whole parts are never rounded."""
    if Fraction(value).denominator == 1 and not places:
        return f"{int(value):,}"
    size = floor(log10(abs(float(value)))) if float(value) else 0
    whole, _, part = _decimals(Fraction(value), max(places, digits - 1 - size)).partition(".")
    sign = "-" if whole == "-0" else ""
    return f"{sign}{int(whole):,}" + (f".{part.ljust(places, '0')}" if part or places else "")


def _decimals(value: Fraction, places: int = JSON_PLACES) -> str:
    """Rounded to so many decimals at the most, without zeros at the end."""
    whole, part = divmod(abs(round(value * 10**places)), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{places}d}".rstrip("0").rstrip(".")


def _unit(of: Quantity) -> str:
    return "" if of.unit in ("share", "x") else of.unit


def _plain_field(result: msgspec.Struct, name: str, of: Quantity | None) -> Any:
    value = getattr(result, name)
    return _plain(value, of) if of is not None else [_plain_row(row) for row in value]


def _plain_row(row: msgspec.Struct) -> dict[str, Any]:
    return {name: _plain(getattr(row, name), of) for name, of in quantities(type(row)).items()}


def _plain(value: Any, of: Quantity) -> Any:
    if isinstance(value, tuple):
        return [_plain(each, of) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | Fraction):
        if of.unit.startswith("USD"):
            return _decimals(Fraction(value))
        return int(value) if Fraction(value).denominator == 1 else float(value)
    return str(getattr(value, "name", value))
