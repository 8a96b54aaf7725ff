"""Canonical calls and answers for property tests, within what all three dialects can say."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from penstock.domain.dialects.canonical import (
    Added,
    Answer,
    Call,
    Closed,
    Dialect,
    Document,
    Event,
    Finished,
    Format,
    Image,
    Opened,
    Reasoning,
    Sampling,
    Started,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
    turns_of,
)
from penstock.domain.dialects.chat.answers import write_chat_answer
from penstock.domain.dialects.chat.calls import read_chat_call, write_chat_call
from penstock.domain.dialects.chat.streams import ChatStreamWriter
from penstock.domain.dialects.messages.answers import write_messages_answer
from penstock.domain.dialects.messages.calls import read_messages_call, write_messages_call
from penstock.domain.dialects.messages.streams import MessagesStreamWriter
from penstock.domain.dialects.responses.answers import write_responses_answer
from penstock.domain.dialects.responses.calls import read_responses_call, write_responses_call
from penstock.domain.dialects.responses.streams import ResponsesStreamWriter
from penstock.domain.dialects.sse import split_events

DIALECTS: tuple[Dialect, ...] = ("chat.completions", "responses", "messages")
DIALECT = st.sampled_from(DIALECTS)
MODEL = "claude-opus-4-6"

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
NAME = st.text("abcxyz_", min_size=1, max_size=5)
TEXT = st.builds(Text, WORDS)
IMAGE = st.builds(Image, st.sampled_from(["https://example.com/a.png", "data:image/png;base64,AAAA"]))
DOCUMENT = st.builds(Document, st.just("data:application/pdf;base64,AAAA"), st.just("a.pdf"))
SCHEMA = st.sampled_from([{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "object", "properties": {}}])
ARGUMENTS = st.sampled_from(['{"a":1}', "{}", '{"b":[true,null,"\\u00e4"]}']).map(lambda text: text.replace("\\u00e4", "ä"))


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Conversations with tools used and answered, all results given, ending with the user."""
    turns: list[Turn] = []
    for number in range(draw(st.integers(1, 3))):
        turns.append(Turn("user", tuple(draw(st.lists(TEXT | IMAGE | DOCUMENT, min_size=1, max_size=3)))))
        uses = tuple(ToolUse(f"call_{number}_{at}", draw(NAME), draw(ARGUMENTS)) for at in range(draw(st.integers(0, 2))))
        said = tuple(draw(st.lists(TEXT, min_size=0 if uses else 1, max_size=1)))
        turns.append(Turn("assistant", said + uses))
        results = tuple(ToolResult(use.id, tuple(draw(st.lists(TEXT, min_size=1, max_size=2)))) for use in uses)
        turns.append(Turn("user", (*results, Text(draw(WORDS)))))
    tools = tuple(draw(st.lists(st.builds(Tool, NAME, st.none() | WORDS, SCHEMA, st.none() | st.just(True)), max_size=2)))
    named = st.builds(ToolChoice, st.just("named"), NAME, st.none() | st.booleans())
    choice = draw(named | st.builds(ToolChoice, st.sampled_from(["auto", "required"]), parallel=st.booleans())) if tools else ToolChoice()
    return Call(
        system=tuple(draw(st.lists(TEXT, max_size=2))),
        turns=turns_of(turns),
        tools=tools,
        choice=choice,
        sampling=draw(st.builds(Sampling, st.none() | st.floats(0, 1), st.none() | st.floats(0, 1))),
        max_output=draw(st.integers(16, 99999)),
        format=draw(st.none() | st.builds(Format, SCHEMA, st.just("answer"), strict=st.just(True))),
        reasoning=draw(st.builds(Reasoning, st.none() | st.sampled_from(["low", "medium", "high"]))),
        user=draw(st.none() | NAME),
        service_tier=draw(st.none() | st.sampled_from(["auto", "default"])),
        stream=draw(st.booleans()),
    )


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Thoughts, words, tool calls, in the order in which models give them."""
    thought = draw(st.lists(st.builds(Thinking, WORDS), max_size=1))
    said = draw(st.lists(TEXT, max_size=1))
    uses = [ToolUse(f"call_{at}", draw(NAME), draw(ARGUMENTS)) for at in range(draw(st.integers(0, 3)))]
    stop = "tools" if uses else draw(st.sampled_from(["end", "length"]))
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4}}
    return Answer("answer-1", MODEL, (*thought, *said, *uses), stop, usage=usage, created=7)  # type: ignore[arg-type]


def write_call(call: Call, dialect: Dialect) -> dict[str, Any]:
    if dialect == "messages":
        return write_messages_call(call, MODEL, None)
    return write_chat_call(call, MODEL) if dialect == "chat.completions" else write_responses_call(call, MODEL)


def read_call(body: dict[str, Any], dialect: Dialect) -> Call:
    return {"chat.completions": read_chat_call, "responses": read_responses_call, "messages": read_messages_call}[dialect](body)


def write_answer(answer: Answer, dialect: Dialect) -> dict[str, Any]:
    if dialect == "messages":
        return write_messages_answer(answer)
    return write_chat_answer(answer, 7) if dialect == "chat.completions" else write_responses_answer(answer, 7)


def events_of(answer: Answer) -> Iterator[Event]:
    """The stream of an answer, each block in one piece."""
    yield Started(answer.id, answer.model, answer.created, answer.usage, answer.service_tier)
    for index, block in enumerate(answer.blocks):
        assert isinstance(block, Text | Thinking | ToolUse)
        text = block.arguments if isinstance(block, ToolUse) else block.text
        yield Opened(index, ToolUse(block.id, block.name) if isinstance(block, ToolUse) else type(block)())
        yield Added(index, text)
        yield Closed(index, block)
    yield Finished(answer.stop, answer.stop_sequence, answer.usage)


def write_stream(answer: Answer, dialect: Dialect) -> list[bytes]:
    """The events of an answer as its provider streams them, the end included."""
    writer: ChatStreamWriter | ResponsesStreamWriter | MessagesStreamWriter = MessagesStreamWriter()
    if dialect != "messages":
        writer = ChatStreamWriter(7, include_usage=True) if dialect == "chat.completions" else ResponsesStreamWriter(7)
    return split_events(b"".join(writer.write(event) for event in events_of(answer)) + writer.end())[0]
