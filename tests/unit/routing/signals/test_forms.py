"""The form that a request asks for, in all dialects, and answers that lack it."""

from typing import Any

import pytest

from penstock.domain.dialects.canonical import ToolUse
from penstock.domain.routing.signals.forms import Wanted, broken_call, wanted_of

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat.completions", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}),
        ("responses", {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}),
        ("messages", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ],
)
def test_schemas(endpoint: str, body: dict[str, Any]) -> None:
    wanted = wanted_of(endpoint, body)
    assert wanted.json and wanted.schema == SCHEMA


def test_any_json() -> None:
    assert wanted_of("chat.completions", {"response_format": {"type": "json_object"}}) == Wanted(json=True, tools={})
    assert not wanted_of("chat.completions", {"response_format": {"type": "text"}}).json


@pytest.mark.parametrize(
    ("endpoint", "tool", "choice"),
    [
        (
            "chat.completions",
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
            {"type": "function", "function": {"name": "f"}},
        ),
        ("responses", {"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "function", "name": "f"}),
        ("messages", {"name": "f", "input_schema": SCHEMA}, {"type": "tool", "name": "f"}),
    ],
)
def test_tools(endpoint: str, tool: dict[str, Any], choice: dict[str, Any]) -> None:
    wanted = wanted_of(endpoint, {"tools": [tool], "tool_choice": choice})
    assert wanted.tools == {"f": SCHEMA} and wanted.call and wanted.named == "f"


@pytest.mark.parametrize(
    ("choice", "call"),
    [("auto", False), ("none", False), ("required", True), ({"type": "any"}, True), ({"type": "auto"}, False), (None, False)],
)
def test_whether_a_tool_must_be_called(choice: object, call: bool) -> None:
    assert wanted_of("chat.completions", {"tool_choice": choice}).call is call


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {},
        {"response_format": 1},
        {"response_format": {"type": "json_schema"}},
        {"text": "x"},
        {"tools": "x"},
        {"tools": [1]},
        {"tool_choice": 1},
    ],
)
@pytest.mark.parametrize("endpoint", ["chat.completions", "responses", "messages", "completions", "/v1/odd"])
def test_odd_bodies_ask_for_nothing(endpoint: str, body: object) -> None:
    wanted = wanted_of(endpoint, body)
    assert wanted.schema is None and not wanted.call


def test_tools_of_a_provider_are_not_known() -> None:
    assert wanted_of("responses", {"tools": [{"type": "web_search"}]}).tools is None
    assert broken_call(ToolUse("1", "web_search"), Wanted(tools=None)) is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (ToolUse("1", "f", '{"city": "Rome"}'), None),
        (ToolUse("1", "f"), None),
        (ToolUse("1", "g"), "none of the tools"),
        (ToolUse("1", "f", '{"city": "Ro'), "no JSON"),
        (ToolUse("1", "f", "[1]"), "no object"),
        (ToolUse("1", "f", "[" * 100_000), "no JSON"),
    ],
)
def test_tool_calls(call: ToolUse, said: str | None) -> None:
    found = broken_call(call, Wanted(tools={"f": SCHEMA}))
    assert (found is None) if said is None else (found is not None and said in found)
