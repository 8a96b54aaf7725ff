"""Who may ask for what, and who may see it: keys, tags, rules, routes by complexity, limits, and calls that are passed through."""

import asyncio
import time
from typing import Any

import msgspec
import orjson
import pytest

from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.gateway_rig import Rig, on_loop, one_upstream, rig
from tests.integration.upstream_rig import Scripted, answer, completion, hanging, resetting, scripted, stream, stream_events

REQUIRED = "[auth]\nrequired = true"
GOOD = answer(completion())


def key(name: str, **more: Any) -> ApiKey:
    """A key whose secret is `psk_<name>`."""
    return ApiKey(id=f"key_{name}", prefix=f"psk_{name[:4]}", sha256=fingerprint(f"psk_{name}"), created_ns=1, **more)


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer psk_{name}"}


# keys


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Basic psk_ann"},
        {"authorization": "Bearer sk-other"},
        bearer("bob"),
        {"x-api-key": "x"},
    ],
)
@on_loop
async def test_without_a_valid_key_nothing_is_answered_where_keys_are_required(headers: dict[str, str]) -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=REQUIRED), keys=[key("ann")]) as running:
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/files"), ("GET", "/v1/models"), ("GET", "/v1/models/m")):
            reply = await running.ask(method, path, b"{}" if method == "POST" else b"", headers)
            assert (reply.status, reply.headers["penstock-error"]) == (401, "auth") and reply.error["type"] == "authentication_error"
        assert upstream.asked == []
        assert {(record.outcome, record.status, record.key_id, record.cost) for record in running.records} == {("refused", 401, None, 0)}
        assert (await running.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("headers", [bearer("ann"), {"authorization": "bearer  psk_ann "}, {"x-api-key": "psk_ann"}])
@on_loop
async def test_a_valid_key_opens_the_door_and_stays_here(headers: dict[str, str]) -> None:
    upstream_key = 'api_key = { env = "UP" }'
    async with scripted(GOOD) as upstream:
        config = one_upstream(upstream.url, more=REQUIRED, upstream=upstream_key)
        async with rig(config, keys=[key("ann", tags={"team": "search"})], environ={"UP": "sk-upstream"}) as running:
            more = {"cookie": "session=psk_ann", "api-key": "psk_ann", "proxy-authorization": "psk_ann"}
            assert (await running.chat(headers={**headers, **more})).status == 200
            assert running.record.key_id == "key_ann" and running.record.tags == {"team": "search"}
            assert upstream.asked[0].headers["authorization"] == "Bearer sk-upstream"
            assert "psk_ann" not in repr(upstream.asked) and "psk_ann" not in repr(running.records) and "psk_ann" not in repr(running.log)
            assert "psk_ann" not in repr(running.journal.reservations)
            reply = await running.chat(headers={"authorization": "Bearer psk_anna"})
            assert b"psk_anna" not in reply.body and "psk_anna" not in repr(running.records)


@on_loop
async def test_an_expired_key_is_refused_from_its_instant_on() -> None:
    keys = [key("old", expires_ns=time.time_ns() - 1), key("new", expires_ns=time.time_ns() + 10**12)]
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=REQUIRED), keys=keys) as running:
        assert (await running.chat(headers=bearer("old"))).status == 401
        assert (await running.chat(headers=bearer("new"))).status == 200


@on_loop
async def test_a_revoked_key_is_refused_after_the_next_refresh() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=REQUIRED), keys=[key("ann")]) as running:
        assert (await running.chat(headers=bearer("ann"))).status == 200
        running.keys[0] = msgspec.structs.replace(running.keys[0], revoked_ns=time.time_ns())
        await running.gateway.keys.refresh()
        assert (await running.chat(headers=bearer("ann"))).status == 401


@on_loop
async def test_a_revoked_key_is_refused_even_where_none_is_needed() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url), keys=[key("ann", revoked_ns=1)]) as running:
        assert (await running.chat(headers=bearer("ann"))).status == 401
        assert (await running.chat(headers={"authorization": "Bearer sk-of-another-system"})).status == 200
        assert running.last.key_id is None


@on_loop
async def test_the_tags_of_a_key_cannot_be_overridden() -> None:
    bound = key("ann", tags={"team": "search", "data": "restricted"})
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url), keys=[bound]) as running:
        headers = {**bearer("ann"), "penstock-tag-team": "sales", "Penstock-Tag-DATA": "open", "penstock-tag-feature": "chat"}
        await running.chat(headers=headers, metadata={"team": "x", "Data": "x", "feature": "body", "user": "u2"}, user="u1")
        assert running.record.tags == {"team": "search", "data": "restricted", "feature": "chat", "user": "u2"}


