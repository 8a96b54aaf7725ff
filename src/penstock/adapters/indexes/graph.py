"""A graph of neighbours (HNSW of usearch): which few of very many vectors are worth measuring.

It holds each vector in one byte a dimension, scaled by its own largest: usearch's own bytes are scaled by the length, which leaves three
bits to 384 dimensions. What it finds is measured again by the vectors themselves, so similarities are exact, and only what it does not
find at all is missed: at 100,000 clustered vectors the nearest one in 2 to 6 of 1,000 searches (`bench.semindex`). As float32 it would
be twice as slow, and four times as large.

Removed numbers stay as signposts until a new one takes their place, so memory is that of the most there ever were at once, and a graph
that lost four of five misses up to 16 of 1,000.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

import penstock.adapters.onnx_runtime  # noqa: F401  before usearch

from usearch.index import Index  # isort: skip

from penstock.ports.embedder import Vectors

CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 128
EXPANSION_SEARCH: Final = 128
NODE_BYTES: Final = 320
"""what a vector takes beside its bytes: links, key, and pointers, as measured"""
_MOST: Final = 127


class Graph:
    """Numbers and roughly where their vectors point."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._index = Index(
            ndim=dimensions,
            metric="cos",
            dtype="i8",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )
        self._peak = 0

    @property
    def bytes(self) -> int:
        """Of the most that it ever held: a place that becomes free waits for the next vector."""
        return self._peak * (self._dimensions + NODE_BYTES)

    def add(self, number: int, vector: Vectors) -> None:
        """A number that is not in it."""
        self._index.add(number, _rough(vector), threads=1)
        self._peak = max(self._peak, len(self._index))

    def remove(self, number: int) -> None:
        """A number that is in it."""
        self._index.remove(number)

    def candidates(self, vector: Vectors, most: int) -> list[int]:
        """At most so many numbers that are near, most of the nearest among them."""
        if not len(self._index):
            return []
        return [int(number) for number in self._index.search(_rough(vector), most, threads=1).keys]


def _rough(vector: Vectors) -> NDArray[np.int8]:
    rough: NDArray[np.int8] = np.rint(vector * (_MOST / float(np.abs(vector).max()))).astype(np.int8)
    return rough
