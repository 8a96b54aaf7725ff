"""Own GPUs against an API and against serverless: the crossing is where the bills really cross."""

from fractions import Fraction
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.calculators.break_even import BreakEvenInputs, break_even
from penstock.domain.sizing.calculators.calculator import CalculationError
from penstock.domain.sizing.calculators.serverless import ServerlessInputs, serverless


def test_the_first_load_that_pays_is_whole_and_above_the_crossing() -> None:
    found = break_even(BreakEvenInputs(weights_gb=Fraction(0), output_tokens=Fraction(600), requests_per_day=Fraction(8000)))
    assert found.exact == Fraction(160_000, 3) and found.cheaper_from == 53_334
    assert found.own_usd == 576 and found.api_usd == Fraction("86.40") and found.cheaper == "API"


def test_equal_bills_are_not_cheaper() -> None:
    found = break_even(BreakEvenInputs(weights_gb=Fraction(0), api_output_usd=Fraction("0.64")))
    assert found.exact == 60_000 and found.cheaper_from == 60_001
    at = break_even(BreakEvenInputs(weights_gb=Fraction(0), api_output_usd=Fraction("0.64"), requests_per_day=found.exact))
    assert at.cheaper == "neither" and at.saved_usd == 0


def test_input_without_a_price_is_unknown_and_not_free() -> None:
    with pytest.raises(CalculationError, match="input_tokens have no price"):
        break_even(BreakEvenInputs(input_tokens=Fraction(1)))
    cheap = break_even(BreakEvenInputs())
    dear = break_even(BreakEvenInputs(input_tokens=Fraction(2000), api_input_usd=Fraction("0.15")))
    assert dear.exact is not None and cheap.exact is not None and dear.exact == cheap.exact / 2, "input at 0.0003 doubles the bill"


def test_a_replica_that_holds_less_than_it_costs_never_pays() -> None:
    found = break_even(BreakEvenInputs(capacity=Fraction(370)))
    assert (found.exact, found.cheaper_from, found.always_from) == (None, None, None)
    assert break_even(BreakEvenInputs(capacity=Fraction(371))).cheaper_from is not None
    assert break_even(BreakEvenInputs(api_output_usd=Fraction(0))).exact is None


def test_peaks_need_replicas() -> None:
    flat = break_even(BreakEvenInputs(capacity=Fraction(1000), requests_per_day=Fraction(150_000)))
    peaked = break_even(
        BreakEvenInputs(capacity=Fraction(1000), requests_per_day=Fraction(150_000), p95_load=Fraction(3), p50_load=Fraction("0.5"))
    )
    assert (flat.replicas, peaked.replicas) == (1, 3)
    assert peaked.p95_use is not None and peaked.p50_use == peaked.p95_use / 6
    assert peaked.p95_use <= 1


LOADS = st.fractions(min_value=Fraction(1, 10), max_value=5, max_denominator=10)


@given(capacity=st.integers(200, 5000), p95=LOADS, rent=st.integers(1, 400), weights=st.integers(0, 5000))
def test_the_staircase_is_below_the_line_from_there_on(capacity: int, p95: Fraction, rent: int, weights: int) -> None:
    def at(load: int) -> str:
        asked = BreakEvenInputs(
            capacity=Fraction(capacity),
            p95_load=p95,
            gpu_hour_usd=Fraction(rent, 100),
            weights_gb=Fraction(weights),
            requests_per_day=Fraction(load),
        )
        return break_even(asked).cheaper

    found = break_even(
        BreakEvenInputs(capacity=Fraction(capacity), p95_load=p95, gpu_hour_usd=Fraction(rent, 100), weights_gb=Fraction(weights))
    )
    if found.cheaper_from is None:
        assert found.always_from is None
        assert at(10**6) != "own GPUs"
        return
    assert found.always_from is not None and found.cheaper_from <= found.always_from
    assert at(found.cheaper_from) == "own GPUs"
    assert found.cheaper_from == 1 or at(found.cheaper_from - 1) != "own GPUs"
    for beyond in (0, 1, 1000, 10**6):
        assert at(found.always_from + beyond) == "own GPUs"


def test_serverless_without_starts_and_waiting_meets_at_the_ratio_of_the_tariffs() -> None:
    free = ServerlessInputs(cold_start_s=Fraction(0), idle_timeout_s=Fraction(0))
    found = serverless(free)
    assert found.billed_s == 4 and found.cold_share == 1
    assert found.serverless_usd == Fraction("3.95") / 3600 * 4 * 2000 * 30
    assert found.break_even_requests is not None
    duty = Fraction(found.break_even_requests * 4, 86_400)
    assert duty - Fraction(4, 86_400) < found.break_even_duty <= duty


def test_starts_and_waiting_are_billed() -> None:
    found = serverless(ServerlessInputs())
    rate = 2000 / 86_400
    cold = exp(-rate * 5)
    assert found.cold_share is not None and float(found.cold_share) == pytest.approx(cold)
    assert found.billed_s is not None and float(found.billed_s) == pytest.approx(4 + cold * 60 + (1 - cold) / rate)
    assert found.break_even_requests is not None
    below, above = (serverless(ServerlessInputs(requests_per_day=Fraction(found.break_even_requests + step))).cheaper for step in (-1, 0))
    assert (below, above) == ("serverless", "provisioned")


def test_minimum_and_step_round_what_is_billed_up() -> None:
    def billed(busy: str, minimum: int = 0, step: int = 1) -> Fraction | None:
        asked = ServerlessInputs(
            busy_s=Fraction(busy), minimum_s=Fraction(minimum), step_s=Fraction(step), cold_start_s=Fraction(0), idle_timeout_s=Fraction(0)
        )
        return serverless(asked).billed_s

    assert [billed("0.2"), billed("4.1"), billed("0.2", minimum=10), billed("11", step=10)] == [1, 5, 10, 20]


def test_no_requests_cost_nothing_and_have_no_cold_share() -> None:
    found = serverless(ServerlessInputs(requests_per_day=Fraction(0)))
    assert found.serverless_usd == 0 and found.tail == "no requests"
    assert found.billed_s is None and found.cold_share is None


@given(st.integers(0, 200_000))
def test_more_than_one_busy_worker_needs_more_than_one_replica(requests: int) -> None:
    found = serverless(ServerlessInputs(requests_per_day=Fraction(requests)))
    assert found.duty <= found.replicas and (found.replicas < found.duty + 1 or found.replicas == 1)
    assert found.provisioned_usd == found.replicas * Fraction("2.69") * 720