@on_loop
async def test_a_key_may_be_for_certain_models_only() -> None:
    more = f'{REQUIRED}\n[models.dear]\nupstream = "main"'
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=more), keys=[key("ann", models=("m",))]) as running:
        assert (await running.chat(headers=bearer("ann"))).status == 200
        reply = await running.chat(headers=bearer("ann"), model="dear")
        assert (reply.status, reply.headers["penstock-error"]) == (403, "auth")
        assert (running.last.outcome, running.last.requested_model) == ("refused", "dear")
        form = {**bearer("ann"), "content-type": "multipart/form-data; boundary=b"}
        for headers in (form, {**bearer("ann"), "content-type": "Application/JSON"}):
            reply = await running.ask("POST", "/v1/images/generations", b'{"prompt":"cat"}', headers)
            assert (reply.status, reply.headers["penstock-error"]) == (403, "auth"), "no way round by calls that name no model"
        listed = await running.ask("GET", "/v1/models", headers=bearer("ann"))
        assert [model["id"] for model in listed.json["data"]] == ["m"]
        assert (await running.ask("GET", "/v1/models/dear", headers=bearer("ann"))).status == 404
        assert len(upstream.asked) == 1


# rules


def two(inside: Scripted, outside: Scripted, more: str = "") -> str:
    """A route from outside (cheap) to inside (dear), restricted data inside only."""
    return f"""
version = 1
[upstreams.inside]
base_urls = ["{inside.url}"]
retries = 0
[upstreams.outside]
base_urls = ["{outside.url}"]
retries = 0
[models.in]
upstream = "inside"
[models.out]
upstream = "outside"
[tiers]
small = {{ model = "out" }}
large = {{ model = "in", complexity = "> 0.5" }}
[routes.auto]
tiers = ["small"]
fallback = ["large"]
[routes.inward]
tiers = ["large"]
fallback = ["small"]
[routes.smart]
strategy = "by_complexity"
tiers = ["small", "large"]
[[rules]]
where = {{ data = "restricted" }}
only = ["inside"]
[[rules]]
where = {{ data = "secret" }}
only = []
{more}
"""


RESTRICTED = {"penstock-tag-data": "restricted"}


@on_loop
async def test_restricted_data_reaches_only_what_the_rule_allows() -> None:
    async with scripted(GOOD) as inside, scripted(GOOD) as outside, rig(two(inside, outside)) as running:
        assert (await running.chat(model="in", headers=RESTRICTED)).status == 200
        reply = await running.chat(model="out", headers=RESTRICTED)
        assert (reply.status, reply.headers["penstock-error"]) == (403, "rule") and "inside" in reply.error["message"]
        assert (running.last.outcome, running.last.cost) == ("refused", 0)
        reply = await running.chat(model="auto", headers=RESTRICTED)
        assert (reply.status, reply.headers["penstock-route"]) == (200, "large")
        assert (await running.chat(model="smart", headers=RESTRICTED)).status == 403, "a strategy's other tiers are no fallback"
        assert (await running.chat(model="in", headers={"penstock-tag-data": "secret"})).status == 403
        assert outside.asked == [] and len(inside.asked) == 2


@on_loop
async def test_restricted_data_does_not_spill_into_a_forbidden_fallback() -> None:
    async with scripted(resetting()) as inside, scripted(GOOD) as outside, rig(two(inside, outside)) as running:
        assert (await running.chat(model="inward", headers=RESTRICTED)).status == 502
        assert outside.asked == [] and running.last.route == "large"
        assert (await running.chat(model="inward")).status == 200


@on_loop
async def test_restricted_data_is_not_passed_through_to_a_forbidden_upstream() -> None:
    async with scripted(GOOD) as inside, scripted(GOOD) as outside, rig(two(inside, outside)) as running:
        for headers in (RESTRICTED, {**RESTRICTED, "penstock-upstream": "inside"}):
            assert (await running.ask("POST", "/v1/audio/speech", b"x", {"content-type": "audio/x", **headers})).status == 200
        for path, headers in (
            ("/v1/audio/speech", {**RESTRICTED, "penstock-upstream": "outside"}),
            ("/v1/audio/speech", {"penstock-tag-data": "secret"}),
        ):
            reply = await running.ask("POST", path, b"x", {"content-type": "audio/x", **headers})
            assert (reply.status, reply.headers["penstock-error"]) == (403, "rule")
        reply = await running.ask("POST", "/v1/images/generations", orjson.dumps({"model": "out", "metadata": {"data": "restricted"}}))
        assert (reply.status, reply.headers["penstock-error"]) == (403, "rule")
        assert outside.asked == []


