"""Bills, hours, commitments and tiers: exact sums, laws that must hold for any input, and inputs that mean nothing."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.sizing.calculators.calculator import CalculationError
from penstock.domain.sizing.calculators.committing import CommitmentInputs, FallInputs, commitment, mean_price, price_fall
from penstock.domain.sizing.calculators.curve import CurveInputs, cost_curve
from penstock.domain.sizing.calculators.deciding import BatchInputs, RightSizingInputs, batch_saving, right_sizing
from penstock.domain.sizing.calculators.hardware import (
    EffectiveInputs,
    ManagedInputs,
    MigInputs,
    effective_gpu_hour,
    managed_premium,
    mig_share,
)
from penstock.domain.sizing.calculators.serving import RequestInputs, ServingInputs, UnitInputs, request_cost, serving_cost, unit_cost
from penstock.domain.sizing.calculators.tiers import BlendInputs, CacheInputs, CascadeInputs, blend, cache_saving, cascade

SHARES = st.fractions(min_value=0, max_value=1, max_denominator=1000)
F = Fraction


def test_a_month_is_the_sum_of_its_parts() -> None:
    found = serving_cost(ServingInputs(gpus=3, days=31, hours_per_day=F(8), other_usd=F("1.5"), input_tokens=F(1500)))
    assert found.compute_usd == F("0.80") * 3 * 8 * 31
    assert found.total_usd == found.compute_usd + F("0.322") + F("1.5")
    assert found.cp1kt_usd == found.total_usd * 1000 / found.tokens and found.tokens == 4 * found.output_tokens
    assert found.request_usd is not None and found.request_usd * 310_000 == found.total_usd


def test_nothing_served_has_no_price_and_is_not_free() -> None:
    idle = serving_cost(ServingInputs(requests_per_day=F(0)))
    assert (idle.output_million_usd, idle.cp1kt_usd, idle.request_usd) == (None, None, None) and idle.total_usd > 0
    assert unit_cost(UnitInputs(tokens=F(0))).cp1kt_usd is None
    assert effective_gpu_hour(EffectiveInputs(idle=F(1))).effective_usd is None


def test_classes_of_a_request() -> None:
    found = request_cost(RequestInputs(cached_tokens=F(1000), cached_usd=F("0.3"), reasoning_tokens=F(100)))
    assert found.input_side_usd == F("0.0033") and found.output_side_usd == F("0.009")
    with pytest.raises(CalculationError, match="cached_tokens have no price"):
        request_cost(RequestInputs(cached_tokens=F(1)))


def test_recalled_tokens_lower_what_is_delivered_and_not_cp1kt() -> None:
    plain, cached = unit_cost(UnitInputs()), unit_cost(UnitInputs(recalled_tokens=F(150_000_000)))
    assert plain.cp1kt_usd == cached.cp1kt_usd and cached.delivered_usd is not None
    assert plain.delivered_usd == 2 * cached.delivered_usd


@given(idle=SHARES, failed=SHARES)
def test_waste_and_work_are_the_spend(idle: Fraction, failed: Fraction) -> None:
    asked = EffectiveInputs(idle=idle, failed=failed)
    if idle + failed > 1:
        with pytest.raises(CalculationError, match="more than all hours"):
            effective_gpu_hour(asked)
        return
    found = effective_gpu_hour(asked)
    assert found.wasted_usd + (found.effective_usd or 0) * found.productive**2 * asked.gpu_hours == found.spend_usd
    assert found.multiplier is None or found.multiplier >= 1


def test_slices_fit_their_card() -> None:
    half = mig_share(MigInputs(models=2, compute=3, memory=4))
    assert half.model_usd == F("1.75") and half.memory_gb == 40 and half.lost_memory == 0
    assert half.lost_compute == 1 - F(96, 132)
    with pytest.raises(CalculationError, match="do not fit") as caught:
        mig_share(MigInputs(models=4, compute=2, memory=2))
    assert caught.value.hint == "at most 3 fit the card"
    with pytest.raises(CalculationError, match="more SMs than the card"):
        mig_share(MigInputs(multiprocessors=100))


def test_a_premium_has_a_low_and_a_high_end() -> None:
    assert managed_premium(ManagedInputs()).low_hours == F("2.52")
    with pytest.raises(CalculationError, match="premium_high is below"):
        managed_premium(ManagedInputs(premium_high=F("0.05")))


@given(fall=st.integers(1, 99), years=st.integers(1, 40))
def test_the_mean_price_is_that_of_many_days(fall: int, years: int) -> None:
    left, term, steps = 1 - fall / 100, years / 4, 2000
    mean = sum(left ** (term * (step + 0.5) / steps) for step in range(steps)) / steps
    assert float(mean_price(F(fall, 100), F(years, 4))) == pytest.approx(mean, rel=1e-3)


@given(fall=st.integers(0, 95), discount=st.integers(0, 95), use=SHARES)
def test_a_commitment_pays_above_its_least_use(fall: int, discount: int, use: Fraction) -> None:
    found = commitment(CommitmentInputs(fall=F(fall, 100), discount=F(discount, 100), use=use, years=F(2)))
    pays = found.saved_usd > 0
    assert pays == (found.least_use is not None and use > found.least_use)
    assert pays == (F(discount, 100) > found.least_discount)
    assert found.least_use is None or found.least_use >= found.flat_use


def test_a_fall_told_by_the_month_is_the_same_fall() -> None:
    found = price_fall(FallInputs(fall=F("0.75"), months=F(24), price_usd=F(1)))
    assert found.start_usd == 4 and float(found.yearly) == pytest.approx(0.5) and float(found.monthly) == pytest.approx(1 - 0.5 ** (1 / 12))
    assert float(found.left) == pytest.approx(0.125) and found.dearer is not None and float(found.dearer) == pytest.approx(8)
    assert price_fall(FallInputs(fall=1 - F(1, 10**9), months=F(1))).dearer is None, "next to nothing is left"


def test_a_curve_takes_one_value_or_one_for_each_tier() -> None:
    found = cost_curve(CurveInputs(tiers=("a", "b"), gpus=(1, 2), hours_per_day=(F(24),), discount=(F(0),), regions=(1,)))
    assert [row.usd for row in found.rows] == [2520, 5040] and found.rows[1].jump == 2 == found.last_over_first
    free = cost_curve(CurveInputs(tiers=("a", "b"), gpus=(0, 2), hours_per_day=(F(24),), discount=(F(0),), regions=(1,)))
    assert free.rows[1].jump is None and free.last_over_first is None
    more = cost_curve(CurveInputs(burst_gpu_hours=(F(10),), other_usd=(F(5),)))
    assert more.rows[1].usd == 6048 + 35 + 5 and more.rows[1].list_usd == 10_080 + 35 + 5
    with pytest.raises(CalculationError, match="gpus has 2 values for 4 tiers"):
        cost_curve(CurveInputs(gpus=(1, 2)))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=5), st.data())
def test_a_blend_lies_between_its_tiers(parts: list[int], data: Any) -> None:
    prices = tuple(F(data.draw(st.integers(1, 1000))) for _ in parts)
    found = blend(BlendInputs(shares=tuple(F(part, sum(parts)) for part in parts), prices=prices))
    assert min(prices) <= found.blended <= max(prices) == found.alone
    assert found.saved is not None and 0 <= found.saved < 1


def test_shares_are_all_requests() -> None:
    with pytest.raises(CalculationError, match="the shares add up to"):
        blend(BlendInputs(shares=(F("0.6"), F("0.2"), F("0.1"))))
    with pytest.raises(CalculationError, match="different lengths"):
        blend(BlendInputs(prices=(F(1),)))


@given(fast=st.integers(1, 200), check=st.integers(0, 50), escalated=SHARES)
def test_a_cascade_pays_below_its_break_even(fast: int, check: int, escalated: Fraction) -> None:
    found = cascade(CascadeInputs(fast=F(fast), check=F(check), target=F(100), escalated=escalated))
    assert (found.verdict == "pays") == (found.saved > 0) == (found.break_even is not None and escalated < found.break_even)


def test_a_cache_saves_rent_by_whole_replicas() -> None:
    found = cache_saving(CacheInputs(replicas=10))
    assert (found.replicas, found.rent_saved) == (6, F("0.4"))
    assert cache_saving(CacheInputs(replicas=2)).rent_saved == 0
    assert cache_saving(CacheInputs(exact_hits=F(1), semantic_hits=F(0), replicas=3)).replicas == 1
    exact = cache_saving(CacheInputs(exact_hits=F("0.4"), semantic_hits=F(0), lookup_usd=F(0)))
    assert exact.saved == F("0.4") and exact.least_hits == 0
    assert cache_saving(CacheInputs(semantic_hits=F("0.01"))).saved < 0
    with pytest.raises(CalculationError, match="more than all requests"):
        cache_saving(CacheInputs(exact_hits=F("0.7")))


def test_a_feature_without_value_is_flagged_and_one_without_cost_is_not() -> None:
    assert right_sizing(RightSizingInputs(value_share=F(0))).flagged == "yes"
    assert right_sizing(RightSizingInputs(value_share=F(0), cost_share=F(0))).flagged == "no"
    assert right_sizing(RightSizingInputs(value_share=F("0.06"))).flagged == "no"


def test_batches_that_take_all_day_save_only_their_discount() -> None:
    found = batch_saving(BatchInputs(batch_hours=F(24), discount=F("0.5")))
    assert found.idle == 0 and found.times == 2 and found.saved == F("0.5")
    assert batch_saving(BatchInputs(discount=F(1))).times is None
    late = batch_saving(BatchInputs(batch_hours=F(24), start_hours=F(24)))
    assert late.saved == -1 and late.batch_usd == 2 * late.realtime_usd
