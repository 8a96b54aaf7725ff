"""Parts of the token classes that have prices of their own: sound, images, video, and cache writes that last an hour.

Providers count them across the classes: an image that was read from the cache stands in both counts. Here a part is a subset
of exactly one class, so that nothing is charged twice.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.dialects.usage_fields import count, details

Made = Literal["audio", "image", "video"]

MODALITIES: tuple[Made, ...] = ("audio", "video", "image")
"""dear to cheap, as providers price them: the order in which they take what room a class has"""
SPLIT_KEYS = frozenset(("text_tokens", "audio_tokens", "image_tokens", "video_tokens"))
_KEYS: tuple[tuple[Made, str], ...] = (("audio", "audio_tokens"), ("video", "video_tokens"), ("image", "image_tokens"))
_LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


class Lifetimes(NamedTuple):
    """Cache writes by how long they last, as far as told."""

    minutes: int
    hour: int

    @property
    def told(self) -> int:
        return self.minutes + self.hour


_UNTOLD = Lifetimes(0, 0)


def lifetimes_of(usage: Mapping[str, Any], of_input: Mapping[str, Any]) -> Lifetimes:
    """Anthropic's `cache_creation`, or the name that LiteLLM has for it among the prompt's details. Raises `UsageError`."""
    if "cache_creation" not in usage and "cache_creation_token_details" not in of_input:
        return _UNTOLD
    told = details(usage, "cache_creation") or details(of_input, "cache_creation_token_details")
    return Lifetimes(count(told, _LIFETIMES[0]) or 0, count(told, _LIFETIMES[1]) or 0)


def written_for_an_hour(written: int, lifetimes: Lifetimes) -> tuple[int, int]:
    """Of the tokens written to the cache those that last an hour, and the least that this can be.

    A stream with server tools tells the lifetimes of its first step only (BerriAI/litellm 42663): what was written after it is
    taken to last as the first did, in proportion.
    """
    if not lifetimes.hour:
        return 0, 0
    hour = min(lifetimes.hour, written)
    beyond = max(written - lifetimes.told, 0)
    further = -(-beyond * lifetimes.hour // lifetimes.told)
    return hour + further, hour if lifetimes.minutes else hour + further


def output_parts(tokens: Tokens, of_output: Mapping[str, Any], made: Made | None) -> dict[str, int]:
    """Modalities of the visible output; reasoning is text. `made`: what an endpoint makes that tells no split. Raises `UsageError`."""
    if made is not None and not SPLIT_KEYS & of_output.keys():
        return {f"output_{made}": tokens.visible_output} if tokens.visible_output else {}
    return _named("output", _fitted(_modalities(of_output), tokens.visible_output))


def input_parts(tokens: Tokens, of_input: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Modalities of what was read from the cache and of what was not; and what they may be instead.

    Where the body does not tell which cached tokens were sound or image, text is taken to be cached first, for prompts begin
    with it; the second reading is the other extreme. Both are the same where there is nothing to choose. Raises `UsageError`.
    """
    told = _modalities(of_input)
    if not told:
        return {}, {}
    cached = details(of_input, "cached_tokens_details")
    if cached:
        read = _fitted({name: min(number, told.get(name, 0)) for name, number in _modalities(cached).items()}, tokens.cache_read)
        parts = _split(tokens, told, read)
        return parts, parts
    text = count(of_input, "text_tokens")
    if text is not None and tokens.cache_read and text + sum(told.values()) == tokens.uncached_input:
        parts = _split(tokens, told, {})  # the split is of the uncached tokens alone
        return parts, parts
    fresh = _fitted(told, tokens.uncached_input)
    rest = {name: number - fresh.get(name, 0) for name, number in told.items()}
    return (
        _named("input", fresh) | _named("cache_read", _fitted(rest, tokens.cache_read)),
        _split(tokens, told, _fitted(told, tokens.cache_read)),
    )


def _split(tokens: Tokens, told: Mapping[Made, int], read: Mapping[Made, int]) -> dict[str, int]:
    fresh = {name: number - read.get(name, 0) for name, number in told.items()}
    return _named("input", _fitted(fresh, tokens.uncached_input)) | _named("cache_read", read)


def _modalities(counts: Mapping[str, Any]) -> dict[Made, int]:
    return {name: number for name, key in _KEYS if key in counts and (number := count(counts, key))}


def _fitted(wanted: Mapping[Made, int], room: int) -> dict[Made, int]:
    """The counts as far as the class has room for them, the dearest first."""
    fitted: dict[Made, int] = {}
    for name in MODALITIES:
        taken = min(wanted.get(name, 0), room)
        if taken > 0:
            fitted[name] = taken
            room -= taken
    return fitted


def _named(side: str, counts: Mapping[Made, int]) -> dict[str, int]:
    return {f"{side}_{name}": number for name, number in counts.items() if number}
