"""Differences between two questions that change the answer whatever their vectors say: deterministic, in microseconds.

`python -m bench.semcache STREAM.jsonl --mode zero-trust`, beside `--threshold 0.95`, shows what they are worth.
"""

from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from penstock.domain.routing.similarity.traits import Traits, is_slip
from penstock.domain.routing.similarity.wording import loosened, normalised


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """English words of the BERT vocabulary (Apache-2.0), in lower case: what is among them is no slip for another of them."""
    return frozenset(files("penstock.domain.routing.similarity").joinpath("words.txt").read_text("utf-8").split())


_TELLING: Final = frozenset(
    "all some any every each both my your his her our their mine yours he she they we him them us was were will in out off up down over "
    "under before after between of to from with by more less than only owe am should must".split()
)
"""words of grammar that change what is asked, in their order; the others mostly change how"""
STRICT: Final = ("small words", "spelling", "signs", "capitals")
"""differences that only zero-trust takes seriously: words of grammar (whose, how many, where, when), a slip that may be another word, signs
that are no words (`A+`, an emoji), what sets texts apart that are the same words otherwise (a capital, a question mark)"""
GUARDS: Final = ("numbers", "negation", "antonyms", "spans", "order", "case", "language", "asking")
"""the differences that change an answer, by name"""
_SAME_ASKING: Final = {"which": "what", "whom": "who", "whose": "who"}
_MOST_PAIRS: Final = 64
"""pairs of words that are looked at for slips; where more differ, the texts are far from each other anyway"""


class Difference(msgspec.Struct, frozen=True):
    """How two texts differ in words; words that differ by a slip of the fingers are the same."""

    missing: tuple[str, ...]
    """content words of the question that the other has not"""
    extra: tuple[str, ...]
    """content words of the other that the question has not"""
    slips: int
    shared: int
    guards: tuple[str, ...]
    """those of `GUARDS` that speak against it"""
    turned: bool
    """words that both have stand in another order, or what the one goes to the other comes from: too often the same for the judge to go by,
    and never safe enough to trust"""
    strict: tuple[str, ...]
    """those of `STRICT`: too often the same for the judge to go by, and never safe enough to trust"""


def compare(one: Traits, other: Traits) -> Difference:
    """What sets a question apart from another."""
    missing, extra, slips = _unmatched(one, other)
    mine = [slips.get(word, word) for word in one.words]
    against = {
        "numbers": one.numbers != other.numbers,
        "negation": one.negations != other.negations,
        "antonyms": one.sides != other.sides,
        "spans": one.spans != other.spans,
        "order": not missing and not extra and _reordered(mine, other.words),
        "case": not missing and not extra and _differs_in_case(one.text, other.text),
        "language": one.foreign != other.foreign,
        "asking": _asks_otherwise(one.asking, other.asking),
    }
    guards = tuple([name for name in GUARDS if against[name]])
    turned = _turned(mine, other.words) or opposite({(way, slips.get(word, word)) for way, word in one.ways}, other.ways)
    return Difference(
        missing, extra, len(slips), len(one.bag) - len(missing), guards, turned, _strictly(one, other, slips, bool(missing or extra))
    )


def is_aside(difference: Difference) -> bool:
    """Whether no content word sets the texts apart, or a single common one that only one of them has, such as `asap`."""
    words = (*difference.missing, *difference.extra)
    return not words or (len(words) == 1 and words[0] in known_words() and words[0] not in _TELLING)


def _strictly(one: Traits, other: Traits, slips: Mapping[str, str], words_differ: bool) -> tuple[str, ...]:
    """Those of `STRICT` that speak against it."""
    against = {
        "small words": not words_differ and _telling(one) != _telling(other),
        "spelling": not all(_is_sure_slip(word, twin) for word, twin in slips.items()),
        "signs": one.signs != other.signs,
        "capitals": not words_differ and _differs_in_form(one.text, other.text),
    }
    return tuple([name for name in STRICT if against[name]])


def _is_sure_slip(one: str, other: str) -> bool:
    """Whether just one of them is an English word: two unknown words may be words of another language, or names."""
    known = known_words()
    return one.isascii() and other.isascii() and (one in known) != (other in known)


def _differs_in_form(one: str, other: str) -> bool:
    """Whether the forms in which the same words are served differ, and only in case or a final question mark."""
    if one == other:
        return False
    mine, theirs = normalised(one), normalised(other)
    if mine.casefold() == theirs.casefold():  # who writes in small letters throughout says nothing by them, but for what `case` knows
        return mine != theirs and not one.islower() and not other.islower()
    return mine.casefold().rstrip("?") == theirs.casefold().rstrip("?")


def _telling(of: Traits) -> list[str]:
    return [word for word in of.sequence if word in _TELLING]


def _unmatched(one: Traits, other: Traits) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """Words of the one that the other has not, words of the other, and which words of the one are slips for which of the other."""
    missing = [word for word in dict.fromkeys(one.words) if word not in other.bag]
    extra = [word for word in dict.fromkeys(other.words) if word not in one.bag]
    slips: dict[str, str] = {}
    if 0 < len(missing) * len(extra) <= _MOST_PAIRS:
        known = known_words()
        for word in tuple(missing):
            twin = next((each for each in extra if -2 < len(word) - len(each) < 2 and is_slip(word, each, known)), None)
            if twin is not None:
                missing.remove(word)
                extra.remove(twin)
                slips[word] = twin
    return tuple(missing), tuple(extra), slips


def _reordered(one: Sequence[str], other: Sequence[str]) -> bool:
    """The same words in another order: from A to B is not from B to A."""
    return sorted(one) == sorted(other) and list(one) != list(other)


def _differs_in_case(one: str, other: str) -> bool:
    """Whether case is all that sets them apart, and is kept where only the same words are served: `US` is not `us`."""
    mine, theirs = loosened(one), loosened(other)
    return mine != theirs and mine.casefold() == theirs.casefold()


def _turned(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the words that both have stand in another order."""
    both = set(one) & set(other)
    return [word for word in dict.fromkeys(one) if word in both] != [word for word in dict.fromkeys(other) if word in both]


def opposite(one: Set[tuple[str, str]], other: Set[tuple[str, str]]) -> bool:
    """Whether a word has `from` before it in one text and `to` in the other, and not both in either."""
    words = {word for _, word in one} & {word for _, word in other}
    return any({way for way, each in one if each == word}.isdisjoint(way for way, each in other if each == word) for word in words)


def _asks_otherwise(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the question words ask for different things; what and which may ask for anything."""
    mine, theirs = {_SAME_ASKING.get(word, word) for word in one}, {_SAME_ASKING.get(word, word) for word in other}
    return bool(mine and theirs) and "what" not in mine | theirs and mine.isdisjoint(theirs)
