"""Facts about a parsed request of any dialect: how much text, which images, how many answers, whose it is.

Requests are what a JSON parser returned for an object; nothing here raises on odd ones, and nothing recurses.
"""

from collections.abc import Sequence
from typing import Any

Request = dict[str, Any]

_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_FILE_PARTS = frozenset({"file", "input_file", "document", "video_url", "input_video", "video", "audio_url"})
"""parts of which an engine may make far more tokens than their bytes are: pages are compressed, and read as images too"""
_PROVIDERS_FIELDS = ("web_search_options", "mcp_servers", "container", "search_parameters", "data_sources", "plugins")
"""fields with which a provider fetches further input by itself"""
_CLIENTS_TOOLS = ("function", "custom", "bash_", "text_editor_", "memory_", "computer", "local_shell", "apply_patch")
"""what the types of tools begin with that the client runs: what they bring comes in a request of its own"""
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict")
_SLA_OF_SERVICE_TIER = {"priority": "critical", "default": "standard", "standard_only": "standard", "flex": "best_effort"}
"""OpenAI's words, and Anthropic's `standard_only`; `auto` names none"""
_LONGEST_NUMBER = 32
"""characters of a number in quotes"""
MAX_TAG_VALUE = 512
"""characters; longer metadata is not a tag"""
MAX_TAGS = 64
_LEDGERS_WORD = {"sla_tier": "sla", "model_name": "model", "optimization_level": "optimization"}


def text_bytes(request: Request) -> int:
    """UTF-8 bytes of every string anywhere in the request, plus what else reaches a model as text.

    Keys below the top level count (tool schemas are mostly keys), numbers count as their digits, and a prompt that is given as token
    ids counts one for each: so that, with byte-level tokenizers, it is never less than the tokens of what the client wrote.
    """
    total = 0
    stack: list[Any] = []
    for key, value in request.items():
        if type(value) is str:
            total += len(value) if value.isascii() else _utf8(value)
        elif type(value) is list and key in ("prompt", "input"):
            total += _prompt_list(value, stack)
        elif type(value) is dict or type(value) is list:
            stack.append(value)
    while stack:
        node = stack.pop()
        if type(node) is dict:
            for key in node:
                total += len(key) if key.isascii() else _utf8(key)
            node = node.values()
        for value in node:
            kind = type(value)
            if kind is str:
                total += len(value) if value.isascii() else _utf8(value)
            elif kind is dict or kind is list:
                stack.append(value)
            else:
                total += len(repr(value))
    return total


def images(request: Request) -> int:
    """Image parts in the messages, those inside tool results included."""
    parts = _parts(request)
    return sum(_kind(part) in _IMAGE_PARTS for part in parts) if parts else 0


def unseen_input(request: Request) -> bool:
    """Whether the model will read something that the body only points at.

    True for the provider's stored state (`previous_response_id`, `conversation`, a prompt by id) and for files, audio and images by
    id or by web address. Such input has no bound in the body, and may change without the body changing.
    """
    if request.get("previous_response_id") is not None or request.get("conversation") is not None:
        return True
    if isinstance(request.get("prompt"), dict):
        return True
    parts = _parts(request)
    return any(_points_elsewhere(part) for part in parts) if parts else False


def uncounted_input(request: Request) -> bool:
    """Whether the model may read more than the bytes of the body bound: `unseen_input`, files (PDFs and the like) that the body
    holds, and what tools bring that the provider runs."""
    if any(request.get(key) not in (None, False) for key in _PROVIDERS_FIELDS) or unseen_input(request):
        return True
    tools = request.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and not _is_clients(tool) for tool in tools):
        return True
    return any(_kind(part) in _FILE_PARTS and not _is_text_document(part) for part in _parts(request))


def unwritten_tools(tools: Sequence[object]) -> int:
    """Tools that the client runs by a schema of the provider's, of which the request has no more than the name."""
    return sum(isinstance(tool, dict) and tool.get("type") not in (None, "function", "custom") for tool in tools)


def prompts(request: Request) -> int:
    """How many separate inputs the request has: a completion's or an embedding's list of them, else one."""
    for key in ("prompt", "input"):
        value = request.get(key)
        if isinstance(value, list) and value and isinstance(value[0], str | list):
            return len(value)
    return 1


def output_bound(request: Request, default: int | None) -> int | None:
    """Output tokens that the request can bring at most, over all its answers; None when nothing bounds it.

    The largest limit that the client set (engines differ in which one they read), else `default`; times `n` or `best_of`,
    times the prompts of a completion. Numbers count as lenient engines read them (5.0, "5"); what is no number bounds nothing.
    """
    given = [_whole(request.get(key)) for key in (*_OUTPUT_LIMITS, "n", "best_of")]
    if any(number is None for number in given):
        return None
    *limits, n, best_of = (number or 0 for number in given)
    limit = max(limits) or default
    if limit is None:
        return None
    return limit * max(n, best_of, 1) * (prompts(request) if "prompt" in request else 1)


