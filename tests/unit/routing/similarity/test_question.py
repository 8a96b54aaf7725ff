"""Requests taken apart into a question and all the rest, and those that are not."""

import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain.routing.cache_key import cache_key
from penstock.domain.routing.similarity.question import LONGEST_QUESTION, Question, question_of

ENDPOINTS = ("chat.completions", "responses", "messages", "completions")
TEXT = st.text(alphabet="ab\n", min_size=1, max_size=4)
PART: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "input_text"]), "text": TEXT}, optional={"cache_control": st.just({})}
)
CONTENT = TEXT | st.lists(PART, min_size=1, max_size=3)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": CONTENT}, optional={"name": TEXT})
ASKED = st.fixed_dictionaries({"role": st.just("user"), "content": CONTENT}, optional={"name": TEXT})
TURNS = st.tuples(st.lists(TURN, max_size=2), ASKED).map(lambda both: [*both[0], both[1]])
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.5, 1]),
        "seed": st.integers(0, 1),
        "max_tokens": st.integers(1, 2),
        "system": TEXT,
        "user": TEXT,
        "stream": st.booleans(),
        "question": TEXT | st.none(),
    },
)


def _with(field: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(SETTINGS, values).map(lambda both: {**both[0], field: both[1]})


ANY = (
    st.tuples(st.sampled_from(["chat.completions", "messages"]), _with("messages", TURNS))
    | st.tuples(st.just("responses"), _with("input", TURNS | TEXT))
    | st.tuples(st.just("completions"), _with("prompt", TEXT | st.lists(TEXT, min_size=1, max_size=1)))
)


def _chat(content: Any = "Why?", *before: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [*before, {"role": "user", "content": content}], **settings}


def _key(endpoint: str, body: dict[str, Any]) -> bytes | None:
    return cache_key(("t",), endpoint, "m", "u", body)


def _taken(endpoint: str, body: dict[str, Any]) -> tuple[bytes | None, str]:
    question = question_of(endpoint, body)
    assert isinstance(question, Question)
    return _key(endpoint, question.rest), question.text


@given(ANY.filter(lambda pair: not isinstance(question_of(*pair), str)), ANY.filter(lambda pair: not isinstance(question_of(*pair), str)))
@example(
    ("messages", _chat([{"type": "text", "text": "a\nb"}, {"type": "text", "text": "c"}])),
    ("messages", _chat([{"type": "text", "text": "a"}, {"type": "text", "text": "b\nc"}])),
)
@example(("messages", _chat("a")), ("messages", _chat([{"type": "text", "text": "a"}])))
@example(("completions", {"prompt": "a"}), ("completions", {"prompt": ["a"]}))
def test_question_and_rest_are_equal_exactly_when_the_requests_are(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    assert (_taken(*one) == _taken(*other)) is (_key(*one) == _key(*other))


PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text("a\n", min_size=1, max_size=2)}), min_size=1, max_size=3)


@given(PARTS, PARTS)
def test_where_one_part_ends_and_the_next_begins_is_kept(one: list[Any], other: list[Any]) -> None:
    taken = [question_of("messages", _chat(parts)) for parts in (one, other)]
    assert (taken[0] == taken[1]) is (one == other) or "no question" in taken


@given(ANY)
def test_a_rest_is_never_taken_for_a_request(pair: tuple[str, dict[str, Any]]) -> None:
    question = question_of(*pair)
    if isinstance(question, Question):
        assert isinstance(question_of(pair[0], question.rest), str)


@given(ANY)
def test_the_request_is_left_as_it_was(pair: tuple[str, dict[str, Any]]) -> None:
    before = _key(*pair)
    question_of(*pair)
    assert _key(*pair) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["user", "text", "tool", "message", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(ENDPOINTS), st.dictionaries(st.sampled_from(["messages", "input", "prompt", "tools", "n", "logprobs"]), JSON))
def test_nothing_makes_it_raise(endpoint: str, body: dict[str, Any]) -> None:
    assert isinstance(question_of(endpoint, body), Question | str)


