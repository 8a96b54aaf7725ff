"""What turns texts into vectors."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class EmbedderError(Exception):
    """No vectors could be made. The message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Embedded(msgspec.Struct, frozen=True):
    """What came of some texts."""

    vectors: Vectors
    """(texts, dimensions), rows of length 1: a dot product is the cosine similarity"""
    tokens: int | None = None
    """tokens that a provider or engine counted for all of them; None where none is paid by tokens"""


class Embedder(Protocol):
    """One model. May be asked by many tasks at once; batching is the callee's business. Never blocks the event loop."""

    @property
    def stamp(self) -> str:
        """Names model, weights and pooling: vectors of different stamps must never be compared."""

    @property
    def dimensions(self) -> int | None:
        """None: not known before the first answer."""

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Raises `EmbedderError`."""

    async def close(self) -> None: ...
