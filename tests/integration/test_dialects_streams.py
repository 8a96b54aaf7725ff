"""Streams of Messages and Responses: measured, their end held back, broken ones noticed, translated ones told whole or not at all."""

import asyncio
from typing import Any

import pytest

from penstock.domain.dialects.tokens import Tokens
from tests.integration.dialect_bodies import (
    DIALECTS,
    RESPONSE,
    ask,
    config,
    message_events,
    named,
    response_events,
    said,
    told_cost,
)
from tests.integration.gateway_rig import Reply, on_loop, rig
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    Play,
    answer,
    chunked,
    closing,
    hanging,
    in_pieces,
    resetting,
    scripted,
    stream,
    stream_events,
)

NATIVE = {"messages": message_events(), "responses": response_events()}
TOKENS = {"messages": Tokens(10, 6, 4, 5, 0), "responses": Tokens(14, 6, 0, 3, 2)}
COST = {"messages": 10 * 1000 + 6 * 100 + 4 * 1250 + 5 * 2000, "responses": 14 * 1000 + 6 * 100 + 5 * 2000}
OPENING = {"messages": 2, "responses": 4}
"""events before the first that brings something the model made"""


def speaking(url: str, dialect: str) -> str:
    return config(url, more=f'speaks = ["{dialect}"]')


def without_cost(reply: Reply, cost: int) -> bytes:
    return reply.body.replace(b',"penstock":{"cost_usd":"0.%09d"}' % cost, b"")


@pytest.mark.parametrize("dialect", NATIVE)
@on_loop
async def test_a_native_stream_passes_byte_for_byte_but_for_its_cost(dialect: str) -> None:
    events = NATIVE[dialect]
    pieces = STREAM_HEAD + chunked(b"".join(events)[:77]), chunked(b"".join(events)[77:]) + chunked(b"")
    async with scripted(in_pieces(*pieces, pause_s=0.01)) as upstream, rig(speaking(upstream.url, dialect)) as running:
        reply = await ask(running, dialect, stream=True)
        assert reply.whole and without_cost(reply, COST[dialect]) == b"".join(events)
        assert reply.body != b"".join(events)
        record = running.record
        assert (record.tokens, record.tokens_basis, record.cost) == (TOKENS[dialect], "measured", COST[dialect])
        assert (record.finish_reason, record.outcome) == ("end_turn" if dialect == "messages" else "completed", "ok")
        assert (record.response_model, record.response_id) == ("real-m-1", "msg_1" if dialect == "messages" else "resp_1")
        assert told_cost(reply) == f"0.{COST[dialect]:09d}"


@pytest.mark.parametrize("dialect", NATIVE)
@on_loop
async def test_the_first_token_is_the_first_that_the_model_made(dialect: str) -> None:
    events = NATIVE[dialect]
    opening, rest = b"".join(events[: OPENING[dialect]]), b"".join(events[OPENING[dialect] :])
    play = in_pieces(STREAM_HEAD + chunked(opening), chunked(rest) + chunked(b""), pause_s=0.2)
    async with scripted(play) as upstream, rig(speaking(upstream.url, dialect)) as running:
        assert (await ask(running, dialect, stream=True)).whole
        assert running.record.first_token_us is not None and running.record.first_token_us > 190_000


