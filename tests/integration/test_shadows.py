"""Shadows: what all tiers make of a request, beside the answer of its client."""

import asyncio
import json

import pytest

from penstock.gateway.routing import shadowing
from tests.integration.gateway_rig import on_loop, rig
from tests.integration.shadow_rig import BROKEN, FIVE, FOUR, USER, observation, outcomes, route, shadowed, shadows
from tests.integration.upstream_rig import Scripted, answer, completion, hanging, scripted, stream, stream_events
from tests.integration.walking_rig import LARGE, MID, SMALL


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every coin shows heads."""
    monkeypatch.setattr("penstock.gateway.routing.planning.random.random", lambda: 0.0)


@on_loop
async def test_all_tiers_answer_and_each_call_has_its_line() -> None:
    async with scripted(FIVE) as small, scripted(FOUR) as mid, scripted(FOUR) as large, rig(route(small, mid, large)) as running:
        reply = await running.chat("2 + 2?", USER, model="auto")
        assert (reply.headers["penstock-tier"], reply.headers["penstock-cost-usd"]) == ("large", "0.000200000"), "shadows are not told"
        await running.settled()
        request, *lines = running.records
        assert (request.purpose, request.cost, request.observed) == (None, LARGE, None)
        assert request.route_decision is not None and request.route_decision.shadowed
        assert sorted((line.purpose, line.tier, line.cost) for line in lines) == [("shadow", "mid", MID), ("shadow", "small", SMALL)]
        assert {(line.parent, line.counterfactual, line.tags["feature"], line.requested_model) for line in lines} == {
            (request.id, 0, "sums", "auto")
        }
        assert len(large.asked) == 1, "who has answered is not asked again"
        assert lines[-1].observed is not None and lines[0].observed is None
        found = observation(running)
        assert (found.id, found.route, found.tag, found.judge, found.noise) == (request.id, "auto", "sums", "agreement", 0.05)
        assert (found.propensity, found.length, found.at_ns) == (0.5, 6, request.admitted_ns)
        assert [(seen.tier, seen.quality, seen.cost, seen.model) for seen in found.seen] == [
            ("small", 0.0, SMALL, "small-model"), ("mid", 1.0, MID, "mid-model"), ("large", 1.0, LARGE, "large-model"),
        ]  # fmt: skip
        small_seen, mid_seen, large_seen = found.seen
        assert mid_seen.answer == large_seen.answer is not None and small_seen.answer not in (None, large_seen.answer)
        assert outcomes(running) == {"labelled": 1}


@on_loop
async def test_answers_that_were_given_on_the_way_are_not_asked_for_again() -> None:
    async with (
        scripted(FOUR) as small,
        scripted(FIVE) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, strategy="gate")) as running,
    ):
        reply = await running.chat("2 + 2?", USER, model="auto")
        assert reply.headers["penstock-route"] == "small+mid>large"
        await running.settled()
        assert (len(small.asked), len(mid.asked), len(large.asked)) == (1, 1, 1)
        *lines, carrier = running.records
        assert (carrier.purpose, carrier.cost, carrier.model, carrier.parent) == ("shadow", 0, None, lines[-1].id)
        assert [seen.quality for seen in observation(running).seen] == [1.0, 0.0, 1.0]
        assert [seen.cost for seen in observation(running).seen] == [SMALL, MID, LARGE]


@on_loop
async def test_a_stream_is_shadowed_too_and_what_was_kept_of_it_is_used() -> None:
    streamed = stream(stream_events("4"))
    async with scripted(FOUR) as small, scripted(FIVE) as mid, scripted(streamed) as large, rig(route(small, mid, large)) as running:
        await shadowed(running, stream=True)
        assert len(large.asked) == 1
        assert not small.asked[0].json.get("stream") and "stream_options" not in small.asked[0].json
        assert [seen.quality for seen in observation(running).seen] == [1.0, 0.0, 1.0]


@on_loop
async def test_a_stream_that_no_cache_keeps_is_not_asked_for_again() -> None:
    streamed = stream(stream_events("4"))
    async with (
        scripted(FOUR) as small,
        scripted(FIVE) as mid,
        scripted(streamed) as large,
        rig(route(small, mid, large, route='cache = "off"\n')) as running,
    ):
        await shadowed(running, stream=True)
        assert len(large.asked) == 1
        assert [seen.quality for seen in observation(running).seen] == [1.0, 0.0, 1.0]


@on_loop
async def test_cheap_tiers_show_how_sure_they_are() -> None:
    sure = completion("4")
    sure["choices"][0]["logprobs"] = {"content": [{"token": "4", "logprob": -0.01, "bytes": None, "top_logprobs": []}]}
    async with scripted(answer(sure)) as small, scripted(FIVE) as mid, scripted(FOUR) as large, rig(route(small, mid, large)) as running:
        await shadowed(running)
        assert small.asked[0].json["logprobs"] is True
        small_seen, mid_seen, large_seen = observation(running).seen
        assert small_seen.confidence is not None and small_seen.confidence > 0.9
        assert (mid_seen.confidence, large_seen.confidence) == (None, None)


@pytest.mark.parametrize("streamed", [False, True])
@on_loop
async def test_other_dialects_are_shadowed_too(streamed: bool) -> None:
    play = stream(stream_events("4")) if streamed else FOUR
    body = {"model": "auto", "max_tokens": 50, "stream": streamed, "messages": [{"role": "user", "content": "2 + 2?"}]}
    async with scripted(FOUR) as small, scripted(FIVE) as mid, scripted(play) as large, rig(route(small, mid, large)) as running:
        reply = await running.ask("POST", "/v1/messages", json.dumps(body).encode(), USER)
        assert reply.status == 200
        await running.settled()
        assert [seen.quality for seen in observation(running).seen] == [1.0, 0.0, 1.0]
        assert {line.endpoint for line in shadows(running)} == {"messages"} and len(large.asked) == 1


@on_loop
async def test_one_who_is_not_drawn_is_not_shadowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.gateway.routing.planning.random.random", lambda: 0.9)
    async with scripted(FOUR) as small, scripted(FOUR) as mid, scripted(FOUR) as large, rig(route(small, mid, large)) as running:
        await shadowed(running)
        assert shadows(running) == [] and outcomes(running) == {}


@on_loop
async def test_a_request_that_failed_is_not_shadowed() -> None:
    async with scripted(FOUR) as small, scripted(FOUR) as mid, scripted(BROKEN) as large, rig(route(small, mid, large)) as running:
        await shadowed(running)
        assert shadows(running) == [] and outcomes(running) == {}


@on_loop
async def test_a_cheap_tier_that_is_down_is_told_as_failed_and_the_others_are_measured() -> None:
    async with scripted(BROKEN) as small, scripted(FOUR) as mid, scripted(FOUR) as large, rig(route(small, mid, large)) as running:
        await shadowed(running)
        small_seen, mid_seen, _ = observation(running).seen
        assert (small_seen.failed, small_seen.quality, mid_seen.quality) == (True, None, 1.0)
        assert {line.tier: line.cost for line in shadows(running)} == {"small": 0, "mid": MID}


@on_loop
async def test_without_the_last_tier_there_is_no_label_and_nobody_else_is_asked() -> None:
    async with (
        scripted(FOUR) as small,
        scripted(FOUR) as mid,
        scripted(BROKEN) as large,
        rig(route(small, mid, large, strategy="gate")) as running,
    ):
        reply = await running.chat("2 + 2?", USER, model="auto")
        assert reply.headers["penstock-tier"] == "small"
        await running.settled()
        assert outcomes(running) == {"failed": 1}
        assert [record.observed for record in running.records] == [None] * len(running.records)


@on_loop
async def test_checks_go_before_agreement() -> None:
    check = '[checks.five]\nkind = "regex"\npattern = "5"\n'
    async with (
        scripted(FIVE) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, route='checks = ["five"]\n', more=check)) as running,
    ):
        await shadowed(running)
        found = observation(running)
        assert (found.judge, found.noise, [seen.quality for seen in found.seen]) == ("check", 0.0, [1.0, 0.0, 0.0])
        assert [seen.failed for seen in found.seen[:-1]] == [False, True]


JUDGE = """
[upstreams.judging]
base_urls = ["{url}"]
retries = 0
[models.judge]
upstream = "judging"
max_output = 600
price = {{ input = 100, output = 200 }}
"""


def judged(small: Scripted, mid: Scripted, large: Scripted, judging: Scripted, more: str = "") -> str:
    return route(small, mid, large, route='judge = "judge"\n', more=JUDGE.format(url=judging.url) + more)


WORDS: list[tuple[tuple[str, str], float | None]] = [
    (("SECOND", "FIRST"), 0.0),
    (("SAME", "SAME"), 1.0),
    (("FIRST", "SECOND"), 1.0),
    (("FIRST", "FIRST"), 0.5),
    (("I cannot say which is better", "FIRST"), None),
]


@pytest.mark.parametrize(("words", "quality"), WORDS)
@on_loop
async def test_a_judge_model_is_asked_in_both_orders(words: tuple[str, str], quality: float | None) -> None:
    long, longer = "A whole sentence about sums, without a number.", "Another sentence, which tells of something quite different again."

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = judging.asked[-1].json["messages"][0]["content"]
        writer.write(answer(completion(words[0] if text.index(longer) < text.index(long) else words[1])))
        await writer.drain()

    one, other = answer(completion(longer)), answer(completion(long))
    async with (
        scripted(one) as small,
        scripted(other) as mid,
        scripted(other) as large,
        scripted(say) as judging,
        rig(judged(small, mid, large, judging)) as running,
    ):
        await shadowed(running)
        found = observation(running)
        assert (found.judge, found.noise) == ("model", 0.1)
        assert [seen.quality for seen in found.seen] == [quality, 1.0, 1.0], "what is the same needs no judge"
        lines = [line for line in running.records if line.purpose == "judge"]
        assert len(lines) == len(judging.asked) == 2 and {line.cost for line in lines} == {2_000_000}
        assert {line.model for line in lines} == {"judge"}
        assert outcomes(running) == {"labelled": 1}


@on_loop
async def test_a_judge_that_hangs_leaves_no_label_and_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "PATIENCE_S", 0.3)
    async with (
        scripted(FIVE) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        scripted(hanging()) as judging,
        rig(judged(small, mid, large, judging)) as running,
    ):
        await shadowed(running)
        assert outcomes(running) == {"failed": 1}
        assert {(line.purpose, line.tier) for line in shadows(running)} >= {("shadow", "small"), ("shadow", "mid")}
        assert [line.observed for line in running.records if line.observed] == []


@on_loop
async def test_nobody_can_tell_of_texts_that_differ_a_little() -> None:
    one, other = (
        answer(completion(f"The sea is {word} in the morning, and the ships leave it early.")) for word in ("quiet", "often calm")
    )
    async with scripted(one) as small, scripted(one) as mid, scripted(other) as large, rig(route(small, mid, large)) as running:
        await shadowed(running)
        assert [seen.quality for seen in observation(running).seen] == [None, None, 1.0]
        assert outcomes(running) == {"untold": 1}


@on_loop
async def test_rules_hold_for_the_judge() -> None:
    rule = '[[rules]]\nwhere = { feature = "sums" }\nonly = ["small", "mid", "large"]\n'
    async with (
        scripted(FIVE) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        scripted(FOUR) as judging,
        rig(judged(small, mid, large, judging, rule)) as running,
    ):
        await shadowed(running)
        assert judging.asked == [] and observation(running).judge == "agreement"


@pytest.mark.parametrize(("headers", "complains"), [(USER | {"penstock-cache": "no-cache"}, True), (USER, False)])
@on_loop
async def test_who_wants_an_answer_made_anew_complains_of_the_cheap_tier(
    headers: dict[str, str], complains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.gateway.routing.planning.random.random", lambda: 0.9)
    async with (
        scripted(FOUR) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, strategy="gate", route='cache = "off"\n')) as running,
    ):
        for _ in range(3):
            assert (await running.chat("2 + 2?", headers, model="auto")).headers["penstock-tier"] == "small"
        await running.chat("3 + 3?", headers, model="auto")
        await running.settled()
        first, second, third, other = (record for record in running.records if record.purpose is None)
        assert (first.observed, other.observed) == (None, None)
        if not complains:
            assert (second.observed, third.observed) == (None, None)
            return
        assert second.observed is not None and third.observed is not None
        said = second.observed
        assert (said.id, said.judge, said.tag, said.at_ns) == (first.id, "feedback", "sums", second.admitted_ns)
        assert [(seen.tier, seen.quality) for seen in said.seen] == [("small", 0.0), ("mid", None), ("large", None)]
        assert third.observed.id == second.id
