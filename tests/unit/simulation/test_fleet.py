"""Fleets in motion: cold starts, drains, interruptions, shields, mixed kinds, and the bill."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.simulation.driving import Drive
from penstock.domain.simulation.engine_state import READY
from penstock.domain.simulation.fleet import CAUSES, ROUTINGS, Fleet, FleetError, Interruption, Routing, simulate
from penstock.domain.simulation.replica import CACHED, SERVED, SPILLED, UNFINISHED, StepTimes
from penstock.domain.simulation.shield import Shield, ShieldMode
from tests.unit.simulation.fleets import TIMES, Scripted, fleet_of, kind_of, random_trace, trace_of

COLD = kind_of(cold_start_s=100.0)


def scaled(*, start: int = 0, **values: object) -> Fleet:
    return fleet_of(COLD, start=(start,), scaled=0, **values)


def test_a_replica_is_billed_from_the_wish_and_serves_after_its_cold_start() -> None:
    run = simulate(trace_of([5.0, 20.0]), scaled(), Scripted(10.0, 1))
    assert run.outcome.first_token_s[0] == pytest.approx(110, abs=0.1)
    assert run.replica_seconds[0] == pytest.approx(run.end_s - 10)
    assert run.waited_s[CAUSES.index("cold start")] == pytest.approx(105 + 90)
    line = run.timeline
    assert line.starting[:11].tolist() == [0] + [1] * 10 and line.ready[10] == 0 and line.ready[-1] == 1
    assert line.waiting[:3].tolist() == [1, 1, 2] and line.tokens_in_flight[0] == 110


def test_signals_are_what_an_engine_would_tell() -> None:
    policy = Scripted(1.0, 2)
    trace = trace_of([0.0] * 20, prompt=1_000, output=400)
    simulate(trace, scaled(start=2), policy)
    first = policy.told[0]
    assert (first.ready, first.starting, first.waiting, first.arrivals, first.interval_s) == (2, 0, 0, 20, 1.0)
    assert first.running == 20 and first.tokens_in_flight == 20 * 1_400 and first.token_capacity == 800_000
    assert 20 * 1_000 < first.kv_use * 800_000 < 20 * 1_400
    assert first.active == pytest.approx(1.0)
    assert first.ttft_p95_s is not None and 0.1 < first.ttft_p95_s < 1.0
    last = policy.told[-1]
    assert (last.waiting, last.running, last.tokens_in_flight, last.kv_use) == (0, 0, 0, 0.0)


def test_first_tokens_leave_the_window() -> None:
    policy = Scripted(10.0, 1)
    simulate(trace_of([1.0, 200.0]), scaled(start=1, ttft_window_s=60.0), policy)
    told = {signals.at_s: signals.ttft_p95_s for signals in policy.told}
    assert told[10.0] is not None and told[60.0] is not None and told[70.0] is None and told[190.0] is None


def test_a_replica_that_is_let_go_finishes_what_it_has_and_takes_no_more() -> None:
    trace = trace_of([0.0, 0.0, 15.0], output=1_000)
    run = simulate(trace, scaled(start=2), Scripted(10.0, 1))
    assert sorted(run.outcome.replica[:2]) == [0, 1]
    assert run.outcome.fate.tolist() == [SERVED] * 3
    kept = int(run.outcome.replica[2])
    gone = run.outcome.finish_s[[0, 1]][run.outcome.replica[:2] != kept][0]
    assert run.replica_seconds[0] == pytest.approx(run.end_s + gone)


def test_a_replica_that_loads_is_given_up_first() -> None:
    run = simulate(trace_of([0.0, 60.0]), scaled(start=1), Scripted(10.0, 3, 1, 1))
    assert run.replica_seconds[0] == pytest.approx(run.end_s + 2 * 10)
    assert run.timeline.starting[:3].tolist() == [0, 2, 0] and run.timeline.desired[:3].tolist() == [3, 1, 1]


def test_bounds_hold_and_an_answer_counts_all_kinds() -> None:
    trace = trace_of(list(range(100)))
    fleet = fleet_of(kind_of(name="reserved"), COLD, start=(2, 0), scaled=1, least=1, most=3)
    run = simulate(trace, fleet, Scripted(10.0, 0, 4, 50))
    assert run.timeline.desired[:4].tolist() == [3, 4, 5, 5]


def test_an_interrupted_replica_loses_its_requests_and_comes_back_cold() -> None:
    interruption = Interruption(at_s=2.0, kind=0, replicas=1, until_s=50.0)
    trace = trace_of([0.0, 0.5, 10.0], output=200)
    run = simulate(trace, fleet_of(COLD, interruptions=(interruption,)))
    calm = simulate(trace, fleet_of(COLD))
    assert (run.outcome.first_token_s[:2] == calm.outcome.first_token_s[:2]).all()
    assert run.outcome.preemptions.tolist() == [1, 1, 0]
    assert run.outcome.first_token_s[2] == pytest.approx(150, abs=0.2)
    assert (run.outcome.fate == SERVED).all() and set(run.outcome.replica) == {1}
    left = calm.outcome.finish_s[1] - 2.0
    assert run.outcome.finish_s[1] == pytest.approx(150 + left, abs=0.3)
    assert run.replica_seconds[0] == pytest.approx(run.end_s - 48)


def test_with_others_there_the_requests_of_a_lost_replica_move_at_once() -> None:
    interruption = Interruption(at_s=30.0, kind=0, replicas=2, until_s=40.0)
    trace = random_trace(1, 600, 10, 500, 200)
    run = simulate(trace, fleet_of(COLD, start=(4,), interruptions=(interruption,)))
    assert (run.outcome.fate == SERVED).all() and run.outcome.preemptions.sum() > 0
    assert np.nanmax(run.outcome.first_token_s - trace.arrival_s) < 10
    assert run.timeline.ready.min() == 2


def test_a_fleet_that_never_wakes_leaves_requests_unfinished() -> None:
    run = simulate(trace_of([0.0, 100.0]), scaled(patience_s=600.0), Scripted(10.0, 0))
    assert run.outcome.fate.tolist() == [UNFINISHED] * 2
    assert run.replica_seconds == (0.0,) and run.end_s == pytest.approx(720, abs=20)


def test_a_shield_spills_what_waits_too_long() -> None:
    shield = Shield(mode="spill", spill_after_s=30.0, spill_ttft_s=1.0, spill_tpot_s=0.1)
    run = simulate(trace_of([0.0, 95.0], output=11), scaled(shield=shield), Scripted(10.0, 1))
    assert run.outcome.fate.tolist() == [SPILLED, SERVED]
    assert run.outcome.first_token_s[0] == 31.0 and run.outcome.finish_s[0] == pytest.approx(32.0)
    assert run.outcome.replica[0] == -1 and 110 < run.outcome.first_token_s[1] < 111


def test_a_shield_answers_its_share_from_the_cache_and_holds_or_spills_the_rest() -> None:
    trace = trace_of(np.linspace(0, 50, 2_000).tolist())
    for mode, other in (("cache", SERVED), ("cache+spill", SPILLED)):
        run = simulate(trace, scaled(shield=Shield(mode=mode, hit_rate=0.3)), Scripted(10.0, 1))  # type: ignore[arg-type]
        assert set(run.outcome.fate) == {CACHED, other}
        assert np.mean(run.outcome.fate == CACHED) == pytest.approx(0.3, abs=0.04)
        cached = run.outcome.fate == CACHED
        assert (run.outcome.finish_s[cached] == trace.arrival_s[cached]).all()
    awake = simulate(trace, fleet_of(shield=Shield(mode="cache", hit_rate=0.3)))
    assert (awake.outcome.fate == SERVED).all()


def test_caching_and_tiering_take_their_share_at_all_times() -> None:
    trace = random_trace(4, 5_000, 50, 100, 20)
    run = simulate(trace, fleet_of(cache_hit_rate=0.25, other_tier_rate=0.5))
    shares = np.bincount(run.outcome.fate, minlength=3) / trace.requests
    assert shares[:3] == pytest.approx([0.25, 0.25, 0.5], abs=0.03)


def test_a_faster_kind_gets_more_and_a_long_request_goes_where_it_fits() -> None:
    fast = kind_of(name="fast", times=StepTimes(TIMES.decode_s / 4, TIMES.context_s / 4, TIMES.prefill_s / 4, TIMES.attention_s / 4))
    small = kind_of(name="small", max_context=2_000)
    trace = random_trace(6, 2_000, 20, 1_000, 100)
    for routing in ("round_robin", "least_requests", "least_tokens"):
        run = simulate(trace, fleet_of(fast, small, start=(1, 1), routing=routing))
        share = np.mean(run.outcome.replica == 0)
        assert 0.6 < share < 0.97, routing
    long = trace_of([0.0, 0.0], prompt=[3_000, 100])
    run = simulate(long, fleet_of(fast, small, start=(0, 1), scaled=0), Scripted(10.0, 2))
    assert run.outcome.replica.tolist() == [1, 0] and run.outcome.first_token_s[0] > 190


def test_prefix_routing_reuses_more_than_turns_do() -> None:
    trace = random_trace(8, 2_000, 20, 2_000, 50, block_tokens=64)
    reused = [
        simulate(trace, fleet_of(kind_of(kv_tokens=60_000), start=(4,), routing=routing)).outcome.reused_tokens.sum()
        for routing in ("prefix", "round_robin")
    ]
    assert reused[0] > reused[1] > 0
    off = simulate(trace, fleet_of(kind_of(prefix_cache=False), start=(4,), routing="prefix"))
    assert off.outcome.reused_tokens.sum() == 0


def test_progress_is_told_from_0_to_1() -> None:
    told: list[float] = []
    simulate(random_trace(1, 200, 5, 100, 20), fleet_of(), progress=told.append)
    assert told == sorted(told) and 0 < told[0] < told[-1] == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kinds": ()}, "needs a kind"),
        ({"start": (1, 2)}, "needs a kind"),
        ({"start": (-1,)}, "needs a kind"),
        ({"routing": "random"}, "no routing `random`"),
        ({"scaled": 1}, "cannot be scaled"),
        ({"least": 3, "most": 2}, "at least 3 and at most 2"),
        ({"cache_hit_rate": 0.7, "other_tier_rate": 0.5}, "shares"),
        ({"shield": Shield(spill_after_s=-1.0)}, "0 s or more"),
        ({"interruptions": (Interruption(at_s=5, kind=0, replicas=1, until_s=5),)}, "cannot be"),
        ({"kinds": (kind_of(step_tokens=10),)}, "steps of 10 tokens"),
        ({"kinds": (kind_of(kv_tokens=0),)}, "no memory"),
        ({"kinds": (kind_of(max_sequences=300),)}, "257 step times"),
        ({"kinds": (kind_of(times=TIMES._replace(prefill_s=float("nan"))),)}, "no times"),
        ({"kinds": (kind_of(times=TIMES._replace(decode_s=np.zeros(257))),)}, "no times"),
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"kinds": (kind_of(),), "start": (1,), **values}
    with pytest.raises(FleetError, match=message):
        simulate(trace_of([0.0]), Fleet(**given))  # type: ignore[arg-type]


def test_a_policy_needs_something_to_scale() -> None:
    with pytest.raises(FleetError, match="nothing to scale"):
        simulate(trace_of([0.0]), fleet_of(), Scripted(1.0, 1))


def test_a_replica_that_is_ready_at_the_very_tick_that_stops_another_takes_who_is_held() -> None:
    run = simulate(trace_of([5.0, 200.0]), scaled(), Scripted(10.0, *[2] * 10, 1))
    assert run.outcome.first_token_s[0] == pytest.approx(110, abs=0.1)
    lost = Interruption(at_s=110.0, kind=0, replicas=1, until_s=120.0)
    run = simulate(trace_of([5.0, 200.0]), scaled(interruptions=(lost,)), Scripted(10.0, 2))
    assert run.outcome.first_token_s[0] == pytest.approx(110, abs=0.1)


def test_a_policy_makes_up_for_what_was_interrupted_as_far_as_the_most_can_be_had() -> None:
    lost = Interruption(at_s=105.0, kind=0, replicas=1, until_s=500.0)
    for most, there in ((4, 2), (2, 1)):
        fleet = scaled(start=2, most=most, interruptions=(lost,))
        run = simulate(trace_of([0.0, 400.0]), fleet, Scripted(10.0, 2))
        at = int(np.searchsorted(run.timeline.at_s, 300.0))
        assert run.timeline.ready[at] + run.timeline.starting[at] == there


@pytest.mark.parametrize("interval_s", [0.037, 3.0, 1e5])
def test_looking_more_often_changes_nothing(interval_s: float) -> None:
    trace = random_trace(12, 300, 15, 600, 100, block_tokens=32)
    fleet = fleet_of(kind_of(kv_tokens=5_000, max_sequences=12, step_tokens=64), start=(3,), scaled=0, routing="prefix")
    calm, watched = (simulate(trace, fleet, policy).outcome for policy in (None, Scripted(interval_s, 3)))
    for one, other in zip(calm, watched, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    script=st.lists(st.integers(0, 5), min_size=1, max_size=25),
    lost=st.lists(st.tuples(st.floats(0, 60), st.integers(0, 1), st.integers(1, 3), st.floats(0.1, 40)), max_size=4),
    mode=st.sampled_from(["hold", "spill", "cache", "cache+spill"]),
    routing=st.sampled_from(ROUTINGS),
)
def test_whatever_happens_to_the_fleet_every_request_has_one_fate_and_no_memory_is_left(
    seed: int, script: list[int], lost: list[tuple[float, int, int, float]], mode: ShieldMode, routing: Routing
) -> None:
    trace = random_trace(seed, 120, 4, 300, 150, block_tokens=16)
    kinds = (kind_of(kv_tokens=900, max_sequences=5, step_tokens=40, cold_start_s=7.0), kind_of(cold_start_s=11.0))
    interruptions = tuple(Interruption(at_s=at, kind=kind, replicas=count, until_s=at + wait) for at, kind, count, wait in lost)
    shield = Shield(mode=mode, spill_after_s=4.0, hit_rate=0.3)
    fleet = fleet_of(*kinds, start=(1, 1), scaled=0, least=0, most=4, routing=routing, shield=shield, interruptions=interruptions)
    drive = Drive(trace, fleet, Scripted(5.0, *script), seed)
    run = drive.run(None)
    outcome, slots = run.outcome, drive.state.slots
    assert (outcome.fate != UNFINISHED).all() and np.isfinite(outcome.finish_s).all()
    assert (outcome.first_token_s >= trace.arrival_s).all() and (outcome.finish_s >= outcome.first_token_s).all()
    assert ((outcome.replica >= 0) == (outcome.fate == SERVED)).all()
    for left in (slots.memory, slots.batch, slots.context, slots.running, slots.waiting, slots.tokens):
        assert not left.any()
    assert (drive.state.nodes.holders[slots.status == READY] == 0).all()
    assert drive.state.gateway[0].held == drive.state.gateway[0].held_tokens == 0
    assert all(seconds <= 8 * (run.end_s + 1) for seconds in run.replica_seconds) and min(run.waited_s) >= -1e-6
