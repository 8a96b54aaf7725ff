"""Answers in OpenAI's Responses: read and written. Source: OpenAI API reference, "The response object", 2026-11."""

from typing import Any

from penstock.domain.dialects.canonical import Answer, Block, Refusal, Text, Thinking, ToolUse, Untranslatable
from penstock.domain.dialects.chat.answers import openai_tier, refuse_error, settled_stop
from penstock.domain.dialects.counts import responses_usage
from penstock.domain.dialects.fields import Fields, misplaced
from penstock.domain.dialects.responses.items import read_item, written_item
from penstock.domain.dialects.words import STOP_WRITTEN, stop_word


def read_responses_answer(body: object, model: str) -> Answer:
    """The answer that a `response` holds; `model` names it where it does not. Raises `Untranslatable` for one that is not over."""
    fields = Fields(body)
    refuse_error(fields)
    reason = ended(fields)
    output = fields.take("output")
    if not isinstance(output, list):
        raise misplaced("output", output, "a list")
    blocks = tuple(block for index, item in enumerate(output) for block in _output(Fields(item, f"output[{index}]")))
    return Answer(
        id=fields.maybe_text("id") or "",
        model=fields.maybe_text("model") or model,
        blocks=blocks,
        stop=settled_stop(stop_word("responses", reason, "status"), blocks, None),
        usage=fields.mapping("usage"),
        created=fields.whole("created_at"),
        service_tier=fields.maybe_text("service_tier"),
    )


def write_responses_answer(answer: Answer, created: int) -> dict[str, Any]:
    """The `response` that holds this answer; `created` (Unix seconds) stands where the answer does not say."""
    status, details = end_words(answer)
    output = [written_item(block, answer.id, index) for index, block in enumerate(block for block in answer.blocks if block != Text(""))]
    return {
        "id": answer.id,
        "object": "response",
        "created_at": created if answer.created is None else answer.created,
        "status": status,
        "error": None,
        "incomplete_details": details,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "service_tier": openai_tier(answer.service_tier),
        "usage": responses_usage(answer.usage),
    }


def ended(response: Fields) -> str:
    """The word for how a response ended: its status, or the reason why it is incomplete."""
    status = response.text("status")
    details = response.part("incomplete_details")
    return (details.maybe_text("reason") if details is not None and status == "incomplete" else None) or status


def end_words(answer: Answer) -> tuple[str, dict[str, str] | None]:
    """Status and `incomplete_details` of an answer that is over."""
    word = STOP_WRITTEN["responses"][answer.stop]
    return ("completed", None) if word == "completed" else ("incomplete", {"reason": word})


def _output(item: Fields) -> tuple[Block, ...]:
    blocks = read_item(item)
    if any(not isinstance(block, Text | Refusal | Thinking | ToolUse) for block in blocks):
        raise Untranslatable(item.path, f"`{item.path}` is no part of an answer")
    return blocks
