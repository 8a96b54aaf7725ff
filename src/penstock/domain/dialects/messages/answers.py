"""Answers in Anthropic's Messages: read and written. Source: Anthropic API reference, "Message", 2026-11."""

from typing import Any

from penstock.domain.dialects.canonical import Answer, Block, Refusal, Stop, Text
from penstock.domain.dialects.chat.answers import refuse_error
from penstock.domain.dialects.counts import messages_usage
from penstock.domain.dialects.fields import Fields, misplaced
from penstock.domain.dialects.messages.content import read_content, write_block
from penstock.domain.dialects.words import STOP_WRITTEN, stop_word

ARGUMENTS = "arguments"
"""how errors name what a model wrote for a tool"""


def read_messages_answer(body: object, model: str) -> Answer:
    """The answer that a `message` holds; `model` names it where it does not. Raises `Untranslatable`."""
    fields = Fields(body)
    refuse_error(fields)
    content = fields.take("content")
    if not isinstance(content, list):
        raise misplaced("content", content, "a list")
    usage = fields.mapping("usage")
    return Answer(
        id=fields.maybe_text("id") or "",
        model=fields.maybe_text("model") or model,
        blocks=read_content(content, "content"),
        stop=stop_word("messages", fields.text("stop_reason"), "stop_reason"),
        stop_sequence=fields.maybe_text("stop_sequence"),
        usage=usage,
        service_tier=tier_of(usage),
    )


def write_messages_answer(answer: Answer) -> dict[str, Any]:
    """The `message` that holds this answer. Raises `Untranslatable` where a tool's arguments are no JSON object."""
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [write_block(block, ARGUMENTS) for block in answer.blocks if block != Text("")],
        **stop_fields(answer.stop, answer.stop_sequence, answer.blocks),
        "usage": messages_usage(answer.usage),
    }


def stop_fields(stop: Stop, sequence: str | None, blocks: tuple[Block, ...]) -> dict[str, str | None]:
    """How an answer ended. A model that declined stops by `refusal`; a stop sequence that nobody told is a plain end."""
    if stop == "end" and any(isinstance(block, Refusal) for block in blocks):
        stop = "refusal"
    if stop == "stop_sequence" and sequence is None:
        stop = "end"
    return {"stop_reason": STOP_WRITTEN["messages"][stop], "stop_sequence": sequence if stop == "stop_sequence" else None}


def tier_of(usage: dict[str, Any] | None) -> str | None:
    """The service tier that did the work; Messages tells it within the usage."""
    tier = (usage or {}).get("service_tier")
    return tier if isinstance(tier, str) else None
