"""Vectors in memory, row after row: what is compared one by one, and what a graph's candidates are measured by.

Rows lie in blocks, so that growing never copies more than one of them. The sums are made by `vecdot`, a call of BLAS per row: a product
of matrix and vector is spread over threads by OpenBLAS, which spin for tens of milliseconds after each when another process wants their
core.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from penstock.ports.embedder import Vectors

BLOCK_ROWS: Final = 4096
FIRST_ROWS: Final = 8
"""what the first block begins with; it doubles until it is a whole block: most partitions are small"""
ROW_BYTES: Final = 140
"""what a row takes beside its vector: its number, twice, in a list and in a dictionary"""
_LENGTH_OFF: Final = 1e-3


class Rows:
    """Vectors of length 1 by number, in rows from 0 on without gaps."""

    def __init__(self) -> None:
        self._blocks: list[Vectors] = []
        self._numbers: list[int] = []
        self._row: dict[int, int] = {}
        self._scores: Vectors = np.empty(0, np.float32)
        self.dimensions: int | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def bytes(self) -> int:
        """What is in use; pages of a block that were never written to are no memory yet."""
        return len(self) * (4 * (self.dimensions or 0) + ROW_BYTES) + self._scores.nbytes

    def row(self, number: int) -> int | None:
        """Where it lies, if it does."""
        return self._row.get(number)

    def at(self, row: int) -> tuple[int, Vectors]:
        """The number in a row, and its vector."""
        return self._numbers[row], self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS]

    def checked(self, vector: Vectors) -> Vectors:
        """As it is compared. Raises ValueError for other dimensions than those of the first one, and for a length other than 1."""
        ready = np.ascontiguousarray(vector, np.float32)
        if ready.ndim != 1 or not ready.size or (self.dimensions is not None and ready.shape != (self.dimensions,)):
            wanted = "one" if self.dimensions is None else f"({self.dimensions},)"
            raise ValueError(f"a vector of shape {ready.shape} where {wanted} is wanted: was it made by another embedder?")
        if not abs(float(np.vecdot(ready, ready)) - 1) < _LENGTH_OFF:  # so that a length that is no number is refused too
            raise ValueError("a vector whose length is not 1: its similarity would be no cosine")
        return ready

    def append(self, number: int, vector: Vectors) -> None:
        """Puts a number that is not there yet in a row after the last. Raises ValueError as `checked` does."""
        ready = self.checked(vector)
        self.dimensions = len(ready)
        row = len(self._numbers)
        self._make_room(row)
        self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = ready
        self._numbers.append(number)
        self._row[number] = row

    def move(self, source: int, target: int) -> None:
        """Overwrites a row with another one; what was in it is gone, and `source` is to be overwritten or dropped next."""
        if source == target:
            return
        number, vector = self.at(source)
        self._row.pop(self._numbers[target], None)
        self._blocks[target // BLOCK_ROWS][target % BLOCK_ROWS] = vector
        self._numbers[target] = number
        self._row[number] = target

    def drop(self, row: int) -> None:
        """Takes a row out: the last one comes into its place."""
        if self._row.get(self._numbers[row]) == row:
            del self._row[self._numbers[row]]
        last = len(self._numbers) - 1
        if row != last:
            number, vector = self.at(last)
            self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = vector
            self._numbers[row] = number
            self._row[number] = row
        self._numbers.pop()
        del self._blocks[-(-last // BLOCK_ROWS) or 1 :]

    def nearest(self, vector: Vectors, most: int, start: int = 0) -> list[tuple[int, float]]:
        """At most so many (number, similarity) of the rows from `start` on, the nearest first."""
        count = len(self) - start
        if count <= 0 or most <= 0:
            return []
        if len(self._scores) < count:
            self._scores = np.empty(max(2 * len(self._scores), count), np.float32)
        scores, done = self._scores[:count], 0
        for some in self._from(start):
            np.vecdot(some, vector, out=scores[done : done + len(some)])
            done += len(some)
        best = np.argpartition(scores, count - most)[count - most :] if most < count else np.arange(count)
        found = [(self._numbers[start + row], score) for row, score in zip(best.tolist(), scores[best].tolist(), strict=True)]
        return ordered(found)

    def measured(self, vector: Vectors, numbers: Sequence[int]) -> list[tuple[int, float]]:
        """The similarity of each of some numbers that are there."""
        if not numbers:
            return []
        picked = np.stack([self.at(self._row[number])[1] for number in numbers])
        return list(zip(numbers, np.vecdot(picked, vector).tolist(), strict=True))

    def _from(self, start: int) -> Iterator[Vectors]:
        first, skip = divmod(start, BLOCK_ROWS)
        for index in range(first, len(self._blocks)):
            yield self._blocks[index][skip : len(self) - index * BLOCK_ROWS]
            skip = 0

    def _make_room(self, row: int) -> None:
        index, within = divmod(row, BLOCK_ROWS)
        if index == len(self._blocks):
            self._blocks.append(np.empty((BLOCK_ROWS if index else FIRST_ROWS, self.dimensions or 0), np.float32))
        elif within == len(self._blocks[index]):
            grown = np.empty((min(2 * within, BLOCK_ROWS), self.dimensions or 0), np.float32)
            grown[:within] = self._blocks[index]
            self._blocks[index] = grown


def ordered(found: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The nearest first; of equal ones the lower number."""
    return sorted(found, key=lambda each: (-each[1], each[0]))
