"""The official `openai` SDK that points at Penstock instead of the engine behaves the same: results, streams, exceptions."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.acceptance.serving import Serving, serving, wait_until
from tests.engines.record import CALLS, CHAT, COMPLETION, FORMAT, TOOL, Recording, recordings
from tests.engines.recording import RecordingEngine, recording_engine

CHANGING = {"id", "created", "timings", "prompt_tokens_details"}
"""what differs between two calls of the same engine; `prompt_tokens_details` counts its prompt cache"""


class Pair(NamedTuple):
    """The engine, and the same engine behind Penstock."""

    direct: openai.OpenAI
    through: openai.OpenAI
    penstock: Serving


class Recorded(NamedTuple):
    """Penstock in front of an engine that keeps what it gets."""

    engine: RecordingEngine
    penstock: Serving


def client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key="some-key", max_retries=0, timeout=20)


@pytest.fixture(scope="module")
def pair(llama_engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    tables = f"""
[cache]
exact = {{ enabled = false }}
[upstreams.llama]
base_urls = ["{llama_engine}"]
[models.tiny-llama]
upstream = "llama"
max_output = 256
price = {{ input = 0.15, output = 0.60 }}
"""
    with serving(tmp_path_factory.mktemp("sdk"), tables) as penstock, client(llama_engine) as direct, client(penstock.base_url) as through:
        yield Pair(direct, through, penstock)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recording_engine() as engine:
        tables = f"""
