"""The vectors of texts that were asked for last."""

from collections import OrderedDict
from typing import Final

from penstock.ports.embedder import Vectors

KEPT: Final = 4_096
LONGEST: Final = 2_000
"""characters of a text that is kept: bounds the memory to about 15 MB with 384 dimensions"""


class Recent:
    """At most so many, the least recently used goes first. For one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, Vectors] = OrderedDict()

    def get(self, text: str) -> Vectors | None:
        """The vector of shape (dimensions,)."""
        vector = self._kept.get(text)
        if vector is not None:
            self._kept.move_to_end(text)
        return vector

    def put(self, text: str, vector: Vectors) -> None:
        if len(text) > LONGEST:
            return
        self._kept[text] = vector
        self._kept.move_to_end(text)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
