"""What a calculator is: inputs with units, bounds and sources, a pure function, and a result that says what its figures are.

Money is exact (`Fraction`), and so is every share and factor that arithmetic gives exactly; roots, logarithms and queues are rounded to
`DIGITS` decimals. A result of None is not a number, and its `Quantity.otherwise` says in words why.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

DIGITS: Final = 15
ABSURD: Final = 10**18
HOUR_S: Final = 3600
DAY_S: Final = 86_400
MONTH_DAYS: Final = 30
MILLION: Final = 10**6
GB: Final = 10**9

Number = int | Fraction


class CalculationError(ValueError):
    """Inputs that no calculation can start from; says what to give instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Quantity(msgspec.Struct, frozen=True):
    """What an input or a figure is. Inputs lie in [least, most], and above `above` where that is given."""

    words: str
    unit: str = ""
    """`USD`, `USD/GPU-hour`, `share` (0 to 1), `x` (a ratio), `tokens/s`; empty: a plain number or text"""
    above: Number | None = None
    least: Number | None = 0
    below: Number | None = None
    most: Number | None = ABSURD
    source: str = ""
    """of the default of an input"""
    usual: str | None = None
    """the name that is looked up where an input has no default: of a model, of an accelerator"""
    otherwise: str = "unknown"
    """what None means"""
    bar: bool = False
    """a column of a table that is drawn as well"""


def share(words: str, source: str = "", below: Number | None = None) -> Quantity:
    """An input that is a part of a whole."""
    return Quantity(words, "share", most=1, below=below, source=source)


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Typed inputs; every field is `Annotated` with its `Quantity`. Raises `CalculationError` for figures out of their bounds."""

    def __post_init__(self) -> None:
        for name, quantity in quantities(type(self)).items():
            value = getattr(self, name)
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, int | Fraction) and not isinstance(each, bool):
                    _check(name, each, quantity)


class Calculator(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the registry."""

    name: str
    words: str
    inputs: type[Inputs]
    compute: Callable[[Any], msgspec.Struct]
    formula: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """what to know beside the figures; where a figure is often printed wrong, both"""


@cache
def quantities(kind: type[msgspec.Struct]) -> dict[str, Quantity]:
    """The quantity of every field that has one, in order."""
    found: dict[str, Quantity] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is Annotated:
            found[name] = get_args(hint)[1]
    return found


def rounded(value: float | Decimal | Fraction, digits: int = DIGITS) -> Fraction:
    """A figure that is not exact, as a fraction with so many decimals."""
    return Fraction(round(Fraction(value) * 10**digits), 10**digits)


def ratio(part: Number, whole: Number) -> Fraction | None:
    """None where there is no whole."""
    return Fraction(part) / whole if whole else None


def _check(name: str, value: Number, quantity: Quantity) -> None:
    hint = f"{name}: {quantity.words}{f', in {quantity.unit}' if quantity.unit else ''}"
    if quantity.unit == "share" and value > 1:
        meant = f"`{float(value):g}%`" if value.denominator == 1 else "a percentage up to `100%`"
        raise CalculationError(f"{name} is {float(value):g}, more than all of it", f"write a share from 0 to 1, or {meant}")
    if quantity.above is not None and value <= quantity.above:
        raise CalculationError(f"{name} must be above {quantity.above}, not {float(value):g}", hint)
    if quantity.below is not None and value >= quantity.below:
        raise CalculationError(f"{name} must be below {quantity.below}, not {float(value):g}", hint)
    if quantity.least is not None and value < quantity.least:
        raise CalculationError(f"{name} must be at least {quantity.least}, not {float(value):g}", hint)
    if quantity.most is not None and value > quantity.most:
        raise CalculationError(f"{name} must be at most {quantity.most:,}, not {float(value):g}", hint)
