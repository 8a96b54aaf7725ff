"""What clients can get wrong: each mistake gets an error that an SDK understands, one record (or none, where there was no request)."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from tests.integration.gateway_rig import Reply, Rig, chat_body, message, on_loop, one_upstream, rig
from tests.integration.upstream_rig import Scripted, answer, completion, hanging, scripted, simulated, stream, stream_events

DEEP = 100_000
TAGS = '[tags]\nrequired = ["team"]\nallowed = { sla = ["critical", "standard"] }'


def check_refused(reply: Reply, running: Rig, status: int, category: str = "input") -> None:
    """An OpenAI-shaped refusal of ours, on one record that cost nothing."""
    assert reply.whole and reply.status == status, reply
    assert reply.headers["penstock-error"] == category
    assert reply.headers["penstock-request-id"] == running.last.id
    assert reply.error["message"]
    assert (running.record.outcome, running.record.status, running.record.cost) == ("refused", status, 0)
    assert running.record.attempts == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b'{"model":"m"',
        b'{"model":"m",}',
        b"{'model':'m'}",
        b'{"model":"m","n":NaN}',
        b'{"model":"m","n":Infinity}',
        b'{"model":"m","max_tokens":1e400}',
        b'{"model":"m","x":"\xff\xfe"}',
        b'{"model":"m","x":"\\ud800"}',
        b"\xef\xbb\xbf" + chat_body(),
        chat_body() + b"trailing",
        b'{"model":"m","x":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b"[" * DEEP,
        b"\x00" * 1000,
        b"--boundary\r\ncontent-disposition: form-data\r\n\r\n",
    ],
    ids=lambda body: repr(body[:24]),
)
@on_loop
async def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.ask("POST", "/v1/chat/completions", body)
        check_refused(reply, running, 400)
        assert upstream.asked == []


@pytest.mark.parametrize(
    ("model", "status"),
    [(5, 400), ([], 400), ({}, 400), (None, 400), (True, 400), ("", 404), ("M", 404), ("mm", 404), ("x" * 5_000_000, 404), ("m\n", 404)],
    ids=lambda value: repr(value)[:12],
)
@on_loop
async def test_a_model_that_is_not_there_is_refused(model: object, status: int) -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat(model=model)
        check_refused(reply, running, status)
        assert reply.error["param"] == "model" and ("`m`" in reply.error["message"] or status == 400)
        assert len(reply.body) < 1000 and running.record.model is None


@on_loop
async def test_an_unknown_model_is_told_its_nearest_names() -> None:
    more = '[models.llama-8b]\nupstream = "main"\n[models.gpt-4o]\nupstream = "main"'
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=more)) as running:
        reply = await running.chat(model="lama-8b")
        check_refused(reply, running, 404)
        assert reply.error["code"] == "model_not_found"
        assert "`llama-8b`" in reply.error["message"] and "gpt-4o" not in reply.error["message"]
        assert running.record.requested_model == "lama-8b"


ODD_FIELDS: list[dict[str, Any]] = [
    {"messages": 5},
    {"messages": [5, None, "x", [], {"content": 7}, {"role": {}, "content": [1, {"type": 3}, {"type": "image_url", "image_url": 4}]}]},
    {"messages": {}},
    {"stream": "yes"},
    {"stream": 1},
    {"stream_options": 5},
    {"stream": True, "stream_options": 5},
    {"stream": True, "stream_options": []},
    {"stream": True, "stream_options": {"include_usage": "yes"}},
    {"metadata": 3},
    {"metadata": []},
    {"metadata": {"": "x", "a": None, "b": [], "c": 1.5, "d": 10**30}},
    {"user": 7},
    {"user": "u" * 100_000},
    {"metadata": {"long": "v" * 100_000}},
    {"n": -1},
    {"n": 0},
    {"n": True},
    {"n": "two"},
    {"max_tokens": -5},
    {"max_tokens": 2**63},
    {"max_tokens": 2**64 - 1, "n": 10_000},
    {"max_tokens": 10**300},
    {"max_tokens": "many"},
    {"tools": 5},
    {"tools": [5, {}]},
    {"tools": {}, "functions": 3},
    {"service_tier": []},
    {"prompt": {}, "input": [[]], "modalities": 4},
]


@pytest.mark.parametrize("fields", ODD_FIELDS, ids=lambda fields: repr(fields)[:48])
@on_loop
async def test_fields_of_the_wrong_type_are_the_upstreams_business(fields: dict[str, Any]) -> None:
    refusal = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}
    routes = '[tiers]\nsmall = { model = "m" }\n[routes.auto]\nstrategy = "by_complexity"\ntiers = ["small"]'
    async with scripted(answer(refusal, 422)) as upstream, rig(one_upstream(upstream.url, more=routes)) as running:
        for model in ("m", "auto"):
            for path, endpoint in (("chat/completions", "chat.completions"), ("completions", "completions"), ("embeddings", "embeddings")):
                reply = await running.ask("POST", f"/v1/{path}", chat_body(model=model, **fields))
                assert (reply.status, reply.json) == (422, refusal)
                assert (running.last.outcome, running.last.status, running.last.endpoint) == ("error", 422, endpoint)
                assert running.last.cost == 0
        assert len(running.records) == len(upstream.asked) == 6
        assert all(len(value) <= 512 for value in running.last.tags.values())


@on_loop
async def test_a_key_that_stands_twice_is_renamed_twice() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        body = b'{"model":"other","messages":[],"model":"m"}'
        assert (await running.ask("POST", "/v1/chat/completions", body)).status == 200
        assert upstream.asked[0].body == b'{"model":"real-m","messages":[],"model":"real-m"}'
        assert running.record.model == "m"


@on_loop
async def test_a_model_spelled_with_escapes_is_renamed_all_the_same() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        assert (await running.ask("POST", "/v1/chat/completions", b'{"mod\\u0065l":"\\u006d","messages":[]}')).status == 200
        assert upstream.asked[0].json["model"] == "real-m"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "Deflate"])
@on_loop
async def test_a_compressed_body_is_refused_with_a_hint(encoding: str) -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        body = gzip.compress(chat_body())
        reply = await running.ask("POST", "/v1/chat/completions", body, {"content-encoding": encoding})
        check_refused(reply, running, 415)
        assert encoding in reply.error["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin-1"])
@on_loop
async def test_json_is_read_whatever_the_content_type_says(content_type: str) -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.ask("POST", "/v1/chat/completions", chat_body(), {"content-type": content_type})
        assert reply.status == 200 and running.record.outcome == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/embeddings", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/models/mm", 404),
        ("GET", "/v1/../admin", 404),
        ("GET", "/v1/files/%2e%2e/%2E%2E/admin", 404),
        ("GET", "/nothing", 404),
        ("GET", "/v1", 404),
        ("POST", "/", 404),
    ],
)
@on_loop
async def test_an_address_that_is_not_there_is_refused_without_a_record(method: str, path: str, status: int) -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.ask(method, path, chat_body() if method != "GET" else b"")
        assert reply.status == status and reply.headers["penstock-error"] == "input" and reply.error["message"]
        assert status != 405 or reply.headers["allow"] in ("POST", "GET")
        assert running.records == [] and upstream.asked == []


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "team"),
        ({"penstock-tag-team": ""}, "team"),
        ({"penstock-tag-team": "a", "penstock-tag-sla": "criticle"}, "Did you mean `critical`"),
        ({"penstock-tag-team": "a", "penstock-tag-sla-tier": "x"}, "Allowed: critical, standard"),
        ({"penstock-tag-team": "a" * 600}, "too long"),
        ({"penstock-tag-team": "a", "penstock-tag-" + "n" * 65: "v"}, "too long"),
        ({"penstock-tag-team": "a", "penstock-tag-": "v"}, "no name"),
        ({"penstock-tag-team": "a", **{f"penstock-tag-t{number}": "v" for number in range(32)}}, "33 tags"),
    ],
)
@on_loop
async def test_tags_that_break_the_rules_are_refused(headers: dict[str, str], told: str) -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=TAGS)) as running:
        reply = await running.chat(headers=headers)
        check_refused(reply, running, 400)
        assert told in reply.error["message"]


@on_loop
async def test_tags_may_hold_any_text() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=TAGS)) as running:
        head = b"POST /v1/chat/completions HTTP/1.1\r\npenstock-tag-team: %b\r\nPenstock-Tag-Cost-Center: \xff\xfe\r\n"
        body = chat_body(metadata={"feature": "zażółć", "n": 3, "on": True, "long": "v" * 512})
        reply = await running.raw(head % "größe".encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert reply.status == 200
        assert running.record.tags == {
            "team": "größe", "cost_center": "��", "feature": "zażółć", "n": "3", "on": "true", "long": "v" * 512
        }  # fmt: skip
        assert not [name for name in upstream.asked[0].headers if name.startswith("penstock-")]


@pytest.mark.parametrize("declared", [True, False])
@on_loop
async def test_a_body_that_is_too_large_is_refused_in_our_words(declared: bool) -> None:
    async with simulated() as url, rig(one_upstream(url, server='max_body = "1 kB"')) as running:
        if declared:
            reply = await running.chat("x" * 1000)
        else:
            head = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
            reply = await running.raw(head + b"800\r\n" + b"x" * 0x800 + b"\r\n")
        assert reply.status == 413 and reply.headers["penstock-error"] == "input" and "max_body" in reply.error["message"]
        assert running.records == []
        assert (await running.chat("x")).status == 200


@on_loop
async def test_every_cut_of_a_request_leaves_nothing_behind() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, server="max_in_flight = 2")) as running:
        whole = message("POST", "/v1/chat/completions", chat_body())
        for cut in range(len(whole)):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(whole[:cut])
            await writer.drain()
            writer.transport.abort()
        await running.settled()
        assert (await running.chat()).status == 200
        assert len(running.records) == len(upstream.asked) == 1


@on_loop
async def test_a_request_that_comes_byte_by_byte_is_served() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url)) as running:
        whole = message("POST", "/v1/chat/completions", chat_body())
        reply = await running.raw(*(whole[at : at + 1] for at in range(len(whole))))
        assert reply.status == 200 and running.record.outcome == "ok"


async def _leave_after(running: Rig, upstream: Scripted, request: bytes, size: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(request)
    if size:
        await reader.readexactly(size)
    else:
        while not upstream.asked:
            await asyncio.sleep(0.001)
    writer.transport.abort()


@pytest.mark.parametrize("streamed", [True, False])
@on_loop
async def test_a_client_that_leaves_at_any_byte_of_the_answer_has_one_record(streamed: bool) -> None:
    script = stream(stream_events()) if streamed else answer(completion())
    async with scripted(script) as upstream, rig(one_upstream(upstream.url, more="[cache]\nexact = { enabled = false }")) as running:
        request = message("POST", "/v1/chat/completions", chat_body(stream=streamed))
        for count, size in enumerate(range(0, 400, 7), 1):
            upstream.asked.clear()
            await _leave_after(running, upstream, request, size)
            await running.settled()
            while len(running.records) < count:
                await asyncio.sleep(0.001)
            assert len(running.records) == count
            assert running.last.outcome in ("ok", "client_closed")
            assert running.last.cost


@on_loop
async def test_a_client_that_leaves_before_the_answer_frees_the_upstream() -> None:
    async with scripted(hanging()) as upstream, rig(one_upstream(upstream.url)) as running:
        await _leave_after(running, upstream, message("POST", "/v1/chat/completions", chat_body()), 0)
        await asyncio.wait_for(upstream.left.wait(), 5)
        await running.settled()
        record = running.record
        assert (record.outcome, record.status, record.tokens_basis, record.cost_basis) == ("client_closed", 499, "estimated", "estimated")
        assert record.tokens.input > 0 and len(upstream.asked) == 1


@on_loop
async def test_a_paused_head_is_refused_in_our_words() -> None:
    from penstock.wire.connection import Limits

    async with simulated() as url, rig(one_upstream(url), limits=Limits(header_timeout_s=0.05, body_timeout_s=0.05)) as running:
        whole = message("POST", "/v1/chat/completions", chat_body())
        for cut in (20, len(whole) - 5):
            reply = await running.raw(whole[:cut])
            assert reply.status == 408 and reply.headers["penstock-error"] == "input" and reply.error["message"]
        assert running.records == []


@on_loop
async def test_a_path_cannot_smuggle_lines_into_the_upstream_or_the_answer() -> None:
    async with scripted(answer({"data": []})) as upstream, rig(one_upstream(upstream.url)) as running:
        path = b"/v1/files/%0d%0ax-evil:%20yes%20HTTP/1.1%0d%0a%0d%0a%c3%a9%00?q=%0d%0a%c3"
        reply = await running.raw(b"GET " + path + b" HTTP/1.1\r\n\r\n")
        assert reply.status == 200 and "x-evil" not in reply.headers
        (asked,) = upstream.asked
        assert "x-evil" not in asked.headers
        assert asked.path.startswith("/v1/files/%0D%0Ax-evil:%20yes") and asked.path.endswith("?q=%0d%0a%c3")
        assert running.record.endpoint.isprintable()


@on_loop
async def test_nearest_names_of_a_huge_name_do_not_stop_the_loop() -> None:
    async with simulated() as url, rig(one_upstream(url)) as running:
        started = asyncio.get_running_loop().time()
        names = [orjson.dumps({"model": "m" * 9_000_000})] * 2
        assert {(await running.ask("POST", "/v1/embeddings", name)).status for name in names} == {404}
        assert asyncio.get_running_loop().time() - started < 2
