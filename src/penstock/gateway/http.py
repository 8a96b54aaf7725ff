"""The addresses of the data plane: what is answered here, what runs the pipeline, what the controller answers."""

import time
from typing import Protocol

import orjson

from penstock.gateway.exchange import passed_path
from penstock.gateway.gateway import Gateway
from penstock.gateway.heads import read_heads
from penstock.gateway.pipeline import run
from penstock.gateway.refusal import Refusal, for_anthropic
from penstock.gateway.steps.identify import authenticate
from penstock.ports.key_store import ApiKey
from penstock.wire.message import Headers, Request
from penstock.wire.responder import Responder

ENDPOINTS = {
    "/v1/chat/completions": "chat.completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}
FEEDBACK_PATH = "/v1/feedback"
_JSON = [(b"content-type", b"application/json")]
_REFUSALS = {
    400: ("the request is not valid HTTP", "Check the client's HTTP library and its proxies"),
    408: ("the request did not arrive in time", "Send head and body without long pauses"),
    413: ("the request body is too large", "Send less, or raise server.max_body"),
    431: ("the request head is too large", "Send fewer or shorter headers"),
}


class Controller(Protocol):
    """The way to the controller process of this host."""

    ready: bool

    async def hand_over(self, request: Request, responder: Responder) -> None:
        """Lets the controller answer; 503 when it is away."""


class Front:
    """Routes each request by its path."""

    def __init__(self, gateway: Gateway, controller: Controller) -> None:
        self._gateway = gateway
        self._controller = controller

    async def __call__(self, request: Request, responder: Responder) -> None:
        path = request.path
        endpoint = ENDPOINTS.get(path) or ENDPOINTS.get(_tidy(path))
        if endpoint is not None:
            if request.method == "POST":
                await run(self._gateway, endpoint, request, responder)
            else:
                _refuse(request, responder, Refusal(405, "input", f"{path} takes POST, not {request.method}"), (b"allow", b"POST"))
        elif path == "/v1/models" or path.startswith("/v1/models/"):
            await self._models(request, responder)
        elif _tidy(path) == FEEDBACK_PATH:
            await self._feedback(request, responder)
        elif path.startswith("/v1/") and ".." not in path.split("/"):
            await run(self._gateway, passed_path(path), request, responder)
        elif path == "/healthz":
            responder.send(200, _JSON, b'{"status":"ok"}')
        elif path == "/readyz" and self._controller.ready:
            responder.send(200, _JSON, b'{"status":"ready"}')
        elif "/v1" + path in ENDPOINTS:
            hint = "The base_url of a client ends in /v1"
            _refuse(request, responder, Refusal(404, "input", f"there is no address {path}, but there is /v1{path}", hint))
        else:
            await self._controller.hand_over(request, responder)

    async def _feedback(self, request: Request, responder: Responder) -> None:
        """The controller knows the ledger, and says whose request it is; who is let in is decided here, as for every call."""
        try:
            await authenticate(self._gateway, read_heads(request.headers).secret, time.time_ns())
        except Refusal as refusal:
            _refuse(request, responder, refusal)
            return
        await self._controller.hand_over(request, responder)

    async def _models(self, request: Request, responder: Responder) -> None:
        try:
            key = await authenticate(self._gateway, read_heads(request.headers).secret, time.time_ns())
        except Refusal as refusal:
            _refuse(request, responder, refusal)
            return
        names = [name for name in self._gateway.targets.names() if key is None or self._may_ask(key, name)]
        wanted = request.path.removeprefix("/v1/models").strip("/")
        anthropic = for_anthropic(request)
        if request.method not in ("GET", "HEAD"):
            _refuse(request, responder, Refusal(405, "input", f"{request.path} takes GET, not {request.method}"), (b"allow", b"GET"))
        elif not wanted:
            responder.send(200, _JSON, orjson.dumps(_anthropic_models(names) if anthropic else _models(names)))
        elif wanted in names:
            responder.send(200, _JSON, orjson.dumps(_anthropic_model(wanted) if anthropic else _model(wanted)))
        else:
            near = ", ".join([name for name in self._gateway.targets.nearest(wanted) if name in names] or names[:5])
            hint = f"There are: {near}"
            _refuse(request, responder, Refusal(404, "input", f"there is no model `{wanted[:200]}` here", hint, code="model_not_found"))

    def _may_ask(self, key: ApiKey, name: str) -> bool:
        target = self._gateway.targets.find(name)
        tiers = {candidate.tier for candidate in target.candidates} if target is not None else set()
        return (not key.models or name in key.models) and (not key.tiers or not tiers.isdisjoint(key.tiers))


def _tidy(path: str) -> str:
    """A path without doubled or trailing slashes: what means a metered endpoint to an upstream means it here."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock"}


def _models(names: list[str]) -> dict[str, object]:
    return {"object": "list", "data": [_model(name) for name in names]}


def _anthropic_model(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _anthropic_models(names: list[str]) -> dict[str, object]:
    """All models on one page, in the shape that Anthropic's SDK turns pages by."""
    first, last = (names[0], names[-1]) if names else (None, None)
    return {"data": [_anthropic_model(name) for name in names], "has_more": False, "first_id": first, "last_id": last}


def _refuse(request: Request, responder: Responder, refusal: Refusal, *more: tuple[bytes, bytes]) -> None:
    responder.send(refusal.status, [*refusal.headers(), *more], refusal.body(for_anthropic(request)))


def wire_refusal(request: Request, status: int) -> tuple[Headers, bytes]:
    """The words for what the wire refuses before there is a request."""
    message, hint = _REFUSALS[status]
    refusal = Refusal(status, "input", message, hint)
    return refusal.headers(), refusal.body(for_anthropic(request))