@pytest.mark.parametrize("dialect", NATIVE)
@on_loop
async def test_the_end_of_a_stream_waits_for_the_journal(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(stream(b"".join(NATIVE[dialect]))) as upstream, rig(speaking(upstream.url, dialect)) as running:
        running.journal.failing = True
        refused = await ask(running, dialect, stream=True)
        assert refused.status == 503
        running.journal.failing = False
        reserve = running.journal.reserve

        def fills_up(reservation: Any) -> None:
            reserve(reservation)
            running.journal.failing = True

        monkeypatch.setattr(running.journal, "reserve", fills_up)
        reply = await ask(running, dialect, stream=True)
        assert not reply.whole and NATIVE[dialect][-1][:20] not in reply.body and b"hel" in reply.body


CUTS: dict[str, dict[str, list[bytes]]] = {
    "messages": {
        "before the delta": message_events(end=False)[:-2],
        "before message_stop": message_events(end=False),
        "in an event": [*message_events(end=False), named("message_stop")[:20]],
    },
    "responses": {"before the end": response_events(end=None), "early": response_events()[:5]},
}


@pytest.mark.parametrize("how", ["ended well", "closed"])
@pytest.mark.parametrize(("dialect", "cut"), [(dialect, cut) for dialect, cuts in CUTS.items() for cut in cuts])
@on_loop
async def test_a_stream_without_its_end_is_broken(dialect: str, cut: str, how: str) -> None:
    events = b"".join(CUTS[dialect][cut])
    play: Play = stream(events) if how == "ended well" else closing(STREAM_HEAD + chunked(events))
    async with scripted(play) as upstream, rig(speaking(upstream.url, dialect)) as running:
        reply = await ask(running, dialect, stream=True)
        assert reply.status == 200 and not reply.whole
        await running.settled()
        record = running.record
        assert record.outcome == "stream_broken"
        assert record.tokens.total > 0 and record.cost is not None and record.cost > 0
        told = dialect == "messages" and cut != "before the delta"
        assert (record.tokens_basis, record.cost_basis) == (("measured",) * 2 if told else ("estimated",) * 2)
        assert record.tokens.output == (5 if told else 1 if cut == "early" else 2), "what was streamed has been made"


@pytest.mark.parametrize("kind", ["openai", "anthropic", "responses"])
@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_a_translated_stream_that_breaks_is_never_told_whole(dialect: str, kind: str) -> None:
    spoken = {"openai": "chat.completions", "anthropic": "messages", "responses": "responses"}[kind]
    if spoken == dialect:
        return
    whole = {"openai": [stream_events(usage=None, done=False)[:300]], "anthropic": message_events()[:5], "responses": response_events()[:6]}
    speaks = 'speaks = ["responses"]' if kind == "responses" else 'speaks = ["chat"]' if kind == "openai" else ""
    tables = config("URL", "anthropic" if kind == "anthropic" else "openai", speaks)
    async with scripted(stream(b"".join(whole[kind]))) as upstream, rig(tables.replace("URL", upstream.url)) as running:
        reply = await ask(running, dialect, stream=True)
        assert reply.status == 200 and not reply.whole
        for ending in (b"[DONE]", b"message_stop", b"response.completed"):
            assert ending not in reply.body
        await running.settled()
        assert (running.record.outcome, running.record.tokens_basis) == ("stream_broken", "estimated")
        assert (running.record.cost or 0) > 0 and running.record.tokens.output >= 1


FAILED = {
    "messages": named("error", error={"type": "overloaded_error", "message": "Overloaded"}),
    "responses": named(
        "response.failed", response={**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "Overloaded"}}
    ),
}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("dialect", FAILED)
@on_loop
async def test_an_error_in_a_stream_is_told_and_recorded(dialect: str, client: str) -> None:
    events = [*NATIVE[dialect][:6], FAILED[dialect]]
    async with scripted(stream(b"".join(events))) as upstream, rig(speaking(upstream.url, dialect)) as running:
        reply = await ask(running, client, stream=True)
        assert reply.whole and b"Overloaded" in reply.body
        for ending in (b"[DONE]", b"message_stop", b"response.completed"):
            assert ending not in reply.body
        await running.settled()
        record = running.record
        assert (record.outcome, record.status) == ("error", 200)
        assert record.error is not None and record.tokens.total > 0


@on_loop
async def test_an_incomplete_response_is_an_answer() -> None:
    cut: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    events = b"".join(response_events(end="response.incomplete", **cut))
    async with scripted(stream(events)) as upstream, rig(speaking(upstream.url, "responses")) as running:
        reply = await ask(running, "responses", stream=True)
        assert reply.whole and told_cost(reply) == f"0.{COST['responses']:09d}"
        assert (running.record.outcome, running.record.finish_reason) == ("ok", "max_output_tokens")


@pytest.mark.parametrize("dialect", ["messages", "responses"])
@on_loop
async def test_a_client_that_leaves_is_a_record_by_what_it_saw(dialect: str) -> None:
    events = NATIVE[dialect][: OPENING[dialect] + 3]
    async with scripted(hanging(STREAM_HEAD + chunked(b"".join(events)))) as upstream, rig(speaking(upstream.url, dialect)) as running:
        asking = asyncio.create_task(ask(running, dialect, stream=True))
        while not upstream.asked or not running.gateway.counters.in_flight:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await running.settled()
        record = running.record
        assert (record.outcome, record.status) == ("client_closed", 499)
        assert (record.tokens.output, record.tokens_basis) == (2, "estimated"), "the usage at the beginning counts no output"
        assert record.tokens.input == 20 if dialect == "messages" else record.tokens.input > 80
        await asyncio.wait_for(upstream.left.wait(), 2)


@pytest.mark.parametrize("dialect", ["messages", "responses"])
@on_loop
async def test_a_chat_engine_that_tells_no_usage_is_estimated_not_zero(dialect: str) -> None:
    more = 'speaks = ["chat"]\nstream_usage = "off"'
    async with scripted(stream(stream_events("a", "b", "c", usage=None))) as upstream, rig(config(upstream.url, more=more)) as running:
        reply = await ask(running, dialect, stream=True)
        assert reply.whole and said(dialect, reply) == "abc"
        assert "stream_options" not in upstream.asked[0].json
        record = running.record
        assert (record.tokens_basis, record.cost_basis) == ("estimated", "estimated")
        assert record.tokens.input > 80 and record.tokens.output >= 3


