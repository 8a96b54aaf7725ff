"""The form that a request asks for: JSON, JSON of a schema, calls of its tools with arguments of theirs."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from penstock.domain.dialects.canonical import ToolUse

_LONGEST = 5_000_000
_FORMAT_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat.completions": ("response_format",),
    "responses": ("text", "format"),
    "messages": ("output_config", "format"),
}


class Wanted(msgspec.Struct, frozen=True):
    """What the body of a call says of its answer's form."""

    json: bool = False
    schema: dict[str, Any] | None = None
    """of the text; None: none, or any JSON"""
    tools: Mapping[str, dict[str, Any] | None] | None = None
    """schema of the arguments by the name of a tool, None where it has none; None: tools are there that only a provider knows"""
    call: bool = False
    """a tool must be called"""
    named: str | None = None
    """this one"""


def wanted_of(endpoint: str, body: object) -> Wanted:
    """What a call asks for. Raises nothing, whatever the body is: what is not understood is not asked for."""
    if not isinstance(body, dict):
        return Wanted()
    format: Any = body
    for name in _FORMAT_FIELDS.get(endpoint, ("response_format",)):
        format = format.get(name) if isinstance(format, dict) else None
    kind = format.get("type") if isinstance(format, dict) else None
    schema: Any = None
    if kind == "json_schema":
        inner = format.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, dict) else format.get("schema")
    call, named = _choice(body.get("tool_choice"))
    return Wanted(kind in ("json_schema", "json_object"), schema if isinstance(schema, dict) else None, _tools(body), call, named)


def json_value(text: str) -> tuple[Any] | None:
    """The JSON that a text is, as a tuple of one; None where it is none, too long, or nested beyond reading."""
    if len(text) > _LONGEST:
        return None
    try:
        return (orjson.loads(text),)
    except orjson.JSONDecodeError:
        return None


def broken_call(call: ToolUse, wanted: Wanted) -> str | None:
    """What is wrong with a tool call before its arguments are held against a schema, in words; None: nothing."""
    if wanted.tools is not None and call.name not in wanted.tools:
        return f"it calls `{call.name[:60]}`, which is none of the tools"
    if wanted.named is not None and call.name != wanted.named:
        return f"it calls `{call.name[:60]}`, and must call `{wanted.named[:60]}`"
    value = json_value(call.arguments)
    if value is None:
        return f"the arguments of `{call.name[:60]}` are no JSON"
    return None if isinstance(value[0], dict) else f"the arguments of `{call.name[:60]}` are no object"


def _tools(body: dict[str, Any]) -> Mapping[str, dict[str, Any] | None] | None:
    given = body.get("tools")
    found: dict[str, dict[str, Any] | None] = {}
    for tool in given if isinstance(given, list) else ():
        if not isinstance(tool, dict):
            return None
        function = tool.get("function") if isinstance(tool.get("function"), dict) else tool
        assert isinstance(function, dict)
        kind, name, schema = tool.get("type"), function.get("name"), function.get("parameters", function.get("input_schema"))
        if not isinstance(name, str) or kind not in (None, "function", "custom") or (kind == "custom" and schema is None):
            return None
        found[name] = schema if isinstance(schema, dict) else None
    return found


def _choice(choice: object) -> tuple[bool, str | None]:
    if not isinstance(choice, dict):
        return choice == "required", None
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else choice.get("name")
    called = choice.get("type") in ("function", "tool", "any")
    return called, name if called and isinstance(name, str) else None
