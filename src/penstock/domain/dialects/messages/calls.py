"""Calls in Anthropic's Messages: read and written. Source: Anthropic API reference, "Create a message", 2026-11.

`temperature`, `top_p` and `top_k`, which later models refuse, are read and written all the same: earlier ones and engines take them.
"""

import re
from typing import Any

from penstock.domain.dialects.canonical import (
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
from penstock.domain.dialects.fields import Fields
from penstock.domain.dialects.messages.content import read_content, write_block, write_source
from penstock.domain.dialects.words import (
    BUDGET_MODELS,
    HINTS,
    MESSAGES_EFFORTS,
    SILENT,
    TIERS_FOR_MESSAGES,
    TIERS_FROM_MESSAGES,
    budget_of,
    effort_of,
)

DEFAULT_MAX_OUTPUT = 4096
"""tokens; Messages wants a limit, and neither the client nor the config gave one"""

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_CHOICES = {"auto": "auto", "none": "none", "any": "required", "tool": "named"}
_CHOICE_WORDS = {mode: word for word, mode in _CHOICES.items()}
_NO_ID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
_SAMPLING = ("temperature", "top_p")
_SAMPLING_OF_CHAT = ("frequency_penalty", "presence_penalty", "seed")


def read_messages_call(body: object) -> Call:
    """The call that a body of Messages makes. Raises `Untranslatable`."""
    fields = Fields(body)
    system = fields.take("system")
    turns = turns_of(_turn(message) for message in fields.parts("messages"))
    metadata = Fields(fields.take("metadata") or {}, "metadata")
    tier = fields.maybe_text("service_tier")
    output = Fields(fields.take("output_config") or {}, "output_config")
    choice = _read_choice(fields.part("tool_choice"))
    reading = Call(
        system=tuple(block for block in read_content(system, "system") if isinstance(block, Text)),
        turns=turns,
        tools=tuple(_read_tool(tool) for tool in fields.parts("tools")),
        choice=choice,
        sampling=Sampling(**fields.numbers(*_SAMPLING), top_k=fields.whole("top_k")),
        stop=fields.texts("stop_sequences"),
        max_output=fields.whole("max_tokens"),
        format=_read_format(output.part("format")),
        reasoning=_read_reasoning(fields.part("thinking"), output.maybe_text("effort")),
        user=metadata.maybe_text("user_id"),
        service_tier=None if tier is None else TIERS_FROM_MESSAGES.get(tier, tier),
        stream=fields.flag("stream") or False,
        continues=bool(turns) and turns[-1].role == "assistant",
    )
    output.close()
    fields.drop("model", "cache_control")
    fields.close(SILENT["messages"], HINTS)
    return reading


def write_messages_call(call: Call, model: str, max_output: int | None) -> dict[str, Any]:
    """The body that makes this call, for at most `max_output` tokens where the client set no limit.

    Raises `Untranslatable` for what Messages cannot say.
    """
    if call.turns and call.turns[-1].role == "assistant" and not call.continues:
        reason = "the last message is the assistant's, and Messages would go on with it instead of answering"
        raise Untranslatable("messages", reason, "End with a user message")
    limit = (max_output or DEFAULT_MAX_OUTPUT) if call.max_output is None else call.max_output
    output: dict[str, Any] = {"format": _format(call.format), "effort": None}
    thinking = None
    effort = effort_of(call.reasoning)
    if effort is not None and not (_takes_budgets(model) and _has_lost_its_thoughts(call)):
        thinking, output["effort"] = _thinking(effort, call.reasoning, model, limit)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": limit,
        "system": _system(call.system),
        "messages": [{"role": turn.role, "content": content} for turn in call.turns if (content := _write_turn(turn))],
        "tools": [_tool(tool) for tool in call.tools] or None,
        "tool_choice": _choice(call),
        **_sampling(call),
        "stop_sequences": list(call.stop) or None,
        "thinking": thinking,
        "output_config": {name: value for name, value in output.items() if value is not None} or None,
        "metadata": None if call.user is None else {"user_id": call.user},
        "service_tier": _tier(call.service_tier),
        "stream": call.stream or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _turn(message: Fields) -> Turn:
    spelled = message.text("role")
    role = _ROLES.get(spelled)
    if role is None:
        raise Untranslatable(message.at("role"), f"the role `{spelled[:64]}` is none of {', '.join(_ROLES)}", "Use `user` or `assistant`")
    turn = Turn(role, read_content(message.take("content"), message.at("content")))
    message.close()
    return turn


def _read_tool(tool: Fields) -> Tool:
    kind = tool.maybe_text("type")
    if kind not in (None, "custom"):
        raise Untranslatable(tool.at("type"), f"`{kind[:64]}` is a tool that Anthropic runs or defines", "Send it with an `input_schema`")
    read = Tool(tool.text("name"), tool.maybe_text("description"), tool.mapping("input_schema"), tool.flag("strict"))
    tool.drop("cache_control", "eager_input_streaming")
    tool.close({"defer_loading": False, "allowed_callers": ["direct"]})
    return read


def _read_choice(choice: Fields | None) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    word = choice.text("type")
    mode = _CHOICES.get(word)
    disabled = choice.flag("disable_parallel_tool_use")
    name = choice.text("name") if mode == "named" else None
    choice.close()
    parallel = None if disabled is None else not disabled
    match mode:
        case "auto" | "none" | "required" | "named":
            return ToolChoice(mode, name, parallel)
    raise Untranslatable("tool_choice.type", f"the tool choice `{word[:64]}` has no translation", f"Use {', '.join(_CHOICES)}")


def _read_format(format: Fields | None) -> Format | None:
    if format is None:
        return None
    if format.text("type") != "json_schema":
        raise Untranslatable("output_config.format.type", "this output format has no translation", "Use `json_schema`")
    read = Format(format.mapping("schema") or {}, strict=True)
    format.close()
    return read


def _read_reasoning(thinking: Fields | None, effort: str | None) -> Reasoning:
    if thinking is None:
        return Reasoning(effort)
    kind = thinking.text("type")
    shown = {None: None, "summarized": True, "omitted": False}.get(thinking.maybe_text("display"))
    budget = thinking.whole("budget_tokens") if kind == "enabled" else None
    thinking.close()
    if kind not in ("enabled", "adaptive", "disabled"):
        reason = f"thinking of type `{kind[:64]}` has no translation"
        raise Untranslatable("thinking.type", reason, "Use `enabled`, `adaptive` or `disabled`")
    return Reasoning(effort, budget, shown)


def _thinking(effort: str, reasoning: Reasoning, model: str, limit: int) -> tuple[dict[str, Any], str | None]:
    """The words for how long to think: a budget for models that know nothing else, an effort for later ones."""
    if effort == "none":
        return {"type": "disabled"}, None
    if _takes_budgets(model):
        return {"type": "enabled", "budget_tokens": budget_of(effort, limit)}, None
    word = MESSAGES_EFFORTS.get(effort)
    if word is None:
        reason = f"the reasoning effort `{effort[:64]}` is not known"
        raise Untranslatable("effort", reason, f"Use one of {', '.join(MESSAGES_EFFORTS)}")
    return {"type": "adaptive"} | ({"display": "summarized"} if reasoning.shown else {}), word


def _takes_budgets(model: str) -> bool:
    return model.rpartition("/")[2].startswith(BUDGET_MODELS)


def _has_lost_its_thoughts(call: Call) -> bool:
    """Whether tools' results are told to a model whose thoughts before the calls did not come back."""
    if len(call.turns) < 2 or not any(isinstance(block, ToolResult) for block in call.turns[-1].blocks):
        return False
    return not any(isinstance(block, Thinking) and (block.signature or block.redacted) for block in call.turns[-2].blocks)


def _system(texts: tuple[Text, ...]) -> str | list[dict[str, Any]] | None:
    if len(texts) < 2:
        return texts[0].text if texts else None
    return [{"type": "text", "text": block.text} for block in texts]


def _write_turn(turn: Turn) -> list[dict[str, Any]]:
    """Content with the tools' results first, as Messages wants it."""
    results = [block for block in turn.blocks if isinstance(block, ToolResult)]
    others = [block for block in turn.blocks if not isinstance(block, ToolResult)]
    return [written for block in (*results, *others) if (written := _write_block(block)) is not None]


def _write_block(block: Block) -> dict[str, Any] | None:
    match block:
        case Text(text="") | Refusal(text=""):
            return None
        case Thinking(signature=None, redacted=None):
            return None  # not Anthropic's own
        case ToolUse(id=name):
            return {**write_block(block, "arguments"), "id": _tool_id(name)}
        case ToolResult(id=name, content=content, is_error=is_error):
            parts = [part for inner in content if (part := _write_block(inner)) is not None]
            plain = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts
            result = {"type": "tool_result", "tool_use_id": _tool_id(name), "content": plain}
            return result | {"is_error": True} if is_error else result
        case Image() | Document():
            return write_source(block)
    return write_block(block, "messages")


def _tool_id(name: str) -> str:
    """The id in the characters that Anthropic allows; the same for a call and its result."""
    return _NO_ID_CHARACTER.sub("_", name)


def _tool(tool: Tool) -> dict[str, Any]:
    written = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.schema or {"type": "object", "properties": {}},
        "strict": tool.strict or None,
    }
    return {name: value for name, value in written.items() if value is not None}


