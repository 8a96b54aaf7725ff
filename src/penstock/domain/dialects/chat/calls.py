"""Calls in OpenAI's chat completions: read and written. Source: OpenAI API reference, "Create chat completion", 2026-11."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from penstock.domain.dialects.canonical import (
    NO_ARGUMENTS,
    Block,
    Call,
    Document,
    Format,
    Image,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
    Untranslatable,
    turns_of,
)
from penstock.domain.dialects.fields import Fields, misplaced
from penstock.domain.dialects.words import HINTS, SHARED, SILENT, effort_of

CHOICES = ("auto", "none", "required")
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "user"}
_LATER_OPENAI = re.compile(r"(?:.*/)?(?:o\d|gpt-(?:[5-9]|\d\d))")
"""OpenAI's reasoning models: they refuse `max_tokens`, while several engines know nothing but it"""
_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def read_chat_call(body: object) -> Call:
    """The call that a body of chat completions makes. Raises `Untranslatable`."""
    fields = Fields(body)
    turns = [_turn(message) for message in fields.parts("messages")]
    spoken = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    system = tuple(block for turn in turns[:spoken] for block in turn.blocks if isinstance(block, Text))
    reading = Call(
        system=system,
        turns=turns_of(turns[spoken:]),
        tools=tuple(read_tool(tool.part("function") or tool, tool) for tool in fields.parts("tools")),
        choice=_read_choice(fields),
        sampling=Sampling(**fields.numbers(*_SAMPLING), seed=fields.whole("seed")),
        stop=_read_stop(fields),
        max_output=_max_output(fields),
        format=_read_format(fields.part("response_format")),
        verbosity=fields.maybe_text("verbosity"),
        reasoning=Reasoning(effort=fields.maybe_text("reasoning_effort")),
        user=fields.maybe_text("user"),
        service_tier=fields.maybe_text("service_tier"),
        stream=fields.flag("stream") or False,
        shared=read_shared(fields),
    )
    fields.drop("model", "stream_options")
    fields.close(SILENT["chat.completions"], HINTS)
    return reading


def write_chat_call(call: Call, model: str) -> dict[str, Any]:
    """The body that makes this call. Raises `Untranslatable` for what chat completions cannot say."""
    if call.continues:
        raise continued("chat completions")
    if call.sampling.top_k is not None:
        raise Untranslatable("top_k", "`top_k` has no counterpart in chat completions")
    body: dict[str, Any] = {
        "model": model,
        "messages": [*_system(call.system), *(message for turn in call.turns for message in _messages(turn))],
        "tools": [{"type": "function", "function": _function(tool)} for tool in call.tools] or None,
        "tool_choice": {"type": "function", "function": {"name": call.choice.name}} if call.choice.mode == "named" else call.choice.mode,
        "parallel_tool_calls": call.choice.parallel if call.tools else None,
        **{name: getattr(call.sampling, name) for name in (*_SAMPLING, "seed")},
        "stop": list(call.stop) or None,
        _limit_name(model): call.max_output,
        "response_format": _format(call.format),
        "verbosity": call.verbosity,
        "reasoning_effort": effort_of(call.reasoning),
        "user": call.user,
        "service_tier": call.service_tier,
        **call.shared,
        "stream": call.stream or None,
        "stream_options": {"include_usage": True} if call.stream else None,
    }
    return {name: value for name, value in body.items() if value is not None}


def read_shared(fields: Fields) -> dict[str, Any]:
    """What both of OpenAI's dialects spell alike and nobody else says."""
    found = {name: fields.take(name) for name in SHARED}
    return {name: value for name, value in found.items() if value is not None}


def continued(dialect: str) -> Untranslatable:
    """The error for a last turn of the assistant's that the model is to go on with."""
    reason = f"the last message is the assistant's, for the model to go on with; {dialect} has no such thing"
    return Untranslatable("messages", reason, "End with a user message")


def read_tool(function: Fields, tool: Fields) -> Tool:
    """A function in OpenAI's form: within `function` (chat completions), or at the same level (Responses)."""
    kind = tool.maybe_text("type")
    if kind not in (None, "function"):
        raise Untranslatable(tool.at("type"), f"`{kind[:64]}` is a tool that only its own provider has", "Send function tools")
    read = Tool(function.text("name"), function.maybe_text("description"), function.mapping("parameters"), function.flag("strict"))
    function.close()
    tool.close()
    return read


def read_assistant(message: Fields) -> Iterator[Block]:
    """What a message of the assistant's holds, in a call or in an answer: thoughts, words, a refusal, tool calls."""
    thoughts = message.maybe_text("reasoning_content") or "", message.maybe_text("reasoning") or ""
    message.drop("reasoning_details")
    if any(thoughts):
        yield Thinking(thoughts[0] or thoughts[1])
    yield from _content(message)
    refusal = message.maybe_text("refusal")
    if refusal:
        yield Refusal(refusal)
    for call in message.parts("tool_calls"):
        kind = call.maybe_text("type")
        function = call.part("function")
        if function is None or kind not in (None, "", "function"):
            raise Untranslatable(call.at("type"), f"`{call.path}` is no call of a function", "Use function tools")
        yield ToolUse(call.maybe_text("id") or "", function.text("name"), function.maybe_text("arguments") or NO_ARGUMENTS)
        function.close()
        call.drop("index")
        call.close()


