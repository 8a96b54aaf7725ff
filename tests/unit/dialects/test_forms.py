"""One answer in two forms: taken apart and put together again it is the same, and what cannot be had faithfully is None."""

from typing import Any

import orjson
import pytest

from penstock.domain.dialects.forms import complete_answer, events_of, whole_of
from penstock.domain.dialects.streams import Native, finish_reason_of, is_end, usage_so_far

USAGE = {"input_tokens": 3, "output_tokens": 2}
BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "xx"},
    {"type": "text", "text": "hé"},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"by": [1, None]}},
    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}
ITEMS: list[dict[str, Any]] = [
    {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"},
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "hé", "annotations": []}, {"type": "refusal", "refusal": "no"}],
    },
]
RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "completed", "error": None, "output": ITEMS, "usage": USAGE}
WHOLE: dict[Native, dict[str, Any]] = {"messages": MESSAGE, "responses": RESPONSE}


@pytest.mark.parametrize("dialect", WHOLE)
def test_apart_and_together_again(dialect: Native) -> None:
    events = events_of(dialect, WHOLE[dialect])
    assert events is not None
    assert whole_of(dialect, events) == WHOLE[dialect]
    assert [is_end(dialect, event) for event in events] == [False] * (len(events) - 1) + [True]
    assert [each for event in events if (each := finish_reason_of(dialect, event))] == [
        "tool_use" if dialect == "messages" else "completed"
    ]
    usage: dict[str, Any] | None = None
    for event in events:
        usage = usage_so_far(dialect, event, usage)
    assert usage == USAGE
    assert all(event.startswith(b"event: ") and event.endswith(b"\n\n") for event in events)


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_stream_without_its_end_or_with_an_error_is_no_answer(dialect: Native) -> None:
    events = events_of(dialect, WHOLE[dialect]) or []
    failed = b'event: error\ndata: {"type":"error","message":"x"}\n\n'
    assert whole_of(dialect, events[:-1]) is None
    assert whole_of(dialect, [*events[:-1], failed]) is None
    assert whole_of(dialect, []) is None


UNFAITHFUL: list[tuple[Native, dict[str, Any]]] = [
    ("messages", {**MESSAGE, "content": [{"type": "text", "text": "a", "citations": [{}]}]}),
    ("messages", {**MESSAGE, "content": [{"type": "server_tool_use", "id": "x"}]}),
    ("messages", {"type": "error", "error": {}}),
    ("responses", {**RESPONSE, "output": [{"type": "web_search_call", "id": "x"}]}),
    ("responses", {**RESPONSE, "output": [{**ITEMS[2], "content": [{"type": "output_text", "text": "a", "annotations": [{}]}]}]}),
    ("responses", {**RESPONSE, "output": None}),
]


@pytest.mark.parametrize(("dialect", "answer"), UNFAITHFUL)
def test_what_cannot_be_streamed_without_guessing(dialect: Native, answer: dict[str, Any]) -> None:
    assert events_of(dialect, answer) is None


def test_deltas_that_we_do_not_know_are_not_joined() -> None:
    events = events_of("messages", MESSAGE) or []
    odd = {"type": "content_block_delta", "index": 0, "delta": {"type": "hologram_delta", "x": 1}}
    assert whole_of("messages", [*events[:2], b"data: " + orjson.dumps(odd) + b"\n\n", *events[2:]]) is None


COMPLETE: list[tuple[Native, dict[str, Any], bool]] = [
    ("messages", {"stop_reason": "end_turn"}, True),
    ("messages", {"stop_reason": "max_tokens"}, True),
    ("messages", {"stop_reason": "refusal"}, False),
    ("messages", {"stop_reason": "pause_turn"}, False),
    ("messages", {}, False),
    ("responses", {"status": "completed"}, True),
    ("responses", {"status": "completed", "error": {"code": "x"}}, False),
    ("responses", {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, True),
    ("responses", {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, False),
    ("responses", {"status": "queued"}, False),
]


@pytest.mark.parametrize(("dialect", "answer", "whole"), COMPLETE)
def test_only_regular_ends_are_complete(dialect: Native, answer: dict[str, Any], whole: bool) -> None:
    assert complete_answer(dialect, answer) is whole
    assert complete_answer(dialect, None) is False
