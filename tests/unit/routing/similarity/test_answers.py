"""Which answers have a text that may be served again, and which two say the same."""

from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.chat.assembling import disassemble
from penstock.domain.dialects.forms import events_of
from penstock.domain.dialects.streams import Native
from penstock.domain.routing.similarity.answers import agreement, answer_text

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _chat(message: dict[str, Any] | None = None, reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "Paris.", "refusal": None, "annotations": [], **(message or {})}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE, **fields}


def _message(content: list[dict[str, Any]] | None = None, reason: str = "end_turn") -> dict[str, Any]:
    blocks = [{"type": "text", "text": "Paris."}] if content is None else content
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "m"}
    return {**head, "content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": usage}


def _response(output: list[dict[str, Any]] | None = None, status: str = "completed", **fields: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": "Paris.", "annotations": []}
    said = {"type": "message", "id": "o", "status": "completed", "role": "assistant", "content": [part]}
    head = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": status, "error": None, "incomplete_details": None}
    return {**head, "output": [said] if output is None else output, "usage": None, **fields}


def _completion(text: str = "Paris.", reason: str | None = "stop") -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return {"id": "t", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def _streamed(endpoint: str, answer: dict[str, Any]) -> bytes:
    if endpoint in ("messages", "responses"):
        events = events_of(cast(Native, endpoint), answer)
        assert events is not None
        return b"".join(events)
    events = disassemble(orjson.dumps(answer))
    assert events is not None
    return b"".join(events) + b"data: [DONE]\n\n"


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
THINKING = {"type": "thinking", "thinking": "France ...", "signature": "s"}


@pytest.mark.parametrize(
    ("endpoint", "answer"),
    [
        ("chat.completions", _chat()),
        ("chat.completions", _chat({"reasoning_content": "France ..."})),
        ("chat.completions", _chat(reason="eos")),
        ("messages", _message()),
        ("messages", _message(reason="stop_sequence")),
        ("messages", _message([THINKING, {"type": "text", "text": "Paris."}])),
        ("responses", _response()),
        ("completions", _completion()),
    ],
)
def test_one_plain_text_that_ended_regularly(endpoint: str, answer: dict[str, Any]) -> None:
    assert answer_text(endpoint, False, orjson.dumps(answer)) == "Paris."
    assert answer_text(endpoint, True, _streamed(endpoint, answer)) == "Paris."


@pytest.mark.parametrize(
    ("endpoint", "answer"),
    [
        ("chat.completions", _chat(reason="length")),
        ("chat.completions", _chat(reason="content_filter")),
        ("chat.completions", _chat(reason=None)),
        ("chat.completions", _chat({"tool_calls": [CALL]}, "tool_calls")),
        ("chat.completions", _chat({"tool_calls": [CALL]})),
        ("chat.completions", _chat({"function_call": {"name": "f", "arguments": "{}"}})),
        ("chat.completions", _chat({"content": None, "refusal": "I cannot."})),
        ("chat.completions", _chat({"refusal": "I cannot."})),
        ("chat.completions", _chat({"content": ""})),
        ("chat.completions", _chat({"content": " \n"})),
        ("chat.completions", _chat({"annotations": [{"type": "url_citation"}]})),
        ("chat.completions", _chat({"audio": {"id": "a"}})),
        ("chat.completions", {**_chat(), "choices": _chat()["choices"] * 2}),
        ("chat.completions", {**_chat(), "choices": []}),
        ("chat.completions", {"error": {"message": "overloaded"}}),
        ("chat.completions", {}),
        ("messages", _message(reason="max_tokens")),
        ("messages", _message(reason="refusal")),
        ("messages", _message(reason="pause_turn")),
        ("messages", _message([{"type": "tool_use", "id": "c", "name": "f", "input": {}}], "tool_use")),
        ("messages", _message([{"type": "text", "text": "Paris."}, {"type": "text", "text": "Or not."}])),
        ("messages", _message([])),
        ("responses", _response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})),
        ("responses", _response(status="failed", error={"message": "overloaded"})),
        ("responses", _response([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}])),
        ("responses", _response([{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}])),
        ("completions", _completion(reason="length")),
        ("completions", _completion("")),
        ("completions", {**_completion(), "choices": _completion()["choices"] * 2}),
        ("completions", {"choices": [None]}),
        ("embeddings", {"object": "list", "data": [{"embedding": [0.1]}]}),
    ],
)
def test_no_other_answer_has_a_text(endpoint: str, answer: dict[str, Any]) -> None:
    assert answer_text(endpoint, False, orjson.dumps(answer)) is None


