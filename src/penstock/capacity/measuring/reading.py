"""How an answer of an endpoint is read: when its content came, and what it says that it used.

Both styles of usage count: on a last chunk without choices (OpenAI, vLLM, llama.cpp), and on a chunk beside a choice (TGI,
transformers). The first token is the first piece of content, be it text, reasoning, a refusal or a tool call: not the chunk that
only names the role.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from penstock.capacity.measuring.sample import Failure, Sample
from penstock.domain.dialects.sse import EventSplitter, chunk_of, is_done
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.dialects.usage import estimate_tokens, tokens_from_usage
from penstock.domain.dialects.usage_fields import UsageError
from penstock.wire.client import Answer, WireError

SHOWN = 200
_CONTENT = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "text")
_SPACES = re.compile(r"\s+")


class _Seen(msgspec.Struct):
    """What a stream has shown so far."""

    first_s: float | None = None
    last_s: float | None = None
    pieces: int = 0
    usage: Any = None
    closed: bool = False
    failure: Failure | None = None

    def take(self, event: bytes, now_s: float) -> None:
        if is_done(event):
            self.closed = True
            return
        chunk = chunk_of(event)
        if chunk is None:
            return
        if chunk.get("error"):
            self.failure = Failure("stream_error", said(chunk))
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
            self.closed = self.closed or chunk.get("choices") == []
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            self._take_choice(choice, now_s)

    def _take_choice(self, choice: object, now_s: float) -> None:
        if not isinstance(choice, dict):
            return
        self.closed = self.closed or choice.get("finish_reason") is not None
        if has_content(choice):
            self.first_s = now_s if self.first_s is None else self.first_s
            self.last_s = now_s
            self.pieces += 1


async def read_answer(answer: Answer, prompt_bytes: int, due_s: float, clock: Callable[[], float]) -> Sample:
    """The sample of an answer whose head has arrived; what went wrong is its `failure`, nothing is raised."""
    try:
        if answer.status != 200:
            body = await answer.read()
            return Sample(due_s=due_s, end_s=clock(), failure=refusal(answer.status, body, dict(answer.headers)))
        if b"text/event-stream" in dict(answer.headers).get(b"content-type", b""):
            return await _streamed(answer, prompt_bytes, due_s, clock)
        return _whole(await answer.read(), prompt_bytes, due_s, clock())
    except WireError as problem:
        return Sample(due_s=due_s, end_s=clock(), failure=Failure(problem.kind, str(problem)))
    finally:
        answer.close()


async def _streamed(answer: Answer, prompt_bytes: int, due_s: float, clock: Callable[[], float]) -> Sample:
    seen, splitter = _Seen(), EventSplitter()
    while (data := await answer.chunk()) is not None:
        now_s = clock()
        for event in splitter.feed(data):
            seen.take(event, now_s)
    if rest := splitter.rest():
        seen.take(rest, clock())
    end_s = clock()
    failure = seen.failure
    if failure is None and not seen.closed:
        failure = Failure("broken_off", "the stream ended before the answer did")
    tokens, estimated = _tokens(seen.usage, prompt_bytes, seen.pieces)
    if failure is None and not tokens.output:
        failure = Failure("empty", "the answer has no content")
    if failure is not None:
        return Sample(due_s=due_s, end_s=end_s, failure=failure)
    return Sample(
        due_s=due_s,
        first_s=seen.first_s,
        last_s=seen.last_s,
        end_s=end_s,
        input_tokens=tokens.input,
        cached_tokens=tokens.cache_read,
        output_tokens=tokens.output,
        estimated=estimated,
    )


def _whole(body: bytes, prompt_bytes: int, due_s: float, end_s: float) -> Sample:
    """An answer that came in one piece, as an endpoint without streams gives it: its length in time, and nothing within."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    choices = told.get("choices") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(choices, list):
        return Sample(due_s=due_s, end_s=end_s, failure=Failure("protocol", f"the answer is no completion: {_short(body)}"))
    text = sum(len(_text(choice)) for choice in choices)
    tokens, estimated = _tokens(told.get("usage"), prompt_bytes, estimate_tokens(text))
    if not tokens.output:
        return Sample(due_s=due_s, end_s=end_s, failure=Failure("empty", "the answer has no content"))
    return Sample(
        due_s=due_s,
        end_s=end_s,
        input_tokens=tokens.input,
        cached_tokens=tokens.cache_read,
        output_tokens=tokens.output,
        estimated=estimated,
    )


def has_content(choice: dict[str, Any]) -> bool:
    """Whether a choice of a chunk carries a piece of the answer."""
    delta = choice.get("delta")
    return any(part.get(name) for part in (delta, choice) if isinstance(part, dict) for name in _CONTENT)


def _text(choice: object) -> bytes:
    message = choice.get("message") if isinstance(choice, dict) else None
    parts = [part.get(name) for part in (message, choice) if isinstance(part, dict) for name in _CONTENT]
    return "".join(part for part in parts if isinstance(part, str)).encode("utf-8", "replace")


def _tokens(usage: object, prompt_bytes: int, pieces: int) -> tuple[Tokens, bool]:
    """Tokens by the endpoint's word; estimated where it says nothing that can be read."""
    try:
        return tokens_from_usage(usage), False
    except UsageError:
        return Tokens(uncached_input=estimate_tokens(prompt_bytes), visible_output=pieces), True


def refusal(status: int, body: bytes, headers: dict[bytes, bytes]) -> Failure:
    """What an answer other than 200 means."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    text = said(told) if isinstance(told, dict) else _short(body)
    kind = "rate_limited" if status == 429 else f"http_{status}"
    after = headers.get(b"retry-after", b"").strip()
    return Failure(kind, f"{status}: {text}" if text else str(status), float(after) if after.isdigit() else None)


def said(told: dict[str, Any]) -> str:
    """The message of an error body: OpenAI's `error.message`, FastAPI's `detail`, or the whole of it."""
    error = told.get("error", told.get("detail", told.get("message", told)))
    text = error.get("message") or error if isinstance(error, dict) else error
    return _short(text.encode() if isinstance(text, str) else orjson.dumps(text))


def _short(text: bytes) -> str:
    words = _SPACES.sub(" ", text[: 4 * SHOWN].decode("utf-8", "replace")).strip()
    return "".join(each for each in words if each.isprintable())[:SHOWN]