def last_user_text(request: Request) -> str:
    """The text of the last user message, prompt or input; empty where there is none."""
    for key in ("messages", "input", "prompt"):
        value = request.get(key)
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            continue
        for item in reversed(value):
            if isinstance(item, str):
                return item
            if isinstance(item, dict) and item.get("role") == "user":
                text = text_of(item.get("content"))
                if text:
                    return text
    return ""


def text_of(content: object) -> str:
    """The text of a message's content: the string, or its text parts, one a line."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str) or _is_text(part)]
    return "\n".join(text for text in texts if isinstance(text, str))


def tags_from_metadata(request: Request) -> dict[str, str]:
    """Tags that the body brings: scalars of `metadata`, and below them in strength the OpenAI `user` field as tag `user`.

    Names are normalised. Values are strings, integers or booleans (`true`, `false`); other or overlong ones are not tags.
    """
    tags: dict[str, str] = {}
    user = request.get("user")
    if isinstance(user, str) and user and len(user) <= MAX_TAG_VALUE:
        tags["user"] = user
    metadata = request.get("metadata")
    if isinstance(metadata, dict):
        for name, value in metadata.items():
            if isinstance(value, bool):
                value = "true" if value else "false"
            elif isinstance(value, int):
                value = str(value)
            if isinstance(value, str) and 0 < len(value) <= MAX_TAG_VALUE and 0 < len(name) <= MAX_TAG_VALUE and len(tags) < MAX_TAGS:
                tags[normal_tag(name)] = value
    return tags


def sla_of(request: Request) -> str | None:
    """The `sla` that the request's `service_tier` asks for; None when it names none that we know."""
    tier = request.get("service_tier")
    return _SLA_OF_SERVICE_TIER.get(tier) if isinstance(tier, str) else None


def normal_tag(name: str) -> str:
    """A tag's one spelling: lower case, `_` for `-`, and the ledger's own word where a taxonomy has another one (`sla_tier`)."""
    normal = name.lower().replace("-", "_")
    return _LEDGERS_WORD.get(normal, normal)


def allowed_value(value: str, allowed: Sequence[str]) -> str | None:
    """The allowed spelling of a tag's value: case, `-` and `_` make no difference. None: it is not allowed."""
    if value in allowed:
        return value
    folded = _folded(value)
    return next((each for each in allowed if _folded(each) == folded), None)


def _folded(value: str) -> str:
    return value.casefold().replace("-", "_")


def _utf8(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _prompt_list(value: list[Any], stack: list[Any]) -> int:
    """Token ids of a prompt or of a list of prompts; what is not a number goes on the stack."""
    ids = 0
    for item in value:
        if type(item) is int:
            ids += 1
        elif type(item) is list and all(type(token) is int for token in item):
            ids += len(item)
        else:
            stack.append((item,))
    return ids


def _parts(request: Request) -> list[dict[str, Any]]:
    """Content parts of all messages, with those nested in tool results."""
    parts: list[dict[str, Any]] = []
    for key in ("messages", "input"):
        items = request.get(key)
        if isinstance(items, list):
            for item in items:
                if isinstance(item, dict):
                    content = item.get("content", item)
                    if content is item:
                        parts.append(item)
                    elif isinstance(content, list):
                        parts += [part for part in content if isinstance(part, dict)]
    for part in parts:
        nested = part.get("content")
        if isinstance(nested, list):
            parts += [inner for inner in nested if isinstance(inner, dict)]
    return parts


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and _kind(part) in _TEXT_PARTS


def _kind(part: dict[str, Any]) -> str:
    kind = part.get("type")
    return kind if isinstance(kind, str) else ""


def _points_elsewhere(part: dict[str, Any]) -> bool:
    if "file_id" in part:
        return part["file_id"] is not None
    kind = _kind(part)
    if not kind or kind in _TEXT_PARTS:
        return False
    if kind == "item_reference":
        return True
    for holder in (part, part.get(kind), part.get("source")):
        if isinstance(holder, dict):
            if holder.get("file_id") is not None:
                return True
            for key in ("url", "image_url", "file_url"):
                url = holder.get(key)
                if isinstance(url, str) and not url.startswith("data:"):
                    return True
        elif isinstance(holder, str) and kind in _IMAGE_PARTS and not holder.startswith("data:"):
            return True
    return False


def _is_clients(tool: dict[str, Any]) -> bool:
    kind = tool.get("type")
    return kind is None or (isinstance(kind, str) and kind.startswith(_CLIENTS_TOOLS))


def _is_text_document(part: dict[str, Any]) -> bool:
    """Anthropic's documents of plain text, or of parts that are nothing else."""
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content") and not _holds_images(source)


def _holds_images(source: dict[str, Any]) -> bool:
    content = source.get("content")
    return isinstance(content, list) and any(not _is_text(part) for part in content)


def _whole(value: object) -> int | None:
    """The number that a lenient engine reads, 0 where nothing is set (or nothing positive); None for what is no whole number."""
    if value is None or isinstance(value, bool):
        return 0
    if not isinstance(value, int | float | str) or (isinstance(value, str) and len(value) > _LONGEST_NUMBER):
        return None
    try:
        exact = float(value) if isinstance(value, str) else value
        whole = int(exact)
    except (ValueError, OverflowError):
        return None
    return max(0, whole) if whole == exact else None
