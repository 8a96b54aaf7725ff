"""Against a real engine: what it says natively passes through as it is, and a translation says the same with the same tokens."""

import json
import re
import urllib.request
from typing import Any

import pytest

from tests.integration.dialect_bodies import PATHS, config, said
from tests.integration.gateway_rig import Reply, on_loop, rig

pytestmark = pytest.mark.engine
ALL = ("chat", "responses", "messages")
WORDS = {"chat.completions": "chat", "responses": "responses", "messages": "messages"}
CHANGING = rb'"(id|item_id|created_at|completed_at|created)":("[^"]*"|\d+)|"timings":\{[^}]*\}|,"penstock":\{[^}]*\}'


def question(dialect: str, streamed: bool) -> dict[str, Any]:
    """A greedy call, so that every answer is the same."""
    asked: dict[str, Any] = {"model": "tiny-llama", "temperature": 0, "stream": streamed}
    text = "what does the gate do?"
    if dialect == "responses":
        return {**asked, "max_output_tokens": 4, "input": text}
    more = {"stream_options": {"include_usage": True}} if streamed and dialect == "chat.completions" else {}
    return {**asked, "max_tokens": 4, "messages": [{"role": "user", "content": text}], **more}


def tables(url: str, *speaks: str) -> str:
    told = config(url, more=f"speaks = {json.dumps(speaks)}").replace("[models.m]", "[models.tiny-llama]").replace('name = "real-m"', "")
    return told + "\n[cache]\nexact = { enabled = false }\n"


def direct(url: str, dialect: str, streamed: bool) -> bytes:
    body = json.dumps(question(dialect, streamed)).encode()
    call = urllib.request.Request(url.removesuffix("/v1") + PATHS[dialect], body, {"content-type": "application/json"})
    with urllib.request.urlopen(call) as came:
        told: bytes = came.read()
        return told


def steady(body: bytes) -> bytes:
    """A body without what differs from call to call; the counts of the engine's prompt cache are added up."""
    bare = re.sub(CHANGING, b"", body)
    bare = re.sub(rb'"cache_read_input_tokens":\d+,"input_tokens":\d+', b"", bare)
    return re.sub(rb'"cached_tokens":\d+', b"", bare)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", PATHS)
def test_native_answers_pass_as_they_are(llama_engine: str, dialect: str, streamed: bool) -> None:
    expected = direct(llama_engine, dialect, streamed)

    @on_loop
    async def ask() -> None:
        async with rig(tables(llama_engine, *ALL)) as running:
            reply = await running.ask("POST", PATHS[dialect], json.dumps(question(dialect, streamed)).encode())
            assert reply.whole and steady(reply.body) == steady(expected)
            record = running.record
            assert (record.tokens.input, record.tokens.output, record.tokens_basis) == (32, 4, "measured")
            assert (record.upstream_endpoint, record.outcome) == (None, "ok")

    ask()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoken", WORDS.values())
@pytest.mark.parametrize("dialect", PATHS)
def test_translations_say_the_same(llama_engine: str, dialect: str, spoken: str, streamed: bool) -> None:
    @on_loop
    async def ask() -> None:
        replies: list[Reply] = []
        for speaks in ((spoken,), ALL):
            async with rig(tables(llama_engine, *speaks)) as running:
                replies.append(await running.ask("POST", PATHS[dialect], json.dumps(question(dialect, streamed)).encode()))
                record = running.record
                assert (record.tokens.input, record.tokens.output, record.tokens_basis) == (32, 4, "measured"), replies[-1].body
        translated, native = replies
        assert translated.whole and said(dialect, translated) == said(dialect, native) != ""

    ask()


@pytest.mark.parametrize("dialect", PATHS)
def test_errors_of_the_engine_in_the_clients_envelope(llama_engine: str, dialect: str) -> None:
    @on_loop
    async def ask() -> None:
        for spoken in ALL:
            async with rig(tables(llama_engine, spoken)) as running:
                long = json.dumps(question(dialect, False)).replace("what", "what " * 5000).encode()
                reply = await running.ask("POST", PATHS[dialect], long)
                assert reply.status == 400 and running.record.outcome == "error"
                error = reply.json["error"]
                assert "context" in error["message"]
                assert (reply.json.get("type") == "error") is (dialect == "messages" and spoken != "messages")

    ask()


def test_tokens_are_counted_at_no_cost(llama_engine: str) -> None:
    @on_loop
    async def ask() -> None:
        async with rig(tables(llama_engine, *ALL)) as running:
            body = json.dumps({"model": "tiny-llama", "messages": [{"role": "user", "content": "what does the gate do?"}]}).encode()
            reply = await running.ask("POST", "/v1/messages/count_tokens", body)
            assert (reply.json, running.record.cost) == ({"input_tokens": 32}, 0)

    ask()