@pytest.mark.parametrize(
    ("endpoint", "body", "text"),
    [
        ("chat.completions", _chat(), "Why?"),
        ("chat.completions", _chat("Why?", {"role": "system", "content": "Be brief"}, {"role": "assistant", "content": None}), "Why?"),
        ("chat.completions", _chat([{"type": "text", "text": "See:"}, {"type": "text", "text": "Why?"}]), "See:\nWhy?"),
        ("chat.completions", _chat(tools=[{"type": "function", "function": {"name": "f"}}], tool_choice="none"), "Why?"),
        ("chat.completions", _chat(tools=[], n=1, logprobs=False, top_logprobs=0, store=False), "Why?"),
        ("messages", _chat(system="Be brief", tools=[{"name": "f"}], tool_choice={"type": "none"}), "Why?"),
        ("messages", _chat("Why?", {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}]}), "Why?"),
        ("responses", {"input": "Why?", "instructions": "Be brief"}, "Why?"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]}, "Why?"),
        (
            "responses",
            {"input": [{"type": "reasoning", "summary": []}, {"type": "message", "role": "user", "content": "Why?"}]},
            "Why?",
        ),
        ("completions", {"prompt": "Why?"}, "Why?"),
        ("completions", {"prompt": ["Why?"]}, "Why?"),
    ],
)
def test_what_is_asked(endpoint: str, body: dict[str, Any], text: str) -> None:
    question = question_of(endpoint, body)
    assert isinstance(question, Question) and question.text == text


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("endpoint", "body", "reason"),
    [
        ("embeddings", {"input": "Why?"}, "endpoint"),
        ("chat.completions", _chat(tools=[{"type": "function", "function": {"name": "f"}}]), "tools"),
        ("chat.completions", _chat(tools=[{"type": "web_search"}]), "tools"),
        ("chat.completions", _chat(functions=[{"name": "f"}]), "tools"),
        ("chat.completions", _chat("Why?", CALL), "tools"),
        ("chat.completions", _chat("Why?", {"role": "tool", "tool_call_id": "c", "content": "x"}), "tools"),
        ("chat.completions", _chat("Why?", {"role": "function", "name": "f", "content": "x"}), "tools"),
        ("messages", _chat([{"type": "tool_result", "tool_use_id": "c", "content": "x"}, {"type": "text", "text": "Why?"}]), "tools"),
        ("responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "tools"),
        ("responses", {"input": [{"type": "web_search_call"}, {"role": "user", "content": "Why?"}]}, "tools"),
        ("chat.completions", _chat([{"type": "text", "text": "Why?"}, IMAGE]), "images"),
        ("chat.completions", _chat("Why?", {"role": "user", "content": [IMAGE]}), "images"),
        ("chat.completions", _chat([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}]), "files"),
        ("chat.completions", _chat([{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]), "unknown content"),
        ("chat.completions", _chat(plugins=[{"id": "web"}]), "files"),
        ("chat.completions", _chat(store=True), "not cacheable"),
        ("chat.completions", _chat(web_search_options={}), "not cacheable"),
        ("responses", {"input": "Why?", "background": True}, "not cacheable"),
        ("responses", {"input": "Why?", "previous_response_id": "r"}, "not cacheable"),
        ("chat.completions", _chat(n=2), "several answers"),
        ("chat.completions", _chat(n=True), "several answers"),
        ("completions", {"prompt": "Why?", "best_of": 3}, "several answers"),
        ("completions", {"prompt": ["Why?", "How?"]}, "several answers"),
        ("chat.completions", _chat(logprobs=True), "details wanted"),
        ("chat.completions", _chat(top_logprobs=2), "details wanted"),
        ("completions", {"prompt": "Why?", "logprobs": 0}, "details wanted"),
        ("completions", {"prompt": "Why?", "echo": True}, "details wanted"),
        ("responses", {"input": "Why?", "include": ["reasoning.encrypted_content"]}, "details wanted"),
        ("chat.completions", _chat(prediction={"type": "content", "content": "x"}), "details wanted"),
        (
            "chat.completions",
            {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Bec"}]},
            "not the user's turn",
        ),
        ("chat.completions", {"messages": [{"role": "system", "content": "Why?"}]}, "not the user's turn"),
        ("chat.completions", {"messages": []}, "no question"),
        ("chat.completions", {}, "no question"),
        ("chat.completions", {"input": "Why?"}, "no question"),
        ("chat.completions", _chat(" \n"), "no question"),
        ("chat.completions", _chat([]), "no question"),
        ("chat.completions", _chat(None), "no question"),
        ("completions", {"prompt": [1, 2, 3]}, "no question"),
        ("chat.completions", _chat("x" * (LONGEST_QUESTION + 1)), "too long"),
        ("messages", _chat([{"type": "text", "text": "x" * LONGEST_QUESTION}, {"type": "text", "text": "Why?"}]), "too long"),
        ("chat.completions", _chat({"question": None}), "unknown content"),
        ("chat.completions", _chat("Why?", {"role": "critic", "content": "x"}), "unknown content"),
        ("messages", _chat([{"type": "text", "text": {"question": None}}]), "unknown content"),
    ],
)
def test_why_there_is_no_question(endpoint: str, body: dict[str, Any], reason: str) -> None:
    assert question_of(endpoint, body) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 1},
        {"seed": 7},
        {"max_tokens": 5},
        {"response_format": {"type": "json_object"}},
        {"stop": ["x"]},
        {"locale": "de"},
        {"messages": [{"role": "system", "content": "Be rude"}, {"role": "user", "content": "Why?"}]},
        {"messages": [{"role": "user", "content": "Sky"}, {"role": "assistant", "content": "Blue"}, {"role": "user", "content": "Why?"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
    ],
)
def test_everything_but_the_question_parts_requests(changes: dict[str, Any]) -> None:
    (key, text), (other_key, other_text) = _taken("chat.completions", _chat()), _taken("chat.completions", {**_chat(), **changes})
    assert text == other_text and key != other_key


@pytest.mark.parametrize("changes", [{"stream": True}, {"user": "ann"}, {"messages": [{"role": "user", "content": "Wherefore?"}]}])
def test_delivery_and_the_question_itself_do_not(changes: dict[str, Any]) -> None:
    assert _taken("chat.completions", _chat())[0] == _taken("chat.completions", {**_chat(), **changes})[0]


def test_it_tells_whether_the_question_is_bound_to_time() -> None:
    now, ever = question_of("chat.completions", _chat("What time is it?")), question_of("chat.completions", _chat())
    assert isinstance(now, Question) and isinstance(ever, Question) and now.time_bound and not ever.time_bound


def test_a_long_conversation_costs_little() -> None:
    body = _chat("x" * 10_000_000, *[{"role": "user", "content": "y" * 1000}] * 2000)
    begun = time.process_time()
    assert question_of("chat.completions", body) == "too long"
    assert time.process_time() - begun < 0.2
