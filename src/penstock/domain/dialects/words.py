"""One concept, three words: stop reasons, reasoning, service tiers; and what is left out on purpose, each with its reason.

Sources: OpenAI API reference (chat completions, Responses) and Anthropic API reference (Messages), as of 2026-11.
"""

from collections.abc import Mapping
from typing import Any

from penstock.domain.dialects.canonical import Dialect, Reasoning, Stop, Untranslatable

STOP_READ: Mapping[Dialect, Mapping[str, Stop]] = {
    "chat.completions": {
        "stop": "end",
        "length": "length",
        "tool_calls": "tools",
        "function_call": "tools",
        "content_filter": "filter",
        "eos_token": "end",
        "eos": "end",
        "stop_sequence": "stop_sequence",
    },
    "responses": {
        "completed": "end",
        "incomplete": "length",
        "max_output_tokens": "length",
        "max_tokens": "length",
        "content_filter": "filter",
    },
    "messages": {
        "end_turn": "end",
        "max_tokens": "length",
        "tool_use": "tools",
        "stop_sequence": "stop_sequence",
        "refusal": "refusal",
        "pause_turn": "pause",
        "model_context_window_exceeded": "context",
    },
}
"""Their words; in Responses a status or the reason why an answer is incomplete. `eos_token`: TGI, `eos`: Together."""

STOP_WRITTEN: Mapping[Dialect, Mapping[Stop, str]] = {
    "chat.completions": {
        "end": "stop",
        "length": "length",
        "context": "length",
        "tools": "tool_calls",
        "stop_sequence": "stop",
        "filter": "content_filter",
        "refusal": "content_filter",
        "pause": "length",
    },
    "responses": {
        "end": "completed",
        "length": "max_output_tokens",
        "context": "max_output_tokens",
        "tools": "completed",
        "stop_sequence": "completed",
        "filter": "content_filter",
        "refusal": "content_filter",
        "pause": "max_output_tokens",
    },
    "messages": {
        "end": "end_turn",
        "length": "max_tokens",
        "context": "model_context_window_exceeded",
        "tools": "tool_use",
        "stop_sequence": "stop_sequence",
        "filter": "refusal",
        "refusal": "refusal",
        "pause": "pause_turn",
    },
}
"""OpenAI has no word for a pause: the answer is said to be cut short, so that nobody takes it for whole."""

EFFORT_BUDGETS: Mapping[str, int] = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}
"""tokens of thinking for a word, for models that only know budgets"""
BUDGET_EFFORTS = ("low", "medium", "high")
"""words that every model with efforts knows; a budget becomes the largest whose tokens it covers"""
LEAST_BUDGET = 1024
"""tokens; Anthropic refuses less"""
BUDGET_MODELS = (
    "claude-3-7",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2025",
    "claude-opus-4-5",
    "claude-sonnet-4-0",
    "claude-sonnet-4-2025",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
)
"""Anthropic's models before adaptive thinking: they take budgets; later ones take efforts, and warn of or refuse budgets."""
MESSAGES_EFFORTS: Mapping[str, str] = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}

TIERS_FOR_MESSAGES: Mapping[str, str] = {
    "auto": "auto",
    "priority": "auto",
    "fast": "auto",
    "default": "standard_only",
    "flex": "standard_only",
    "scale": "auto",
}
TIERS_FROM_MESSAGES: Mapping[str, str] = {"auto": "auto", "standard_only": "default"}

SHARED: Mapping[str, str] = {
    "store": "storage: whether the provider keeps the answer",
    "metadata": "storage: labels of the kept answer; Penstock reads its tags from it before",
    "prompt_cache_key": "caching: where the provider looks for the prompt",
    "prompt_cache_retention": "caching: how long the provider keeps the prompt",
    "prompt_cache_options": "caching: how the provider keeps the prompt",
    "safety_identifier": "identification: whom the provider may block",
}
"""top-level fields of both OpenAI dialects: passed on between them, left out for Anthropic"""

