"""Prompts of a wanted length in tokens of a tokenizer that is not known.

What a word and a call around it weigh is learned from the usage of the first answers. Words are drawn anew for each prompt, from
its first word on, so no prefix cache helps, unless that is what is to be measured.
"""

import random
from collections.abc import Sequence

import msgspec

WORDS = tuple(
    """
    water stone river house light cloud paper field green north table glass road music plant metal winter garden engine bridge
    letter market number silver summer valley window yellow forest island kitchen mountain picture question station travel village
    weather balance capital chapter company distance example freedom harbour history journey library machine mineral morning
    network object oxygen pattern people planet portion problem product quality quarter reason record region report result school
    season second sentence shadow signal simple source square street student summit supply surface system temple theory thread
    ticket timber tower train tunnel union value vessel vision volume wagon warm west wheel white wind wire wood world year
    """.split()
)
LONGEST = 4_000_000
"""words: 10^9 tokens in a request are refused before a machine tries to hold them"""


class Scale(msgspec.Struct, frozen=True):
    """Tokens of a prompt of n words: `around + per_word * n`."""

    around: float = 8.0
    per_word: float = 1.3

    def words(self, tokens: int) -> int:
        """Words that come closest to so many tokens; at least 1."""
        return max(1, min(LONGEST, round((tokens - self.around) / self.per_word)))


class Prompts:
    """A source of prompts, the same for the same seed. `unique`: no two share a beginning; else all are one."""

    def __init__(self, seed: int, unique: bool = True) -> None:
        self._dice = random.Random(seed)  # noqa: S311  words, no secret
        self._seed = seed
        self._unique = unique

    def make(self, words: int) -> str:
        dice = self._dice if self._unique else random.Random(self._seed)  # noqa: S311
        return " ".join(dice.choices(WORDS, k=words))


def scale_of(seen: Sequence[tuple[int, int]]) -> Scale:
    """The scale through two or more (words, tokens): least squares. Raises ValueError where words or tokens do not grow."""
    count = len(seen)
    mean_words = sum(words for words, _ in seen) / count
    mean_tokens = sum(tokens for _, tokens in seen) / count
    spread = sum((words - mean_words) ** 2 for words, _ in seen)
    slope = sum((words - mean_words) * (tokens - mean_tokens) for words, tokens in seen) / spread if spread else 0.0
    if slope <= 0:
        raise ValueError("the tokens of a prompt do not grow with its words")
    return Scale(mean_tokens - slope * mean_words, slope)
