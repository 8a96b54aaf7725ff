"""Content blocks of Anthropic's Messages, alike in calls and answers: read and written. Source: Anthropic API reference, 2026-11."""

import re
from typing import Any

from penstock.domain.dialects.canonical import Block, Document, Image, Refusal, Text, Thinking, ToolResult, ToolUse, Untranslatable
from penstock.domain.dialects.fields import Fields, json_object, json_text, misplaced
from penstock.domain.dialects.origins import as_signature, from_signature

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.-]+)*;base64,", re.ASCII)
_FULL_DETAIL = (None, "high", "original")
"""Messages always looks at the whole image"""


def read_content(value: object, path: str) -> tuple[Block, ...]:
    """Blocks of a `content` or `system`: a text is one block, null none. Raises `Untranslatable`."""
    if value is None or isinstance(value, str):
        return (Text(value),) if value else ()
    if not isinstance(value, list):
        raise misplaced(path, value, "a text or a list")
    return tuple(read_block(Fields(item, f"{path}[{index}]")) for index, item in enumerate(value))


def read_block(block: Fields) -> Block:
    """One content block. Raises `Untranslatable` for those that only Anthropic has."""
    kind = block.text("type")
    read = _READERS.get(kind)
    if read is None:
        reason = f"a content block of type `{kind[:64]}` has no translation"
        raise Untranslatable(block.at("type"), reason, f"Send {', '.join(_READERS)}")
    found = read(block)
    block.drop("cache_control")
    block.close()
    return found


def write_block(block: Block, field: str) -> dict[str, Any]:
    """A block as the assistant's messages and answers hold it; `field` names the call's place of tool arguments in errors."""
    match block:
        case Text(text=text) | Refusal(text=text):
            return {"type": "text", "text": text}
        case Thinking(redacted=str(data)):
            return {"type": "redacted_thinking", "data": data}
        case Thinking(text=text):
            return {"type": "thinking", "thinking": text, "signature": as_signature(block)}
        case ToolUse(id=name, name=function, arguments=arguments):
            return {"type": "tool_use", "id": name, "name": function, "input": json_object(arguments, field)}
    raise Untranslatable("content", "an answer of Messages has no such content")


def write_source(block: Image | Document) -> dict[str, Any]:
    """An image or a document. Raises `Untranslatable` where its URL is neither a web address nor base64 data."""
    kind = "image" if isinstance(block, Image) else "document"
    if isinstance(block, Image) and block.detail not in _FULL_DETAIL:
        raise Untranslatable("detail", "Messages cannot look at an image in low detail", "Send a smaller image")
    source: dict[str, Any]
    if block.url.startswith(("https://", "http://")):
        source = {"type": "url", "url": block.url}
    else:
        head = _DATA_URL.match(block.url)
        if head is None:
            reason = f"the {kind} is neither a web address nor a base64 `data:` URL"
            raise Untranslatable(kind, reason, "Send `data:<media type>;base64,<data>`")
        source = {"type": "base64", "media_type": head[1], "data": block.url[head.end() :]}
    written = {"type": kind, "source": source}
    return written | {"title": block.name} if isinstance(block, Document) and block.name is not None else written


def _text(block: Fields) -> Block:
    return Text(block.text("text"))


def _thinking(block: Fields) -> Block:
    return from_signature(block.text("thinking"), block.maybe_text("signature") or "")


def _redacted(block: Fields) -> Block:
    return Thinking(redacted=block.text("data"))


def _tool_use(block: Fields) -> Block:
    arguments = block.mapping("input")
    caller = block.part("caller")
    if caller is not None and caller.maybe_text("type") != "direct":
        raise Untranslatable(block.at("caller"), "a tool called from Anthropic's sandbox has no translation")
    return ToolUse(block.text("id"), block.text("name"), json_text(arguments or {}, block.at("input")))


def _tool_result(block: Fields) -> Block:
    content = read_content(block.take("content"), block.at("content"))
    inner = tuple(part for part in content if isinstance(part, Text | Image | Document))
    if len(inner) < len(content):
        raise Untranslatable(block.at("content"), "a tool's result holds more than texts, images and documents", "Send these only")
    return ToolResult(block.text("tool_use_id"), inner, block.flag("is_error") or False)


def _image(block: Fields) -> Block:
    return Image(_source(block))


def _document(block: Fields) -> Block:
    document = Document(_source(block), block.maybe_text("title"))
    citations = block.part("citations")
    if citations is not None:
        citations.close({"enabled": False})
    return document


def _source(block: Fields) -> str:
    source = Fields(block.take("source"), block.at("source"))
    kind = source.text("type")
    match kind:
        case "url":
            url = source.text("url")
        case "base64":
            url = f"data:{source.text('media_type')};base64,{source.text('data')}"
        case _:
            raise Untranslatable(source.at("type"), f"a source of type `{kind[:64]}` has no translation", "Send a URL or base64 data")
    source.close()
    return url


_READERS = {
    "text": _text,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "image": _image,
    "document": _document,
}
