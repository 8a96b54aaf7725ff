"""The load test over TLS, and against every fault that the simulated engine can show: it ends, and counts what failed."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import msgspec
import pytest

from penstock.capacity.measuring.endpoint import place
from penstock.capacity.measuring.load_test import LoadTest, Plan, load_test
from penstock.capacity.measuring.sample import MeasureError
from penstock.capacity.measuring.stopping import Limits
from tests.integration.upstream_rig import answer, scripted, simulated, stream, stream_events

PLAN = Plan(input_tokens=20, output_tokens=8, concurrencies=(2,), waves=6, least_requests=10, least_s=0.0, timeout_s=0.3)
GOOD = stream(stream_events(usage={"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28}))
HARMFUL = [
    ("status:503", "http_503"), ("reset", "reset"), ("close", "reset"), ("hang", "timeout"), ("garbage", "protocol"),
    ("reset-after:2", "reset"), ("hang-after:2", "timeout"), ("error-event:2", "stream_error"), ("not-json", "protocol"),
]  # fmt: skip
HARMLESS = ["slow-head:20", "trickle:0", "no-usage", "garbage-usage", "negative-usage", "usage-on-last-choice", "no-done"]


async def measured(url: str) -> LoadTest:
    try:
        return await load_test(place(url), "m", None, PLAN, Limits(duration_s=20), lambda _: None, lambda _: None)
    finally:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("fault", "kind"), HARMFUL)
def test_faults_are_counted_by_kind(fault: str, kind: str) -> None:
    async def main() -> LoadTest:
        async with simulated(faults=[{"fault": fault, "every": 6}]) as url:
            return await measured(url)

    test = asyncio.run(main())
    (each,) = test.points
    assert set(each.errors) == {kind}
    assert each.requests >= 8
    assert test.stopped == "errors" or kind == "reset"  # a kept connection that ends is replaced once, as clients do


@pytest.mark.parametrize("fault", HARMLESS)
def test_oddities_are_no_failures(fault: str) -> None:
    async def main() -> LoadTest:
        async with simulated(faults=[fault]) as url:
            return await measured(url)

    test = asyncio.run(main())
    (each,) = test.points
    assert each.errors == {}
    assert each.estimated == (fault in ("no-usage", "garbage-usage", "negative-usage"))


def test_the_first_answers_end_with_the_duration_too() -> None:
    async def main() -> None:
        async with simulated(faults=["hang"]) as url:
            plan = msgspec.structs.replace(PLAN, timeout_s=60.0)
            try:
                await load_test(place(url), "m", None, plan, Limits(duration_s=0.3), lambda _: None, lambda _: None)
            finally:
                await asyncio.sleep(0.01)

    with pytest.raises(MeasureError, match=r"ended before it began \(duration\)"):
        asyncio.run(asyncio.wait_for(main(), 10))


def test_a_limited_rate_is_waited_out() -> None:
    async def main() -> LoadTest:
        async with simulated(faults=[{"fault": "rate-limit", "every": 9}]) as url:
            return await measured(url)

    (each,) = asyncio.run(main()).points
    assert each.throttled >= 1
    assert each.errors == {}


def test_tls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    wanted = ["-subj", "/CN=us", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes", "-keyout", str(key), "-out", str(cert)]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *wanted]
    subprocess.run(made, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)

    async def main() -> LoadTest:
        async with scripted(*[GOOD] * 4, answer({"data": []}), answer({"data": []}), GOOD, tls=tls) as upstream:
            found = await measured(upstream.url)
            assert [each.method for each in upstream.asked[4:6]] == ["GET", "GET"], "connections are opened before the load"
            return found

    with pytest.raises(MeasureError, match="certificate"):
        asyncio.run(main())
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    (each,) = asyncio.run(main()).points
    assert (each.errors, each.requests >= 10) == ({}, True)
