"""Requests as the engine takes them: an OpenAI body becomes a rendered prompt and the choices that answer it."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from penstock.adapters.upstreams.simulated.ability import skill_of, take
from penstock.adapters.upstreams.simulated.answers import Utterance, Voice, count_tokens, digest_of, utter
from penstock.adapters.upstreams.simulated.engine import BYTES_PER_TOKEN, Job, prefix_blocks
from penstock.adapters.upstreams.simulated.engine import Sequence as Running
from penstock.adapters.upstreams.simulated.known import known_answers, last_turn, words_of
from penstock.adapters.upstreams.simulated.options import Options

IMAGE_TOKENS = 256
MOST_CHOICES = 128


class BadRequest(Exception):
    """The request cannot be answered; worded as OpenAI does."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One completion call, chat or not: one rendered prompt per prompt, `n` utterances for each."""

    chat: bool
    model: str
    streamed: bool
    include_usage: bool
    prompts: tuple[bytes, ...]
    utterances: tuple[Utterance, ...]
    logprobs: int | None
    """alternatives to list at each token; None: no logprobs"""
    echo: bool = False
    cached: bool = False
    """the client marked something for the prompt cache (Anthropic's `cache_control`)"""

    def job(self) -> Job:
        """The work that this call is to the engine."""
        job = Job(self.streamed)
        each = len(self.utterances) // len(self.prompts)
        for index, said in enumerate(self.utterances):
            prompt = self.prompts[index // each]
            blocks = prefix_blocks(prompt)
            job.sequences.append(Running(job, blocks, count_tokens(len(prompt)), said.tokens, said.finish_reason))
        return job


def chat_call(body: Mapping[str, Any], model: str, options: Options) -> Call:
    """A chat completion. Raises `BadRequest`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise BadRequest("`messages` must be a list of at least one message", param="messages")
    prompt = rendered(body)
    logprobs = (_integer(body, "top_logprobs", least=0) or 0) if body.get("logprobs") else None
    return _call(body, model, options, chat=True, prompts=(prompt,), logprobs=logprobs, messages=messages)


def rendered(chat: Mapping[str, Any]) -> bytes:
    """The prompt that a chat's tools and messages (a list of objects) become."""
    return _render(chat.get("tools"), chat["messages"])


def tool_id(said: Utterance) -> str:
    """The id of a choice's tool call: the same call, the same id."""
    return f"call_{digest_of(str(said.tool_name).encode(), said.content.encode()).hex()[:24]}"


def completion_call(body: Mapping[str, Any], model: str, options: Options) -> Call:
    """A text completion. Raises `BadRequest`."""
    prompts = tuple(text_inputs(body.get("prompt"), "prompt"))
    logprobs = body.get("logprobs")
    return _call(body, model, options, chat=False, prompts=prompts, logprobs=logprobs if isinstance(logprobs, int) else None)


def text_inputs(value: object, param: str) -> list[bytes]:
    """One or several texts or token lists, each as bytes (a token is four of them). Raises `BadRequest`."""
    if isinstance(value, str):
        return [value.encode("utf-8", "replace")]
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return [each.encode("utf-8", "replace") for each in value]
        lists = value if isinstance(value[0], list) else [value]
        if all(isinstance(tokens, list) and tokens and all(_is_token(each) for each in tokens) for tokens in lists):
            return [b"".join(each.to_bytes(BYTES_PER_TOKEN, "big") for each in tokens) for tokens in lists]
    raise BadRequest(f"`{param}` must be a text, a list of texts, or a list of tokens", param=param)


def _is_token(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**32


def _call(
    body: Mapping[str, Any],
    model: str,
    options: Options,
    *,
    chat: bool,
    prompts: tuple[bytes, ...],
    logprobs: int | None,
    messages: Sequence[Mapping[str, Any]] = (),
) -> Call:
    count = _integer(body, "n") or 1
    if count > MOST_CHOICES:
        raise BadRequest(f"`n` is at most {MOST_CHOICES}", param="n")
    longest = max(count_tokens(len(prompt)) for prompt in prompts)
    room = min(options.context, options.kv_tokens) - longest
    if room < 1:
        raise BadRequest(
            f"This model's maximum context length is {options.context} tokens. However, your request has {longest} input tokens.",
            param="messages" if chat else "prompt",
            code="context_length_exceeded",
        )
    voice = _voice(body, options, room, messages[-1].get("role") if messages else None)
    stream_options = body.get("stream_options")
    return Call(
        chat=chat,
        model=model,
        streamed=body.get("stream") is True,
        include_usage=isinstance(stream_options, dict) and stream_options.get("include_usage") is True,
        prompts=prompts,
        utterances=_utterances(body, model, options, prompts, count, voice, last_turn(messages)),
        logprobs=logprobs,
        echo=not chat and body.get("echo") is True,
        cached=chat and body.get("cached") is True,
    )


def _utterances(
    body: Mapping[str, Any], model: str, options: Options, prompts: Sequence[bytes], count: int, voice: Voice, asked: str
) -> tuple[Utterance, ...]:
    known = known_answers(options.answers).answer_to(asked) if options.answers else None
    skill = skill_of(options.skill, model)
    seed = orjson.dumps([options.seed, body.get("seed"), body.get("temperature")])
    digests = [digest_of(seed, model.encode("utf-8", "replace"), prompt, b"%d" % index) for prompt in prompts for index in range(count)]
    try:
        if skill is None or (known is not None and not known.wrong):
            voice = msgspec.structs.replace(voice, known=known.say if known else ())
            return tuple(utter(voice, digest) for digest in digests)
        varied = body.get("temperature") != 0
        texts = [words_of(asked).strip() or prompt.decode("utf-8", "replace") for prompt in prompts for _ in range(count)]
        takes = [
            take(voice, text, known, skill, options.refuses, model, digest, varied) for text, digest in zip(texts, digests, strict=True)
        ]
        return tuple(utter(each.voice, each.digest, each.sure) for each in takes)
    except (TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"the JSON schema cannot be used: {error}", param="response_format") from None


def _voice(body: Mapping[str, Any], options: Options, room: int, last_role: object) -> Voice:
    limit = _integer(body, "max_completion_tokens") or _integer(body, "max_tokens")
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    shortest, longest = options.answer_tokens
    return Voice(
        shortest=shortest,
        longest=longest,
        limit=min(limit or room, room),
        stop=tuple(each for each in stops if isinstance(each, str)),
        effort=body.get("reasoning_effort") if isinstance(body.get("reasoning_effort"), str) else None,
        schema=_wanted_schema(body.get("response_format")),
        tool=_wanted_tool(body, last_role),
    )


def _wanted_schema(wanted: object) -> Mapping[str, Any] | None:
    if not isinstance(wanted, dict):
        return None
    match wanted.get("type"):
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}, "simulated": {"const": True}}}
        case "json_schema":
            schema = wanted.get("json_schema")
            schema = schema.get("schema") if isinstance(schema, dict) else None
            if not isinstance(schema, dict):
                raise BadRequest("`response_format.json_schema.schema` must be an object", param="response_format")
            return schema
    return None