@on_loop
async def test_an_answer_from_a_forbidden_upstream_is_not_replayed() -> None:
    async with (
        scripted(answer(completion("in"))) as inside,
        scripted(answer(completion("out"))) as outside,
        rig(two(inside, outside)) as running,
    ):
        assert (await running.chat(model="auto")).json == completion("out")
        reply = await running.chat(model="auto", headers=RESTRICTED)
        assert reply.json == completion("in") and reply.headers["penstock-cache"] == "miss"
        reply = await running.chat(model="auto")
        assert reply.json == completion("out"), "what a rule's detour answered is not kept for others"
        assert reply.headers["penstock-cache"] == "exact"


# the route's choice


@on_loop
async def test_the_complexity_of_a_request_chooses_its_tier() -> None:
    hard = (
        "Prove step by step that the eigenvalues of a symmetric matrix are real, derive the theorem, then analyse its time complexity. " * 3
    )
    async with scripted(GOOD) as inside, scripted(GOOD) as outside, rig(two(inside, outside)) as running:
        assert (await running.chat("what is a cat?", model="smart")).headers["penstock-tier"] == "small"
        assert (await running.chat(hard, model="smart")).headers["penstock-tier"] == "large"
        easy, demanding = [record.complexity or 0 for record in running.records]
        assert 0 < easy <= 0.5 < demanding
        assert running.last.strategy == "by_complexity" and (len(inside.asked), len(outside.asked)) == (1, 1)


# tenants and limits


@on_loop
async def test_each_tenant_has_a_cache_of_its_own() -> None:
    keys = [key("a1", tags={"tenant": "a"}), key("a2", tags={"tenant": "a"}), key("b", tags={"tenant": "b"}), key("c"), key("d")]
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url), keys=keys) as running:
        names = ("a1", "a2", "b", "c", "d", "c")
        told = [(await running.chat(headers=bearer(name))).headers["penstock-cache"] for name in names]
        told += [(await running.chat(headers={"penstock-tag-tenant": tenant})).headers["penstock-cache"] for tenant in ("a", "b")]
        assert told == ["miss", "exact", "miss", "miss", "miss", "exact", "miss", "exact"]


@on_loop
async def test_too_many_in_flight_are_told_to_come_back() -> None:
    async with scripted(hanging()) as upstream, rig(one_upstream(upstream.url, server="max_in_flight = 2")) as running:
        waiting = [asyncio.create_task(running.chat(str(number))) for number in range(2)]
        while len(upstream.asked) < 2:
            await asyncio.sleep(0.001)
        reply = await running.chat()
        assert (reply.status, reply.headers["penstock-error"]) == (429, "limit")
        assert int(reply.headers["retry-after"]) >= 1 and reply.error["type"] == "rate_limit_error"
        assert (running.record.outcome, running.record.cost) == ("refused", 0)
        for task in waiting:
            task.cancel()
        await running.settled()
        upstream.plays = [GOOD]
        assert (await running.chat()).status == 200


@on_loop
async def test_what_cannot_be_metered_is_refused_and_what_was_begun_is_not_ended() -> None:
    async with scripted(GOOD, stream(stream_events())) as upstream, rig(one_upstream(upstream.url)) as running:
        running.journal.failing = True
        reply = await running.chat()
        assert (reply.status, reply.headers["penstock-error"], reply.headers["retry-after"]) == (503, "limit", "5")
        assert upstream.asked == []
        assert running.gateway.counters.unmetered == 1
    async with scripted(GOOD, stream(stream_events())) as upstream, rig(one_upstream(upstream.url)) as running:
        reserve = running.journal.reserve

        def fail_from_now_on(reservation: Any) -> None:
            reserve(reservation)
            running.journal.failing = True

        running.journal.reserve = fail_from_now_on  # type: ignore[method-assign]
        reply = await running.chat()
        assert reply.status == 503 and b"hello" not in reply.body
        running.journal.failing = False
        reply = await running.chat(stream=True)
        assert reply.status == 200 and not reply.whole and b"[DONE]" not in reply.body


@on_loop
async def test_a_gateway_may_serve_what_it_cannot_meter() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, server='journal_failure = "serve"')) as running:
        running.journal.failing = True
        assert (await running.chat()).json == completion()
        assert running.gateway.counters.unmetered == 1


# calls that are passed through


