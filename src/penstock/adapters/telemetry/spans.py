"""A record of the ledger as OpenTelemetry spans: one for the request, one below it for each try that was not the only one.

Names and attributes follow the semantic conventions for GenAI client spans (1.41, status "development"); what those do not know
stands under `penstock.`. A call made beside a request is a child of its span, with usage of its own. Usage is on these spans only,
not on those of tries, so that sums over spans count nothing twice. Ids follow from the request's id: a span that is sent again is the
same span.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock.domain.ledger.record import Attempt, CacheDecision, UsageRecord
from penstock.domain.ledger.trace_parent import parse_traceparent
from penstock.domain.units import NANO_PER_USD
from penstock.ports.metrics import OPERATIONS

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
Attributes = dict[str, Any]


def spans_of(record: UsageRecord, providers: Mapping[str, str], resource: Resource, scope: InstrumentationScope) -> list[ReadableSpan]:
    """The spans of one request, or of a call made beside one; none when the caller said that its trace is not recorded."""
    caller = parse_traceparent(record.traceparent) if record.traceparent is not None else None
    if caller is not None and not caller.sampled:
        return []
    trace_id = _id(record.parent or record.id, 16) if caller is None else caller.trace_id
    parent = None if caller is None else SpanContext(caller.trace_id, caller.span_id, True, _SAMPLED)
    if record.parent is not None:
        parent = SpanContext(trace_id, _id(f"{record.parent}/", 8), True, _SAMPLED)
    context = SpanContext(trace_id, _id(f"{record.id}/", 8), False, _SAMPLED)
    start, end = record.admitted_ns, record.admitted_ns + record.duration_us * 1000
    request = ReadableSpan(
        name=_name(record),
        context=context,
        parent=parent,
        resource=resource,
        attributes=_given({**_gen_ai(record, providers), **_ours(record)}),
        kind=SpanKind.CLIENT,
        status=_status(record.outcome != "ok", record.error),
        start_time=start,
        end_time=end,
        instrumentation_scope=scope,
    )
    return [request, *_tries(record, context, resource, scope, providers)]


def _tries(
    record: UsageRecord, parent: SpanContext, resource: Resource, scope: InstrumentationScope, providers: Mapping[str, str]
) -> Iterator[ReadableSpan]:
    since_us = 0
    for number, attempt in enumerate(record.attempts, 1):
        begun_us = attempt.started_us if attempt.started_us is not None else since_us
        since_us = begun_us + attempt.duration_us
        failed = attempt.error is not None or attempt.status is None or attempt.status >= 400
        yield ReadableSpan(
            name=f"try {attempt.model}",
            context=SpanContext(parent.trace_id, _id(f"{record.id}/{number}", 8), False, _SAMPLED),
            parent=parent,
            resource=resource,
            attributes=_given(_of_try(attempt, number, providers)),
            kind=SpanKind.CLIENT,
            status=_status(failed, attempt.error),
            start_time=record.admitted_ns + begun_us * 1000,
            end_time=record.admitted_ns + since_us * 1000,
            instrumentation_scope=scope,
        )


def _name(record: UsageRecord) -> str:
    """`chat gpt-4o`: the operation and the model that was asked for; without a model, the operation alone."""
    model = record.requested_model or record.model
    return f"{_operation(record)} {model}" if model else _operation(record)


def _operation(record: UsageRecord) -> str:
    name = record.endpoint.removeprefix("/v1/").partition("/")[0]
    return OPERATIONS.get(record.endpoint) or OPERATIONS.get(name) or name or "unknown"


def _gen_ai(record: UsageRecord, providers: Mapping[str, str]) -> Attributes:
    tokens, answered = record.tokens, record.outcome != "refused" and record.tokens_basis != "unknown"
    usage: Attributes = {
        "gen_ai.usage.input_tokens": tokens.input,
        "gen_ai.usage.output_tokens": tokens.output,
        "gen_ai.usage.cache_read.input_tokens": tokens.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": tokens.cache_write,
        "gen_ai.usage.reasoning.output_tokens": tokens.reasoning,
    }
    return {
        "gen_ai.operation.name": _operation(record),
        "gen_ai.provider.name": providers.get(record.upstream or "", record.upstream) or "penstock",
        "gen_ai.request.model": record.requested_model or record.model,
        "gen_ai.request.stream": record.streamed or None,
        "gen_ai.response.model": record.response_model,
        "gen_ai.response.id": record.response_id,
        "gen_ai.response.finish_reasons": (record.finish_reason,) if record.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": None if record.first_token_us is None else record.first_token_us / 1e6,
        "error.type": _error_type(record),
        **(usage if answered else {}),
        **_server(record.replica),
    }


def _ours(record: UsageRecord) -> Attributes:
    """Money is given twice: nano-USD as an integer is exact, USD as a double is what trace systems can draw."""
    return {
        "penstock.request_id": record.id,
        "penstock.endpoint": record.endpoint,
        "penstock.outcome": record.outcome,
        "http.response.status_code": record.status,
        "penstock.model": record.model,
        "penstock.model_version": record.model_version,
        "penstock.optimization": record.optimization,
        "penstock.tier": record.tier,
        "penstock.sla": record.sla,
        "penstock.upstream": record.upstream,
        "penstock.fleet": record.fleet,
        "penstock.route": record.route,
        "penstock.strategy": record.strategy,
        "penstock.complexity": record.complexity,
        "penstock.purpose": record.purpose,
        "penstock.cache": record.cache,
        "penstock.cache_source": record.cache_source,
        "penstock.would_cache": record.would_cache,
        **_decision(record.cache_decision),
        "penstock.key_id": record.key_id,
        "penstock.tokens.basis": record.tokens_basis,
        "penstock.cost.basis": record.cost_basis if record.cost is not None else "unknown",
        "penstock.price_id": record.price_id,
        **_money("cost", record.cost),
        **_money("wasted_cost", record.wasted_cost or None),
        **_money("embedding_cost", record.embedding_cost or None),
        **_money("counterfactual", record.counterfactual),
        **{f"penstock.tag.{name}": value for name, value in record.tags.items()},
    }


def _decision(decision: CacheDecision | None) -> Attributes:
    """What the semantic cache made of the request; the entry that it served is the cache's source already."""
    if decision is None:
        return {}
    return {
        "penstock.cache.verdict": decision.verdict,
        "penstock.cache.mode": decision.mode,
        "penstock.cache.similarity": decision.similarity,
        "penstock.cache.risk": decision.risk,
        "penstock.cache.threshold": decision.threshold,
        "penstock.cache.propensity": decision.propensity,
        "penstock.cache.guards": decision.guards or None,
        "penstock.cache.reason": decision.reason,
        "penstock.cache.embedding_time": None if decision.embedding_us is None else decision.embedding_us / 1e6,
    }