def _turn(message: Fields) -> Turn:
    spelled = message.text("role")
    role = _ROLES.get(spelled)
    if role is None:
        reason = f"the role `{spelled[:64]}` has no translation"
        raise Untranslatable(message.at("role"), reason, f"Use one of {', '.join(_ROLES)}")
    blocks: tuple[Block, ...]
    if spelled == "assistant":
        blocks = tuple(read_assistant(message))
    elif spelled == "tool":
        content = tuple(_content(message))
        blocks = (
            ToolResult(message.text("tool_call_id"), tuple(block for block in content if isinstance(block, Text | Image | Document))),
        )
        message.drop("name")
    else:
        blocks = tuple(_content(message))
        if role == "system" and not all(isinstance(block, Text) for block in blocks):
            raise Untranslatable(message.at("content"), f"`{message.at('content')}` holds more than text", "Send it in a user message")
    message.close()
    return Turn(role, blocks)


def _content(message: Fields) -> Iterator[Block]:
    value = message.take("content")
    if isinstance(value, str):
        if value:
            yield Text(value)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            part = Fields(item, f"{message.at('content')}[{index}]")
            yield _part(part)
            part.drop("prompt_cache_breakpoint")
            part.close()
    elif value is not None:
        raise misplaced(message.at("content"), value, "a text or a list")


def _part(part: Fields) -> Block:
    match part.text("type"):
        case "text":
            return Text(part.text("text"))
        case "refusal":
            return Refusal(part.text("refusal"))
        case "image_url":
            image = Fields(part.take("image_url"), part.at("image_url"))
            read = Image(image.text("url"), image.setting("detail"))
            image.close()
            return read
        case "file":
            file = Fields(part.take("file"), part.at("file"))
            file.no_file_id()
            document = Document(file.text("file_data"), file.maybe_text("filename"))
            file.close()
            return document
        case kind:
            raise Untranslatable(part.at("type"), f"content of type `{kind[:64]}` has no translation", "Send text, images or files")


def _read_choice(fields: Fields) -> ToolChoice:
    parallel, value = fields.flag("parallel_tool_calls"), fields.take("tool_choice")
    if value is None or value in CHOICES:
        return ToolChoice(value, parallel=parallel)
    choice = Fields(value, "tool_choice")
    if choice.text("type") != "function":
        raise Untranslatable("tool_choice", "this `tool_choice` has no translation", f"Use {', '.join(CHOICES)}, or name one function")
    function = Fields(choice.take("function"), "tool_choice.function")
    named = ToolChoice("named", function.text("name"), parallel)
    function.close()
    choice.close()
    return named


def _read_stop(fields: Fields) -> tuple[str, ...]:
    value = fields.take("stop")
    return (value,) if isinstance(value, str) else Fields({"stop": value}).texts("stop")


def _max_output(fields: Fields) -> int | None:
    newer, older = fields.whole("max_completion_tokens"), fields.whole("max_tokens")
    return older if newer is None else newer


def _limit_name(model: str) -> str:
    return "max_completion_tokens" if _LATER_OPENAI.match(model) else "max_tokens"


def _read_format(format: Fields | None) -> Format | None:
    if format is None:
        return None
    kind = format.text("type")
    if kind == "json_schema":
        schema = Fields(format.take("json_schema"), format.at("json_schema"))
        read = Format(schema.mapping("schema") or {}, schema.maybe_text("name"), schema.maybe_text("description"), schema.flag("strict"))
        schema.close()
    elif kind in ("text", "json_object"):
        read = Format()
    else:
        raise Untranslatable("response_format.type", f"the response format `{kind[:64]}` has no translation", "Use `json_schema`")
    format.close()
    return read if kind != "text" else None


def _system(texts: tuple[Text, ...]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": _parts(texts)}] if texts else []


def _messages(turn: Turn) -> Iterator[dict[str, Any]]:
    for block in turn.blocks:
        if isinstance(block, ToolResult):
            yield {"role": "tool", "tool_call_id": block.id, "content": _result(block)}
    said = [block for block in turn.blocks if not isinstance(block, ToolResult | ToolUse | Thinking)]
    calls = [write_tool_call(block) for block in turn.blocks if isinstance(block, ToolUse)]
    if said or calls:
        message = {"role": turn.role, "content": _parts(said) if said else None}
        yield message | ({"tool_calls": calls} if calls else {})


def write_tool_call(call: ToolUse) -> dict[str, Any]:
    """A tool call as messages and answers hold it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _result(result: ToolResult) -> str | list[dict[str, Any]]:
    if all(isinstance(block, Text) for block in result.content):
        return _parts(result.content)
    reason = "a tool's result holds an image or a document, and a tool message of chat completions only text"
    raise Untranslatable("messages[].content[].content", reason, "Ask for a model behind an upstream of Messages or Responses")


def _parts(blocks: Iterable[Block]) -> str | list[dict[str, Any]]:
    parts = [_written(block) for block in blocks]
    if all(part["type"] == "text" for part in parts) and len(parts) < 2:
        return str(parts[0]["text"]) if parts else ""
    return parts


def _written(block: Block) -> dict[str, Any]:
    match block:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Refusal(text=text):
            return {"type": "refusal", "refusal": text}
        case Image(url=url, detail=detail):
            return {"type": "image_url", "image_url": {"url": url} if detail is None else {"url": url, "detail": detail}}
        case Document(url=url, name=name) if url.startswith("data:"):
            return {"type": "file", "file": {"filename": name or "document.pdf", "file_data": url}}
        case Document():
            raise Untranslatable("document", "chat completions takes no document by web address", "Send its bytes as base64")
    raise Untranslatable("content", "chat completions has no such content")


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema, "strict": tool.strict}
    return {name: value for name, value in function.items() if value is not None}


def _format(format: Format | None) -> dict[str, Any] | None:
    if format is None or format.schema is None:
        return None if format is None else {"type": "json_object"}
    schema = {"name": format.name or "answer", "description": format.description, "schema": format.schema, "strict": format.strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in schema.items() if value is not None}}
