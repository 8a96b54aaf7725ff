"""Keys that change while requests are under way: what was begun is finished and metered, what comes after is refused."""

import asyncio
import time

import msgspec

from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.gateway_rig import on_loop, one_upstream, rig
from tests.integration.upstream_rig import STREAM_HEAD, answer, chunked, completion, event, piece, scripted, stream_events

REQUIRED = "[auth]\nrequired = true"
ANN = {"authorization": "Bearer psk_ann"}
KEY = ApiKey(id="key_ann", prefix="psk_a", sha256=fingerprint("psk_ann"), created_ns=1)


@on_loop
async def test_a_revoked_key_finishes_what_it_began() -> None:
    gate = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunked(event(piece("be"))))
        await gate.wait()
        writer.write(chunked(stream_events("gun")) + chunked(b""))

    async with scripted(play, answer(completion())) as upstream, rig(one_upstream(upstream.url, more=REQUIRED), keys=[KEY]) as running:
        begun = asyncio.create_task(running.chat("stream", ANN, stream=True))
        while not upstream.asked:
            await asyncio.sleep(0.005)
        running.keys[0] = msgspec.structs.replace(KEY, revoked_ns=time.time_ns())
        await running.gateway.keys.refresh()
        assert (await running.chat("new", ANN)).status == 401
        assert not begun.done()
        gate.set()
        reply = await begun
        assert (reply.whole, reply.text) == (True, "begun")
        assert len(upstream.asked) == 1
        finished = running.last
        assert (finished.outcome, finished.key_id, finished.tokens_basis) == ("ok", "key_ann", "measured")
        assert finished.cost


@on_loop
async def test_a_key_ends_at_its_instant() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=REQUIRED), keys=[KEY]) as running:
        assert (await running.chat("one", ANN)).status == 200
        running.keys[0] = msgspec.structs.replace(KEY, expires_ns=time.time_ns() + 50_000_000)
        await running.gateway.keys.refresh()
        assert (await running.chat("two", ANN)).status == 200
        await asyncio.sleep(0.06)
        assert (await running.chat("two", ANN)).status == 401, "a key in its grace ends at its instant, without another look"


@on_loop
async def test_the_ring_keeps_hashes_only() -> None:
    async with scripted(answer(completion())) as upstream, rig(one_upstream(upstream.url, more=REQUIRED), keys=[KEY]) as running:
        for secret in ("psk_ann", "psk_anna", "psk_an", fingerprint("psk_ann")):
            status = (await running.chat(headers={"authorization": f"Bearer {secret}"})).status
            assert status == (200 if secret == "psk_ann" else 401)
        assert "psk_an" not in repr(vars(running.gateway.keys))
