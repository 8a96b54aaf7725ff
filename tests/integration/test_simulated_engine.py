"""The simulated engine over HTTP: the official SDK is content with it, and every fault is the fault it says it is."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from prometheus_client.parser import text_string_to_metric_families

from penstock.adapters.upstreams.simulated.faults import KINDS
from tests.engines.simulated import simulated_engine

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How high does the water stand in the upper lake this morning?"}]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with simulated_engine({"speed": 50}) as url:
        yield url


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=10) as sdk:
        yield sdk


def exchange(base_url: str, body: dict[str, Any], headers: dict[str, str] | None = None, timeout: float = 5) -> bytes:
    """Sends a chat and returns every byte that comes back until the server closes. Raises what the socket raises."""
    address = urlsplit(base_url)
    content = json.dumps({"model": "tiny", "messages": QUESTION} | body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(content)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    with socket.create_connection((address.hostname, address.port), timeout=timeout) as sock:
        sock.sendall(head.encode() + b"\r\n" + content)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def body_of(answer: bytes) -> bytes:
    """The body of a raw answer, chunks put together; whatever is not a whole chunk is kept as it is."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size or b"0", 16)]
        rest = rest[int(size or b"0", 16) + 2 :]
    return body


def test_whole_and_streamed_say_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=QUESTION)
    assert whole.system_fingerprint == "penstock-simulated"
    chunks = list(client.chat.completions.create(model="tiny", messages=QUESTION, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert text.startswith("This is a simulated answer.")
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].choices == []
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None and chunks[-1].usage is not None
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens == -(-len(text) // 4)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_usage_is_streamed_only_when_asked_for(base_url: str) -> None:
    plain = body_of(exchange(base_url, {"stream": True}))
    assert b'"usage"' not in plain and plain.endswith(b"data: [DONE]\n\n")
    asked = body_of(exchange(base_url, {"stream": True, "stream_options": {"include_usage": True}}))
    assert b'"usage":null' in asked


def test_choices_limits_logprobs_and_reasoning(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=QUESTION, n=2, max_tokens=9, logprobs=True, top_logprobs=2, reasoning_effort="low"
    )
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.usage is not None and answer.usage.completion_tokens == 18
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 18
    said = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=9, logprobs=True, top_logprobs=2).choices[0]
    assert said.logprobs is not None and said.logprobs.content is not None
    assert "".join(each.token for each in said.logprobs.content) == said.message.content
    assert all(len(each.top_logprobs) == 2 for each in said.logprobs.content)


def test_a_streamed_tool_call_adds_up(client: openai.OpenAI) -> None:
    parameters: dict[str, object] = {"type": "object", "properties": {"lake": {"type": "string"}, "metres": {"type": "number"}}}
    stream = client.chat.completions.create(
        model="tiny",
        messages=QUESTION,
        stream=True,
        tools=[{"type": "function", "function": {"name": "level", "parameters": parameters}}],
    )
    name = arguments = finish = ""
    for choice in (chunk.choices[0] for chunk in stream):
        for call in choice.delta.tool_calls or []:
            assert call.function is not None
            name += call.function.name or ""
            arguments += call.function.arguments or ""
        finish = choice.finish_reason or finish
    assert (name, finish) == ("level", "tool_calls")
    assert set(json.loads(arguments)) == {"lake", "metres"}


def test_a_repeated_prompt_is_cached(client: openai.OpenAI) -> None:
    long: list[ChatCompletionMessageParam] = [{"role": "user", "content": "pressure " * 100}]
    usages = [client.chat.completions.create(model="tiny", messages=long, max_tokens=1).usage for _ in range(2)]
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages if usage and usage.prompt_tokens_details]
    assert cached == [0, 224]


