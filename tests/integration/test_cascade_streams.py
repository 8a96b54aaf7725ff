"""Streaming clients of a judged route: nothing until the verdict, or the cheap answer as it comes and a better one after it."""

import asyncio
from typing import Any

import orjson
import pytest

from penstock.domain.routing.course import Stage
from tests.integration.gateway_rig import Reply, on_loop, rig
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    USAGE,
    Play,
    Scripted,
    answer,
    chunked,
    completion,
    event,
    hanging,
    in_pieces,
    piece,
    resetting,
    scripted,
    stream,
    stream_events,
)
from tests.integration.walking_rig import LARGE, SMALL, judged_by_words, ladder

SURE, UNSURE, DEAR = stream(stream_events("sure: ", "4")), stream(stream_events("may", "be")), stream(stream_events("it is ", "4"))
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
CONTINUE = 'stream = "continue"\ncontinuation = "Better:"\n'
CHAT = 'speaks = ["chat"]'
ASKED = {"messages": b'{"model":"auto","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"2+2?"}]}',
         "responses": b'{"model":"auto","stream":true,"input":"2+2?"}'}  # fmt: skip


def cascade(small: Scripted, large: Scripted, route: str = "", more: str = "", speaks: str = "") -> str:
    return ladder(small.url, small.url, large.url, route=route, more=more, upstream=speaks)


def told(reply: Reply) -> list[dict[str, Any]]:
    """The chunks of usage, with what Penstock says of the cost."""
    return [chunk for chunk in reply.chunks if chunk.get("usage")]


@on_loop
async def test_a_kept_stream_comes_in_one_go_with_its_usage_and_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        reply = await running.chat(model="auto", **WITH_USAGE)
        assert (reply.status, reply.whole, reply.text) == (200, True, "sure: 4")
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert (reply.headers["penstock-route"], reply.headers["penstock-tier"]) == ("small", "small")
        assert [name for name in reply.headers if name.startswith("penstock-model")] == ["penstock-model"]
        assert [(chunk["usage"], chunk["penstock"]) for chunk in told(reply)] == [(USAGE, {"cost_usd": "0.000020000"})]
        assert reply.body.endswith(b"data: [DONE]\n\n") and reply.body.count(b"[DONE]") == 1
        assert (running.record.cost, running.record.streamed, running.record.finish_reason) == (SMALL, True, "stop")
        assert running.record.first_token_us is not None
        without = await running.chat("other", model="auto", stream=True)
        assert (without.text, told(without)) == ("sure: 4", [])


