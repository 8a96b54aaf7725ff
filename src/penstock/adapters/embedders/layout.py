"""How texts of several lengths are put into one computation, and which go together."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

WASTE: Final = 6_000
"""scores per head that padding may cost before texts are computed apart, which is slower for few tokens (measured with 32 questions)"""
MOST_TOKENS: Final = 1_024
"""of one computation: bounds its memory; more tokens at once are no faster"""
_FAR_BELOW: Final = -1e4
"""added to scores: their exponential is 0, and no denormal"""


def groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts of so many tokens, the shortest first, in groups that hardly need padding."""
    group: list[int] = []
    squares = tokens = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[place]
        if group and (length**2 * len(group) - squares > WASTE or tokens + length > MOST_TOKENS):
            yield group
            group, squares, tokens = [], 0, 0
        group.append(place)
        squares += length**2
        tokens += length
    if group:
        yield group


def inputs(texts: Sequence[Sequence[int]], heads: int, pooling: Literal["mean", "cls"]) -> dict[str, NDArray[Any]]:
    """What the graph takes (see `graph`), from the tokens of each text; none is empty."""
    lengths = np.array([len(tokens) for tokens in texts], np.int32)
    most = int(lengths.max())
    inside = np.arange(most, dtype=np.int32) < lengths[:, None]
    places = np.flatnonzero(inside).astype(np.int32)
    words = np.zeros(inside.shape, np.int32)
    words.reshape(-1)[places] = np.arange(len(places), dtype=np.int32)
    rows, positions = np.divmod(places, np.int32(most))
    head = np.arange(heads, dtype=np.int32)
    pool = inside.astype(np.float32)
    if pooling == "cls":
        pool[:, 1:] = 0
    return {
        "ids": np.array([token for tokens in texts for token in tokens], np.int32),
        "positions": positions,
        "apart": words[:, None, :] * np.int32(3 * heads) + head[:, None],
        "together": (rows[:, None] * np.int32(heads) + head) * np.int32(most) + positions[:, None],
        "words": words,
        "pool": pool[:, None, :],
        "mask": np.where(inside, np.float32(0), np.float32(_FAR_BELOW))[:, None, None, :],
    }
