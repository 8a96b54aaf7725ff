"""The engine's HTTP face: OpenAI's endpoints and Anthropic's, `/health`, `/metrics`, and the faults that a call asks for."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from penstock.adapters.upstreams.simulated import faults, messages, responses, shapes
from penstock.adapters.upstreams.simulated.calls import BadRequest, Call, chat_call, completion_call, text_inputs
from penstock.adapters.upstreams.simulated.engine import Engine, Job
from penstock.adapters.upstreams.simulated.faults import Fault, FaultError, Words, parse_fault
from penstock.adapters.upstreams.simulated.options import Options, planned_faults
from penstock.wire.message import Request
from penstock.wire.responder import Responder

SERVER = (b"server", shapes.NAME.encode())
JSON = (SERVER, (b"content-type", b"application/json"))
EVENTS = (SERVER, (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
TEXT = (SERVER, (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"))


class Face(NamedTuple):
    """One dialect: how its requests are read, and how answers, streams and errors look in it."""

    word: str | None
    """its name in the option `speaks`; None: always there"""
    read: Callable[[Mapping[str, Any], str, Options], Call]
    whole: Callable[[Call, Job, Fault | None], bytes]
    events: Callable[[Call, Job, Fault | None], AsyncIterator[bytes]]
    words: Words


FACES = {
    "/v1/chat/completions": Face("chat", chat_call, shapes.whole, shapes.events, faults.OPENAI),
    "/v1/completions": Face(None, completion_call, shapes.whole, shapes.events, faults.OPENAI),
    "/v1/responses": Face("responses", responses.responses_call, responses.whole, responses.events, responses.WORDS),
    "/v1/messages": Face("messages", messages.messages_call, messages.whole, messages.events, messages.WORDS),
}
EMBEDDINGS = "/v1/embeddings"
COUNT_TOKENS = "/v1/messages/count_tokens"


class SimulatedEngine:
    """Handles requests on the wire server; `engine.run()` must run beside it."""

    def __init__(self, options: Options) -> None:
        self.engine = Engine(options)
        self._options = options
        self._planned = planned_faults(options)
        self._calls = 0

    async def __call__(self, request: Request, responder: Responder) -> None:
        path = request.path.rstrip("/")
        if path in (EMBEDDINGS, COUNT_TOKENS) or path in FACES:
            await self._model_address(path, request, responder)
        elif request.method not in ("GET", "HEAD"):
            _refuse(responder, BadRequest(f"no endpoint {request.method} {request.path}", status=404))
        elif path == "/v1/models":
            responder.send(200, JSON, shapes.model_list(self._options.served_models, self._options.context))
        elif path == "/metrics":
            responder.send(200, TEXT, self.engine.render_metrics())
        elif path == "/health":
            responder.send(200, TEXT, b"")
        else:
            _refuse(responder, BadRequest(f"no endpoint {request.method} {request.path}", status=404))

    async def _model_address(self, path: str, request: Request, responder: Responder) -> None:
        face = FACES.get(path.removesuffix("/count_tokens"))
        words = face.words if face is not None else faults.OPENAI
        try:
            if face is not None and face.word is not None and face.word not in self._options.speaks:
                raise BadRequest(f"no endpoint {request.method} {request.path}", status=404)
            if request.method != "POST":
                raise BadRequest(f"{request.method} is not allowed here, POST is", status=405)
            await self._model_call(path, face, request, responder)
        except BadRequest as problem:
            _refuse(responder, problem, words)

    async def _model_call(self, path: str, face: Face | None, request: Request, responder: Responder) -> None:
        self._calls += 1
        body = _object(request.body)
        model, fault = self._model_and_fault(request, body)
        words = face.words if face is not None else faults.OPENAI
        if fault is not None and await faults.instead_of_answer(fault, responder, JSON, words):
            return
        if self._options.models and model not in self._options.models:
            raise BadRequest(f"The model `{model}` does not exist.", param="model", code="model_not_found", status=404)
        if face is None:
            await self._embed(body, model, responder, fault)
        elif path == COUNT_TOKENS:
            responder.send(200, JSON, messages.count(body))
        else:
            await self._complete(face, face.read(body, model, self._options), responder, fault)

    async def _complete(self, face: Face, call: Call, responder: Responder, fault: Fault | None) -> None:
        job = call.job()
        if (needed := max(sequence.kv_tokens for sequence in job.sequences)) > self._options.kv_tokens:
            raise BadRequest(f"the engine's KV memory of {self._options.kv_tokens} tokens is too small for {needed}")
        self.engine.submit(job)
        try:
            if call.streamed:
                await faults.send_events(responder, EVENTS, face.events(call, job, fault), fault, face.words)
            else:
                await job.progress()
                await faults.send_body(responder, JSON, face.whole(call, job, fault), fault, face.words)
        finally:
            self.engine.withdraw(job)

    async def _embed(self, body: Mapping[str, Any], model: str, responder: Responder, fault: Fault | None) -> None:
        texts = text_inputs(body.get("input"), "input")
        dimensions = body.get("dimensions", shapes.DEFAULT_DIMENSIONS)
        if type(dimensions) is not int or not 1 <= dimensions <= shapes.MOST_DIMENSIONS:
            raise BadRequest(f"`dimensions` must be 1 to {shapes.MOST_DIMENSIONS}", param="dimensions")
        answer = shapes.embeddings(model, texts, dimensions, body.get("encoding_format") == "base64", fault)
        await faults.send_body(responder, JSON, answer, fault)

    def _model_and_fault(self, request: Request, body: Mapping[str, Any]) -> tuple[str, Fault | None]:
        """The model's name without a fault at its end, and the fault: the header's, the body's, the name's, or a planned one."""
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise BadRequest("`model` must be a text", param="model")
        model, _, suffix = model.partition(faults.MARK)
        header = request.header(faults.HEADER)
        asked = header.decode("latin-1") if header is not None else body.get(faults.FIELD) or suffix
        if asked:
            try:
                return model, parse_fault(str(asked))
            except FaultError as error:
                raise BadRequest(f"{error}; {error.hint}") from None
        return model, next((fault for plan, fault in self._planned if plan.applies(self._calls)), None)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def refuse_unparsed(request: Request, status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Words for what the wire could not read (400, 408, 413, 431)."""
    return list(JSON), faults.error_body(f"the request could not be read (HTTP {status})", "invalid_request_error")


def _refuse(responder: Responder, problem: BadRequest, words: Words = faults.OPENAI) -> None:
    responder.send(problem.status, JSON, words.body(str(problem), "invalid_request_error", problem.code, problem.param))
