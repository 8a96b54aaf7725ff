"""The final answer within a longer one: what it says in a box, behind `####`, after "the answer is", or last."""

import re
from typing import Any

_LONGEST = 100_000
_TAIL = 4_000
"""characters at the end of a longer text in which its final answer is looked for"""
_SHORT = 120
_TAG = re.compile(r"<(?P<closes>/?)(?P<name>answer|final_answer)>|\[(?P<ends>/?)(?P<word>answer)\]", re.IGNORECASE)
_HASHES = re.compile(r"^[ \t]*####[ \t]*\n?([^\n]*)", re.MULTILINE)
_SAID = re.compile(
    r"(?:\b(?:answer|antwort|ergebnis|r\u00e9ponse|respuesta|risposta|resposta)\b[^.\n:=\uff1a]{0,60}?"
    r"(?:\b(?:is|are|be|equals|ist|lautet|est|es|\u00e8|\u00e9)\b|[:=\uff1a])|\u7b54\u6848(?:\u662f|\u4e3a)?)"
    r"[*_\s]*+[:\uff1a]?[*_\s]*+(?P<answer>[^\s*_][^\n]*)",
    re.IGNORECASE,
)
_HEADED = re.compile(r"^[#*_ \t]*(?:final |correct )?answer[*_: \t]*\n\s*(?P<answer>[^\n`]+?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[^\d\W])[.!](?:\s|$)|(?<=[\d)\]}\"'%$*`])[.!](?:\s|$)|[,;](?=\s+(?:because|since|as|so|which|while)\b)"
                           r"|\s(?=(?:because|since)\b)|\u3002")  # fmt: skip
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_SAYS = re.compile(r"(?:\b(?:is|are|was|were|be|equals|ist|lautet|est|es|\u00e8|\u00e9)|[:=\uff1a])[ \t$]*$", re.IGNORECASE)
"""what stands before words that a sentence gives as its answer, not as what it dwells on"""
_AMOUNT = (
    r"(?:[\w-]+ ){0,3}?(?:amount|angle|area|average|cost|count|degree|difference|distance|fraction|height|integer|length|maximum|mean"
    r"|median|minimum|number|odds|percent|percentage|perimeter|price|probability|product|profit|quotient|radius|ratio|remainder|slope|solution"
    r"|speed|sum|time|total|value|volume|weight|width)\b"
)
_ASKED_NUMBER = re.compile(
    r"\bhow (?:many|much|old|long|far|tall|fast|heavy|big|large)\b|\b(?:calculate|compute|evaluate)\b|\b(?:determine|find) how\b"
    rf"|\b(?:determine|find|what (?:is|was|will be|are|would be)) (?:{_AMOUNT}|[-\u2212$\\(]*\d)"
    r"|\bwhat (?:percent|percentage|number|fraction)\b|\bwie ?viele?\b|\bcombien\b|\bcu\u00e1nt[oa]s?\b|\bquant[oie]\b",
    re.IGNORECASE,
)
_ASKED_FACT = re.compile(
    r"\b(?:who|whom|whose|which|what|where|when|name|wer|welche[rsnm]?|was|wo|wann|qui|quel(?:le)?s?|o\u00f9|quand|qu\u00e9|cu\u00e1l|qui\u00e9n"
    r"|d\u00f3nde|cu\u00e1ndo)\b",
    re.IGNORECASE,
)
_LONGEST_QUESTION = 4_000
"""characters at the end of what was asked in which it is seen what it wants"""
_QUANTITY = re.compile(r"(?<![\w.^/])[-\u2212]?[$\u20ac\u00a3]?\d[\d,]*(?:\.\d+)?(?:\s?/\s?\d+)?%?(?![\w/])")
_EQUALS = re.compile(r"=\s*([-\u2212]?[$\u20ac\u00a3]?\d[\d,]*(?:\.\d+)?%?)\s*[^=\d]{0,40}$")
_REASONS = frozenset(
    {"reasoning", "reason", "explanation", "thought", "thoughts", "rationale", "steps", "analysis", "confidence", "thinking"}
)
_ANSWERS = ("answer", "final_answer", "finalAnswer", "result", "label")


def field_of(value: Any) -> Any | None:
    """The answer within an object that holds it beside its reasons, as a one-tuple; None where it is not such an object."""
    if not isinstance(value, dict) or not _REASONS & value.keys():
        return None
    found = [name for name in _ANSWERS if name in value]
    return (value[found[0]],) if len(found) == 1 and value.keys() <= _REASONS | {found[0]} else None


