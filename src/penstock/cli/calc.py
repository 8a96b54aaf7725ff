"""`penstock calc`: arithmetic of serving costs that is often printed wrong, from inputs of the user's own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import CAPACITY, JsonOption, QuietOption
from penstock.cli.output import WRONG_USAGE, CommandError, print_json, say

if TYPE_CHECKING:
    from penstock.domain.sizing.calculators.calculator import Calculator

NameArgument = Annotated[str | None, typer.Argument(help="Calculator; without one they are listed.", metavar="[NAME]", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="An input: `gpus=2`, `idle=40%`, `tokens=150M`, `shares=0.6,0.3,0.1`; repeatable.", metavar="KEY=VALUE"),
]


def register(app: typer.Typer) -> None:
    app.command("calc", rich_help_panel=CAPACITY)(calc)


def calc(name: NameArgument = None, set_: SetOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Calculate serving costs: break-evens, cost curves, idle hours, commitments, caches, replicas, formats, context.

    Inputs have defaults: those of figures that are often printed, so that a calculator without --set shows what is right of them.
    """
    from penstock.domain.sizing.calculators.calculator import CalculationError
    from penstock.domain.sizing.calculators.registry import find_calculator

    try:
        if name is None:
            _list(set_, json, quiet)
        else:
            _calculate(find_calculator(name), set_ or (), json)
    except CalculationError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None


def _list(set_: "Sequence[str] | None", json: bool, quiet: bool) -> None:
    from penstock.cli.calc_table import listed_json, print_list

    if set_:
        raise CommandError("--set is of one calculator", "name it: `penstock calc NAME --set KEY=VALUE`", WRONG_USAGE)
    if json:
        print_json({"calculators": listed_json()})
    else:
        print_list()
        say("`penstock calc NAME` shows one with its inputs, `--set KEY=VALUE` changes them", quiet)


def _calculate(calculator: "Calculator", set_: "Sequence[str]", json: bool) -> None:
    from penstock.cli.calc_table import calculated_json, print_calculated
    from penstock.domain.sizing.calculators.reading import read_inputs

    given = _given(set_)
    inputs = read_inputs(calculator.inputs, given, _looked_up)
    result = calculator.compute(inputs)
    if json:
        print_json(calculated_json(calculator, inputs, result, given))
    else:
        print_calculated(calculator, inputs, result, given)


def _given(set_: "Sequence[str]") -> dict[str, str]:
    given: dict[str, str] = {}
    for each in set_:
        key, equals, value = each.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise CommandError(f"--set `{each}` is not KEY=VALUE", "write it like `--set gpus=2`", WRONG_USAGE)
        if key in given:
            raise CommandError(f"--set gives {key} twice", "a list is one value: `--set shares=0.6,0.3,0.1`", WRONG_USAGE)
        given[key] = value
    return given


def _looked_up(kind: type, name: str) -> Any:
    """A model or an accelerator by its name."""
    from penstock.adapters.feeds.catalogue import accelerators, find_architecture
    from penstock.domain.sizing.accelerators import Accelerator, find

    return find(name, accelerators()) if kind is Accelerator else find_architecture(name)
