"""How figures of a calculation are written, and how its tables fit a terminal."""

from fractions import Fraction
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from penstock.cli import calc_table
from penstock.cli.calc_table import number, print_calculated, shown
from penstock.domain.sizing.calculators.calculator import Quantity
from penstock.domain.sizing.calculators.registry import calculators


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (576, 2, "576.00"),
        (Fraction("64035.7777"), 0, "64,035.8"),
        (Fraction("1234567.891"), 2, "1,234,567.89"),
        (Fraction("0.0038421467"), 2, "0.00384215"),
        (Fraction(1, 3), 2, "0.333333"),
        (Fraction("-0.5"), 0, "-0.5"),
        (Fraction("-1234.5"), 2, "-1,234.50"),
        (Fraction(1, 10**400), 0, "0"),
    ],
)
def test_figures_have_enough_digits(value: Any, places: int, text: str) -> None:
    assert number(value, places) == text


def test_a_share_short_of_all_is_not_shown_as_all() -> None:
    availability = Quantity("availability", "share")
    told = [shown(Fraction(text), availability) for text in ("0.999999", "0.99999999999", "1", "0.5", "1e-9")]
    assert told == ["99.9999 %", "99.999999999 %", "100 %", "50 %", told[-1]]
    assert not told[-1].startswith("0 ")


def test_units_say_how_a_figure_is_written() -> None:
    assert shown(Fraction(3, 8), Quantity("", "share")) == "37.5 %"
    assert shown(Fraction(32, 7), Quantity("", "x")) == "4.571x"
    assert shown(None, Quantity("", otherwise="no tokens")) == "no tokens"
    assert shown((1, 2), Quantity("")) == "1, 2" and shown((), Quantity("")) == "all"
    assert shown(Fraction("0.5"), Quantity("", "USD")) == "0.50"


def drawn(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a calculation on a terminal of that width."""
    screen = StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(calc_table, "stdout_console", lambda: console)
    calculator = calculators()[name]
    inputs = calculator.inputs()
    print_calculated(calculator, inputs, calculator.compute(inputs), ())
    return screen.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_table_fits_its_terminal_with_its_figures_whole(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn("cost-curve", width, monkeypatch)
    assert all(len(line) <= width for line in lines)
    assert all(any(figure in line for line in lines) for figure in ("210.00", "6,048.00", "40,320.00", "80,640.00", "28.8x"))
    bars = [line for line in lines if "█" in line or "###" in line]
    assert len(bars) >= 3 and any(line.lstrip().startswith("scale") for line in bars)