@on_loop
async def test_other_endpoints_pass_as_they_are() -> None:
    form = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper\r\n--b--\r\n'
    async with (
        scripted(answer(b"\x00\xffaudio", headers={"content-type": "audio/mpeg"})) as upstream,
        rig(one_upstream(upstream.url)) as running,
    ):
        headers = {"content-type": "multipart/form-data; boundary=b", "openai-organization": "org", "penstock-tag-team": "a"}
        reply = await running.ask("POST", "/v1/audio/transcriptions?x=1&y=%20", form, headers)
        assert reply.whole and (reply.status, reply.body, reply.headers["content-type"]) == (200, b"\x00\xffaudio", "audio/mpeg")
        (asked,) = upstream.asked
        assert (asked.method, asked.path, asked.body) == ("POST", "/v1/audio/transcriptions?x=1&y=%20", form)
        assert asked.headers["content-type"] == headers["content-type"] and asked.headers["openai-organization"] == "org"
        record = running.record
        assert (record.endpoint, record.outcome, record.model, record.upstream) == ("/v1/audio/transcriptions", "ok", None, "main")
        assert (record.cost, record.cost_basis, record.tags) == (None, "unknown", {"team": "a"})


@pytest.mark.parametrize(
    ("method", "status", "content_type", "body"),
    [
        ("GET", 200, "application/json", b'{"object":"list","data":[]}'),
        ("GET", 200, "text/plain", b"the content of a file"),
        ("GET", 200, "application/json", b"[1, 2]"),
        ("HEAD", 200, "application/octet-stream", b"0123456789"),
        ("HEAD", 200, "application/json", b"{}"),
        ("DELETE", 204, "text/plain", b""),
        ("GET", 404, "application/octet-stream", b"nothing"),
        ("GET", 404, "image/png", b""),
    ],
)
@on_loop
async def test_any_method_and_any_answer_pass(method: str, status: int, content_type: str, body: bytes) -> None:
    async with scripted(answer(body, status, {"content-type": content_type})) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.ask(method, "/v1/files/file-1")
        assert reply.whole and (reply.status, reply.headers["content-type"]) == (status, content_type)
        assert reply.body == (b"" if method == "HEAD" else body)
        assert upstream.asked[0].path == "/v1/files/file-1"
        assert (running.record.outcome, running.record.status) == ("ok" if status < 300 else "error", status)


@on_loop
async def test_a_passed_call_with_a_model_goes_to_its_upstream_and_is_priced() -> None:
    body = {"created": 1, "data": [{"b64_json": "x"}], "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}
    more = '[upstreams.other]\nbase_urls = ["http://127.0.0.1:9/v1"]'
    async with scripted(answer(body)) as upstream, rig(one_upstream(upstream.url, more=more)) as running:
        reply = await running.ask("POST", "/v1/images/generations", orjson.dumps({"model": "m", "prompt": "cat", "stream": False}))
        assert reply.json == body and upstream.asked[0].json == {"model": "real-m", "prompt": "cat", "stream": False}
        assert (running.record.model, running.record.cost, running.record.tokens_basis) == ("m", 20_000, "measured")
        reply = await running.ask("POST", "/v1/images/generations", orjson.dumps({"model": "nope"}))
        assert reply.status == 404 and len(upstream.asked) == 1


@on_loop
async def test_events_of_other_endpoints_pass_untouched() -> None:
    events = b'event: image.completed\r\ndata: {"type":"image.completed","usage":{"input_tokens":10,"output_tokens":5}}\r\n\r\n: end\n\n'
    async with scripted(stream(events)) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.ask("POST", "/v1/images/generations", orjson.dumps({"model": "m", "stream": True}))
        assert reply.whole and reply.body == events
        assert upstream.asked[0].json == {"model": "real-m", "stream": True}
        assert (running.record.outcome, running.record.cost) == ("ok", 20_000)


@on_loop
async def test_a_passed_call_says_where_it_goes() -> None:
    async with scripted(GOOD) as inside, scripted(GOOD) as outside, rig(two(inside, outside)) as running:
        reply = await running.ask("GET", "/v1/files")
        assert reply.status == 400 and "penstock-upstream" in reply.error["message"]
        reply = await running.ask("GET", "/v1/files", headers={"penstock-upstream": "nowhere"})
        assert reply.status == 404 and "inside, outside" in reply.error["message"]
        assert (await running.ask("GET", "/v1/files", headers={"penstock-upstream": "outside"})).status == 200
        assert (len(inside.asked), len(outside.asked)) == (0, 1)
        assert not [name for name in outside.asked[0].headers if name.startswith("penstock")]


async def _in_turn(running: Rig, *models: str) -> list[int]:
    return [(await running.chat(model=model)).status for model in models]


@on_loop
async def test_unpriced_models_can_be_refused() -> None:
    more = '[models.free]\nupstream = "main"'
    async with scripted(GOOD) as upstream:
        async with rig(one_upstream(upstream.url, more=more, server='unpriced = "refuse"')) as running:
            assert await _in_turn(running, "m", "free") == [200, 400]
        async with rig(one_upstream(upstream.url, more=more)) as running:
            assert await _in_turn(running, "m", "free") == [200, 200]
            assert (running.last.cost, running.last.cost_basis) == (None, "unknown")
