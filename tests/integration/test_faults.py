"""What upstreams can get wrong, and what the gateway makes of it: retried, passed on as sent, or broken off; always one record."""

import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.gateway import breaker
from tests.integration.gateway_rig import QUICK, on_loop, one_upstream, rig
from tests.integration.upstream_rig import (
    DONE,
    STREAM_HEAD,
    USAGE,
    Play,
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

ONCE = "retries = 0"
ERROR = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": "busy"}}
GOOD = answer(completion())
GOOD_STREAM = stream(stream_events())


# nothing usable comes


@pytest.mark.parametrize(
    ("play", "status", "code", "worked"),
    [
        (hanging(), 504, "timeout", True),
        (hanging(b"HTTP/1.1 200 OK\r\ncontent-"), 504, "timeout", True),
        (hanging(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"), 504, "timeout", True),
        (closing(b""), 502, "reset", True),
        (resetting(), 502, "reset", True),
        (resetting(GOOD[:-20]), 502, "reset", True),
        (closing(GOOD[:40]), 502, "reset", True),
        (closing(b"\x16\x03\x01\x00garbage\r\n\r\n"), 502, "protocol", True),
        (closing(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}"), 502, "protocol", True),
        (closing(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"), 502, "protocol", True),
        (closing(STREAM_HEAD), 502, "reset", True),
        (stream(b""), 502, "reset", True),
        (stream(b": only a comment"), 502, "reset", True),
    ],
)
@on_loop
async def test_an_upstream_without_a_usable_answer(play: Play, status: int, code: str, worked: bool) -> None:
    async with scripted(play) as upstream, rig(one_upstream(upstream.url, upstream=f"{ONCE}\n{QUICK}")) as running:
        reply = await running.chat(stream=play is not GOOD)
        assert (reply.status, reply.headers["penstock-error"], reply.error["code"]) == (status, "upstream", code)
        record = running.record
        assert (record.outcome, record.status, record.tokens_basis) == ("error", status, "estimated")
        assert record.error and [attempt.error for attempt in record.attempts] == [code]
        assert bool(record.cost) == worked


@on_loop
async def test_nothing_listens() -> None:
    async with rig(one_upstream(dead_url(), upstream=QUICK)) as running:
        reply = await running.chat()
        assert (reply.status, reply.error["code"]) == (502, "connect")
        record = running.record
        assert (record.cost, record.tokens.total, len(record.attempts)) == (0, 0, 3), "no upstream heard of it"


@pytest.mark.parametrize(
    ("play", "tries_booked_whole"),
    [
        (hanging(), 1),
        (resetting(), 1),
        (closing(b"garbage"), 1),
        (answer(ERROR, 503), 0),
        (answer(ERROR, 429), 0),
        (resetting(GOOD[:-9]), 1),
    ],
)
@on_loop
async def test_a_failure_before_the_first_byte_is_tried_again_elsewhere(play: Play, tries_booked_whole: int) -> None:
    async with scripted(play) as bad, scripted(GOOD) as good, rig(one_upstream(bad.url, good.url, upstream=QUICK)) as running:
        reply = await running.chat()
        assert reply.status == 200 and reply.json == completion()
        record = running.record
        assert record.reserved is not None
        wasted = tries_booked_whole * record.reserved
        assert (record.outcome, record.cost, record.wasted_cost) == ("ok", 20_000 + wasted, wasted)
        assert (record.replica, record.cost_basis) == (f"127.0.0.1:{good.port}", "estimated" if wasted else "measured")
        assert [attempt.replica for attempt in record.attempts] == [f"127.0.0.1:{bad.port}", f"127.0.0.1:{good.port}"]
        assert (len(bad.asked), len(good.asked)) == (1, 1)


@on_loop
async def test_a_stream_is_tried_again_until_a_byte_of_it_was_sent() -> None:
    plays = (resetting(STREAM_HEAD), resetting(), closing(STREAM_HEAD + b"5\r\ndata:\r\n"), GOOD_STREAM)
    async with scripted(*plays) as upstream, rig(one_upstream(upstream.url, upstream=f"retries = 3\n{QUICK}")) as running:
        reply = await running.chat(stream=True)
        assert reply.whole and reply.text == "hello"
        record = running.record
        assert (record.outcome, len(record.attempts), record.cost) == ("ok", 4, 20_000 + 3 * (record.reserved or 0))


@on_loop
async def test_a_try_that_timed_out_is_booked_whole_and_not_repeated_on_the_same_replica() -> None:
    async with scripted(hanging()) as slow, rig(one_upstream(slow.url, upstream=QUICK)) as running:
        assert (await running.chat()).status == 504
        record = running.record
        assert len(slow.asked) == 1
        assert record.reserved and (record.model, record.cost, record.wasted_cost) == ("m", record.reserved, record.reserved)
        assert (record.tokens_basis, record.cost_basis, record.outcome) == ("estimated", "estimated", "error")


# streams that break off


BEGUN = STREAM_HEAD + chunked(event(piece("hel")))


@pytest.mark.parametrize(
    "play",
    [
        hanging(BEGUN),
        resetting(BEGUN),
        closing(BEGUN),
        resetting(BEGUN + chunked(event(piece("lo"))[:20])),
        closing(BEGUN + b"zz\r\n"),
        closing(BEGUN + chunked(event(piece("lo"))[:20]) + chunked(b"")),
        closing(BEGUN + chunked(b"")),
        closing(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event(piece("hel"))),
    ],
)
@on_loop
async def test_a_stream_that_breaks_is_reset_and_never_tried_again(play: Play) -> None:
    async with scripted(play) as bad, scripted(GOOD_STREAM) as good, rig(one_upstream(bad.url, good.url, upstream=QUICK)) as running:
        reply = await running.chat(stream=True)
        assert reply.status == 200 and not reply.whole
        record = running.record
        assert (record.outcome, record.status, record.tokens_basis, record.cost_basis) == ("stream_broken", 200, "estimated", "estimated")
        assert record.tokens.output == 1 and record.cost and len(record.attempts) == 1
        assert good.asked == []
        assert running.gateway.cache is not None and running.gateway.cache.stats()["entries"] == 0


@on_loop
async def test_a_stream_that_breaks_after_its_end_is_whole() -> None:
    async with scripted(resetting(STREAM_HEAD + chunked(stream_events()))) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat(stream=True)
        assert reply.whole and reply.body.endswith(DONE)
        assert (running.record.outcome, running.record.cost) == ("ok", 20_000)


@pytest.mark.parametrize(
    "ending",
    [
        event(piece(reason="stop", usage=USAGE)),
        event(piece(reason="stop")) + event({"choices": [], "usage": USAGE})[:-1],
        event(piece(reason="stop", usage=USAGE)) + b"data: [DONE]",
        event(piece(reason="stop", usage=USAGE)) + b"data: [DONE]\n",
    ],
)
@pytest.mark.parametrize("wants", [True, False])
@on_loop
async def test_a_stream_may_end_in_other_ways(ending: bytes, wants: bool) -> None:
    async with scripted(stream(event(piece("hello")) + ending)) as upstream, rig(one_upstream(upstream.url)) as running:
        options: dict[str, Any] = {"stream_options": {"include_usage": True}} if wants else {}
        reply = await running.chat(stream=True, **options)
        assert reply.whole and reply.text == "hello"
        assert any("usage" in chunk for chunk in reply.chunks) == wants
        record = running.record
        assert (record.outcome, record.finish_reason, record.tokens_basis, record.cost) == ("ok", "stop", "measured", 20_000)


@pytest.mark.parametrize("before", [b"", event(piece("hel"))])
@pytest.mark.parametrize("after", [b"", DONE])
@on_loop
async def test_an_error_inside_a_stream_is_passed_on_and_recorded(before: bytes, after: bytes) -> None:
    async with scripted(stream(before + event(ERROR) + after)) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat(stream=True)
        assert reply.whole and reply.body == before + event(ERROR) + after
        assert (running.record.outcome, running.record.status) == ("error", 200)
        assert bool(running.record.cost) == bool(before)
        await running.chat(stream=True)
        assert len(upstream.asked) == 2, "an error is not kept"


# answers that are wrong


@pytest.mark.parametrize(
    ("body", "worked"), [(orjson.dumps(ERROR), False), (b"<html>sorry</html>", True), (b"", True), (b"[]", True), (b'{"choices"', True)]
)
@on_loop
async def test_a_200_that_is_no_answer_is_passed_on_as_an_error(body: bytes, worked: bool) -> None:
    async with scripted(answer(body)) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat()
        assert (reply.status, reply.body) == (200, body)
        assert (running.record.outcome, bool(running.record.cost)) == ("error", worked)
        await running.chat()
        assert len(upstream.asked) == 2, "an error is not kept"


@pytest.mark.parametrize("change", [-10, 10])
@on_loop
async def test_a_wrong_content_length_never_reaches_the_next_request(change: int) -> None:
    body = orjson.dumps(completion())
    wrong = answer(body, headers={"content-length": str(len(body) + change)})
    async with scripted(wrong, GOOD) as upstream:
        upstream.plays[0] = closing(wrong)
        async with rig(one_upstream(upstream.url, upstream=f"{ONCE}\n{QUICK}")) as running:
            reply = await running.chat("one")
            assert reply.status == (200 if change < 0 else 502)
            reply = await running.chat("two")
            assert reply.json == completion()
            assert [record.outcome for record in running.records] == ["error", "ok"]


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], "many", 5, {**USAGE, "completion_tokens": -1}, {**USAGE, "prompt_tokens": "ten"}, {"prompt_tokens": 10**15 * 99}],
)
@pytest.mark.parametrize("streamed", [True, False])
@on_loop
async def test_usage_that_is_not_credible_is_estimated_and_says_so(usage: object, streamed: bool) -> None:
    body = completion("hello there", usage)
    play = stream(stream_events("hello", " there", usage=usage)) if streamed else answer(body)
    async with scripted(play) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat(stream=streamed, stream_options={"include_usage": True} if streamed else None)
        assert reply.status == 200 and (streamed or reply.json == body)
        record = running.record
        assert (record.outcome, record.tokens_basis, record.cost_basis) == ("ok", "estimated", "estimated")
        assert record.tokens.input > 0 and record.tokens.output > 0
        assert record.cost == record.tokens.input * 1000 + record.tokens.output * 2000
        costs = [chunk["penstock"]["cost_usd"] for chunk in reply.chunks if "penstock" in chunk] if streamed else []
        assert costs in ([], [f"{record.cost / 1e9:.9f}"])


@on_loop
async def test_a_huge_answer_is_refused_once_and_does_not_open_the_circuit() -> None:
    huge = answer(completion("x" * 3000))
    async with scripted(huge) as upstream, rig(one_upstream(upstream.url, server='max_answer = "2 kB"')) as running:
        for number in range(1, 7):
            reply = await running.chat(str(number))
            assert (reply.status, reply.error["code"]) == (502, "too_large")
            assert len(upstream.asked) == number and running.last.cost
        assert running.open_circuits() == 0


# error answers and redirects


@on_loop
async def test_a_rate_limit_is_tried_again_and_then_passed_on_with_its_headers() -> None:
    limited = answer(ERROR, 429, {"retry-after": "7", "x-ratelimit-remaining": "0"})
    async with scripted(limited) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat()
        assert (reply.status, reply.json, reply.headers["retry-after"], reply.headers["x-ratelimit-remaining"]) == (429, ERROR, "7", "0")
        assert "penstock-error" not in reply.headers, "it is not our refusal"
        assert len(upstream.asked) == 3
        record = running.record
        assert (record.outcome, record.status, record.cost) == ("error", 429, 0)
        assert [attempt.status for attempt in record.attempts] == [429, 429, 429]
        assert running.open_circuits() == 0


@pytest.mark.parametrize(
    ("status", "tries"), [(500, 3), (502, 3), (503, 3), (504, 3), (529, 3), (501, 1), (400, 1), (401, 1), (404, 1), (422, 1)]
)
@pytest.mark.parametrize("content_type", ["application/json", "text/html", "text/event-stream", "application/octet-stream"])
@on_loop
async def test_an_error_answer_is_passed_on_as_sent(status: int, tries: int, content_type: str) -> None:
    sent = answer(b"sorry \xff", status, {"content-type": content_type})
    async with scripted(sent) as upstream, rig(one_upstream(upstream.url)) as running:
        reply = await running.chat(stream=True)
        assert reply.whole and (reply.status, reply.body, reply.headers["content-type"]) == (status, b"sorry \xff", content_type)
        assert len(upstream.asked) == tries
        assert (running.record.outcome, running.record.status, running.record.cost) == ("error", status, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@on_loop
async def test_a_redirect_is_passed_on_not_followed(status: int) -> None:
    async with scripted(GOOD) as other:
        sent = answer(b"", status, {"location": other.url})
        async with scripted(sent) as upstream, rig(one_upstream(upstream.url)) as running:
            reply = await running.chat()
            assert (reply.status, reply.headers["location"]) == (status, other.url)
            assert other.asked == [] and len(upstream.asked) == 1


# time-outs, and simulated faults as a whole


@on_loop
async def test_each_time_out_is_its_own() -> None:
    limits = 'timeout = { connect = "5s", first_token = "300ms", idle = "5s" }'
    async with scripted(hanging()) as upstream, rig(one_upstream(upstream.url, upstream=f"{ONCE}\n{limits}")) as running:
        started = time.monotonic()
        assert (await running.chat()).status == 504
        assert 0.25 < time.monotonic() - started < 2
    limits = 'timeout = { connect = "5s", first_token = "5s", idle = "300ms" }'
    async with scripted(hanging(BEGUN)) as upstream, rig(one_upstream(upstream.url, upstream=f"{ONCE}\n{limits}")) as running:
        started = time.monotonic()
        assert not (await running.chat(stream=True)).whole
        assert 0.25 < time.monotonic() - started < 2


FAULTS = [
    ("status:503", "error"), ("rate-limit", "error"), ("slow-head:50", "ok"), ("reset", "error"), ("close", "error"), ("hang", "error"),
    ("garbage", "error"), ("reset-after:2", "broken"), ("hang-after:2", "broken"), ("half-event:2", "broken"),
    ("half-event-ended:2", "broken"), ("error-event:2", "error"), ("error-body", "error"), ("not-json", "error"), ("empty", "any"),
    ("huge:100000", "ok"), ("content-length-long", "any"), ("content-length-short:40", "any"), ("trickle:0", "ok"), ("no-usage", "ok"),
    ("negative-usage", "ok"), ("garbage-usage", "ok"), ("usage-on-last-choice", "ok"), ("no-done", "ok"),
]  # fmt: skip


@pytest.mark.parametrize("streamed", [True, False])
@on_loop
async def test_every_fault_of_the_simulated_engine_has_one_record(streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FAILURES_TO_OPEN", 1000)
    async with (
        simulated() as url,
        rig(one_upstream(url, upstream=f"{ONCE}\n{QUICK}", more="[cache]\nexact = {enabled = false}")) as running,
    ):
        for number, (fault, expected) in enumerate(FAULTS, 1):
            reply = await running.chat(stream=streamed, headers={"x-simulate-fault": fault})
            record = running.last
            assert len(running.records) == number, fault
            if expected == "broken":
                assert record.outcome == ("stream_broken" if streamed else "error"), fault
                assert not (streamed and reply.whole), fault
            elif expected != "any":
                assert (record.outcome, reply.whole) == (expected, True), fault
            assert record.status == reply.status, fault


# TLS


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    wanted = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        *wanted,
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(made, check=True, capture_output=True)
    return cert, key


@on_loop
async def test_tls_is_checked_against_the_given_authority(tmp_path: Path) -> None:
    cert, key = _certificate(tmp_path, "ours")
    other, _ = _certificate(tmp_path, "other")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    async with scripted(GOOD, tls=tls) as upstream:
        async with rig(one_upstream(upstream.url, upstream=f'ca_file = "{cert}"')) as running:
            assert (await running.chat()).json == completion()
        for trust in (f'ca_file = "{other}"', ""):
            async with rig(one_upstream(upstream.url, upstream=f"{ONCE}\n{trust}")) as running:
                reply = await running.chat()
                assert (reply.status, reply.error["code"]) == (502, "connect") and "certificate" in reply.error["message"]
                assert running.record.cost == 0
        assert len(upstream.asked) == 1
