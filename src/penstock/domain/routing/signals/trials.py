"""Checks of one answer that need nothing but the answer: regular expression, JSON, schema, SQL, code. They may take long on odd input, so
they are run where they can be stopped."""

import re
from typing import Any, Literal

import msgspec

from penstock.domain.routing.agreement.literals import parse_python
from penstock.domain.routing.signals.forms import json_value

LONGEST = 100_000
"""characters of an answer that are looked at"""
EXACT = "exact"
"""setting of a `json_schema` that takes no fence around the JSON"""
_SHOWN = 160
_FENCED = re.compile(r"^[ \t]*```([\w+#.-]*)[^\n]*\n(.*?)\n?^[ \t]*```", re.DOTALL | re.MULTILINE)
_PYTHON = ("", "py", "python", "python3")
_STATEMENTS = "Query DML Create Drop Alter TruncateTable Merge Grant Use Set Describe Transaction Commit".split()


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check of one answer. `setting`: the pattern of `regex`, `module:function` of `python`, the address of `http`, or `EXACT`."""

    kind: Literal["regex", "json", "json_schema", "sql", "code", "python", "http"]
    answer: str
    question: str = ""
    setting: str = ""
    schema: dict[str, Any] | None = None
    tags: dict[str, str] = {}


class Passed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it. `score`: probability that the answer is right, where the check tells one."""

    passed: bool
    said: str = ""
    score: float | None = None


class TrialError(Exception):
    """The check itself cannot be made: what it needs is missing, or its own words are wrong."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def attempt(trial: Trial) -> Passed:
    """Runs a check of text. Raises `TrialError`. May take very long: patterns and schemas are as their authors wrote them."""
    if len(trial.answer) > LONGEST:
        return Passed(False, f"the answer is longer than {LONGEST:,} characters")
    match trial.kind:
        case "regex":
            return _matches(trial.setting, trial.answer)
        case "json":
            value = json_value(unfenced(trial.answer, "json"))
            return Passed(value is not None, "" if value is not None else "it is no JSON")
        case "json_schema":
            value = json_value(trial.answer if trial.setting == EXACT else unfenced(trial.answer, "json"))
            problem = "it is no JSON" if value is None else violation(value[0], trial.schema or {})
            return Passed(problem is None, problem or "")
        case "sql":
            return _parses_as_sql(unfenced(trial.answer, "sql"))
        case "code":
            return _parses_as_code(trial.answer)
    raise TrialError(f"`{trial.kind}` is not a check of text")


def unfenced(text: str, *languages: str) -> str:
    """What stands in the only fence of a text, where that names one of these languages or none; the text itself otherwise."""
    blocks = _FENCED.findall(text)
    return blocks[0][1] if len(blocks) == 1 and blocks[0][0].lower() in ("", *languages) else text


def violation(value: Any, schema: dict[str, Any]) -> str | None:
    """How a value breaks a JSON Schema, in words; None where it keeps it. References to other documents are not followed.

    Raises `TrialError` for a schema that is none.
    """
    from jsonschema.exceptions import SchemaError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
        problem = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except (SchemaError, Unresolvable, RecursionError, re.error) as error:
        reason = str(getattr(error, "message", "") or error).partition("\n")[0]
        raise TrialError(f"the schema is not one: {reason[:_SHOWN]}", "see https://json-schema.org") from None
    return None if problem is None else f"{problem.json_path}: {problem.message}"[:_SHOWN]


def _matches(pattern: str, text: str) -> Passed:
    try:
        found = re.search(pattern, text)
    except (re.error, RecursionError) as error:
        raise TrialError(f"`{pattern[:60]}` is no regular expression: {error}") from None
    return Passed(found is not None, "" if found is not None else "the pattern is not in it")


def _parses_as_sql(text: str) -> Passed:
    try:
        import sqlglot
    except ImportError:
        raise TrialError("SQL cannot be read here", "pip install 'penstock[checks]'") from None
    try:
        statements = sqlglot.parse(text)
    except (sqlglot.ParseError, sqlglot.TokenError, RecursionError) as error:
        return Passed(False, f"it is no SQL: {error}".partition("\n")[0][:_SHOWN])
    known = tuple(kind for name in _STATEMENTS if (kind := getattr(sqlglot.exp, name, None)) is not None)
    whole = [statement for statement in statements if statement is not None]
    good = bool(whole) and all(isinstance(statement, known) for statement in whole)
    return Passed(good, "" if good else "it is no SQL statement")


def _parses_as_code(text: str) -> Passed:
    blocks = _FENCED.findall(text) or [("", text)]
    if not any(code.strip() for _, code in blocks):
        return Passed(False, "there is no code")
    for language, code in blocks:
        name = language.lower()
        if name in _PYTHON:
            good = parse_python(code) is not None
        elif name == "json":
            good = json_value(code) is not None
        else:
            return Passed(False, f"there is no parser for `{language[:20]}` here")
        if not good:
            return Passed(False, f"it is no {'JSON' if name == 'json' else 'Python'}")
    return Passed(True)
