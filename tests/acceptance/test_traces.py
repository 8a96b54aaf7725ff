"""`[telemetry] traces`: every request is one span below its caller's, and nothing of it is felt by who calls."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.acceptance.command_line import SOURCE
from tests.acceptance.command_line import penstock as command
from tests.acceptance.serving import serving, wait_until, write_config
from tests.engines.otlp_receiver import Receiver, attributes, otlp_receiver
from tests.engines.recording import RecordingEngine, recording_engine

TABLES = """
[upstreams.engine]
base_urls = ["{engine}"]
retries = 1
[models.m]
upstream = "engine"
max_output = 10
price = {{ input = 1, output = 2 }}
[telemetry]
traces = "{receiver}"
headers = {{ authorization = {{ env = "OTLP_KEY" }} }}
"""
REPLY = {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
KEY = {"OTLP_KEY": "Bearer otlp"}


@pytest.fixture(scope="module")
def engine() -> Iterator[RecordingEngine]:
    with recording_engine() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as running:
        yield running


def by_request(spans: list[Span]) -> dict[str, Span]:
    return {attributes(span)["penstock.request_id"]: span for span in spans if "penstock.request_id" in attributes(span)}


def test_requests_are_spans_below_their_callers(engine: RecordingEngine, receiver: Receiver, tmp_path: Path) -> None:
    tables = TABLES.format(engine=engine.base_url, receiver=receiver.address)
    with serving(tmp_path, tables, KEY) as penstock:
        before = time.time_ns()
        good = penstock.chat("m", REPLY, headers={**CALLER, "penstock-tag-team": "search"})
        (forwarded,) = [value for name, value in engine.last.headers if name == b"traceparent"]
        failed = penstock.chat("m", {"status": 503}, headers=CALLER, question="again?")
        refused = penstock.chat("nonsense")
        odd = penstock.chat("m", REPLY, headers={"traceparent": "a joke"}, question="odd?")
        after = time.time_ns()
        assert (good.status, failed.status, refused.status) == (200, 503, 404)
        assert (b"traceparent", b"a joke") in engine.last.headers, "it is not ours to judge what callers tell upstreams"
        receiver.wait_for(6)
        wait_until(lambda: penstock.metric("penstock_traced_requests_total") == 4, "the requests to be counted")
        assert penstock.metric("penstock_traces_dropped_total") == 0
        assert penstock.explain(good.headers["penstock-request-id"])
    assert forwarded.decode() == CALLER["traceparent"], "the upstream hears of the caller's trace too"
    found = by_request(receiver.spans)
    good_span, failed_span, refused_span = (found[answer.headers["penstock-request-id"]] for answer in (good, failed, refused))
    for span in (good_span, failed_span):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert before <= span.start_time_unix_nano < span.end_time_unix_nano <= after
    assert found[odd.headers["penstock-request-id"]].parent_span_id == b""
    said = attributes(good_span)
    assert (said["penstock.cost.nano_usd"], good.headers["penstock-cost-usd"]) == (20_000, "0.000020000")
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"], said["penstock.tag.team"]) == (10, 5, "search")
    assert refused_span.name == "chat nonsense"
    assert attributes(refused_span)["error.type"] == "404"
    tries = [span for span in receiver.spans if span.parent_span_id == failed_span.span_id]
    assert [attributes(each)["error.type"] for each in tries] == ["503", "503"]
    assert all(
        failed_span.start_time_unix_nano < each.start_time_unix_nano < each.end_time_unix_nano <= failed_span.end_time_unix_nano
        for each in tries
    )
    assert tries[0].end_time_unix_nano < tries[1].start_time_unix_nano, "there is a pause between tries"
    assert {headers["authorization"] for headers in receiver.headers} == {"Bearer otlp"}


def test_a_receiver_that_is_away_costs_nothing_but_its_traces(engine: RecordingEngine, tmp_path: Path) -> None:
    tables = TABLES.format(engine=engine.base_url, receiver="http://127.0.0.1:9")
    with serving(tmp_path, tables, {**KEY, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}) as penstock:
        for _ in range(3):
            assert penstock.chat("m", REPLY, headers={"penstock-cache": "no-store"}).status == 200
        wait_until(lambda: penstock.metric("penstock_traces_dropped_total") == 3, "the drops to be counted")
        assert penstock.cost()["coverage"]["journal_tail"] == 0
        assert penstock.cost()["total"]["requests"] == 3
        assert penstock.log().count("were dropped") == 1


def test_without_the_extra_it_says_so_and_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('not here')\n")
    write_config(tmp_path, TABLES.format(engine="http://127.0.0.1:9/v1", receiver="http://127.0.0.1:9"))
    for arguments, code in ((("serve",), 1), (("check",), 3)):
        done = command(*arguments, cwd=tmp_path, environ={**KEY, "PYTHONPATH": f"{tmp_path}:{SOURCE}"})
        assert done.returncode == code
        assert "[telemetry] traces needs OpenTelemetry" in done.stderr
        assert "penstock[otel]" in done.stderr


def test_without_its_secret_it_does_not_start(tmp_path: Path) -> None:
    write_config(tmp_path, TABLES.format(engine="http://127.0.0.1:9/v1", receiver="http://127.0.0.1:9"))
    done = command("serve", cwd=tmp_path, environ={"OTLP_KEY": ""})
    assert done.returncode == 2
    assert "telemetry.headers.authorization: the environment variable `OTLP_KEY` is not set" in done.stderr
