"""What the ledger holds of a request besides its tokens: parts, processing class, the part of own fleets, work that was wasted."""

from typing import Any

import pytest

from penstock.domain.dialects.tokens import Tokens
from tests.integration.dialect_bodies import DIALECTS, MESSAGE, RESPONSE, ask, config, named, told_cost
from tests.integration.gateway_rig import on_loop, rig
from tests.integration.upstream_rig import (
    answer,
    completion,
    event,
    hanging,
    piece,
    scripted,
    stream,
    usage_chunk,
)

BATCH_AND_FLEX = "processing = { flex = { input = 0.5, output = 1 }, batch = { input = 0.25, output = 0.5 } }"
PARTS = "cache_write_1h = 2, input_audio = 10, cached_input_audio = 5, output_audio = 20, web_search = 10, file_search = 2.5"
SOUND = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"audio_tokens": 600, "cached_tokens": 0},
    "completion_tokens_details": {"audio_tokens": 80, "reasoning_tokens": 0},
}
TOOL_ITEMS = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "web_search_call", "id": "ws_2", "status": "completed", "action": {"type": "open_page", "url": "https://q"}},
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"]},
]


def prices(url: str, kind: str = "openai", extra: str = PARTS, more: str = 'provider = "openai"') -> str:
    """Model `m` of a provider, with prices of parts or of processing classes; the rest as in `dialect_bodies.config`."""
    return config(url, kind, more).replace("output = 2 }", f"output = 2, {extra} }}")


def nano(**usd_per_million: float) -> int:
    """Nano-USD of counts at rates, each written as `name=count * rate`."""
    return round(sum(usd_per_million.values()) * 1000)


# -- parts


@on_loop
async def test_sound_is_charged_at_its_own_rate_on_either_side() -> None:
    async with scripted(answer(completion(usage=SOUND))) as upstream, rig(prices(upstream.url)) as running:
        reply = await running.chat()
        record = running.record
        assert (record.tokens, record.parts) == (Tokens(1000, 0, 0, 100, 0), {"input_audio": 600, "output_audio": 80})
        assert record.cost == nano(text=400 * 1, sound=600 * 10, said=20 * 2, spoken=80 * 20)
        assert (record.list_cost, record.input_cost) == (record.cost, nano(text=400 * 1, sound=600 * 10))
        assert (record.cost_basis, record.processing, record.provisional) == ("measured", None, None)
        assert reply.headers["penstock-cost-usd"] == f"0.{record.cost:09d}"


@on_loop
async def test_a_part_without_a_rate_is_charged_as_its_class_and_said_to_be_an_estimate() -> None:
    async with scripted(answer(completion(usage=SOUND))) as upstream, rig(config(upstream.url)) as running:
        await running.chat()
        record = running.record
        assert (record.cost, record.cost_basis, record.tokens_basis) == (nano(entered=1000 * 1, made=100 * 2), "estimated", "measured")


@pytest.mark.parametrize(("extra", "basis"), [(PARTS, "estimated"), ("input_audio = 1, cached_input_audio = 0.1", "measured")])
@on_loop
async def test_what_a_body_leaves_open_makes_an_estimate_only_where_it_matters(extra: str, basis: str) -> None:
    """Which of the cached tokens were sound is not told: that matters only where sound has prices of its own."""
    usage = {**SOUND, "prompt_tokens_details": {"audio_tokens": 600, "cached_tokens": 500}, "completion_tokens_details": None}
    async with scripted(answer(completion(usage=usage))) as upstream, rig(prices(upstream.url, extra=extra)) as running:
        await running.chat()
        assert running.record.parts == {"input_audio": 500, "cache_read_audio": 100}
        assert running.record.cost_basis == basis


