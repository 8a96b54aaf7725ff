"""Requests to replay: when each one came, how long its prompt and its answer were, and which part of its prompt others share."""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
NO_BLOCKS = np.zeros(0, np.int64)


class Trace(NamedTuple):
    """n requests in order of arrival. Arrays of one entry per request, but for the blocks."""

    arrival_s: Floats
    """seconds from the begin of the trace"""
    input_tokens: Ints
    output_tokens: Ints
    """at least 1 each: the first one is of the prefill"""
    block_start: Ints = NO_BLOCKS
    """n + 1 entries, or none when nothing is known of prefixes: request i begins with blocks[block_start[i]:block_start[i + 1]]"""
    blocks: Ints = NO_BLOCKS
    """ids of prefix blocks, 0 to m - 1, in order: equal ids in equal places are equal tokens"""
    block_tokens: int = 512
    """tokens of a block"""

    @property
    def requests(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """From 0 to the last arrival."""
        return float(self.arrival_s[-1]) if len(self.arrival_s) else 0.0


class Row(msgspec.Struct, frozen=True):
    """What is wrong with a row of a trace."""

    number: int
    """of the file, from 1, headings counted"""
    problem: str


class TraceError(ValueError):
    """A trace that cannot be replayed; `rows` name the first bad ones."""

    def __init__(self, message: str, hint: str, rows: tuple[Row, ...] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.rows = rows
