"""The canonical form of an answer, in which answers that say the same are equal.

Short answers have a form in which equality is certain: JSON, a number, an option's letter, code, a value, a few words. Of longer text
only equality is certain; whether two different ones say the same is asked of `similarity.answers.agreement`.
"""

import ast
import re
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from penstock.domain.routing.agreement.final import field_of, said_of, shown_of
from penstock.domain.routing.agreement.keys import about_code, answer_key
from penstock.domain.routing.agreement.latex import has_latex, without_latex
from penstock.domain.routing.agreement.literals import json_of, literal_of, parse_python, value_key
from penstock.domain.routing.agreement.numbers import implied, number_of
from penstock.domain.routing.agreement.options import letter_of, options_of
from penstock.domain.routing.similarity.answers import agreement

Form = Literal["json", "option", "number", "boolean", "value", "code", "words", "text"]
"""`text` is longer prose: of different keys nothing follows"""

_LONGEST = 100_000
"""characters of an answer that are looked into; of a longer one only equality is seen"""
_LONGEST_CODE = 20_000
_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
_LONGEST_QUESTION = 2_000
"""characters at the end of what was asked in which it is seen to want a yes or no"""
_SHORT = 12
"""words on one line that are an answer without more"""
_SAME, _DIFFERENT = 0.8, 0.2
_FENCED = re.compile(r"^[ \t]*```([\w+#.-]*)[^\n]*\n(.*?)\n?^[ \t]*```", re.DOTALL | re.MULTILINE)
_BARE_CODE = re.compile(r"\s*(?:@\w|def \w+\s*\(|class \w+[(:]|import \w|from \w[\w.]* import |async def )")
_POLAR = re.compile(r"\W*(yes|no|true|false)\b(?!\s+(?:problem|worr|doubt|matter|need|wonder|longer|more|less|one\b))", re.IGNORECASE)
_POLAR_QUESTION = re.compile(
    r"(?:^|[.!?:\n][ \t]*)(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had)\b[^?\n]*\?\s*+$"
    r"|\btrue or false\b|\byes or no\b|\b(?:yes/no|true/false)\b",
    re.IGNORECASE,
)
_POLARITY = {"yes": "true", "true": "true", "no": "false", "false": "false"}


class Canonical(msgspec.Struct, frozen=True):
    """An answer in canonical form: of one form, answers say the same where their keys are equal."""

    form: Form
    key: str
    text: str
    """the answer itself, to be compared where the form does not decide"""


def canonical(text: str, question: str | None = None) -> Canonical:
    """The canonical form of an answer. `question`: what was asked, for its options, units, code, and whether it wants a number.

    Raises nothing, whatever the answer is; an answer beyond 100,000 characters is not looked into.
    """
    plain = text.strip()
    if len(plain) > _LONGEST:
        return Canonical("text", blake2b(plain.encode(errors="surrogatepass"), digest_size=16).hexdigest(), text)
    form, key = _form(plain, question)
    return Canonical(form, key, text)


def same(a: Canonical, b: Canonical, similarity: float | None = None) -> bool | None:
    """Whether two answers to one question say the same; None: it cannot be told. Symmetric in `a` and `b`.

    `similarity`: cosine of their embeddings, None: unknown; it matters between longer texts.
    """
    if not a.key or not b.key:
        return None
    if a.form == b.form and a.key == b.key:
        return True
    if not {a.form, b.form} & {"words", "text"}:
        return False
    if max(len(a.text), len(b.text)) > _LONGEST:
        return None
    probability = agreement(a.text, b.text, similarity)
    if probability is None or _DIFFERENT < probability < _SAME:
        return None
    return probability >= _SAME


def digest(answer: Canonical) -> str | None:
    """16 hex digits that are equal for answers of one form and key; None for an empty answer."""
    if not answer.key:
        return None
    return blake2b(f"{answer.form}\n{answer.key}".encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _form(text: str, question: str | None) -> tuple[Form, str]:
    if not text:
        return "text", ""
    options = options_of(question) if question is not None else {}
    if options:
        letter = letter_of(text, options) or letter_of(said_of(text) or "", options)
        if letter is not None:
            return "option", letter
    value = json_of(text)
    if value is not None and isinstance(value[0], dict | list):
        inner = field_of(value[0])
        return ("json", value_key(value[0])) if inner is None else _bare(_written(inner[0]), question)
    said = said_of(text)
    if said is not None:
        return _bare(said, question)
    code = _code(text)
    if code is not None:
        return "code", code
    short = len(text.split()) <= _SHORT and ("\n" not in text or about_code(question))
    bare = _bare(text, question) if short else None
    if bare is not None and bare[0] != "words":
        return bare
    shown = shown_of(text, question)
    return _bare(shown, question) if shown is not None else bare or ("text", " ".join(text.split()))


def _bare(text: str, question: str | None) -> tuple[Form, str]:
    """Form and key of a bare final answer; a unit that the question does not imply stays with its number."""
    key = answer_key(text, question)
    if key is None:
        return "text", ""
    exact = about_code(question)
    if not exact:
        number = number_of(without_latex(text) if has_latex(text) else text)
        if number is not None:
            unit = None if number.unit is None or (question is not None and implied(number.unit, question)) else number.unit
            return "number", number.key if unit is None else f"{number.key} {unit}"
        if key in _POLARITY:
            return "boolean", _POLARITY[key]
        polar = _POLAR.match(text)
        if polar is not None and question is not None and _POLAR_QUESTION.search(question[-_LONGEST_QUESTION:]):
            return "boolean", _POLARITY[polar[1].lower()]
    value = literal_of(text)
    if value is not None and not isinstance(value[0], str):
        return ("json" if isinstance(value[0], dict | list) else "value"), key
    return ("value" if exact else "words"), key


def _code(text: str) -> str | None:
    """The key of the code that an answer brings, the same for Python that differs in layout and comments; None where it brings none."""
    blocks = _FENCED.findall(text)
    if not blocks:
        return _python(text) if _BARE_CODE.match(text) else None
    language, code = blocks[0][0].lower(), "\n".join(block for _, block in blocks)
    parsed = _python(code) if language in ("", "python", "py", "python3") else None
    return parsed if parsed is not None else "\n".join(" ".join(line.split()) for line in code.splitlines() if line.strip())


def _python(code: str) -> str | None:
    tree = parse_python(code) if len(code) <= _LONGEST_CODE else None
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    try:
        return ast.dump(tree, annotate_fields=False)
    except RecursionError:
        return None


def _written(value: Any) -> str:
    return value if isinstance(value, str) else value_key(value)
