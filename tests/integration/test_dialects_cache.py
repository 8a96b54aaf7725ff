"""The exact cache for Messages and Responses: hits in the form that each client asks for, and never for what may change."""

from typing import Any

import orjson
import pytest

from penstock.domain.dialects.tokens import NO_TOKENS
from tests.integration.dialect_bodies import (
    DIALECTS,
    MESSAGE,
    RESPONSE,
    ask,
    config,
    message_events,
    response_events,
    said,
    told_cost,
)
from tests.integration.gateway_rig import on_loop, rig
from tests.integration.upstream_rig import answer, scripted, simulated, stream

WHOLE = {"messages": MESSAGE, "responses": RESPONSE}
EVENTS = {"messages": message_events(), "responses": response_events()}


def speaking(url: str, dialect: str) -> str:
    return config(url, more=f'speaks = ["{dialect}"]')


@pytest.mark.parametrize("second", [False, True], ids=["then whole", "then streamed"])
@pytest.mark.parametrize("first", [False, True], ids=["first whole", "first streamed"])
@pytest.mark.parametrize("dialect", WHOLE)
@on_loop
async def test_hits_come_in_the_form_that_is_asked_for(dialect: str, first: bool, second: bool) -> None:
    play = stream(b"".join(EVENTS[dialect])) if first else answer(WHOLE[dialect])
    async with scripted(play) as upstream, rig(speaking(upstream.url, dialect)) as running:
        await ask(running, dialect, stream=first, metadata={"team": "a"}, service_tier="auto")
        reply = await ask(running, dialect, stream=second, metadata={"team": "b"})
        assert len(upstream.asked) == 1 and reply.headers["penstock-cache"] == "exact"
        assert said(dialect, reply) == "hello"
        if second:
            assert reply.whole and told_cost(reply) == "0.000000000"
            if first:
                assert reply.body.replace(b',"penstock":{"cost_usd":"0.000000000"}', b"") == b"".join(EVENTS[dialect])
        else:
            assert reply.json == WHOLE[dialect]
            assert reply.headers["penstock-cost-usd"] == "0.000000000"
        hit, source = running.records[1], running.records[0]
        assert (hit.tokens, hit.recalled, hit.cost, hit.cache_source) == (NO_TOKENS, source.tokens, 0, source.id)
        assert hit.finish_reason == source.finish_reason


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_translated_answers_are_kept_in_the_clients_dialect(dialect: str, kind: str) -> None:
    async with simulated() as url, rig(config(url, kind, 'speaks = ["chat"]' if kind == "openai" else "")) as running:
        usage: dict[str, Any] = {"stream_options": {"include_usage": True}} if dialect == "chat.completions" else {}
        first = await ask(running, dialect, stream=True, **usage)
        again = await ask(running, dialect, stream=True, **usage)
        whole = await ask(running, dialect)
        assert said(dialect, first) == said(dialect, again) == said(dialect, whole)
        assert [record.cache for record in running.records] == ["miss", "exact", "exact"]
        told = whole.json["usage"]
        made = running.records[0].tokens
        output = told["completion_tokens" if dialect == "chat.completions" else "output_tokens"]
        assert output == made.output
        assert running.records[1].upstream_endpoint is None, "no upstream was called"


NOT_KEPT: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"container": "c-1"},
    ],
    "responses": [
        {"store": True},
        {"background": True},
        {"previous_response_id": "resp_0"},
        {"conversation": "conv_1"},
        {"tools": [{"type": "web_search"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
}


@pytest.mark.parametrize(("dialect", "more"), [(dialect, more) for dialect, cases in NOT_KEPT.items() for more in cases])
@on_loop
async def test_what_acts_or_points_elsewhere_is_not_cached(dialect: str, more: dict[str, Any]) -> None:
    async with scripted(answer(WHOLE[dialect])) as upstream, rig(speaking(upstream.url, dialect)) as running:
        for _ in range(2):
            reply = await ask(running, dialect, **more)
            assert (reply.status, reply.headers["penstock-cache"]) == (200, "bypass")
        assert len(upstream.asked) == 2


IRREGULAR: dict[str, list[dict[str, Any]]] = {
    "messages": [{**MESSAGE, "stop_reason": "refusal"}, {**MESSAGE, "stop_reason": "pause_turn"}],
    "responses": [
        {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
        {**RESPONSE, "status": "queued", "output": []},
    ],
}


@pytest.mark.parametrize(("dialect", "told"), [(dialect, told) for dialect, cases in IRREGULAR.items() for told in cases])
@on_loop
async def test_only_regular_ends_are_kept(dialect: str, told: dict[str, Any]) -> None:
    async with scripted(answer(told)) as upstream, rig(speaking(upstream.url, dialect)) as running:
        for _ in range(2):
            assert (await ask(running, dialect)).json == told
        assert len(upstream.asked) == 2


@pytest.mark.parametrize("dialect", WHOLE)
@on_loop
async def test_what_changes_the_answer_is_another_key(dialect: str) -> None:
    changes: list[dict[str, Any]] = [{}, {"temperature": 0.5}, {"instructions" if dialect == "responses" else "system": "short"}]
    async with scripted(answer(WHOLE[dialect])) as upstream, rig(speaking(upstream.url, dialect)) as running:
        for more in changes:
            await ask(running, dialect, **more)
        await ask(running, dialect, {"anthropic-beta": "other"})
        assert len(upstream.asked) == 4


@on_loop
async def test_what_cannot_be_streamed_faithfully_is_a_miss() -> None:
    cited = {**MESSAGE, "content": [{"type": "text", "text": "hello", "citations": [{"type": "char_location"}]}]}
    plays = answer(cited), stream(b"".join(message_events()))
    async with scripted(*plays) as upstream, rig(speaking(upstream.url, "messages")) as running:
        await ask(running, "messages")
        reply = await ask(running, "messages", stream=True)
        assert (reply.headers["penstock-cache"], len(upstream.asked)) == ("miss", 2)
        assert orjson.loads((await ask(running, "messages")).body)["content"][0]["text"] == "hello"
