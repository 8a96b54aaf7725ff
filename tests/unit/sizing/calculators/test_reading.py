"""Inputs as people write them, their bounds, and errors that say what to give."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.accelerators import UnknownNameError
from penstock.domain.sizing.calculators.calculator import CalculationError, Inputs, quantities
from penstock.domain.sizing.calculators.quantising import QuantisingInputs
from penstock.domain.sizing.calculators.reading import read_inputs
from penstock.domain.sizing.calculators.registry import calculators, find_calculator
from penstock.domain.sizing.calculators.scaling import HpaInputs
from penstock.domain.sizing.calculators.serving import ServingInputs
from penstock.domain.sizing.calculators.tiers import BlendInputs, CacheInputs


def no_names(kind: type, name: str) -> Any:
    raise UnknownNameError(f"no model `{name}` is known")


def read(kind: type[Inputs], /, **texts: str) -> Any:
    return read_inputs(kind, texts, no_names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64_000", 64_000),
        ("64000", 64_000),
        ("150M", 150_000_000),
        ("1.5k", 1500),
        ("2B", 2 * 10**9),
        ("1e6", 10**6),
        ("25e-2", Fraction(1, 4)),
        ("1/3", Fraction(1, 3)),
        (" 40 % ", Fraction(2, 5)),
        ("0.1", Fraction(1, 10)),
    ],
)
def test_numbers_are_exact(text: str, value: Fraction) -> None:
    assert read(ServingInputs, output_tokens=text).output_tokens == value


@pytest.mark.parametrize("text", ["", "x", "1,000", "1e999", "nan", "inf", "1/0", "0x10", "1 2", "--1", "1e", "9" * 40])
def test_what_is_no_number_says_how_to_write_one(text: str) -> None:
    with pytest.raises(CalculationError, match="output_tokens") as caught:
        read(ServingInputs, output_tokens=text)
    assert "150M" in caught.value.hint


def test_bounds_are_told_with_what_the_input_is() -> None:
    with pytest.raises(CalculationError, match="gpus must be at least 0, not -1"):
        read(ServingInputs, gpus="-1")
    with pytest.raises(CalculationError, match="hours_per_day must be at most 24, not 25") as caught:
        read(ServingInputs, hours_per_day="25")
    assert "hours a day" in caught.value.hint
    with pytest.raises(CalculationError, match="run_usd must be above 0"):
        read(CacheInputs, run_usd="0")
    with pytest.raises(CalculationError, match="at most 1,000,000,000,000,000,000"):
        read(ServingInputs, output_tokens="1e19")
    with pytest.raises(CalculationError, match="more than all of it") as caught:
        read(CacheInputs, exact_hits="40")
    assert "`40%`" in caught.value.hint
    with pytest.raises(CalculationError, match="more than all of it") as caught:
        read(CacheInputs, exact_hits="150%")
    assert "up to `100%`" in caught.value.hint
    with pytest.raises(CalculationError, match="shares must be at least 0"):
        read(BlendInputs, shares="0.5,-0.1")


def test_whole_numbers_are_whole() -> None:
    with pytest.raises(CalculationError, match="gpus is a whole number") as caught:
        read(ServingInputs, gpus="1.5")
    assert "give 1 or 2" in caught.value.hint


def test_lists_words_and_nothing() -> None:
    assert read(BlendInputs, shares="0.5, 50%").shares == (Fraction(1, 2), Fraction(1, 2))
    assert read(HpaInputs, kind="Value").kind == "Value"
    with pytest.raises(CalculationError, match="kind cannot be `value`") as caught:
        read(HpaInputs, kind="value")
    assert "`Value`" in caught.value.hint
    assert read(CacheInputs, replicas="none").replicas is None and read(CacheInputs, replicas="3").replicas == 3


def test_unknown_inputs_and_calculators_name_the_nearest() -> None:
    with pytest.raises(CalculationError, match="no input `gpu`") as caught:
        read(ServingInputs, gpu="2")
    assert "`gpus`" in caught.value.hint
    with pytest.raises(CalculationError, match="no calculator `curve`") as caught:
        find_calculator("curve")
    assert "`cost-curve`" in caught.value.hint
    with pytest.raises(CalculationError, match="model: no model `llama-3-70b` is known"):
        read(QuantisingInputs)


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    for name in ("gpus", "gpu_hour_usd"):
        try:
            found = read_inputs(ServingInputs, {name: text}, no_names)
        except CalculationError:
            continue
        assert getattr(found, name) >= 0


def test_every_calculator_says_what_its_figures_are() -> None:
    for name, each in calculators().items():
        assert each.name == name and each.words and each.formula
        assert set(quantities(each.inputs)) == set(each.inputs.__struct_fields__)
        assert all(of.words for of in quantities(each.inputs).values())
