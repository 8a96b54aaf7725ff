"""The load test against a real engine: lengths as asked, usage as the engine counts, and points that agree with each other."""

import asyncio

import pytest

from penstock.capacity.measuring.endpoint import place
from penstock.capacity.measuring.load_test import LoadTest, Plan, load_test
from penstock.capacity.measuring.stopping import Limits

pytestmark = pytest.mark.engine


def run(url: str, plan: Plan, model: str | None = None) -> LoadTest:
    limits = Limits(duration_s=60, stop_when_flat=False)
    return asyncio.run(load_test(place(url), model, None, plan, limits, lambda _: None, lambda _: None))


def test_a_real_engine_is_measured(llama_engine: str) -> None:
    plan = Plan(input_tokens=100, output_tokens=16, concurrencies=(1, 4), waves=3, least_requests=10, least_s=0.0)
    test = run(llama_engine, plan)
    assert (test.model, test.stopped) == ("tiny-llama", "ladder climbed")
    for each in test.points:
        assert each.errors == {} and not each.estimated and not each.cut
        assert each.output_tokens == 16, "the engine does not end an answer that is to run on"
        assert 80 <= each.input_tokens <= 120
        assert each.ttft_ms is not None and each.tpot_ms is not None
        assert each.e2e_ms.mean >= (each.ttft_ms.mean + 15 * each.tpot_ms.mean) * (1 - 1e-9)
        assert each.concurrency is not None
        assert each.requests_per_minute <= 1.3 * 60_000 * each.concurrency / each.e2e_ms.mean, "Little's law"
        assert each.output_tokens_per_s == pytest.approx(each.requests_per_minute / 60 * 16, rel=0.5)


def test_what_repeats_is_cached_and_told(llama_engine: str) -> None:
    plan = Plan(input_tokens=120, output_tokens=4, concurrencies=(1,), least_requests=8, least_s=0.0)
    fresh = run(llama_engine, plan).points[0].cached_share
    again = run(llama_engine, Plan(input_tokens=120, output_tokens=4, concurrencies=(1,), least_requests=8, least_s=0.0, unique=False))
    assert fresh < 0.5 < again.points[0].cached_share


def test_a_real_engine_at_a_rate_and_on_the_other_call(llama_engine: str) -> None:
    plan = Plan(input_tokens=40, output_tokens=4, concurrencies=(), rates_per_minute=(300.0,), load_s=1.0)
    (each,) = run(f"{llama_engine}/completions", plan).points
    assert (each.rate_per_minute, each.requests, each.errors) == (300.0, 5, {})
