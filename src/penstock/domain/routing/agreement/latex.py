"""Taking LaTeX off short answers, so that one written in it is found to be the same as a plain one."""

import re

_LONGEST = 2_000
_WRAPPED = re.compile(r"\s*(?:\\\((.*)\\\)|\\\[(.*)\\\]|\$\$(.*)\$\$|\$(?!\s*[\d.,]+\s*$)([^$]+)\$)\s*+\.?\s*+", re.DOTALL)
_NAMED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox|emph|boxed|fbox)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"(\d*)\s*\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|(\d)\s*(\d))")
_ROOT = re.compile(r"\\sqrt\s*(?:\{([^{}]*)\}|(\d))")
_DEGREES = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ)")
_POWER = re.compile(r"\^\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\[,!;: ]|\\q?quad\b|\\left\b|\\right\b|\{,\}|~")
_SIMPLE = re.compile(r"\w+")
_WORDS = {
    r"\cdot": "*", r"\times": "*", r"\div": "/", r"\pi": "pi", r"\infty": "inf", r"\pm": "+-", r"\degree": "°", r"\%": "%", r"\$": "$",
    r"\{": "{", r"\}": "}", r"\leq": "<=", r"\geq": ">=", r"\le": "<=", r"\ge": ">=",
}  # fmt: skip
_WORD = re.compile("|".join(re.escape(word) + (r"(?![A-Za-z])" if word[1].isalpha() else "") for word in _WORDS))


def has_latex(text: str) -> bool:
    return "\\" in text or "^{" in text or "{,}" in text or ("$" in text and _WRAPPED.fullmatch(text) is not None)


def without_latex(text: str) -> str:
    """A short answer in plain signs: `\\frac{1}{2}` as `1/2`, `\\text{cm}` as `cm`, `90^\\circ` as `90°`."""
    if len(text) > _LONGEST:
        return text
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        text = next(part for part in wrapped.groups() if part is not None)
    text = _SPACING.sub(lambda found: "" if found[0] in ("{,}", r"\left", r"\right", r"\!", r"\,") else " ", text)
    for _ in range(4):  # nested ones from the inside on
        before = text
        text = _NAMED.sub(r" \1", text)
        text = _FRACTION.sub(_fraction, text)
        text = _ROOT.sub(lambda found: f"sqrt({found[1] or found[2]})", text)
        if text == before:
            break
    text = _DEGREES.sub("\u00b0", text)
    text = _POWER.sub(lambda found: f"^{found[1]}" if _SIMPLE.fullmatch(found[1]) else f"^({found[1]})", text)
    return _WORD.sub(lambda found: _WORDS[found[0]], text).strip()


def _fraction(found: re.Match[str]) -> str:
    above, below = (found[2], found[3]) if found[2] is not None else (found[4], found[5])
    whole = f"{found[1]} " if found[1] else ""
    return f"{whole}{_grouped(above)}/{_grouped(below)}"


def _grouped(part: str) -> str:
    part = part.strip()
    return part if re.fullmatch(r"[\w.]+", part) else f"({part})"
