"""The official `openai` SDK, chat completions and Responses."""

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.acceptance.sdk_gate import BROKEN_OFF, LONGEST, PARAMETERS, PICTURE, QUESTION, SYSTEM, Gate, Seen

TOOL: Any = {"type": "function", "function": {"name": "open_gate", "parameters": PARAMETERS}}
RESPONSES_TOOL: Any = {"type": "function", "name": "open_gate", "parameters": PARAMETERS, "strict": False}
ASKED: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
TO_USAGE: Any = {"include_usage": True}
URL = f"data:image/png;base64,{PICTURE}"


def _client(gate: Gate) -> openai.OpenAI:
    return openai.OpenAI(base_url=gate.base_url, api_key="some-key", max_retries=0, timeout=20, default_headers=gate.headers)


def chat_answer(gate: Gate) -> Seen:
    with _client(gate) as client:
        answer = client.chat.completions.create(model=gate.model(), messages=ASKED, max_tokens=LONGEST, temperature=0)
    gate.check_text(answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason in ("stop", "length") and answer.usage is not None
    return Seen(answer.usage.prompt_tokens, answer.usage.completion_tokens)


def chat_stream(gate: Gate) -> Seen:
    asked: Any = {"model": gate.model(), "messages": ASKED, "max_tokens": LONGEST, "temperature": 0, "stream_options": TO_USAGE}
    with _client(gate) as client:
        if gate.simulated:
            with client.chat.completions.stream(**asked) as stream:
                kinds = {event.type for event in stream}
                answer = stream.get_final_completion()
            assert "content.delta" in kinds and "content.done" in kinds
            text, usage = answer.choices[0].message.content, answer.usage
        else:  # its words never end, and the SDK's helper refuses what was cut at the limit
            *chunks, last = client.chat.completions.create(**asked, stream=True)
            text, usage = "".join(chunk.choices[0].delta.content or "" for chunk in chunks), last.usage
    gate.check_text(text or "")
    assert usage is not None
    return Seen(usage.prompt_tokens, usage.completion_tokens)


def chat_tools(gate: Gate) -> None:
    with _client(gate) as client:
        for streamed in (False, True):
            called = _chat_call(client, gate.model(), streamed)
            assert called.name == "open_gate" and isinstance(json.loads(called.arguments)["by"], int)
            call = {"id": "call_1", "type": "function", "function": {"name": called.name, "arguments": called.arguments}}
            turns: Any = [
                *ASKED,
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "done"},
            ]
            answer = client.chat.completions.create(model=gate.model(), messages=turns, tools=[TOOL])
            gate.check_text(answer.choices[0].message.content or "")


def _chat_call(client: openai.OpenAI, model: str, streamed: bool) -> Any:
    if not streamed:
        answer = client.chat.completions.create(model=model, messages=ASKED, tools=[TOOL], tool_choice="required")
        assert answer.choices[0].finish_reason == "tool_calls"
        call: Any = (answer.choices[0].message.tool_calls or [])[0]
        return call.function
    with client.chat.completions.stream(model=model, messages=ASKED, tools=[TOOL]) as stream:
        final: Any = stream.get_final_completion()
    return final.choices[0].message.tool_calls[0].function


