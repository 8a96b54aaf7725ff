"""Which tier a complexity score asks for, and how a tier's model is named in evidence."""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import ge, gt, le, lt

import msgspec

_CONDITION = re.compile(r"\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


class Condition(msgspec.Struct, frozen=True):
    """A comparison of the complexity score with a bound."""

    sign: str
    bound: float

    def holds(self, score: float) -> bool:
        return _HOLDS[self.sign](score, self.bound)


class TierLaw(msgspec.Struct, frozen=True):
    """A tier as the choice sees it: its name, and when it is asked for (None: when no other is)."""

    name: str
    condition: Condition | None = None


def parse_condition(text: str) -> Condition:
    """`> 0.7`, `< 0.3`, `>= 0.5`. Raises `ValueError` for anything else and for bounds outside [0, 1]."""
    match = _CONDITION.fullmatch(text)
    if match is None or float(match[2]) > 1:
        raise ValueError(f"`{text}` is not a condition on complexity: write a comparison with a number from 0 to 1, such as `> 0.7`")
    return Condition(match[1], float(match[2]))


def choose_tier(tiers: Sequence[TierLaw], score: float) -> str:
    """The tier for a score, from tiers in order cheap to dear.

    The first tier with a condition that holds; else the first without a condition; else the dearest. Raises `ValueError` when
    there are no tiers.
    """
    unconditional: str | None = None
    for tier in tiers:
        if tier.condition is None:
            unconditional = unconditional or tier.name
        elif tier.condition.holds(score):
            return tier.name
    if not tiers:
        raise ValueError("there is no tier to choose from")
    return unconditional or tiers[-1].name


def edition(model: str, version: str | None) -> str:
    """A model as evidence names it: `name@version`, by the name that its upstream knows; the name alone where no version is told."""
    return model if version is None else f"{model}@{version}"