def _wanted_tool(body: Mapping[str, Any], last_role: object) -> Mapping[str, Any] | None:
    """The function to call: the one that is asked for, else the first, unless its result is there already."""
    tools = body.get("tools")
    offered = [each.get("function") for each in tools if isinstance(each, dict)] if isinstance(tools, list) else []
    functions: list[dict[str, Any]] = [each for each in offered if isinstance(each, dict)]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        wanted = choice.get("function")
        name = wanted.get("name") if isinstance(wanted, dict) else None
        for function in functions:
            if function.get("name") == name:
                return function
        raise BadRequest(f"`tool_choice` names `{name}`, which is not among `tools`", param="tool_choice")
    if not functions or choice == "none" or (choice == "auto" and last_role == "tool"):
        return None
    return functions[0]


def _integer(body: Mapping[str, Any], name: str, least: int = 1) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < least:
        raise BadRequest(f"`{name}` must be a whole number of at least {least}", param=name)
    return value


def _render(tools: object, messages: Sequence[Mapping[str, Any]]) -> bytes:
    """The prompt as one text: the tools, then `role`, content and tool calls of each message."""
    parts = [orjson.dumps(tools)] if tools else []
    for message in messages:
        parts.append(str(message.get("role", "")).encode("utf-8", "replace"))
        parts.extend(_content(message.get("content")))
        if calls := message.get("tool_calls"):
            parts.append(orjson.dumps(calls))
    return b"\n".join(parts) + b"\n"


def _content(content: object) -> list[bytes]:
    if isinstance(content, str):
        return [content.encode("utf-8", "replace")]
    if not isinstance(content, list):
        return []
    parts: list[bytes] = []
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            parts.append(part["text"].encode("utf-8", "replace"))
        else:
            digest = blake2b(orjson.dumps(part), digest_size=32).hexdigest().encode()
            parts.append(digest.ljust(IMAGE_TOKENS * BYTES_PER_TOKEN))
    return parts
