"""Streams on their way through: bytes as they came but for the usage, however they are cut, and the upstream let go when nobody listens."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.integration.gateway_rig import Reply, Rig, chat_body, message, on_loop, one_upstream, read_reply, rig
from tests.integration.upstream_rig import (
    DONE,
    STREAM_HEAD,
    USAGE,
    Scripted,
    chunked,
    event,
    hanging,
    in_pieces,
    piece,
    scripted,
    stream,
    stream_events,
    usage_chunk,
)

NO_CACHE = "[cache]\nexact = { enabled = false }"
WANTED: dict[str, Any] = {"stream_options": {"include_usage": True}}
COST = b',"penstock":{"cost_usd":"0.000020000"}'


async def _stream(upstream: Scripted, events: bytes, config: str = "", **fields: Any) -> tuple[Reply, Rig]:
    upstream.plays = [stream(events)]
    async with rig(one_upstream(upstream.url, upstream=config, more=NO_CACHE)) as running:
        reply = await running.chat(stream=True, **fields)
    return reply, running


@on_loop
async def test_usage_is_asked_for_and_taken_out_again_for_a_client_that_did_not_ask() -> None:
    async with scripted(b"") as upstream:
        reply, running = await _stream(upstream, stream_events())
        assert upstream.asked[0].json["stream_options"] == {"include_usage": True}
        assert reply.body == stream_events(usage=None)
        assert (running.record.tokens_basis, running.record.cost, running.record.tokens.total) == ("measured", 20_000, 15)
        assert "penstock-cost-usd" not in reply.headers and reply.headers["penstock-request-id"] == running.record.id


@on_loop
async def test_usage_stays_for_a_client_that_asked_with_the_cost_of_the_record() -> None:
    async with scripted(b"") as upstream:
        reply, running = await _stream(upstream, stream_events(), **WANTED)
        sent = message("POST", "/", chat_body(stream=True, **WANTED)).partition(b"\r\n\r\n")[2]
        assert upstream.asked[0].body == sent.replace(b'"m"', b'"real-m"'), "it had asked already"
        plain = event(usage_chunk())
        assert reply.body == stream_events().replace(plain, plain[:-3] + COST + plain[-3:])
        assert reply.chunks[-1]["penstock"]["cost_usd"] == f"{running.record.cost / 1e9:.9f}"  # type: ignore[operator]


@pytest.mark.parametrize("wants", [True, False])
@on_loop
async def test_usage_on_the_last_choice(wants: bool) -> None:
    last = event(piece(reason="stop", usage=USAGE))
    async with scripted(b"") as upstream:
        reply, running = await _stream(upstream, event(piece("hi")) + last + DONE, **(WANTED if wants else {}))
        assert reply.body == event(piece("hi")) + (last[:-3] + COST + last[-3:] if wants else event(piece(reason="stop"))) + DONE
        assert (running.record.cost, running.record.finish_reason) == (20_000, "stop")


@pytest.mark.parametrize("wants", [True, False])
@on_loop
async def test_usage_that_grows_on_every_chunk_counts_once(wants: bool) -> None:
    growing = [{"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count} for count in (1, 3, 5)]
    events = b"".join(event(piece(str(number), usage=usage)) for number, usage in enumerate(growing)) + event(piece(reason="stop")) + DONE
    async with scripted(b"") as upstream:
        reply, running = await _stream(upstream, events, **(WANTED if wants else {}))
        assert (running.record.tokens.output, running.record.cost) == (5, 20_000)
        costs = [chunk["penstock"]["cost_usd"] for chunk in reply.chunks if "penstock" in chunk]
        assert costs == (["0.000012000", "0.000016000", "0.000020000"] if wants else [])
        assert (b'"usage"' in reply.body) == wants and reply.text == "012"


NULLS = event(piece("a", usage=None)) + event(piece(reason="stop", usage=None)) + event(usage_chunk()) + DONE


@pytest.mark.parametrize(
    ("config", "fields", "expected"),
    [
        ("", {}, event(piece("a")) + event(piece(reason="stop")) + DONE),
        ("", WANTED, NULLS.replace(event(usage_chunk()), event(usage_chunk())[:-3] + COST + event(usage_chunk())[-3:])),
        ('stream_usage = "off"', {}, NULLS),
    ],
)
@on_loop
async def test_a_usage_of_null_goes_only_when_it_came_because_we_asked(config: str, fields: dict[str, Any], expected: bytes) -> None:
    async with scripted(b"") as upstream:
        reply, running = await _stream(upstream, NULLS, config, **fields)
        assert reply.body == expected and running.record.cost == 20_000


@on_loop
async def test_an_upstream_that_refuses_stream_options_is_not_asked() -> None:
    async with scripted(b"") as upstream:
        reply, running = await _stream(upstream, stream_events("a", "b", usage=None), 'stream_usage = "off"')
        assert "stream_options" not in upstream.asked[0].json
        assert reply.body == stream_events("a", "b", usage=None)
        assert (running.record.tokens_basis, running.record.tokens.output) == ("estimated", 3), "an event is about a token"


@on_loop
async def test_other_stream_options_stay() -> None:
    async with scripted(b"") as upstream:
        await _stream(upstream, stream_events(), stream_options={"include_usage": False, "include_obfuscation": True})
        options = upstream.asked[0].json["stream_options"]
        assert options == {"include_usage": True, "include_obfuscation": True}


VARIED = (
    b": keep-alive\n\n"
    + event(piece("größe 漢字 🙂"))
    + b"\n"
    + event(piece('a "usage" in a text, and data: [DONE] too'))
    + b"event: x\r\nid: 7\r\ndata: " + event(piece("crlf"))[6:-2] + b"\r\n\r\n"
    + b": PROCESSING\r\r"
    + event(piece("x", usage=None))
    + event(piece(reason="stop"))
    + event(usage_chunk())
    + DONE
)  # fmt: skip


@pytest.mark.parametrize("wants", [True, False])
@on_loop
async def test_a_stream_comes_out_the_same_wherever_it_is_cut(wants: bool) -> None:
    fields = WANTED if wants else {}
    async with scripted(stream(VARIED)) as upstream, rig(one_upstream(upstream.url, more=NO_CACHE)) as running:
        whole = (await running.chat(stream=True, **fields)).body
        assert whole.count(b"data: ") == VARIED.count(b"data: ") - (0 if wants else 1) and whole.endswith(DONE)
        for cut in range(1, len(VARIED)):
            upstream.plays = [STREAM_HEAD + chunked(VARIED[:cut]) + chunked(VARIED[cut:]) + chunked(b"")]
            reply = await running.chat(stream=True, **fields)
            assert reply.whole and reply.body == whole, cut
        assert {(record.outcome, record.cost) for record in running.records} == {("ok", 20_000)}


@on_loop
async def test_a_stream_of_single_bytes_comes_out_the_same() -> None:
    pieces = [chunked(VARIED[at : at + 1]) for at in range(len(VARIED))]
    script = in_pieces(STREAM_HEAD, *pieces, chunked(b""))
    async with scripted(script) as upstream, rig(one_upstream(upstream.url, more=NO_CACHE)) as running:
        reply = await running.chat(stream=True)
        assert reply.whole
        kept = VARIED.replace(event(usage_chunk()), b"").replace(event(piece("x", usage=None)), event(piece("x")))
        assert reply.body == kept


@on_loop
async def test_events_are_not_held_back_but_the_end_is_until_it_is_recorded() -> None:
    going_on = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunked(event(piece("first"))))
        await going_on.wait()
        writer.write(chunked(stream_events("second")) + chunked(b""))
        await writer.drain()

    async with scripted(play) as upstream, rig(one_upstream(upstream.url)) as running:
        recorded = asyncio.Event()
        running.journal.durable = recorded.wait  # type: ignore[method-assign, assignment]
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(message("POST", "/v1/chat/completions", chat_body(stream=True)))
        assert b"first" in await reader.readuntil(b"\n\n")
        assert running.records == [] and len(running.journal.reservations) == 1
        going_on.set()
        assert b"stop" in await reader.readuntil(b'"stop"}]}\n\n')
        while not running.records:
            await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readuntil(b"[DONE]"), 0.05)
        recorded.set()
        assert b"[DONE]" in await reader.readuntil(b"0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("wants", [True, False])
@on_loop
async def test_a_client_that_leaves_a_stream_frees_the_upstream_and_is_booked(wants: bool) -> None:
    begun = STREAM_HEAD + chunked(event(piece("one")) + event(piece("two")))
    async with scripted(hanging(begun)) as upstream, rig(one_upstream(upstream.url)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(message("POST", "/v1/chat/completions", chat_body(stream=True, **(WANTED if wants else {}))))
        await reader.readuntil(b"two")
        writer.transport.abort()
        await asyncio.wait_for(upstream.left.wait(), 5)
        await running.settled()
        record = running.record
        assert (record.outcome, record.status, record.tokens_basis, record.cost_basis) == ("client_closed", 499, "estimated", "estimated")
        assert record.tokens.output == 2 and record.tokens.input > 0
        assert record.cost == record.tokens.input * 1000 + 2 * 2000
        assert running.gateway.cache is not None and running.gateway.cache.stats()["entries"] == 0


@on_loop
async def test_a_client_that_reads_slowly_slows_the_upstream_and_loses_nothing() -> None:
    events = [event(piece("x" * 50_000))] * 600
    written = 0

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(STREAM_HEAD)
        for each in events:
            writer.write(chunked(each))
            await writer.drain()
            written += 1
        writer.write(chunked(stream_events("end")) + chunked(b""))
        await writer.drain()

    async with scripted(play) as upstream, rig(one_upstream(upstream.url)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(message("POST", "/v1/chat/completions", chat_body(stream=True)))
        await asyncio.sleep(0.3)
        stalled, reply = written, await read_reply(reader)
        writer.close()
        assert stalled < len(events), "the gateway does not take in what nobody reads"
        assert reply.whole and reply.body == b"".join(events) + stream_events("end", usage=None)


@on_loop
async def test_several_answers_in_one_stream() -> None:
    pieces = [piece(f"{number}", index=index) for number, index in itertools.product(range(3), range(2))]
    events = b"".join(map(event, [*pieces, piece(reason="stop", index=0), piece(reason="length", index=1), usage_chunk()])) + DONE
    async with scripted(stream(events)) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat(stream=True, n=2)
        assert reply.body == events.replace(event(usage_chunk()), b"") and running.record.cost == 20_000
        replay = await running.chat(n=2)
        assert running.last.cache == "exact"
        assert [choice["message"]["content"] for choice in replay.json["choices"]] == ["012", "012"]
