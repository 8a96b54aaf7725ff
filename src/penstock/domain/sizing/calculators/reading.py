"""Reads the inputs of a calculator as people write them: `40%`, `0.6`, `150M`, `64_000`, `1/3`, lists with commas, names."""

import difflib
import re
import types
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from penstock.domain.sizing.calculators.calculator import CalculationError, Inputs, quantities

SUFFIXES: Final = {"": Fraction(1), "%": Fraction(1, 100), "k": Fraction(10**3), "M": Fraction(10**6), "B": Fraction(10**9)}
YES_NO: Final = {"yes": True, "true": True, "no": False, "false": False}
_NUMBER: Final = re.compile(r"([-+]?\d{1,24}(?:_\d{1,3})*(?:\.\d{1,24})?)(?:[eE]([-+]?\d{1,2}))?(?:/(\d{1,24}))?\s*([%kMB]?)")

Lookup = Callable[[type, str], Any]
"""(kind, name) -> the model or the accelerator of that name. Raises `LookupError` that names the nearest."""


def read_inputs(kind: type[Inputs], texts: Mapping[str, str], lookup: Lookup) -> Inputs:
    """Inputs from texts by name; what is not given has its default. Raises `CalculationError`."""
    known, hints = quantities(kind), get_type_hints(kind)
    for name in texts:
        if name not in known:
            raise CalculationError(f"there is no input `{name}`", nearest(name, list(known)))
    values = {name: read_value(name, text, hints[name], lookup) for name, text in texts.items()}
    for name, quantity in known.items():
        if quantity.usual is not None and name not in values:
            values[name] = read_value(name, quantity.usual, hints[name], lookup)
    return kind(**values)


def nearest(name: str, known: Sequence[str]) -> str:
    """The hint for a name that is not there."""
    near = difflib.get_close_matches(name, known, 3, 0.5)
    near += [each for each in known if name and (name in each or each in name) and each not in near]
    if near:
        return f"did you mean {' or '.join(f'`{each}`' for each in near[:3])}?"
    return f"known: {', '.join(known)}"


def read_value(name: str, text: str, kind: Any, lookup: Lookup) -> Any:
    """One input of the type `kind`. Raises `CalculationError`."""
    text = text.strip()
    if get_origin(kind) in (Union, types.UnionType):
        if text.lower() in ("", "none", "unknown"):
            return None
        kind = next(each for each in get_args(kind) if each is not types.NoneType)
    if get_origin(kind) is tuple:
        return tuple(read_value(name, each, get_args(kind)[0], lookup) for each in text.split(","))
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise CalculationError(f"{name} cannot be `{text}`", nearest(text, get_args(kind)))
        return text
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in YES_NO:
            raise CalculationError(f"{name} is yes or no, not `{text}`", f"write {name}=yes or {name}=no")
        return YES_NO[text.lower()]
    if kind in (int, Fraction):
        return _number(name, text, whole=kind is int)
    try:
        return lookup(kind, text)
    except LookupError as problem:
        raise CalculationError(f"{name}: {problem}", "models and accelerators are named as by `penstock size`") from None


def _number(name: str, text: str, whole: bool) -> int | Fraction:
    match = _NUMBER.fullmatch(text)
    if match is None or int(match[3] or 1) == 0:
        raise CalculationError(f"{name}: `{text}` is not a number", "write it like 64000, 0.6, 40%, 150M, 1e9 or 1/3")
    value = Fraction(match[1].replace("_", "")) * Fraction(10) ** int(match[2] or 0) / int(match[3] or 1) * SUFFIXES[match[4]]
    if whole and value.denominator != 1:
        raise CalculationError(f"{name} is a whole number, not {text}", f"{name}: give {int(value)} or {int(value) + 1}")
    return int(value) if whole else value
