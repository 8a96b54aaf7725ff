"""What a call may hold that the other side does not get: each entry of the table is passed over, and nothing comes of it."""

from typing import Any

import pytest

from penstock.domain.dialects.translate import Dialect, translate_call
from penstock.domain.dialects.words import LEFT_OUT, SHARED, SILENT

ASKED: dict[Dialect, dict[str, Any]] = {
    "chat.completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"input": [{"role": "user", "content": "Hi"}]},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
}
MARK = {"mode": "explicit"}
USED = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
CACHED = {"type": "ephemeral"}
TEXT = {"type": "text", "text": "Hi"}
WITH: dict[Dialect, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "chat.completions": {
        "stream_options": ({"stream_options": {"include_usage": True}}, {}),
        "messages[].name (of tools)": (
            {"messages": [USED, {"role": "tool", "tool_call_id": "a", "name": "f", "content": "x"}]},
            {"messages": [USED, {"role": "tool", "tool_call_id": "a", "content": "x"}]},
        ),
        "messages[].reasoning_content": (
            {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}, {"role": "user", "content": "c"}]},
            {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "c"}]},
        ),
        "messages[].reasoning_details": (
            {"messages": [{"role": "assistant", "content": "a", "reasoning_details": [{"text": "b"}]}, {"role": "user", "content": "c"}]},
            {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "c"}]},
        ),
        "reasoning_effort (while tools are called)": (
            {"messages": [USED, {"role": "tool", "tool_call_id": "a", "content": "x"}], "reasoning_effort": "high"},
            {"messages": [USED, {"role": "tool", "tool_call_id": "a", "content": "x"}]},
        ),
        "messages[].content[].prompt_cache_breakpoint": (
            {"messages": [{"role": "user", "content": [{**TEXT, "prompt_cache_breakpoint": MARK}]}]},
            {},
        ),
    },
    "responses": {
        "stream_options": ({"stream_options": {"include_obfuscation": False}}, {}),
        "include: reasoning.encrypted_content": ({"include": ["reasoning.encrypted_content"]}, {}),
        "input[].id, input[].status, input[].phase": (
            {"input": [{"role": "user", "content": "Hi", "id": "msg_1", "status": "completed", "phase": "final_answer"}]},
            {},
        ),
        "input[].content[].prompt_cache_breakpoint": (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi", "prompt_cache_breakpoint": MARK}]}]},
            {},
        ),
    },
    "messages": {
        "cache_control": ({"cache_control": CACHED, "messages": [{"role": "user", "content": [{**TEXT, "cache_control": CACHED}]}]}, {}),
        "metadata": ({"metadata": {"team": "a"}}, {}),
        "thinking.display": ({"thinking": {"type": "adaptive", "display": "omitted"}}, {"thinking": {"type": "adaptive"}}),
        "tools[].eager_input_streaming": (
            {"tools": [{"name": "f", "input_schema": {}, "eager_input_streaming": True}]},
            {"tools": [{"name": "f", "input_schema": {}}]},
        ),
        "tool_result.is_error": (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x", "is_error": True}]}]},
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}]},
        ),
        "thinking of earlier turns": (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "a", "signature": "b"}, TEXT]},
                    {"role": "user", "content": "c"},
                ]
            },
            {"messages": [{"role": "assistant", "content": [TEXT]}, {"role": "user", "content": "c"}]},
        ),
    },
}
TARGETS: dict[Dialect, Dialect] = {"chat.completions": "messages", "responses": "messages", "messages": "chat.completions"}
CASES = [(dialect, name) for dialect, names in WITH.items() for name in names]


@pytest.mark.parametrize(("dialect", "name"), CASES, ids=[f"{dialect}: {name}" for dialect, name in CASES])
def test_what_is_left_out_changes_nothing_else(dialect: Dialect, name: str) -> None:
    full, bare = WITH[dialect][name]
    written = [translate_call({**ASKED[dialect], **more}, dialect, TARGETS[dialect], model="claude-sonnet-4-5") for more in (full, bare)]
    assert written[0] == written[1]
    assert LEFT_OUT[dialect][name]


def test_the_table_names_all_of_it() -> None:
    assert {dialect: set(names) for dialect, names in WITH.items()} == {dialect: set(names) for dialect, names in LEFT_OUT.items()}


@pytest.mark.parametrize("name", SHARED)
def test_storage_and_caching_stay_between_the_openai_dialects(name: str) -> None:
    value: Any = {"store": True, "metadata": {"a": "b"}}.get(name, "x")
    asked = {**ASKED["chat.completions"], name: value}
    assert translate_call(asked, "chat.completions", "responses", model="m")[name] == value
    assert name not in translate_call(asked, "chat.completions", "messages", model="m")


@pytest.mark.parametrize("dialect", SILENT)
def test_defaults_spelled_out_say_nothing(dialect: Dialect) -> None:
    bare = translate_call(ASKED[dialect], dialect, TARGETS[dialect], model="m")
    assert translate_call({**ASKED[dialect], **SILENT[dialect]}, dialect, TARGETS[dialect], model="m") == bare