@pytest.mark.parametrize(
    ("endpoint", "answer"),
    [("chat.completions", _chat()), ("messages", _message()), ("responses", _response()), ("completions", _completion())],
)
def test_a_stream_that_broke_off_has_no_text(endpoint: str, answer: dict[str, Any]) -> None:
    body = _streamed(endpoint, answer).removesuffix(b"data: [DONE]\n\n")
    assert answer_text(endpoint, True, body) == "Paris."
    assert answer_text(endpoint, True, body[:-2]) is None


@given(st.sampled_from(["chat.completions", "messages", "responses", "completions", "x"]), st.booleans(), st.binary(max_size=40))
def test_no_bytes_make_it_raise(endpoint: str, streamed: bool, body: bytes) -> None:
    assert answer_text(endpoint, streamed, body) is None


def test_a_body_nested_too_deep_has_no_text() -> None:
    chunk = b'data: {"id":"c","object":"chat.completion.chunk","odd":' + b"[" * 900 + b"]" * 900
    assert (
        answer_text("chat.completions", True, chunk + b',"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n')
        is None
    )


TEXT = "Here is how it works, step by step, as the manual of the maker explains it to everybody. "


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The period for it is thirty days.", "The period for it is ninety days."),
        ("Give 5 ml to the child.", "Give 15 ml to the child."),
        ("Then turn the lamp on.", "Then turn the lamp off."),
        ("The lamp is not warm then.", "The lamp is warm then."),
        ("Call `sorted(xs)` with it.", "Call `sorted(xs, reverse=True)` with it."),
        ("Where x < 5 it ends.", "Where x > 5 it ends."),
        ("People with O+ can give.", "People with O- can give."),
        ("Money moves from savings to wages.", "Money moves from wages to savings."),
    ],
)
@pytest.mark.parametrize("similarity", [None, 0.99])
def test_what_sets_one_text_apart_wherever_it_stands(one: str, other: str, similarity: float | None) -> None:
    assert agreement(TEXT + one, TEXT + other, similarity) == agreement(TEXT + other, TEXT + one, similarity) == 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TEXT + "It was written by Miller.", TEXT + "It was written by Mayerling."),
        (
            TEXT + "It takes 5 days.",
            "The manual of the maker explains to everybody how it works step by step; expect it to take about 9 days.",
        ),
    ],
)
def test_a_difference_in_other_texts_tells_nothing(one: str, other: str) -> None:
    assert agreement(one, other, 0.95) is agreement(other, one, 0.95) is None


def test_numbers_of_a_list_are_no_difference() -> None:
    one = TEXT + "\n1. Open the settings of it.\n2. Choose the card in it."
    other = TEXT + "\nOpen the settings of it, then choose the card in it, and that is all."
    assert agreement(one, other + " It takes 7 days.", 0.95) == pytest.approx(0.9845)