def test_completions_embeddings_and_models(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=["one", "two"], max_tokens=3, echo=True)
    assert [choice.text[:3] for choice in answer.choices] == ["one", "two"]
    packed = client.embeddings.create(model="tiny", input=["water", "wine"]).data
    plain = client.embeddings.create(model="tiny", input="water", encoding_format="float", dimensions=64)
    assert packed[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert packed[0].embedding != packed[1].embedding
    assert sum(each * each for each in plain.data[0].embedding) == pytest.approx(1)
    assert plain.usage.prompt_tokens == 2
    assert [(model.id, model.owned_by) for model in client.models.list()] == [("simulated", "penstock-simulated")]


def test_refusals_are_worded_as_openai_does(client: openai.OpenAI, base_url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="tiny", messages=[])
    with pytest.raises(openai.NotFoundError):
        client.post("/nothing", body={}, cast_to=object)
    with simulated_engine({"models": ["only"]}) as other:
        assert b"does not exist" in exchange(other, {})
    assert b"400 Bad Request" in exchange(base_url, {}, {"x-simulate-fault": "no-such-fault"})


def test_metrics_have_the_names_of_vllm(client: openai.OpenAI, base_url: str) -> None:
    client.chat.completions.create(model="tiny", messages=QUESTION)
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.request("GET", "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(connection.getresponse().read().decode())}
    connection.close()
    assert {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prompt_tokens",
        "vllm:generation_tokens",
        "vllm:prefix_cache_queries",
        "vllm:prefix_cache_hits",
        "vllm:request_success",
        "vllm:time_to_first_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:e2e_request_latency_seconds",
        "vllm:request_queue_time_seconds",
        "vllm:request_prefill_time_seconds",
        "vllm:request_decode_time_seconds",
    } == set(families)
    assert all(sample.labels["model_name"] == "simulated" for family in families.values() for sample in family.samples)


@pytest.mark.parametrize(
    ("fault", "status"),
    [("status:503", b"503 "), ("status", b"500 "), ("rate-limit:7", b"429 "), ("error-body", b"200 "), ("slow-head:1", b"200 ")],
)
def test_faults_that_are_answers(base_url: str, fault: str, status: bytes) -> None:
    answer = exchange(base_url, {}, {"x-simulate-fault": fault})
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"error" in body_of(answer)) == (fault != "slow-head:1")
    assert (b"retry-after: 7" in answer) == (fault == "rate-limit:7")


@pytest.mark.parametrize("place", ["header", "field", "name"])
def test_a_fault_can_be_asked_for_in_three_places(base_url: str, place: str) -> None:
    body = {"header": {}, "field": {"simulate_fault": "status:418"}, "name": {"model": "tiny!status:418"}}[place]
    headers = {"x-simulate-fault": "status:418"} if place == "header" else {}
    assert exchange(base_url, body, headers).startswith(b"HTTP/1.1 418 ")


@pytest.mark.parametrize("stream", [False, True])
def test_resets_and_closes_and_garbage(base_url: str, stream: bool) -> None:
    with pytest.raises(ConnectionResetError):
        exchange(base_url, {"stream": stream, "simulate_fault": "reset"})
    assert exchange(base_url, {"stream": stream, "simulate_fault": "close"}) == b""
    assert not exchange(base_url, {"stream": stream, "simulate_fault": "garbage"}).startswith(b"HTTP")
    with pytest.raises(ConnectionResetError):
        exchange(base_url, {"stream": stream, "simulate_fault": "reset-after:2"})


@pytest.mark.parametrize("stream", [False, True])
def test_hangs(base_url: str, stream: bool) -> None:
    for fault in ("hang", "hang-after:2"):
        with pytest.raises(TimeoutError):
            exchange(base_url, {"stream": stream, "simulate_fault": fault}, timeout=0.15)


def test_whole_answers_of_the_wrong_length(base_url: str) -> None:
    for fault, change in (("content-length-long:10", 10), ("content-length-short:10", -10)):
        head, _, body = exchange(base_url, {"simulate_fault": fault}).partition(b"\r\n\r\n")
        promised = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert promised - len(body) == change
    assert body_of(exchange(base_url, {"simulate_fault": "empty"})) == b""
    assert body_of(exchange(base_url, {"simulate_fault": "not-json"})).startswith(b"<html>")
    assert len(body_of(exchange(base_url, {"simulate_fault": "huge:50000"}))) > 50_000


def test_streams_that_break_in_an_event(base_url: str) -> None:
    closed = exchange(base_url, {"stream": True, "simulate_fault": "half-event:1"})
    assert not closed.endswith(b"0\r\n\r\n") and closed.count(b"\n\n") == 1
    ended = exchange(base_url, {"stream": True, "simulate_fault": "half-event-ended:1"})
    assert ended.endswith(b"0\r\n\r\n") and body_of(ended).count(b"\n\n") == 1
    failed = body_of(exchange(base_url, {"stream": True, "simulate_fault": "error-event:1"}))
    assert failed.count(b"data: ") == 2 and b'"error"' in failed and b"[DONE]" not in failed


def test_a_trickle_is_whole_in_the_end(base_url: str) -> None:
    whole = json.loads(body_of(exchange(base_url, {"max_tokens": 2, "simulate_fault": "trickle:0"})))
    assert whole["usage"]["completion_tokens"] == 2
    assert body_of(exchange(base_url, {"max_tokens": 2, "stream": True, "simulate_fault": "trickle:0"})).endswith(b"[DONE]\n\n")


def test_usage_faults(base_url: str) -> None:
    def whole(fault: str) -> Any:
        return json.loads(body_of(exchange(base_url, {"simulate_fault": fault}))).get("usage")

    assert whole("no-usage") is None
    assert whole("negative-usage")["completion_tokens"] == -1
    assert whole("garbage-usage")["completion_tokens"] == "many"

    def events(fault: str) -> list[bytes]:
        asked = {"stream": True, "stream_options": {"include_usage": True}, "simulate_fault": fault}
        return body_of(exchange(base_url, asked)).split(b"\n\n")[:-1]

    assert not any(b'"completion_tokens"' in event for event in events("no-usage"))
    last = events("usage-on-last-choice")[-1]
    assert b'"finish_reason":"stop"' in last and b'"completion_tokens"' in last
    assert b"[DONE]" not in events("no-done")[-1]


def test_planned_faults_end_and_calls_after_them_are_answered() -> None:
    with simulated_engine({"faults": [{"fault": "status:503", "first": 2}]}) as base_url:
        statuses = [exchange(base_url, {"max_tokens": 1})[9:12] for _ in range(3)]
    assert statuses == [b"503", b"503", b"200"]


def test_the_guide_lists_every_fault(repository: Any) -> None:
    guide = (repository / "docs/howto/simulated-engine.md").read_text()
    for name, (number, _) in KINDS.items():
        assert f"| `{name}` |" in guide if number is None else f"| `{name}:{number}` |" in guide


def test_a_client_that_leaves_frees_the_engine() -> None:
    with simulated_engine({"speed": 0.05, "answer_tokens": [500, 500]}) as base_url:
        address = urlsplit(base_url)
        content = json.dumps({"model": "tiny", "messages": QUESTION, "stream": True}).encode()
        with socket.create_connection((address.hostname, address.port), timeout=5) as leaving:
            leaving.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content))
            assert leaving.recv(100).startswith(b"HTTP/1.1 200")
        until = time.monotonic() + 5
        running = b"1"
        while running == b"1" and time.monotonic() < until:
            connection = http.client.HTTPConnection(address.hostname or "", address.port)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read()
            connection.close()
            running = text.partition(b'vllm:num_requests_running{model_name="simulated"} ')[2][:1]
        assert running == b"0"


def test_timing_follows_the_options() -> None:
    """Ten tokens at 10 ms a step take at least 100 ms; two calls at once share the steps."""
    options = {"speed": 1, "decode_step_ms": 10, "decode_step_ms_per_sequence": 0, "prefill_tokens_per_second": 1e9}
    with simulated_engine(options) as base_url:
        exchange(base_url, {"max_tokens": 1})
        began = time.monotonic()
        threads = [threading.Thread(target=exchange, args=(base_url, {"max_tokens": 10})) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.1 <= time.monotonic() - began < 0.35


def test_alone_it_prints_its_address_and_stops_on_sigterm() -> None:
    command = [sys.executable, "-m", "penstock.adapters.upstreams.simulated", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            assert exchange(base_url, {"max_tokens": 1}).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
        finally:
            process.kill()


def test_wrong_options_are_told_with_a_hint() -> None:
    for options in ('{"sped": 2}', "{", '{"faults": ["hagn"]}'):
        command = [sys.executable, "-m", "penstock.adapters.upstreams.simulated", "--port", "0", "--options", options]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, env=os.environ)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ") and "\nhint: " in result.stderr
