"""Answers that a simulated engine knows: from a file that says what is told to which questions.

```toml
[[answers]]
to  = ["What are your opening hours?", "When do you open?"]
say = ["We open at 8:00.", "From 8:00 on."]

[[answers]]
to         = ["Label this ticket: my bill doubled"]
say        = ["bill"]
wrong      = ["other", "quality"]     # what a model says that is not up to it, where the engine has a `skill`
difficulty = 0.4                      # 0 to 1; without it, one that follows from the words
```

An answer is given when the words of one of its questions stand in the user's last turn, one after the other; the longest question counts.
Where `say` has several texts, the request alone decides which one it is, as a model does not always choose the same words.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

_WORD = re.compile(r"\w+")


class KnownError(ValueError):
    """The file cannot be used; `hint` says what would be."""

    hint = 'write it as [[answers]] with to = ["a question", ...] and say = ["an answer", ...]'


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said to some questions."""

    to: tuple[str, ...]
    say: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    """what a model says that is not up to the question; none: every model knows it"""
    difficulty: Annotated[float, Meta(ge=0, le=1)] | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    answers: tuple[Answer, ...]


class Known:
    """What a file says."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        found = {words_of(question): answer for answer in answers for question in answer.to}
        self._answers = sorted(found.items(), key=lambda each: -len(each[0]))

    def answer_to(self, asked: str) -> Answer | None:
        """What may be said to a text, in no order of preference; None: it is not known."""
        words = words_of(asked)
        return next((answer for question, answer in self._answers if question in words), None)


@lru_cache(maxsize=8)
def known_answers(path: str) -> Known:
    """The answers of a file. Raises `KnownError`."""
    try:
        with Path(path).open("rb") as file:
            read = msgspec.convert(tomllib.load(file), _File)
    except OSError as error:
        raise KnownError(f"the answers of the simulated engine cannot be read: {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise KnownError(f"the answers of the simulated engine cannot be understood: {path}: {error}") from None
    if any(not answer.say or not all(map(_WORD.search, answer.to)) for answer in read.answers):
        raise KnownError(f"{path}: every answer needs questions with words in them, and something to say")
    return Known(read.answers)


def last_turn(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last message where the user sent it, else none."""
    content = messages[-1].get("content") if messages and messages[-1].get("role") == "user" else None
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def words_of(text: str) -> str:
    """Its words in small letters, a space before and after each."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
