"""Policies on one trace: the smallest fixed fleet, rows that are exact, shields that differ as they should, and the best where none fits.

Step times are made up, so that the test does not depend on the constants that are shipped.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

from penstock.adapters.feeds.catalogue import accelerators, find_architecture
from penstock.capacity import simulating
from penstock.capacity.replaying import Spot
from penstock.capacity.replicas import Hardware, deployed
from penstock.capacity.simulating import Asked, Plan, simulated
from penstock.capacity.simulation_report import SimulationReport
from penstock.domain.simulation.scaling.named import PolicyError
from penstock.domain.simulation.shield import Shield, SpillPrices
from penstock.domain.simulation.slo import parse_slo
from penstock.domain.simulation.synthetic import synthetic
from penstock.domain.simulation.trace import Trace, TraceError
from penstock.domain.simulation.traffic import parse_traffic
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.latency.deployment import Prediction
from penstock.domain.sizing.latency.laws import StepTimes

DAY = "rps=0.5,swing=1,peak_hour=3,input=600,output=80,hours=6"
NIGHT = "rps=0.004,input=600,output=80,hours=8"
SLO = "ttft_p95=2s"
PROMPT_S = 1e-3
"""per token"""


class Predicts:
    """Stands in for the latency model."""

    class document:
        version = "made up"

    def predict(self, deployment: object, workload: object) -> Prediction:
        return Prediction(ttft_ms=1, ttft_low_ms=1, ttft_high_ms=1, tpot_ms=20, tpot_low_ms=15, tpot_high_ms=30)


@pytest.fixture(autouse=True)
def step_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(model: object, deployment: object, most: int) -> StepTimes:
        return StepTimes(np.linspace(0.05, 0.3, most + 1), 1e-7, PROMPT_S, 1e-9)

    monkeypatch.setattr(simulating, "step_times", made)


def hardware(usd: str | None = "3.60", cold_start_s: float = 180.0) -> Hardware:
    made, fit = deployed(find_architecture("llama-3.1-8b"), find("L4", accelerators()))
    price = None if usd is None else Fraction(usd)
    return Hardware(deployment=made, fit=fit, usd_per_hour=price, price_source="made up", cold_start_s=cold_start_s, max_sequences=64)


def run(text: str | Trace = DAY, slo: str = SLO, rented: Hardware | None = None, **plan: Any) -> SimulationReport:
    trace = synthetic(parse_traffic(text), 1) if isinstance(text, str) else text
    asked = Asked("sim_1", 5, "a run", "made", ())
    made = Plan(slo=parse_slo(slo), slo_words=slo, **plan)
    return simulated(trace, rented or hardware(), made, Predicts(), asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def day() -> SimulationReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulating, "step_times", lambda model, made, most: StepTimes(np.linspace(0.05, 0.3, most + 1), 1e-7, PROMPT_S, 1e-9))
        return run(policies=("queue", "forecast", "hpa_cpu"))


def test_the_fixed_fleet_is_the_smallest_that_keeps_the_slo(day: SimulationReport) -> None:
    fixed = day.rows[0]
    assert fixed.policy == f"static:replicas={fixed.peak_replicas}" and fixed.meets and fixed.reversals == 0
    smaller = run(replicas=fixed.peak_replicas - 1)
    assert fixed.peak_replicas > 1 and smaller.rows[0].first_token_s.p95 > fixed.first_token_s.p95  # type: ignore[operator]


def test_rows_are_paid_exactly(day: SimulationReport) -> None:
    """3.60 USD an hour is a tenth of a cent a second."""
    fixed = day.rows[0]
    end_s = Decimal(fixed.cost_usd or 0) * 1000 / fixed.peak_replicas
    assert 21_000 < end_s < 22_500
    for row in day.rows:
        assert row.cost_usd == row.cost_parts_usd["replicas"] and row.cost_parts_usd["spilled"] == "0.000000000"
        assert row.over_oracle == pytest.approx(float(row.cost_usd or 0) / float(row.oracle_usd or 1), abs=1e-3)
        assert row.served == row.requests and 0 <= (row.attainment or 0) <= 1
    assert day.cheapest is not None and day.cheapest.meets


def test_the_course_ends_at_the_cost_of_the_row(day: SimulationReport) -> None:
    told = day.courses
    assert [each.policy for each in told.policies] == [row.name for row in day.rows]
    for row, each in zip(day.rows, told.policies, strict=True):
        assert each.cost_usd is not None and each.cost_usd[-1] <= float(row.cost_usd or 0) * 1.0001
        assert len(each.replicas) == len(told.at_s) == len(told.load_rps) == len(told.needed or ())
        assert list(each.cost_usd) == sorted(each.cost_usd)
    assert (told.policies[0].cost_usd or (0,))[-1] == pytest.approx(float(day.rows[0].cost_usd or 0), rel=1e-4)
    assert max(told.policies[0].replicas) == day.rows[0].peak_replicas
    step_s = told.at_s[1] - told.at_s[0]
    assert sum(told.load_rps) * step_s == pytest.approx(day.requests, rel=0.001)


def test_the_same_seed_gives_the_same_run(day: SimulationReport) -> None:
    again = run(policies=("queue",))
    assert again.rows == day.rows[:2]
    assert msgspec.json.decode(msgspec.json.encode(day), type=SimulationReport) == day


def test_policies_are_told_what_the_run_knows() -> None:
    told: list[str] = []
    trace = synthetic(parse_traffic("rps=1,input=600,output=80,hours=1"), 1)
    plan = Plan(slo=parse_slo("ttft_p95=3s"), slo_words="", policies=("ttft",))
    kind = simulating.replica_kind(hardware(cold_start_s=77), Predicts())  # type: ignore[arg-type]
    replay = simulating._Replay(trace, kind, plan, lambda share, what: told.append(what))
    fixed = replay.fixed()
    assert replay._policy("ttft", fixed).sla_s == 3.0  # type: ignore[attr-defined]
    assert replay._policy("ttft:sla=9", fixed).sla_s == 9.0  # type: ignore[attr-defined]
    forecast = replay._policy("forecast", fixed)
    assert forecast.cold_start_s == 77 and forecast.rps_per_replica == pytest.approx(1.0 / fixed.replicas, rel=0.1)  # type: ignore[attr-defined]
    assert any(what.startswith("a fixed fleet of") for what in told)


def test_shields_tell_what_a_sleeping_fleet_costs_and_keeps() -> None:
    shields = (("hold", Shield()), ("cache=0.5", Shield(mode="cache", hit_rate=0.5)), ("spill", Shield(mode="spill", spill_after_s=1.0)))
    plan: dict[str, Any] = {"policies": ("queue",), "shields": shields, "least": 0, "workload": "background"}
    report = run(NIGHT, slo="ttft_p95=10s", spill=SpillPrices(input=Fraction(1), output=Fraction(2)), **plan)
    static, hold, cache, spill = report.rows
    assert [row.shield for row in report.rows] == [None, "hold", "cache=0.5", "spill"]
    assert float(hold.cost_usd or 0) < float(static.cost_usd or 0), "asleep at night"
    assert hold.first_token_s.p99 > 100, "the first after a sleep waits for the cold start"  # type: ignore[operator]
    assert spill.spilled > 0 and spill.first_token_s.p99 < 10  # type: ignore[operator]
    assert cache.cached > 0 and Decimal(spill.cost_parts_usd["spilled"] or 0) == spill.spilled * Decimal("0.000760")
    free = run(NIGHT, slo="ttft_p95=10s", **plan)
    assert free.rows[3].cost_usd is None and "no cost" in " ".join(free.notes), "what an API asks is unknown, not nothing"


def test_a_class_that_is_kept_warm_does_not_begin_asleep() -> None:
    warm, asleep = (run(policies=("queue",), least=0, workload=name).rows[1] for name in ("interactive", "background"))
    assert warm.first_token_s.p99 < 100 < asleep.first_token_s.p99  # type: ignore[operator]


def test_where_nothing_keeps_the_slo_the_best_is_told() -> None:
    report = run("rps=0.1,input=9000,output=80,hours=0.5", policies=("queue",), slo="ttft_p95=1s")
    assert not any(row.meets for row in report.rows) and report.best is not None and not report.best.meets
    assert report.best.first_token_p95_s > 3.0, "9,000 tokens take 9 s to read"  # type: ignore[operator]
    assert "prompts take that long" in report.best.hint and report.cheapest is None


def test_what_no_replica_holds_is_named_before_what_is_slow() -> None:
    lengths = np.where(np.arange(100) % 10, 100, 300_000)
    trace = Trace(np.arange(100.0) * 10, lengths, np.full(100, 20))
    report = run(trace, policies=("queue",), slo="ttft_p95=20s")
    assert report.best is not None and "10 of 100 requests are longer than a replica takes" in report.best.hint


def test_more_than_may_be_had_is_not_tried() -> None:
    report = run("rps=5,input=600,output=80,hours=0.5", most=2)
    assert report.rows[0].peak_replicas <= 2 and report.best is not None and report.best.replicas == 2


def test_an_unknown_price_stays_unknown() -> None:
    report = run("rps=0.3,input=600,output=80,hours=1", rented=hardware(None), policies=("queue",))
    assert {row.cost_usd for row in report.rows} == {None} and report.cheapest is None and report.usd_per_replica_hour is None
    assert report.courses.policies[0].cost_usd is None


def test_spot_machines_are_taken_away() -> None:
    calm, rough = (run("rps=0.3,input=600,output=80,hours=6", replicas=3, spot=spot) for spot in (None, Spot(1800.0, 300.0)))
    assert rough.rows[0].first_token_s.p99 > calm.rows[0].first_token_s.p99  # type: ignore[operator]
    assert any("taken away" in note for note in rough.notes)


def test_one_request_and_one_that_is_too_long() -> None:
    one = run(Trace(np.array([0.0]), np.array([100]), np.array([10])), policies=("queue",))
    assert one.requests == 1 and one.rows[0].served == 1 and one.rows[0].meets
    long = run(Trace(np.array([0.0, 1.0]), np.array([100, 10**8]), np.array([10, 10])), replicas=1)
    assert long.rows[0].refused == 1 and long.rows[0].meets is False


def test_unknown_policies_are_refused() -> None:
    with pytest.raises(PolicyError, match="there is no scaling policy `qeue`"):
        run("rps=0.3,input=600,output=80,hours=1", policies=("qeue",))


def test_more_at_least_than_the_fixed_fleet_has(day: SimulationReport) -> None:
    found = run(policies=("queue",), replicas=1, least=4)
    assert found.rows[0].peak_replicas == 1 and found.rows[1].mean_replicas >= 4


def test_a_trace_that_no_replica_holds_is_refused() -> None:
    with pytest.raises(TraceError, match="not one of 3 requests fits: a replica holds "):
        run(Trace(np.arange(3.0), np.full(3, 10**8), np.full(3, 10)))
