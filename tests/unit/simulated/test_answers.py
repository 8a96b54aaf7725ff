"""What the engine says: bounded, counted by the stated rule, and JSON where JSON is asked for."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.upstreams.simulated.answers import OPENING, Utterance, Voice, digest_of, instance, utter
from penstock.adapters.upstreams.simulated.calls import BadRequest, chat_call, completion_call
from penstock.adapters.upstreams.simulated.faults import KINDS, FaultError, parse_fault
from penstock.adapters.upstreams.simulated.options import Options, OptionsError, PlannedFault, parse_options


def voice(limit: int = 1000, **more: Any) -> Voice:
    return Voice(shortest=20, longest=40, limit=limit, **more)


def test_the_same_digest_says_the_same_and_another_says_another() -> None:
    said = {digest: utter(voice(), digest) for digest in (b"one", b"two", b"three")}
    assert said[b"one"] == utter(voice(), b"one")
    assert len({each.content for each in said.values()}) == 3
    assert all(each.content.startswith(OPENING.strip()) for each in said.values())


@given(st.binary(min_size=1, max_size=8), st.integers(1, 120), st.sampled_from([None, "low", "high"]))
def test_the_limit_holds_and_tokens_in_order_are_the_text(digest: bytes, limit: int, effort: str | None) -> None:
    said = utter(voice(limit, effort=effort), digest)
    assert 1 <= said.tokens <= limit
    assert (said.finish_reason == "length") == (utter(voice(10_000, effort=effort), digest).tokens > limit)
    pieces = [said.between(at, at + 1) for at in range(said.tokens)]
    assert "".join(thought for thought, _ in pieces) == said.reasoning
    assert "".join(text for _, text in pieces) == said.content


def test_a_stop_word_ends_the_answer() -> None:
    said = utter(voice(stop=("simulated",)), b"x")
    assert (said.content, said.finish_reason) == ("This is a ", "stop")


def test_json_follows_the_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["leak", "bill"]},
            "score": {"type": "integer", "minimum": 3, "maximum": 5},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "who": {"$ref": "#/$defs/person"},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}, "boss": {"$ref": "#/$defs/person"}}}},
    }
    value = json.loads(utter(voice(schema=schema), b"x").content)
    assert value["kind"] in ("leak", "bill")
    assert 3 <= value["score"] <= 5
    assert len(value["tags"]) == 2
    assert isinstance(value["who"]["name"], str)
    assert value["maybe"] is None


@pytest.mark.parametrize("schema", [{}, {"type": []}, {"type": "what"}, {"type": "array", "items": 3}, {"$ref": "#"}, {"anyOf": [3]}])
def test_odd_schemas_still_give_a_value(schema: dict[str, Any]) -> None:
    json.dumps(instance(schema, random.Random(1)))


def test_digest_parts_do_not_run_into_each_other() -> None:
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")


def test_a_tool_is_called_until_its_result_is_there() -> None:
    tools = [
        {"type": "function", "function": {"name": "level", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}
    ]
    question = {"role": "user", "content": "how high?"}
    body: dict[str, Any] = {"messages": [question], "tools": tools}

    def said(**more: Any) -> Utterance:
        return chat_call(body | more, "m", Options()).utterances[0]

    assert (said().tool_name, said().finish_reason) == ("level", "tool_calls")
    assert set(json.loads(said().content)) == {"at"}
    assert said(tool_choice="none").tool_name is None
    assert said(messages=[question, {"role": "tool", "content": "3 m"}]).tool_name is None
    assert said(tool_choice={"type": "function", "function": {"name": "level"}}).tool_name == "level"
    with pytest.raises(BadRequest, match="not among"):
        said(tool_choice={"type": "function", "function": {"name": "other"}})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": ["x"]},
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 0},
        {"messages": [{"role": "user", "content": "x"}], "n": True},
        {"messages": [{"role": "user", "content": "x"}], "n": 1000},
        {"messages": [{"role": "user", "content": "x" * 200_000}]},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema", "json_schema": {}}},
        {
            "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "integer", "minimum": "low"}}},
        },
    ],
)
def test_bad_chats_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        chat_call(body, "m", Options())


@pytest.mark.parametrize(("prompt", "tokens"), [("x" * 9, 3), ([1, 2, 3], 3), ([[1], [2, 3]], 2), (["a", "b" * 8], 2)])
def test_prompts_as_text_or_tokens(prompt: object, tokens: int) -> None:
    call = completion_call({"prompt": prompt, "max_tokens": 1}, "m", Options())
    assert max(sequence.prompt_tokens for sequence in call.job().sequences) == tokens


@pytest.mark.parametrize("prompt", [None, [], 3, [-1], ["a", 1], [[]], [True]])
def test_bad_prompts_are_refused(prompt: object) -> None:
    with pytest.raises(BadRequest):
        completion_call({"prompt": prompt}, "m", Options())


def test_options_are_checked_with_a_hint() -> None:
    assert parse_options({}) == Options()
    for bad in ({"sped": 1}, {"speed": 0}, {"faults": ["hagn"]}, {"faults": [{"fault": "hang:3"}]}, {"answer_tokens": [9, 3]}):
        with pytest.raises(OptionsError) as caught:
            parse_options(bad)
        assert caught.value.hint


def test_faults_are_read_with_their_number() -> None:
    assert parse_fault("status:503").number == 503
    assert parse_fault("reset-after").number == 1
    for name in KINDS:
        assert parse_fault(name).kind == name
    for bad in ("", "status:abc", "status:99", "hang:1", "status:-1"):
        with pytest.raises(FaultError):
            parse_fault(bad)


def test_planned_faults_count_calls() -> None:
    first, every, both = PlannedFault("hang", first=2), PlannedFault("hang", every=3), PlannedFault("hang", first=4, every=2)
    assert [number for number in range(1, 8) if first.applies(number)] == [1, 2]
    assert [number for number in range(1, 8) if every.applies(number)] == [3, 6]
    assert [number for number in range(1, 8) if both.applies(number)] == [2, 4]
