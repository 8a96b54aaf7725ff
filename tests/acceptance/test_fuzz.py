"""Anything that a client may send, at random: no error of Penstock's own, no hang, nothing left in flight, a record for each request."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.gateway_rig import Reply, Rig, message, one_upstream, read_reply, rig
from tests.integration.upstream_rig import simulated

ANSWER_S = 5
MORE = """
[tags]
allowed = { sla = ["critical", "standard", "best_effort"] }
[models.other]
upstream = "main"
[tiers]
small = { model = "m" }
large = { model = "other", complexity = "> 0.5" }
[routes.auto]
strategy = "by_complexity"
tiers = ["small", "large"]
fallback = ["m"]
[[rules]]
where = { data = "restricted" }
only = []
"""
bounded = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
Live = Callable[[Callable[[Rig], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Runs a coroutine against one live gateway, then checks that it is as it was."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        engine = simulated(speed=1000)
        url = runner.run(engine.__aenter__())
        upstream = 'timeout = { first_token = "2s", idle = "2s" }\nretries = 0'
        config = one_upstream(url, upstream=upstream, more=MORE, server='max_body = "20 kB"')
        gateway = rig(config)
        running = runner.run(gateway.__aenter__())

        async def checked(traffic: Callable[[Rig], Awaitable[None]]) -> None:
            async with asyncio.timeout(ANSWER_S * 2):
                await traffic(running)
                await running.settled()
            for record in running.records:
                assert record.error is None or "Error(" not in record.error, record
                assert record.status and record.duration_us >= 0
                assert record.cost is None or record.cost >= 0
            running.records.clear()
            running.journal.reservations.clear()

        yield lambda traffic: runner.run(checked(traffic))
        runner.run(gateway.__aexit__(None, None, None))
        runner.run(engine.__aexit__(None, None, None))


def check(reply: Reply) -> None:
    """An answer of the engine's, or a refusal in our words; never an internal error."""
    assert reply.whole and reply.status != 0
    assert reply.status not in (500, 503) and b'"internal"' not in reply.body, reply
    if reply.status >= 400 and reply.body:
        assert reply.error["message"]


