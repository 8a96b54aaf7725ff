"""The official `anthropic` SDK."""

import asyncio
from typing import Any

import anthropic
import pytest

from tests.acceptance.sdk_gate import BROKEN_OFF, LONGEST, PARAMETERS, PICTURE, QUESTION, SYSTEM, Gate, Seen

TOOL: Any = {"name": "open_gate", "description": "Opens it.", "input_schema": PARAMETERS}
ASKED: Any = [{"role": "user", "content": QUESTION}]
GREEDY = {"temperature": 0}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
MARKED: Any = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]


def _client(gate: Gate) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gate.address, api_key="some-key", max_retries=0, timeout=20, default_headers=gate.headers)


def _text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def _seen(usage: Any) -> Seen:
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return Seen(usage.input_tokens + cached, usage.output_tokens)


def answer(gate: Gate) -> Seen:
    with _client(gate) as client:
        message = client.messages.create(model=gate.model(), max_tokens=LONGEST, extra_body=GREEDY, system=SYSTEM, messages=ASKED)
    gate.check_text(_text(message))
    assert message.stop_reason in ("end_turn", "max_tokens")
    return _seen(message.usage)


def stream(gate: Gate) -> Seen:
    with (
        _client(gate) as client,
        client.messages.stream(
            model=gate.model(), max_tokens=LONGEST, extra_body=GREEDY, system=MARKED if gate.simulated else SYSTEM, messages=ASKED
        ) as events,
    ):
        kinds = {event.type for event in events}
        message = events.get_final_message()
    assert {"message_start", "content_block_delta", "message_stop"} <= kinds
    gate.check_text(_text(message))
    return _seen(message.usage)


def tools(gate: Gate) -> None:
    with _client(gate) as client:
        for streamed in (False, True):
            asked: Any = {"model": gate.model(), "max_tokens": LONGEST, "messages": ASKED, "tools": [TOOL], "tool_choice": {"type": "any"}}
            if streamed:
                with client.messages.stream(**asked) as events:
                    message = events.get_final_message()
            else:
                message = client.messages.create(**asked)
            use: Any = next(block for block in message.content if block.type == "tool_use")
            assert message.stop_reason == "tool_use" and use.name == "open_gate" and isinstance(use.input["by"], int)
            spoken = {"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}
            result = {"type": "tool_result", "tool_use_id": use.id, "content": "done"}
            turns: Any = [*ASKED, {"role": "assistant", "content": [spoken]}, {"role": "user", "content": [result]}]
            gate.check_text(_text(client.messages.create(model=gate.model(), max_tokens=LONGEST, messages=turns, tools=[TOOL])))


def asynchronous(gate: Gate) -> None:
    async def ask() -> str:
        async with (
            anthropic.AsyncAnthropic(base_url=gate.address, api_key="k", max_retries=0, timeout=20) as client,
            client.messages.stream(model=gate.model(), max_tokens=LONGEST, messages=ASKED) as events,
        ):
            return "".join([text async for text in events.text_stream])

    gate.check_text(asyncio.run(ask()))


def errors(gate: Gate) -> None:
    with _client(gate) as client:

        def ask(model: str, **more: Any) -> None:
            client.messages.create(**{"model": model, "max_tokens": LONGEST, "messages": ASKED, **more})

        for streamed in ({}, {"stream": True}):
            with pytest.raises(anthropic.NotFoundError, match="there is no model"):
                ask(gate.model("unknown"), **streamed)
            with pytest.raises(anthropic.BadRequestError) as wrong:
                ask(gate.model(), **{"max_tokens": -1, **streamed})
            told: Any = wrong.value.body
            assert told["type"] == "error" and told["error"]["type"] == "invalid_request_error" and told["error"]["message"]
            with pytest.raises(anthropic.RateLimitError, match="simulated rate limit"):
                ask(gate.model("limited"), **streamed)
            with pytest.raises(anthropic.InternalServerError, match="simulated failure"):
                ask(gate.model("failing"), **streamed)
        with pytest.raises(anthropic.BadRequestError, match="/v1/chat/completions"):
            ask(gate.model(), extra_body={"response_format": {"type": "json_object"}})


def broken(gate: Gate) -> None:
    with (
        _client(gate) as client,
        pytest.raises(Exception, match=BROKEN_OFF),
        client.messages.stream(model=gate.model("cut"), max_tokens=LONGEST, messages=ASKED) as events,
    ):
        events.get_final_message()


def count_tokens(gate: Gate) -> None:
    with _client(gate) as client:
        assert client.messages.count_tokens(model=gate.model(), messages=ASKED).input_tokens > 8


def models(gate: Gate) -> None:
    with _client(gate) as client:
        assert gate.model() in [model.id for model in client.models.list()]
        assert client.models.retrieve(gate.model()).display_name == gate.model()
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("unknown")


def image(gate: Gate) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    parts: Any = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    with _client(gate) as client:
        message = client.messages.create(model=gate.model(), max_tokens=LONGEST, messages=[{"role": "user", "content": parts}])
    assert _seen(message.usage).input > 250


def thinking(gate: Gate) -> None:
    asked: Any = {"model": gate.model(), "max_tokens": 2000, "messages": ASKED, "thinking": THINKING}
    with _client(gate) as client:
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as events:
            streamed = events.get_final_message()
    for message in (whole, streamed):
        thought: Any = message.content[0]
        assert thought.type == "thinking" and thought.thinking.startswith("Simulated thought."), message.content
        gate.check_text(_text(message))
