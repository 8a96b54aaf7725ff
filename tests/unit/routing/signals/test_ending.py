"""What speaks against an answer without a look at what it says."""

from typing import Any

import orjson
import pytest

from penstock.domain.dialects.chat.assembling import disassemble
from penstock.domain.ledger.routed import Sign
from penstock.domain.routing.signals.ending import declines, ending_signs
from penstock.domain.routing.signals.shown import read_shown

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def chat(content: str | None = "Paris.", reason: str = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def signs(endpoint: str, whole: object, streamed: bool = False) -> dict[str, Sign]:
    body = whole if isinstance(whole, bytes) else orjson.dumps(whole)
    return {sign.name: sign for sign in ending_signs(read_shown(endpoint, streamed, body))}


def failing(endpoint: str, whole: object, streamed: bool = False) -> list[str]:
    return [sign.said for sign in signs(endpoint, whole, streamed).values() if sign.fails]


def test_a_whole_answer_is_fine() -> None:
    assert signs("chat.completions", chat()) == {"finish": Sign("finish")}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (chat(reason="length"), "cut off"),
        (chat(reason="content_filter"), "filtered"),
        (chat(""), "empty"),
        (chat("  \n"), "empty"),
        (chat(None, refusal="I cannot do that."), "declines"),
        (chat("I'm sorry, but I can't help with that."), "declines"),
        ({"error": {"message": "overloaded"}}, "error"),
        (b"<html>", "no JSON"),
        (b"[1]", "no JSON"),
        (b'{"choices": [{"mess', "no JSON"),
    ],
)
def test_what_fails_of_chat_completions(answer: object, said: str) -> None:
    assert any(said in each for each in failing("chat.completions", answer))


def test_an_answer_that_is_not_understood_does_not_fail() -> None:
    two = chat()
    two["choices"] *= 2
    found = signs("chat.completions", two)
    assert not found["finish"].fails and "not understood" in found["finish"].said


def test_tool_calls_are_no_empty_answer() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert not failing("chat.completions", chat(None, "tool_calls", tool_calls=[call]))


def test_streams_are_read_as_whole_answers() -> None:
    events = disassemble(orjson.dumps(chat("Lo siento, no puedo ayudar con eso.")))
    assert events is not None
    assert failing("chat.completions", b"".join(events) + b"data: [DONE]\n\n", True) == ["it declines"]
    assert failing("chat.completions", b"".join(events[:-1]), True) == ["the answer breaks off or is no JSON"]


@pytest.mark.parametrize(("reason", "fails"), [("end_turn", False), ("max_tokens", True), ("refusal", True), ("tool_use", False)])
def test_messages(reason: str, fails: bool) -> None:
    content = [{"type": "text", "text": "Paris."}]
    if reason == "tool_use":
        content = [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]  # type: ignore[dict-item]
    usage = {"input_tokens": 1, "output_tokens": 1}
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": reason, "usage": usage}
    assert bool(failing("messages", answer)) is fails


@pytest.mark.parametrize(("status", "reason", "fails"), [("completed", None, False), ("incomplete", "max_output_tokens", True)])
def test_responses(status: str, reason: str | None, fails: bool) -> None:
    part = {"type": "output_text", "text": "Paris.", "annotations": []}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    answer: dict[str, Any] = {"id": "r", "object": "response", "status": status, "model": "m", "output": [item], "error": None}
    answer["incomplete_details"] = None if reason is None else {"reason": reason}
    assert bool(failing("responses", answer)) is fails


@pytest.mark.parametrize(("reason", "fails"), [("stop", False), ("length", True), (None, True)])
def test_legacy_completions(reason: str | None, fails: bool) -> None:
    answer = {"choices": [{"index": 0, "text": "Paris.", "finish_reason": reason}]}
    assert bool(failing("completions", answer)) is fails


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I\u2019m sorry, I can\u2019t do that.",
        "Sorry, I cannot help you with this.",
        "I cannot provide medical advice.",
        "I'm unable to access external websites.",
        "As an AI language model, I do not have opinions.",
        "**I can't help** with that.",
        "I must decline.",
        "Unfortunately, I am unable to open the file.",
        "I won't help with that.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Ich kann Ihnen dabei leider nicht helfen.",
        "Je suis d\u00e9sol\u00e9, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Mi dispiace, ma non posso aiutarti.",
        "Desculpe, mas n\u00e3o posso ajudar.",
        "Het spijt me, maar ik kan daar niet bij helpen.",
        "Przepraszam, ale nie mog\u0119 pom\u00f3c.",
        "\u0418\u0437\u0432\u0438\u043d\u0438\u0442\u0435, \u044f \u043d\u0435 \u043c\u043e\u0433\u0443.",
        "\u7533\u3057\u8a33\u3042\u308a\u307e\u305b\u3093\u304c\u3001",
        "\u62b1\u6b49\uff0c\u6211\u65e0\u6cd5\u63d0\u4f9b\u3002",
        "\uc8c4\uc1a1\ud558\uc9c0\ub9cc \ub3c4\uc640\ub4dc\ub9b4 \uc218 \uc5c6\uc2b5\ub2c8\ub2e4.",
        "I don't know.",
        "I do not have enough information to say.",
        "It cannot be determined from the text.",
    ],
)
def test_texts_that_decline(text: str) -> None:
    assert declines(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that your order is late. It was shipped today.",
        "I can't find any error in this code: it is right.",
        "Sorry is a song by Justin Bieber.",
        "Unfortunately, the battle was lost.",
        "I cannot stress enough how well this works.",
        "The user said: I can't help with that.",
        "No.",
        "Paris.",
        "As an aid to memory, write it down.",
        "I don't know of a better way. " * 20,
        "Ich kann schwimmen.",
        "I am not able-bodied was her phrase.",
        "",
    ],
)
def test_texts_that_do_not(text: str) -> None:
    assert declines(text) is None


def test_only_the_beginning_counts() -> None:
    assert declines("The answer is 42. I'm sorry, but I can't explain more.") is None
