"""Tiers of a trace."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.simulation.levers import after_tiering
from penstock.domain.simulation.selecting import selected
from penstock.domain.simulation.trace import Trace, TraceError


def trace_of(count: int) -> Trace:
    start = np.arange(0, 2 * count + 1, 2)
    lengths = np.arange(1, count + 1)
    return Trace(np.arange(count) / 10, lengths, lengths, start, np.arange(2 * count), 16)


@given(st.integers(0, 2**63), st.integers(0, 100))
def test_what_becomes_of_a_request_does_not_depend_on_those_after_it(seed: int, more: int) -> None:
    shares = {"a": 0.4, "b": 0.6}
    one, other = (after_tiering(trace_of(count), shares, seed)["a"].arrival_s for count in (50, 50 + more))
    assert np.array_equal(one, other[: len(one)])


def test_shares_come_out_as_asked_and_seeds_differ() -> None:
    trace = trace_of(100_000)
    tiers = after_tiering(trace, {"small": 0.7, "large": 0.3}, 1)
    assert tiers["small"].requests == pytest.approx(70_000, rel=0.01)
    other = after_tiering(trace, {"small": 0.7, "large": 0.3}, 2)["small"].arrival_s
    assert float(np.isin(tiers["small"].arrival_s, other).mean()) == pytest.approx(0.7, abs=0.01), "two seeds are independent"


def test_all_and_nothing() -> None:
    assert {name: each.requests for name, each in after_tiering(trace_of(50), {"a": 1.0, "b": 0.0}, 1).items()} == {"a": 50, "b": 0}


@given(st.integers(0, 1000))
def test_tiers_share_out_every_request_once_with_its_blocks(seed: int) -> None:
    trace = trace_of(60)
    parts = after_tiering(trace, {"a": 0.5, "b": 0.25, "c": 0.25}, seed).values()
    lengths = np.concatenate([part.input_tokens for part in parts])
    assert sorted(lengths.tolist()) == list(range(1, 61))
    for part in parts:
        assert part.blocks.tolist() == [block for length in part.input_tokens for block in (2 * length - 2, 2 * length - 1)]
        assert part.block_start.tolist() == list(range(0, 2 * part.requests + 1, 2))


def test_a_trace_without_blocks_stays_without() -> None:
    bare = trace_of(5)._replace(block_start=np.zeros(0, np.int64), blocks=np.zeros(0, np.int64))
    assert len(selected(bare, np.array([1, 3])).block_start) == 0


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}])
def test_shares_that_are_not_all_requests_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(TraceError, match="do not sum to 1"):
        after_tiering(trace_of(1), shares, 0)
