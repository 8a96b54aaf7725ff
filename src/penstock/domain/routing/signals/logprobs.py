"""How sure a model was of its tokens, where its upstream tells their probabilities.

Forms: chat completions (`choices[].logprobs.content`, of OpenAI, vLLM, SGLang and llama.cpp's server alike), legacy completions
(`token_logprobs`) and Responses (`output[].content[].logprobs`).
"""

from collections.abc import Iterable
from math import exp, isfinite
from typing import Any

import msgspec

from penstock.domain.ledger.routed import Sign

_SHORT = 5
"""tokens; in so short an answer the least sure one decides"""
_LEAST = -30.0
"""engines write -9999 or minus infinity for a token that they hold impossible"""
_ROUNDING = 1e-3
_ABSENT = Sign("logprobs", said="no logprobs")


class Sureness(msgspec.Struct, frozen=True):
    """Probabilities of an answer's tokens."""

    mean: float
    """geometric mean"""
    least: float
    margin: float | None
    """of the first token, before its best rival; None: rivals are not told"""
    tokens: int

    @property
    def confidence(self) -> float:
        """The geometric mean; of an answer of up to five tokens the least, for there one token is the answer."""
        return self.least if self.tokens <= _SHORT else self.mean


def logprob_sign(whole: object) -> Sign:
    """The sign of an answer's JSON; without a value where it tells no probabilities."""
    sure = sureness(whole)
    if sure is None:
        return _ABSENT
    margin = "" if sure.margin is None else f", first token ahead by {sure.margin:.2f}"
    return Sign("logprobs", round(sure.confidence, 4), said=f"mean {sure.mean:.2f}, least {sure.least:.2f}{margin}")


def sureness(whole: object) -> Sureness | None:
    """The probabilities that an answer's JSON tells of its tokens; None where it tells none, of several answers, or nonsense."""
    found = _tokens(whole)
    if found is None:
        return None
    logs, rivals = found
    told = [log for log in (_log(value) for value in logs) if log is not None]
    if not told or len(told) * 2 < len(logs):
        return None
    first = _log(logs[0])
    margin = None if first is None or not rivals else exp(first) - max((exp(rival) for rival in rivals), default=0.0)
    return Sureness(exp(sum(told) / len(told)), exp(min(told)), margin, len(told))


def truth(whole: object, yes: frozenset[str], no: frozenset[str]) -> float | None:
    """Of an answer that begins with yes or no: the probability of yes among both, by the first token's rivals. None: not told."""
    choices = whole.get("choices") if isinstance(whole, dict) else None
    content = _content(choices[0]) if isinstance(choices, list) and choices else None
    first = content[0] if content else None
    rivals = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(rivals, list):
        return None
    mass = {True: 0.0, False: 0.0}
    for rival in rivals:
        log = _log(rival.get("logprob")) if isinstance(rival, dict) else None
        word = str(rival.get("token", "")).strip().strip("*\"'.,").lower() if isinstance(rival, dict) else ""
        if log is not None and (word in yes or word in no):
            mass[word in yes] += exp(log)
    total = mass[True] + mass[False]
    return mass[True] / total if total > 0 else None


def _tokens(whole: object) -> tuple[list[Any], list[float]] | None:
    """Log probabilities of the tokens, and those of the first one's rivals."""
    if not isinstance(whole, dict):
        return None
    choices = whole.get("choices")
    if isinstance(choices, list):
        return _chosen(choices[0]) if len(choices) == 1 else None
    entries = [entry for part in _response_parts(whole) for entry in _list(part.get("logprobs"))]
    return _entries(entries) if entries else None


def _chosen(choice: object) -> tuple[list[Any], list[float]] | None:
    content = _content(choice)
    if content:
        return _entries(content)
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    if not isinstance(values, list) or not values or not isinstance(logprobs, dict):
        return None
    top, tokens = _list(logprobs.get("top_logprobs")), _list(logprobs.get("tokens"))
    rivals = top[0] if top and isinstance(top[0], dict) else {}
    said = tokens[0] if tokens else None
    return values, [log for token, value in rivals.items() if token != said and (log := _log(value)) is not None]


def _entries(entries: list[Any]) -> tuple[list[Any], list[float]] | None:
    if not all(isinstance(entry, dict) for entry in entries):
        return None
    said = [entry for entry in entries if entry.get("token") != "" or entry.get("bytes")]
    if not said:
        return None  # llama.cpp tells of the end of a turn, too, where it answers whole
    first = said[0]
    rivals = [
        log
        for rival in _list(first.get("top_logprobs"))
        if isinstance(rival, dict) and rival.get("token") != first.get("token") and (log := _log(rival.get("logprob"))) is not None
    ]
    return [entry.get("logprob") for entry in said], rivals


def _content(choice: object) -> list[Any] | None:
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return content if isinstance(content, list) else None


def _response_parts(whole: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for item in _list(whole.get("output")):
        for part in _list(item.get("content")) if isinstance(item, dict) else ():
            if isinstance(part, dict) and part.get("type") == "output_text":
                yield part


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _log(value: object) -> float | None:
    """A log probability; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value > _ROUNDING:
        return None
    return max(min(float(value), 0.0), _LEAST) if isfinite(value) else _LEAST
