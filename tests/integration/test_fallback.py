"""When an upstream fails again and again: the fallback answers, and the circuit opens and recovers."""

import asyncio

import pytest

from penstock.gateway import breaker
from tests.integration.gateway_rig import fallback, on_loop, one_upstream, rig
from tests.integration.upstream_rig import Play, answer, completion, hanging, resetting, scripted, stream, stream_events

ONCE = "retries = 0"
ERROR = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": "busy"}}
GOOD = answer(completion())
GOOD_STREAM = stream(stream_events())


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("play", [hanging(), resetting(), answer(ERROR, 503)])
@on_loop
async def test_the_fallback_answers_and_is_told(play: Play, streamed: bool) -> None:
    good = GOOD_STREAM if streamed else GOOD
    async with scripted(play) as first, scripted(good) as second, rig(fallback(first.url, second.url)) as running:
        reply = await running.chat(model="auto", stream=streamed)
        assert reply.status == 200 and reply.whole
        assert reply.headers["penstock-route"] == "small>large"
        assert (reply.headers["penstock-model"], reply.headers["penstock-tier"]) == ("dear", "large")
        assert (first.asked[0].json["model"], second.asked[0].json["model"]) == ("cheap", "dear")
        record = running.record
        assert (record.route, record.model, record.tier, record.upstream) == ("small>large", "dear", "large", "second")
        assert (record.requested_model, record.strategy, record.cost) == ("auto", "fixed", 200_000)
        assert [attempt.model for attempt in record.attempts] == ["cheap", "dear"]


@on_loop
async def test_a_mistake_of_the_client_does_not_go_to_the_fallback() -> None:
    async with scripted(answer(ERROR, 400)) as first, scripted(GOOD) as second, rig(fallback(first.url, second.url)) as running:
        assert (await running.chat(model="auto")).status == 400
        assert second.asked == []


@on_loop
async def test_the_circuit_opens_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.15)
    async with scripted(answer(ERROR, 503)) as upstream, rig(one_upstream(upstream.url, upstream=ONCE)) as running:
        for _ in range(breaker.FAILURES_TO_OPEN):
            assert (await running.chat()).status == 503
        assert running.open_circuits() == 1
        reply = await running.chat()
        assert (reply.status, reply.error["code"]) == (502, "connect")
        assert (running.last.attempts, running.last.cost) == ((), 0)
        assert len(upstream.asked) == breaker.FAILURES_TO_OPEN
        upstream.plays = [GOOD]
        await asyncio.sleep(0.2)
        replies = await asyncio.gather(*(running.chat(str(number)) for number in range(4)))
        assert sorted(reply.status for reply in replies)[0] == 200, "one probe goes out"
        assert running.open_circuits() == 0
        assert (await running.chat("after")).status == 200


@on_loop
async def test_a_client_that_leaves_during_the_probe_does_not_keep_the_circuit_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.01)
    plays: list[Play] = [resetting()] * breaker.FAILURES_TO_OPEN
    async with scripted(*plays, hanging(), GOOD) as upstream, rig(one_upstream(upstream.url, upstream=ONCE)) as running:
        for _ in range(breaker.FAILURES_TO_OPEN):
            await running.chat()
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running.chat(), 0.1)
        await running.settled()
        assert running.last.outcome == "client_closed"
        assert (await running.chat()).status == 200


@on_loop
async def test_an_open_replica_is_left_out_while_another_works() -> None:
    async with scripted(answer(ERROR, 500)) as bad, scripted(GOOD) as good, rig(one_upstream(bad.url, good.url)) as running:
        statuses = [(await running.chat(str(number))).status for number in range(12)]
        assert statuses == [200] * 12
        assert len(bad.asked) == breaker.FAILURES_TO_OPEN
