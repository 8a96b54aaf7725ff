"""When two requests are the same to the exact cache: a key over all of the request but a short list of what cannot change the answer.

What we do not know is part of the key, so an unknown field costs hits, never a wrong answer.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson

from penstock.domain.dialects.content import unseen_input

KEY_VERSION = 1
IGNORED = frozenset(
    {
        "model",  # the model that was chosen stands in the key instead
        "stream",
        "stream_options",
        "user",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""top-level fields that say who asks, how it is delivered or billed, but not what is asked"""

CACHEABLE_ENDPOINTS = frozenset({"chat.completions", "completions", "embeddings", "responses", "messages"})
_CLIENT_SIDE_TOOLS = (None, "function", "custom")
"""types of tools that the client runs; Anthropic's own form has no type"""
_ACTS = frozenset({"store", "background", "audio", "web_search_options", "mcp_servers", "container"})
"""fields with which the provider acts or looks at the world, beyond answering"""


def cache_key(
    partition: Sequence[str | None], endpoint: str, model: str, upstream: str, request: dict[str, Any], *, version: str | None = None
) -> bytes | None:
    """16 bytes that are equal for requests with the same answer, within a partition (tenants, usually).

    `model` and `version` are the configured ones that would answer. Framing is injective: one canonical JSON array is hashed, keys
    sorted. None when the request has no canonical form (nested deeper than the encoder goes, integers beyond 64 bits, which the
    parser rounds): such a request bypasses the cache. 1 and 1.0 differ, null and absent differ.
    """
    asked = {name: value for name, value in request.items() if name not in IGNORED}
    if _has_rounded_integer(asked):
        return None
    try:
        canonical = orjson.dumps((KEY_VERSION, partition, endpoint, model, version, upstream, asked), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None
    return blake2b(canonical, digest_size=16).digest()


def cacheable(endpoint: str, request: dict[str, Any]) -> bool:
    """Whether an answer may stand for a later one at all.

    Never: endpoints other than those of models; `store` or `background` (the provider must act); audio or other output than text; tools
    that the provider runs (web search, code), since the world they look at changes; input that the body only points at (files, web
    images, stored conversations and items of them).
    """
    if endpoint not in CACHEABLE_ENDPOINTS:
        return False
    if not request.keys().isdisjoint(_ACTS) and any(request.get(name) not in (None, False) for name in _ACTS):
        return False
    modalities = request.get("modalities")
    if modalities is not None and modalities != ["text"]:
        return False
    tools = request.get("tools")
    if tools is not None and not _all_client_side(tools):
        return False
    return not unseen_input(request)


def _all_client_side(tools: object) -> bool:
    return isinstance(tools, list) and all(isinstance(tool, dict) and tool.get("type") in _CLIENT_SIDE_TOOLS for tool in tools)


def _has_rounded_integer(request: dict[str, Any]) -> bool:
    """Whether a number may be an integer that the parser rounded to a float: two different ones would share a key."""
    stack: list[Any] = [request]
    while stack:
        node = stack.pop()
        for value in node.values() if type(node) is dict else node:
            kind = type(value)
            if kind is dict or kind is list:
                stack.append(value)
            elif kind is float and not -9.2e18 < value < 9.2e18:
                return True
    return False
