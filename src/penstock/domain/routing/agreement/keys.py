"""The key of a bare final answer: answers that say the same have the same key.

What only dresses an answer is left out: money signs, thousands, units, LaTeX, quotes, the case of words of prose, the full stop. For exams
that is right, because a question asks for one quantity; an answer within a text is treated with more care, see `canonical`.
"""

import re

from penstock.domain.routing.agreement.latex import has_latex, without_latex
from penstock.domain.routing.agreement.literals import literal_of, value_key
from penstock.domain.routing.agreement.numbers import clock_of, number_of

_LONGEST = 20_000
_ROUNDS = 4
"""an answer may be wrapped in another form, such as a number within dollar signs within quotes"""
_PROSE = re.compile(r"[^\W\d_](?:[\w'\u2019,;:()&/-]|[ ](?=\S))*[.!]?")
_CODE = re.compile(r"^[ \t]*(?:def |class |import |from \w+ import |assert )|```|\[PYTHON\]", re.MULTILINE)
_EXPRESSION = re.compile(r"[\s\w.()^*/+=<>,{}\[\]|-]*")
_OPERATOR = re.compile(r"[*^/+=<>]|sqrt|\bpi\b")


def about_code(question: str | None) -> bool:
    """Whether a question shows code: then case, spaces and signs of an answer are part of it."""
    return question is not None and _CODE.search(question) is not None


def answer_key(raw: str, question: str | None = None) -> str | None:
    """The key of a bare answer; None for one that says nothing. The key of a key is that key.

    `$129,200`, `129200.00` and `129,200 dollars` have one key, and so have `\\frac{3}{4}`, `3/4` and `0.75`, `'ab'` and `ab`, `["a"]` and
    `['a']`. A text in quotes that would be a number, a list or a truth value without them keeps its quotes. `question` matters where it
    shows code: then nothing is left out but quotes.
    """
    exact, key = about_code(question), raw.strip()
    for _ in range(_ROUNDS):
        before, key = key, _key(key, exact)
        if key == before:
            break
    return key or None


def _key(text: str, exact: bool) -> str:
    if len(text) > _LONGEST:
        return text if exact else " ".join(text.split())
    plain = without_latex(text) if not exact and has_latex(text) else text
    if not exact and (clock := clock_of(plain)) is not None:
        return clock
    if not exact and (number := number_of(plain)) is not None:
        return number.key
    value = literal_of(plain) or (literal_of(plain.replace("\n", "\\n")) if exact else None)
    if value is None or (value[0] is None and not exact):
        return _text_key(plain, exact)
    return _literal_key(value[0], exact)


def _literal_key(value: object, exact: bool) -> str:
    if not isinstance(value, str):
        return value_key(value)
    quoted = repr(value)
    inner = quoted[1:-1]
    if inner != inner.strip() or not inner or literal_of(inner) is not None or (not exact and number_of(inner)):
        return quoted
    return _text_key(inner, exact)


def _text_key(text: str, exact: bool) -> str:
    """The key of a text: words of prose lose their case and the full stop, expressions their spaces."""
    if exact:
        return text.replace("\n", "\\n")
    text = " ".join(text.split())
    if _PROSE.fullmatch(text):
        return " ".join(_folded(word) for word in text.rstrip(".!").split(" "))
    if _EXPRESSION.fullmatch(text) and _OPERATOR.search(text):
        return "".join(text.split())
    return text


def _folded(word: str) -> str:
    """A word without its case, unless the case is odd: `AbB` is a name of its own."""
    return word.lower() if word.islower() or word.isupper() or word.istitle() or word[1:].islower() else word
