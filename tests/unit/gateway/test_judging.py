"""Whether two answers say the same: by their forms, by their tool calls, and by meaning where an embedder costs nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from penstock.gateway.exchange import Answer, Exchange, begin
from penstock.gateway.routing.asides import Draft
from penstock.gateway.routing.judging import alike, question_of
from penstock.wire.message import Request

ONE = "The capital city of that country lies on the river Seine, as everybody knows by now."
OTHER = "It is on the Seine that you will find what is the capital of this land, that is well known."


class Embedder:
    """Vectors at an angle of its choice."""

    def __init__(self, cosine: float | None = 0.95, free: bool = True, sees: bool = True) -> None:
        self.cosine, self.free, self.sees = cosine, free, sees
        self.asked: list[list[str]] = []

    def may_see(self, permitted: frozenset[str] | None) -> bool:
        return self.sees

    async def of_texts(self, texts: list[str]) -> Any:
        self.asked.append(texts)
        return None if self.cosine is None else np.array([[1, 0], [self.cosine, (1 - self.cosine**2) ** 0.5]], np.float32)


def exchange(endpoint: str = "chat.completions", body: dict[str, Any] | None = None) -> Exchange:
    said = {"messages": [{"role": "user", "content": "Which city?"}]} if body is None else body
    path = f"/v1/{endpoint.replace('.', '/')}"
    x = begin(endpoint, Request("POST", path, path, "", [], orjson.dumps(said)), responder=SimpleNamespace())  # type: ignore[arg-type]
    x.body = said
    return x


def draft(text: str | None, calls: list[tuple[str, str]] | None = None) -> Draft:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls is not None:
        message["tool_calls"] = [
            {"id": str(at), "type": "function", "function": {"name": name, "arguments": given}} for at, (name, given) in enumerate(calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    x = exchange()
    x.answer = Answer(200, [], orjson.dumps({"id": "a", "model": "m", "choices": [choice]}))
    return Draft(candidate=SimpleNamespace(), exchange=x, text=text, ok=True, error=None)  # type: ignore[arg-type]


def compare(one: Draft, other: Draft, embedder: Embedder | None = None, question: str = "Which city?") -> bool | None:
    gateway: Any = SimpleNamespace(meaning=None if embedder is None else SimpleNamespace(embeddings=embedder))
    x = exchange(body={"messages": [{"role": "user", "content": question}]})
    return asyncio.run(alike(gateway, x, one, other))


def test_forms_decide_without_an_embedder() -> None:
    embedder = Embedder()
    assert compare(draft("The answer is 42."), draft("42"), embedder) is True
    assert compare(draft("42"), draft("43"), embedder) is False
    assert embedder.asked == []


@pytest.mark.parametrize(("cosine", "expected"), [(0.95, True), (0.3, False), (0.75, None), (None, None)])
def test_meaning_decides_between_longer_texts(cosine: float | None, expected: bool | None) -> None:
    embedder = Embedder(cosine)
    assert compare(draft(ONE), draft(OTHER), embedder) is expected
    assert embedder.asked == [[ONE, OTHER]]


@pytest.mark.parametrize("embedder", [None, Embedder(free=False), Embedder(sees=False)])
def test_an_embedder_that_costs_or_may_not_see_it_is_not_asked(embedder: Embedder | None) -> None:
    assert compare(draft(ONE), draft(OTHER), embedder) is None
    assert embedder is None or embedder.asked == []


def test_what_says_nothing_is_not_alike() -> None:
    embedder = Embedder()
    assert compare(draft(""), draft(""), embedder) is None and compare(draft("42"), draft(""), embedder) is None
    assert embedder.asked == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([("f", '{"n": 1, "m": [2]}')], [("f", '{"m":[2],"n":1.0}')], True),
        ([("f", '{"n": 1}')], [("f", '{"n": 2}')], False),
        ([("f", '{"n": 1}')], [("g", '{"n": 1}')], False),
        ([("f", "{}"), ("g", "{}")], [("g", "{}"), ("f", "{}")], True),
        ([("f", "{")], [("f", "{")], True),
        ([("f", "{}")], [("f", "{}"), ("f", "{}")], False),
    ],
)
def test_tool_calls(one: list[tuple[str, str]], other: list[tuple[str, str]], expected: bool) -> None:
    assert compare(draft(None, one), draft(None, other)) is expected


def test_a_tool_call_is_not_its_words() -> None:
    assert compare(draft(None, [("f", "{}")]), draft('[["f",{}]]')) is False


@pytest.mark.parametrize(
    ("endpoint", "body", "question"),
    [
        ("completions", {"prompt": "2+2?"}, "2+2?"),
        ("responses", {"input": "2+2?"}, "2+2?"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]}, "2+2?"),
        ("chat.completions", {}, ""),
    ],
)
def test_the_question(endpoint: str, body: dict[str, Any], question: str) -> None:
    assert question_of(exchange(endpoint, body)) == question
