"""Whole answers: read to their end, looked at for usage, passed on byte for byte, or translated where the upstream speaks otherwise."""

import time
from typing import Any, cast

import orjson

from penstock.domain.dialects.sse import chunk_of
from penstock.domain.dialects.translate import Dialect, Untranslatable, translate_answer, translate_error
from penstock.domain.dialects.usage_calls import calls_of_output
from penstock.gateway.exchange import MODEL_ENDPOINTS, UNFINISHED, Answer, Exchange
from penstock.ports.upstream import UpstreamAnswer, UpstreamError
from penstock.wire.message import Headers


async def read_whole(x: Exchange, upstream: UpstreamAnswer) -> None:
    """Reads the body and notes what it says. Raises `UpstreamError`."""
    body = await upstream.read()
    x.status = upstream.status
    x.answer = error_answer(x, upstream, body) if upstream.status >= 300 else Answer(upstream.status, list(upstream.headers), body)
    if not 200 <= upstream.status < 300:
        x.outcome, x.error = "error", f"upstream status {upstream.status}"
        return
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        if x.endpoint not in MODEL_ENDPOINTS:
            return  # a transcript, the content of a file, nothing at all
        if x.called_at is not None:
            raise UpstreamError("protocol", "the upstream's answer is no JSON object")
        x.outcome, x.error = "error", "the upstream's answer is no JSON object"
        return
    x.parsed = parsed
    note(x, parsed)
    if _is_error(parsed):
        x.outcome, x.error, x.worked = "error", "the upstream sent an error with status 200", x.usage is not None
        if x.called_at is not None:
            x.status = 502
            x.answer = error_answer(x, upstream, body, 502)
    elif x.called_at is not None:
        _translate(x, upstream, parsed)


def error_answer(x: Exchange, upstream: UpstreamAnswer, body: bytes, status: int | None = None) -> Answer:
    """An error as the upstream sent it, or in the envelope of the client's dialect where the upstream speaks another."""
    status = upstream.status if status is None else status
    if x.called_at is None:
        return Answer(status, list(upstream.headers), body)
    return Answer(status, as_json(upstream.headers), translate_error(status, body, cast(Dialect, x.endpoint)))


def as_json(headers: Headers) -> Headers:
    """The headers of an answer whose body has been written anew, as JSON."""
    return [(b"content-type", b"application/json"), *(pair for pair in headers if pair[0] not in (b"content-type", b"content-length"))]


def _translate(x: Exchange, upstream: UpstreamAnswer, parsed: dict[str, Any]) -> None:
    """Puts the answer into the client's dialect. Raises `UpstreamError` (dialect) when it cannot be said there."""
    source, target = cast(Dialect, x.called_at), cast(Dialect, x.endpoint)
    try:
        told = translate_answer(parsed, source, target, model=x.response_model or "", created=int(time.time()))
    except Untranslatable as error:
        raise UpstreamError("dialect", f"the upstream's answer cannot be told in the client's dialect: {error}") from None
    x.parsed, x.told_usage = told, told.get("usage")
    x.answer = Answer(upstream.status, as_json(upstream.headers), orjson.dumps(told))


def _is_error(parsed: dict[str, Any]) -> bool:
    """Whether a body with status 200 says that there is no answer; `response` objects always have an `error`, null when all went well."""
    if not parsed.get("error"):
        return False
    return parsed.get("status") == "failed" or not ("choices" in parsed or "data" in parsed)


def note(x: Exchange, parsed: dict[str, Any], *, translated: bool = False) -> None:
    """What an answer, or a chunk of one, says of itself, in whichever dialect; how it was served only in the upstream's own words."""
    usage = parsed.get("usage")
    if isinstance(usage, dict):
        x.usage = usage
    if not translated:
        _note_service(x, parsed)
    if isinstance(name := parsed.get("model"), str):
        x.response_model = name[:200]
    if isinstance(identity := parsed.get("id"), str):
        x.response_id = identity[:200]
    choices = parsed.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and isinstance(reason := choice.get("finish_reason"), str):
                x.finish_reason = reason[:64]
    elif (reason := _ending(parsed)) is not None:
        x.finish_reason = reason[:64]


def note_service(x: Exchange, dialect: str, event: bytes) -> None:
    """What an event of an upstream's stream says of how the answer was served (Messages says it within the usage)."""
    if b'"service_tier"' in event or (dialect == "responses" and b'"output"' in event):
        chunk = chunk_of(event) or {}
        holder = chunk.get("response") if dialect == "responses" else chunk
        if isinstance(holder, dict):
            _note_service(x, holder)


def _note_service(x: Exchange, parsed: dict[str, Any]) -> None:
    """The class of service, and the calls of tools that an answer shows: what its price depends on besides the usage."""
    if (tier := parsed.get("service_tier")) is not None:
        x.service_tier = tier
    if "output" in parsed:
        x.calls = calls_of_output(parsed["output"])


def _ending(parsed: dict[str, Any]) -> str | None:
    """Anthropic's stop reason; the status of a response, or why it is incomplete."""
    incomplete = parsed.get("incomplete_details")
    reason = incomplete.get("reason") if isinstance(incomplete, dict) else parsed.get("stop_reason")
    if reason is None and parsed.get("object") == "response" and (status := parsed.get("status")) not in UNFINISHED:
        reason = status
    return reason if isinstance(reason, str) else None
