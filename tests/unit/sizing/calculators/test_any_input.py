"""Whatever is within the bounds of an input is calculated or refused with a hint, and can be shown: no traceback, no endless loop."""

import contextlib
import types
from fractions import Fraction
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.cli.calc_table import calculated_json, print_calculated
from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.calculators.calculator import CalculationError, Quantity, quantities
from penstock.domain.sizing.calculators.registry import calculators
from tests.unit.sizing.calculators.test_engines import A100_40, H100, LLAMA_70B

NAMES: dict[Any, list[Any]] = {Architecture: [LLAMA_70B], Accelerator: [H100, A100_40]}
TINY, HUGE = Fraction(1, 10**9), 10**12


def values(kind: Any, of: Quantity) -> st.SearchStrategy[Any]:
    """Of one input: its bounds, small and large ones, and what lies between."""
    if get_origin(kind) in (Union, types.UnionType):
        return st.none() | values(next(each for each in get_args(kind) if each is not types.NoneType), of)
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return st.lists(values(inner, of), min_size=1, max_size=4).map(tuple)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if kind is str:
        return st.sampled_from(["bf16", "int4", "fp8", "kv-paging", "a", ""])
    if kind in NAMES:
        return st.sampled_from(NAMES[kind])
    low, high = Fraction(of.least or 0), min(Fraction(HUGE), Fraction(HUGE if of.most is None else of.most))
    if kind is int:
        return st.integers(int(low) + (of.above is not None), int(high)) | st.integers(1, 8).map(lambda each: min(each, int(high)))
    inside = [each for each in (low + TINY, low + Fraction(1, 3), high - TINY, high, low) if low <= each <= high]
    within = st.sampled_from(inside) | st.fractions(min_value=low, max_value=high, max_denominator=1000)
    return within.filter(lambda each: (of.above is None or each > of.above) and (of.below is None or each < of.below))


@pytest.mark.parametrize("name", list(calculators()))
@settings(max_examples=20)
@given(data=st.data())
def test_within_the_bounds(name: str, data: st.DataObject) -> None:
    calculator = calculators()[name]
    hints = get_type_hints(calculator.inputs)
    drawn = {key: data.draw(values(hints[key], of), key) for key, of in quantities(calculator.inputs).items()}
    try:
        inputs = calculator.inputs(**drawn)
        result = calculator.compute(inputs)
    except CalculationError as problem:
        refused = problem
    else:
        assert calculated_json(calculator, inputs, result, ())["name"] == name
        with contextlib.redirect_stdout(None):
            print_calculated(calculator, inputs, result, ())
        return
    assert refused.hint
