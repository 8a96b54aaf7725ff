"""Refusals in the envelope that the client's SDK reads, and a clear word to clients that mix dialects."""

from typing import Any

import orjson
import pytest

from penstock.ports.key_store import ApiKey, fingerprint
from penstock.wire.connection import Limits
from tests.integration.dialect_bodies import MESSAGE, PATHS, body, config
from tests.integration.gateway_rig import Reply, chat_body, on_loop, rig
from tests.integration.upstream_rig import answer, completion, dead_url, scripted

SDK = {"anthropic-version": "2023-06-01"}
TOOL = {"type": "object", "properties": {}}


def anthropic_error(reply: Reply) -> dict[str, Any]:
    """Anthropic's error, checked for its shape."""
    told = reply.json
    assert told["type"] == "error" and set(told["error"]) >= {"type", "message"}, told
    error: dict[str, Any] = told["error"]
    return error


KEY = ApiKey(id="key_1", prefix="psk_kn", sha256=fingerprint("psk_known"), tags={}, created_ns=0, models=("other",))


@on_loop
async def test_our_refusals_of_messages_are_anthropics() -> None:
    tables = config(dead_url(), "anthropic") + "\n[auth]\nrequired = true\n"
    async with rig(tables, keys=[KEY], limits=Limits(max_body=2000)) as running:
        known = {"x-api-key": "psk_known"}
        cases: list[tuple[dict[str, str], bytes, int, str]] = [
            ({}, orjson.dumps(body("messages")), 401, "authentication_error"),
            ({"x-api-key": "psk_unknown"}, orjson.dumps(body("messages")), 401, "authentication_error"),
            (known, orjson.dumps(body("messages")), 403, "permission_error"),
            (known, b"{", 400, "invalid_request_error"),
            (known, b"x" * 3000, 413, "request_too_large"),
        ]
        for headers, sent, status, kind in cases:
            reply = await running.ask("POST", "/v1/messages", sent, headers)
            assert (reply.status, anthropic_error(reply)["type"]) == (status, kind)
            assert reply.headers["penstock-error"] in ("auth", "input") or status == 413
        reply = await running.ask("GET", "/v1/messages")
        assert (reply.status, anthropic_error(reply)["type"]) == (405, "invalid_request_error")


@on_loop
async def test_unknown_models_and_dead_upstreams_in_both_envelopes() -> None:
    async with rig(config(dead_url(), "anthropic")) as running:
        for path in ("/v1/messages", "/v1/messages/count_tokens"):
            reply = await running.ask("POST", path, orjson.dumps({**body("messages"), "model": "n"}))
            assert (reply.status, anthropic_error(reply)["type"]) == (404, "not_found_error")
            assert anthropic_error(reply)["param"] == "model"
        reply = await running.ask("POST", "/v1/messages", orjson.dumps(body("messages")))
        assert (reply.status, anthropic_error(reply)["type"]) == (502, "api_error")
        reply = await running.ask("POST", "/v1/responses", orjson.dumps(body("responses")))
        assert (reply.status, reply.error["type"]) == (502, "upstream_error")


@on_loop
async def test_models_are_listed_as_the_sdk_expects() -> None:
    tables = config(dead_url(), rest='[models.other]\nupstream = "main"')
    async with rig(tables) as running:
        assert (await running.ask("GET", "/v1/models")).json["object"] == "list"
        listed = (await running.ask("GET", "/v1/models?limit=20", headers=SDK)).json
        assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "m", "other")
        one = (await running.ask("GET", "/v1/models/m", headers=SDK)).json
        assert one == listed["data"][0] and (one["type"], one["display_name"]) == ("model", "m")
        missing = await running.ask("GET", "/v1/models/n", headers=SDK)
        assert (missing.status, anthropic_error(missing)["type"]) == (404, "not_found_error")


