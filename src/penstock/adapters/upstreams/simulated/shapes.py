"""Answers as OpenAI shapes them: whole bodies, stream events, usage, logprobs, embeddings."""

import base64
import random
import struct
import time
from collections.abc import AsyncIterator, Sequence
from math import log
from typing import Any
from uuid import uuid4

import orjson

from penstock.adapters.upstreams.simulated.answers import Utterance, count_tokens, digest_of
from penstock.adapters.upstreams.simulated.calls import Call, tool_id
from penstock.adapters.upstreams.simulated.engine import BYTES_PER_TOKEN, Job
from penstock.adapters.upstreams.simulated.faults import Fault, shape_usage

NAME = "penstock-simulated"
DONE = b"data: [DONE]\n\n"
DEFAULT_DIMENSIONS = 64
MOST_DIMENSIONS = 4096
LEAST_SURE = 1e-6
SPREAD = (1.0, 0.25, 1.75, 0.5, 1.5, 0.75, 1.25)
"""logprobs of tokens by their position, as parts of the mean"""


def usage(call: Call, job: Job) -> dict[str, Any]:
    """Tokens of the call: each prompt once, every choice, and how much of the prompts was in the prefix cache."""
    each = len(job.sequences) // len(call.prompts)
    prompts = job.sequences[::each]
    prompt_tokens = sum(sequence.prompt_tokens for sequence in prompts)
    completion_tokens = sum(sequence.emitted for sequence in job.sequences)
    counted: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(sequence.cached_tokens for sequence in prompts)},
    }
    if reasoning := sum(said.reasoning_tokens for said in call.utterances):
        counted["completion_tokens_details"] = {"reasoning_tokens": min(reasoning, completion_tokens)}
    return counted


def whole(call: Call, job: Job, fault: Fault | None) -> bytes:
    """A complete answer; all tokens are there."""
    body = _head(call, "chat.completion" if call.chat else "text_completion")
    body["choices"] = [_choice(call, index, said) for index, said in enumerate(call.utterances)]
    if (counted := shape_usage(usage(call, job), fault)) is not None:
        body["usage"] = counted
    if fault is not None and fault.kind == "huge":
        body["simulated_padding"] = "x" * fault.number
    return orjson.dumps(body)


async def events(call: Call, job: Job, fault: Fault | None) -> AsyncIterator[bytes]:
    """The answer as server-sent events, a group of tokens each, as the engine makes them."""
    head = _head(call, "chat.completion.chunk" if call.chat else "text_completion")
    if call.include_usage:
        head["usage"] = None
    sent = [0] * len(job.sequences)
    ended = [False] * len(job.sequences)
    on_last = fault is not None and fault.kind == "usage-on-last-choice"
    for index, said in enumerate(call.utterances):
        for choice in _openings(call, index, said):
            yield _event(head | {"choices": [choice]})
    while not all(ended):
        await job.progress()
        for index, (sequence, said) in enumerate(zip(job.sequences, call.utterances, strict=True)):
            if sequence.emitted > sent[index]:
                yield _event(head | {"choices": [_delta(call, index, said, sent[index], sequence.emitted)]})
                sent[index] = sequence.emitted
            if sequence.finished and not ended[index]:
                ended[index] = True
                last = {"usage": shape_usage(usage(call, job), fault)} if on_last and all(ended) else {}
                yield _event(head | {"choices": [_closing(call, index, said)]} | last)
    async for event in _ending(call, job, head, fault):
        yield event


async def _ending(call: Call, job: Job, head: dict[str, Any], fault: Fault | None) -> AsyncIterator[bytes]:
    kind = fault.kind if fault else None
    if fault is not None and kind == "huge":
        yield b": " + b"x" * fault.number + b"\n\n"
    if kind == "usage-on-last-choice":
        return
    if call.include_usage and (counted := shape_usage(usage(call, job), fault)) is not None:
        yield _event(head | {"choices": [], "usage": counted})
    if kind != "no-done":
        yield DONE


