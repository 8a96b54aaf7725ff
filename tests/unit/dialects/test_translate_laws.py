"""Laws of translation: what both sides can say survives, streams and wholes agree, nothing broken looks whole, nothing odd crashes.

No deadlines: the SDKs build their models on first use.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from penstock.domain.dialects.canonical import Answer, Call
from penstock.domain.dialects.counts import chat_usage
from penstock.domain.dialects.forms import complete_answer, events_of, whole_of
from penstock.domain.dialects.sse import EventSplitter, chunk_of
from penstock.domain.dialects.streams import finish_reason_of, is_end, usage_so_far
from penstock.domain.dialects.translate import Dialect, StreamTranslator, Untranslatable, translate_answer, translate_call, translate_error
from penstock.domain.dialects.usage import tokens_from_usage
from tests.unit.dialects.forms import DIALECT, DIALECTS, MODEL, answers, calls, read_call, write_answer, write_call, write_stream

GOLDEN = Path(__file__).parents[2] / "golden" / "dialects"
RESPONSES_EVENT: Any = TypeAdapter(ResponseStreamEvent)
MESSAGES_EVENT: Any = TypeAdapter(RawMessageStreamEvent)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "content", "id", "role", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def translated(events: list[bytes], source: Dialect, target: Dialect) -> tuple[list[bytes], bytes, StreamTranslator]:
    translator = StreamTranslator(source, target, model=MODEL, created=7)
    return [translator.feed(event) for event in events], translator.end(), translator


@settings(deadline=None)
@given(calls(), DIALECT, DIALECT)
def test_a_call_keeps_its_meaning_there_and_back(call: Call, source: Dialect, target: Dialect) -> None:
    body = write_call(call, source)
    there = translate_call(body, source, target, model=MODEL)
    back = translate_call(there, target, source, model=MODEL)
    assert meaning(read_call(back, source)) == meaning(read_call(body, source)) == meaning(call)
    assert there["model"] == MODEL


def meaning(call: Call) -> Call:
    """A call without what Responses always says (the answer is not to be stored, a tool is not strict), and with the name of its format."""
    format = None if call.format is None else msgspec.structs.replace(call.format, name=call.format.name or "answer")
    tools = tuple(msgspec.structs.replace(tool, strict=tool.strict or None) for tool in call.tools)
    return msgspec.structs.replace(call, shared={}, tools=tools, format=format)


@settings(deadline=None)
@given(answers(), DIALECT, DIALECT)
def test_stream_and_whole_translate_to_the_same(answer: Answer, source: Dialect, target: Dialect) -> None:
    whole = translate_answer(write_answer(answer, source), source, target, model=MODEL, created=7)
    fed, end, translator = translated(write_stream(answer, source), source, target)
    assert translator.error is None
    assert tokens_from_usage(translator.usage).total == 14
    assert seen_by_sdk(b"".join(fed) + end, target) == as_sdk(whole, target)


def seen_by_sdk(stream: bytes, dialect: Dialect) -> Any:
    """What the official SDK accumulates from a stream."""
    chunks = [chunk for event in EventSplitter().feed(stream) if (chunk := chunk_of(event)) is not None]
    if dialect == "chat.completions":
        chat = ChatCompletionStreamState()
        for chunk in chunks:
            chat.handle_chunk(ChatCompletionChunk.model_validate(chunk))
        return without_nothing(chat.current_completion_snapshot.to_dict())
    if dialect == "responses":
        state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
        for chunk in chunks:
            state.handle_event(RESPONSES_EVENT.validate_python(chunk))
        last = state._completed_response or Response.model_validate(chunks[-1]["response"])  # it keeps no incomplete one
        return without_nothing(last.to_dict())
    message: Any = None
    buffers: dict[int, bytes] = {}
    for chunk in chunks:
        message = accumulate_event(event=MESSAGES_EVENT.validate_python(chunk), current_snapshot=message, json_bufs=buffers)
    return without_nothing(message.to_dict())


def as_sdk(whole: dict[str, Any], dialect: Dialect) -> Any:
    model: Any = {"chat.completions": ChatCompletion, "responses": Response, "messages": Message}[dialect]
    return without_nothing(model.model_validate(whole).to_dict())


def without_nothing(value: Any) -> Any:
    """Without nulls, and without the `parsed` and `index` that the accumulators add."""
    if isinstance(value, dict):
        return {
            name: without_nothing(inner)
            for name, inner in value.items()
            if inner is not None and name not in ("parsed", "index", "parsed_arguments")
        }
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(answers(), DIALECT, DIALECT, st.data())
def test_a_stream_may_arrive_in_any_pieces(answer: Answer, source: Dialect, target: Dialect, data: st.DataObject) -> None:
    events = write_stream(answer, source)
    stream = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = EventSplitter()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    again = [event for piece in pieces for event in splitter.feed(piece)]
    assert translated(again, source, target)[:2] == translated(events, source, target)[:2]


@settings(deadline=None)
@given(answers(), DIALECT, DIALECT, st.data())
def test_what_breaks_off_never_looks_whole(answer: Answer, source: Dialect, target: Dialect, data: st.DataObject) -> None:
    events = write_stream(answer, source)
    kept = data.draw(st.integers(0, len(events)))
    fed, end, translator = translated(events[:kept], source, target)
    out = b"".join(fed)
    if target != "chat.completions":
        assert not any(is_end(target, event) for event in EventSplitter().feed(out))
    assert b"[DONE]" not in out
    assert not (target == "chat.completions" and any('"finish_reason":"' in part.decode() for part in fed))
    assert bool(end) == (translator.finish_reason is not None)


@settings(deadline=None)
@given(answers(), st.sampled_from(["responses", "messages"]))
def test_a_native_answer_has_two_forms(answer: Answer, dialect: Any) -> None:
    whole = write_answer(answer, dialect)
    events = events_of(dialect, whole)
    assert events is not None
    assert seen_by_sdk(b"".join(events), dialect) == as_sdk(whole, dialect)
    assert whole_of(dialect, events) == whole
    assert complete_answer(dialect, whole)
    assert [is_end(dialect, event) for event in events].index(True) == len(events) - 1
    assert whole_of(dialect, events[:-1]) is None


@settings(deadline=None)
@given(answers(), st.sampled_from(["responses", "messages"]))
def test_a_native_stream_tells_its_usage_and_end(answer: Answer, dialect: Any) -> None:
    usage, reason = None, None
    for event in write_stream(answer, dialect):
        usage = usage_so_far(dialect, event, usage)
        reason = finish_reason_of(dialect, event) or reason
    assert chat_usage(usage) == chat_usage(answer.usage)
    assert reason in ("completed", "max_output_tokens", "end_turn", "max_tokens", "tool_use")


def golden(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    return cases


def spoiled(data: st.DataObject, value: Any) -> Any:
    """The same JSON with one place, anywhere in it, replaced."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: spoiled(data, value[name])}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoiled(data, value[at]), *value[at + 1 :]]
    return data.draw(JSON)