CHAT, RESPONSES, MESSAGES = PATHS["chat.completions"], PATHS["responses"], PATHS["messages"]
PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}
SPEAKS_ALL = 'speaks = ["chat","responses","messages"]'
QUESTION = [{"role": "user", "content": "hi"}]
MIXED: list[tuple[str, dict[str, Any], str, str]] = [
    (CHAT, {"system": "be short"}, "system", MESSAGES),
    (CHAT, {"stop_sequences": ["x"]}, "stop_sequences", MESSAGES),
    (CHAT, {"tools": [{"name": "a", "input_schema": TOOL}]}, "tools[0].input_schema", MESSAGES),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]}, "messages[0].content[0]", MESSAGES),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0]", MESSAGES),
    (CHAT, {"messages": [{"role": "assistant", "content": [{"type": "thinking", "signature": "a"}]}]}, "messages[0].content[0]", MESSAGES),
    (CHAT, {"messages": None, "input": "hi"}, "input", RESPONSES),
    (MESSAGES, {"max_completion_tokens": 5}, "max_completion_tokens", CHAT),
    (MESSAGES, {"response_format": {"type": "json_object"}}, "response_format", CHAT),
    (MESSAGES, {"tools": [{"type": "function", "function": {"name": "a"}}]}, "tools[0].function", CHAT),
    (MESSAGES, {"messages": [*QUESTION, {"role": "tool", "content": "x"}]}, "messages[1].role", CHAT),
    (MESSAGES, {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "messages[0].tool_calls", CHAT),
    (
        MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].image_url",
        CHAT,
    ),
    (MESSAGES, {"messages": None, "input": "hi"}, "input", RESPONSES),
    (RESPONSES, {}, "messages", CHAT),
    (RESPONSES, {"system": "be short"}, "messages", MESSAGES),
]


@pytest.mark.parametrize(("path", "more", "field", "right"), MIXED)
@on_loop
async def test_a_client_that_mixes_dialects_is_told_where_to_go(path: str, more: dict[str, Any], field: str, right: str) -> None:
    async with scripted(answer(MESSAGE)) as upstream, rig(config(upstream.url, more=SPEAKS_ALL)) as running:
        reply = await running.ask("POST", path, orjson.dumps({"model": "m", "messages": QUESTION, **more}))
        error = anthropic_error(reply) if path == MESSAGES else reply.error
        assert (reply.status, error["param"], error["code"]) == (400, field, "wrong_dialect")
        assert f"`{field}`" in error["message"] and right in error["message"]
        assert (upstream.asked, running.record.outcome) == ([], "refused")


HARMLESS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"thinking": {"type": "enabled"}, "top_k": 3, "max_tokens": 4}),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    ),
    (CHAT, {"messages": [1, None, {"content": [1, "x", {"type": 3}]}], "tools": [1]}),
    (CHAT, {"system": None, "stop_sequences": None, "messages": [{"role": "developer", "content": "be short"}, *QUESTION]}),
    (CHAT, {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}]}),
    (MESSAGES, {"system": [{"type": "text", "text": "be short"}], "tools": [{"type": "computer_20250124", "name": "computer"}]}),
    (MESSAGES, {"tools": [{"type": "custom", "name": "a", "input_schema": TOOL}], "response_format": None}),
    (MESSAGES, {"messages": [{"role": "assistant", "content": "x", "tool_calls": None}, *QUESTION]}),
    (MESSAGES, {"messages": [{"role": "system", "content": "be short"}, *QUESTION], "stop": ["x"]}),
    (MESSAGES, {"messages": [1, {"role": 2, "content": [3]}], "tools": "none"}),
    (RESPONSES, {"messages": [], "input": "hi"}),
]


@pytest.mark.parametrize(("path", "more"), HARMLESS)
@on_loop
async def test_unknown_fields_pass_untouched(path: str, more: dict[str, Any]) -> None:
    sent = orjson.dumps({"model": "m", "messages": QUESTION, **more})
    async with (
        scripted(answer(completion())) as upstream,
        rig(config(upstream.url, more=SPEAKS_ALL)) as running,
    ):
        assert (await running.ask("POST", path, sent)).status == 200
        assert upstream.asked[0].body == sent.replace(b'"m"', b'"real-m"', 1)


@on_loop
async def test_the_wire_refuses_in_the_right_envelope() -> None:
    async with rig(config(dead_url())) as running:
        bad = await running.raw(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n")
        assert bad.status == 400
        long = await running.raw(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n")
        assert (long.status, anthropic_error(long)["type"]) == (413, "request_too_large")
        plain = await running.ask("POST", "/v1/nothing", chat_body(model="n"), SDK)
        assert (plain.status, anthropic_error(plain)["type"]) == (404, "not_found_error")
