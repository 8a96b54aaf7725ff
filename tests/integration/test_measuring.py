"""The load test against endpoints that say exactly what they are told: what it reads, what it counts, and when it ends."""

import asyncio
from fractions import Fraction
from typing import Any

import pytest

from penstock.capacity.measuring.endpoint import place
from penstock.capacity.measuring.load_test import LoadTest, Plan, Progress, load_test
from penstock.capacity.measuring.points import Point
from penstock.capacity.measuring.sample import MeasureError
from penstock.capacity.measuring.stopping import Limits, Spend
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    Play,
    answer,
    chunked,
    closing,
    completion,
    dead_url,
    event,
    hanging,
    in_pieces,
    piece,
    resetting,
    scripted,
    stream,
    stream_events,
    usage_chunk,
)

SMALL = Plan(input_tokens=10, output_tokens=5, concurrencies=(1, 2), waves=2, least_requests=3, least_s=0.0, load_s=5.0, timeout_s=0.5)
FIRST = 4
"""answers before the first load: two to weigh a word, two of the wanted length"""
GOOD = stream(stream_events())
REFUSED = answer({"error": {"message": "slow down"}}, 429, {"retry-after": "0"})


def run(*plays: Play, plan: Plan = SMALL, model: str | None = "m", key: str | None = None, path: str = "", **limits: Any) -> LoadTest:
    """A test of a scripted endpoint."""
    return tried(*plays, plan=plan, model=model, key=key, path=path, **limits)[0]


def tried(
    *plays: Play, plan: Plan = SMALL, model: str | None = "m", key: str | None = None, path: str = "", **limits: Any
) -> tuple[LoadTest, list[Any], list[Progress]]:
    heard: list[Progress] = []
    found: list[Point] = []
    limits = {"duration_s": 20.0, "stop_when_flat": False, **limits}

    async def main() -> tuple[LoadTest, list[Any]]:
        async with scripted(*plays) as upstream:
            try:
                test = await load_test(place(upstream.url + path), model, key, plan, Limits(**limits), heard.append, found.append)
                return test, upstream.asked
            finally:
                await asyncio.sleep(0.01)  # its side of the connections hears that they have ended

    test, asked = asyncio.run(main())
    assert tuple(found) == test.points
    return test, asked, heard


def test_each_load_becomes_a_point() -> None:
    test, asked, heard = tried(GOOD)
    assert [(each.concurrency, each.requests) for each in test.points] == [(1, 3), (2, 4)]
    assert (test.stopped, test.requests, test.notes) == ("ladder climbed", 14, ())
    assert len(asked) == test.requests
    for each in test.points:
        assert (each.input_tokens, each.output_tokens, each.errors, each.estimated, each.cut) == (10.0, 5.0, {}, False, False)
        assert each.ttft_ms is not None and 0 < each.ttft_ms.p50 <= each.ttft_ms.p95 <= each.e2e_ms.p99
    assert [(each.load, each.done, each.planned) for each in heard[:3]] == [("1 at once", done, 4) for done in (1, 2, 3)]
    assert heard[-1].number == heard[-1].loads == 2


def test_prompts_differ_from_their_first_word_on() -> None:
    _, asked, _ = tried(GOOD)
    prompts = [each.json["messages"][0]["content"] for each in asked]
    assert len(set(prompts)) == len(prompts)
    _, asked, _ = tried(GOOD, plan=Plan(**{**_fields(SMALL), "unique": False}))
    assert len({each.json["messages"][0]["content"] for each in asked[FIRST:]}) == 1


