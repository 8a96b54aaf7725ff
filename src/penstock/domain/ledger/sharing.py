"""Who bears what nobody used: a pot (idle, unused, unallocated, an other cost) shared by a stated rule, to the last unit."""

from collections.abc import Hashable, Mapping
from typing import Literal, TypeVar

from penstock.domain.units import split

Rule = Literal["separate", "proportional", "even"]
"""Nobody bears it, it stays a line of its own; those who used what it belongs to, in proportion to their use; or all who used it,
evenly."""

Key = TypeVar("Key", bound=Hashable)


def share_pot(amount: int, weights: Mapping[Key, int], rule: Rule) -> dict[Key, int]:
    """What each user bears: together exactly `amount`, whatever the order of the keys, or nothing at all: an empty mapping.

    Users are the keys with a weight (their use) above 0. Nobody bears a pot that is kept separate, nor one that has no user: it stays
    a line of its own. Raises `ValueError` for weights below 0.
    """
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("weights must be non-negative")
    users = sorted((key for key, weight in weights.items() if weight), key=repr)
    if rule == "separate" or not users:
        return {}
    each = [weights[key] if rule == "proportional" else 1 for key in users]
    return dict(zip(users, split(amount, each), strict=True))
