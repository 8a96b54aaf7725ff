"""A stream and its completion say the same; where that would be a guess there is nothing."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.chat.assembling import assemble, complete, complete_stream, disassemble, finish_reason

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
LOGPROBS = st.lists(st.fixed_dictionaries({"token": TEXT, "logprob": st.floats(-9, 0), "top_logprobs": st.just([])}), max_size=3)
CALL = st.fixed_dictionaries(
    {"id": st.text("abc", min_size=1), "type": st.just("function")}
    | {"function": st.fixed_dictionaries({"name": st.text("xyz", min_size=1), "arguments": TEXT})}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    optional={
        "refusal": st.none() | TEXT,
        "reasoning_content": TEXT,
        "reasoning": st.none() | TEXT,
        "tool_calls": st.lists(CALL, max_size=3),
        "function_call": st.fixed_dictionaries({"name": st.text("f", min_size=1), "arguments": TEXT}),
        "annotations": st.just([]) | st.just([{"type": "url_citation"}]),
        "odd_text": TEXT,
        "odd_number": st.integers(0, 9),
    },
)
REASON = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
CHAT_CHOICE = st.fixed_dictionaries(
    {
        "message": MESSAGE,
        "finish_reason": REASON,
        "logprobs": st.none() | st.fixed_dictionaries({"content": LOGPROBS, "refusal": st.none()}),
    },
    optional={"stop_reason": st.none() | st.integers(0, 5), "content_filter_results": st.just({"hate": {"filtered": False}})},
)
TEXT_LOGPROBS = st.fixed_dictionaries({"tokens": st.lists(TEXT), "text_offset": st.lists(st.integers(0, 9)), "top_logprobs": st.none()})
TEXT_CHOICE = st.fixed_dictionaries({"text": TEXT, "finish_reason": REASON, "logprobs": st.none() | TEXT_LOGPROBS})
TOP = st.fixed_dictionaries(
    {"id": st.just("chatcmpl-1"), "created": st.just(1), "model": st.just("m")},
    optional={"system_fingerprint": st.none() | st.just("fp"), "service_tier": st.just("default"), "citations": st.just(["a"])},
)


def _answer(kind: str, top: dict[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {**top, "object": kind, "choices": [{"index": index, **choice} for index, choice in enumerate(choices)]}


def _round_trip(answer: dict[str, Any]) -> dict[str, Any]:
    events = disassemble(orjson.dumps({**answer, "usage": {"total_tokens": 1}}))
    assert events is not None
    assert all(event.startswith(b"data: {") and event.endswith(b"}\n\n") for event in events)
    whole = assemble([*events, b"data: [DONE]\n\n"])
    assert whole is not None
    return dict(orjson.loads(whole))


@given(TOP, st.lists(CHAT_CHOICE, min_size=1, max_size=3))
def test_a_chat_completion_survives_streaming(top: dict[str, Any], choices: list[dict[str, Any]]) -> None:
    answer = _answer("chat.completion", top, choices)
    assert _round_trip(answer) == answer


@given(TOP, st.lists(TEXT_CHOICE, min_size=1, max_size=3))
def test_a_text_completion_survives_streaming(top: dict[str, Any], choices: list[dict[str, Any]]) -> None:
    answer = _answer("text_completion", top, choices)
    assert _round_trip(answer) == answer


def _events(*choices: dict[str, Any], kind: str = "chat.completion.chunk", **top: Any) -> list[bytes]:
    return [
        b"data: " + orjson.dumps({"id": "c", "object": kind, "created": 1, "model": "m", **top, "choices": [c]}) + b"\n\n" for c in choices
    ]


def _delta(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def test_a_stream_with_tools_as_engines_send_it() -> None:
    filtered = b'data: {"id":"","object":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
    chunks = _events(
        _delta(role="assistant", content=None),
        _delta(reasoning_content="hm"),
        _delta(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        _delta(tool_calls=[{"index": 0, "function": {"arguments": '{"x"'}}]),
        _delta(tool_calls=[{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]),
        _delta(tool_calls=[{"index": 0, "id": "", "function": {"name": "", "arguments": ":1}"}}]),
        _delta("tool_calls"),
        usage=None,
    )
    whole = assemble([b": ping\n\n", filtered, *chunks])
    assert whole is not None and b"usage" not in whole
    answer = orjson.loads(whole)
    assert (answer["id"], answer["model"], answer["object"]) == ("c", "m", "chat.completion")
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_choices_that_arrive_mixed_are_told_apart() -> None:
    whole = assemble(
        _events(_delta(index=1, content="b1"), _delta(content="a1"), _delta(index=1, content="b2"), _delta("stop"), _delta("length", 1))
    )
    assert whole is not None
    assert [(c["message"]["content"], c["finish_reason"]) for c in orjson.loads(whole)["choices"]] == [("a1", "stop"), ("b1b2", "length")]


@pytest.mark.parametrize(
    "events",
    [
        [],
        _events(_delta(content="x")),
        _events(_delta(content="x"), _delta("stop", 1)),
        _events(_delta("stop", 1)),
        [*_events(_delta("stop")), b'data: {"error":{"message":"boom"},"choices":[]}\n\n'],
        [*_events(_delta("stop")), b'data: {"error":{"message":"boom"}}\n\n'],
        [*_events(_delta("stop")), b"data: garbage\n\n"],
        _events(_delta("stop"), _delta("length")),
        _events(_delta("stop", audio={"data": "x"})),
        _events(_delta(details=[1]), _delta("stop", details=[2])),
        _events(_delta(content="x"), _delta("stop", content=[1])),
        _events(_delta(content=[1]), _delta("stop", content="x")),
        _events(_delta("stop", tool_calls=[{"id": "a", "function": {"name": "f", "arguments": ""}}])),
        _events(_delta("stop", tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}])),
        _events(_delta("stop", tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}])),
        _events(_delta(tool_calls=[{"index": 0, "id": "a"}]), _delta("stop", tool_calls=[{"index": 0, "id": "b"}])),
        _events({**_delta("stop"), "message": {"content": "x"}}),
        _events({**_delta("stop"), "logprobs": {"content": "x"}}),
        _events({"delta": {}, "finish_reason": "stop"}),
        _events(_delta("stop"), kind="something"),
        [*_events(_delta(content="x")), *_events({"index": 0, "text": "x", "finish_reason": "stop"}, kind="text_completion")],
        [b'data: {"object":["chat.completion.chunk"],"choices":[{"index":0}]}\n\n'],
    ],
)
def test_what_cannot_be_joined_faithfully_is_not(events: list[bytes]) -> None:
    assert assemble(events) is None


CHOICE: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage",
        b"[]",
        b'{"object":"list","data":[1]}',
        orjson.dumps(_answer("chat.completion", {}, [])),
        orjson.dumps(_answer("chat.completion", {"error": {"message": "x"}}, [CHOICE])),
        orjson.dumps({"object": "chat.completion", "choices": [None]}),
        orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "finish_reason": None}]}),
        orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "index": "0"}]}),
        orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "message": {"content": [1]}}]}),
        orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "message": {"content": None, "audio": {"id": "a"}}}]}),
        orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "message": {"content": None, "tool_calls": [1]}}]}),
        orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "message": {"tool_calls": [{"function": {"arguments": {}}}]}}]}),
        orjson.dumps({"object": "text_completion", "choices": [{"index": 0, "text": None, "finish_reason": "stop"}]}),
    ],
)
def test_what_cannot_be_streamed_faithfully_is_not(answer: bytes) -> None:
    assert disassemble(answer) is None


def test_text_is_streamed_after_reasoning_and_before_tool_calls() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "tool_calls": [call], "content": "x", "reasoning": "y"}
    events = disassemble(orjson.dumps({"object": "chat.completion", "choices": [{**CHOICE, "message": message}]}))
    assert events is not None
    deltas = [orjson.loads(event[6:])["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant", "content": "", "reasoning": ""}
    assert deltas[1:] == [{"reasoning": "y"}, {"content": "x"}, {"tool_calls": [{"index": 0, **call}]}, {}]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"choices":[{"finish_reason": "stop"}]}', "stop"),
        (b'{"choices":[{"finish_reason":null},{"finish_reason":"length"}]}', "length"),
        (b'{"content":"\\"finish_reason\\":\\"stop\\""}', None),
        (b"{}", None),
    ],
)
def test_finish_reason(data: bytes, reason: str | None) -> None:
    assert finish_reason(data) == reason


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, True),
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "content_filter"}]}, False),
        ({"choices": [{"finish_reason": None}]}, False),
        ({"choices": [{"finish_reason": "stop"}], "error": {"message": "x"}}, False),
        ({"choices": []}, False),
        ({"choices": "x"}, False),
        ({"object": "list", "data": [{"embedding": [0.1]}]}, True),
        ({"object": "list", "data": []}, False),
        ([], False),
    ],
)
def test_complete(answer: Any, whole: bool) -> None:
    assert complete(answer) is whole


def test_garbage_is_not_complete() -> None:
    assert not complete(None)


def test_a_stream_is_complete_when_every_choice_ended_well() -> None:
    text = _events(_delta(content='an "error" that is text, "finish_reason":"error"'))
    assert complete_stream([*text, *_events(_delta("stop"))])
    assert complete_stream([*_events(_delta("tool_calls")), b": bye\n\n"])
    assert complete_stream(_events(_delta("stop", 1), _delta("length")), answers=2)
    assert not complete_stream(_events(_delta("stop")), answers=2)
    assert not complete_stream(text)
    assert not complete_stream(_events(_delta("content_filter")))
    assert not complete_stream(_events(_delta("content_filter", 1), _delta("stop")))
    assert not complete_stream([b'data: {"error":{"message":"x"}}\n\n', *_events(_delta("stop"))])
