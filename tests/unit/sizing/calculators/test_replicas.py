"""Queues, spares and autoscalers against sums that are made another way."""

from fractions import Fraction
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.calculators.calculator import CalculationError
from penstock.domain.sizing.calculators.replicas import LatencyInputs, RedundancyInputs, latency, redundancy
from penstock.domain.sizing.calculators.scaling import BehaviourInputs, HpaInputs, behaviour, hpa


def erlang_c(load: float, places: int) -> float:
    """By its definition, without the recursion."""
    last = load**places / factorial(places) * places / (places - load)
    return last / (sum(load**n / factorial(n) for n in range(places)) + last)


@given(st.integers(1, 12), st.integers(1, 99))
def test_the_mean_wait_is_that_of_erlang(places: int, percent: int) -> None:
    load = places * percent / 100
    found = latency(
        LatencyInputs(
            alone_ms=Fraction(1000), requests_per_second=Fraction(places * percent, 100), replicas=places, target_ms=Fraction(2000)
        )
    )
    assert found.wait_ms is not None
    assert float(found.wait_ms) == pytest.approx(1000 * erlang_c(load, places) / (places - load), rel=1e-6, abs=1e-5)


def test_one_place_is_the_queue_that_everybody_knows() -> None:
    found = latency(LatencyInputs(alone_ms=Fraction(100), requests_per_second=Fraction(5), replicas=1, target_ms=Fraction(1000)))
    assert found.use == Fraction(1, 2) and found.wait_ms == 100, "M/M/1 at half load: the wait is as long as the work"


def test_no_number_of_replicas_makes_a_request_faster() -> None:
    found = latency(LatencyInputs(alone_ms=Fraction(800), target_ms=Fraction(200), replicas=4))
    assert found.for_target is None and found.speed_up == 4
    assert (found.for_throughput, found.surplus, found.surplus_usd) == (1, 3, 3 * Fraction("3.50") * 720)


@given(rate=st.integers(1, 60), places=st.integers(1, 8), slack=st.integers(0, 400))
def test_the_smallest_number_that_reaches_the_target(rate: int, places: int, slack: int) -> None:
    def at(replicas: int) -> Fraction | None:
        asked = LatencyInputs(
            alone_ms=Fraction(400), requests_per_second=Fraction(rate), places=places, replicas=replicas, target_ms=Fraction(400 + slack)
        )
        return latency(asked).latency_ms

    asked = LatencyInputs(alone_ms=Fraction(400), requests_per_second=Fraction(rate), places=places, target_ms=Fraction(400 + slack))
    needed = latency(asked).for_target
    assert needed is not None
    reached, before = at(needed), at(needed - 1) if needed > 1 else None
    assert reached is not None and reached <= 400 + slack + Fraction(1, 10**6)
    assert before is None or before > 400 + slack


def test_an_overloaded_queue_has_no_wait_and_an_empty_one_none() -> None:
    full = latency(LatencyInputs(alone_ms=Fraction(1000), requests_per_second=Fraction(4), replicas=4, target_ms=Fraction(1500)))
    assert (full.wait_ms, full.latency_ms, full.for_throughput) == (None, None, 5)
    empty = latency(LatencyInputs(requests_per_second=Fraction(0), target_ms=Fraction(900)))
    assert empty.wait_ms == 0 and empty.latency_ms == 800 and empty.for_target == 1
    with pytest.raises(CalculationError, match="at once"):
        latency(LatencyInputs(replicas=10**5, places=10**5))


def test_spares_by_counting_what_may_fail() -> None:
    found = redundancy(RedundancyInputs(needed=2, spares=1, availability=Fraction(9, 10)))
    assert found.before == Fraction(81, 100)
    assert found.after == Fraction(3 * 81, 1000) + Fraction(729, 1000)
    twice = redundancy(RedundancyInputs(needed=2, spares=1, regions=2, availability=Fraction(9, 10)))
    assert twice.after == 1 - (1 - found.after) ** 2 and twice.replicas == 6
    none = redundancy(RedundancyInputs(spares=0))
    assert none.spare_usd == none.hours_saved == 0 and none.hour_usd is None


def test_many_replicas_are_summed_as_few_are() -> None:
    few = redundancy(RedundancyInputs(needed=48, spares=2, availability=Fraction("0.99"))).after
    many = redundancy(RedundancyInputs(needed=49, spares=2, availability=Fraction("0.99"))).after
    assert 0 < float(few) - float(many) < 0.01
    assert 0 < redundancy(RedundancyInputs(needed=1000, spares=30, availability=Fraction("0.99"))).after <= 1


@pytest.mark.parametrize(
    ("asked", "desired"),
    [
        (HpaInputs(), 2),
        (HpaInputs(value=Fraction(140)), 8),
        (HpaInputs(value=Fraction(74)), 4),
        (HpaInputs(value=Fraction(80)), 5),
        (HpaInputs(kind="AverageValue", value=Fraction(100)), 2),
        (HpaInputs(kind="AverageValue", value=Fraction(100_000)), 20),
        (HpaInputs(value=Fraction(0)), 1),
        (HpaInputs(value=Fraction(0), least=0), 0),
    ],
)
def test_an_autoscaler_does_what_kubernetes_documents(asked: HpaInputs, desired: int) -> None:
    assert hpa(asked).desired == desired


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(CalculationError, match="least is 30"):
        hpa(HpaInputs(least=30))


def test_the_way_down_and_up() -> None:
    assert behaviour(BehaviourInputs()).path == "20 > 15 > 11 > 8 > 6 > 4 > 3 > 2 > 1"
    up = behaviour(BehaviourInputs(start=1, end=20, kind="Pods", value=4, window_s=30))
    assert (up.steps, up.seconds, up.path) == (5, 30 + 4 * 60, "1 > 5 > 9 > 13 > 17 > 20")
    assert behaviour(BehaviourInputs(start=3, end=3)).seconds == 0
    doubled = behaviour(BehaviourInputs(start=1, end=5, value=100))
    assert doubled.path == "1 > 2 > 4 > 5"


def test_a_policy_that_changes_nothing_is_told() -> None:
    stuck = behaviour(BehaviourInputs(start=0, end=4))
    assert (stuck.steps, stuck.seconds, stuck.path) == (None, None, "0")
