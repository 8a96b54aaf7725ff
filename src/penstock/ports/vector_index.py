"""Nearest neighbours by cosine similarity, in memory, one index per partition."""

from collections.abc import Sequence
from typing import Protocol

from penstock.ports.embedder import Vectors


class VectorIndex(Protocol):
    """Vectors of length 1 under whole numbers from 0 on. Synchronous, for one thread."""

    def add(self, number: int, vector: Vectors) -> None:
        """Puts one vector of shape (dimensions,); an index takes the dimensions of its first one. Raises ValueError for others."""

    def remove(self, number: int) -> None:
        """Nothing happens where there is none."""

    def search(self, vector: Vectors, most: int) -> Sequence[tuple[int, float]]:
        """At most so many (number, cosine similarity), the nearest first."""

    def __len__(self) -> int: ...

    @property
    def bytes(self) -> int:
        """Memory that it takes, nearly."""
