"""What runs come to: percentiles with endless values, money, objectives, what binds, and the perfect scaler."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.simulation.demand import best_batch, work_s
from penstock.domain.simulation.fleet import Fleet, Run, simulate
from penstock.domain.simulation.perfect import nano_usd, perfect_replicas, windows
from penstock.domain.simulation.replica import StepTimes
from penstock.domain.simulation.report import Figures, Percentiles, figures, latencies, percentiles
from penstock.domain.simulation.shield import Shield, SpillPrices
from penstock.domain.simulation.slo import parse_slo
from penstock.domain.simulation.trace import Trace
from tests.unit.simulation.fleets import TIMES, Scripted, fleet_of, kind_of, random_trace, trace_of

PRICED = kind_of(usd_per_hour=Fraction(36, 10), cold_start_s=100.0)


def told(trace: Trace, fleet: Fleet, *desired: int, slo: str | None = None, prices: SpillPrices | None = None) -> Figures:
    run = simulate(trace, fleet, Scripted(10.0, *desired) if desired else None)
    return figures(trace, fleet, run, parse_slo(slo) if slo else None, prices)


def test_figures_of_one_request() -> None:
    found = told(trace_of([3.0], prompt=100, output=11), fleet_of(PRICED), slo="ttft_p95=1s, tpot_p50=1ms")
    assert (found.requests, found.served, found.input_tokens, found.output_tokens) == (1, 1, 100, 11)
    first = TIMES.decode_s[0] + 100 * TIMES.prefill_s + TIMES.attention_s * 4950
    assert [found.ttft.p50, found.ttft.p95, found.ttft.p99, found.ttft.mean] == [pytest.approx(first)] * 4
    assert found.duration_s == pytest.approx(3.0 + first + 10 * TIMES.decode_s[1], abs=1e-3)
    assert found.cost.total == nano_usd(found.duration_s, Fraction(36, 10)) == pytest.approx(found.duration_s * 1e6, rel=1e-6)
    assert found.cp1kt is not None and float(found.cp1kt) == pytest.approx(found.duration_s * 1e6 / 111 * 1000, rel=1e-6)
    assert [each.met for each in found.attained] == [True, False] and found.slo_met is False and found.slo_attainment == 0.0
    assert (found.mean_replicas, found.peak_replicas, found.reversals, found.binds) == (1.0, 1, 0, "decode")


def test_figures_of_nothing() -> None:
    found = told(trace_of([]), fleet_of(PRICED), slo="ttft_p95=1s")
    assert found.ttft == Percentiles(None, None, None, None)
    assert (found.cost.total, found.oracle_cost, found.cp1kt, found.output_tokens_per_s, found.reversals_per_hour) == (0, 0, None, 0.0, 0.0)
    assert found.slo_met and found.slo_attainment == 1.0 and found.waiting == {}


def test_an_unknown_price_is_unknown() -> None:
    found = told(trace_of([0.0]), fleet_of())
    assert found.cost.total is None and found.cost.by_kind == {"h100": None} and found.oracle_cost is None and found.cp1kt is None
    unused = told(trace_of([0.0]), fleet_of(PRICED, kind_of(name="other"), start=(1, 0)))
    assert unused.cost.total is not None and unused.cost.by_kind["other"] == 0


def test_spilled_requests_cost_what_the_api_asks() -> None:
    fleet = fleet_of(PRICED, start=(0,), scaled=0, shield=Shield(mode="spill", spill_after_s=1.0))
    prices = SpillPrices(input=Fraction(5, 2), output=Fraction(10))
    found = told(trace_of([0.0, 1.0, 2.0], prompt=1_000, output=100), fleet, 0, prices=prices)
    assert found.spilled == 3 and found.served == 0
    assert found.cost.spilled == 3 * (1_000 * 2_500 + 100 * 10_000) and found.cost.replicas == 0
    unpriced = told(trace_of([0.0]), fleet, 0)
    assert unpriced.cost.spilled is None and unpriced.cost.total is None


def test_refused_and_unfinished_requests_are_misses() -> None:
    trace = trace_of([0.0] * 8, prompt=[100] * 6 + [10**9] * 2)
    found = told(trace, fleet_of(), slo="ttft_p75=1s")
    assert (found.served, found.refused) == (6, 2)
    assert found.ttft.p99 is not None and found.attained[0].share == 0.75 and found.attained[0].met
    asleep = told(trace_of([0.0, 1.0]), fleet_of(PRICED, start=(0,), scaled=0, patience_s=20.0), 0, slo="e2e_p50=1h")
    assert asleep.unfinished == 2 and asleep.e2e.p50 is None and asleep.attained[0].value_s is None and not asleep.slo_met


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.integers(0, 5))
def test_percentiles_are_values_and_endless_ones_come_last(values: list[float], endless: int) -> None:
    found = percentiles(np.array([*values, *[np.inf] * endless, np.nan]))
    ordered = sorted(values)
    for share, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        rank = -(-(len(values) + endless) * share // 100) - 1
        assert value == (ordered[rank] if rank < len(values) else None)
    assert found.mean == pytest.approx(sum(values) / len(values))


def test_latencies_of_a_single_token_have_no_time_per_token() -> None:
    trace = trace_of([0.0, 10.0], output=[1, 3])
    known = latencies(trace, simulate(trace, fleet_of()))
    assert np.isnan(known.tpot[0]) and known.tpot[1] == pytest.approx(TIMES.decode_s[1], rel=0.01)
    assert known.e2e[0] == known.ttft[0]


def test_reversals_are_changes_of_direction() -> None:
    found = told(trace_of([0.0, 100.0]), fleet_of(PRICED, scaled=0, start=(1,)), 2, 3, 3, 1, 1, 2, 4, 4, 3)
    assert found.reversals == 3 and found.reversals_per_hour == pytest.approx(3 * 3600 / found.duration_s)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"kv_tokens": 3_000}, "kv memory"),
        ({"max_sequences": 4}, "max sequences"),
        ({"step_tokens": 256, "times": TIMES._replace(prefill_s=1e-3)}, "prefill"),
    ],
)
def test_what_binds_is_named(values: dict[str, object], cause: str) -> None:
    trace = random_trace(1, 1_000, 30, 800, 40)
    found = told(trace, fleet_of(kind_of(**values)))
    assert found.binds == cause and sum(found.waiting.values()) == pytest.approx(1.0)
    ttft = found.ttft.mean
    assert ttft is not None and 0.5 * ttft < found.mean_wait_s <= ttft


def test_a_cold_start_binds_a_fleet_that_sleeps() -> None:
    found = told(trace_of([0.0, 5.0]), fleet_of(PRICED, start=(0,), scaled=0), 1)
    assert found.binds == "cold start" and found.mean_wait_s == pytest.approx(107.5, abs=0.1)


def test_the_perfect_scaler_has_the_least_replicas_for_the_work_of_each_window() -> None:
    times = StepTimes(np.concatenate(([0.0], np.full(256, 0.01))), 0.0, 0.001, 0.0)
    kind = kind_of(times=times, max_sequences=1, usd_per_hour=Fraction(3600))
    trace = trace_of([0.0, 10.0, 65.0, 200.0], prompt=[30_000, 10_000, 61_000, 1_000], output=[1, 1, 101, 1])
    run = simulate(trace, fleet_of(kind, start=(4,)))
    work = work_s(kind, trace.input_tokens, trace.output_tokens)
    assert work.tolist() == pytest.approx([30, 10, 62, 1])
    assert windows(trace).tolist() == [60, 60, 80]
    assert perfect_replicas(trace, kind, run.outcome).tolist() == [1, 2, 1]
    assert figures(trace, fleet_of(kind, start=(4,)), run).oracle_cost == (60 + 2 * 60 + 80) * 10**9
    assert figures(trace, fleet_of(kind, start=(4,), scaled=0, least=2), run).oracle_cost == 2 * 200 * 10**9


def test_no_request_needs_no_perfect_replica_and_all_at_once_need_one_window() -> None:
    assert windows(trace_of([])).tolist() == [1.0]
    assert windows(trace_of([0.0, 0.0])).tolist() == [1.0]
    assert windows(trace_of([0.0, 29.0])).tolist() == [29.0]
    assert windows(trace_of([0.0, 600.0])).tolist() == [60.0] * 10


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_that_keeps_up_is_not_cheaper_than_the_perfect_scaler(seed: int) -> None:
    trace = random_trace(seed, 4_000, 20, 2_000, 300)
    found = told(trace, fleet_of(PRICED, start=(4,)), slo="ttft_p99=500ms")
    assert found.slo_met and found.cost.total is not None and found.oracle_cost is not None
    assert found.cost.total >= found.oracle_cost


def test_a_full_batch_serves_as_much_work_as_it_is_said_to() -> None:
    """A replica that is given far more than it can do needs the time that `work_s` says, within a tenth."""
    trace = random_trace(3, 4_000, 1_000, 1_000, 300)
    kind = kind_of(kv_tokens=100_000, max_sequences=128)
    run: Run = simulate(trace, fleet_of(kind))
    assert run.end_s == pytest.approx(float(work_s(kind, trace.input_tokens, trace.output_tokens).sum()), rel=0.1)
    assert best_batch(kind, 500, 150) == 128
