"""The processing class of an answer, in one word: how it was served, which decides its price.

Sources: OpenAI, Anthropic and Groq API references, 2026-11: `service_tier` of the answer (Anthropic: within the usage), Anthropic's
`speed` (fast mode) and `inference_geo` (data residency), each a factor on every rate.
"""

from collections.abc import Mapping
from typing import Any

from penstock.domain.dialects.usage_fields import json_kind

STANDARD = frozenset({"", "default", "auto", "standard", "standard_only", "on_demand"})
"""words for the ordinary class: it has no name of its own here"""
_ANYWHERE = frozenset({"", "global", "not_available"})
_LONGEST = 32


def processing_of(usage: Mapping[str, Any] | None, service_tier: object = None) -> str | None:
    """`batch`, `flex`, `priority`, `scale`, `fast`, `us`, ...; None: standard. Several are joined by `+`.

    `service_tier` is what the answer itself says, where its usage says nothing. A word that is not known stays as it was said:
    its price is not known either.
    """
    if usage is None:
        return _word(service_tier, STANDARD)
    if "service_tier" not in usage and "speed" not in usage and "inference_geo" not in usage:
        return _word(service_tier, STANDARD) if service_tier is not None else None
    tier = usage.get("service_tier")
    words = (
        _word(service_tier if tier is None else tier, STANDARD),
        _word(usage.get("speed"), STANDARD),
        _word(usage.get("inference_geo"), _ANYWHERE),
    )
    return "+".join(dict.fromkeys(word for word in words if word is not None)) or None


def _word(said: object, usual: frozenset[str]) -> str | None:
    if said is None:
        return None
    if not isinstance(said, str):
        return json_kind(said)
    word = said.strip().lower().replace("-", "_")[:_LONGEST]
    return None if word in usual else word
