"""How requests become a point, when a ladder ends, and how long prompts are."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.capacity.measuring.endpoint import Form, place
from penstock.capacity.measuring.points import Point, Spread, Window, percentile, point
from penstock.capacity.measuring.prompts import WORDS, Prompts, Scale, scale_of
from penstock.capacity.measuring.sample import Failure, MeasureError, Sample
from penstock.capacity.measuring.stopping import Limits, Meter, Spend, after


def sample(due: float, first: float, last: float, tokens: int = 11, **more: object) -> Sample:
    return Sample(due_s=due, first_s=first, last_s=last, end_s=last, input_tokens=100, output_tokens=tokens, **more)  # type: ignore[arg-type]


def a_point(concurrency: int | None = 1, **fields: object) -> Point:
    flat = Spread(10.0, 10.0, 10.0, 10.0)
    known = {
        "concurrency": concurrency, "input_tokens": 100.0, "output_tokens": 10.0, "requests": 10, "seconds": 1.0, "ttft_ms": flat,
        "tpot_ms": flat, "e2e_ms": flat, "output_tokens_per_s": 100.0, "requests_per_minute": 600.0,
    }  # fmt: skip
    return Point(**(known | fields))  # type: ignore[arg-type]


def test_a_closed_loop_by_hand() -> None:
    samples = [sample(0, 1, 2), sample(2, 3, 4), sample(0, 1.5, 4.5)]
    found = point(samples, Window(0, 4), concurrency=2)
    assert found is not None
    assert found.ttft_ms is not None and found.tpot_ms is not None
    assert found.ttft_ms.mean == pytest.approx(3500 / 3)
    assert found.tpot_ms.p50 == pytest.approx(100)
    assert found.e2e_ms.p50 == 2000
    assert found.requests_per_minute == pytest.approx(60 * (1 + 1 + 4 / 4.5) / 4)
    assert found.output_tokens_per_s == pytest.approx((11 + 11 + 1 + 10 * 2.5 / 3) / 4)
    assert (found.requests, found.failed, found.seconds, found.cached_share) == (3, 0, 4.0, 0.0)


@given(st.integers(1, 16), st.floats(0.01, 10), st.floats(0.001, 0.5), st.integers(2, 50), st.integers(2, 6))
def test_littles_law_holds_for_a_steady_closed_loop(workers: int, ttft: float, tpot: float, tokens: int, rounds: int) -> None:
    """Workers that never rest: requests per second are the workers over the time of a request."""
    whole = ttft + tpot * (tokens - 1)
    samples = [
        sample(number * whole, number * whole + ttft, (number + 1) * whole, tokens) for number in range(rounds) for _ in range(workers)
    ]
    found = point(samples, Window(0, rounds * whole), concurrency=workers)
    assert found is not None
    assert found.requests_per_minute == pytest.approx(60 * workers / whole)
    assert found.output_tokens_per_s == pytest.approx(workers * tokens / whole)


def test_the_first_wave_is_warm_up() -> None:
    burst = [sample(0, 5, 6, warm_up=True), sample(0, 6, 7, warm_up=True)]
    steady = [sample(6, 7, 8), sample(7, 8, 9), sample(8, 9, 10)]
    found = point(burst + steady, Window(0, 9), concurrency=2)
    assert found is not None and found.ttft_ms is not None
    assert (found.ttft_ms.p99, found.seconds, found.requests, found.burst) == (1000, 2, 3, False)
    assert found.requests_per_minute == pytest.approx(60 * (0.5 + 1 + 0.5) / 2)
    lone = point(burst + steady[:1], Window(0, 7.5), concurrency=2)
    assert lone is not None and lone.ttft_ms is not None
    assert (lone.requests, lone.burst, lone.seconds) == (3, True, 7.5)
    assert lone.ttft_ms.p99 == pytest.approx(5980)


def test_failures_count_and_do_not_bend_latencies() -> None:
    failed = Sample(due_s=0, end_s=9, failure=Failure("timeout", "late"), throttled=1)
    found = point([sample(0, 1, 2), failed, failed], Window(0, 2), rate_per_minute=60.0)
    assert found is not None
    assert (found.burst, found.errors, found.throttled, found.failed, found.e2e_ms.p99) == (False, {"timeout": 2}, 2, 2, 2000)
    assert point([failed], Window(0, 9)) is None


def test_answers_in_one_piece_have_no_first_token() -> None:
    whole = Sample(due_s=0, end_s=2, input_tokens=1, output_tokens=8)
    found = point([whole], Window(0, 1))
    assert found is not None
    assert (found.ttft_ms, found.tpot_ms, found.output_tokens_per_s) == (None, None, 4.0)
    single = point([sample(0, 1, 1, tokens=1)], Window(0, 1))
    assert single is not None and single.tpot_ms is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_percentiles_are_within_and_ordered(values: list[float], share: float) -> None:
    assert min(values) <= percentile(values, share) <= max(values)
    assert percentile(values, share) <= percentile(values, 1.0)


@pytest.mark.parametrize(
    ("points", "limits", "reason"),
    [
        ([a_point()], {}, None),
        ([a_point(requests_per_minute=1000.0)], {"max_invocations": 1000}, "max invocations"),
        ([a_point(requests=10_000, requests_per_minute=999.0)], {"max_invocations": 1000}, None),
        ([a_point(e2e_ms=Spread(1, 1, 501, 501))], {"p95_ms": 500}, "p95 limit"),
        ([a_point(e2e_ms=Spread(600, 1, 500, 900))], {"p95_ms": 500}, None),
        ([a_point(errors={"timeout": 2})], {}, "errors"),
        ([a_point(errors={"timeout": 1})], {}, None),
        ([a_point(throttled=2)], {}, "rate limited"),
        ([a_point(), a_point(2, output_tokens_per_s=104.0)], {}, "flat"),
        ([a_point(), a_point(2, output_tokens_per_s=106.0)], {}, None),
        ([a_point(), a_point(2, output_tokens_per_s=10.0)], {"stop_when_flat": False}, None),
        ([a_point(None, rate_per_minute=1.0), a_point(None, rate_per_minute=2.0)], {}, None),
    ],
)
def test_when_the_climb_ends(points: list[Point], limits: dict[str, object], reason: str | None) -> None:
    assert after(points, Limits(duration_s=60, **limits)) == reason  # type: ignore[arg-type]


def test_money_in_flight_counts_before_it_is_spent() -> None:
    spend = Spend(Fraction(3, 10), Fraction(1, 1000), Fraction(1, 100))
    meter = Meter(Limits(duration_s=1, spend=spend), output_tokens=10)
    assert [meter.admit(0) for _ in range(4)] == [None, None, None, "max spend"]
    meter.settle(0, Sample(due_s=0, end_s=1, output_tokens=1))
    meter.settle(0, Sample(due_s=0, end_s=1, failure=Failure("timeout", "")))
    assert meter.spent_usd == Fraction(1, 100)
    meter.settle(0, None)
    assert meter.spent_usd == Fraction(11, 100)
    assert meter.admit(0) is None
    assert meter.sent == 4


@given(st.floats(0, 50), st.floats(0.5, 6), st.integers(60, 100_000))
def test_the_scale_is_learned_from_two_prompts(around: float, per_word: float, tokens: int) -> None:
    scale = scale_of([(words, round(around + per_word * words)) for words in (8, 48, 1000)])
    words = scale.words(tokens)
    assert abs(around + per_word * words - tokens) <= max(0.05 * tokens, 2 * per_word)


def test_lengths_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="do not grow"):
        scale_of([(8, 10), (48, 10)])
    assert Scale(around=20).words(3) == 1
    assert Scale().words(10**9) == 4_000_000


def test_prompts_are_the_same_for_a_seed_and_new_each_time() -> None:
    one, other = Prompts(7), Prompts(7)
    made = [one.make(12) for _ in range(50)]
    assert made == [other.make(12) for _ in range(50)]
    assert len({each[:40] for each in made}) == 50
    assert {word for each in made for word in each.split()} <= set(WORDS)
    same = Prompts(7, unique=False)
    assert same.make(5) == same.make(5)


def test_addresses() -> None:
    assert place("http://host:8000").base_url == "http://host:8000/v1"
    assert place("https://host/openai/v1/").port == 443
    completions = place("http://host/v1/completions")
    assert (completions.base_url, completions.path) == ("http://host/v1", "/completions")
    assert place("http://host/v1/chat/completions").path == "/chat/completions"


@pytest.mark.parametrize(
    "url", ["host:8000", "ftp://host", "http://", "http://host:port", "http://[::1", "http://host/v1?a=1", "http://hä"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(MeasureError) as problem:
        place(url)
    assert "http://127.0.0.1" in problem.value.hint


def test_a_secret_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(MeasureError) as problem:
        place("https://me:hush@host/v1")
    assert "hush" not in str(problem.value) + problem.value.hint


def test_forms_run_out() -> None:
    form: Form | None = Form()
    tried = []
    while form is not None:
        tried.append(form)
        form = form.without("bad request")
    assert [(each.ignore_eos, each.stream_options) for each in tried] == [(True, True), (False, True), (False, False)]