def refusal(translate: Any, body: Any, source: Dialect, target: Dialect) -> Untranslatable | None:
    if not isinstance(body, dict):
        body = {"messages": body}
    try:
        translate(body, source, target, model=MODEL)
    except Untranslatable as error:
        return error
    return None


@settings(deadline=None)
@given(st.sampled_from(golden("calls")), DIALECT, DIALECT, st.data())
def test_odd_calls_are_translated_or_refused(case: dict[str, Any], source: Dialect, target: Dialect, data: st.DataObject) -> None:
    refused = refusal(translate_call, spoiled(data, case["body"]), data.draw(st.sampled_from([case["from"], source])), target)
    assert refused is None or (refused.field and refused.hint and str(refused))


@settings(deadline=None)
@given(st.sampled_from(golden("answers")), DIALECT, DIALECT, st.data())
def test_odd_answers_are_translated_or_refused(case: dict[str, Any], source: Dialect, target: Dialect, data: st.DataObject) -> None:
    body, dialect = spoiled(data, case["body"]), data.draw(st.sampled_from([case["from"], source]))
    refused = refusal(translate_answer, body, dialect, target)
    assert refused is None or (refused.field and refused.hint and str(refused))
    if (raw := written(body)) is not None:
        translate_error(400, raw, target)
        if dialect != "chat.completions" and isinstance(body, dict):
            complete_answer(dialect, body)
            events_of(dialect, body)


@settings(deadline=None)
@given(st.sampled_from(golden("streams")), DIALECT, st.data())
def test_odd_streams_never_crash(case: dict[str, Any], target: Dialect, data: st.DataObject) -> None:
    source = case["from"]
    chunks = spoiled(data, [event for event in case["events"] if not isinstance(event, str)])
    raw = [text for chunk in chunks if (text := written(chunk)) is not None] if isinstance(chunks, list) else []
    events = [b"data: " + text + b"\n\n" for text in raw]
    _, end, translator = translated(events, source, target)
    assert translator.error is None or not end
    if source != "chat.completions":
        for event in events:
            usage_so_far(source, event, None)
            finish_reason_of(source, event)
            is_end(source, event)
        complete_answer(source, whole_of(source, events))


def written(value: Any) -> bytes | None:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None


@settings(deadline=None)
@given(st.integers(100, 599), st.binary(max_size=40) | JSON.map(lambda value: written(value) or b""), DIALECT)
def test_any_error_body_becomes_an_envelope(status: int, body: bytes, target: Dialect) -> None:
    envelope = orjson.loads(translate_error(status, body, target))
    assert isinstance(envelope["error"]["message"], str)
    assert isinstance(envelope["error"]["type"], str)
    assert (envelope.get("type") == "error") == (target == "messages")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_its_own_dialect_is_left_alone(dialect: Dialect) -> None:
    body = {"model": "x", "odd": [1], "messages": "?"}
    assert translate_call(body, dialect, dialect, model="y") == {**body, "model": "y"}
    assert translate_answer(body, dialect, dialect, model="y") == body


def test_what_is_not_json_in_a_stream_is_an_error() -> None:
    translator = StreamTranslator("chat.completions", "messages", model="m")
    out = translator.feed(b"data: oops\n\n")
    assert out.startswith(b"event: error\n")
    assert translator.error is not None
    assert translator.feed(b'data: {"choices":[]}\n\n') == translator.end() == b""
