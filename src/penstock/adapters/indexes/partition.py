"""`ports.vector_index.VectorIndex` of one partition: brute force while it is small, a graph once it is large.

The rows that the graph knows lie first, the others after them; a search asks the graph about the first and measures the others one by
one. So there is no moment of switching: with every call a few rows more are known to the graph, and every search finds them all.
"""

from collections.abc import Sequence
from typing import Final

from penstock.adapters.indexes.graph import Graph
from penstock.adapters.indexes.rows import Rows, ordered
from penstock.ports.embedder import Vectors

GRAPH_ABOVE: Final = 8_192
"""so many rows are measured in about a millisecond where other work has emptied the processor's caches"""
BRUTE_BELOW: Final = 6_144
PUT_WITH_ADD: Final = 2
"""more than one, so that the graph catches up however fast vectors come; each takes a quarter of a millisecond"""
PUT_WITH_SEARCH: Final = 1
WIDEST: Final = 4
"""so many times more candidates than asked for are measured, and at least `LEAST`"""
LEAST: Final = 16


class PartitionIndex:
    """Adding a number anew puts its new vector in the place of the old one."""

    def __init__(self, *, graph_above: int = GRAPH_ABOVE, brute_below: int = BRUTE_BELOW) -> None:
        self._rows = Rows()
        self._graph: Graph | None = None
        self._known = 0
        """rows that the graph knows: those before this one"""
        self._graph_above, self._brute_below = graph_above, brute_below

    def add(self, number: int, vector: Vectors) -> None:
        """Puts one vector of length 1. Raises ValueError for another length, and for other dimensions than the first one had."""
        ready = self._rows.checked(vector)
        self.remove(number)
        self._rows.append(number, ready)
        if self._graph is None and len(self._rows) > self._graph_above:
            self._graph = Graph(len(ready))
        self._catch_up(PUT_WITH_ADD)

    def remove(self, number: int) -> None:
        row = self._rows.row(number)
        if row is None:
            return
        if self._graph is not None and row < self._known:
            self._graph.remove(number)
            self._known -= 1
            self._rows.move(self._known, row)
            row = self._known
        self._rows.drop(row)
        if len(self._rows) < self._brute_below:
            self._graph, self._known = None, 0

    def search(self, vector: Vectors, most: int) -> Sequence[tuple[int, float]]:
        """Raises ValueError as `add` does."""
        ready = self._rows.checked(vector)
        found = self._rows.nearest(ready, most, self._known)
        if self._graph is not None and most > 0:
            found += self._rows.measured(ready, self._graph.candidates(ready, max(WIDEST * most, LEAST)))
            found = ordered(found)[:most]
        self._catch_up(PUT_WITH_SEARCH)
        return found

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def bytes(self) -> int:
        return self._rows.bytes + (0 if self._graph is None else self._graph.bytes)

    def _catch_up(self, most: int) -> None:
        if self._graph is None:
            return
        for row in range(self._known, min(self._known + most, len(self._rows))):
            self._graph.add(*self._rows.at(row))
            self._known += 1
