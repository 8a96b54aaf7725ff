"""Histograms of latency: additive, and quantiles within the bucket that the true value lies in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.latency import BOUNDS_US, Latency, bucket_of, latency_of
from penstock.domain.ledger.record import Outcome
from tests.ledger_entries import record

TIMES = st.lists(st.integers(1, BOUNDS_US[-1]), min_size=1, max_size=30)


def latency(times: list[int]) -> Latency:
    total = Latency()
    for number, time in enumerate(times):
        total.add(latency_of(record(str(number), duration_us=time, first_token_us=time // 2)))
    return total


def test_bounds_grow_by_the_root_of_two_from_a_millisecond_to_ten_minutes() -> None:
    assert (BOUNDS_US[0], BOUNDS_US[2], BOUNDS_US[-1]) == (1_000, 2_000, 600_000_000)
    assert all(1 < upper / lower < 1.415 for lower, upper in pairwise(BOUNDS_US))


@given(TIMES, st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(times: list[int], p: float) -> None:
    true = min(time for time in times if sum(other <= time for other in times) >= p * len(times))
    found = latency(times).duration.quantile(p)
    assert found is not None
    bucket = bucket_of(true)
    assert (BOUNDS_US[bucket - 1] if bucket else 0) / 1e6 <= found <= BOUNDS_US[bucket] / 1e6


@given(TIMES, TIMES)
def test_adding_is_counting_together(some: list[int], others: list[int]) -> None:
    total = latency(some)
    total.add(latency(others))
    assert total == latency(some + others)


def test_nothing_has_no_quantile_and_beyond_the_last_bound_is_that_bound() -> None:
    assert Latency().duration.quantile(0.5) is None
    assert latency([10**12]).duration.quantile(0.95) == 600
    assert latency([1_500, 1_500]).duration.quantile(0.5) == pytest.approx((1_414 + 2_000) / 2e6)


@pytest.mark.parametrize(("outcome", "counted"), [("ok", 1), ("error", 0), ("refused", 0), ("interrupted", 0)])
def test_only_good_answers_count(outcome: Outcome, counted: int) -> None:
    found = latency_of(record("a", outcome=outcome, duration_us=5, first_token_us=None))
    assert (found.duration.total, found.first_token.total) == (counted, 0)