LEFT_OUT: Mapping[Dialect, Mapping[str, str]] = {
    "chat.completions": {
        "stream_options": "delivery: usage is always asked for, and padding is the provider's business",
        "messages[].name (of tools)": "the call's id says which tool answered",
        "messages[].reasoning_content": "chat completions keeps no reasoning between turns",
        "messages[].reasoning_details": "the same thoughts once more, in OpenRouter's form",
        "reasoning_effort (while tools are called)": "Anthropic's budget models want signed thoughts back, which a chat client has not",
        "messages[].content[].prompt_cache_breakpoint": "caching",
    },
    "responses": {
        "stream_options": "delivery: padding is the provider's business",
        "include: reasoning.encrypted_content": "what proves the origin of reasoning always comes along",
        "input[].id, input[].status, input[].phase": "storage: names and states of items that the provider keeps",
        "input[].content[].prompt_cache_breakpoint": "caching",
    },
    "messages": {
        "cache_control": "caching: OpenAI's dialects cache prefixes by themselves",
        "metadata": "labels: its `user_id` is passed on as `user`, Penstock reads its tags from the rest",
        "thinking.display": "delivery: whether thoughts are shown; `summarized` asks Responses for a summary",
        "tools[].eager_input_streaming": "delivery: how soon arguments are streamed",
        "tool_result.is_error": "OpenAI's tool messages have no flag: the content says what went wrong",
        "thinking of earlier turns": "it is worth something to the provider that made it only",
    },
}
"""What a call may hold that the other side does not get, and why that harms nothing."""

SILENT: Mapping[Dialect, Mapping[str, Any]] = {
    "chat.completions": {
        "n": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "modalities": ["text"],
        "logit_bias": {},
    },
    "responses": {"background": False, "truncation": "disabled", "top_logprobs": 0},
    "messages": {"speed": "standard"},
}
"""fields that, with this value, only spell out their dialect's default"""

FIELDS: Mapping[Dialect, Mapping[str, str]] = {
    "chat.completions": {
        "effort": "reasoning_effort",
        "format": "response_format",
        "arguments": "messages[].tool_calls[].function.arguments",
    },
    "responses": {
        "effort": "reasoning.effort",
        "format": "text.format",
        "verbosity": "text.verbosity",
        "messages": "input",
        "arguments": "input[].arguments",
    },
    "messages": {"effort": "output_config.effort", "format": "output_config.format", "stop": "stop_sequences"},
}
"""how a client's dialect spells what a writer refuses"""

HINTS: Mapping[str, str] = {
    "previous_response_id": "Send the whole conversation as `input`",
    "conversation": "Send the whole conversation as `input`",
    "prompt": "Send the prompt's text as `instructions` and `input`",
    "background": "Ask for the answer itself, streamed if it takes long",
    "functions": "Send them as `tools`",
    "function_call": "Send it as `tool_choice`",
    "n": "Ask once for each answer",
}
"""what to do instead, where there is something better than to leave the field out"""


def effort_of(reasoning: Reasoning) -> str | None:
    """How long to think, as OpenAI's word."""
    if reasoning.effort is not None or reasoning.budget is None:
        return reasoning.effort
    covered = [effort for effort in BUDGET_EFFORTS if EFFORT_BUDGETS[effort] <= reasoning.budget]
    return covered[-1] if covered else BUDGET_EFFORTS[0]


def budget_of(effort: str, max_output: int) -> int:
    """How long to think, in tokens, so that at least a fifth of `max_output` is left for the answer.

    Raises `Untranslatable` where that leaves less than Anthropic's least, or the word is unknown.
    """
    tokens = EFFORT_BUDGETS.get(effort)
    if tokens is None:
        raise Untranslatable("effort", f"the reasoning effort `{effort}` is not known", f"Use one of {', '.join(EFFORT_BUDGETS)}")
    tokens = min(tokens, max_output * 4 // 5)
    if tokens < LEAST_BUDGET:
        reason = f"{max_output} output tokens leave no room for {LEAST_BUDGET} tokens of thinking, Anthropic's least"
        raise Untranslatable("effort", reason, f"Ask for no reasoning, or for at least {LEAST_BUDGET * 5 // 4 + 1} output tokens")
    return tokens


def stop_word(dialect: Dialect, word: str, field: str) -> Stop:
    """What a stop reason means. Raises `Untranslatable` for one that its dialect does not have."""
    stop = STOP_READ[dialect].get(word)
    if stop is None:
        raise Untranslatable(field, f"`{field}` is `{word[:64]}`, which says neither how nor that the answer ended")
    return stop
