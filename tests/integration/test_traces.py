"""Records as spans at a real OTLP/HTTP receiver: what they say, whose children they are, and what happens when nobody takes them."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from penstock.adapters.telemetry import open_traces
from penstock.adapters.telemetry.otlp import OtlpTraces, exporter
from penstock.adapters.telemetry.spans import spans_of
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.record import Attempt, CacheDecision, UsageRecord
from penstock.ports.traces import TracesError
from tests.engines.otlp_receiver import Receiver, attributes, otlp_receiver
from tests.ledger_entries import ADMITTED_NS, RECORD, record

CALLER = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


class Told(list[str]):
    """The log."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as running:
        yield running


def sent(receiver: Receiver, *records: UsageRecord) -> list[Span]:
    """What arrives of these records, all of it."""
    told = Told()
    traces = open_traces(receiver.address, {"x-tenant": "a"}, {"api": "openai"}, told.append)
    traces.take(records)
    traces.close()
    assert (traces.dropped, told) == (0, [])
    return receiver.spans


def chat(id: str = "req_1", **fields: Any) -> UsageRecord:
    return record(id, requested_model="auto", model="small", upstream="api", **fields)


def test_a_call_beside_a_request_is_a_child_of_its_span(receiver: Receiver) -> None:
    shadow = {"purpose": "shadow", "parent": "req_1"}
    caller = f"00-{CALLER[0]}-{CALLER[1]}-01"
    found = sent(
        receiver, chat("req_1"), chat("aside_1", **shadow, cost=5), chat("req_2", traceparent=caller),
        chat("aside_2", purpose="vote", parent="req_2", traceparent=caller),
    )  # fmt: skip
    spans = {attributes(span)["penstock.request_id"]: span for span in found}
    for request, aside in (("req_1", "aside_1"), ("req_2", "aside_2")):
        assert spans[aside].parent_span_id == spans[request].span_id
        assert spans[aside].trace_id == spans[request].trace_id
    assert spans["req_1"].parent_span_id == b""
    told = attributes(spans["aside_1"])
    assert (told["penstock.purpose"], told["penstock.cost.nano_usd"]) == ("shadow", 5)


def test_a_request_is_one_span_with_the_names_of_the_conventions(receiver: Receiver) -> None:
    (span,) = sent(
        receiver,
        chat(
            response_model="small-2026", response_id="chatcmpl-1", finish_reason="stop", replica="10.0.0.7:8000", streamed=True,
            tokens=Tokens(100, 20, 3, 40, 5), cost=1_234_567_891, counterfactual=2 * 10**9, duration_us=1_500_000, first_token_us=250_000,
            tags={"team": "search"}, tier="small", route="small", price_id="config:small", key_id="key_1",
        ),
    )  # fmt: skip
    assert span.name == "chat auto"
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (ADMITTED_NS, ADMITTED_NS + 1_500_000_000)
    assert (len(span.trace_id), len(span.span_id), span.parent_span_id) == (16, 8, b"")
    assert span.status.code == 0
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "auto",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "small-2026",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 123,
        "gen_ai.usage.output_tokens": 45,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "server.address": "10.0.0.7",
        "server.port": 8000,
        "http.response.status_code": 200,
        "penstock.request_id": "req_1",
        "penstock.model": "small",
        "penstock.cost.usd": 1.234567891,
        "penstock.cost.nano_usd": 1_234_567_891,
        "penstock.counterfactual.usd": 2.0,
        "penstock.tag.team": "search",
    }.items() <= attributes(span).items()
    assert "error.type" not in attributes(span)
    assert receiver.paths == ["/v1/traces"]
    assert receiver.headers[0]["x-tenant"] == "a"
    assert receiver.resources[0]["service.name"] == "penstock"


def test_unknown_is_left_out_and_never_zero(receiver: Receiver) -> None:
    (span,) = sent(receiver, chat(cost=None, tokens_basis="unknown"))
    said = attributes(span)
    assert not [name for name in said if name.startswith(("gen_ai.usage", "penstock.cost.usd", "penstock.cost.nano", "penstock.wasted"))]
    assert (said["penstock.cost.basis"], said["penstock.tokens.basis"]) == ("unknown", "unknown")
    assert "server.address" not in said