SENTENCE = "You can reset the card in the app under settings and security"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", " paris"),
        ("**Paris**!", "Paris"),
        ("Yes.", "yes"),
        ("88.51 km", "about 88.5 km"),
        ("It is 1,024.", "1024"),
        ("five", "5"),
        ("# Steps\n\n1. Open  it.", "Steps 1. open it"),
        (SENTENCE + ".", SENTENCE.upper()),
    ],
)
def test_the_same_answer(one: str, other: str) -> None:
    assert agreement(one, other, None) == agreement(other, one, 0.1) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # polarity and reversal
        ("Yes.", "No."),
        ("Yes, you can use the card in every country.", "No, the card does not work in every country."),
        ("Paris", "not Paris"),
        (f"{SENTENCE}.", "You cannot reset the card in the app under settings and security."),
        ("The lamp in the kitchen is now turned on.", "The lamp in the kitchen isn't now turned on."),
        # a number, a date, a version, an entity
        ("2", "22"),
        ("88.5 km", "91.7 km"),
        ("55 miles is approximately 88.51 kilometers.", "57 miles is approximately 91.73 kilometers."),
        ("Your alarm has been set for 5 in the morning.", "Your alarm has been set for 6 in the morning."),
        ("Paris", "Berlin"),
        ("Berlin.", "The capital of France is Paris, a city on the Seine."),
        ("five", "six"),
        ("1. Heat the oven to 180 degrees and wait.", "1. Heat the oven to 200 degrees and wait."),
        ("C", "C#"),
        ("3.1", "3.12"),
    ],
)
@pytest.mark.parametrize("similarity", [None, 0.3, 0.9997])
def test_other_answers_however_near(one: str, other: str, similarity: float | None) -> None:
    assert agreement(one, other, similarity) == agreement(other, one, similarity) == 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 km", "5 miles"),
        ("Paris", "Paris, Texas"),
        ("Paris", "The capital of France is Paris, a city on the Seine."),
        ("400.7 km", "249 miles are about 400.7 kilometers as the crow flies."),
        ("Yes.", "Yes, you can use the card in every country."),
        ("The official language that is spoken in Germany is German.", "The official language that is spoken in Austria is German."),
        ("There are 3 ways to do it, as the manual of the maker says.", "Do it in one of 5 different ways: by hand, by post, by phone."),
        ("法国的首都是塞纳河上的巴黎。", "巴黎是法国的首都,位于塞纳河畔。"),
        ("", "The capital of France is Paris, a city on the Seine."),
    ],
)
def test_what_cannot_be_told(one: str, other: str) -> None:
    assert agreement(one, other, 0.9) is agreement(other, one, 0.9) is None


LONG = ("You can reset your card in the app, under settings.", "Open the settings of the application and choose to reset it there.")


@pytest.mark.parametrize(
    ("similarity", "low", "high"),
    [(-0.2, 0.0, 0.0), (0.4, 0.0, 0.0), (0.6, 0.05, 0.2), (0.85, 0.8, 0.9), (0.97, 0.97, 0.999), (1.001, 0.999, 0.999)],
)
def test_longer_texts_go_by_their_cosine(similarity: float, low: float, high: float) -> None:
    told = agreement(*LONG, similarity)
    assert told is not None and low <= told <= high


@pytest.mark.parametrize("similarity", [None, float("nan"), 0.71, 0.78, 0.81])
def test_in_between_nothing_is_told(similarity: float | None) -> None:
    assert agreement(*LONG, similarity) is None


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_more_likeness_is_never_less_agreement(one: float, other: float) -> None:
    near, far = agreement(*LONG, max(one, other)), agreement(*LONG, min(one, other))
    assert near is None or far is None or near >= far


WORDS = st.lists(
    st.sampled_from(["yes", "no", "not", "Paris", "5", "5.5", "-3", "the", "is", "can't", "**so**", ".", "٣"]), max_size=9
).map(" ".join)


@given(WORDS | st.text(max_size=20), WORDS | st.text(max_size=20), st.none() | st.floats())
def test_it_is_symmetric_and_a_probability(one: str, other: str, similarity: float | None) -> None:
    told = agreement(one, other, similarity)
    assert told == agreement(other, one, similarity)
    assert told is None or 0 <= told <= 1
    assert agreement(one, one, similarity) == 1.0


def test_very_long_answers_go_by_their_cosine_only() -> None:
    assert agreement("yes " * 10_000, "no " * 10_000, 0.97) is not None
    assert agreement("yes " * 10_000, "no " * 10_000, None) is None
