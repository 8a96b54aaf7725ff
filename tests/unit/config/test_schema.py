"""The schema says what the loader does: same keys, same defaults, and nothing that old editors stumble over."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from penstock.config.caching import ExactCache, SemanticCache
from penstock.config.load import parse
from penstock.config.schema import config_schema, usage_schema
from penstock.config.settings import Settings
from penstock.config.start import simulated, with_upstream


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def test_every_key_is_described() -> None:
    for node in nodes(config_schema()):
        for key, value in node.get("properties", {}).items():
            assert value.get("description"), key


def test_defaults_of_the_schema_load_as_the_defaults() -> None:
    sections = config_schema()["properties"]
    lines = ["version = 1"]
    for name in ("server", "auth", "tags"):
        lines.append(f"[{name}]")
        for key, value in sections[name]["properties"].items():
            if value.get("default"):
                lines.append(f"{key} = {json.dumps(value['default'])}")
    for name in ("exact", "semantic"):
        lines.append(f"[cache.{name}]")
        layer = sections["cache"]["properties"][name]["properties"]
        lines += [f"{key} = {json.dumps(value['default'])}" for key, value in layer.items() if "default" in value]
        kind = ExactCache if name == "exact" else SemanticCache
        assert {key for key, value in layer.items() if "default" not in value} == {
            field.name for field in msgspec.structs.fields(kind) if field.default is None
        }
    assert parse("\n".join(lines), {}) == Settings(version=1)


def test_it_keeps_to_what_old_editors_know() -> None:
    for node in nodes(config_schema()):
        assert not {"$ref", "$defs", "const", "exclusiveMinimum", "prefixItems"} & node.keys()
        assert node.get("type") != "null"


def test_unknown_keys_are_refused_by_the_schema_too() -> None:
    schema = config_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["version"]
    assert schema["properties"]["upstreams"]["additionalProperties"]["additionalProperties"] is False


def test_the_usage_record_has_a_schema() -> None:
    properties = usage_schema()["$defs"]["UsageRecord"]["properties"]
    assert {"id", "tokens", "cost", "counterfactual", "tags"} <= properties.keys()


@pytest.mark.parametrize(
    "text",
    [
        simulated(),
        with_upstream("http://127.0.0.1:8000/v1", ['a "b"', "org/model-é"], "KEY"),
        with_upstream("https://api.anthropic.com/v1", ["claude"], "KEY"),
    ],
)
def test_what_init_writes_loads(text: str) -> None:
    assert parse(text, {}).models
