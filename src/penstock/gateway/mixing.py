"""Clients that mix dialects: a body of one endpoint that was posted to another, by signs that leave no doubt.

Unknown fields pass untouched, so only what another dialect says in this very place counts: `temperature` tells nothing, `system` does.
Null says nothing in any of them.
"""

from typing import Any

from penstock.gateway.refusal import Refusal

_CHAT, _RESPONSES, _MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
_MESSAGES_FIELDS = frozenset({"system", "stop_sequences"})
_CHAT_FIELDS = frozenset({"max_completion_tokens", "response_format"})
_MESSAGES_PARTS = frozenset({"tool_use", "tool_result", "redacted_thinking"})
_OWN_MEMBERS = {"image": "source", "document": "source", "thinking": "signature"}
"""kinds of parts that engines of chat completions have too (Mistral: `thinking`), and what only those of Messages hold"""
_CHAT_ROLES = frozenset({"tool", "function", "developer"})


def check_dialect(endpoint: str, body: dict[str, Any]) -> None:
    """Raises `Refusal` (input) that names the field and the right address, when the body is another dialect's."""
    found: tuple[str, str] | None = None
    if endpoint == "chat.completions":
        found = _not_chat(body)
    elif endpoint == "messages":
        found = _not_messages(body)
    elif endpoint == "responses" and "messages" in body and "input" not in body:
        found = "messages", _CHAT if _not_chat(body) is None else _MESSAGES
    if found is not None:
        field, address = found
        raise Refusal(
            400,
            "input",
            f"this is a body for {address}: `{field}` means nothing here",
            f"POST it to {address}, with the same model if you like, or write it as this address expects",
            code="wrong_dialect",
            param=field,
        )


def _not_chat(body: dict[str, Any]) -> tuple[str, str] | None:
    if (field := _said(body, _MESSAGES_FIELDS)) is not None:
        return field, _MESSAGES
    messages = body.get("messages")
    if messages is None and "input" in body:
        return "input", _RESPONSES
    if "tools" in body and _first(body["tools"], "input_schema"):
        return "tools[0].input_schema", _MESSAGES
    if isinstance(messages, list):
        for message in messages:
            if type(message) is dict and type(message.get("content")) is list:
                return _part_of_messages(messages)
    return None


def _part_of_messages(messages: list[Any]) -> tuple[str, str] | None:
    for index, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        for place, part in enumerate(content if isinstance(content, list) else ()):
            if type(part) is dict and _of_messages(part):
                return f"messages[{index}].content[{place}]", _MESSAGES
    return None


def _not_messages(body: dict[str, Any]) -> tuple[str, str] | None:
    if (field := _said(body, _CHAT_FIELDS)) is not None:
        return field, _CHAT
    messages = body.get("messages")
    if messages is None and "input" in body:
        return "input", _RESPONSES
    if "tools" in body and _first(body["tools"], "function"):
        return "tools[0].function", _CHAT
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if type(message) is not dict:
            continue
        if isinstance(role := message.get("role"), str) and role in _CHAT_ROLES:
            return f"messages[{index}].role", _CHAT
        if message.get("tool_calls") is not None:
            return f"messages[{index}].tool_calls", _CHAT
        content = message.get("content")
        for place, part in enumerate(content if isinstance(content, list) else ()):
            if type(part) is dict and "image_url" in part:
                return f"messages[{index}].content[{place}].image_url", _CHAT
    return None


def _of_messages(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and (kind in _MESSAGES_PARTS or _OWN_MEMBERS.get(kind) in part)


def _said(body: dict[str, Any], fields: frozenset[str]) -> str | None:
    """The first of these fields that the body has."""
    if body.keys().isdisjoint(fields):
        return None
    return next((name for name, value in body.items() if name in fields and value is not None), None)


def _first(tools: object, member: str) -> bool:
    return isinstance(tools, list) and bool(tools) and isinstance(tools[0], dict) and member in tools[0]