def said_of(text: str) -> str | None:
    """The final answer that a text names as such, as it is written there; None where it names none."""
    text = text[-_LONGEST:].strip()
    marked = _tagged(text) or _boxed(text) or _last([part.strip() for part in _HASHES.findall(text) if part.strip()])
    return marked if marked is not None else _said(text[-_TAIL:])


def shown_of(text: str, question: str | None = None) -> str | None:
    """What may be taken for the final answer of a text that names none, where the question asks for one: of a quantity the only bold words
    of its end, or the number that its last sentence ends with; of a fact the bold words that its end says it is. Other texts may end alike
    and say something else: a greeting, an offer, a term."""
    asked = None if question is None else question[-_LONGEST_QUESTION:]
    counts = asked is not None and _ASKED_NUMBER.search(asked) is not None
    bold = _bold(text)
    if bold is not None and (counts or asked is None) and any(sign.isdigit() for sign in bold):
        return bold
    said = _bold(text, said=True) if asked is None or counts or _ASKED_FACT.search(asked) else None
    return said if said is not None or not counts else _quantity(text)


def _tagged(text: str) -> str | None:
    """What stands in the last pair of tags; of tags that open one after the other the last one counts."""
    opened: dict[str, int] = {}
    found: list[str] = []
    for tag in _TAG.finditer(text):
        name = tag["name"].lower() if tag["name"] is not None else "[]"
        if not (tag["closes"] or tag["ends"]):
            opened[name] = tag.end()
        elif name in opened and (said := text[opened.pop(name) : tag.start()].strip()):
            found.append(said)
    return _last(found)


def _boxed(text: str) -> str | None:
    """What stands in the last box, whose braces are matched."""
    at = text.rfind("\\boxed{")
    if at < 0:
        return None
    start, level = at + len("\\boxed{"), 1
    for end in range(start, min(len(text), start + _TAIL)):
        level += {"{": 1, "}": -1}.get(text[end], 0)
        if not level:
            return text[start:end].strip() or None
    return None


def _said(text: str) -> str | None:
    """What follows the last "the answer is", up to the end of its sentence, or stands below the heading "Answer"."""
    places = [*_HEADED.finditer(text), *_SAID.finditer(text)]
    found = max(places, key=lambda place: place.start("answer"), default=None)
    if found is None or found["answer"].startswith("```"):
        return None
    answer = found["answer"]
    end = _SENTENCE_END.search(answer)
    answer = _undressed(answer if end is None else answer[: end.start()])
    return answer if answer and len(answer) <= _SHORT else None


def _bold(text: str, said: bool = False) -> str | None:
    """The only short bold words of the last paragraph. `said`: only where they follow a verb or sign that gives them as the answer."""
    paragraphs = [part for part in re.split(r"\n\s*\n", text[-_TAIL:]) if part.strip()]
    if not paragraphs:
        return None
    found = list(_BOLD.finditer(paragraphs[-1]))
    if len(found) != 1 or (said and _SAYS.search(paragraphs[-1][: found[0].start()]) is None):
        return None
    words = found[0][1]
    return _undressed(words) if len(words) <= _SHORT and not words.rstrip().endswith(":") else None


def _quantity(text: str) -> str | None:
    """The number that the last sentence ends with after an equals sign, or its only one."""
    lines = [line for line in text[-_TAIL:].splitlines() if line.strip()]
    if not lines:
        return None
    sentences = re.split(r"(?<=[^\d\s][.!?])\s+|(?<=\d[.!?])\s+(?=[A-Z])", lines[-1].strip())
    last = sentences[-1].rstrip(" .!*")
    equal = _EQUALS.search(last)
    if equal is not None:
        return equal[1]
    numbers = _QUANTITY.findall(last)
    return numbers[0] if len(numbers) == 1 else None


def _undressed(text: str) -> str:
    """Without emphasis and quotes around it, and the full stop."""
    text = text.strip().strip("*_").strip()
    if text[:1] == "`" == text[-1:] and len(text) > 1:
        text = text[1:-1]
    return text.rstrip(".").strip() if not text.endswith("...") else text


def _last(found: list[str]) -> str | None:
    return found[-1] if found else None