def chat_async(gate: Gate) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=gate.base_url, api_key="k", max_retries=0, timeout=20) as client:
            stream = await client.chat.completions.create(model=gate.model(), messages=ASKED, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    gate.check_text(asyncio.run(ask()))


def chat_errors(gate: Gate) -> None:
    with _client(gate) as client:

        def ask(model: str, **more: Any) -> None:
            client.chat.completions.create(**{"model": model, "messages": ASKED, **more})

        _errors(gate, ask, {"max_tokens": -1})
        _errors(gate, lambda model, **more: ask(model, stream=True, **more), {"max_tokens": -1})


def _errors(gate: Gate, ask: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(gate.model("unknown"))
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as wrong:
        ask(gate.model(), **bad)
    assert "penstock-error" not in wrong.value.response.headers, "it is the upstream's error"
    assert isinstance(wrong.value.body, dict) and wrong.value.body["message"]
    with pytest.raises(openai.RateLimitError, match="simulated rate limit"):
        ask(gate.model("limited"))
    with pytest.raises(openai.InternalServerError, match="simulated failure"):
        ask(gate.model("failing"))


def chat_broken(gate: Gate) -> None:
    with _client(gate) as client, pytest.raises(Exception, match=BROKEN_OFF):
        list(client.chat.completions.create(model=gate.model("cut"), messages=ASKED, stream=True))


def models(gate: Gate) -> None:
    with _client(gate) as client:
        assert gate.model() in [model.id for model in client.models.list()]
        assert client.models.retrieve(gate.model()).id == gate.model()


def chat_image(gate: Gate) -> None:
    parts: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": URL}}]
    with _client(gate) as client:
        answer = client.chat.completions.create(model=gate.model(), messages=[{"role": "user", "content": parts}])
    assert answer.usage is not None and answer.usage.prompt_tokens > 250, "the simulated engine counts 256 tokens for an image"


def responses_answer(gate: Gate) -> Seen:
    with _client(gate) as client:
        answer = client.responses.create(model=gate.model(), instructions=SYSTEM, input=QUESTION, max_output_tokens=LONGEST, temperature=0)
    gate.check_text(answer.output_text)
    assert answer.status in ("completed", "incomplete") and answer.usage is not None
    return Seen(answer.usage.input_tokens, answer.usage.output_tokens)


def responses_stream(gate: Gate) -> Seen:
    with _client(gate) as client:
        if not gate.simulated:  # this engine leaves out fields that the SDK's accumulator needs
            events: Any = client.responses.create(model=gate.model(), input=QUESTION, max_output_tokens=8, temperature=0, stream=True)
            last = list(events)[-1].response
        else:
            with client.responses.stream(model=gate.model(), instructions=SYSTEM, input=QUESTION) as stream:
                kinds = [event.type for event in stream]
                last = stream.get_final_response()
            assert "response.output_text.delta" in kinds and kinds[-1] == "response.completed"
    gate.check_text(last.output[0].content[0].text)
    assert last.usage is not None
    return Seen(last.usage.input_tokens, last.usage.output_tokens)


def responses_tools(gate: Gate) -> None:
    with _client(gate) as client:
        for streamed in (False, True):
            if streamed:
                with client.responses.stream(model=gate.model(), input=QUESTION, tools=[RESPONSES_TOOL]) as stream:
                    final: Any = stream.get_final_response()
            else:
                final = client.responses.create(model=gate.model(), input=QUESTION, tools=[RESPONSES_TOOL], tool_choice="required")
            call = next(item for item in final.output if item.type == "function_call")
            assert call.name == "open_gate" and isinstance(json.loads(call.arguments)["by"], int)
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
            spoken = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            turns: Any = [{"role": "user", "content": QUESTION}, spoken, result]
            gate.check_text(client.responses.create(model=gate.model(), input=turns, tools=[RESPONSES_TOOL]).output_text)


def responses_async(gate: Gate) -> None:
    async def ask() -> str:
        async with (
            openai.AsyncOpenAI(base_url=gate.base_url, api_key="k", max_retries=0, timeout=20) as client,
            client.responses.stream(model=gate.model(), input=QUESTION) as stream,
        ):
            return (await stream.get_final_response()).output_text

    gate.check_text(asyncio.run(ask()))


def responses_errors(gate: Gate) -> None:
    with _client(gate) as client:

        def ask(model: str, **more: Any) -> None:
            client.responses.create(**{"model": model, "input": QUESTION, **more})

        _errors(gate, ask, {"max_output_tokens": -1})
        _errors(gate, lambda model, **more: ask(model, stream=True, **more), {"max_output_tokens": -1})
        with pytest.raises(openai.BadRequestError) as untold:
            ask(gate.model(), previous_response_id="resp_0")
        assert untold.value.param == "previous_response_id"
        assert untold.value.response.headers["penstock-error"] == "input"


def responses_broken(gate: Gate) -> None:
    with (
        _client(gate) as client,
        pytest.raises(Exception, match=BROKEN_OFF),
        client.responses.stream(model=gate.model("cut"), input=QUESTION) as stream,
    ):
        stream.get_final_response()


def responses_image(gate: Gate) -> None:
    parts: Any = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": URL, "detail": "auto"}]
    with _client(gate) as client:
        answer = client.responses.create(model=gate.model(), input=[{"role": "user", "content": parts}])
    assert answer.usage is not None and answer.usage.input_tokens > 250


def responses_thinking(gate: Gate) -> None:
    with _client(gate) as client:
        answer: Any = client.responses.create(model=gate.model(), input=QUESTION, reasoning={"effort": "low", "summary": "auto"})
        with client.responses.stream(model=gate.model(), input=QUESTION, reasoning={"effort": "low", "summary": "auto"}) as stream:
            streamed: Any = stream.get_final_response()
    for each in (answer, streamed):
        thought = next(item for item in each.output if item.type == "reasoning")
        text = "".join(part.text for part in [*(thought.summary or []), *(getattr(thought, "content", None) or [])])
        assert text.startswith("Simulated thought."), each.output
        gate.check_text(each.output_text)
