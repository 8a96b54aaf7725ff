"""Whole answers: read to their end, looked at for usage, passed on byte for byte."""

from typing import Any

import orjson

from penstock.gateway.exchange import MODEL_ENDPOINTS, Answer, Exchange
from penstock.ports.upstream import UpstreamAnswer


async def read_whole(x: Exchange, upstream: UpstreamAnswer) -> None:
    """Reads the body and notes what it says. Raises `UpstreamError`."""
    body = await upstream.read()
    x.status = upstream.status
    x.answer = Answer(upstream.status, list(upstream.headers), body)
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
        x.outcome, x.error = "error", "the upstream's answer is no JSON object"
        return
    x.parsed = parsed
    note(x, parsed)
    if "error" in parsed and parsed["error"] and "choices" not in parsed and "data" not in parsed:
        x.outcome, x.error, x.worked = "error", "the upstream sent an error with status 200", False


def note(x: Exchange, parsed: dict[str, Any]) -> None:
    """What an answer, or a chunk of one, says of itself."""
    usage = parsed.get("usage")
    if isinstance(usage, dict):
        x.usage = usage
    if isinstance(name := parsed.get("model"), str):
        x.response_model = name[:200]
    if isinstance(identity := parsed.get("id"), str):
        x.response_id = identity[:200]
    choices = parsed.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and isinstance(reason := choice.get("finish_reason"), str):
                x.finish_reason = reason[:64]