async def exchange(running: Rig, *pieces: bytes) -> Reply | None:
    """Sends bytes and the end of the input; the first answer, None when the gateway closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        for each in pieces:
            writer.write(each)
            await writer.drain()
            await asyncio.sleep(0)
        reply = await asyncio.wait_for(read_reply(reader, pieces[0][:5] == b"HEAD "), ANSWER_S)
        return reply if reply.status else None
    except ConnectionError:
        return None
    finally:
        writer.transport.abort()


NAMES = st.sampled_from(["m", "auto", "other"])
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)
CONTENT = st.text(max_size=60) | st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "file"])}, optional={
    "text": LEAVES, "image_url": VALUES, "file_id": LEAVES, "content": VALUES}), max_size=3)  # fmt: skip
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(["user", "system", "tool", 5]), "content": CONTENT | VALUES, "tool_calls": VALUES}
    ),
    max_size=4,
)
KNOWN = {
    "messages": MESSAGES | VALUES,
    "prompt": st.text(max_size=40) | st.lists(st.text(max_size=10), max_size=3) | st.lists(st.lists(st.integers(0, 9))) | VALUES,
    "input": st.text(max_size=40) | VALUES,
    "stream": st.booleans() | VALUES,
    "stream_options": st.fixed_dictionaries({}, optional={"include_usage": st.booleans() | VALUES}) | VALUES,
    "n": st.integers(-2, 5) | VALUES,
    "max_tokens": st.integers(-1, 20) | LEAVES,
    "metadata": st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=4) | st.just({"data": "restricted"}) | VALUES,
    "user": LEAVES,
    "service_tier": st.sampled_from(["flex", "priority", "x"]) | LEAVES,
    "tools": VALUES,
    "logprobs": VALUES,
    "stop": VALUES,
    "response_format": VALUES,
    "modalities": VALUES,
    "store": VALUES,
    "simulate_fault": st.sampled_from(["error-body", "reset", "no-done", "half-event", "usage-on-last-choice", "not-json", "empty"]),
}
ODD = st.fixed_dictionaries({"model": NAMES | VALUES}, optional={**KNOWN, "surprise": VALUES})
SOUND = st.fixed_dictionaries({"model": NAMES, "stream": st.booleans(), "messages": st.just([{"role": "user", "content": "hi"}]), "prompt":
    st.sampled_from(["hi", ["a", "b"]]), "input": st.just("hi"), "max_tokens": st.integers(1, 5)})  # fmt: skip
CHANGES = st.lists(st.sampled_from(sorted(KNOWN)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: KNOWN[name] for name in names})
)
BODIES = ODD | st.builds(lambda sound, changes: {**sound, **changes}, SOUND, CHANGES)
CALLS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
PATHS = st.sampled_from([*CALLS, *CALLS, "/v1/responses", "/v1/images/generations", "/v1/files"])
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
HEADERS = st.fixed_dictionaries({}, optional={
    "penstock-tag-team": HEADER_TEXT, "penstock-tag-sla": st.sampled_from(["critical", "x"]),
    "penstock-cache": st.sampled_from(["no-store", "x"]), "penstock-upstream": st.sampled_from(["main", "x", ""]),
    "authorization": HEADER_TEXT, "content-type": st.sampled_from(["text/plain", ""]),
    "content-encoding": st.sampled_from(["gzip", "identity"]), "connection": st.sampled_from(["close", "x-a, upgrade", "keep-alive"]),
    "expect": st.just("100-continue-not"), "upgrade": st.just("h2c"),
})  # fmt: skip


@bounded
@given(path=PATHS, body=BODIES, headers=HEADERS)
def test_any_request_is_answered(live: Live, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    async def traffic(running: Rig) -> None:
        head, _, sent = message("POST", path, orjson.dumps(body), headers).partition(b"\r\n\r\n")
        reply = await exchange(running, head.decode().encode("latin-1") + b"\r\n\r\n" + sent)
        assert reply is not None
        if reply.whole:
            check(reply)
        else:
            assert running.last.outcome == "stream_broken"
        assert len(running.records) == 1 and running.last.status == reply.status

    live(traffic)


@bounded
@given(path=PATHS, body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | BODIES.map(lambda body: orjson.dumps(body)[:-2]))
def test_any_bytes_as_a_body_are_answered(live: Live, path: str, body: bytes) -> None:
    async def traffic(running: Rig) -> None:
        reply = await exchange(running, message("POST", path, body))
        assert reply is not None
        check(reply)
        assert len(running.records) == 1

    live(traffic)


TARGETS = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40).map(lambda text: text.encode("latin-1"))
STARTS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"CONNECT", b"PRI", b"get", b""])


@bounded
@given(method=STARTS, target=TARGETS | TARGETS.map(lambda target: b"/v1/" + target))
def test_any_request_line_is_answered(live: Live, method: bytes, target: bytes) -> None:
    async def traffic(running: Rig) -> None:
        reply = await exchange(running, method + b" " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert reply is not None
        check(reply)
        assert all(record.endpoint.isprintable() for record in running.records)

    live(traffic)


FRAGMENTS = [
    b"\r\n", b"\r\n\r\n", b"POST /v1/chat/completions HTTP/1.1\r\n", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n",
    b"5\r\nabcde\r\n", b"0\r\n\r\n", b'{"model":"m"}', b"GET /v1/models HTTP/1.0\r\n\r\n", b"content-length: -1\r\n",
    b"content-length: 99999999999999999999\r\n", b"expect: 100-continue\r\n",
]  # fmt: skip


@bounded
@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from(FRAGMENTS),
        min_size=1,
        max_size=8,
    )
)
def test_any_bytes_on_a_connection_leave_the_gateway_as_it_was(live: Live, pieces: list[bytes]) -> None:
    async def traffic(running: Rig) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        with contextlib.suppress(ConnectionError):
            for each in pieces:
                if writer.is_closing():
                    break  # the gateway has heard enough
                writer.write(each)
                await writer.drain()
                await asyncio.sleep(0.0005)
        writer.transport.abort()
        assert (await running.ask("GET", "/v1/models")).status == 200

    live(traffic)