def _head(call: Call, kind: str) -> dict[str, Any]:
    prefix = "chatcmpl" if call.chat else "cmpl"
    return {
        "id": f"{prefix}-simulated-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": call.model,
        "system_fingerprint": NAME,
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(body)


def _choice(call: Call, index: int, said: Utterance) -> dict[str, Any]:
    if not call.chat:
        echo = _echo(call, index)
        return {"index": index, "text": echo + said.content, "logprobs": _logprobs(call, said), "finish_reason": said.finish_reason}
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "refusal": None}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.tool_name is not None:
        message["content"] = None
        message["tool_calls"] = [
            {"id": tool_id(said), "type": "function", "function": {"name": said.tool_name, "arguments": said.content}}
        ]  # fmt: skip
    return {"index": index, "message": message, "logprobs": _logprobs(call, said), "finish_reason": said.finish_reason}


def _openings(call: Call, index: int, said: Utterance) -> list[dict[str, Any]]:
    """Choices that are sent before the first token."""
    if not call.chat:
        text = _echo(call, index)
        return [{"index": index, "text": text, "logprobs": None, "finish_reason": None}] if text else []
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    if said.tool_name is not None:
        start = {"index": 0, "id": tool_id(said), "type": "function", "function": {"name": said.tool_name, "arguments": ""}}
        delta = {"role": "assistant", "content": None, "tool_calls": [start]}
    return [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]


def _delta(call: Call, index: int, said: Utterance, first: int, last: int) -> dict[str, Any]:
    thought, text = said.between(first, last)
    logprobs = _logprobs(call, said, max(first - said.reasoning_tokens, 0), text)
    if not call.chat:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}
    delta: dict[str, Any] = {"reasoning_content": thought} if thought else {}
    if said.tool_name is not None:
        delta["tool_calls"] = [{"index": 0, "function": {"arguments": text}}]
    elif text or not thought:
        delta["content"] = text
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _closing(call: Call, index: int, said: Utterance) -> dict[str, Any]:
    body: dict[str, Any] = {"delta": {}} if call.chat else {"text": ""}
    return {"index": index, **body, "logprobs": None, "finish_reason": said.finish_reason}


def _echo(call: Call, index: int) -> str:
    if not call.echo:
        return ""
    each = len(call.utterances) // len(call.prompts)
    return call.prompts[index // each].decode("utf-8", "replace")


def _logprobs(call: Call, said: Utterance, first: int = 0, text: str | None = None) -> dict[str, Any] | None:
    """Logprobs in the right shape, of all of it or of a `text` that begins with token `first`.

    The numbers vary with the position, about how sure the model is; without a skill that means nothing.
    """
    if call.logprobs is None:
        return None
    text = said.content if text is None else text
    tokens = [text[start : start + BYTES_PER_TOKEN] for start in range(0, len(text), BYTES_PER_TOKEN)]
    mean = -0.04 if said.sure is None else log(max(said.sure, LEAST_SURE))
    values = [mean * SPREAD[(first + index) % len(SPREAD)] for index in range(len(tokens))]
    if not call.chat:
        top = [{token: value} for token, value in zip(tokens, values, strict=True)] if call.logprobs else None
        offsets = [index * BYTES_PER_TOKEN for index in range(len(tokens))]
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": top, "text_offset": offsets}
    entries = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in zip(tokens, values, strict=True)]
    rivals = [{"token": f"~{rank}", "logprob": -1.0 - rank, "bytes": [126, 48 + rank % 10]} for rank in range(1, call.logprobs)]
    return {"content": [entry | {"top_logprobs": [entry, *rivals][: call.logprobs]} for entry in entries], "refusal": None}


def embeddings(model: str, texts: Sequence[bytes], dimensions: int, as_base64: bool, fault: Fault | None) -> bytes:
    """Unit vectors that follow from each text alone."""
    tokens = sum(max(count_tokens(len(text)), 1) for text in texts)
    body: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else vector}
            for index, vector in enumerate(_vector(text, dimensions) for text in texts)
        ],
        "model": model,
    }
    if (counted := shape_usage({"prompt_tokens": tokens, "total_tokens": tokens}, fault)) is not None:
        body["usage"] = counted
    return orjson.dumps(body)


def _vector(text: bytes, dimensions: int) -> list[float]:
    rng = random.Random(digest_of(text))  # noqa: S311  no secret hangs on it
    raw = [rng.uniform(-1, 1) for _ in range(dimensions)]
    length = sum(each * each for each in raw) ** 0.5
    return [each / length for each in raw]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def model_list(names: Sequence[str], context: int) -> bytes:
    entries = [{"id": name, "object": "model", "created": 0, "owned_by": NAME, "max_model_len": context} for name in names]
    return orjson.dumps({"object": "list", "data": entries})