[upstreams.engine]
base_urls = ["{engine.base_url}"]
api_key = {{ env = "ENGINE_KEY" }}
[upstreams.plain]
base_urls = ["{engine.base_url}"]
stream_usage = "off"
[models.tiny-llama]
upstream = "engine"
[models.alias]
upstream = "engine"
name = "vendor/Real-Name"
[models.plain]
upstream = "plain"
"""
        with serving(tmp_path_factory.mktemp("recorded"), tables, {"ENGINE_KEY": "upstream-secret"}) as penstock:
            yield Recorded(engine, penstock)


def plain(answer: openai.BaseModel | Any) -> Any:
    """An answer of the SDK without what changes from call to call."""
    return _without_changing(answer.model_dump(mode="json"))


def _without_changing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_changing(inner) for key, inner in value.items() if key not in CHANGING}
    return [_without_changing(inner) for inner in value] if isinstance(value, list) else value


CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "n": {"n": 2},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "schema": {"response_format": FORMAT, "max_tokens": 40},
    "tools": {"tools": [TOOL], "tool_choice": "auto"},
    "stop": {"stop": [" gate"], "max_tokens": 40},
    "unknown field": {"extra_body": {"top_k": 3, "nonsense": {"deep": [1, None, "ü"]}}},
}


@pytest.mark.engine
@pytest.mark.parametrize("more", CHATS.values(), ids=CHATS.keys())
def test_chat(pair: Pair, more: dict[str, Any]) -> None:
    direct, through = (plain(each.chat.completions.create(**CHAT | more)) for each in (pair.direct, pair.through))
    assert through == direct
    assert through["choices"][0]["message"]["content"]


@pytest.mark.engine
@pytest.mark.parametrize("more", CHATS.values(), ids=CHATS.keys())
@pytest.mark.parametrize("usage", [True, False], ids=["usage asked", "usage not asked"])
def test_chat_stream_chunk_by_chunk(pair: Pair, more: dict[str, Any], usage: bool) -> None:
    asked = {"stream": True, **({"stream_options": {"include_usage": True}} if usage else {})}
    direct, through = (list(each.chat.completions.create(**CHAT | more | asked)) for each in (pair.direct, pair.through))
    assert len(through) == len(direct)
    told = [_without_cost(plain(chunk)) for chunk in through]
    assert told == [plain(chunk) for chunk in direct]
    assert any(chunk.usage is not None for chunk in through) == usage
    assert any(choice.finish_reason for chunk in through for choice in chunk.choices)


@pytest.mark.engine
def test_cost_stands_on_the_usage_chunk_and_in_the_ledger(pair: Pair) -> None:
    with pair.through.chat.completions.with_streaming_response.create(
        **CHAT, stream=True, stream_options={"include_usage": True}
    ) as answer:
        request_id = answer.headers["penstock-request-id"]
        assert "penstock-cost-usd" not in answer.headers
        *_, last = answer.parse()
    assert isinstance(last, ChatCompletionChunk)
    assert last.choices == []
    assert last.usage is not None
    told = (last.model_extra or {})["penstock"]["cost_usd"]
    nano = last.usage.prompt_tokens * 150 + last.usage.completion_tokens * 600  # 0.15 and 0.60 USD per million
    assert told == f"0.{nano:09d}"
    record = pair.penstock.explain(request_id)
    assert (record["cost_usd"], record["tokens_basis"]) == (told, "measured")
    assert record["first_token_us"] is not None


@pytest.mark.engine
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_stream_is_measured_when_nobody_asked_for_usage(pair: Pair, endpoint: str) -> None:
    create: Any = pair.through.chat.completions if endpoint == "chat" else pair.through.completions
    body = CHAT if endpoint == "chat" else COMPLETION
    with create.with_streaming_response.create(**body, stream=True) as answer:
        request_id = answer.headers["penstock-request-id"]
        chunks = list(answer.parse())
    assert all(chunk.usage is None for chunk in chunks)
    record = pair.penstock.explain(request_id)
    assert (record["streamed"], record["tokens_basis"], record["cost_basis"]) == (True, "measured", "measured")
    tokens = record["tokens"]
    expected = (32, 4) if endpoint == "chat" else (4, 3)
    assert (tokens["uncached_input"] + tokens["cache_read"], tokens["visible_output"]) == expected


@pytest.mark.engine
def test_completions_and_embeddings(pair: Pair) -> None:
    assert plain(pair.through.completions.create(**COMPLETION)) == plain(pair.direct.completions.create(**COMPLETION))
    asked: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    through, direct = (list(each.completions.create(**COMPLETION, **asked)) for each in (pair.through, pair.direct))
    assert [_without_cost(plain(chunk)) for chunk in through] == [plain(chunk) for chunk in direct]
    for words in ("the water", ["the water", "a gate"]):
        answers = [each.embeddings.create(model="tiny-llama", input=words) for each in (pair.through, pair.direct)]
        assert plain(answers[0]) == plain(answers[1])
        assert len(answers[0].data[0].embedding) == 64


@pytest.mark.engine
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda each: each.chat.completions.create(**CHAT | {"temperature": "hot"}), openai.BadRequestError),
        (lambda each: each.chat.completions.create(**CHAT | {"messages": "none"}), openai.BadRequestError),
        (lambda each: each.chat.completions.create(**CHAT | {"temperature": "hot", "stream": True}), openai.BadRequestError),
        (lambda each: each.chat.completions.create(**CHAT | {"messages": CHAT["messages"] * 500}), openai.BadRequestError),
        (lambda each: each.embeddings.create(model="tiny-llama", input=[], encoding_format="float"), openai.BadRequestError),
    ],
    ids=["wrong type", "no messages", "streamed", "too long", "no input"],
)
def test_errors_are_those_of_the_engine(pair: Pair, call: Any, error: type[openai.APIStatusError]) -> None:
    raised = []
    for each in (pair.through, pair.direct):
        with pytest.raises(error) as caught:
            call(each)
        raised.append(caught.value)
    through, direct = raised
    assert type(through) is type(direct)
    assert (through.status_code, through.body) == (direct.status_code, direct.body)
    assert "penstock-error" not in through.response.headers, "it is the engine's error, not ours"


@pytest.mark.engine
def test_unknown_model_and_endpoint(pair: Pair) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny-llama") as caught:
        pair.through.chat.completions.create(**CHAT | {"model": "tiny-lama"})
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.response.headers["penstock-error"] == "input"
    with pytest.raises(openai.NotFoundError):
        pair.through.models.retrieve("tiny-lama")
    with pytest.raises(openai.NotFoundError):
        pair.through.post("/nothing/here", body={"model": "tiny-llama"}, cast_to=object)


@pytest.mark.engine
def test_models(pair: Pair) -> None:
    assert [model.id for model in pair.through.models.list()] == ["tiny-llama"]
    assert pair.through.models.retrieve("tiny-llama").object == "model"


@pytest.mark.engine
def test_headers_of_an_answer(pair: Pair) -> None:
    answer = pair.through.chat.completions.with_raw_response.create(**CHAT)
    parsed = answer.parse()
    assert parsed.usage is not None
    nano = parsed.usage.prompt_tokens * 150 + parsed.usage.completion_tokens * 600
    headers = {name: value for name, value in answer.headers.items() if name.startswith("penstock-")}
    request_id = headers.pop("penstock-request-id")
    assert headers == {
        "penstock-cache": "bypass",
        "penstock-cost-usd": f"0.{nano:09d}",
        "penstock-model": "tiny-llama",
        "penstock-route": "tiny-llama",
    }
    assert pair.penstock.explain(request_id)["cost_usd"] == f"0.{nano:09d}"


@pytest.mark.engine
def test_async_client(pair: Pair) -> None:
    async def ask(base_url: str) -> list[Any]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0, timeout=20) as each:
            stream = await each.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
            chunks = [_without_cost(plain(chunk)) async for chunk in stream]
            many = await asyncio.gather(*(each.chat.completions.create(**CHAT | {"max_tokens": 3 + n}) for n in range(3)))
            embedded = await each.embeddings.create(model="tiny-llama", input="the water")
            with pytest.raises(openai.BadRequestError):
                await each.chat.completions.create(**CHAT | {"temperature": "hot"})
            return [chunks, [plain(answer)["usage"] for answer in many], plain(embedded)]

    through, direct = (asyncio.run(ask(str(each.base_url))) for each in (pair.through, pair.direct))
    assert through == direct


@pytest.mark.engine
def test_several_answers_in_one_stream_are_all_paid(pair: Pair) -> None:
    """The engine tells usage answer by answer then, and each chunk holds the output of one."""
    hot = {"n": 2, "temperature": 1.5, "max_tokens": 30, "stream": True, "stream_options": {"include_usage": True}}
    with pair.through.chat.completions.with_streaming_response.create(**CHAT | hot) as answer:
        request_id = answer.headers["penstock-request-id"]
        chunks = list(answer.parse())
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    record = pair.penstock.explain(request_id)
    assert len(usages) == 2
    assert record["tokens"]["visible_output"] == sum(usage.completion_tokens for usage in usages)
    assert record["tokens"]["uncached_input"] + record["tokens"]["cache_read"] == usages[0].prompt_tokens
    assert (chunks[-1].model_extra or {})["penstock"]["cost_usd"] == record["cost_usd"]


# against an engine that keeps what it gets


GOLDEN = list(recordings())


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_recorded_bodies_of_a_real_engine_pass_byte_for_byte(recorded: Recorded, golden: Recording) -> None:
    streamed = golden.request.get("stream", False)
    reply = {"events" if streamed else "body": golden.body.decode(), "status": golden.status}
    body = {**golden.request, "reply": reply}
    answer = recorded.penstock.request("POST", f"/v1{golden.path}", body, {"penstock-cache": "no-store"})
    assert answer.status == golden.status
    assert _bytes_without_cost(answer.body) == golden.body


@pytest.mark.parametrize("golden", [golden for golden in GOLDEN if "stream" in golden.request], ids=lambda golden: golden.name)
def test_recorded_streams_lose_their_usage_only_for_whom_did_not_ask(recorded: Recorded, golden: Recording) -> None:
    body = {**golden.request, "reply": {"events": golden.body.decode()}}
    del body["stream_options"]
    answer = recorded.penstock.request("POST", f"/v1{golden.path}", body, {"penstock-cache": "no-store"})
    kept = [event for event in golden.body.split(b"\n\n") if b'"choices":[]' not in event]
    assert answer.body == b"\n\n".join(_without_usage(event) for event in kept)


def test_recorded_usage_is_metered(recorded: Recorded) -> None:
    expected = {}
    for golden in (golden for golden in GOLDEN if golden.status == 200):
        reply = {"events" if "stream" in golden.request else "body": golden.body.decode()}
        headers = {"penstock-cache": "no-store", "penstock-tag-feature": golden.name}
        recorded.penstock.request("POST", f"/v1{golden.path}", {**golden.request, "reply": reply}, headers)
        usage = _usage(golden.body)
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        expected[golden.name] = (usage["prompt_tokens"] - cached, cached, 0, usage.get("completion_tokens", 0), 0)
    report = recorded.penstock.cost("--by", "feature")
    rows = {row["feature"]: row for row in report["rows"] if row["feature"] is not None}
    assert {name: tuple(row["tokens"].values()) for name, row in rows.items()} == expected
    assert {(row["estimated_requests"], row["cost_usd"]) for row in rows.values()} == {(0, None)}, "no price: unknown, not 0"


def test_the_recordings_are_whole() -> None:
    assert {golden.name for golden in GOLDEN} == set(CALLS)


ODD = (
    b'{ "model" : "%b",\n\t"messages":[{"role":"user","content":"caf\\u00e9 \xf0\x9f\x92\xa7 \\"model\\": \\"x\\""}],'
    b' "seed": 12345678901234567890, "x_float": 1.10e+2, "nested": {"model": "inner", "stream_options": null},'
    b'  "temperature":0.70 , "reply":{}, "metadata": {"team":"a"} }'
)


def test_a_body_reaches_the_upstream_byte_for_byte(recorded: Recorded) -> None:
    assert recorded.penstock.request("POST", "/v1/chat/completions", ODD % b"tiny-llama").status == 200
    assert recorded.engine.last.body == ODD % b"tiny-llama"


def test_only_the_model_name_is_spliced(recorded: Recorded) -> None:
    assert recorded.penstock.request("POST", "/v1/chat/completions", ODD % b"alias").status == 200
    assert recorded.engine.last.body == ODD % b"vendor/Real-Name"


@pytest.mark.parametrize("options", [None, b'{"include_usage":false}', b'{"include_obfuscation":false}', b"null"])
def test_only_stream_options_are_spliced(recorded: Recorded, options: bytes | None) -> None:
    end = b"}" if options is None else b', "stream_options":%b}' % options
    body = (ODD % b"tiny-llama").rstrip(b" }") + b'}, "stream":true' + end
    assert recorded.penstock.request("POST", "/v1/chat/completions", body, {"penstock-cache": "no-store"}).status == 200
    came = recorded.engine.last.body
    given, got = json.loads(body), json.loads(came)
    wanted = {**(given.pop("stream_options", None) or {}), "include_usage": True}
    assert got.pop("stream_options") == wanted
    assert got == given
    assert b'"content":"caf\\u00e9 \xf0\x9f\x92\xa7 \\"model\\": \\"x\\""' in came
    assert b'"seed": 12345678901234567890, "x_float": 1.10e+2' in came


def test_streams_are_left_alone_where_the_engine_refuses_stream_options(recorded: Recorded) -> None:
    body = (ODD % b"plain").rstrip(b" }") + b'}, "stream":true}'
    answer = recorded.penstock.request("POST", "/v1/chat/completions", body, {"penstock-cache": "no-store"})
    assert recorded.engine.last.body == body
    record = recorded.penstock.explain(answer.headers["penstock-request-id"])
    assert (record["tokens_basis"], record["tokens"]["visible_output"]) == ("estimated", 4), "never below its text at four bytes a token"


def test_a_client_that_stops_listening_is_a_record_too(recorded: Recorded) -> None:
    with client(recorded.penstock.base_url) as each:
        slow = {"reply": {"pause_s": 20}, "stream": True}
        with each.chat.completions.with_streaming_response.create(
            model="tiny-llama", messages=[{"role": "user", "content": "q" * 40}], extra_body=slow
        ) as answer:
            request_id = answer.headers["penstock-request-id"]
            assert any("three" in line for line in answer.iter_lines()), "the end is still to come"
    wait_until(lambda: recorded.penstock.command("explain", request_id).returncode == 0, "the record to be there")
    record = recorded.penstock.explain(request_id)
    assert (record["outcome"], record["status"], record["tokens_basis"]) == ("client_closed", 499, "estimated")
    assert record["tokens"]["uncached_input"] >= 10, "40 bytes at four bytes a token"
    assert record["tokens"]["visible_output"] == 4, "what was streamed until then has been made, and is paid for"


def test_keys_of_clients_are_not_forwarded(recorded: Recorded) -> None:
    secrets = {"authorization": "Bearer client-secret", "x-api-key": "client-secret", "cookie": "a=client-secret"}
    more = {"penstock-tag-team": "a", "x-custom": "kept", "openai-organization": "kept-too"}
    recorded.penstock.chat("tiny-llama", headers=secrets | more, question="keys")
    headers = dict(recorded.engine.last.headers)
    assert headers[b"authorization"] == b"Bearer upstream-secret"
    assert (headers[b"x-custom"], headers[b"openai-organization"]) == (b"kept", b"kept-too")
    assert b"client-secret" not in b" ".join(headers.values())
    assert not [name for name in headers if name.startswith(b"penstock-")]


def _without_cost(chunk: Any) -> Any:
    return {key: value for key, value in chunk.items() if key != "penstock"}


def _bytes_without_cost(body: bytes) -> bytes:
    return body.replace(b',"penstock":{"cost_usd":null}', b"")


def _without_usage(event: bytes) -> bytes:
    """The event less its member `usage`, an object of one level of nesting."""
    return re.sub(rb',"usage":\{[^{}]*(\{[^{}]*\})?[^{}]*\}', b"", event)


def _usage(body: bytes) -> dict[str, Any]:
    """The usage of a whole answer, or of the chunk that carries it."""
    texts = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if b'"usage"' in event]
    usage: dict[str, Any] = json.loads(texts[-1])["usage"]
    return usage
