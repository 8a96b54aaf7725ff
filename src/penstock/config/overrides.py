"""`PENSTOCK_SECTION__KEY`: scalar keys of the fixed sections, set from the environment."""

from collections.abc import Mapping
from typing import Any, get_origin

import msgspec

from penstock.config.problems import Problem, error, nearest
from penstock.config.settings import Settings
from penstock.config.shape import QUANTITIES, bare, expected, is_table, members, quantity
from penstock.domain.units import UnitError

PREFIX = "PENSTOCK_"
SECTIONS = ("server", "auth", "tags", "cache", "telemetry")


def overridable() -> dict[str, tuple[tuple[str, ...], Any]]:
    """Variable -> (key path, type) of every key that can be overridden."""
    sections = {field.encode_name: field.type for field in msgspec.structs.fields(Settings)}
    found: dict[str, tuple[tuple[str, ...], Any]] = {}
    for section in SECTIONS:
        _collect((section,), sections[section], found)
    return found


def _collect(path: tuple[str, ...], kind: Any, found: dict[str, tuple[tuple[str, ...], Any]]) -> None:
    if is_table(bare(kind)):
        for field in msgspec.structs.fields(bare(kind)):
            _collect((*path, field.encode_name), field.type, found)
    elif not any(is_table(bare(each)) or get_origin(bare(each)) in (tuple, dict) for each in members(kind)):
        found[PREFIX + "__".join(path).upper()] = (path, kind)


def apply(raw: dict[str, Any], environ: Mapping[str, str]) -> list[Problem]:
    """Write the overrides of `environ` into a parsed file; returns those that name no key or do not fit theirs."""
    known = overridable()
    problems = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        if name not in known:
            problems.append(error(name, "this variable overrides no key of penstock.toml", nearest(name, known, "unset it")))
            continue
        path, kind = known[name]
        try:
            value = msgspec.convert(environ[name], kind, strict=False, dec_hook=quantity)
        except msgspec.ValidationError as problem:
            hint = str(problem.__cause__) if isinstance(problem.__cause__, UnitError) else f"set it to {expected(kind)}"
            problems.append(error(name, f"does not fit `{'.'.join(path)}`", hint))
            continue
        _put(raw, path, environ[name] if bare(kind) in QUANTITIES else value)
    return problems


def _put(raw: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    table: Any = raw
    for key in path[:-1]:
        table = table.setdefault(key, {}) if isinstance(table, dict) else None
    if isinstance(table, dict):  # anything else in its place is reported by the shape of the file
        table[path[-1]] = value