@on_loop
async def test_chat_over_messages_shows_usage_only_to_whom_asked() -> None:
    async with scripted(stream(b"".join(message_events()))) as upstream, rig(config(upstream.url, "anthropic")) as running:
        bare = await ask(running, "chat.completions", stream=True)
        assert bare.whole and bare.body.endswith(b"data: [DONE]\n\n") and b'"usage"' not in bare.body and bare.text == "hello"
        asked = await ask(running, "chat.completions", text="more", stream=True, stream_options={"include_usage": True})
        told = asked.chunks[-1]
        assert told["choices"] == [] and told["usage"]["prompt_tokens"] == 20 and told["usage"]["completion_tokens"] == 5
        assert [record.tokens for record in running.records] == [TOKENS["messages"]] * 2
        assert told_cost(asked) == f"0.{COST['messages']:09d}"


@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_what_is_no_event_stream_is_an_error_where_it_must_be_translated(dialect: str) -> None:
    page = answer(b"<html>", 200, {"content-type": "text/html"})
    spoken = {"chat.completions": "messages", "messages": "responses", "responses": "messages"}[dialect]
    async with scripted(page) as upstream, rig(speaking(upstream.url, spoken)) as running:
        reply = await ask(running, dialect, stream=True)
        assert (reply.status, running.record.outcome, reply.headers["penstock-error"]) == (502, "error", "upstream")


@on_loop
async def test_an_event_without_end_is_cut_off() -> None:
    endless = closing(STREAM_HEAD + chunked(b"data: " + b"x" * 30_000) * 3)
    tables = speaking("URL", "messages").replace("version = 1", 'version = 1\n[server]\nmax_answer = "50 kB"')
    for dialect in ("messages", "chat.completions"):
        async with scripted(endless) as upstream, rig(tables.replace("URL", upstream.url)) as running:
            reply = await ask(running, dialect, stream=True)
            assert reply.status == 502 and running.record.outcome == "error"


@pytest.mark.parametrize("word", ["response.output_text.delta", "content_block_delta"])
@pytest.mark.parametrize("dialect", ["messages", "responses"])
@on_loop
async def test_an_answer_about_streams_is_not_taken_for_one(dialect: str, word: str) -> None:
    content = [{"type": "output_text", "text": f"listen to {word}", "annotations": []}]
    ending = response_events(output=[{**RESPONSE["output"][0], "content": content}])
    delta = {"stop_reason": "stop_sequence", "stop_sequence": word}
    stopping = [*message_events()[:-2], named("message_delta", delta=delta, usage={"output_tokens": 5}), named("message_stop")]
    events = b"".join({"messages": stopping, "responses": ending}[dialect])
    async with scripted(stream(events)) as upstream, rig(speaking(upstream.url, dialect)) as running:
        reply = await ask(running, dialect, stream=True)
        assert reply.whole and told_cost(reply) == f"0.{COST[dialect]:09d}"
        assert (running.record.outcome, running.record.tokens, running.record.tokens_basis) == ("ok", TOKENS[dialect], "measured")


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("dialect", ["messages", "responses"])
@on_loop
async def test_a_connection_that_breaks_after_the_last_event_breaks_no_answer(dialect: str, client: str) -> None:
    play = resetting(STREAM_HEAD + chunked(b"".join(NATIVE[dialect])))
    async with scripted(play) as upstream, rig(speaking(upstream.url, dialect)) as running:
        reply = await ask(running, client, stream=True)
        assert reply.whole and said(client, reply) == "hello"
        assert (running.record.outcome, running.record.tokens) == ("ok", TOKENS[dialect])


@pytest.mark.parametrize("usage", [{}, {"usage": None}], ids=["none", "null"])
@pytest.mark.parametrize("client", DIALECTS)
@on_loop
async def test_usage_that_only_began_is_an_estimate_for_every_client(client: str, usage: dict[str, Any]) -> None:
    delta = named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, **usage)
    events = [*message_events("a", "b", "c")[:-2], delta, named("message_stop")]
    async with scripted(stream(b"".join(events))) as upstream, rig(speaking(upstream.url, "messages")) as running:
        asked: dict[str, Any] = {"stream_options": {"include_usage": True}} if client == "chat.completions" else {}
        reply = await ask(running, client, stream=True, **asked)
        assert reply.whole
        record = running.record
        assert (record.tokens.input, record.tokens_basis) == (20, "estimated") and record.tokens.output >= 3
        if client != "messages":
            assert told_cost(reply) == f"{(record.cost or 0) / 1e9:.9f}"


@on_loop
async def test_an_end_that_cannot_be_told_is_measured_all_the_same() -> None:
    events = b"".join(message_events(stop="compaction"))
    async with scripted(stream(events)) as upstream, rig(speaking(upstream.url, "messages")) as running:
        reply = await ask(running, "chat.completions", stream=True)
        assert reply.whole and b"compaction" in reply.body and b"[DONE]" not in reply.body
        record = running.record
        assert (record.outcome, record.tokens, record.tokens_basis) == ("error", TOKENS["messages"], "measured")