def test_the_caller_is_the_parent(receiver: Receiver) -> None:
    trace, parent = CALLER
    own, other = sent(receiver, chat("a", traceparent=f"00-{trace}-{parent}-01"), chat("b"))
    assert (own.trace_id.hex(), own.parent_span_id.hex()) == (trace, parent)
    assert other.trace_id.hex() != trace
    assert other.parent_span_id == b""


def test_a_trace_that_its_caller_does_not_record_is_not_recorded(receiver: Receiver) -> None:
    trace, parent = CALLER
    (span,) = sent(receiver, chat("a", traceparent=f"00-{trace}-{parent}-00"), chat("b"))
    assert attributes(span)["penstock.request_id"] == "b"


def test_every_try_is_a_child_with_its_own_time(receiver: Receiver) -> None:
    tries = (
        Attempt("small", "local", "10.0.0.1:80", 503, 2_000, None, 1_000),
        Attempt("small", "local", "[::1]:81", None, 5_000, "connect", 60_000),
        Attempt("large", "api", "api.example", 200, 30_000, None, 65_500),
    )
    spans = sent(receiver, chat(attempts=tries, duration_us=100_000, tokens=Tokens(1, 0, 0, 1, 0), cost=5))
    request, *children = spans
    assert [child.name for child in children] == ["try small", "try small", "try large"]
    assert {child.parent_span_id for child in children} == {request.span_id}
    assert {child.trace_id for child in children} == {request.trace_id}
    assert len({span.span_id for span in spans}) == 4
    assert [(child.start_time_unix_nano - ADMITTED_NS) // 1000 for child in children] == [1_000, 60_000, 65_500]
    assert [child.end_time_unix_nano - child.start_time_unix_nano for child in children] == [2_000_000, 5_000_000, 30_000_000]
    said = [attributes(child) for child in children]
    assert [each.get("error.type") for each in said] == ["503", "connect", None]
    assert [(each["server.address"], each.get("server.port")) for each in said] == [("10.0.0.1", 80), ("::1", 81), ("api.example", None)]
    assert [each["penstock.try"] for each in said] == [1, 2, 3]
    assert not [name for each in said for name in each if "usage" in name or "cost" in name], "sums over spans must count once"
    assert [child.status.code for child in children] == [2, 2, 0]


@pytest.mark.parametrize(
    ("fields", "error_type"),
    [
        ({"outcome": "refused", "status": 402, "error": "the budget is spent"}, "402"),
        ({"outcome": "error", "status": 500}, "500"),
        ({"outcome": "client_closed", "status": 499}, "client_closed"),
        ({"outcome": "stream_broken"}, "stream_broken"),
        ({"outcome": "interrupted", "status": 500}, "interrupted"),
    ],
)
def test_what_went_wrong_is_an_error(receiver: Receiver, fields: dict[str, Any], error_type: str) -> None:
    (span,) = sent(receiver, chat(**fields))
    assert attributes(span)["error.type"] == error_type
    assert (span.status.code, span.status.message) == (2, fields.get("error", ""))
    assert ("gen_ai.usage.input_tokens" in attributes(span)) == (fields["outcome"] != "refused")


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [("embeddings", "embeddings m"), ("completions", "text_completion m"), ("/v1/messages", "chat m"), ("/v1/audio/speech", "audio m")],
)
def test_operations(receiver: Receiver, endpoint: str, name: str) -> None:
    (span,) = sent(receiver, record("r", endpoint=endpoint, model="m", upstream="local"))
    assert span.name == name
    assert attributes(span)["gen_ai.provider.name"] == "local"


def test_what_the_cache_made_of_a_request_stands_on_its_span(receiver: Receiver) -> None:
    decision = CacheDecision(
        verdict="probe", mode="learned", entry="e", similarity=0.97, risk=0.01, guards=("numbers",), embedding_us=4_000
    )
    looked, plain = sent(receiver, chat("a", cache_decision=decision, would_cache="semantic", embedding_cost=7), chat("b"))
    found = attributes(looked)
    assert (found["penstock.cache.verdict"], found["penstock.would_cache"]) == ("probe", "semantic")
    assert (found["penstock.cache.similarity"], found["penstock.cache.embedding_time"]) == (0.97, 0.004)
    assert (found["penstock.cache.guards"], found["penstock.embedding_cost.nano_usd"]) == (["numbers"], 7)
    assert not any(name.startswith(("penstock.cache.", "penstock.would_cache", "penstock.embedding")) for name in attributes(plain))


