"""Answers in OpenAI's chat completions: read and written. Source: OpenAI API reference, "The chat completion object", 2026-11."""

from typing import Any

from penstock.domain.dialects.canonical import Answer, Block, Refusal, Stop, Text, Thinking, ToolUse, Untranslatable
from penstock.domain.dialects.chat.calls import read_assistant, write_tool_call
from penstock.domain.dialects.counts import chat_usage
from penstock.domain.dialects.fields import Fields
from penstock.domain.dialects.words import STOP_WRITTEN, stop_word


def read_chat_answer(body: object, model: str) -> Answer:
    """The answer that a `chat.completion` holds; `model` names it where it does not. Raises `Untranslatable`.

    What an engine tells of itself (fingerprints, timings) is not part of it.
    """
    fields = Fields(body)
    refuse_error(fields)
    choices = list(fields.parts("choices"))
    if len(choices) != 1:
        raise Untranslatable("choices", f"the answer has {len(choices)} choices; other dialects know exactly one", "Ask for one answer")
    choice = choices[0]
    message = Fields(choice.take("message"), choice.at("message"))
    name = fields.maybe_text("id") or ""
    blocks = numbered(tuple(read_assistant(message)), name)
    message.drop("role")
    message.close({"content": ""})
    reason = choice.text("finish_reason")
    matched = choice.take("stop_reason")
    sequence = matched if isinstance(matched, str) else None
    return Answer(
        id=name,
        model=fields.maybe_text("model") or model,
        blocks=blocks,
        stop=settled_stop(stop_word("chat.completions", reason, choice.at("finish_reason")), blocks, sequence),
        stop_sequence=sequence,
        usage=fields.mapping("usage"),
        created=fields.whole("created"),
        service_tier=fields.maybe_text("service_tier"),
    )


def write_chat_answer(answer: Answer, created: int) -> dict[str, Any]:
    """The `chat.completion` that holds this answer; `created` (Unix seconds) stands where the answer does not say."""
    body: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": created if answer.created is None else answer.created,
        "model": answer.model,
        "choices": [
            {"index": 0, "message": _message(answer), "logprobs": None, "finish_reason": STOP_WRITTEN["chat.completions"][answer.stop]}
        ],
        "service_tier": openai_tier(answer.service_tier),
        "usage": chat_usage(answer.usage),
    }
    return {name: value for name, value in body.items() if value is not None}


def refuse_error(fields: Fields) -> None:
    """Raises `Untranslatable` for an error that came with a good status."""
    error = fields.take("error")
    if error is not None:
        said = error.get("message") if isinstance(error, dict) else error
        raise Untranslatable("error", f"the upstream answered with an error: {str(said)[:500]}", "Try again, or ask another upstream")


def numbered(blocks: tuple[Block, ...], answer_id: str) -> tuple[Block, ...]:
    """Tool calls of engines that give them no id get one that follows from the answer's."""
    return tuple(
        ToolUse(call_id(answer_id, index), block.name, block.arguments) if isinstance(block, ToolUse) and not block.id else block
        for index, block in enumerate(blocks)
    )


def call_id(answer_id: str, index: int) -> str:
    return f"call_{answer_id}_{index}"


def settled_stop(stop: Stop, blocks: tuple[Block, ...], sequence: str | None) -> Stop:
    """Some engines say `stop` where tools were called, and tell the stop sequence beside it."""
    if stop == "end" and any(isinstance(block, ToolUse) for block in blocks):
        return "tools"
    return "stop_sequence" if stop == "end" and sequence is not None else stop


def openai_tier(tier: str | None) -> str | None:
    """The service tier that did the work; Anthropic's `standard` is OpenAI's `default`."""
    return {"standard": "default", "batch": None}.get(tier, tier) if tier is not None else None


def _message(answer: Answer) -> dict[str, Any]:
    words = [block.text for block in answer.blocks if isinstance(block, Text)]
    refusals = [block.text for block in answer.blocks if isinstance(block, Refusal)]
    thoughts = [block.text for block in answer.blocks if isinstance(block, Thinking) and block.text]
    calls = [write_tool_call(block) for block in answer.blocks if isinstance(block, ToolUse)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(words) if words else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    return message | ({"tool_calls": calls} if calls else {})
