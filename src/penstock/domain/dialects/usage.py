"""Usage bodies of every provider -> tokens in disjoint classes, and their parts. This is the only place that knows who counts what twice.

OpenAI's form counts cached tokens inside `prompt_tokens` and reasoning inside `completion_tokens`; Anthropic's counts
cached tokens beside `input_tokens`; xAI and Gemini count reasoning beside `completion_tokens`. Where a body has a
`total_tokens`, the reading whose parts add up to it wins, so that every token is counted exactly once.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.dialects.usage_calls import calls_of_usage
from penstock.domain.dialects.usage_fields import LARGEST_COUNT, UsageError, count, details, json_kind, largest
from penstock.domain.dialects.usage_parts import Lifetimes, Made, input_parts, lifetimes_of, output_parts, written_for_an_hour

BYTES_PER_TOKEN = 4

_CACHE_READ_DETAILS = ("cached_tokens", "cache_read_input_tokens", "cache_read_tokens")
_CACHE_READ = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
_CACHE_WRITE_DETAILS = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_CACHE_WRITE = ("cache_creation_input_tokens",)
_REASONING_DETAILS = ("reasoning_tokens", "thinking_tokens")
_REASONING = ("reasoning_tokens",)
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic's names beside `input_tokens`: that count then leaves cached tokens out."""
_BESIDE_OUTPUT = ("citation_tokens", "num_search_queries")
"""Perplexity's names: reasoning is then billed beside the completion, and `total_tokens` leaves it out."""

_CHAT_KEYS = frozenset(("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"))
_RESPONSES = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")
_RESPONSE_KEYS = frozenset((*_RESPONSES, "total_tokens"))
_USUAL_DETAILS = frozenset((
    "cached_tokens", "cache_write_tokens", "reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens",
    "audio_tokens", "text_tokens", "image_tokens", "video_tokens",
))  # fmt: skip
_NO_CALLS: Mapping[str, int] = MappingProxyType({})


class MeteredUsage(msgspec.Struct, frozen=True):
    """What a usage body says was used, every token once."""

    tokens: Tokens
    parts: dict[str, int] = {}
    """counts above 0 of `dialects.tokens.PARTS`: subsets of the classes, and calls of the provider's tools"""
    otherwise: dict[str, int] | None = None
    """the parts as they may be instead, where the body leaves open which of its cached tokens were what; None: it does not"""


def tokens_from_usage(usage: object) -> Tokens:
    """The tokens of `metered_usage`. Raises `UsageError`."""
    return metered_usage(usage).tokens


def metered_usage(usage: object, calls: Mapping[str, int] = _NO_CALLS, made: Made | None = None) -> MeteredUsage:
    """Tokens and parts of a usage object of chat completions, completions, embeddings, Responses, Anthropic messages, images or audio.

    `calls` are those that the answer shows (`usage_calls.calls_of_output`), `made` what its endpoint makes where that is not text.
    Raises `UsageError` when the object is absent, when a count is negative, fractional, no number or above 2**53, when
    input or output cannot be known from it, and when its parts contradict each other.
    """
    if not isinstance(usage, dict):
        raise UsageError("usage is absent" if usage is None else f"usage is {json_kind(usage)}, not an object")
    if made is None and not calls:
        tokens = _usual(usage) if usage.keys() <= _CHAT_KEYS else _usual(usage, *_RESPONSES) if usage.keys() <= _RESPONSE_KEYS else None
        if tokens is not None:
            return MeteredUsage(tokens, {})
    whole = _read(usage, made)
    beside = _calls(usage, calls)
    if "iterations" in usage:
        whole, beside = _with_further_steps(usage["iterations"], whole, beside)
    if not beside:
        return whole
    return MeteredUsage(whole.tokens, whole.parts | beside, None if whole.otherwise is None else whole.otherwise | beside)


