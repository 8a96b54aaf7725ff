"""The one law of costs: an instance paid whole, or a part of it that is said to be one; exact, and unknown without a price."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.costs import Rent, per_million, per_request, replica_per_hour, request_ms, requests_per_minute, whole_costs


def rent(usd: str = "8", gpus: int = 8) -> Rent:
    return Rent(provider="p", instance="i", gpus=gpus, usd_per_hour=Fraction(usd), kind="on-demand", region="r", date=date(2026, 11, 22))


def test_a_part_of_an_instance_and_an_instance_paid_whole() -> None:
    assert replica_per_hour(Fraction(9), 3, 2, "part") == 6, "two of its three GPUs"
    assert replica_per_hour(Fraction(9), 3, 2, "whole") == 9, "the third is of no use to another replica"
    assert replica_per_hour(Fraction(8), 8, 2, "part") == replica_per_hour(Fraction(8), 8, 2, "whole") == 2
    assert replica_per_hour(Fraction(8), 8, Fraction(1, 4), "part") == Fraction(1, 4), "a slice of one of eight"
    with pytest.raises(ValueError, match="more than the instance has"):
        replica_per_hour(Fraction(8), 2, 4, "whole")


def test_instances_are_paid_whole() -> None:
    paid = whole_costs(rent("8", gpus=8), 2, 100.0, 250.0)  # 3 replicas of 2 GPUs in an instance that holds 4
    assert (paid.replicas, paid.instances, paid.per_hour, paid.per_request) == (3, 1, Fraction(8), Fraction(8, 60 * 250))
    paid = whole_costs(rent("8", gpus=8), 2, 50.0, 250.0)
    assert (paid.replicas, paid.instances, paid.per_hour) == (5, 2, Fraction(16))
    left_over = whole_costs(rent("9", gpus=3), 2, 60.0)
    assert (left_over.replicas, left_over.per_hour, left_over.per_request) == (None, Fraction(9), Fraction(9, 3600))
    assert whole_costs(None, 2, 100.0, 250.0) == (None, None, 3, None)
    assert whole_costs(rent(), 2, 0.0, 250.0) == (None, None, None, None), "what serves nothing has no cost of a request"


@given(st.floats(0.1, 1e5), st.floats(0.1, 1e5), st.integers(1, 8), st.integers(1, 8))
def test_demand_is_served_and_not_one_instance_more(per_minute: float, wanted: float, gpus: int, devices: int) -> None:
    if gpus < devices:
        return
    paid = whole_costs(rent(gpus=gpus), devices, per_minute, wanted)
    assert paid.replicas is not None and paid.instances is not None
    each = gpus // devices
    assert paid.replicas * per_minute >= wanted * (1 - 1e-9)
    assert paid.replicas <= each * paid.instances < paid.replicas + each


def test_money_of_requests_and_tokens_is_exact() -> None:
    assert request_ms(1000, 20, 101) == 3000
    assert requests_per_minute(10, 3000) == 200
    assert per_million(per_request(Fraction(36), 200), 101) == Fraction(36, 3600) * 3 / (10 * 101) * 10**6
    assert per_request(None, 200) is None
    assert per_million(None, 101) is None