def _choice(call: Call) -> dict[str, Any] | None:
    choice = call.choice
    if not call.tools or (choice.mode is None and choice.parallel is None):
        return None
    written: dict[str, Any] = {"type": _CHOICE_WORDS[choice.mode or "auto"]}
    if choice.name is not None:
        written["name"] = choice.name
    if choice.parallel is not None and choice.mode != "none":
        written["disable_parallel_tool_use"] = not choice.parallel
    return written


def _sampling(call: Call) -> dict[str, Any]:
    if call.verbosity not in (None, "medium"):
        raise Untranslatable("verbosity", "`verbosity` has no counterpart in Messages", "Ask for short or long answers in the prompt")
    for name in _SAMPLING_OF_CHAT:
        value = getattr(call.sampling, name)
        if value is not None and (value or name == "seed"):
            raise Untranslatable(name, f"`{name}` has no counterpart in Messages")
    if call.sampling.temperature is not None and call.sampling.temperature > 1:
        raise Untranslatable("temperature", "`temperature` ends at 1 in Messages", "Use a temperature between 0 and 1")
    return {name: getattr(call.sampling, name) for name in (*_SAMPLING, "top_k")}


def _format(format: Format | None) -> dict[str, Any] | None:
    if format is None:
        return None
    if format.schema is None:
        raise Untranslatable("format", "Messages cannot promise JSON without a schema", "Use `json_schema`")
    return {"type": "json_schema", "schema": format.schema}


def _tier(tier: str | None) -> str | None:
    if tier is None:
        return None
    word = TIERS_FOR_MESSAGES.get(tier)
    if word is None:
        reason = f"the service tier `{tier[:64]}` has no counterpart in Messages"
        raise Untranslatable("service_tier", reason, f"Use one of {', '.join(TIERS_FOR_MESSAGES)}")
    return word
