"""Bodies of the three dialects in the forms of their references, with translations checked by eye; and the SDKs read them."""

import json
from pathlib import Path
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import orjson
import pytest
from anthropic.types import message_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from pydantic import TypeAdapter

from penstock.domain.dialects.sse import event_data, is_done, split_events
from penstock.domain.dialects.translate import Dialect, StreamTranslator, Untranslatable, translate_answer, translate_call, translate_error

CASES: dict[str, list[dict[str, Any]]] = {
    file.stem: json.loads(file.read_text("utf-8")) for file in sorted((Path(__file__).parent / "dialects").glob("*.json"))
}
CREATED = 1_700_000_000
ANSWERS: dict[Dialect, Any] = {
    "chat.completions": openai.types.chat.ChatCompletion,
    "responses": openai.types.responses.Response,
    "messages": anthropic.types.Message,
}
CALLS: dict[Dialect, Any] = {
    "chat.completions": completion_create_params.CompletionCreateParamsBase,
    "responses": response_create_params.ResponseCreateParamsBase,
    "messages": message_create_params.MessageCreateParamsBase,
}
CHUNKS: dict[Dialect, Any] = {
    "chat.completions": openai.types.chat.ChatCompletionChunk,
    "responses": openai.types.responses.ResponseStreamEvent,
    "messages": anthropic.types.RawMessageStreamEvent,
}


def name_of(case: dict[str, Any]) -> str:
    return f"{case.get('from', case.get('status'))} to {case['to']}: {case['name']}"


@pytest.mark.parametrize("case", CASES["calls"], ids=name_of)
def test_call(case: dict[str, Any]) -> None:
    before = json.dumps(case["body"])
    if "expected" in case:
        written = translate_call(case["body"], case["from"], case["to"], model=case["model"], max_output=case.get("max_output"))
        assert written == case["expected"]
        TypeAdapter(CALLS[case["to"]]).validate_python(written)
    else:
        with pytest.raises(Untranslatable) as caught:
            translate_call(case["body"], case["from"], case["to"], model=case["model"])
        assert (caught.value.field, str(caught.value)) == (case["untranslatable"], case["message"])
        assert caught.value.hint
    assert json.dumps(case["body"]) == before


@pytest.mark.parametrize("case", CASES["answers"], ids=name_of)
def test_answer(case: dict[str, Any]) -> None:
    if "expected" in case:
        written = translate_answer(case["body"], case["from"], case["to"], model="m", created=CREATED)
        assert written == case["expected"]
        ANSWERS[case["to"]].model_validate(written)
    else:
        with pytest.raises(Untranslatable) as caught:
            translate_answer(case["body"], case["from"], case["to"], model="m")
        assert (caught.value.field, str(caught.value)) == (case["untranslatable"], case["message"])


@pytest.mark.parametrize("case", CASES["streams"], ids=name_of)
def test_stream(case: dict[str, Any]) -> None:
    translator = StreamTranslator(case["from"], case["to"], model="m", created=CREATED)
    fed = b"".join(translator.feed(_event(event, case["from"])) for event in case["events"])
    end = translator.end()
    told = {"usage": translator.usage, "finish_reason": translator.finish_reason, "error": translator.error}
    assert {"fed": _shown(fed), "end": _shown(end), **told} == case["expected"]
    for chunk in _shown(fed + end):
        if chunk != "[DONE]" and "error" not in chunk:
            TypeAdapter(CHUNKS[case["to"]]).validate_python(chunk)


@pytest.mark.parametrize("case", CASES["errors"], ids=name_of)
def test_error(case: dict[str, Any]) -> None:
    written = orjson.loads(translate_error(case["status"], case["body"].encode(), case["to"]))
    assert written == case["expected"]
    if case["to"] == "messages" and case["status"] != 413:  # the reference names its type, the SDK's union does not
        anthropic.types.ErrorResponse.model_validate({"request_id": None, **written})


def test_the_corpus_is_whole() -> None:
    assert {name: len(cases) for name, cases in CASES.items()} == {"answers": 48, "calls": 97, "errors": 28, "streams": 38}
    for name, cases in CASES.items():
        assert len({name_of(case) for case in cases}) == len(cases), name
        assert name == "errors" or all(case["source"] for case in cases)


def _event(event: Any, dialect: Dialect) -> bytes:
    if isinstance(event, str):
        return event.encode()
    named = b"" if dialect == "chat.completions" else b"event: " + event["type"].encode() + b"\n"
    return named + b"data: " + orjson.dumps(event) + b"\n\n"


def _shown(stream: bytes) -> list[Any]:
    events, rest = split_events(stream)
    assert not rest
    return ["[DONE]" if is_done(event) else orjson.loads(event_data(event) or b"") for event in events]
