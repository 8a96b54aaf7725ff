"""Whether a parsed file has the shape of the settings: every key that is unknown, missing or of the wrong type, in words."""

import datetime
import math
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from penstock.config.problems import Problem, error, join, nearest
from penstock.config.settings import Settings
from penstock.config.tables import Secret
from penstock.domain.units import Duration, Rate, Size, UnitError

QUANTITIES = {Duration: ("a duration", "30s"), Size: ("a size", "10 MB"), Rate: ("a rate", "0.79 USD/gpu-hour")}
_BY_NAME = 'put the secret into an environment variable and name that: `{ env = "NAME" }`'


def quantity(kind: type, raw: Any) -> Any:
    """`dec_hook` for text with units. Raises `UnitError` when the text is none, or is not text."""
    if kind not in QUANTITIES:
        raise NotImplementedError(kind)
    if isinstance(raw, kind):
        return raw
    if not isinstance(raw, str):
        what, example = QUANTITIES[kind]
        raise UnitError(f'{what} is text with its unit: write it like `"{example}"`')
    return kind.parse(raw)  # type: ignore[attr-defined]  # Duration, Size and Rate


def bare(kind: Any) -> Any:
    """The type below its `Annotated`."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def metas(kind: Any) -> list[Meta]:
    return [each for each in get_args(kind)[1:] if isinstance(each, Meta)] if get_origin(kind) is Annotated else []


def members(kind: Any) -> list[Any]:
    """What a key may hold, without `None`: the parts of a union, or the one type."""
    kind = bare(kind)
    if get_origin(kind) in (Union, UnionType):
        return [each for each in get_args(kind) if each is not NoneType]
    return [kind]


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def faults(raw: Any, kind: Any = Settings, path: str = "") -> Iterator[Problem]:
    """Everything in `raw` that does not fit `kind`, at its key path."""
    for member in map(bare, members(kind)):
        arguments = get_args(member)
        if isinstance(raw, dict) and is_table(member):
            yield from _table_faults(raw, member, path)
            return
        if isinstance(raw, dict) and get_origin(member) is dict:
            for key, value in raw.items():
                yield from faults(value, arguments[1], join(path, key))
            return
        if isinstance(raw, list) and get_origin(member) is tuple:
            for index, value in enumerate(raw):
                yield from faults(value, arguments[0], f"{path}[{index}]")
            return
    yield from _value_faults(raw, kind, path)


def _table_faults(raw: dict[str, Any], table: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    where = f"in [{path}]" if path else "at the top of the file"
    for key in raw:
        if key not in fields:
            yield error(join(path, key), f"unknown key `{key}` {where}", _unknown_hint(key, list(fields), path))
    for key, field in fields.items():
        if key in raw:
            yield from faults(raw[key], field.type, join(path, key))
        elif field.required:
            hint = "add `version = 1` as the first line" if (path, key) == ("", "version") else f"add `{key} = ...`: {expected(field.type)}"
            yield error(join(path, key), f"`{key}` is missing {where}", hint)


def _unknown_hint(key: str, known: list[str], path: str) -> str:
    if not path:
        for field in msgspec.structs.fields(Settings):
            section = bare(field.type)
            if is_table(section) and key in {each.encode_name for each in msgspec.structs.fields(section)}:
                return f"`{key}` belongs in [{field.encode_name}]"
    return nearest(key, known, f"remove `{key}`")


def _value_faults(raw: Any, kind: Any, path: str) -> Iterator[Problem]:
    if isinstance(raw, float) and not math.isfinite(raw):
        yield error(path, "not a finite number", f"write {expected(kind)}")
        return
    try:
        msgspec.convert(raw, kind, dec_hook=quantity)
    except msgspec.ValidationError as problem:
        if isinstance(problem.__cause__, UnitError):
            text, _, hint = str(problem.__cause__).partition(": ")
            yield error(path, text, hint)
        elif Secret in members(kind) and str not in members(kind):
            yield error(path, f"expected a secret by name, got {got(raw)}", _BY_NAME)
        else:
            yield error(path, f"expected {expected(kind)}, got {got(raw)}", _value_hint(raw, kind))


def _value_hint(raw: Any, kind: Any) -> str:
    choices = [choice for each in members(kind) if get_origin(bare(each)) is Literal for choice in get_args(bare(each))]
    if isinstance(raw, str) and choices:
        return nearest(raw, [str(choice) for choice in choices], "")
    if isinstance(raw, datetime.date | datetime.time):
        return "put it in quotes"
    if str in map(bare, members(kind)) and not isinstance(raw, dict | list | str):
        return "put it in quotes"
    if isinstance(raw, int | float):
        for limit in metas(kind):
            if limit.extra is not None and "hint" in limit.extra:
                return str(limit.extra["hint"])
    return f"write {expected(kind)}"


def expected(kind: Any) -> str:
    """What a key takes, in words."""
    return " or ".join(dict.fromkeys(_expected_one(each, metas(each) + metas(kind)) for each in members(kind)))


def _expected_one(kind: Any, limits: list[Meta]) -> str:
    kind = bare(kind)
    origin = get_origin(kind)
    if origin is Literal:
        return ("one of " if len(get_args(kind)) > 1 else "") + ", ".join(f"`{choice}`" for choice in get_args(kind))
    if kind in QUANTITIES:
        return f"{QUANTITIES[kind][0]} such as `{QUANTITIES[kind][1]}`"
    if kind is Secret:
        return '`{ env = "NAME" }`'
    if is_table(kind) or origin is dict:
        return "a table"
    if origin is tuple:
        return "a list of tables" if is_table(bare(get_args(kind)[0])) else f"a list of {_plural(get_args(kind)[0])}"
    names: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(kind, "a value") + _limits(limits)


def _plural(kind: Any) -> str:
    return "texts" if bare(kind) is str else "values"


def _limits(limits: list[Meta]) -> str:
    words = []
    for limit in limits:
        words += [f"at least {limit.ge}"] if limit.ge is not None else []
        words += [f"at most {limit.le}"] if limit.le is not None else []
        words += [f"more than {limit.gt}"] if limit.gt is not None else []
        words += ["such as `> 0.7`"] if limit.pattern is not None else []
    return " " + ", ".join(words) if words else ""


def got(raw: Any) -> str:
    """What stands in the file, in words; text is never quoted, for it may be a secret in the wrong place."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return str(raw)
    names: dict[type, str] = {str: "text", list: "a list", dict: "a table"}
    return names.get(type(raw), "a date or time")
