"""Clients that others build on the SDKs: LangChain's chat models, and the `llm` command with OpenAI models of its own config."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from pydantic import SecretStr

from tests.acceptance.sdk_gate import LONGEST, QUESTION, SYSTEM, Gate, Seen

MESSAGES: Any = [("system", SYSTEM), ("human", QUESTION)]
FUNCTION = "def open_gate(by: int) -> str:\n    'Opens the gate.'\n    return 'the gate is open'\n"


def _openai(gate: Gate, how: str = "ok", *, responses: bool = False) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        base_url=gate.base_url,
        api_key=SecretStr("some-key"),
        model=gate.model(how),
        max_retries=0,
        timeout=20,
        temperature=0,
        default_headers=gate.headers,
        use_responses_api=responses,
        stream_usage=True,
    )


def _anthropic(gate: Gate, how: str = "ok") -> Any:
    from langchain_anthropic import ChatAnthropic

    model: Any = ChatAnthropic
    return model(
        base_url=gate.address,
        api_key=SecretStr("some-key"),
        model=gate.model(how),
        max_tokens=LONGEST,
        max_retries=0,
        timeout=20,
        temperature=0,
        default_headers=gate.headers,
    )


def _answered(gate: Gate, model: Any) -> Seen:
    return _seen(gate, model.invoke(MESSAGES))


def _streamed(gate: Gate, model: Any) -> Seen:
    pieces = list(model.stream(MESSAGES))
    assert len(pieces) > 2
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    return _seen(gate, whole)


def _seen(gate: Gate, message: Any) -> Seen:
    gate.check_text(message.text)
    return Seen(message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"])


def _called(gate: Gate, model: Any) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def open_gate(by: int) -> str:
        """Opens the gate."""
        return f"open by {by}"

    bound = model.bind_tools([open_gate])
    first = bound.invoke([HumanMessage(QUESTION)])
    (call,) = first.tool_calls
    assert call["name"] == "open_gate" and isinstance(call["args"]["by"], int)
    result = ToolMessage(open_gate.invoke(call["args"]), tool_call_id=call["id"])
    gate.check_text(bound.invoke([HumanMessage(QUESTION), first, result]).text)


def langchain_openai_answer(gate: Gate) -> Seen:
    return _answered(gate, _openai(gate))


def langchain_openai_stream(gate: Gate) -> Seen:
    return _streamed(gate, _openai(gate))


def langchain_openai_tools(gate: Gate) -> None:
    _called(gate, _openai(gate))


def langchain_openai_errors(gate: Gate) -> None:
    for how, error in (("unknown", openai.NotFoundError), ("limited", openai.RateLimitError), ("failing", openai.InternalServerError)):
        with pytest.raises(error):
            _openai(gate, how).invoke(MESSAGES)


def langchain_responses_answer(gate: Gate) -> Seen:
    return _answered(gate, _openai(gate, responses=True))


def langchain_responses_stream(gate: Gate) -> Seen:
    return _streamed(gate, _openai(gate, responses=True))


def langchain_responses_tools(gate: Gate) -> None:
    _called(gate, _openai(gate, responses=True))


def langchain_anthropic_answer(gate: Gate) -> Seen:
    return _answered(gate, _anthropic(gate))


def langchain_anthropic_stream(gate: Gate) -> Seen:
    return _streamed(gate, _anthropic(gate))


def langchain_anthropic_tools(gate: Gate) -> None:
    _called(gate, _anthropic(gate))


def langchain_anthropic_errors(gate: Gate) -> None:
    cases = (("unknown", anthropic.NotFoundError), ("limited", anthropic.RateLimitError), ("failing", anthropic.InternalServerError))
    for how, error in cases:
        with pytest.raises(error):
            _anthropic(gate, how).invoke(MESSAGES)


def _llm(gate: Gate, *arguments: str, how: str = "ok", responses: bool = False) -> subprocess.CompletedProcess[str]:
    """`llm -m penstock ...`, with a config directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        told = {
            "model_id": "penstock",
            "model_name": gate.model(how),
            "api_base": gate.base_url,
            "headers": gate.headers,
            "supports_tools": True,
            "responses": responses,
        }
        (Path(directory) / "extra-openai-models.yaml").write_text(json.dumps([told]))  # JSON is YAML
        return subprocess.run(
            [sys.executable, "-m", "llm", "-m", "penstock", *arguments],
            env={**os.environ, "LLM_USER_PATH": directory, "OPENAI_API_KEY": "some-key"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )


def _llm_said(gate: Gate, *arguments: str, responses: bool = False) -> Seen:
    done = _llm(gate, QUESTION, "-s", SYSTEM, "-u", *arguments, responses=responses)
    assert done.returncode == 0, done.stderr
    gate.check_text(done.stdout)
    told = done.stderr.partition("Token usage:")[2].replace(",", "").split()
    return Seen(int(told[0]), int(told[2]))


def llm_answer(gate: Gate) -> Seen:
    return _llm_said(gate, "--no-stream")


def llm_stream(gate: Gate) -> Seen:
    return _llm_said(gate)


def llm_tools(gate: Gate, *, responses: bool = False) -> None:
    done = _llm(gate, QUESTION, "--functions", FUNCTION, "--td", responses=responses)
    assert done.returncode == 0, done.stderr
    assert "open_gate" in done.stderr and "the gate is open" in done.stderr
    gate.check_text(done.stdout.strip())


def llm_errors(gate: Gate) -> None:
    for how, word in (("unknown", "there is no model"), ("limited", "simulated rate limit")):
        done = _llm(gate, QUESTION, how=how)
        assert done.returncode == 1 and word in done.stderr, done.stderr


def llm_responses_answer(gate: Gate) -> Seen:
    return _llm_said(gate, "--no-stream", responses=True)


def llm_responses_stream(gate: Gate) -> Seen:
    return _llm_said(gate, responses=True)


def llm_responses_tools(gate: Gate) -> None:
    llm_tools(gate, responses=True)
