"""Bounded upstreams: who is asked next, how long who waits, and that every place comes back whatever happens to its call."""

import asyncio
import time
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from penstock.gateway.breaker import FAILURES_TO_OPEN
from penstock.ports.directives import Directive
from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.gateway_rig import QUICK, Reply, Rig, chat_body, fallback, message, on_loop, one_upstream, rig
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    Play,
    Scripted,
    answer,
    chunked,
    closing,
    completion,
    dead_url,
    event,
    hanging,
    piece,
    resetting,
    scripted,
    simulated,
    stream,
    stream_events,
)

GOOD = answer(completion())
ONE = "max_concurrent = 1\nretries = 0"


class Gate:
    """Answers one request each time that it is opened."""

    def __init__(self, reply: bytes = GOOD) -> None:
        self._reply = reply
        self._opened = asyncio.Semaphore(0)

    def open(self, times: int = 1) -> None:
        for _ in range(times):
            self._opened.release()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._opened.acquire()
        writer.write(self._reply)
        await writer.drain()


def sla(name: str) -> dict[str, str]:
    return {"penstock-tag-sla": name}


def said(upstream: Scripted) -> list[str]:
    """What was asked, in the order in which the upstream heard it."""
    return [asked.json["messages"][0]["content"] for asked in upstream.asked]


async def until(reached: Any) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.001)


async def come(running: Rig, text: str, headers: dict[str, str] | None = None, **fields: Any) -> asyncio.Task[Reply]:
    """Asks, and returns once the request waits for a place or has gone out."""
    lanes, outstanding = running.gateway.lanes, running.outstanding()
    before = lanes.waiting + outstanding
    task = asyncio.create_task(running.chat(text, headers, **fields))
    await until(lambda: task.done() or lanes.waiting + running.outstanding() > before)
    return task


@on_loop
async def test_the_urgent_go_first_and_tenants_take_turns() -> None:
    gate = Gate()
    keys = [
        ApiKey(id=name, prefix="psk_", sha256=fingerprint(f"psk_{name}"), created_ns=1, tags=tags)
        for name, tags in (("a", {"tenant": "greedy"}), ("b", {"tenant": "greedy"}), ("c", {}))
    ]
    bearers = {key.id: {"authorization": f"Bearer psk_{key.id}"} for key in keys}
    async with scripted(gate) as upstream, rig(one_upstream(upstream.url, upstream=ONE), keys=keys) as running:
        order: tuple[tuple[str, dict[str, str]], ...] = (
            ("first", {}),
            ("best", sla("best_effort")),
            ("a1", bearers["a"]),
            ("a2", bearers["a"]),
            ("b1", bearers["b"]),
            ("c1", bearers["c"] | {"penstock-tag-tenant": "greedy"}),
            ("team1", {"penstock-tag-team": "search"}),
            ("keyless", {}),
            ("team2", {"penstock-tag-team": "search"}),
            ("critical", sla("critical")),
        )
        tasks = [await come(running, text, headers) for text, headers in order]
        assert said(upstream) == ["first"]
        gate.open(len(order))
        assert {reply.status for reply in await asyncio.gather(*tasks)} == {200}
        assert said(upstream) == "first critical a1 c1 team1 keyless a2 team2 b1 best".split()