@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_writes_for_an_hour_and_searches_of_anthropic(dialect: str) -> None:
    usage = {**MESSAGE["usage"], "cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 1}}
    usage["server_tool_use"] = {"web_search_requests": 2, "web_fetch_requests": 1}
    async with (
        scripted(answer({**MESSAGE, "usage": usage})) as upstream,
        rig(prices(upstream.url, "anthropic", more="")) as running,
    ):
        await ask(running, dialect)
        record = running.record
        assert (record.tokens, record.parts) == (Tokens(10, 6, 4, 5, 0), {"cache_write_1h": 3, "web_searches": 2})
        assert record.cost == nano(fresh=10 * 1, read=6 * 0.1, minutes=1 * 1.25, hour=3 * 2, made=5 * 2, searched=2 * 10_000)
        assert record.cost_basis == "measured"


@on_loop
async def test_a_stream_with_server_tools_is_charged_for_all_that_it_wrote() -> None:
    """The lifetimes are told for the first step only: what is written after it must not be free."""
    begun: dict[str, Any] = {"input_tokens": 5, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 1}
    begun["cache_creation"] = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 0}
    ended = {"input_tokens": 25, "cache_creation_input_tokens": 70, "cache_read_input_tokens": 10, "output_tokens": 8}
    events = (
        named("message_start", message={**MESSAGE, "content": [], "stop_reason": None, "usage": begun})
        + named("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + named("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
        + named("content_block_stop", index=0)
        + named("message_delta", delta={"stop_reason": "end_turn"}, usage={**ended, "server_tool_use": {"web_search_requests": 1}})
        + named("message_stop")
    )
    async with scripted(stream(events)) as upstream, rig(prices(upstream.url, "anthropic", more="")) as running:
        for dialect in DIALECTS:
            more: dict[str, Any] = {"stream_options": {"include_usage": True}} if dialect == "chat.completions" else {}
            reply = await ask(running, dialect, stream=True, **more)
            await running.settled()
            record = running.last
            assert (record.tokens, record.parts) == (Tokens(25, 10, 70, 8, 0), {"web_searches": 1})
            assert record.cost == nano(fresh=25 * 1, read=10 * 0.1, written=70 * 1.25, made=8 * 2, searched=1 * 10_000)
            assert told_cost(reply) == f"0.{record.cost:09d}"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@on_loop
async def test_searches_that_only_the_answer_shows_are_charged(streamed: bool) -> None:
    told = {**RESPONSE, "output": [*TOOL_ITEMS, *RESPONSE["output"]]}
    events = named("response.created", response={**told, "status": "in_progress", "output": [], "usage": None})
    play = stream(events + named("response.completed", response=told)) if streamed else answer(told)
    async with scripted(play) as upstream, rig(prices(upstream.url, more='provider = "openai"\nspeaks = ["responses"]')) as running:
        reply = await ask(running, "responses", stream=streamed)
        await running.settled()
        record = running.record
        assert record.parts == {"web_searches": 1, "file_searches": 1}
        tokens = record.tokens
        assert record.cost == nano(
            fresh=tokens.uncached_input * 1, read=tokens.cache_read * 0.1, made=tokens.output * 2, web=10_000, files=2_500
        )
        if streamed:
            assert told_cost(reply) == f"0.{record.cost:09d}"


# -- processing classes


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("tier", "processing", "rates"),
    [
        ("default", None, (1, 2)),
        (None, None, (1, 2)),
        ("flex", "flex", (0.5, 1)),
        ("priority", "priority", None),
        ("made-up", "made_up", None),
        ({"odd": 1}, "an object", None),
    ],
)
@on_loop
async def test_the_class_that_the_answer_names_is_priced_or_unpriced(
    tier: Any, processing: str | None, rates: tuple[float, float] | None, streamed: bool
) -> None:
    """Never silently at the standard price, nor at nothing."""
    whole = completion(service_tier=tier)
    events = event(piece("hi", "stop", service_tier=tier)) + event({**usage_chunk(), "service_tier": tier}) + b"data: [DONE]\n\n"
    play = stream(events) if streamed else answer(whole)
    async with scripted(play) as upstream, rig(prices(upstream.url, extra=BATCH_AND_FLEX)) as running:
        await running.chat(service_tier="flex", stream=streamed)
        await running.settled()
        record = running.record
        assert (record.processing, record.tokens) == (processing, Tokens(10, 0, 0, 5, 0))
        expected = None if rates is None else nano(entered=10 * rates[0], made=5 * rates[1])
        assert (record.cost, record.cost_basis) == (expected, "unknown" if rates is None else "measured")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@on_loop
