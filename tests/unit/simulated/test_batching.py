"""Continuous batching, step by step, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.upstreams.simulated.engine import Job, PrefixCache, Scheduler, Sequence, prefix_blocks
from penstock.adapters.upstreams.simulated.metrics import EngineMetrics
from penstock.adapters.upstreams.simulated.options import Options

SLOW = Options(prefill_tokens_per_second=1000, decode_step_ms=10, decode_step_ms_per_sequence=1, max_batched_tokens=100, kv_tokens=10_000)


def scheduler_of(options: Options) -> tuple[Scheduler, EngineMetrics]:
    metrics = EngineMetrics("m")
    return Scheduler(options, metrics), metrics


def sequence(prompt: int, output: int, blocks: tuple[int, ...] = ()) -> Sequence:
    return Sequence(Job(streamed=True), blocks, prompt, output, "stop")


def test_a_prompt_is_read_in_chunks_and_the_last_chunk_gives_the_first_token() -> None:
    scheduler, metrics = scheduler_of(SLOW)
    one = sequence(150, 2)
    scheduler.submit(one, 0.0)
    end, moved = scheduler.step(0.0)
    assert end == pytest.approx(0.011 + 0.1)
    assert (moved, one.emitted) == ([], 0)
    end, moved = scheduler.step(end)
    assert end == pytest.approx(0.122 + 0.05)
    assert (moved, one.emitted) == ([one], 1)
    assert one.first_token_s == end
    end, moved = scheduler.step(end)
    assert end == pytest.approx(0.183)
    assert (one.finished, scheduler.idle, scheduler.kv_used) == (True, True, 0)
    assert (metrics.prompt_tokens, metrics.generation_tokens, metrics.successes["stop"]) == (150, 2, 1)
    assert metrics.latency.sum == pytest.approx(end)


def test_speed_divides_every_step() -> None:
    slow, _ = scheduler_of(SLOW)
    fast, _ = scheduler_of(Options(**{name: getattr(SLOW, name) for name in SLOW.__struct_fields__} | {"speed": 10}))
    for scheduler in (slow, fast):
        scheduler.submit(sequence(80, 3), 0.0)
    assert fast.step(0.0)[0] == pytest.approx(slow.step(0.0)[0] / 10)


def test_a_sequence_waits_for_a_slot() -> None:
    scheduler, _ = scheduler_of(Options(max_num_seqs=1, prefill_tokens_per_second=1000, decode_step_ms=10, decode_step_ms_per_sequence=0))
    first, second = sequence(10, 2), sequence(10, 1)
    scheduler.submit(first, 0.0)
    scheduler.submit(second, 0.0)
    end, _ = scheduler.step(0.0)
    assert (len(scheduler.running), len(scheduler.waiting)) == (1, 1)
    end, moved = scheduler.step(end)
    assert first.finished and moved == [first]
    _, moved = scheduler.step(end)
    assert moved == [second]
    assert second.admitted_s == end


def test_a_sequence_waits_for_kv_memory_and_none_overtakes_it() -> None:
    scheduler, _ = scheduler_of(Options(kv_tokens=100))
    for each in (sequence(50, 10), sequence(50, 10), sequence(5, 1)):
        scheduler.submit(each, 0.0)
    scheduler.step(0.0)
    assert (len(scheduler.running), len(scheduler.waiting), scheduler.kv_used) == (1, 2, 60)


def test_decoding_goes_on_while_a_long_prompt_is_read() -> None:
    scheduler, _ = scheduler_of(SLOW)
    short = sequence(10, 50)
    scheduler.submit(short, 0.0)
    now, _ = scheduler.step(0.0)
    scheduler.submit(sequence(500, 5), now)
    for _ in range(3):
        now, moved = scheduler.step(now)
        assert moved == [short]
    assert short.emitted == 4


def test_a_known_beginning_is_not_read_again() -> None:
    scheduler, metrics = scheduler_of(SLOW)
    prompt = bytes(range(256)) * 2
    for expected in (0, 112):
        again = sequence(128, 1, tuple(prefix_blocks(prompt)))
        scheduler.submit(again, 0.0)
        while not scheduler.idle:
            scheduler.step(0.0)
        assert again.cached_tokens == expected
    assert (metrics.prefix_queries, metrics.prefix_hits) == (256, 112)


def test_the_prefix_cache_forgets_the_oldest() -> None:
    cache = PrefixCache(kv_tokens=32)
    cache.remember([1, 2])
    cache.remember([3])
    assert (cache.cached_tokens([2, 9], 99), cache.cached_tokens([1], 99)) == (16, 0)


def test_blocks_are_equal_only_where_everything_before_is() -> None:
    one, other = prefix_blocks(b"a" * 192), prefix_blocks(b"b" * 64 + b"a" * 128)
    assert len(one) == 3
    assert not set(one) & set(other)


def test_withdrawing_frees_slot_and_memory() -> None:
    scheduler, metrics = scheduler_of(SLOW)
    running, waiting = sequence(10, 5), sequence(10, 5)
    scheduler.submit(running, 0.0)
    scheduler.step(0.0)
    scheduler.submit(waiting, 0.0)
    for each in (waiting, running):
        scheduler.withdraw(each)
    assert scheduler.idle and scheduler.kv_used == 0
    assert metrics.successes["abort"] == 1


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60)), min_size=1, max_size=25),
    st.integers(1, 8),
    st.integers(360, 800),
    st.integers(1, 120),
)
def test_whatever_comes_each_gets_all_its_tokens(asked: list[tuple[int, int]], slots: int, kv_tokens: int, batch: int) -> None:
    scheduler, metrics = scheduler_of(Options(max_num_seqs=slots, kv_tokens=kv_tokens, max_batched_tokens=batch))
    sequences = [sequence(*each) for each in asked]
    now = 0.0
    for each in sequences:
        scheduler.submit(each, now)
    while not scheduler.idle:
        before = now
        now, _ = scheduler.step(now)
        assert now > before
        assert len(scheduler.running) <= slots
        assert scheduler.kv_used == sum(each.kv_tokens for each in scheduler.running) <= kv_tokens
    assert all(each.emitted == each.output_tokens for each in sequences)
    assert metrics.generation_tokens == sum(output for _, output in asked)
    assert metrics.latency.count == metrics.time_to_first_token.count == len(asked)
