"""Questions that people ask a help desk, made by rule: in many wordings, often again, and with traps that differ in one word."""

from collections.abc import Iterator
from hashlib import blake2b
from random import Random
from typing import Final

import numpy as np

from penstock.ports.embedder import Vectors

_ASKED: Final = (
    "how do I {} my {}", "how can I {} the {}", "what is the way to {} my {}", "I want to {} my {}, how", "which steps {} a {}",
    "explain how to {} my {} step by step", "help me to {} the {} today",
)  # fmt: skip
_VERBS: Final = (("close", "shut"), ("open",), ("cancel", "terminate"), ("change", "modify"), ("print", "hardcopy"), ("rename", "retitle"))
"""words in one group mean the same"""
_THINGS: Final = (
    ("account",), ("subscription", "abonnement"), ("invoice", "bill"), ("password", "passphrase"), ("address",), ("parcel", "package"),
    *[(f"{start}{end}",) for end in ("card", "plan", "desk", "lux") for start in ("Alba", "Bero", "Cinta", "Dova", "Elmo", "Fira", "Guro")],
)  # fmt: skip
_CITIES: Final = ("London", "Paris", "Rome", "Oslo", "Lisbon", "Vienna", "Berlin", "Madrid")
_UNITS: Final = ("miles", "pounds", "gallons", "inches")
_TRAVEL: Final = ("train from {} to {}", "a train that goes from {} to {}", "show me trains from {} to {}")
_DATES: Final = ("is the office open on {} May", "will the office be open on {} May", "on {} May, is the office open")
_SAFE: Final = ("is it safe to eat {}", "is it really safe to eat {}", "is it not safe to eat {}", "why isn't it safe to eat {}")
_FOODS: Final = ("mussels", "sushi", "mushrooms", "tofu", "oysters", "acorns", "nettles")
_DIMENSIONS: Final = 256

Question = tuple[str, str]
"""prompt and label: two questions may share an answer where their labels are equal"""


def stream(requests: int, seed: int) -> Iterator[Question]:
    """Popular questions come often, others seldom."""
    random = Random(seed)
    for _ in range(requests):
        kind = random.random()
        if kind < 0.55:
            verb, thing = _VERBS[_popular(random, len(_VERBS))], _THINGS[_popular(random, len(_THINGS))]
            yield random.choice(_ASKED).format(random.choice(verb), random.choice(thing)), f"desk:{verb[0]} {thing[0]}"
        elif kind < 0.7:
            start, end = random.sample(_CITIES, 2)
            yield random.choice(_TRAVEL).format(start, end), f"travel:{start} {end}"
        elif kind < 0.8:
            amount, unit = 2 + _popular(random, 30), random.choice(_UNITS)
            yield random.choice(("convert {} {}", "please convert {} {} for me")).format(amount, unit), f"convert:{amount} {unit}"
        elif kind < 0.9:
            day = 1 + _popular(random, 31)
            yield random.choice(_DATES).format(day), f"date:{day}"
        else:
            at, food = _popular(random, len(_SAFE)), _FOODS[_popular(random, len(_FOODS))]
            yield _SAFE[at].format(food), f"safe:{at // 2} {food}"


def _popular(random: Random, count: int) -> int:
    return min(int(count * random.random() ** 2), count - 1)


def bag(text: str) -> Vectors:
    """A vector of the words of a text, for tests that need no model: what differs in one word of eight is near."""
    vector = np.zeros(_DIMENSIONS, np.float32)
    for word in text.casefold().replace(",", "").split():
        found = int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "little")
        vector[found % _DIMENSIONS] += (1.0 if len(word) > 3 else 0.4) * (1 if found >> 31 else -1)
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