async def test_a_translated_answer_keeps_the_class_that_its_upstream_named(dialect: str, streamed: bool) -> None:
    whole = completion(service_tier="flex")
    events = event(piece("hi", "stop", service_tier="flex")) + event({**usage_chunk(), "service_tier": "flex"}) + b"data: [DONE]\n\n"
    more = 'provider = "openai"\nspeaks = ["chat"]'
    play = stream(events) if streamed else answer(whole)
    async with scripted(play) as upstream, rig(prices(upstream.url, extra=BATCH_AND_FLEX, more=more)) as running:
        options: dict[str, Any] = {"stream_options": {"include_usage": True}} if streamed and dialect == "chat.completions" else {}
        reply = await ask(running, dialect, stream=streamed, **options)
        await running.settled()
        assert (running.record.processing, running.record.cost) == ("flex", nano(entered=10 * 0.5, made=5 * 1))
        if streamed:
            assert told_cost(reply) == "0.000010000"


@pytest.mark.parametrize(("tier", "bounded"), [("flex", True), ("default", True), ("priority", False), ("made-up", False)])
@on_loop
async def test_a_class_without_a_price_is_booked_at_no_price_when_no_answer_tells_it(tier: str, bounded: bool) -> None:
    """Not at the standard one: priority costs more."""
    quick = 'provider = "openai"'
    async with scripted(hanging()) as upstream:
        toml = prices(upstream.url, extra=BATCH_AND_FLEX, more=quick).replace("2s", "200ms")
        async with rig(toml) as running:
            await running.chat(max_tokens=10, service_tier=tier)
            await running.settled()
            record = running.record
            assert (record.reserved is not None, record.cost is not None, record.wasted_cost is not None) == (bounded,) * 3
            assert record.cost_basis == ("estimated" if bounded else "unknown")
            assert record.tokens.output == 10, "that much could be made of it, whatever it costs"


@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_anthropic_names_its_class_within_the_usage(dialect: str) -> None:
    told = {**MESSAGE, "usage": {**MESSAGE["usage"], "service_tier": "batch", "cache_read_input_tokens": 0}}
    async with scripted(answer(told)) as upstream, rig(prices(upstream.url, "anthropic", BATCH_AND_FLEX, "")) as running:
        await ask(running, dialect)
        assert running.record.processing == "batch"
        assert running.record.cost == nano(fresh=10 * 0.25, written=4 * 0.25, made=5 * 0.5)


@on_loop
async def test_the_class_of_a_response_is_what_its_end_says() -> None:
    """It begins with what was asked for (`auto`), and ends with what was given."""
    events = named("response.created", response={**RESPONSE, "status": "in_progress", "service_tier": "auto", "usage": None})
    events += named("response.completed", response={**RESPONSE, "service_tier": "flex"})
    for dialect in ("responses", "messages"):
        more = 'provider = "openai"\nspeaks = ["responses"]'
        async with scripted(stream(events)) as upstream, rig(prices(upstream.url, extra=BATCH_AND_FLEX, more=more)) as running:
            await ask(running, dialect, stream=True)
            await running.settled()
            assert running.record.processing == "flex"


@on_loop
async def test_own_hardware_has_no_classes() -> None:
    async with scripted(answer(completion(service_tier="flex"))) as upstream, rig(config(upstream.url)) as running:
        await running.chat()
        assert (running.record.processing, running.record.cost) == ("flex", nano(entered=10 * 1, made=5 * 2))
