"""A request in an upstream's words: the client's own bytes where it speaks the client's dialect, else a translation."""

from typing import Any, cast

import orjson

from penstock.domain.dialects.splice import ask_for_usage, replace_model
from penstock.domain.dialects.translate import Dialect, Untranslatable, translate_call
from penstock.gateway.exchange import Exchange, passed_path
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import Refusal
from penstock.gateway.relaying import asks_usage
from penstock.gateway.routing.odds import asks_logprobs, with_logprobs
from penstock.gateway.targets import Candidate
from penstock.ports.upstream import UpstreamCall
from penstock.wire.message import Headers

PATHS = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
    "messages": "/messages",
}
_OWN_HEADERS = {"chat.completions": b"openai-", "responses": b"openai-", "messages": b"anthropic-"}
"""how the headers begin that only one maker's endpoints understand"""


def say(gateway: Gateway, x: Exchange, candidate: Candidate, endpoint: str) -> UpstreamCall:
    """The call to `endpoint` of the candidate's upstream. Raises `Refusal` (input) when that dialect cannot say it."""
    if endpoint != x.endpoint:
        return _translated(gateway, x, candidate, endpoint)
    method = "GET" if x.request.method == "HEAD" else x.request.method  # the answer's length is then known by its body
    repeatable = x.target is not None or method == "GET"
    return UpstreamCall(method, _path(x), x.heads.forwarded, _own_body(gateway, x, candidate), x.streamed, repeatable)


def cannot(x: Exchange, candidate: Candidate) -> Refusal:
    """The refusal of a call that an upstream has no endpoint for, nor one that could stand for it."""
    return Refusal(
        400,
        "input",
        f"the upstream of `{candidate.model}` does not answer {x.request.path[:100]}",
        "Ask for a model whose upstream does",
        code="endpoint_not_spoken",
        param="model",
    )


def _translated(gateway: Gateway, x: Exchange, candidate: Candidate, endpoint: str) -> UpstreamCall:
    assert x.body is not None
    try:
        body = translate_call(
            x.body, cast(Dialect, x.endpoint), cast(Dialect, endpoint), model=candidate.upstream_model, max_output=candidate.max_output
        )
        if not gateway.upstreams.asks_usage[candidate.upstream]:
            body.pop("stream_options", None)
        data = _encoded(body)
    except Untranslatable as error:
        reason = f"`{candidate.model}` is called at /v1{PATHS[endpoint]}, and this call cannot be said there: {error}"
        raise Refusal(400, "input", reason, error.hint, code="not_translatable", param=error.field) from None
    return UpstreamCall("POST", PATHS[endpoint], _headers(x, endpoint), data, x.streamed, True)


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise Untranslatable("body", "the body is nested too deeply to be written anew", "Send a flatter one") from None


def _headers(x: Exchange, endpoint: str) -> Headers:
    own = _OWN_HEADERS[x.endpoint]
    return x.heads.forwarded if own == _OWN_HEADERS[endpoint] else [pair for pair in x.heads.forwarded if not pair[0].startswith(own)]


def _path(x: Exchange) -> str:
    path = PATHS.get(x.endpoint) or passed_path(x.request.path).removeprefix("/v1")
    return f"{path}?{x.request.query}" if x.request.query else path


def _own_body(gateway: Gateway, x: Exchange, candidate: Candidate) -> bytes:
    """The client's bytes with the model's name in the upstream's words, and the wish for usage on streams."""
    body = x.request.body
    if x.target is not None and candidate.upstream_model != x.target.name:
        body = replace_model(body, candidate.upstream_model)
    if asks_usage(gateway, x, candidate.upstream):
        body = ask_for_usage(body)
    if asks_logprobs(gateway, x, candidate):
        body = with_logprobs(body)
    return body
