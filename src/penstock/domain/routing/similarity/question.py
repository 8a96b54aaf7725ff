"""What of a request may be asked in other words: the text of its last turn. All the rest must be the same to the letter.

Only requests that are understood to the last part are taken apart: plain text of system, user and assistant, the user's turn last, one
answer of text wanted. For any other the reason is told, and it is answered by its very self only.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from penstock.domain.dialects.content import images, prompts, uncounted_input
from penstock.domain.routing.cache_key import cacheable
from penstock.domain.routing.similarity.time_bound import time_bound

__all__ = ["LONGEST_QUESTION", "Question", "Reason", "question_of", "time_bound"]

Reason = Literal[
    "endpoint", "not cacheable", "tools", "images", "files", "several answers", "details wanted", "not the user's turn", "no question",
    "too long", "unknown content",
]  # fmt: skip
"""why a request is never answered by meaning"""

LONGEST_QUESTION = 1_000
"""characters; embedders read no more than about that of a text, or less"""

_TURNS = {"chat.completions": "messages", "messages": "messages", "responses": "input"}
"""endpoint -> the field that holds what was said"""
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_SAID_EARLIER = frozenset({"refusal", "thinking", "redacted_thinking"})
"""further parts of the assistant's turns"""
_DETAILS = (
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "echo",
    "include",
    "prediction",
    "return_token_ids",
    "return_tokens_as_token_ids",
)
"""fields that ask for more than the answer's text, or say what it will be"""
_ONE = (None, 1, "1")
_TOOL_WORDS = ("tool", "function", "mcp", "computer", "_call")
"""what types of items and parts have in them that bring tools' calls or results"""


class Question(msgspec.Struct, frozen=True):
    """A request taken apart: both fields together are the request again."""

    text: str
    """what the user asks"""
    rest: dict[str, Any]
    """the request with a mark where the text stood; it shares its parts with the request, and is not to be changed"""
    time_bound: bool
    """whether the answer is likely to be another one tomorrow"""


class _Never(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def question_of(endpoint: str, body: dict[str, Any]) -> Question | Reason:
    """The question of a request, or why it has none that may be answered by meaning.

    Two requests have equal texts and equal rests exactly when they are equal themselves. Time grows with the number of turns and
    parts, not with the length of their texts. Raises nothing, whatever the body is.
    """
    if endpoint not in _TURNS and endpoint != "completions":
        return "endpoint"
    try:
        _refuse_odd(endpoint, body)
        text, rest = _prompt(body) if endpoint == "completions" else _turns(body, _TURNS[endpoint])
    except _Never as never:
        return never.reason
    if len(text) > LONGEST_QUESTION:
        return "too long"
    return Question(text, rest, time_bound(text)) if text.strip() else "no question"


def _refuse_odd(endpoint: str, body: dict[str, Any]) -> None:
    """Raises `_Never` for what the top level says: tools, several answers, what answering by meaning cannot bring."""
    chosen = body.get("tool_choice")
    if body.get("tools") and chosen != "none" and chosen != {"type": "none"}:
        raise _Never("tools")
    if body.get("functions") and body.get("function_call") != "none":
        raise _Never("tools")
    if images(body):
        raise _Never("images")
    if not cacheable(endpoint, body):
        raise _Never("not cacheable")
    if uncounted_input(body):
        raise _Never("files")
    if any(isinstance(body.get(name), bool) or body.get(name) not in _ONE for name in ("n", "best_of")) or prompts(body) > 1:
        raise _Never("several answers")
    if any(_wanted(name, body.get(name)) for name in _DETAILS):
        raise _Never("details wanted")


def _wanted(name: str, value: object) -> bool:
    """Whether a field of `_DETAILS` says something; `logprobs: 0` does."""
    return (type(value) is int and name != "top_logprobs") or value not in (None, False, 0, [])


def _prompt(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Text and rest of a completion: its prompt, or the only one of a list."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return prompt, {**body, "prompt": _mark()}
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0], {**body, "prompt": [_mark()]}
    raise _Never("no question")


def _turns(body: dict[str, Any], field: str) -> tuple[str, dict[str, Any]]:
    """Text and rest of a conversation, of which every turn is looked at."""
    said = body.get(field)
    if isinstance(said, str) and field == "input":
        return said, {**body, field: _mark()}
    if not isinstance(said, list) or not said:
        raise _Never("no question")
    for item in said:
        _refuse_odd_turn(item)
    last = said[-1]
    if last.get("role") != "user":
        raise _Never("not the user's turn")
    text, content = _taken_out(last.get("content"))
    return text, {**body, field: [*said[:-1], {**last, "content": content}]}


def _refuse_odd_turn(item: object) -> None:
    if not isinstance(item, dict):
        raise _Never("unknown content")
    kind, role = item.get("type", "message"), item.get("role")
    if item.get("tool_calls") or item.get("function_call") or item.get("tool_call_id") is not None or role in ("tool", "function"):
        raise _Never("tools")
    if kind == "reasoning" and role is None:
        return
    if kind != "message":
        raise _Never(_reason_of(kind))
    if not isinstance(role, str) or role not in _ROLES or item.get("audio") is not None:
        raise _Never("unknown content")
    content = item.get("content")
    if isinstance(content, list):
        for part in content:
            _refuse_odd_part(part, role)
    elif content is not None and not isinstance(content, str):
        raise _Never("unknown content")


def _refuse_odd_part(part: object, role: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise _Never("unknown content")
    if kind in _TEXT_PARTS:
        if not isinstance(part.get("text"), str) or part.get("annotations") or part.get("citations"):
            raise _Never("unknown content")
    elif kind not in _SAID_EARLIER or role != "assistant":
        raise _Never(_reason_of(kind))


def _reason_of(kind: object) -> Reason:
    """What to say of a part or an item that is no text."""
    return "tools" if isinstance(kind, str) and any(word in kind for word in _TOOL_WORDS) else "unknown content"


def _taken_out(content: object) -> tuple[str, object]:
    """The text of a user's content, and the content without it.

    Several parts are joined by line breaks. So that no two contents become one, each mark of a part but the last says how many line
    breaks the part holds itself.
    """
    if isinstance(content, str):
        return content, _mark()
    if not isinstance(content, list) or not content:
        raise _Never("no question")
    texts: Sequence[str] = [part["text"] for part in content]
    if sum(map(len, texts)) + len(texts) - 1 > LONGEST_QUESTION:
        raise _Never("too long")
    last = len(content) - 1
    marked = [{**part, "text": _mark(None if at == last else part["text"].count("\n"))} for at, part in enumerate(content)]
    return "\n".join(texts), marked


def _mark(lines: int | None = None) -> dict[str, int | None]:
    """What stands in a text's place: an object, where `question_of` takes no request with one."""
    return {"question": lines}