def _of_try(attempt: Attempt, number: int, providers: Mapping[str, str]) -> Attributes:
    failed = attempt.status is not None and attempt.status >= 400
    return {
        "gen_ai.provider.name": providers.get(attempt.upstream, attempt.upstream),
        "http.response.status_code": attempt.status,
        "error.type": attempt.error or (str(attempt.status) if failed else None),
        "penstock.try": number,
        "penstock.model": attempt.model,
        "penstock.upstream": attempt.upstream,
        **_server(attempt.replica),
    }


def _error_type(record: UsageRecord) -> str | None:
    """The status for what an upstream or Penstock answered with one, else what became of the request."""
    if record.outcome == "ok":
        return None
    return str(record.status) if record.outcome in ("error", "refused") else record.outcome


def _money(name: str, nano: int | None) -> Attributes:
    if nano is None:
        return {}
    return {f"penstock.{name}.usd": nano / NANO_PER_USD, f"penstock.{name}.nano_usd": nano}


def _server(replica: str | None) -> Attributes:
    """`host` or `host:port`, as replicas are named."""
    if replica is None:
        return {}
    try:
        parts = urlsplit(f"//{replica}")
        return {"server.address": parts.hostname, "server.port": parts.port}
    except ValueError:
        return {"server.address": replica}


def _status(failed: bool, reason: str | None) -> Status:
    return Status(StatusCode.ERROR, reason) if failed else Status(StatusCode.UNSET)


def _given(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _id(text: str, size: int) -> int:
    """Never 0, which would mean no id."""
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest()) or 1