@on_loop
async def test_a_place_is_kept_until_the_end_of_a_stream() -> None:
    more = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunked(event(piece("hel"))))
        await more.wait()
        writer.write(chunked(stream_events("lo")) + chunked(b""))
        await writer.drain()

    async with scripted(play, GOOD) as upstream, rig(one_upstream(upstream.url, upstream=ONE)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(message("POST", "/v1/chat/completions", chat_body("first", stream=True)))
        await reader.readuntil(b"hel")
        second = await come(running, "second")
        assert len(upstream.asked) == 1 and running.gateway.lanes.gauges()["queue"]["standard"] == 1
        more.set()
        await reader.readuntil(b"[DONE]")
        assert (await second).status == 200
        writer.transport.abort()


@pytest.mark.parametrize(
    "play",
    [
        hanging(),
        hanging(STREAM_HEAD),
        hanging(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"),
        closing(b""),
        closing(b"garbage"),
        closing(GOOD[:-5]),
        closing(STREAM_HEAD + chunked(event(piece("hel")))),
        resetting(),
        resetting(STREAM_HEAD + chunked(event(piece("hel")))),
        stream(b""),
        answer({"error": {"message": "no"}}, 503),
        answer({"error": {"message": "no"}}, 429),
        answer({"error": {"message": "no"}}, 404),
        answer(b"x" * 3000),
        answer(b"<html>"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
@on_loop
async def test_a_place_comes_back_whatever_the_upstream_does(play: Play, streamed: bool) -> None:
    config = one_upstream("URL", upstream=f"max_concurrent = 1\nretries = 1\n{QUICK}", server='max_answer = "2 kB"')
    async with scripted(play) as upstream, rig(config.replace("URL", upstream.url)) as running:
        await running.chat(stream=streamed)
        await until(lambda: running.gateway.counters.in_flight == 0)
        upstream.plays = [GOOD]
        assert (await running.chat("again")).status == 200


@pytest.mark.parametrize("streamed", [True, False])
@on_loop
async def test_a_place_comes_back_when_the_client_goes_away(streamed: bool) -> None:
    play = hanging(STREAM_HEAD + chunked(event(piece("hel")))) if streamed else hanging()
    async with scripted(play) as upstream, rig(one_upstream(upstream.url, upstream=ONE)) as running:
        first = await come(running, "first", stream=streamed)
        second = await come(running, "second")
        first.cancel()
        await until(lambda: len(upstream.asked) == 2)
        second.cancel()
        await running.settled()
        assert {record.outcome for record in running.records} == {"client_closed"}


@on_loop
async def test_one_that_goes_away_while_it_waits_is_never_asked_for() -> None:
    gate = Gate()
    async with scripted(gate) as upstream, rig(one_upstream(upstream.url, upstream=ONE)) as running:
        first, second, third = [await come(running, text) for text in ("first", "second", "third")]
        second.cancel()
        await until(lambda: running.gateway.lanes.waiting == 1)
        assert running.last.outcome == "client_closed" and running.last.cost == 0, "it left the queue at once"
        gate.open(2)
        assert [(await task).status for task in (first, third)] == [200, 200]
        assert said(upstream) == ["first", "third"]


@on_loop
async def test_who_waits_too_long_is_told_to_come_back() -> None:
    gate = Gate()
    times = '[queue]\ncritical = "300ms"\nstandard = "50ms"\nbest_effort = "0s"'
    async with scripted(gate) as upstream, rig(one_upstream(upstream.url, upstream=ONE, more=times)) as running:
        first = await come(running, "first")
        critical = await come(running, "critical", sla("critical"))
        for name, least_us in (("best_effort", 0), ("standard", 45_000)):
            reply = await running.chat(name, sla(name))
            assert (reply.status, reply.headers["penstock-error"]) == (429, "limit")
            assert int(reply.headers["retry-after"]) >= 1 and reply.error["code"] == "rate_limit_exceeded"
            assert "`main`" in reply.error["message"] and name in reply.error["message"]
            record = running.last
            assert (record.outcome, record.status, record.cost, record.tokens.total) == ("refused", 429, 0, 0)
            assert least_us <= record.duration_us < least_us + 200_000, "waiting is part of the duration"
        assert running.gateway.lanes.gauges()["shed"] == {"critical": 0, "standard": 1, "best_effort": 1}
        gate.open(2)
        assert [(await task).status for task in (first, critical)] == [200, 200]
        assert said(upstream) == ["first", "critical"]


@on_loop
async def test_a_wait_that_ends_goes_to_the_fallback_first() -> None:
    first_gate, second_gate = Gate(), Gate()
    async with scripted(first_gate) as first, scripted(second_gate) as second:
        bound = "retries = 0\nmax_concurrent = 1"
        config = fallback(first.url, second.url).replace("retries = 0", bound).replace('"200ms"', '"5s"')
        async with rig(config + '[queue]\nstandard = "50ms"') as running:
            tasks = [await come(running, "one", model="auto")]
            tasks += [await come(running, "two", model="auto")]
            await until(lambda: len(second.asked) == 1)
            reply = await running.chat("three", model="auto")
            assert reply.status == 429 and "`first`" in reply.error["message"]
            assert running.gateway.lanes.gauges()["shed"]["standard"] == 1, "who found a place elsewhere is not counted"
            first_gate.open()
            second_gate.open()
            assert [(await task).headers["penstock-model"] for task in tasks] == ["cheap", "dear"]
            assert (said(first), said(second)) == (["one"], ["two"])


@on_loop
async def test_a_dead_first_upstream_is_what_the_client_hears_of() -> None:
    gate = Gate()
    async with scripted(gate) as busy:
        config = fallback(dead_url(), busy.url).replace("[upstreams.second]", "[upstreams.second]\nmax_concurrent = 1")
        config = config.replace('"200ms"', '"5s"')
        async with rig(config + '[queue]\nstandard = "20ms"') as running:
            served = await come(running, "one", model="auto")
            await until(lambda: len(busy.asked) == 1)
            reply = await running.chat("two", model="auto")
            assert (reply.status, reply.error["code"]) == (502, "connect")
            gate.open()
            assert (await served).status == 200


@on_loop
async def test_a_try_that_is_repeated_holds_no_place_while_it_pauses() -> None:
    gate = Gate(answer({"error": {"message": "no"}}, 503))
    async with scripted(gate, GOOD) as upstream, rig(one_upstream(upstream.url, upstream="max_concurrent = 1\nretries = 1")) as running:
        with patch("penstock.gateway.steps.call.FIRST_BACKOFF_S", 2.0):  # far longer than the second one takes to go out
            first = await come(running, "first")
            second = await come(running, "second")
            gate.open()
            assert [(await task).status for task in (first, second)] == [200, 200]
        assert said(upstream) == ["first", "second", "first"]


@on_loop
async def test_who_waits_is_not_sent_into_a_circuit_that_opened_meanwhile() -> None:
    gate = Gate(answer({"error": {"message": "no"}}, 503))
    async with scripted(gate) as upstream, rig(one_upstream(upstream.url, upstream=ONE)) as running:
        tasks = [await come(running, str(number)) for number in range(FAILURES_TO_OPEN + 3)]
        gate.open(len(tasks))
        replies = [await task for task in tasks]
        assert [reply.status for reply in replies] == [503] * FAILURES_TO_OPEN + [502] * 3
        assert len(upstream.asked) == FAILURES_TO_OPEN


@on_loop
async def test_whatever_is_passed_through_needs_a_place_too() -> None:
    gate = Gate()
    async with scripted(gate) as upstream, rig(one_upstream(upstream.url, upstream=ONE)) as running:
        first = await come(running, "first")
        files = asyncio.create_task(running.ask("GET", "/v1/files"))
        await until(lambda: running.gateway.lanes.waiting == 1)
        assert len(upstream.asked) == 1
        gate.open(2)
        assert ((await first).status, (await files).status) == (200, 200)


@on_loop
async def test_no_more_are_under_way_than_the_upstream_takes_and_all_are_served() -> None:
    most = 0
    async with simulated(max_num_seqs=4) as url, rig(one_upstream(url, upstream="max_concurrent = 4")) as running:

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, running.outstanding())
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        replies = await asyncio.gather(*(running.chat(str(number), stream=number % 2 == 0) for number in range(60)))
        watching.cancel()
        assert {reply.status for reply in replies} == {200} and most == 4


# how full a worker may be


@on_loop
async def test_the_fuller_a_worker_the_more_urgent_a_request_must_be() -> None:
    gate = Gate()
    async with scripted(gate) as upstream, rig(one_upstream(upstream.url, server="max_in_flight = 20")) as running:
        waiting: list[asyncio.Task[Reply]] = []
        for name, places in (("best_effort", 16), ("standard", 19), ("critical", 20)):
            while len(waiting) < places:
                waiting.append(await come(running, f"{name} {len(waiting)}", sla(name)))
            reply = await running.chat("one more", sla(name))
            assert (reply.status, reply.headers["penstock-error"], len(upstream.asked)) == (429, "limit", places)
        assert running.gateway.lanes.gauges()["shed"] == {"critical": 1, "standard": 1, "best_effort": 1}
        gate.open(len(waiting))
        assert {(await task).status for task in waiting} == {200}


# objectives that hold best-effort requests back


def holding_back(**where: str) -> Directive:
    now = time.time_ns()
    return Directive(id="d1", kind="hold_best_effort", objective="o", where=where, since_ns=now, until_ns=now + 60_000_000_000)


@on_loop
async def test_best_effort_waits_while_an_objective_is_missed() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more='[queue]\nbest_effort = "5s"')) as running:
        assert (await running.chat("known", sla("best_effort"))).status == 200
        running.gateway.standing.hear([holding_back()])
        held = asyncio.create_task(running.chat("new", sla("best_effort")))
        await until(lambda: running.gateway.lanes.gauges()["queue"]["best_effort"] == 1)
        for text, name, cache in (("a", "critical", "miss"), ("b", "standard", "miss"), ("known", "best_effort", "exact")):
            reply = await running.chat(text, sla(name))
            assert (reply.status, reply.headers["penstock-cache"]) == (200, cache)
        assert said(upstream) == ["known", "a", "b"]
        running.gateway.standing.hear([])
        assert (await held).status == 200
        assert running.gateway.lanes.gauges()["queue"]["best_effort"] == 0


@on_loop
async def test_best_effort_that_is_held_for_too_long_is_refused_and_one_that_goes_away_is_forgotten() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more='[queue]\nbest_effort = "150ms"')) as running:
        running.gateway.standing.hear([holding_back()])
        gone = asyncio.create_task(running.chat("gone", sla("best_effort")))
        await until(lambda: running.gateway.lanes.held == 1)
        gone.cancel()
        await until(lambda: running.gateway.lanes.held == 0)
        reply = await running.chat("new", sla("best_effort"))
        assert (reply.status, reply.headers["penstock-error"]) == (429, "limit") and int(reply.headers["retry-after"]) > 1
        assert "objective" in reply.error["message"]
        assert (running.last.outcome, running.last.cost) == ("refused", 0) and running.last.duration_us >= 145_000
        assert upstream.asked == [] and running.journal.reservations == []
        assert running.gateway.lanes.gauges()["shed"]["best_effort"] == 1


@on_loop
async def test_anthropics_clients_are_refused_in_their_words() -> None:
    gate = Gate()
    config = one_upstream("URL", upstream=f'{ONE}\nspeaks = ["chat", "messages"]', more='[queue]\nstandard = "0s"')
    async with scripted(gate) as upstream, rig(config.replace("URL", upstream.url)) as running:
        first = await come(running, "first")
        body = orjson.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
        reply = await running.ask("POST", "/v1/messages", body, {"anthropic-version": "2023-06-01"})
        assert (reply.status, reply.json["type"], reply.json["error"]["type"]) == (429, "error", "rate_limit_error")
        gate.open()
        assert (await first).status == 200
