"""A pool's table as arrays, and ways of routing as (quality, cost) of each of its rows."""

import re
import sys
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.routing_tables import Pool, Row
from penstock.domain.routing.complexity import features

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

WORDS: Final = 512
"""places that words are hashed into"""
_READ: Final = 4000
"""characters of a prompt"""
_WORD: Final = re.compile(r"[a-z]+|\d|[^\sa-z\d]")


class Choice(msgspec.Struct, frozen=True):
    """What a way of routing made of each row: the quality that was served, and what all of its calls cost (USD)."""

    quality: Floats
    cost: Floats

    def loss(self, frame: "Frame") -> float:
        """Mean, against the strong model."""
        return float((frame.quality[:, -1] - self.quality).mean())

    def cost_share(self, frame: "Frame") -> float:
        """Of always asking the strong model."""
        return float(self.cost.sum() / frame.cost[:, -1].sum())


class Frame(msgspec.Struct, frozen=True):
    """Rows that all models have answered. Columns are the pool's tiers, the strong model last."""

    pool: Pool
    rows: Sequence[Row]
    quality: Floats
    cost: Floats
    answers: NDArray[np.int64]
    """equal numbers are equal answers of the same row; -1: there is nothing to compare"""
    tags: NDArray[np.str_]
    length: Floats
    traits: Floats
    """features of the complexity score, and the length"""
    words: Floats
    """hashed words, weighted by how rare they are; of length 1"""

    def of(self, at: Indices) -> "Frame":
        return Frame(
            self.pool, [self.rows[index] for index in at], self.quality[at], self.cost[at], self.answers[at], self.tags[at],
            self.length[at], self.traits[at], self.words[at],
        )  # fmt: skip

    def chosen(self, tier: Indices) -> Choice:
        """One tier a row."""
        every = np.arange(len(tier))
        return Choice(self.quality[every, tier], self.cost[every, tier])


def frame_of(pool: Pool, rows: Sequence[Row]) -> Frame:
    """Rows that lack a model's quality or cost are left out, and that is said."""
    whole = [row for row in rows if all(_graded(row, tier) for tier in pool.tiers)]
    if len(whole) < len(rows):
        print(f"{pool.name}: {len(rows) - len(whole):,} of {len(rows):,} rows lack a model and are left out", file=sys.stderr)
    points = [features(row.request) for row in whole]
    length = np.array([len(row.prompt) for row in whole], float)
    return Frame(
        pool=pool,
        rows=whole,
        quality=np.array([[row.quality(tier) for tier in pool.tiers] for row in whole]),
        cost=np.array([[row.cost(tier) for tier in pool.tiers] for row in whole]),
        answers=np.array([_answers(row, pool) for row in whole]),
        tags=np.array([row.tag for row in whole]),
        length=length,
        traits=np.column_stack((np.array([list(each.values()) for each in points], float), np.log1p(length) * 100)),
        words=_words([row.prompt for row in whole]),
    )


def _graded(row: Row, tier: str) -> bool:
    cell = row.m.get(tier)
    return cell is not None and cell.q is not None and cell.c is not None


def _answers(row: Row, pool: Pool) -> list[int]:
    keys = [row.key(tier) for tier in pool.tiers]
    return [-1 if key is None else keys.index(key) for key in keys]


def _words(texts: Sequence[str]) -> Floats:
    counts = np.zeros((len(texts), WORDS))
    for at, text in enumerate(texts):
        words = _WORD.findall(text[:_READ].lower())
        pairs = map(" ".join, pairwise(words))
        places = [zlib.crc32(word.encode()) % WORDS for word in (*words, *pairs)]
        counts[at] = np.bincount(places, minlength=WORDS)
    rarity = np.log((1 + len(texts)) / (1 + (counts > 0).sum(0)))
    weighted: Floats = np.log1p(counts) * rarity
    norms: Any = np.linalg.norm(weighted, axis=1, keepdims=True)
    weighted /= np.maximum(norms, 1e-9)
    return weighted
