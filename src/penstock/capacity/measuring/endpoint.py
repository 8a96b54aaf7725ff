"""The endpoint under test: its address, its model, and the form of call that it takes.

Lengths are fixed as far as the endpoint lets them: `ignore_eos` (vLLM, SGLang, llama.cpp) makes each answer as long as asked.
An endpoint that refuses a field is asked again without it, once, before anything is measured.
"""

import asyncio
import ssl
from urllib.parse import urlsplit

import msgspec
import orjson

from penstock import __version__
from penstock.capacity.measuring.reading import read_answer, refusal
from penstock.capacity.measuring.sample import Failure, MeasureError, Sample
from penstock.wire.client import Address, Pool, Timeouts, WireError

MAX_ANSWER = 64 * 1024 * 1024
CALLS = ("/chat/completions", "/completions")
_REFUSED = {"http_400", "http_422"}


class Form(msgspec.Struct, frozen=True):
    """Which fields the endpoint takes."""

    ignore_eos: bool = True
    """answers run to their full length"""
    stream_options: bool = True
    """the stream ends with its usage"""
    length: str = "max_tokens"
    """or `max_completion_tokens`, as OpenAI's reasoning models want it"""

    def without(self, text: str) -> "Form | None":
        """The form to try next after a refusal with these words; None: there is none."""
        if self.length == "max_tokens" and "max_completion_tokens" in text:
            return msgspec.structs.replace(self, length="max_completion_tokens")
        if self.stream_options and "stream_options" in text:
            return msgspec.structs.replace(self, stream_options=False)
        if self.ignore_eos:
            return msgspec.structs.replace(self, ignore_eos=False)
        if self.stream_options:
            return msgspec.structs.replace(self, stream_options=False)
        return None


class Place(msgspec.Struct, frozen=True):
    """An address in parts. `base_url` carries no secret."""

    base_url: str
    host: str
    port: int
    tls: bool
    prefix: str
    path: str
    """of the call: `/chat/completions` or `/completions`"""


def place(url: str) -> Place:
    """`http://host:8000`, its `/v1`, or the whole address of a call. Raises `MeasureError`."""
    hint = "write it like http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise MeasureError(f"`{url}` is no address", hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.strip().isascii():
        raise MeasureError(f"`{url}` is no http(s) address", hint)
    if "@" in parts.netloc:
        raise MeasureError("the address holds a name or a password", "leave it out, and name the key's variable by --api-key-env")
    if parts.query or parts.fragment:
        raise MeasureError(f"`{url}` has a query or a fragment", hint)
    prefix, call = parts.path.rstrip("/"), CALLS[0]
    for each in CALLS:
        if prefix.endswith(each):
            prefix, call = prefix.removesuffix(each), each
            break
    prefix = prefix or "/v1"
    tls = parts.scheme == "https"
    return Place(f"{parts.scheme}://{parts.netloc}{prefix}", parts.hostname, port or (443 if tls else 80), tls, prefix, call)


class Endpoint:
    """An OpenAI-compatible endpoint. Made and used within one event loop."""

    def __init__(self, where: Place, model: str, api_key: str | None, timeouts: Timeouts) -> None:
        self.place = where
        self.model = model
        self.form = Form()
        tls = ssl.create_default_context() if where.tls else None
        self._pool = Pool(Address(where.host, where.port, tls), timeouts, MAX_ANSWER)
        name = where.base_url.partition("://")[2].partition("/")[0]
        key = b"" if api_key is None else b"authorization: Bearer %b\r\n" % api_key.encode()
        self._fixed = b"host: %b\r\nuser-agent: penstock/%b\r\naccept-encoding: identity\r\n%b" % (
            name.encode(),
            __version__.encode(),
            key,
        )

    def close(self) -> None:
        self._pool.close()

    async def settle(self, prompt: str, output_tokens: int) -> Sample:
        """A first answer, in the first form that the endpoint takes. Raises `MeasureError` when it takes none."""
        while True:
            sample = await self.ask(prompt, output_tokens)
            failure = sample.failure
            if failure is None:
                return sample
            form = self.form.without(failure.text) if failure.kind in _REFUSED else None
            if form is None:
                raise MeasureError(f"{self.place.base_url} gave no answer: {failure.text}", _hint(failure))
            self.form = form

    async def ask(self, prompt: str, output_tokens: int, due_s: float | None = None) -> Sample:
        """One request; whatever happens to it is in its sample. `due_s`: when it should have been sent, if not now."""
        clock = self._pool.loop.time
        body = self._body(prompt, output_tokens)
        due_s = clock() if due_s is None else due_s
        try:
            answer = await self._pool.send(self._message("POST", self.place.path, body))
        except WireError as problem:
            return Sample(due_s=due_s, end_s=clock(), failure=Failure(problem.kind, str(problem)))
        return await read_answer(answer, len(prompt.encode()), due_s, clock)

    async def names(self) -> list[str]:
        """The models that it says it serves. Raises `MeasureError`."""
        try:
            answer = await self._pool.send(self._message("GET", "/models"), first_s=10.0)
            body = await answer.read()
        except WireError as problem:
            raise MeasureError(str(problem), "is it up, and is the address right?") from None
        if answer.status != 200:
            failure = refusal(answer.status, body, dict(answer.headers))
            raise MeasureError(f"{self.place.base_url}/models answered {failure.text}", _hint(failure))
        try:
            return [each.id for each in msgspec.json.decode(body, type=_Listing).data]
        except msgspec.MsgspecError:
            raise MeasureError(f"{self.place.base_url}/models is no list of models", "name the model by --upstream-model") from None

    async def connect(self, count: int) -> None:
        """Opens connections ahead where that is dear (TLS), so that no first token waits for a handshake."""
        if self.place.tls:
            asked = [self._pool.send(self._message("GET", "/models"), first_s=10.0) for _ in range(count)]
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(answer, BaseException):
                    continue  # the requests themselves will tell what is wrong
                try:
                    await answer.read()
                except WireError:
                    answer.close()

    def _body(self, prompt: str, output_tokens: int) -> bytes:
        body: dict[str, object] = {"model": self.model, "stream": True, self.form.length: output_tokens}
        if self.place.path == CALLS[0]:
            body["messages"] = [{"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        if self.form.ignore_eos:
            body["ignore_eos"] = True
        if self.form.stream_options:
            body["stream_options"] = {"include_usage": True}
        return orjson.dumps(body)

    def _message(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = b"%b %b HTTP/1.1\r\n%b" % (method.encode(), (self.place.prefix + path).encode(), self._fixed)
        if not body:
            return head + b"\r\n"
        return head + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class _Listed(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Listed] = []


def _hint(failure: Failure) -> str:
    if failure.kind in ("http_401", "http_403"):
        return "name the variable that holds its key by --api-key-env"
    if failure.kind == "http_404":
        return "is the path right, and is the model's name as the endpoint knows it (--upstream-model)?"
    if failure.kind in _REFUSED:
        return "is the model's name right, and do input and output fit into its context?"
    if failure.kind == "rate_limited":
        return "it limits the rate of this key: measure where it does not"
    if failure.kind == "timeout":
        return "allow it more time by --timeout"
    return "is it up, and is the address right?"
