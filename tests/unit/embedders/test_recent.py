"""What is remembered of texts is bounded, and the least recently used goes first."""

import numpy as np

from penstock.adapters.embedders.recent import LONGEST, Recent
from penstock.ports.embedder import Vectors


def vector(number: int) -> Vectors:
    return np.array([number], np.float32)


def test_the_least_recently_used_goes_first() -> None:
    recent = Recent(2)
    recent.put("a", vector(1))
    recent.put("b", vector(2))
    assert recent.get("a") is not None
    recent.put("c", vector(3))
    assert [recent.get(text) is not None for text in "abc"] == [True, False, True]
    recent.put("a", vector(4))
    assert recent.get("a") == vector(4)


def test_long_texts_are_not_kept() -> None:
    recent = Recent(2)
    recent.put("x" * LONGEST, vector(1))
    recent.put("y" * (LONGEST + 1), vector(2))
    assert recent.get("x" * LONGEST) == vector(1)
    assert recent.get("y" * (LONGEST + 1)) is None


def test_none_are_kept_where_none_may_be() -> None:
    recent = Recent(0)
    recent.put("a", vector(1))
    assert recent.get("a") is None