def with_further_answer(usage: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    """Usage of several answers to one prompt, from an engine that tells it answer by answer (llama.cpp, streams with `n`).

    The prompt is processed once and counts once; outputs add up. Counts that are no numbers are left as the later body has them.
    """
    joined = {**usage, **further}
    first, second, prompt = usage.get("completion_tokens"), further.get("completion_tokens"), usage.get("prompt_tokens")
    if type(first) is int and type(second) is int and type(prompt) is int:
        joined |= {"completion_tokens": first + second, "prompt_tokens": prompt, "total_tokens": prompt + first + second}
        if "prompt_tokens_details" in usage:
            joined["prompt_tokens_details"] = usage["prompt_tokens_details"]
        joined.pop("completion_tokens_details", None)
    return joined


def estimate_tokens(text_bytes: int) -> int:
    """Tokens of a text by its UTF-8 bytes, at four bytes a token, rounded up: for answers without a usage body.

    English prose runs at 4 to 5 bytes a token, code and other scripts at 2 to 4; the figure is always marked estimated.
    """
    return -(-text_bytes // BYTES_PER_TOKEN)


def _usual(
    usage: dict[str, Any],
    input_key: str = "prompt_tokens",
    output_key: str = "completion_tokens",
    input_details: str = "prompt_tokens_details",
    output_details: str = "completion_tokens_details",
) -> Tokens | None:
    """OpenAI's own forms with counts that add up, of text alone: nearly every body. None: look closer."""
    prompt, completion = usage.get(input_key), usage.get(output_key)
    if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
        return None
    if prompt + completion > LARGEST_COUNT or usage.get("total_tokens") != prompt + completion:
        return None
    of_prompt, of_completion = usage.get(input_details), usage.get(output_details)
    if not of_prompt and not of_completion:
        return Tokens(prompt, 0, 0, completion, 0)
    read = write = reasoning = 0
    if of_prompt:
        if type(of_prompt) is not dict or not of_prompt.keys() <= _USUAL_DETAILS:
            return None
        if of_prompt.get("audio_tokens") or of_prompt.get("image_tokens") or of_prompt.get("video_tokens"):
            return None
        read, write = of_prompt.get("cached_tokens", 0), of_prompt.get("cache_write_tokens", 0)
        if type(read) is not int or type(write) is not int or read < 0 or write < 0 or read + write > prompt:
            return None
    if of_completion:
        if type(of_completion) is not dict or not of_completion.keys() <= _USUAL_DETAILS:
            return None
        if of_completion.get("audio_tokens") or of_completion.get("image_tokens") or of_completion.get("video_tokens"):
            return None
        reasoning = of_completion.get("reasoning_tokens", 0)
        if type(reasoning) is not int or not 0 <= reasoning <= completion:
            return None
    return Tokens(prompt - read - write, read, write, completion - reasoning, reasoning)


class _Counts(NamedTuple):
    """Counts as the provider gave them: wholes, subsets (or not), and what the form says of their relation."""

    input: int
    output: int
    total: int | None
    read: int
    write: int
    reasoning: int
    cached_beside: bool
    reasoning_beside: bool
    input_key: str
    output_key: str


def _read(usage: dict[str, Any], made: Made | None) -> MeteredUsage:
    """What one object of counts says, but for calls and further steps. Raises `UsageError`."""
    for input_key, output_key in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
        if usage.get(input_key) is not None or usage.get(output_key) is not None:
            of_input, of_output = _details_of(usage, input_key), _details_of(usage, output_key)
            lifetimes = lifetimes_of(usage, of_input)
            tokens = _settle(_counts(usage, input_key, output_key, of_input, of_output, lifetimes))
            return _with_parts(tokens, of_input, output_parts(tokens, of_output, made) if of_output or made else {}, lifetimes)
    if usage.get("billed_units"):
        return _read(details(usage, "billed_units"), made)  # Cohere: what is billed, beside what was processed
    total = count(usage, "total_tokens")
    if total is None:
        raise UsageError("usage has no token counts")
    return MeteredUsage(Tokens(uncached_input=total))  # embeddings and rerankers that report one figure


def _details_of(usage: dict[str, Any], key: str) -> dict[str, Any]:
    """Details of an input or output count; transcriptions and realtime have them in the singular."""
    return details(usage, key + "_details") or details(usage, key.removesuffix("s") + "_details")


def _with_parts(tokens: Tokens, of_input: dict[str, Any], made: dict[str, int], lifetimes: Lifetimes) -> MeteredUsage:
    entered, otherwise = input_parts(tokens, of_input) if of_input else ({}, {})
    hour, least = written_for_an_hour(tokens.cache_write, lifetimes) if lifetimes.hour else (0, 0)
    if not (entered or hour or made):
        return MeteredUsage(tokens)
    parts = entered | ({"cache_write_1h": hour} if hour else {}) | made
    if entered == otherwise and hour == least:
        return MeteredUsage(tokens, parts)
    return MeteredUsage(tokens, parts, otherwise | ({"cache_write_1h": least} if least else {}) | made)


def _calls(usage: dict[str, Any], shown: Mapping[str, int]) -> dict[str, int]:
    """What is billed beside the tokens: told by the usage or shown by the answer, whichever is more."""
    calls = calls_of_usage(usage)
    if usage.get("reasoning_tokens") and any(key in usage for key in _BESIDE_OUTPUT):
        # Perplexity bills searches and citations apart from tokens in deep research only, which alone tells its reasoning like this
        searches, citations = count(usage, "num_search_queries"), count(usage, "citation_tokens")
        calls |= {name: number for name, number in (("web_searches", searches), ("citation_tokens", citations)) if number}
    for name, number in shown.items():
        calls[name] = max(calls.get(name, 0), number)
    return calls


def _with_further_steps(steps: object, whole: MeteredUsage, beside: dict[str, int]) -> tuple[MeteredUsage, dict[str, int]]:
    """Anthropic's `iterations`: the wholes leave out the steps in which a conversation is compacted, though they are billed.

    The steps of an adviser are billed at another model's prices, so they count as calls. Source: Anthropic's guides on compaction and
    the advisor tool, 2026-10.
    """
    if not isinstance(steps, list):
        return whole, beside
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind == "compaction":
            further = _read(step, None)
            otherwise = whole.otherwise or further.otherwise
            if otherwise is not None:
                otherwise = _sum(whole.otherwise or whole.parts, further.otherwise or further.parts)
            whole = MeteredUsage(whole.tokens.plus(further.tokens), _sum(whole.parts, further.parts), otherwise)
        elif isinstance(kind, str) and kind != "message":
            beside = _sum(beside, {"tool_calls": 1})
    return whole, beside


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


def _counts(
    usage: dict[str, Any], input_key: str, output_key: str, of_input: dict[str, Any], of_output: dict[str, Any], lifetimes: Lifetimes
) -> _Counts:
    whole_in, whole_out, total = count(usage, input_key), count(usage, output_key), count(usage, "total_tokens")
    if whole_in is None:
        whole_in = _derived(input_key, whole_out, total)
    if whole_out is None:
        whole_out = _derived(output_key, whole_in, total)
    found = count(usage, "connector_tokens")
    if found and total == whole_in + found + whole_out:
        whole_in += found  # Mistral: what its tools found goes into the prompt, but stands in the total only
    return _Counts(
        input=whole_in,
        output=whole_out,
        total=total,
        read=max(largest(of_input, _CACHE_READ_DETAILS), largest(usage, _CACHE_READ)),
        write=max(largest(of_input, _CACHE_WRITE_DETAILS), largest(usage, _CACHE_WRITE), lifetimes.told),
        reasoning=max(largest(of_output, _REASONING_DETAILS), largest(usage, _REASONING)),
        cached_beside=input_key == "input_tokens" and any(key in usage for key in _BESIDE_INPUT),
        reasoning_beside=any(key in usage for key in _BESIDE_OUTPUT),
        input_key=input_key,
        output_key=output_key,
    )


def _derived(key: str, other: int | None, total: int | None) -> int:
    if other is None or total is None:
        raise UsageError(f"usage has neither `{key}` nor a `total_tokens` to derive it from")
    if total < other:
        raise UsageError("`total_tokens` is smaller than one of its parts")
    return total - other


def _settle(counts: _Counts) -> Tokens:
    """The reading that the total confirms; else the one that the form implies. Raises `UsageError` when there is none."""
    inputs, outputs = _input_readings(counts), _output_readings(counts)
    for entry in inputs:
        for answer in outputs:
            if sum(entry) + sum(answer) == counts.total:
                return Tokens(*entry, *answer)
    entry = inputs[0]
    if sum(entry) != counts.input and not counts.cached_beside:
        raise UsageError(f"cached tokens exceed `{counts.input_key}`")
    unexplained = 0 if counts.total is None else counts.total - sum(entry) - counts.output
    if counts.reasoning > counts.output and not counts.reasoning_beside:
        if counts.total is None or unexplained:
            raise UsageError(f"reasoning tokens exceed `{counts.output_key}`")
        return Tokens(*entry, 0, counts.output)  # the total vouches for the whole, so only the subset is miscounted
    if unexplained > 0 and not counts.reasoning:
        return Tokens(*entry, counts.output, unexplained)  # Gemini: thoughts are billed as output, but stand in the total only
    return Tokens(*entry, *outputs[0])


def _input_readings(counts: _Counts) -> list[tuple[int, int, int]]:
    """What the input counts can mean, likeliest first: cached tokens inside the whole, beside it, or only writes beside it."""
    whole, read, write = counts.input, counts.read, counts.write
    beside = [(whole, read, write)] if read or write else []
    inside = [(whole - read - write, read, write)] if read + write <= whole else []
    mixed = [(whole - read, read, write)] if write and read <= whole else []
    return [*beside, *inside, *mixed] if counts.cached_beside else [*inside, *beside, *mixed]


def _output_readings(counts: _Counts) -> list[tuple[int, int]]:
    """What the output counts can mean, likeliest first: reasoning inside the whole, or beside it."""
    whole, reasoning = counts.output, counts.reasoning
    beside = [(whole, reasoning)]
    inside = [(whole - reasoning, reasoning)] if reasoning <= whole and not counts.reasoning_beside else []
    return [*inside, *beside] if reasoning else beside
