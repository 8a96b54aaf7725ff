"""One member changes, every other byte stays."""

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.splice import SpliceError, add_member, ask_for_usage, members, remove_member, replace_model

KEYS = st.sampled_from(["model", "stream_options", "include_usage", "x", "models", 'a"model', "mod\\el", "", "é"]) | st.text(max_size=4)
TEXTS = st.sampled_from(["gpt", '"model":"no"', '\\"model":', "mod\\u0065l", '{"model":"x"}', "\\"]) | st.text(max_size=6)
SPACE = st.sampled_from(["", "", "", " ", "\n\t ", "\r\n"])
Render = Callable[[Any], str]


def _spelled(draw: st.DrawFn, text: str) -> str:
    if draw(st.booleans()):
        return orjson.dumps(text).decode()
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else orjson.dumps(c).decode()[1:-1] for c in text) + '"'


@st.composite
def rendered(draw: st.DrawFn, depth: int = 2) -> str:
    """JSON text of any spelling: white space, escaped letters, duplicate keys."""
    kind = draw(st.sampled_from(["text", "scalar", "object", "array"] if depth else ["text", "scalar"]))
    if kind == "text":
        return _spelled(draw, draw(TEXTS))
    if kind == "scalar":
        return draw(st.sampled_from(["1", "-0.5e-3", "null", "true", "false", "[]", "{}", "[ ]"]))
    if kind == "array":
        return draw(SPACE).join(["[", ",".join(draw(st.lists(rendered(depth - 1), max_size=3))), "]"])
    return draw(objects(depth - 1))


@st.composite
def objects(draw: st.DrawFn, depth: int = 2, must: str | None = None) -> str:
    keys = draw(st.lists(KEYS, max_size=4))
    if must is not None:
        keys.insert(draw(st.integers(0, len(keys))), must)
    members = [draw(SPACE) + _spelled(draw, key) + draw(SPACE) + ":" + draw(SPACE) + draw(rendered(depth)) + draw(SPACE) for key in keys]
    return draw(SPACE) + "{" + (",".join(members) or draw(SPACE)) + "}" + draw(SPACE)


def _outside(before: bytes, after: bytes, key: str, value: bytes) -> bool:
    """Whether `after` is `before` with each top-level `key` holding `value`, byte for byte."""
    expected, at = b"", 0
    for spelled, _, start, end in members(before):
        if orjson.loads(spelled) == key:
            expected += before[at:start] + value
            at = end
    return after == expected + before[at:]


@given(objects(must="model"), TEXTS)
def test_replace_model_changes_that_value_alone(text: str, name: str) -> None:
    body = text.encode()
    result = replace_model(body, name)
    assert orjson.loads(result) == {**orjson.loads(body), "model": name}
    assert _outside(body, result, "model", orjson.dumps(name))


@given(objects())
def test_members_agree_with_a_parser(text: str) -> None:
    body = text.encode()
    found = {orjson.loads(spelled): orjson.loads(body[start:end]) for spelled, _, start, end in members(body)}
    assert found == orjson.loads(body)


@given(objects(), KEYS, rendered())
def test_add_member_sets_it(text: str, key: str, value: str) -> None:
    result = add_member(text.encode(), key, value.encode())
    assert orjson.loads(result) == {**orjson.loads(text), key: orjson.loads(value)}


@given(objects(), KEYS)
def test_remove_member_removes_it_alone(text: str, key: str) -> None:
    expected = orjson.loads(text)
    expected.pop(key, None)
    assert orjson.loads(remove_member(text.encode(), key)) == expected


@given(objects())
def test_ask_for_usage_sets_include_usage_and_keeps_other_options(text: str) -> None:
    before = orjson.loads(text)
    options = before.get("stream_options")
    after = orjson.loads(ask_for_usage(text.encode()))
    if options is not None and not isinstance(options, dict):
        assert after == before
    else:
        assert after == {**before, "stream_options": {**(options or {}), "include_usage": True}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a","x":1}', b'{"model":"B","x":1}'),
        (b'{ "model" :\n"a\\"b" }', b'{ "model" :\n"B" }'),
        (
            b'{"messages":[{"content":"\\"model\\":\\"no\\""}],"model":"a"}',
            b'{"messages":[{"content":"\\"model\\":\\"no\\""}],"model":"B"}',
        ),
        (b'{"metadata":{"model":"no"},"model":"a"}', b'{"metadata":{"model":"no"},"model":"B"}'),
        (b'{"a\\"model":"no","model":"a"}', b'{"a\\"model":"no","model":"B"}'),
        (b'{"metadata":{"model":"no"},"mod\\u0065l":"a"}', b'{"metadata":{"model":"no"},"mod\\u0065l":"B"}'),
        (b'{"model":1,"x":"model","model":"a"}', b'{"model":"B","x":"model","model":"B"}'),
    ],
)
def test_replace_model_examples(body: bytes, expected: bytes) -> None:
    assert replace_model(body, "B") == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (b"{ }", b'{"stream_options":{"include_usage":true} }'),
        (b'{"stream_options":null}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{"x":1}}', b'{"stream_options":{"include_usage":true,"x":1}}'),
        (b'{"stream_options":{"include_usage":false,"x":1}}', b'{"stream_options":{"include_usage":true,"x":1}}'),
        (b'{"x":{"stream_options":1}}', b'{"stream_options":{"include_usage":true},"x":{"stream_options":1}}'),
        (b'{"stream_options":"odd"}', b'{"stream_options":"odd"}'),
        (b'{"stream\\u005foptions":{}}', b'{"stream\\u005foptions":{"include_usage":true}}'),
    ],
)
def test_ask_for_usage_examples(body: bytes, expected: bytes) -> None:
    assert ask_for_usage(body) == expected


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"a":1', b'{"a"}', b'{"a":[1}', b'{"a":"b', b"{,}"])
def test_what_is_no_object_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(SpliceError):
        members(body)


def test_a_body_without_a_model_is_refused() -> None:
    with pytest.raises(SpliceError, match="no top-level `model`"):
        replace_model(b'{"x":1}', "B")


@pytest.mark.parametrize(
    "filling",
    [b'"' + b'\\"' * 500_000 + b'"', b"[" * 1000 + b"]" * 1000, b"[" + b"[],{}," * 100_000 + b"1]", b'["' + b'","' * 200_000 + b'"]'],
)
def test_large_bodies_take_time_in_proportion(filling: bytes) -> None:
    body = b'{"x":{"model":1},"y":' + filling + b',"model":"a"}'
    started = time.process_time()
    assert replace_model(body, "B").endswith(b',"model":"B"}')
    assert time.process_time() - started < 2
