"""What customers ask in the chat window again and again, in many words: topics with their wordings and answers, from `faq.toml`.

Some are traps: they differ by a number, a date, a place or a "not", and have other answers.
"""

import random
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

LIVE = 2
"""wordings of each topic, its last, that are played live only: nobody has asked in these words before"""


class Topic(msgspec.Struct, frozen=True):
    """One question. `says`: the words in which a model answers it."""

    asked: tuple[str, ...]
    """in the history"""
    live: tuple[str, ...]
    says: tuple[str, ...]


def file() -> str:
    """The answers as a simulated engine reads them."""
    return files("penstock.demo").joinpath("faq.toml").read_text("utf-8")


@cache
def topics() -> tuple[Topic, ...]:
    """The most popular first."""
    read: dict[str, Any] = tomllib.loads(file())
    return tuple(
        Topic((*each["to"][:-LIVE], *_styled(each["to"])), tuple(each["to"][-LIVE:]), tuple(each["say"])) for each in read["answers"]
    )


def pick(rng: random.Random) -> int:
    """The place of a topic, popular ones more often."""
    return rng.choices(range(len(topics())), _popularity())[0]


@cache
def _popularity() -> tuple[float, ...]:
    return tuple((rank + 1) ** -0.7 for rank in range(len(topics())))


def texts() -> list[str]:
    """All that the history compares by meaning: its questions, and their answers."""
    return [text for topic in topics() for text in (*topic.asked, *topic.says)]


def _styled(wordings: list[str]) -> tuple[str, ...]:
    """The first ones again, as polite and as hasty people type them."""
    polite, hasty = wordings[:2]
    return f"Hello, {polite} Thank you!", hasty.lower().rstrip("?")
