"""JSON Schemas: of penstock.toml for editors, and of the usage record for those who read the ledger.

The first keeps to what drafts 4 to 7 share, for TOML editors lag behind: no `$ref`, no numeric `exclusiveMinimum`, no `null`.
"""

from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from penstock.config.settings import Settings
from penstock.config.shape import QUANTITIES, bare, is_table, members, metas
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.units import Duration, Size

_PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Any: {},
}
_DURATIONS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SIZES = {"GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}


def config_schema() -> dict[str, Any]:
    """Schema of penstock.toml, draft 7."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "penstock.toml", **_schema(Settings)}


def usage_schema() -> dict[str, Any]:
    """Schema of one usage record as the journal holds it, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "usage record", **msgspec.json.schema(UsageRecord)}


def default_of(field: FieldInfo) -> Any:
    """The default of a key as it would be written in the file; None when it has none, or it is a table."""
    value = field.default
    if value is msgspec.NODEFAULT or value is None or isinstance(value, msgspec.Struct):
        return None
    if isinstance(value, Duration):
        return _with_unit(float(value), _DURATIONS, "")
    if isinstance(value, Size):
        return _with_unit(int(value), _SIZES, " ")
    return list(value) if isinstance(value, tuple) else value


def _with_unit(value: float, units: dict[str, int], space: str) -> str:
    """In the largest unit of which the value is a whole number, two at least: `24h` rather than `1d`."""
    unit = next(name for name, size in units.items() if value >= 2 * size and value % size == 0)
    return f"{int(value // units[unit])}{space}{unit}"


def _schema(kind: Any) -> dict[str, Any]:
    choices = members(kind)
    found = _member_schema(choices[0]) if len(choices) == 1 else {"anyOf": [_member_schema(each) for each in choices]}
    return found | _limits(metas(kind))


def _member_schema(kind: Any) -> dict[str, Any]:
    return _bare_schema(bare(kind)) | _limits(metas(kind))


def _bare_schema(kind: Any) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_table(kind):
        return _table_schema(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if kind in QUANTITIES:
        what, example = QUANTITIES[kind]
        return {"type": "string", "description": f"{what} such as `{example}`", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*[A-Za-z]"}
    return dict(_PLAIN[kind])


def _table_schema(table: type[msgspec.Struct]) -> dict[str, Any]:
    properties, required = {}, []
    for field in msgspec.structs.fields(table):
        properties[field.encode_name] = _schema(field.type)
        default = default_of(field)
        if default is not None:
            properties[field.encode_name]["default"] = default
        if field.required:
            required.append(field.encode_name)
    found = {"type": "object", "description": table.__doc__, "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _limits(limits: list[Meta]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for limit in limits:
        lowest = limit.ge if limit.ge is not None else limit.gt
        named = {"description": limit.description, "minimum": lowest, "maximum": limit.le, "pattern": limit.pattern}
        found |= {key: value for key, value in named.items() if value is not None}
    return found