@on_loop
async def test_the_stream_that_follows_one_not_kept_is_live_and_tells_the_cost_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    gate = asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunked(event(piece("it "))))
        await writer.drain()
        await gate.wait()
        writer.write(chunked(stream_events("is")) + chunked(b""))
        await writer.drain()

    async with scripted(UNSURE) as small, scripted(slowly) as large, rig(cascade(small, large)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        body = orjson.dumps({"model": "auto", "messages": [{"role": "user", "content": "2+2?"}], **WITH_USAGE})
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"penstock-route: small>large" in head
        assert b'"it "' in await reader.readuntil(b"\n\n"), "before the end is known"
        gate.set()
        rest = await reader.readuntil(b"0\r\n\r\n")
        assert b'"cost_usd":"0.000220000"' in rest and b"may" not in rest
        writer.close()
        await running.settled()
        draft, record = running.records
        assert (draft.purpose, draft.cost, draft.streamed, record.cost) == ("draft", SMALL, True, LARGE)


@pytest.mark.parametrize("dialect", ["messages", "responses"])
@on_loop
async def test_other_dialects_get_the_kept_stream_as_their_own(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    ends = {"messages": "message_stop", "responses": "response.completed"}
    for play, text, cost, route in ((SURE, "sure: 4", "0.000020000", "small"), (UNSURE, "it is 4", "0.000220000", "small>large")):
        async with scripted(play) as small, scripted(DEAR) as large, rig(cascade(small, large, CONTINUE, speaks=CHAT)) as running:
            reply = await running.ask("POST", f"/v1/{dialect}", ASKED[dialect])
            assert (reply.status, reply.whole, reply.headers["penstock-route"]) == (200, True, route)
            said = [chunk.get("delta") for chunk in reply.chunks if chunk["type"] in ("content_block_delta", "response.output_text.delta")]
            assert "".join(each["text"] if isinstance(each, dict) else str(each) for each in said) == text
            assert reply.chunks[-1]["type"] == ends[dialect]
            assert [chunk["penstock"]["cost_usd"] for chunk in reply.chunks if "penstock" in chunk] == [cost]


@on_loop
async def test_the_cache_keeps_the_stream_that_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    cached = "[cache.exact]\nenabled = true\n"
    for play, tier in ((SURE, "small"), (UNSURE, "large")):
        async with scripted(play) as small, scripted(DEAR) as large, rig(cascade(small, large, more=cached)) as running:
            first, second = await running.chat(model="auto", stream=True), await running.chat(model="auto", stream=True)
            assert (second.headers["penstock-cache"], second.text, running.last.tier) == ("exact", first.text, tier)


@on_loop
async def test_continue_shows_the_cheap_answer_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    play = in_pieces(*(STREAM_HEAD + chunked(event(piece("sure: "))), chunked(stream_events("4")) + chunked(b"")), pause_s=0.05)
    async with scripted(play) as small, scripted(DEAR) as large, rig(cascade(small, large, CONTINUE)) as running:
        reply = await running.chat(model="auto", **WITH_USAGE)
        assert (reply.status, reply.whole, reply.text) == (200, True, "sure: 4")
        assert reply.headers["transfer-encoding"] == "chunked" and reply.headers["penstock-route"] == "small"
        assert [chunk["choices"][0]["finish_reason"] for chunk in reply.chunks if chunk["choices"]] == [None, None, "stop"]
        assert [(chunk["usage"], chunk["penstock"]["cost_usd"]) for chunk in told(reply)] == [(USAGE, "0.000020000")]
        assert reply.body.endswith(b"data: [DONE]\n\n") and reply.body.count(b"[DONE]") == 1
        assert large.asked == [] and (running.record.cost, running.record.tier) == (SMALL, "small")


@on_loop
async def test_continue_goes_on_with_the_better_answer_on_the_same_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    chunks = [{**piece("it is "), "id": "other", "created": 9}, {**piece("4"), "id": "other"}, {**piece(reason="stop"), "id": "other"}]
    chunks[0]["choices"][0]["delta"]["role"] = "assistant"
    better = stream(b"".join(map(event, chunks)) + event({**piece(), "choices": [], "id": "other", "usage": USAGE}) + b"data: [DONE]\n\n")
    async with scripted(UNSURE) as small, scripted(better) as large, rig(cascade(small, large, CONTINUE)) as running:
        reply = await running.chat(model="auto", **WITH_USAGE)
        assert (reply.whole, reply.text) == (True, "maybe\n\nBetter:\n\nit is 4")
        assert {chunk["id"] for chunk in reply.chunks} == {"chatcmpl-1"} and {chunk["created"] for chunk in reply.chunks} == {1}
        assert not any("role" in chunk["choices"][0]["delta"] for chunk in reply.chunks if chunk["choices"])
        assert [chunk["choices"][0]["finish_reason"] for chunk in reply.chunks if chunk["choices"]] == [None] * 5 + ["stop"]
        (usage,) = told(reply)
        assert usage["usage"] == {name: 2 * number for name, number in USAGE.items()}, "the sum"
        assert usage["penstock"] == {"cost_usd": "0.000220000"}
        assert reply.body.count(b"[DONE]") == 1
        draft, record = running.records
        assert (draft.purpose, draft.cost, record.cost, record.tier, record.route) == ("draft", SMALL, LARGE, "large", "small>large")
        assert record.tokens.output == 5, "the record is of the answer alone"
        assert [each.model for each in record.attempts] == ["small-model", "large-model"]


@pytest.mark.parametrize("more", [{"tools": [{"type": "function", "function": {"name": "f"}}]}, {"n": 2},
                                  {"response_format": {"type": "json_object"}}])  # fmt: skip
@on_loop
async def test_what_another_answer_cannot_follow_is_buffered(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    monkeypatch.setattr(Stage, "share", lambda self, stratum: float(self.kind == "direct"))
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large, CONTINUE)) as running:
        reply = await running.chat(model="auto", stream=True, **more)
        assert (reply.text, "Better" in reply.text) == ("it is 4", False)


@pytest.mark.parametrize("play", [resetting(STREAM_HEAD + chunked(event(piece("it "))))])
@on_loop
async def test_a_cheap_stream_that_breaks_is_gone_on_with(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    for route, text in (("", "it is 4"), (CONTINUE, "it \n\nBetter:\n\nit is 4")):
        async with scripted(play) as small, scripted(DEAR) as large, rig(cascade(small, large, route)) as running:
            reply = await running.chat(model="auto", stream=True)
            assert (reply.whole, reply.text) == (True, text)
            draft, record = running.records
            assert (draft.outcome, record.outcome, record.tier) == ("stream_broken", "ok", "large")
            assert record.route_decision is not None
            assert record.route_decision.stages[0].stratum == "failed"


@on_loop
async def test_a_stream_that_nobody_can_go_on_with_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    busy = answer({"error": {"message": "busy"}}, 503)
    async with scripted(UNSURE) as small, scripted(busy) as large, rig(cascade(small, large, CONTINUE)) as running:
        reply = await running.chat(model="auto", stream=True)
        assert (reply.status, reply.whole) == (200, False)
        draft, record = running.records
        assert (draft.cost, record.outcome, record.status, record.cost) == (SMALL, "stream_broken", 200, 0)
    async with (
        scripted(UNSURE) as small,
        scripted(resetting(STREAM_HEAD + chunked(event(piece("it "))))) as large,
        rig(cascade(small, large, CONTINUE)) as running,
    ):
        assert not (await running.chat(model="auto", stream=True)).whole
        assert (running.last.outcome, running.last.tier, running.last.cost_basis) == ("stream_broken", "large", "estimated")


@on_loop
async def test_a_cheap_tier_that_is_down_leaves_the_status_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    busy = answer({"error": {"message": "busy"}}, 503)
    async with scripted(busy) as small, scripted(DEAR) as large, rig(cascade(small, large, CONTINUE)) as running:
        reply = await running.chat(model="auto", stream=True)
        assert (reply.whole, reply.text, reply.headers["penstock-tier"]) == (True, "it is 4", "large")
    async with scripted(busy) as small, scripted(busy) as large, rig(cascade(small, large, CONTINUE)) as running:
        assert (await running.chat(model="auto", stream=True)).status == 503


@pytest.mark.parametrize("route", ["", CONTINUE])
@on_loop
async def test_a_client_that_leaves_while_the_answer_is_judged_pays_for_what_was_done(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    play = hanging(STREAM_HEAD + chunked(event(piece("hel")) + event(piece("lo"))))
    slow = 'timeout = { connect = "1s", first_token = "9s", idle = "9s" }'
    async with (
        scripted(play) as small,
        scripted(DEAR) as large,
        rig(ladder(small.url, small.url, large.url, route=route, upstream=slow)) as running,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running.chat(model="auto", stream=True), 0.3)
        await running.settled()
        draft, record = running.records
        assert (record.outcome, record.status, record.cost) == ("client_closed", 499, 0)
        assert (draft.purpose, draft.outcome, draft.cost_basis) == ("draft", "client_closed", "estimated")
        assert draft.cost and large.asked == []


@on_loop
async def test_a_whole_answer_to_a_streaming_client_is_judged_like_any(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    whole = answer(completion("sure: 4"))
    async with scripted(whole) as small, scripted(DEAR) as large, rig(cascade(small, large, CONTINUE)) as running:
        reply = await running.chat(model="auto", stream=True)
        assert (reply.status, reply.json["choices"][0]["message"]["content"], running.record.cost) == (200, "sure: 4", SMALL)


@pytest.mark.parametrize("route", ["", CONTINUE])
@pytest.mark.parametrize("streamed", [False, True])
@on_loop
async def test_probabilities_that_only_we_ask_for_are_not_shown(route: str, streamed: bool) -> None:
    """The judge itself: the cheap tier is all but sure of its words."""
    odds = {"content": [{"token": "4", "logprob": -0.001, "bytes": None, "top_logprobs": []}]}
    whole, chunk = completion("4"), piece("4")
    whole["choices"][0]["logprobs"] = chunk["choices"][0]["logprobs"] = odds
    play = stream(event(chunk) + stream_events("")) if streamed else answer(whole)
    async with scripted(play) as small, scripted(DEAR) as large, rig(cascade(small, large, route)) as running:
        reply = await running.chat(model="auto", stream=streamed)
        assert (reply.status, reply.headers["penstock-route"], running.last.tier) == (200, "small", "small")
        assert small.asked[0].json["logprobs"] is True and b"-0.001" not in reply.body
        assert running.last.route_decision is not None
        assert "logprobs" in [sign.name for sign in running.last.route_decision.stages[0].signs]
        shown = await running.chat("once more", model="auto", stream=streamed, logprobs=True)
        assert b"-0.001" in shown.body, "its client asked for them"


@on_loop
async def test_a_tier_that_refuses_to_tell_probabilities_is_asked_without() -> None:
    refusal = answer({"error": {"message": "logprobs are not supported"}}, 400)
    good = answer(completion("4"))
    async with scripted(refusal, good, good) as small, scripted(answer(completion("4"))) as large, rig(cascade(small, large)) as running:
        for number in range(2):
            assert (await running.chat(str(number), model="auto")).status == 200
        assert ["logprobs" in asked.json for asked in small.asked] == [True, False, False], "it is remembered"
        assert [each.status for each in running.records[1].attempts] == [400, 200, 200]
    async with scripted(refusal) as small, scripted(answer(completion("4"))) as large, rig(cascade(small, large)) as running:
        for number in range(2):
            assert (await running.chat(str(number), model="auto")).status == 200
        assert ["logprobs" in asked.json for asked in small.asked] == [True, False] * 2, "it was not for them"


@on_loop
async def test_continue_may_go_on_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with (
        scripted(UNSURE) as small,
        scripted(UNSURE) as mid,
        scripted(DEAR) as large,
        rig(ladder(small.url, mid.url, large.url, route=CONTINUE, steps=3)) as running,
    ):
        reply = await running.chat(model="auto", **WITH_USAGE)
        assert (reply.whole, reply.text) == (True, "maybe\n\nBetter:\n\nmaybe\n\nBetter:\n\nit is 4")
        assert [chunk["usage"]["total_tokens"] for chunk in told(reply)] == [45]
        assert (running.last.route, len(running.records)) == ("small>mid>large", 3)
        assert running.last.first_token_us is not None and running.last.attempts[1].started_us is not None
        assert running.last.first_token_us < running.last.attempts[1].started_us, "what the client saw first"
