"""What a format of traces is: which columns hold what, and in which unit its times are."""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

TimeUnit = Literal["s", "ms", "us", "ns"]
"""of a column of numbers"""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One format. Names of columns are as `plain` writes them; of several, the first that the file has."""

    word: str
    """what `--format-of-trace` takes"""
    name: str
    marks: frozenset[str]
    """columns that tell it"""
    arrival: tuple[str, ...]
    input: tuple[str, ...]
    output: tuple[str, ...]
    blocks: tuple[str, ...] = ()
    """ids of prefix blocks"""
    unit: TimeUnit | None = None
    """of a column of numbers; None: its name or its size tells, or the user"""
    failed: str | None = None
    """what a row without output tokens stands for: it is left out, and counted; None: it is wrong"""
    pooled: tuple[str, ...] = ()
    """column that says which rows have lengths that were drawn from others"""
    table: bool = False
    """of rates, not of requests"""
    means: tuple[str, ...] = ()
    """columns of a table with the mean tokens of prompts and of answers"""

    @property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """All that may be read."""
        return self.arrival, self.input, self.output, self.blocks, self.pooled


def plain(name: str) -> str:
    """`Request tokens`, `request_tokens` and `requestTokens` are one name."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def column_of(header: Sequence[str], names: tuple[str, ...]) -> str | None:
    """The column of a header that has the first of these names that it has at all."""
    by_plain = {plain(each): each for each in reversed(header)}
    return next((by_plain[name] for name in names if name in by_plain), None)
