"""Values as JSON and Python write them, in one form: keys sorted, numbers in one notation, white space and quotes aside."""

import ast
import re
import warnings
from fractions import Fraction
from typing import Any

import orjson

_LONGEST = 100_000
_LONGEST_LITERAL = 20_000
_DEEPEST = 60
_FENCE = re.compile(r"\s*```[\w+-]*[ \t]*\n(.*)```\s*+", re.DOTALL)


def json_of(text: str) -> tuple[Any] | None:
    """The object or list that a text of JSON is, in a fence or bare, as a tuple of one; None where it is none, or too long or nested."""
    if not text.lstrip().startswith(("{", "[", "```")) or len(text) > _LONGEST or depth(text) > _DEEPEST:
        return None
    fenced = _FENCE.fullmatch(text)
    try:
        return (orjson.loads(fenced[1] if fenced is not None else text),)
    except orjson.JSONDecodeError:
        return None


def literal_of(text: str) -> tuple[Any] | None:
    """The value of a Python literal, as a tuple of one; None where a text is none."""
    text = text.strip()
    if not text or len(text) > _LONGEST_LITERAL or depth(text) > _DEEPEST:
        return None
    tree = parse_python(text, mode="eval")
    if tree is None:
        return None
    try:
        return (ast.literal_eval(tree),)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None


def parse_python(text: str, mode: str = "exec") -> ast.AST | None:
    """The syntax tree of Python code; None where it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in what a model wrote
        try:
            return ast.parse(text, mode=mode)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def depth(text: str) -> int:
    """How deep brackets are nested at most, those within texts counted too."""
    level = deepest = 0
    for sign in text:
        if sign in "[{(":
            level += 1
            deepest = max(deepest, level)
        elif sign in "]})" and level:
            level -= 1
    return deepest


def value_key(value: Any) -> str:
    """One text for equal values: 1 and 1.0 are equal, `true` and `True`, `null` and `None`; texts are not numbers; lists are not tuples."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number_key(value)
        case str() | bytes():
            return repr(value)
        case list():
            return f"[{','.join(map(value_key, value))}]"
        case tuple():
            return f"({','.join(map(value_key, value))}{',' if len(value) == 1 else ''})"
        case set() | frozenset():
            return f"set({','.join(sorted(map(value_key, value)))})"
        case dict():
            return f"{{{','.join(sorted(f'{value_key(key)}:{value_key(inner)}' for key, inner in value.items()))}}}"
        case _:
            return repr(value)


def _number_key(value: int | float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return repr(value)
    return str(Fraction(str(value)) if isinstance(value, float) else value)
