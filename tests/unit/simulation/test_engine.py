"""The kernel does what playing token by token does, and what queueing theory says."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.domain.simulation.fleet import simulate
from penstock.domain.simulation.replica import REFUSED, SERVED, ReplicaKind, StepTimes
from penstock.domain.simulation.trace import Trace
from tests.unit.simulation.fleets import TIMES, fleet_of, kind_of, random_trace, trace_of
from tests.unit.simulation.token_by_token import Oracle

ROUTINGS = ("round_robin", "least_requests", "least_tokens", "prefix")
NARROW = kind_of(kv_tokens=600, max_sequences=6, step_tokens=48)


def agree(trace: Trace, kind: ReplicaKind, replicas: int, routing: str) -> Oracle:
    """Plays both and compares all that is known of each request, unless rounding decides whether a request comes before a step."""
    oracle = Oracle(trace, kind, replicas, routing)
    played = oracle.play()
    if oracle.nearest_s < 1e-9:
        return oracle
    outcome = simulate(trace, fleet_of(kind, start=(replicas,), routing=routing)).outcome
    np.testing.assert_allclose(outcome.first_token_s, [asked.first_s for asked in played], rtol=0, atol=1e-6)
    np.testing.assert_allclose(outcome.finish_s, [asked.finish_s for asked in played], rtol=0, atol=1e-6)
    assert outcome.reused_tokens.tolist() == [asked.reused for asked in played]
    assert outcome.preemptions.tolist() == [asked.preemptions for asked in played]
    assert [fate == REFUSED for fate in outcome.fate] == [asked.refused for asked in played]
    return oracle


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 40),
    rate=st.floats(0.5, 200),
    lengths=st.tuples(st.integers(1, 300), st.integers(1, 120)),
    room=st.tuples(st.integers(2, 1500), st.integers(1, 12), st.integers(0, 200)),
    blocks=st.sampled_from([0, 8, 16, 50]),
    replicas=st.integers(1, 3),
    routing=st.sampled_from(ROUTINGS),
)
def test_the_kernel_agrees_with_the_oracle(
    seed: int,
    n: int,
    rate: float,
    lengths: tuple[int, int],
    room: tuple[int, int, int],
    blocks: int,
    replicas: int,
    routing: str,
) -> None:
    kind = kind_of(kv_tokens=room[0], max_sequences=room[1], step_tokens=room[1] + room[2])
    oracle = agree(random_trace(seed, n, rate, *lengths, block_tokens=blocks), kind, replicas, routing)
    assume(oracle.nearest_s >= 1e-9)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_preemption_prefixes_and_chunks_agree_with_the_oracle_and_happen(routing: str) -> None:
    oracle = agree(random_trace(7, 150, 40, 200, 150, block_tokens=16), NARROW, 2, routing)
    assert oracle.nearest_s >= 1e-9
    assert sum(asked.preemptions for asked in oracle.asked) > 20
    assert sum(asked.reused for asked in oracle.asked) > 500
    assert sum(played.steps for played in oracle.replicas) > 1000


def test_a_preempted_request_reads_again_only_what_others_took_from_it() -> None:
    trace = random_trace(7, 150, 40, 200, 150)
    kept = agree(trace, NARROW, 2, "least_requests")
    lost = agree(trace, kind_of(kv_tokens=600, max_sequences=6, step_tokens=48, prefix_cache=False), 2, "least_requests")
    ends = [max(asked.finish_s for asked in oracle.asked) for oracle in (kept, lost)]
    assert ends[0] < 0.98 * ends[1]


@pytest.mark.parametrize("seed", range(4))
def test_the_tail_agrees_with_the_oracle_in_the_middle_of_a_day(seed: int) -> None:
    trace = random_trace(seed, 400, 12, 800, 200)
    kind = kind_of(kv_tokens=20_000, max_sequences=32, step_tokens=512)
    assert agree(trace, kind, 3, "least_requests").nearest_s >= 1e-9


def test_one_request() -> None:
    outcome = simulate(trace_of([5.0], prompt=100, output=3), fleet_of()).outcome
    first = 5.0 + TIMES.decode_s[0] + 100 * TIMES.prefill_s + TIMES.attention_s * 4950
    assert outcome.first_token_s[0] == pytest.approx(first)
    assert outcome.finish_s[0] == pytest.approx(first + 2 * TIMES.decode_s[1] + TIMES.context_s * (101 + 102))
    assert outcome.replica.tolist() == [0]


def test_no_request() -> None:
    run = simulate(trace_of([]), fleet_of())
    assert run.end_s == 0 and run.replica_seconds == (0.0,) and len(run.outcome.fate) == 0


def test_a_request_that_no_replica_can_hold_is_refused_and_the_others_are_served() -> None:
    trace = trace_of([0.0, 0.1, 0.2, 0.3], prompt=[100, 10**9, 50, 399_990], output=[5, 5, 10**9, 11])
    outcome = simulate(trace, fleet_of()).outcome
    assert outcome.fate.tolist() == [SERVED, REFUSED, REFUSED, REFUSED]
    assert np.isnan(outcome.finish_s[1:]).all()
    short = simulate(trace, fleet_of(kind_of(max_context=104))).outcome
    assert short.fate.tolist() == [REFUSED] * 4


def test_the_same_seed_gives_the_same_run_and_another_cache_luck() -> None:
    trace = random_trace(3, 500, 30, 400, 80)
    runs = [simulate(trace, fleet_of(start=(2,), cache_hit_rate=0.3), seed=seed) for seed in (1, 1, 2)]
    for one, other in zip(runs[0].outcome, runs[1].outcome, strict=True):
        np.testing.assert_array_equal(one, other)
    assert runs[0].outcome.fate.tolist() != runs[2].outcome.fate.tolist()


def test_one_sequence_at_a_time_at_a_steady_rate_waits_as_an_m_d_1_queue() -> None:
    dice = np.random.default_rng(11)
    service = 0.5
    times = StepTimes(np.array([0.0, 0.001]), 0.0, service / 100, 0.0)
    for load in (0.2, 0.5):
        trace = trace_of(np.cumsum(dice.exponential(service / load, 60_000)).tolist(), prompt=100, output=1)
        outcome = simulate(trace, fleet_of(kind_of(times=times, max_sequences=1))).outcome
        wait = float(np.mean(outcome.first_token_s - trace.arrival_s)) - service
        assert wait == pytest.approx(load * service / (2 * (1 - load)), rel=0.05)


def test_little_s_law_holds() -> None:
    """Requests in the fleet, seen every second, are on average the rate times the time that each is there."""
    trace = random_trace(5, 40_000, 40, 600, 200)
    run = simulate(trace, fleet_of(start=(3,)))
    there = run.timeline.waiting + run.timeline.running
    busy = run.timeline.at_s < trace.duration_s
    spent = run.outcome.finish_s - trace.arrival_s
    assert np.mean(there[busy]) == pytest.approx(trace.requests / trace.duration_s * np.mean(spent), rel=0.03)


def test_what_comes_in_goes_out() -> None:
    trace = random_trace(9, 3_000, 60, 300, 200, block_tokens=16)
    run = simulate(trace, fleet_of(kind_of(kv_tokens=3_000, max_sequences=16, step_tokens=64), start=(3,), routing="prefix"))
    assert (run.outcome.fate == SERVED).all() and run.outcome.preemptions.sum() > 0
    assert (run.outcome.first_token_s > trace.arrival_s).all() and (run.outcome.finish_s >= run.outcome.first_token_s).all()
    last = {name: getattr(run.timeline, name)[-1] for name in ("waiting", "running", "tokens_in_flight", "kv_use")}
    assert last == {"waiting": 0, "running": 0, "tokens_in_flight": 0, "kv_use": 0}
    assert run.timeline.arrivals.sum() == trace.requests


@pytest.mark.parametrize("routing", ROUTINGS)
def test_more_replicas_are_not_slower(routing: str) -> None:
    trace = random_trace(2, 3_000, 30, 1_000, 200, block_tokens=100)
    means = []
    for replicas in (1, 2, 4, 8):
        outcome = simulate(trace, fleet_of(kind_of(kv_tokens=30_000), start=(replicas,), routing=routing)).outcome
        means.append(float(np.mean(outcome.first_token_s - trace.arrival_s)))
    assert all(more <= fewer * 1.02 for fewer, more in pairwise(means)), means


@given(prompt=st.integers(1, 50_000), more=st.integers(1, 50_000), output=st.integers(1, 500))
@settings(max_examples=30)
def test_a_longer_context_is_not_faster(prompt: int, more: int, output: int) -> None:
    run = simulate(trace_of([0.0, 100.0], prompt=[prompt, prompt + more], output=output), fleet_of())
    shorter, longer = run.outcome.finish_s - np.array([0.0, 100.0])
    assert longer > shorter


def test_an_endless_request_is_played_at_once() -> None:
    """A hundred million tokens of prompt take weeks; ticks become fewer, so that nobody waits for them."""
    run = simulate(trace_of([0.0, 1.0], prompt=[10**8, 5], output=[5, 10**6]), fleet_of(kind_of(kv_tokens=10**9)))
    assert (run.outcome.fate == SERVED).all() and run.end_s > 1e6
    assert len(run.timeline.at_s) < 50_000
