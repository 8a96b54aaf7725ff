"""Messages and Responses as full endpoints: native byte for byte, translated both ways, measured, with fallbacks across dialects."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from penstock import bootstrap
from penstock.config.load import parse
from penstock.domain.dialects.tokens import Tokens
from tests.integration.dialect_bodies import (
    DIALECTS,
    MESSAGE,
    PATHS,
    RESPONSE,
    ask,
    body,
    config,
    said,
    told_cost,
)
from tests.integration.gateway_rig import Rig, on_loop, rig
from tests.integration.upstream_rig import Play, Scripted, answer, completion, scripted, simulated, stream, stream_events

KINDS = {"openai": 'speaks = ["chat"]', "anthropic": "", "responses only": 'speaks = ["responses"]'}
SPOKEN = {"openai": "chat.completions", "anthropic": "messages", "responses only": "responses"}
ODD = (
    b'{ "model" : "%b",\n\t"max_tokens": 16, "input":"caf\\u00e9","messages":[{"role":"user","content":"caf\\u00e9 \xf0\x9f\x92\xa7 '
    b'\\"model\\": \\"x\\""}], "seed": 12345678901234567890, "x_float": 1.10e+2, "nested": {"model": "inner"}, "temperature":0.70 }'
)
TOO_MUCH: dict[str, Any] = {"previous_response_id": "resp_0"}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_every_dialect_reaches_every_upstream_and_is_measured(dialect: str, kind: str, streamed: bool) -> None:
    async with simulated() as url, rig(config(url, kind.replace("responses only", "openai"), KINDS[kind])) as running:
        asked: dict[str, Any] = {"stream": True} if streamed else {}
        if streamed and dialect == "chat.completions":
            asked["stream_options"] = {"include_usage": True}
        reply = await ask(running, dialect, **asked)
        assert reply.status == 200 and reply.whole, reply.body
        assert said(dialect, reply).startswith("This is a simulated answer.")
        await running.settled()
        record = running.record
        assert (record.endpoint, record.outcome, record.tokens_basis, record.cost_basis) == (dialect, "ok", "measured", "measured")
        assert record.cost is not None and record.cost > 0
        assert (record.first_token_us is not None) is streamed
        assert record.tokens.input > 80 and record.tokens.output >= 4
        assert record.finish_reason in ("stop", "end_turn", "completed")
        assert record.response_id is not None and record.response_model == "real-m"
        assert record.upstream_endpoint == (None if SPOKEN[kind] == dialect else SPOKEN[kind])
        told = told_cost(reply) if streamed else reply.headers["penstock-cost-usd"]
        assert told == f"0.{record.cost:09d}"


@pytest.mark.parametrize(("dialect", "told"), [("messages", MESSAGE), ("responses", RESPONSE)])
@on_loop
async def test_native_bodies_pass_byte_for_byte(dialect: str, told: dict[str, Any]) -> None:
    odd = b'{ "id":"a" ,' + orjson.dumps(told)[1:]
    async with scripted(answer(odd)) as upstream, rig(config(upstream.url, more=f'speaks = ["{dialect}"]')) as running:
        reply = await running.ask(
            "POST", PATHS[dialect] + "?beta=true", ODD % b"m", {"anthropic-beta": "x-1", "anthropic-version": "2023-06-01"}
        )
        assert (reply.status, reply.body) == (200, odd)
        asked = upstream.asked[0]
        assert (asked.path, asked.body) == (PATHS[dialect] + "?beta=true", ODD % b"real-m")
        assert (asked.headers["anthropic-beta"], asked.headers["anthropic-version"]) == ("x-1", "2023-06-01")
        expected = Tokens(10, 6, 4, 5, 0) if dialect == "messages" else Tokens(14, 6, 0, 3, 2)
        assert (running.record.tokens, running.record.response_model) == (expected, "real-m-1")


@on_loop
async def test_an_anthropic_upstream_gets_its_key_and_its_version() -> None:
    more = 'api_key = { env = "KEY" }'
    async with scripted(answer(MESSAGE)) as upstream, rig(config(upstream.url, "anthropic", more), environ={"KEY": "secret"}) as running:
        await ask(running, "messages", {"authorization": "Bearer client", "x-api-key": "client"})
        await ask(running, "messages", {"anthropic-version": "2099-01-01"}, text="other")
        await ask(running, "chat.completions", {"openai-organization": "o", "x-custom": "kept"})
        first, second, third = (asked.headers for asked in upstream.asked)
        assert (first["x-api-key"], first["anthropic-version"]) == ("secret", "2023-06-01")
        assert "authorization" not in first
        assert second["anthropic-version"] == "2099-01-01"
        assert (third["x-custom"], third.get("openai-organization")) == ("kept", None)


@on_loop
async def test_an_anthropic_upstream_at_its_own_host_is_priced_from_the_public_book() -> None:
    text = config("https://api.anthropic.com/v1", "anthropic").partition("price")[0].replace("real-m", "claude-haiku-4-5")
    named_provider = (
        config("http://127.0.0.1:9/v1", "anthropic", 'provider = "anthropic"').partition("price")[0].replace("real-m", "claude-haiku-4-5")
    )
    for each in (text, named_provider):
        async with rig(each) as running:
            schedule = running.gateway.prices.schedule("m")
            assert schedule is not None and "anthropic/claude-haiku-4-5" in schedule.rates[-1].id


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("status", [404, 405, 501])
@on_loop
async def test_an_engine_without_responses_is_found_out_once(status: int, streamed: bool) -> None:
    unknown = answer({"detail": "Not Found"}, status)
    chat = stream(stream_events()) if streamed else answer(completion())
    async with scripted(unknown, chat) as upstream, rig(config(upstream.url)) as running:
        for text in ("one", "two"):
            reply = await ask(running, "responses", text=text, stream=streamed)
            assert (reply.status, said("responses", reply)) == (200, "hello")
        assert [asked.path for asked in upstream.asked] == ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]
        first, second = running.records
        assert [attempt.status for attempt in first.attempts] == [status, 200]
        assert (first.upstream_endpoint, first.outcome, first.tokens.total) == ("chat.completions", "ok", 15)
        assert (second.upstream_endpoint, second.attempts) == ("chat.completions", ())


@on_loop
async def test_a_404_for_something_else_is_not_remembered() -> None:
    missing = {"error": {"message": "no such model", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
    async with scripted(answer(missing, 404), answer(missing, 404), answer(RESPONSE)) as upstream, rig(config(upstream.url)) as running:
        reply = await ask(running, "responses")
        assert (reply.status, reply.error["code"], running.last.outcome) == (404, "model_not_found", "error")
        assert (await ask(running, "responses")).status == 200
        assert [asked.path for asked in upstream.asked] == ["/v1/responses", "/v1/chat/completions", "/v1/responses"]


@on_loop
async def test_an_unknown_address_stands_where_the_call_cannot_be_said_otherwise() -> None:
    async with scripted(answer({"detail": "Not Found"}, 404)) as upstream, rig(config(upstream.url)) as running:
        reply = await ask(running, "responses", **TOO_MUCH)
        assert (reply.status, reply.json) == (404, {"detail": "Not Found"})
        assert (running.record.status, running.record.cost, len(upstream.asked)) == (404, 0, 1)


CROSS = """
version = 1
[upstreams.first]
base_urls = ["{first}"]
speaks = ["{speaks}"]
retries = 0
[upstreams.second]
kind = "anthropic"
base_urls = ["{second}"]
retries = 0
[models.cheap]
upstream = "first"
price = {{ input = 1, output = 2 }}
[models.dear]
upstream = "second"
price = {{ input = 10, output = 20 }}
[tiers]
small = {{ model = "cheap" }}
large = {{ model = "dear" }}
[routes.m]
tiers = ["small"]
fallback = ["large"]
"""


@asynccontextmanager
async def crossing(one: Play, two: Play, speaks: str = "chat", turned: bool = False) -> AsyncIterator[tuple[Rig, Scripted, Scripted]]:
    """A route from an OpenAI-kind upstream to an Anthropic-kind one, or the other way round."""
    async with scripted(one) as first, scripted(two) as second:
        tables = CROSS.format(first=first.url, second=second.url, speaks=speaks)
        if turned:
            tables = tables.replace('tiers = ["small"]\nfallback = ["large"]', 'tiers = ["large"]\nfallback = ["small"]')
        async with rig(tables) as running:
            yield running, first, second


@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_fallbacks_cross_dialects(dialect: str) -> None:
    async with crossing(answer({"error": "down"}, 503), answer(MESSAGE)) as (running, first, second):
        reply = await ask(running, dialect)
        assert (reply.status, said(dialect, reply)) == (200, "hello")
        record = running.record
        assert (record.route, record.model, record.upstream) == ("small>large", "dear", "second")
        assert record.upstream_endpoint == (None if dialect == "messages" else "messages")
        assert (first.asked[0].path, second.asked[0].path) == ("/v1/chat/completions", "/v1/messages")


@on_loop
async def test_an_upstream_that_cannot_say_the_call_is_passed_over() -> None:
    async with crossing(answer(RESPONSE), answer(MESSAGE), "responses", turned=True) as (running, _, second):
        reply = await ask(running, "responses", input=[{"type": "item_reference", "id": "msg_0"}])
        assert (reply.status, running.record.route, second.asked) == (200, "small", [])


@on_loop
async def test_what_no_upstream_can_say_is_refused_by_its_field() -> None:
    async with crossing(answer(completion()), answer(MESSAGE)) as (running, first, second):
        reply = await ask(running, "responses", **TOO_MUCH)
        assert (reply.status, reply.error["param"], reply.headers["penstock-error"]) == (400, "previous_response_id", "input")
        assert (first.asked, second.asked) == ([], [])
        assert (running.record.outcome, running.record.cost) == ("refused", 0)


@on_loop
async def test_embeddings_of_an_anthropic_upstream_are_refused() -> None:
    async with scripted(answer(MESSAGE)) as upstream, rig(config(upstream.url, "anthropic")) as running:
        reply = await running.ask("POST", "/v1/embeddings", b'{"model":"m","input":"a"}')
        assert (reply.status, reply.error["code"]) == (400, "endpoint_not_spoken")
        assert upstream.asked == []


ERRORS = {
    "openai": (
        400,
        {"error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}},
    ),
    "anthropic": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "too long"}}),
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_errors_of_an_upstream_come_in_the_clients_envelope(dialect: str, kind: str) -> None:
    status, told = ERRORS[kind]
    async with scripted(answer(told, status)) as upstream, rig(config(upstream.url, kind, KINDS[kind])) as running:
        for streamed in (False, True):
            reply = await ask(running, dialect, stream=streamed)
            assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
            if SPOKEN[kind] == dialect:
                assert reply.json == told
            elif dialect == "messages":
                assert reply.json["type"] == "error" and reply.json["error"]["message"] == "too long"
            else:
                assert reply.error["message"] == "too long"
            assert "penstock-error" not in reply.headers
            assert (running.last.outcome, running.last.cost) == ("error", 0)


@pytest.mark.parametrize("dialect", ["chat.completions", "responses"])
@on_loop
async def test_an_answer_that_cannot_be_told_is_an_error_and_is_paid_for(dialect: str) -> None:
    strange = {**MESSAGE, "content": [{"type": "hologram", "data": "?"}]}
    async with scripted(answer(strange)) as upstream, rig(config(upstream.url, "anthropic")) as running:
        reply = await ask(running, dialect, max_output_tokens=9) if dialect == "responses" else await ask(running, dialect, max_tokens=9)
        assert (reply.status, reply.error["code"], reply.headers["x-should-retry"]) == (502, "dialect", "false")
        record = running.record
        assert (record.outcome, record.tokens, record.tokens_basis) == ("error", Tokens(10, 6, 4, 5, 0), "measured")
        assert (record.cost, record.cost_basis, record.wasted_cost) == (25600, "measured", 0)


@on_loop
async def test_an_answer_that_cannot_be_told_is_paid_for_beside_the_fallbacks() -> None:
    strange = answer({**MESSAGE, "content": [{"type": "hologram", "data": "?"}]})
    plain = answer({name: value for name, value in completion().items() if name != "usage"})
    for status, second, basis in ((200, answer(completion()), "measured"), (200, plain, "estimated"), (500, answer({}, 500), "measured")):
        async with crossing(second, strange, turned=True) as (running, _, _):
            reply = await ask(running, "chat.completions")
            record = running.record
            assert (reply.status, record.route) == (status, "large>small")
            assert (record.wasted_cost, record.tokens_basis, record.cost_basis) == (300_000, basis, basis)
            assert (record.tokens.cache_read == 6) == (status == 500), "the first answer's usage is not the second's"


@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_tools_go_there_and_back(dialect: str) -> None:
    schema = {"type": "object", "properties": {"by": {"type": "integer"}}, "required": ["by"]}
    tools = {
        "chat.completions": {"type": "function", "function": {"name": "open_gate", "parameters": schema}},
        "responses": {"type": "function", "name": "open_gate", "parameters": schema},
        "messages": {"name": "open_gate", "input_schema": schema},
    }
    async with simulated() as url:
        for kind, speaks in KINDS.items():
            async with rig(config(url, kind.replace("responses only", "openai"), speaks)) as running:
                reply = await ask(running, dialect, tools=[tools[dialect]])
                told = reply.json
                match dialect:
                    case "chat.completions":
                        call = told["choices"][0]["message"]["tool_calls"][0]["function"]
                        given = (call["name"], orjson.loads(call["arguments"]))
                    case "responses":
                        call = next(item for item in told["output"] if item["type"] == "function_call")
                        given = (call["name"], orjson.loads(call["arguments"]))
                    case _:
                        call = next(block for block in told["content"] if block["type"] == "tool_use")
                        given = (call["name"], call["input"])
                assert given[0] == "open_gate" and isinstance(given[1]["by"], int)


@pytest.mark.parametrize(("path", "free"), [("/v1/messages/count_tokens", True), ("/v1/messages/batches", False)])
@on_loop
async def test_paths_below_an_endpoint_go_to_an_upstream_that_has_it(path: str, free: bool) -> None:
    async with crossing(answer(completion()), answer({"input_tokens": 32})) as (running, first, second):
        reply = await running.ask("POST", path, orjson.dumps(body("messages")))
        assert (reply.status, reply.json) == (200, {"input_tokens": 32})
        assert (first.asked, second.asked[0].path) == ([], path)
        if free:
            assert (running.record.cost, running.record.tokens.total, running.record.reserved) == (0, 0, None)
        without_model = await running.ask("GET", path)
        assert without_model.status == 200 and len(second.asked) == 2


@on_loop
async def test_a_stored_response_that_is_looked_at_is_not_paid_twice() -> None:
    async with scripted(answer(RESPONSE)) as upstream, rig(config(upstream.url)) as running:
        await ask(running, "responses")
        assert (await running.ask("GET", "/v1/responses/resp_1")).json == RESPONSE
        assert [record.tokens.total for record in running.records] == [25, 0]


@on_loop
async def test_a_response_made_in_the_background_is_booked_whole() -> None:
    queued = {**RESPONSE, "status": "queued", "output": [], "usage": None}
    async with scripted(answer(queued)) as upstream, rig(config(upstream.url)) as running:
        await ask(running, "responses", background=True, max_output_tokens=400)
        record = running.record
        assert (record.tokens.output, record.tokens_basis, record.cost_basis) == (400, "estimated", "estimated")
        assert record.tokens.input > 300 and record.cost is not None and record.cost > 400 * 2000
        assert record.finish_reason is None


@pytest.mark.parametrize(
    "extra", [{"cache_creation": {"ephemeral_1h_input_tokens": 4}}, {"server_tool_use": {"web_search_requests": 1}}], ids=["1h", "search"]
)
@on_loop
async def test_what_is_priced_apart_makes_a_cost_an_estimate(extra: dict[str, Any]) -> None:
    async with (
        scripted(answer({**MESSAGE, "usage": {**MESSAGE["usage"], **extra}})) as upstream,
        rig(config(upstream.url, "anthropic")) as running,
    ):
        for dialect in DIALECTS:
            await ask(running, dialect)
            record = running.last
            assert (record.tokens, record.tokens_basis, record.cost_basis) == (Tokens(10, 6, 4, 5, 0), "measured", "estimated")


@on_loop
async def test_tags_of_messages_and_service_tiers() -> None:
    async with scripted(answer(MESSAGE)) as upstream, rig(config(upstream.url, "anthropic")) as running:
        await ask(running, "messages", metadata={"user_id": "u-1", "team": "search"}, service_tier="standard_only")
        assert running.record.tags == {"user": "u-1", "team": "search", "sla": "standard"}
        await ask(running, "responses", metadata={"team": "search"}, user="u-2", service_tier="flex")
        assert running.last.tags == {"user": "u-2", "team": "search", "sla": "best_effort"}


@on_loop
async def test_the_worst_case_is_reserved_for_every_dialect() -> None:
    async with scripted(answer(MESSAGE)) as upstream, rig(config(upstream.url, "anthropic")) as running:
        await ask(running, "messages", text="x" * 100)
        await ask(running, "responses", text="x" * 100, max_output_tokens=400)
        reserved = [record.reserved for record in running.records]
        assert all(each is not None and each > 2 * 400 * 1000 + 100 * 1250 for each in reserved), reserved
        assert all((record.cost or 0) <= (record.reserved or 0) for record in running.records)


def test_an_upstream_of_anthropics_kind_has_its_name_in_open_telemetry() -> None:
    tables = config("http://one/v1", "anthropic", rest='[upstreams.other]\nbase_urls = ["http://two/v1"]')
    assert bootstrap.providers(parse(tables, {})) == {"main": "anthropic"}
    assert bootstrap.providers(parse(config("http://one/v1", "anthropic", 'provider = "aws"'), {})) == {"main": "aws"}
