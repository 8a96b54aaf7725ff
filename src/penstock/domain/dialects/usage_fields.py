"""Counts in a usage body, taken at their word or refused: whole numbers of 0 to 2**53, under whichever of their names."""

from collections.abc import Iterable, Mapping
from typing import Any

LARGEST_COUNT = 2**53


class UsageError(ValueError):
    """A usage body that cannot be trusted; the message names the field and what is wrong with it."""


def count(counts: Mapping[str, Any], key: str) -> int | None:
    """A count, None where it is absent or null. Raises `UsageError`."""
    value = counts.get(key)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise UsageError(f"`{key}` is {json_kind(value)}, not a whole number")
    if value < 0:
        raise UsageError(f"`{key}` is negative")
    if value > LARGEST_COUNT:
        raise UsageError(f"`{key}` is above 2**53")
    return value


def largest(counts: Mapping[str, Any], names: Iterable[str]) -> int:
    """The largest of several names for one count: where two are given, one is often a default 0."""
    most = 0
    for key in names:
        if key in counts:
            value = count(counts, key)
            if value is not None and value > most:
                most = value
    return most


def details(usage: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object of counts, empty where it is absent or empty. Raises `UsageError` where it is something else."""
    value = usage.get(key)
    if not value:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"`{key}` is {json_kind(value)}, not an object")
    return value


def json_kind(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "absent"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case float():
            return "a fraction"
        case int():
            return "a number"
    return f"a {type(value).__name__}"
