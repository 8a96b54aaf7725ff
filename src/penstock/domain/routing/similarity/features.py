"""Two questions beside each other as numbers for the judge, and the words in which they differ."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log
from typing import Final

import msgspec

from penstock.domain.routing.similarity.evidence import Neighbour
from penstock.domain.routing.similarity.guards import GUARDS, Difference, compare, known_words
from penstock.domain.routing.similarity.traits import Traits, traits

NAMES: Final = (
    "distance", "far", "very_near", "missing", "extra", "swapped", "same_words", "slips", "overlap", "functions_differ", "asking_differs",
    *GUARDS, "margin", "alone", "votes", "rivals", "better_of_answer", "rank", "backing", "short", "longer", "rare_missing", "rare_extra",
    "crowd",
)  # fmt: skip
"""what `Pair.numbers` are, in their order"""
_MOST_WORDS: Final = 8
_CLOSE: Final = 0.08
"""difference of cosines within which a neighbour with another answer is a rival"""
_REACH: Final = 0.15
"""so far behind the nearest a neighbour still has a vote"""


class Pair(msgspec.Struct, frozen=True):
    """A question beside one neighbour."""

    neighbour: Neighbour
    numbers: tuple[float, ...]
    """by `NAMES`"""
    words: tuple[int, ...]
    """hashes of words in which they differ"""
    difference: Difference


def pairs(text: str, neighbours: Sequence[Neighbour]) -> list[Pair]:
    """One for each neighbour; these are the nearest first, and at least one."""
    mine = traits(text)
    others = [traits(each.text) for each in neighbours]
    around = _Neighbourhood(neighbours)
    return [_pair(at, mine, other, compare(mine, other), around) for at, other in enumerate(others)]


class _Neighbourhood:
    """What the neighbours say together: how near each answer comes, and how many of them give it."""

    def __init__(self, neighbours: Sequence[Neighbour]) -> None:
        self.all = neighbours
        self.nearest: dict[str, float] = {}
        self.votes: dict[str, float] = {}
        self.count: dict[str, int] = {}
        first = neighbours[0].similarity
        for each in neighbours:
            weight = max(each.similarity - first + _REACH, 0.0)
            self.nearest[each.answer] = max(self.nearest.get(each.answer, -1.0), each.similarity)
            self.votes[each.answer] = self.votes.get(each.answer, 0.0) + weight
            self.count[each.answer] = self.count.get(each.answer, 0) + 1
        self.all_votes = sum(self.votes.values())
        self.crowd = first - neighbours[-1].similarity

    def margin(self, answer: str) -> float | None:
        """How much nearer this answer comes than any other one; None where there is no other."""
        rival = max((near for other, near in self.nearest.items() if other != answer), default=None)
        return None if rival is None else self.nearest[answer] - rival

    def rivals(self, answer: str, near: float) -> int:
        return sum(each.answer != answer and each.similarity > near - _CLOSE for each in self.all)


def _pair(at: int, mine: Traits, other: Traits, difference: Difference, around: _Neighbourhood) -> Pair:
    me = around.all[at]
    near, answer = me.similarity, me.answer
    missing, extra, guards = difference.missing, difference.extra, difference.guards
    words = len(mine.bag | other.bag)
    margin = around.margin(answer)
    numbers = (
        log(1.0 - min(near, 1.0) + 0.004),
        max(0.0, 0.8 - near) * 5,
        max(0.0, near - 0.95) * 20,
        min(len(missing), 4) / 2,
        min(len(extra), 4) / 2,
        1.0 if len(missing) == 1 and len(extra) == 1 else 0.0,
        0.0 if missing or extra else 1.0,
        float(min(difference.slips, 2)),
        difference.shared / words if words else 1.0,
        min(len(mine.functions ^ other.functions), 6) / 3,
        1.0 if mine.asking != other.asking else 0.0,
        *[1.0 if guard in guards else 0.0 for guard in GUARDS],
        2.0 if margin is None else max(min(margin * 8, 2.0), -2.0),
        1.0 if margin is None else 0.0,
        around.votes[answer] / around.all_votes if around.all_votes else 0.0,
        min(around.rivals(answer, near), 5) / 2.5,
        min((around.nearest[answer] - near) * 8, 2.0),
        min(at, 5) / 2.5,
        min(around.count[answer] - 1, 4) / 2,
        1.0 if mine.length <= 4 else 0.0,
        max(min(log((mine.length + 1) / (other.length + 1)), 1.0), -1.0),
        _rare(missing),
        _rare(extra),
        around.crowd,
    )
    return Pair(me, numbers, tuple([hashed(word) for word in (*missing[:_MOST_WORDS], *extra[:_MOST_WORDS])]), difference)


def _rare(words: Sequence[str]) -> float:
    """1 where one of the words is no common one: a name, a number, a term."""
    known = known_words()
    return 0.0 if all(word in known for word in words) else 1.0


@lru_cache(maxsize=16_384)
def hashed(word: str) -> int:
    """A word as 32 bits."""
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little")