def test_what_is_asked_for() -> None:
    _, asked, _ = tried(GOOD, key="sk-1")
    body = asked[-1].json
    assert body.pop("messages")[0]["role"] == "user"
    assert body == {"model": "m", "stream": True, "max_tokens": 5, "ignore_eos": True, "stream_options": {"include_usage": True}}
    assert asked[-1].headers["authorization"] == "Bearer sk-1"
    _, asked, _ = tried(GOOD, path="/completions")
    assert asked[-1].path == "/v1/completions"
    assert isinstance(asked[-1].json["prompt"], str)
    assert "authorization" not in asked[-1].headers


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        (stream_events(done=False), 5.0),
        (
            event(piece("a")) + event(piece("b", reason="stop", usage={"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17})),
            7.0,
        ),
        (event(piece("a")) + event(piece(reason="length")) + event(usage_chunk({"input_tokens": 10, "output_tokens": 6})), 6.0),
    ],
    ids=["chunk-of-its-own-without-done", "beside-a-choice", "other-names"],
)
def test_both_styles_of_usage_count(events: bytes, tokens: float) -> None:
    test = run(stream(events))
    assert {each.output_tokens for each in test.points} == {tokens}
    assert not any(each.estimated for each in test.points)


def test_the_first_token_is_content_not_the_role() -> None:
    opening = STREAM_HEAD + chunked(event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
    thought = chunked(event({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}))
    rest = chunked(stream_events("x")) + chunked(b"")
    slow = in_pieces(opening, thought, rest, pause_s=0.05)
    (each,) = run(slow, plan=Plan(**{**_fields(SMALL), "concurrencies": (1,)})).points
    assert each.ttft_ms is not None and each.ttft_ms.p50 >= 49
    assert each.tpot_ms is not None and each.tpot_ms.p50 >= 49 / 4
    assert each.e2e_ms.p50 >= 99


def test_without_usage_tokens_are_estimates() -> None:
    test = run(stream(stream_events("a", "b", "c", usage=None)))
    assert all(each.estimated and each.output_tokens == 3 for each in test.points)
    assert any("usage" in note for note in test.notes)


def test_an_endpoint_without_streams() -> None:
    test = run(answer(completion()))
    assert all(each.ttft_ms is None and each.tpot_ms is None and each.output_tokens == 5 for each in test.points)
    assert any("stream" in note for note in test.notes)


def test_fields_that_are_refused_are_left_out() -> None:
    unknown = answer({"detail": "extra fields not permitted: ignore_eos"}, 422)
    other = answer({"error": {"message": "Use 'max_completion_tokens' instead."}}, 400)
    test, asked, _ = tried(unknown, other, GOOD)
    assert test.stopped == "ladder climbed"
    assert asked[-1].json["max_completion_tokens"] == 5
    assert not {"ignore_eos", "max_tokens"} & asked[-1].json.keys()


def test_answers_that_end_early_are_told() -> None:
    early = stream(stream_events(usage={"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}))
    assert any("end on their own" in note for note in run(early).notes)


@pytest.mark.parametrize(
    ("play", "words", "hint"),
    [
        (answer({"error": {"message": "no such key"}}, 401), "401: no such key", "--api-key-env"),
        (answer({"error": {"message": "no such model"}}, 404), "404: no such model", "--upstream-model"),
        (answer(b"<html>busy</html>", 503), "503: <html>busy</html>", "is it up"),
        (answer({"error": {"message": "context of 10 tokens"}}, 400), "context of 10 tokens", "context"),
        (REFUSED, "429: slow down", "limits the rate"),
        (hanging(), "in time", "--timeout"),
        (resetting(), "closed", "is it up"),
        (answer(b"hello"), "no completion", "is it up"),
    ],
)
def test_an_endpoint_that_never_answers(play: Play, words: str, hint: str) -> None:
    with pytest.raises(MeasureError, match="gave no answer") as problem:
        run(play)
    assert words in str(problem.value)
    assert hint in problem.value.hint


def test_nothing_listens() -> None:
    async def main() -> None:
        await load_test(place(dead_url()), None, None, SMALL, Limits(duration_s=5), lambda _: None, lambda _: None)

    with pytest.raises(MeasureError, match="no connection"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (answer({"error": {"message": "out of memory"}}, 500), "http_500"),
        (closing(STREAM_HEAD + chunked(event(piece("a")))), "reset"),
        (stream(event(piece("a"))), "broken_off"),
        (stream(event(piece("a")) + event({"error": {"message": "engine died"}})), "stream_error"),
        (stream(event(piece(reason="stop"))), "empty"),
        (hanging(STREAM_HEAD + chunked(event(piece("a")))), "timeout"),
    ],
)
def test_failures_are_counted_and_end_the_climb(bad: Play, kind: str) -> None:
    test = run(*[GOOD] * (FIRST + 2), bad, GOOD)
    (each,) = test.points
    assert (each.requests, each.errors, test.stopped) == (2, {kind: 1}, "errors")


def test_a_load_without_any_answer() -> None:
    with pytest.raises(MeasureError, match="500: out of memory"):
        run(*[GOOD] * FIRST, answer({"error": "out of memory"}, 500))
    test = run(*[GOOD] * (FIRST + 3), answer({"error": "out of memory"}, 500))
    assert [each.concurrency for each in test.points] == [1]
    assert test.stopped == "errors"


def test_a_refusal_for_the_rate_is_waited_out() -> None:
    test = run(*[GOOD] * FIRST, REFUSED, GOOD)
    assert (test.points[0].throttled, test.points[0].requests, test.points[0].errors) == (1, 3, {})
    assert test.stopped == "rate limited"


def test_the_test_ends_at_its_limits() -> None:
    assert run(GOOD, max_requests=FIRST + 2).requests == FIRST + 2
    assert run(GOOD, max_requests=FIRST + 2).stopped == "max requests"
    assert run(GOOD, max_invocations=1.0).stopped == "max invocations"
    assert run(GOOD, p95_ms=0.0001).stopped == "p95 limit"
    assert len(run(GOOD, p95_ms=0.0001).points) == 1
    with pytest.raises(MeasureError, match="max requests"):
        run(GOOD, max_requests=1)


def test_a_load_lasts_a_while_however_fast_it_is() -> None:
    plan = Plan(**{**_fields(SMALL), "concurrencies": (1,), "least_s": 0.1})
    (each,) = run(GOOD, plan=plan).points
    assert each.requests > 3
    assert each.seconds >= 0.09
    (short,) = run(in_pieces(b"", GOOD, pause_s=0.05), plan=Plan(**{**_fields(SMALL), "concurrencies": (1,), "load_s": 0.1})).points
    assert short.requests <= 2


def test_no_more_is_spent_than_allowed() -> None:
    each = Spend(Fraction(1), Fraction(1, 1000), Fraction(2, 1000)).cost(10, 5)
    spend = Spend(each * 9, Fraction(1, 1000), Fraction(2, 1000))
    test = run(GOOD, spend=spend)
    assert test.stopped == "max spend"
    assert test.requests == 9


def test_the_time_ends_and_what_was_seen_is_kept() -> None:
    plan = Plan(**{**_fields(SMALL), "timeout_s": 30.0})
    test = run(*[GOOD] * (FIRST + 2), hanging(), plan=plan, duration_s=0.6)
    (each,) = test.points
    assert (each.requests, each.errors, each.cut, test.stopped) == (1, {}, True, "duration")


def test_requests_at_a_rate() -> None:
    plan = Plan(**{**_fields(SMALL), "concurrencies": (), "rates_per_minute": (1200.0,), "load_s": 0.2})
    (each,) = run(GOOD, plan=plan).points
    assert (each.concurrency, each.rate_per_minute, each.requests) == (None, 1200.0, 4)
    assert each.seconds >= 0.15
    late = run(*[GOOD] * FIRST, in_pieces(b"", GOOD, pause_s=0.2), GOOD, plan=plan)
    assert late.points[0].e2e_ms.p99 >= 190


def test_the_model_is_looked_up_where_there_is_one() -> None:
    listing = answer({"data": [{"id": "only"}]})
    test, asked, _ = tried(listing, GOOD, model=None)
    assert (test.model, asked[1].json["model"]) == ("only", "only")
    with pytest.raises(MeasureError, match="serves 2 models") as problem:
        run(answer({"data": [{"id": "a"}, {"id": "b"}]}), model=None)
    assert "a, b" in problem.value.hint
    with pytest.raises(MeasureError, match="no list of models"):
        run(answer([1]), model=None)


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}
