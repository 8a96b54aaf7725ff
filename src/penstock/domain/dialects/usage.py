"""Usage bodies of every provider -> tokens in disjoint classes. This is the only place that knows who counts what twice.

OpenAI's form counts cached tokens inside `prompt_tokens` and reasoning inside `completion_tokens`; Anthropic's counts
cached tokens beside `input_tokens`; xAI and Gemini count reasoning beside `completion_tokens`. Where a body has a
`total_tokens`, the reading whose parts add up to it wins, so that every token is counted exactly once.
"""

from typing import Any, NamedTuple

from penstock.domain.dialects.tokens import Tokens

LARGEST_COUNT = 2**53
BYTES_PER_TOKEN = 4

_CACHE_READ_DETAILS = ("cached_tokens", "cache_read_input_tokens", "cache_read_tokens")
_CACHE_READ = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
_CACHE_WRITE_DETAILS = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_CACHE_WRITE = ("cache_creation_input_tokens",)
_CACHE_WRITE_BY_LIFETIME = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_REASONING_DETAILS = ("reasoning_tokens", "thinking_tokens")
_REASONING = ("reasoning_tokens",)
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic's names beside `input_tokens`: that count then leaves cached tokens out."""
_BESIDE_OUTPUT = ("citation_tokens", "num_search_queries")
"""Perplexity's names: reasoning is then billed beside the completion, and `total_tokens` leaves it out."""

_USUAL = frozenset(("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"))
_USUAL_DETAILS = frozenset((
    "cached_tokens", "cache_write_tokens", "reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens",
    "audio_tokens", "text_tokens", "image_tokens", "video_tokens",
))  # fmt: skip


class UsageError(ValueError):
    """A usage body that cannot be trusted; the message names the field and what is wrong with it."""


def tokens_from_usage(usage: object) -> Tokens:
    """Tokens of a usage object of chat completions, completions, embeddings, Responses or Anthropic messages.

    Raises `UsageError` when the object is absent, when a count is negative, fractional, no number or above 2**53, when
    input or output cannot be known from it, and when its parts contradict each other.
    """
    if not isinstance(usage, dict):
        raise UsageError("usage is absent" if usage is None else f"usage is {json_kind(usage)}, not an object")
    if usage.keys() <= _USUAL:
        tokens = _usual(usage)
        if tokens is not None:
            return tokens
    if usage.get("prompt_tokens") is not None or usage.get("completion_tokens") is not None:
        return _settle(_counts(usage, "prompt_tokens", "completion_tokens"))
    if usage.get("input_tokens") is not None or usage.get("output_tokens") is not None:
        return _settle(_counts(usage, "input_tokens", "output_tokens"))
    total = _count(usage, "total_tokens")
    if total is None:
        raise UsageError("usage has no token counts")
    return Tokens(uncached_input=total)  # embeddings and rerankers that report one figure


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


def priced_apart(usage: dict[str, Any]) -> bool:
    """Whether it counts what has a price of its own that no class of tokens tells: hour-long cache writes, web searches.

    Anthropic charges 2 instead of 1.25 times the input for the former, and a fee for each of the latter (its pricing page, 2026-11).
    """
    holders = ("cache_creation", "ephemeral_1h_input_tokens"), ("server_tool_use", "web_search_requests")
    return any(isinstance(part := usage.get(holder), dict) and part.get(name) for holder, name in holders)


def estimate_tokens(text_bytes: int) -> int:
    """Tokens of a text by its UTF-8 bytes, at four bytes a token, rounded up: for answers without a usage body.

    English prose runs at 4 to 5 bytes a token, code and other scripts at 2 to 4; the figure is always marked estimated.
    """
    return -(-text_bytes // BYTES_PER_TOKEN)


def _usual(usage: dict[str, Any]) -> Tokens | None:
    """OpenAI's own form with counts that add up: nearly every body. None: look closer."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
        return None
    if prompt + completion > LARGEST_COUNT or usage.get("total_tokens") != prompt + completion:
        return None
    of_prompt, of_completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    if not of_prompt and not of_completion:
        return Tokens(prompt, 0, 0, completion, 0)
    if type(of_prompt) is not dict or type(of_completion) is not dict:
        return None
    if not (of_prompt.keys() <= _USUAL_DETAILS and of_completion.keys() <= _USUAL_DETAILS):
        return None
    read, write = of_prompt.get("cached_tokens", 0), of_prompt.get("cache_write_tokens", 0)
    reasoning = of_completion.get("reasoning_tokens", 0)
    if type(read) is not int or type(write) is not int or type(reasoning) is not int or read < 0 or write < 0:
        return None
    if read + write > prompt or not 0 <= reasoning <= completion:
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


def _counts(usage: dict[str, Any], input_key: str, output_key: str) -> _Counts:
    whole_in, whole_out, total = _count(usage, input_key), _count(usage, output_key), _count(usage, "total_tokens")
    if whole_in is None:
        whole_in = _derived(input_key, whole_out, total)
    if whole_out is None:
        whole_out = _derived(output_key, whole_in, total)
    of_input, of_output = _details(usage, input_key + "_details"), _details(usage, output_key + "_details")
    return _Counts(
        input=whole_in,
        output=whole_out,
        total=total,
        read=max(_largest(of_input, _CACHE_READ_DETAILS), _largest(usage, _CACHE_READ)),
        write=max(_largest(of_input, _CACHE_WRITE_DETAILS), _largest(usage, _CACHE_WRITE), _written_by_lifetime(usage)),
        reasoning=max(_largest(of_output, _REASONING_DETAILS), _largest(usage, _REASONING)),
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


def _details(usage: dict[str, Any], key: str) -> dict[str, Any]:
    value = usage.get(key)
    if not value:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"`{key}` is {json_kind(value)}, not an object")
    return value


def _written_by_lifetime(usage: dict[str, Any]) -> int:
    if "cache_creation" not in usage:
        return 0
    lifetimes = _details(usage, "cache_creation")
    return sum(_count(lifetimes, key) or 0 for key in _CACHE_WRITE_BY_LIFETIME)


def _largest(counts: dict[str, Any], aliases: tuple[str, ...]) -> int:
    """The largest of several names for one count: where two are given, one is often a default 0."""
    largest = 0
    for key in aliases:
        if key in counts:
            value = _count(counts, key)
            if value is not None and value > largest:
                largest = value
    return largest


def _count(counts: dict[str, Any], key: str) -> int | None:
    value = counts.get(key)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise UsageError(f"`{key}` is {json_kind(value)}, not a whole number")
    if value < 0:
        raise UsageError(f"`{key}` is negative")
    if value > LARGEST_COUNT:
        raise UsageError(f"`{key}` is above 2**53")
    return value


def json_kind(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "absent"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case float():
            return "a fraction"
        case int():
            return "a number"
    return f"a {type(value).__name__}"
