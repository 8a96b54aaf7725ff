"""How demanding a request looks: a score from 0 to 1 by the keyword heuristic, feature by feature and explainable.

It reads the request, not the answer, and knows English task words only. What it is worth is told in docs/explanation/complexity.md.
Points are thousandths, so that a score on a cut-off is exactly on it.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from penstock.domain.dialects.content import last_user_text, text_of

FAST_BELOW = 0.3
"""scores below are for a fast tier; 0.3 itself is balanced"""
FRONTIER_FROM = 0.7
"""scores from here on are for the strongest tier"""

_HEAD, _TAIL, _SYSTEM = 6000, 2000, 1000
_TURNS_LOOKED_AT = 100
_BASE = 150
_WORD = re.compile(r"[a-z]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LISTED_STEP = re.compile(r"(?:^|\n)[ \t]*+(?:\d+[.)]|step \d+|[-*]) ?\S")

_SIMPLE_WORDS = frozenset({
    "categorise", "categorize", "classify", "classification", "detect", "extract", "identify", "label", "lookup",
    "paraphrase", "rephrase", "rewrite", "route", "sentiment", "spell", "spelling", "tag", "translate", "translation",
    "triage",
})  # fmt: skip
_SIMPLE_PHRASES = (
    "what is", "what are", "what's", "who is", "when is", "when does", "when do", "where is", "where can i", "how do i",
    "how can i", "how much is", "how much does", "do you", "can i ", "is there", "yes or no", "true or false",
    "one word", "one sentence", "in short", "define ",
)  # fmt: skip
_HARD_WORDS = frozenset({
    "architect", "debug", "debugging", "deadlock", "derive", "disprove", "formalise", "formalize", "optimise",
    "optimize", "proof", "prove", "refactor", "theorem", "vulnerabilities", "vulnerability",
})  # fmt: skip
_HARD_PHRASES = (
    "root cause", "race condition", "memory leak", "time complexity", "trade-off", "tradeoff", "from first principles",
    "edge cases",
)  # fmt: skip
_DEMANDING_WORDS = frozenset({
    "analyse", "analyze", "analysis", "assess", "compare", "contrast", "critique", "design", "diagnose", "evaluate",
    "explain", "fix", "forecast", "hypothesis", "implement", "implications", "investigate", "justify", "migrate",
    "propose", "recommend", "simulate", "solve", "strategy", "synthesise", "synthesize", "troubleshoot", "write",
})  # fmt: skip
_MATHS_WORDS = frozenset({
    "algebra", "bayes", "calculus", "combinatorics", "converge", "converges", "derivative", "determinant", "divisible",
    "eigenvalue", "equation", "equations", "geometry", "inequality", "integer", "integers", "integral", "irrational",
    "lemma", "logarithm", "matrix", "modulo", "polynomial", "prime", "primes", "probability", "quadratic",
    "theorem", "variance", "vector",
})  # fmt: skip
_MATHS_PHRASES = (
    "\\frac", "\\int", "\\sum", "\\sqrt", "$$", "square root", "x^", "n^2", "standard deviation",
)  # fmt: skip
_CODE_PHRASES = (
    "```", "traceback (most recent", "#include", "public static", "();", "):\n", "=> {", "};", "select * from", "</",
    "def ", "function(", "stack trace", "segmentation fault", "nullpointerexception",
)  # fmt: skip
_LANGUAGES = frozenset({
    "bash", "golang", "haskell", "java", "javascript", "kotlin", "php", "python", "regex", "ruby", "rust", "scala",
    "sql", "swift", "typescript",
})  # fmt: skip
_STEP_PHRASES = (
    "step by step", "step-by-step", "multi-step", "and then", "after that", "finally,", "first,", "for each of",
    "at least three",
)  # fmt: skip
_FORMAT_PHRASES = (
    "json", "yaml", "csv", "markdown table", "table with", "bullet point",
)  # fmt: skip


def complexity(request: dict[str, Any]) -> float:
    """The score in [0, 1] of a parsed request of any dialect: `features` added up and clipped. The same call scores the same in each."""
    return score_of(features(request))


def score_of(points: Mapping[str, int]) -> float:
    """The score in [0, 1] that points of features make together."""
    return min(max(sum(points.values()), 0), 1000) / 1000


def features(request: dict[str, Any]) -> dict[str, int]:
    """Points (thousandths, may be negative) by feature; what `complexity` is made of. At most 8,000 characters of text are read."""
    whole = last_user_text(request)
    text = (whole if len(whole) <= _HEAD + _TAIL else f"{whole[:_HEAD]}\n{whole[-_TAIL:]}").lower()
    words = set(_WORD.findall(text))
    turns, system = _conversation(request)
    demanding = _demanding(text, words)
    return {
        "base": _BASE,
        "length": min(4 * isqrt(len(whole)), 200),
        "demanding_task": demanding,
        "simple_task": 0 if demanding > 250 else -_simple(text, words, system),
        "code": _code(text, words),
        "maths": _maths(text, words),
        "steps": _steps(text),
        "questions": min(max(text.count("?") - 1, 0) * 50, 150),
        "conversation": min(max(turns - 3, 0) * 20, 100),
        "tools": 100 if request.get("tools") or request.get("functions") else 0,
        "format": _format(request, text),
    }


def _demanding(text: str, words: set[str]) -> int:
    """250 for the first demanding word, 400 when one is hard, 100 for each further one; at most 600."""
    hard = len(words & _HARD_WORDS) + sum(phrase in text for phrase in _HARD_PHRASES)
    found = hard + len(words & _DEMANDING_WORDS)
    if not found:
        return 0
    return min((400 if hard else 250) + 100 * (found - 1), 600)


def _simple(text: str, words: set[str], system: str) -> int:
    """100 for one sign of a simple task, 200 for more. The system prompt counts: it names a simple job when that is the only job."""
    found = len(words & _SIMPLE_WORDS) + sum(phrase in text for phrase in _SIMPLE_PHRASES)
    found += len(_SIMPLE_WORDS.intersection(_WORD.findall(system)))
    return min(found, 2) * 100


def _code(text: str, words: set[str]) -> int:
    if any(phrase in text for phrase in _CODE_PHRASES):
        return 200
    return 100 if words & _LANGUAGES else 0


def _maths(text: str, words: set[str]) -> int:
    """200 for the language of mathematics, 150 for a question over three or more numbers."""
    if words & _MATHS_WORDS or any(phrase in text for phrase in _MATHS_PHRASES):
        return 200
    return 150 if ("how many" in text or "how much" in text or "calculate" in words) and len(_NUMBER.findall(text)) >= 3 else 0


def _steps(text: str) -> int:
    """150 for a task of several steps: said so in words, or three or more listed items."""
    if any(phrase in text for phrase in _STEP_PHRASES):
        return 150
    return 150 if len(_LISTED_STEP.findall(text)) >= 3 else 0


def _format(request: dict[str, Any], text: str) -> int:
    """100 for a schema that the answer must satisfy, 50 for a form asked for in words."""
    wanted = request.get("response_format")
    if wanted is None and ("text" in request or "output_config" in request):
        holder = request.get("text") or request.get("output_config")
        wanted = holder.get("format") if isinstance(holder, dict) else None
        if isinstance(wanted, dict) and wanted.get("type") == "text":
            wanted = None
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return 100
    return 50 if isinstance(wanted, dict) or any(phrase in text for phrase in _FORMAT_PHRASES) else 0


def _conversation(request: dict[str, Any]) -> tuple[int, str]:
    """User turns among the latest messages, and the beginning of the system prompt in lower case."""
    messages = request.get("messages") or request.get("input")
    apart = text_of(request.get("system") or request.get("instructions"))[:_SYSTEM].lower()
    if not isinstance(messages, list) or not messages:
        return 1, apart
    turns = sum(isinstance(message, dict) and message.get("role") == "user" and _says(message) for message in messages[-_TURNS_LOOKED_AT:])
    first = messages[0]
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        return turns, text_of(first.get("content"))[:_SYSTEM].lower()
    return turns, apart


def _says(message: dict[str, Any]) -> bool:
    """Whether a user's turn is more than results of tools, which stand in such turns in Anthropic's dialect."""
    content = message.get("content")
    if not isinstance(content, list) or not content:
        return True
    return any(not isinstance(part, dict) or part.get("type") != "tool_result" for part in content)
