"""The letter of an answer to a question with options."""

import re

_LONGEST = 20_000
"""characters at the end of a question in which its options are looked for"""
_TAIL = 4_000
"""characters at the end of an answer in which it names one"""
_LINE = re.compile(r"^[ \t>*-]*\(?([A-Z])(?:[.)\]:]|\s-)\s*+(\S.*)$", re.MULTILINE)
_INLINE = re.compile(r"\(([A-Z])\)")
_ALONE = re.compile(r"[\s*_`\"'(\[]*([A-Za-z])[\s*_`\"')\].:]*")
_LEADING = re.compile(r"[\s*_`]*(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])[.):])(?=[\s*_`])")
_NAMED = re.compile(
    r"\b(?:option|choice|letter|answer|antwort|réponse|respuesta|opción|risposta)\b[\s*_`:]*+"
    r"(?:is|ist|est|es|would be|should be)?[\s*_`:]*+"
    r"(?:option|choice|letter)?[\s*_`:]*+[(\[\"'$]*(?:\\(?:boxed|text|mathrm)\{)*\(?([A-Z])\b(?!['\u2019])",
    re.IGNORECASE,
)


def options_of(question: str) -> dict[str, str]:
    """Letter -> text of the options that a question gives, in order from A; empty where it gives none."""
    shown = question[-_LONGEST:]
    _, *parts = _INLINE.split(shown)
    for given in (_LINE.findall(shown), zip(parts[::2], parts[1::2], strict=True)):
        found: dict[str, str] = {}
        for letter, text in given:
            if letter == chr(ord("A") + len(found)):
                found[letter] = " ".join(text.split())
        if len(found) > 1:
            return found
    return {}


def letter_of(answer: str, options: dict[str, str]) -> str | None:
    """The option that an answer chooses: alone, after words such as `the answer is` (the last time), at its beginning, or by the option's
    text. None where it chooses none."""
    answer = answer.strip()
    alone = _ALONE.fullmatch(answer)
    if alone is not None:
        return _known(alone[1].upper(), options)
    named: list[str] = [letter.upper() for letter in _NAMED.findall(answer[-_TAIL:]) if letter.isupper() and letter in options]
    if named:
        return named[-1]
    leading = _LEADING.match(answer + " ")
    if leading is not None:
        return _known(str(leading[leading.lastindex or 0]), options)
    plain = _plain(answer)
    matching = [letter for letter, text in options.items() if _plain(text) == plain]
    return matching[0] if len(matching) == 1 else None


def _known(letter: str, options: dict[str, str]) -> str | None:
    return letter if letter in options else None


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .*_`\"'")
