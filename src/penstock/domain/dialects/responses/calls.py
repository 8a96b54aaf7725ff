"""Calls in OpenAI's Responses: read and written. Source: OpenAI API reference, "Create a response", 2026-11."""

from typing import Any

from penstock.domain.dialects.canonical import (
    Call,
    Format,
    Reasoning,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    Turn,
    Untranslatable,
    turns_of,
)
from penstock.domain.dialects.chat.calls import CHOICES, continued, read_shared, read_tool
from penstock.domain.dialects.fields import Fields
from penstock.domain.dialects.responses.items import input_items, message, read_item
from penstock.domain.dialects.words import HINTS, SILENT, effort_of

ENCRYPTED = "reasoning.encrypted_content"

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_ROLE_OF_ITEM: dict[str, Role] = {"function_call": "assistant", "reasoning": "assistant", "function_call_output": "user"}


def read_responses_call(body: object) -> Call:
    """The call that a body of Responses makes. Raises `Untranslatable`, first of all where it builds on what OpenAI has stored."""
    fields = Fields(body)
    instructions = fields.maybe_text("instructions")
    turns = _turns(fields)
    spoken = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    leading = tuple(block for turn in turns[:spoken] for block in turn.blocks if isinstance(block, Text))
    if any(item not in (ENCRYPTED,) for item in fields.texts("include")):
        raise Untranslatable("include", "`include` asks for what only OpenAI has", f"Ask for `{ENCRYPTED}` at most")
    text = Fields(fields.take("text") or {}, "text")
    reading = Call(
        system=((Text(instructions),) if instructions else ()) + leading,
        turns=turns_of(turns[spoken:]),
        tools=tuple(read_tool(tool, tool) for tool in fields.parts("tools")),
        choice=_read_choice(fields),
        sampling=Sampling(**fields.numbers("temperature", "top_p")),
        max_output=fields.whole("max_output_tokens"),
        format=_read_format(text.part("format")),
        verbosity=text.maybe_text("verbosity"),
        reasoning=_read_reasoning(fields.part("reasoning")),
        user=fields.maybe_text("user"),
        service_tier=fields.maybe_text("service_tier"),
        stream=fields.flag("stream") or False,
        shared=read_shared(fields),
    )
    text.close()
    fields.drop("model", "stream_options")
    fields.close(SILENT["responses"], HINTS)
    return reading


def write_responses_call(call: Call, model: str) -> dict[str, Any]:
    """The body that makes this call, not to be stored unless the client said so. Raises `Untranslatable`."""
    if call.continues:
        raise continued("Responses")
    _refuse_unsaid(call)
    effort = effort_of(call.reasoning)
    text = {"format": _format(call.format), "verbosity": call.verbosity}
    reasoning = {"effort": effort, "summary": "auto" if call.reasoning.shown else None}
    proven = any(isinstance(block, Thinking) and block.encrypted for turn in call.turns for block in turn.blocks)
    body: dict[str, Any] = {
        "model": model,
        "instructions": call.system[0].text if len(call.system) == 1 else None,
        "input": _input(call),
        "tools": [_tool(tool) for tool in call.tools] or None,
        "tool_choice": {"type": "function", "name": call.choice.name} if call.choice.mode == "named" else call.choice.mode,
        "parallel_tool_calls": call.choice.parallel if call.tools else None,
        "temperature": call.sampling.temperature,
        "top_p": call.sampling.top_p,
        "max_output_tokens": call.max_output,
        "text": {name: value for name, value in text.items() if value is not None} or None,
        "reasoning": {name: value for name, value in reasoning.items() if value is not None} or None,
        "include": [ENCRYPTED] if proven or effort not in (None, "none") else None,
        "user": call.user,
        "service_tier": call.service_tier,
        "store": False,
        **call.shared,
        "stream": call.stream or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _turns(fields: Fields) -> list[Turn]:
    value = fields.take("input")
    if isinstance(value, str):
        return [Turn("user", (Text(value),))]
    turns = []
    for path, item in Fields({"input": value}).items("input"):
        read = Fields(item, path)
        kind, spelled = _peek(item, "type") or "message", _peek(item, "role")
        role = _ROLES.get(spelled or "") if kind == "message" else _ROLE_OF_ITEM.get(kind, "user")
        if role is None:
            raise Untranslatable(f"{path}.role", f"`{path}` has none of the roles {', '.join(_ROLES)}", "Use `user` or `assistant`")
        blocks = read_item(read)
        if role == "system" and not all(isinstance(block, Text) for block in blocks):
            raise Untranslatable(f"{path}.content", f"`{path}.content` holds more than text", "Send it in a user message")
        turns.append(Turn(role, blocks))
    return turns


def _peek(item: object, name: str) -> str | None:
    value = item.get(name) if isinstance(item, dict) else None
    return value if isinstance(value, str) else None


def _read_choice(fields: Fields) -> ToolChoice:
    parallel, value = fields.flag("parallel_tool_calls"), fields.take("tool_choice")
    if value is None or value in CHOICES:
        return ToolChoice(value, parallel=parallel)
    choice = Fields(value, "tool_choice")
    if choice.text("type") != "function":
        raise Untranslatable("tool_choice", "this `tool_choice` has no translation", f"Use {', '.join(CHOICES)}, or name one function")
    named = ToolChoice("named", choice.text("name"), parallel)
    choice.close()
    return named


def _read_format(format: Fields | None) -> Format | None:
    if format is None:
        return None
    kind = format.text("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise Untranslatable("text.format.type", f"the text format `{kind[:64]}` has no translation", "Use `json_schema`")
    read = Format()
    if kind == "json_schema":
        schema = format.mapping("schema") or {}
        read = Format(schema, format.maybe_text("name"), format.maybe_text("description"), format.flag("strict"))
    format.close()
    return read if kind != "text" else None


def _read_reasoning(reasoning: Fields | None) -> Reasoning:
    if reasoning is None:
        return Reasoning()
    summary = reasoning.maybe_text("summary") or reasoning.maybe_text("generate_summary")
    read = Reasoning(reasoning.maybe_text("effort"), shown=True if summary else None)
    reasoning.drop("generate_summary")
    reasoning.close({"context": "auto", "mode": "standard"})
    return read


def _refuse_unsaid(call: Call) -> None:
    sampling = call.sampling
    unsaid = {
        "stop": call.stop,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "seed": None if sampling.seed is None else (sampling.seed,),
        "top_k": None if sampling.top_k is None else (sampling.top_k,),
    }
    for name, value in unsaid.items():
        if value:
            raise Untranslatable(name, f"`{name}` has no counterpart in Responses")


def _input(call: Call) -> list[dict[str, Any]]:
    items = [item for turn in call.turns for item in input_items(turn)]
    if len(call.system) < 2:
        return items
    return [message("system", [{"type": "input_text", "text": block.text} for block in call.system]), *items]


def _tool(tool: Tool) -> dict[str, Any]:
    written = {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema or {"type": "object", "properties": {}},
        "strict": tool.strict or False,
    }
    return {name: value for name, value in written.items() if value is not None}


def _format(format: Format | None) -> dict[str, Any] | None:
    if format is None or format.schema is None:
        return None if format is None else {"type": "json_object"}
    written = {"name": format.name or "answer", "description": format.description, "schema": format.schema, "strict": format.strict}
    return {"type": "json_schema", **{name: value for name, value in written.items() if value is not None}}
