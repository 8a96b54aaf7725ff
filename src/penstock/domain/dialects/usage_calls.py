"""Calls of a provider's own tools, which are billed beside the tokens: searches of the web and of files, runs of code.

Sources: Anthropic's and OpenAI's pricing pages, xAI's and Mistral's API references, 2026-11.
"""

from collections.abc import Mapping
from typing import Any

from penstock.domain.dialects.usage_fields import count, details

_HOLDERS = {
    "server_tool_use": "_requests",
    "server_side_tool_usage_details": "_calls",
    "connectors": "",
}
"""object of counts in a usage body -> how the names in it end: Anthropic and OpenRouter; xAI; Mistral"""
_PART_OF_TOOL = {
    "web_search": "web_searches",
    "web_search_premium": "web_searches",
    "x_search": "web_searches",
    "file_search": "file_searches",
    "document_search": "file_searches",
    "document_library": "file_searches",
    "collections_search": "file_searches",
    "code_execution": "code_runs",
    "code_interpreter": "code_runs",
}
_FREE = frozenset({"web_fetch", "tool_search", "mcp"})
"""tools that cost nothing but the tokens that they bring"""
_PART_OF_ITEM = {
    "web_search_call": "web_searches",
    "file_search_call": "file_searches",
    "code_interpreter_call": "code_runs",
    "image_generation_call": "tool_calls",
}
_LIVE_SOURCES = "num_sources_used"
"""xAI's retired live search, billed by the source"""


def calls_of_usage(usage: Mapping[str, Any]) -> dict[str, int]:
    """Calls that a usage body counts, by part. Raises `UsageError`."""
    calls: dict[str, int] = {}
    for holder, ending in _HOLDERS.items():
        if holder in usage:
            told = details(usage, holder)
            for name in told:
                tool = name.removesuffix(ending) if ending else name
                if (number := count(told, name)) and tool not in _FREE and name.endswith(ending):
                    _add(calls, _PART_OF_TOOL.get(tool, "tool_calls"), number)
    if _LIVE_SOURCES in usage and (sources := count(usage, _LIVE_SOURCES)):
        _add(calls, "tool_calls", sources)
    return calls


def calls_of_output(output: object) -> dict[str, int]:
    """Calls among the items of a response, whose usage does not count them. Opening or searching within a page is free."""
    calls: dict[str, int] = {}
    for item in output if isinstance(output, list) else ():
        kind = item.get("type") if isinstance(item, dict) else None
        part = _PART_OF_ITEM.get(kind) if isinstance(kind, str) else None
        if part is not None and (part != "web_searches" or _searches(item)):
            _add(calls, part, 1)
    return calls


def _searches(item: Mapping[str, Any]) -> bool:
    action = item.get("action")
    return not isinstance(action, dict) or action.get("type") in (None, "search")


def _add(calls: dict[str, int], part: str, number: int) -> None:
    calls[part] = calls.get(part, 0) + number
