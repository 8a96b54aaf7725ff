"""Items of OpenAI's Responses, in and out: messages, function calls and their outputs, reasoning. Source: OpenAI API reference, 2026-11.

Each block of an answer is one item, so that a block's index is its `output_index`; ids that the source has not follow from the
answer's.
"""

from collections.abc import Iterator
from typing import Any

from penstock.domain.dialects.canonical import (
    NO_ARGUMENTS,
    Block,
    Document,
    Image,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
    Untranslatable,
)
from penstock.domain.dialects.fields import Fields, misplaced
from penstock.domain.dialects.origins import as_encrypted, from_encrypted

_TEXT_PARTS = ("input_text", "output_text", "text")


def read_item(item: Fields) -> tuple[Block, ...]:
    """The blocks of one item. Raises `Untranslatable` for those of tools that OpenAI runs, and for references."""
    kind = item.maybe_text("type") or "message"
    read = _READERS.get(kind)
    if read is None:
        raise Untranslatable(item.at("type"), f"an item of type `{kind[:64]}` has no translation", f"Send {', '.join(_READERS)} only")
    blocks = read(item)
    item.drop("id", "status", "phase")
    item.close()
    return blocks


def written_item(block: Block, answer_id: str, index: int, *, done: bool = True) -> dict[str, Any]:
    """A block of an answer as an item: whole, or (`done` false) as it is announced."""
    status = "completed" if done else "in_progress"
    match block:
        case Text() | Refusal():
            content = [written_part(block)] if done else []
            return {"type": "message", "id": f"msg_{answer_id}_{index}", "status": status, "role": "assistant", "content": content}
        case ToolUse(id=name, name=function, arguments=arguments):
            call = {"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": function, "arguments": arguments if done else ""}
            return {**call, "status": status}
        case Thinking():
            item: dict[str, Any] = {"type": "reasoning", "id": block.id or f"rs_{answer_id}_{index}"}
            item["summary"] = [{"type": "summary_text", "text": block.text}] if done and block.text else []
            proof = as_encrypted(block) if done else None
            return item if proof is None else {**item, "encrypted_content": proof}
    raise Untranslatable("output", "an answer of Responses has no such content")


def written_part(block: Text | Refusal) -> dict[str, Any]:
    """A part of a message of the assistant's."""
    if isinstance(block, Refusal):
        return {"type": "refusal", "refusal": block.text}
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}


def input_items(turn: Turn) -> Iterator[dict[str, Any]]:
    """A turn of a call as items: tools' results first, then what was said, in its order. Raises `Untranslatable`.

    The assistant's texts are a message each, for its messages of several parts would have to bear OpenAI's ids.
    """
    said: list[dict[str, Any]] = []
    for block in sorted(turn.blocks, key=lambda block: not isinstance(block, ToolResult)):
        item = _item(block)
        if item is None:
            if not isinstance(block, Thinking):
                said.append(_part(block, turn.role))
            if turn.role != "assistant":
                continue
        if said:
            yield message(turn.role, said)
            said = []
        if item is not None:
            yield item
    if said:
        yield message(turn.role, said)


def message(role: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A message of a call; a single text stands for itself."""
    only = parts[0] if len(parts) == 1 else {}
    plain = only.get("type") in _TEXT_PARTS
    return {"type": "message", "role": role, "content": only["text"] if plain else parts}


def _item(block: Block) -> dict[str, Any] | None:
    match block:
        case ToolUse(id=name, name=function, arguments=arguments):
            return {"type": "function_call", "call_id": name, "name": function, "arguments": arguments}
        case ToolResult(id=name, content=content):
            parts = [_part(part, "user") for part in content]
            plain = all(part["type"] == "input_text" for part in parts) and len(parts) < 2
            output = (parts[0]["text"] if parts else "") if plain else parts
            return {"type": "function_call_output", "call_id": name, "output": output}
        case Thinking(encrypted=str(proof), id=name, text=text):
            summary = [{"type": "summary_text", "text": text}] if text else []
            return {"type": "reasoning", **({} if name is None else {"id": name}), "summary": summary, "encrypted_content": proof}
    return None


def _part(block: Block, role: str) -> dict[str, Any]:
    match block:
        case Text(text=text):
            return {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        case Refusal(text=text):
            return {"type": "output_text", "text": text}
        case Image(url=url, detail=detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case Document(url=url, name=name) if url.startswith("data:"):
            return {"type": "input_file", "filename": name or "document.pdf", "file_data": url}
        case Document(url=url):
            return {"type": "input_file", "file_url": url}
    raise Untranslatable("input", "Responses has no such content")


def _message(item: Fields) -> tuple[Block, ...]:
    item.drop("role")
    return _content(item, "content")


def _content(item: Fields, name: str) -> tuple[Block, ...]:
    value = item.take(name)
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if not isinstance(value, list):
        raise misplaced(item.at(name), value, "a text or a list")
    return tuple(_read_part(Fields(part, f"{item.at(name)}[{index}]")) for index, part in enumerate(value))


def _read_part(part: Fields) -> Block:
    kind = part.text("type")
    found: Block
    part.no_file_id()
    if kind in _TEXT_PARTS:
        found = Text(part.text("text"))
    elif kind == "refusal":
        found = Refusal(part.text("refusal"))
    elif kind == "input_image":
        found = Image(part.text("image_url"), part.setting("detail"))
    elif kind == "input_file":
        url = part.maybe_text("file_url")
        found = Document(part.text("file_data") if url is None else url, part.maybe_text("filename"))
    else:
        raise Untranslatable(part.at("type"), f"content of type `{kind[:64]}` has no translation", "Send texts, images or files")
    part.drop("prompt_cache_breakpoint")
    part.close()
    return found


def _function_call(item: Fields) -> tuple[Block, ...]:
    caller = item.part("caller")
    if caller is not None and caller.maybe_text("type") != "direct":
        raise Untranslatable(item.at("caller"), "a function called from OpenAI's sandbox has no translation")
    return (ToolUse(item.text("call_id"), item.text("name"), item.maybe_text("arguments") or NO_ARGUMENTS),)


def _function_output(item: Fields) -> tuple[Block, ...]:
    content = _content(item, "output")
    inner = tuple(block for block in content if isinstance(block, Text | Image | Document))
    if len(inner) < len(content):
        raise Untranslatable(item.at("output"), "a function's output holds a refusal", "Send texts, images and files")
    item.drop("name")
    return (ToolResult(item.text("call_id"), inner),)


def _reasoning(item: Fields) -> tuple[Block, ...]:
    texts = [part.text("text") for name in ("summary", "content") for part in item.parts(name)]
    return (from_encrypted("\n\n".join(texts), item.maybe_text("encrypted_content"), item.maybe_text("id")),)


_READERS = {"message": _message, "function_call": _function_call, "function_call_output": _function_output, "reasoning": _reasoning}
