"""Reads JSON objects of strangers field by field: each value has the type that its dialect gives it, and none is passed over.

Whatever does not fit raises `Untranslatable` with the path of the field. Null says nothing in all three dialects.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from penstock.domain.dialects.canonical import ANOTHER_UPSTREAM, Untranslatable
from penstock.domain.dialects.usage_fields import json_kind

_EMPTY: tuple[object, ...] = (None, [])
_MOST_INT = 2**63 - 1
"""larger integers cannot be written again"""


class Fields:
    """One JSON object. Reading takes a field out; `close` refuses what is left."""

    __slots__ = ("_left", "path")

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise misplaced(path or "the body", value, "an object")
        self._left: dict[str, Any] = dict(value)
        self.path = path

    def at(self, name: str) -> str:
        """The path of a field of this object."""
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str) -> Any:
        return self._left.pop(name, None)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self._left.pop(name, None)
        if not isinstance(value, str):
            raise misplaced(self.at(name), value, "a text")
        return value

    def maybe_text(self, name: str) -> str | None:
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise misplaced(self.at(name), value, "a text")
        return value

    def setting(self, name: str) -> str | None:
        """A word of the client's choice; `auto` is none."""
        word = self.maybe_text(name)
        return None if word == "auto" else word

    def number(self, name: str) -> float | None:
        value = self._left.pop(name, None)
        if value is not None and type(value) is not int and type(value) is not float:
            raise misplaced(self.at(name), value, "a number")
        return value

    def numbers(self, *names: str) -> dict[str, Any]:
        """Several numbers by their names."""
        return {name: self.number(name) for name in names}

    def whole(self, name: str) -> int | None:
        value = self._left.pop(name, None)
        if type(value) is float and value.is_integer():
            value = int(value)
        if value is not None and (type(value) is not int or not -_MOST_INT <= value <= _MOST_INT):
            raise misplaced(self.at(name), value, "a whole number")
        return value

    def flag(self, name: str) -> bool | None:
        value = self._left.pop(name, None)
        if value is not None and type(value) is not bool:
            raise misplaced(self.at(name), value, "true or false")
        return value

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object that is passed on as it is."""
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, dict):
            raise misplaced(self.at(name), value, "an object")
        return value

    def part(self, name: str) -> "Fields | None":
        """An object that is read in its turn."""
        value = self._left.pop(name, None)
        return None if value is None else Fields(value, self.at(name))

    def items(self, name: str) -> Iterator[tuple[str, Any]]:
        """The items of a list with their paths; none where it is absent."""
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, list):
            raise misplaced(self.at(name), value, "a list")
        return ((f"{self.at(name)}[{index}]", item) for index, item in enumerate(value or ()))

    def parts(self, name: str) -> "Iterator[Fields]":
        """The objects of a list."""
        return (Fields(item, path) for path, item in self.items(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of a list."""
        found = []
        for path, item in self.items(name):
            if not isinstance(item, str):
                raise misplaced(path, item, "a text")
            found.append(item)
        return tuple(found)

    def no_file_id(self) -> None:
        """Refuses content that lies with the provider."""
        if self.take("file_id") is not None:
            field = self.at("file_id")
            raise Untranslatable(field, f"`{field}` names a file that only its own provider has", "Send its bytes as base64, or its URL")

    def drop(self, *names: str) -> None:
        """Passes over fields on purpose; the reasons stand in `LEFT_OUT` of `words.py`."""
        for name in names:
            self._left.pop(name, None)

    def close(self, silent: Mapping[str, object] | None = None, hints: Mapping[str, str] | None = None) -> None:
        """Refuses a field that nobody read, but for empty ones, and those that only spell out the default given in `silent`."""
        for name, value in self._left.items():
            if value in _EMPTY or (silent is not None and name in silent and silent[name] == value):
                continue
            field = self.at(name)
            raise Untranslatable(field, f"`{field}` has no translation", (hints or {}).get(name, ANOTHER_UPSTREAM))


def misplaced(field: str, value: object, wanted: str) -> Untranslatable:
    """The error for a value of another type than its dialect wants."""
    return Untranslatable(field, f"`{field}` is {json_kind(value)}, not {wanted}", f"Send {wanted} as `{field}`")


def json_object(text: str, field: str) -> dict[str, Any]:
    """The object that a text of JSON holds; no text is an empty one."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        raise Untranslatable(field, f"`{field}` is not JSON", f"Send a JSON object as `{field}`") from None
    if not isinstance(value, dict):
        raise misplaced(field, value, "a JSON object")
    return value


def json_text(value: object, field: str) -> str:
    """JSON of a value that a parser has read; raises `Untranslatable` where it is nested too deep to be written."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise Untranslatable(field, f"`{field}` is nested too deep, or holds a number beyond 64 bits", "Send it flatter") from None
