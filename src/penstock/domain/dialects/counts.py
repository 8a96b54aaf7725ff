"""Usage of any provider in the words of another dialect, so that its SDK shows right numbers by its own convention.

OpenAI counts cached tokens inside the input and reasoning inside the output; Anthropic counts cached tokens beside it.
"""

from typing import Any

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.dialects.usage import tokens_from_usage
from penstock.domain.dialects.usage_fields import UsageError


def chat_usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """In the form of chat completions; None where nothing credible is known."""
    tokens = _tokens(usage)
    if tokens is None:
        return None
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


def responses_usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """In the form of Responses; None where nothing credible is known."""
    tokens = _tokens(usage)
    if tokens is None:
        return None
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.total,
    }


def messages_usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    """In the form of Messages, which has no word for unknown and demands numbers: there, and only there, unknown is 0."""
    tokens = _tokens(usage) or NO_TOKENS
    counts: dict[str, Any] = {
        "input_tokens": tokens.uncached_input,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        "output_tokens": tokens.output,
    }
    return counts | {"output_tokens_details": {"thinking_tokens": tokens.reasoning}} if tokens.reasoning else counts


def _tokens(usage: dict[str, Any] | None) -> Tokens | None:
    try:
        return tokens_from_usage(usage)
    except UsageError:
        return None