def test_the_same_request_is_the_same_span(receiver: Receiver) -> None:
    first, again = sent(receiver, chat("a"), chat("a"))
    assert (first.trace_id, first.span_id) == (again.trace_id, again.span_id)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECORD)
@example(record("r", replica="[", attempts=(Attempt("m", "u", "host:port", None, 1),)))
def test_any_record_makes_spans(any_record: UsageRecord) -> None:
    spans = spans_of(any_record, {}, Resource.get_empty(), InstrumentationScope("x"))
    assert len(spans) == 1 + len(any_record.attempts)
    assert len({span.context.trace_id for span in spans if span.context is not None}) == 1


# when nobody takes them


def wait_until(condition: Any, within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("value", ["Bearer hush\n", "Bearer hush\r\nx: y", " hush", "hush\u2019", "hush\0"])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(value: str) -> None:
    with pytest.raises(TracesError, match="`authorization`") as refused:
        open_traces("http://127.0.0.1:9", {"authorization": value}, {}, print)
    assert "hush" not in str(refused.value) + refused.value.hint


def test_a_receiver_that_is_away_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    told = Told()
    traces = OtlpTraces(exporter(f"http://127.0.0.1:{port}", {}), {}, told.append, gather_s=0.01)
    for number in range(3):
        traces.take([chat(f"{number}")])
        wait_until(lambda: traces.dropped == number + 1)  # noqa: B023  called at once
    assert len(told) == 1
    assert "traces of 1 requests were dropped" in told[0]
    assert "hint: check [telemetry] traces" in told[0]
    traces.close()


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_receiver_that_refuses(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, 200]
    told = Told()
    traces = OtlpTraces(exporter(receiver.address, {}), {}, told.append, gather_s=0.01)
    traces.take([chat("a"), chat("b")])
    wait_until(lambda: traces.dropped == 2)
    assert str(status) in told[0]
    traces.take([chat("c")])
    wait_until(lambda: traces.sent == 1)
    assert told[1:] == ["traces are sent again"]
    traces.close()


def test_a_receiver_that_is_busy_is_asked_again(receiver: Receiver) -> None:
    receiver.statuses = [503, 200]
    told = Told()
    traces = OtlpTraces(exporter(receiver.address, {}), {}, told.append, gather_s=0.01)
    traces.take([chat("a")])
    wait_until(lambda: traces.sent == 1)
    assert (traces.dropped, told, len(receiver.paths)) == (0, [], 2)
    traces.close()


def test_a_slow_receiver_never_holds_the_intake_up(receiver: Receiver) -> None:
    receiver.pause_s = 0.5
    told = Told()
    traces = OtlpTraces(exporter(receiver.address, {}), {}, told.append, queue=100, gather_s=0.01)
    longest = 0.0
    for number in range(400):
        begun = time.perf_counter()
        traces.take([chat(f"{number}")])
        longest = max(longest, time.perf_counter() - begun)
    assert longest < 0.2, "handing over waits for nobody"
    assert 0 < traces.dropped <= 300
    assert len(told) == 1
    assert "queue is full" in told[0]
    traces.close()
    assert traces.sent + traces.dropped == 400
    assert len(receiver.spans) == traces.sent


def test_the_end_does_not_wait_for_ever(receiver: Receiver) -> None:
    receiver.pause_s = 2
    told = Told()
    traces = OtlpTraces(exporter(receiver.address, {}), {}, told.append, gather_s=0.0)
    traces.take([chat("a")])
    time.sleep(0.1)
    traces.take([chat("b")])
    begun = time.monotonic()
    traces.close(within_s=0.2)
    assert time.monotonic() - begun < 1
    assert traces.dropped == 1
    assert "ended before" in told[0]


def test_an_address_may_be_whole(receiver: Receiver) -> None:
    told = Told()
    traces = open_traces(f"{receiver.address}/v1/traces/", {}, {}, told.append)
    traces.take([chat()])
    traces.close()
    assert receiver.paths == ["/v1/traces"]
