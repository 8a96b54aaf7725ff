"""Claims of articles, and the calculations that check them: read from `claims.toml` for the golden test and the documentation."""

import tomllib
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from penstock.adapters.feeds.catalogue import accelerators, find_architecture
from penstock.domain.sizing.accelerators import Accelerator, find
from penstock.domain.sizing.calculators.reading import read_inputs
from penstock.domain.sizing.calculators.registry import find_calculator

FILE = Path(__file__).parent / "claims.toml"
NONE = "none"


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A calculation, and what it must give."""

    calculator: str
    figure: str
    is_: str = msgspec.field(name="is")
    set: dict[str, str] = {}
    percent: bool = False
    printed: str | None = None

    @property
    def command(self) -> str:
        return " ".join([f"penstock calc {self.calculator}", *(f"--set {key}={value}" for key, value in self.set.items())])


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an article says, in our words, and what is right."""

    id: str
    article: str
    claim: str
    verdict: Literal["right", "wrong", "misleading", "given"]
    right: str
    checks: tuple[Check, ...]
    why: str = ""

    def told(self) -> str:
        """`right` with the figures as they are computed."""
        return self.right.format(*(shown(each) for each in self.checks))


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    articles: dict[str, str]
    claim: tuple[Claim, ...]


@cache
def claims() -> Claims:
    return msgspec.convert(tomllib.loads(FILE.read_text("utf-8")), Claims)


def looked_up(kind: type, name: str) -> Any:
    return find(name, accelerators()) if kind is Accelerator else find_architecture(name)


def computed(check: Check) -> Fraction | str | None:
    """The figure of the calculator's result; of a table `rows.NAME.figure`, where NAME is of its first column."""
    calculator = find_calculator(check.calculator)
    found: Any = calculator.compute(read_inputs(calculator.inputs, check.set, looked_up))
    path = check.figure.split(".")
    if path[0] == "rows":
        first = type(found.rows[0]).__struct_fields__[0]
        [found] = [row for row in found.rows if str(getattr(row, first)) == path[1]]
    value = getattr(found, path[-1])
    if isinstance(value, int | Fraction):
        return Fraction(value) * (100 if check.percent else 1)
    return value if isinstance(value, str) else None


def rounded(value: Fraction, like: str) -> Decimal:
    """To as many decimals as `like` has, half up."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal(1).scaleb(-len(like.partition(".")[2])), ROUND_HALF_UP)


def shown(check: Check) -> str:
    """The figure as it is computed, with the decimals that are claimed."""
    value = computed(check)
    if value is None:
        return NONE
    return value if isinstance(value, str) else f"{rounded(value, check.is_):,f}"
