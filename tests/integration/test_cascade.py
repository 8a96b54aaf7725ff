"""A cascade: the cheap answer is judged and kept, or the next tier is asked; every call is on the ledger, the client gets one answer."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Sign
from penstock.domain.routing.course import Stage
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.refusal import Refusal
from penstock.gateway.routing.asides import Draft, ask, book
from penstock.gateway.routing.judging import Verdict
from penstock.gateway.routing.walking import walk
from tests.integration.gateway_rig import Rig, on_loop, rig
from tests.integration.upstream_rig import Play, Scripted, answer, completion, dead_url, hanging, resetting, scripted, stream, stream_events
from tests.integration.walking_rig import LARGE, MID, SMALL, judged_by_words, ladder

SURE, UNSURE, DEAR = (answer(completion(text)) for text in ("sure: 4", "4 perhaps", "it is 4"))
OVERLOADED = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": "busy"}}


def cascade(small: Scripted | str, large: Scripted | str, route: str = "", more: str = "") -> str:
    urls = [each if isinstance(each, str) else each.url for each in (small, large)]
    return ladder(urls[0], urls[0], urls[1], route=route, more=more)


def lines(running: Rig) -> tuple[list[UsageRecord], UsageRecord]:
    """The lines of calls made aside, and the record of the request, which comes last."""
    *asides, record = running.records
    assert record.purpose is None and all(aside.purpose is not None and aside.parent == record.id for aside in asides)
    return asides, record


@on_loop
async def test_a_cheap_answer_that_is_sure_is_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = judged_by_words(monkeypatch)
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        reply = await running.chat(model="auto")
        assert (reply.status, reply.body) == (200, SURE.partition(b"\r\n\r\n")[2]), "byte for byte"
        assert (reply.headers["penstock-route"], reply.headers["penstock-model"]) == ("small", "small-model")
        assert (reply.headers["penstock-tier"], reply.headers["penstock-cost-usd"]) == ("small", "0.000020000")
        asides, record = lines(running)
        assert (asides, record.cost, record.route, record.model, record.tier) == ([], SMALL, "small", "small-model", "small")
        assert record.route_decision is not None
        (stage,) = record.route_decision.stages
        assert (stage.kind, stage.tiers, stage.stratum, stage.kept, stage.share) == ("cascade", ("small",), "confident", True, 1.0)
        assert (stage.confidence, stage.signs[0].name) == (0.99, "words")
        assert seen == [["sure: 4"]] and large.asked == []
        assert small.asked[0].json["model"] == "small-model"


@on_loop
async def test_one_that_is_not_is_paid_for_and_the_next_tier_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(UNSURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        reply = await running.chat(model="auto", headers={"penstock-tag-feature": "sums"})
        assert reply.body == DEAR.partition(b"\r\n\r\n")[2]
        assert (reply.headers["penstock-route"], reply.headers["penstock-model"]) == ("small>large", "large-model")
        assert reply.headers["penstock-cost-usd"] == "0.000220000", "of both"
        asides, record = lines(running)
        (draft,) = asides
        assert (draft.purpose, draft.cost, draft.model, draft.tier, draft.counterfactual) == ("draft", SMALL, "small-model", "small", 0)
        assert (draft.tags, draft.admitted_ns, draft.writer) == (record.tags, record.admitted_ns, record.writer)
        assert (draft.outcome, draft.reserved) == ("ok", None)
        assert (record.cost, record.model, record.route, record.tier) == (LARGE, "large-model", "small>large", "large")
        assert [(each.model, each.status) for each in record.attempts] == [("small-model", 200), ("large-model", 200)]
        assert record.attempts[1].started_us is not None and record.attempts[0].started_us is not None
        assert record.attempts[1].started_us >= record.attempts[0].started_us + record.attempts[0].duration_us
        assert record.route_decision is not None
        assert [(each.kind, each.stratum, each.kept) for each in record.route_decision.stages] == [
            ("cascade", "unsure", False),
            ("direct", "direct", True),
        ]


@pytest.mark.parametrize(("coin", "tier"), [(0.29, "small"), (0.31, "large")])
@on_loop
async def test_a_stratum_that_is_open_in_part_is_kept_by_a_coin(coin: float, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    monkeypatch.setattr(random, "random", lambda: coin)
    monkeypatch.setattr(Stage, "share", lambda self, stratum: 0.3 if self.kind != "direct" else 1.0)
    async with scripted(UNSURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        assert (await running.chat(model="auto")).headers["penstock-tier"] == tier
        assert running.last.route_decision is not None
        assert running.last.route_decision.stages[0].share == 0.3


@on_loop
async def test_an_answer_that_shows_nothing_is_not_kept_for_what_others_like_it_have_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence of a stratum is of answers that had some confidence."""

    async def says_nothing(gateway: Gateway, x: Exchange, stage: Stage, drafts: Sequence[Draft]) -> Verdict:
        return Verdict((Sign("logprobs", said="no logprobs"),), None)

    monkeypatch.setattr("penstock.gateway.routing.walking.judge", says_nothing)
    monkeypatch.setattr(Stage, "share", lambda self, stratum: 1.0)
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        assert running.last.route_decision is not None
        first = running.last.route_decision.stages[0]
        assert (first.stratum, first.kept, first.share) == ("unsure", False, 0.0)


@pytest.mark.parametrize("play", [answer(OVERLOADED, 503), answer(OVERLOADED, 429), answer(OVERLOADED, 400), resetting(), hanging()])
@on_loop
async def test_a_tier_that_cannot_answer_is_passed_over_and_recorded(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = judged_by_words(monkeypatch)
    async with scripted(play) as small, scripted(DEAR) as large, rig(cascade(small, large, "logprobs = false")) as running:
        reply = await running.chat(model="auto")
        assert (reply.status, reply.headers["penstock-route"]) == (200, "small>large")
        asides, record = lines(running)
        assert [each.model for each in record.attempts] == ["small-model", "large-model"]
        assert record.route_decision is not None
        first = record.route_decision.stages[0]
        assert (first.stratum, first.kept, first.signs[0].fails) == ("failed", False, True)
        assert seen == [], "there was nothing to judge"
        worked = not isinstance(play, bytes)
        assert [each.outcome for each in asides] == (["error"] if worked else []), "what may have been worked for is booked whole"
        assert all(each.cost == each.wasted_cost and each.cost for each in asides)


@on_loop
async def test_an_upstream_that_is_down_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(DEAR) as large, rig(cascade(dead_url(), large)) as running:
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        asides, record = lines(running)
        assert (asides, [each.error for each in record.attempts]) == ([], ["connect", None])


@on_loop
async def test_when_no_stage_answers_the_last_error_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    busy = answer(OVERLOADED, 503)
    async with scripted(UNSURE) as small, scripted(busy) as large, rig(cascade(small, large)) as running:
        reply = await running.chat(model="auto")
        assert (reply.status, reply.error["code"], reply.headers["penstock-route"]) == (503, "busy", "small>large")
        asides, record = lines(running)
        assert ([each.cost for each in asides], record.cost, record.outcome) == ([SMALL], 0, "error")
        assert record.route_decision is not None
        assert record.route_decision.stages[-1].stratum == "failed"
    async with scripted(UNSURE) as small, rig(cascade(small, dead_url())) as running:
        reply = await running.chat(model="auto")
        assert (reply.status, reply.error["code"]) == (502, "connect")


@on_loop
async def test_the_fallback_answers_when_the_last_tier_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(UNSURE) as small, scripted(DEAR) as mid:
        config = ladder(small.url, mid.url, dead_url(), route='fallback = ["mid"]')
        async with rig(config) as running:
            reply = await running.chat(model="auto")
            assert (reply.status, reply.headers["penstock-route"], reply.headers["penstock-tier"]) == (200, "small>large>mid", "mid")
            assert (await running.chat(model="auto")).headers["penstock-cache"] == "miss", "a fallback's answer is not kept"


@on_loop
async def test_the_kept_answer_is_the_one_that_the_cache_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    cached = "[cache.exact]\nenabled = true\n"
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large, more=cached)) as running:
        first, second = await running.chat(model="auto"), await running.chat(model="auto")
        assert (second.headers["penstock-cache"], second.body) == ("exact", first.body)
        assert (len(small.asked), running.last.tier) == (1, "small")
    async with scripted(UNSURE) as small, scripted(DEAR) as large, rig(cascade(small, large, more=cached)) as running:
        first, second = await running.chat(model="auto"), await running.chat(model="auto")
        assert (second.headers["penstock-cache"], second.body, running.last.tier) == ("exact", first.body, "large")
        assert running.last.cost == 0


@on_loop
async def test_messages_of_an_anthropic_client_are_judged_and_kept_in_its_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    body = b'{"model":"auto","max_tokens":50,"messages":[{"role":"user","content":"2+2?"}]}'
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        reply = await running.ask("POST", "/v1/messages", body)
        assert (reply.status, reply.json["type"], reply.json["content"][0]["text"]) == (200, "message", "sure: 4")
        assert (running.last.tier, running.last.upstream_endpoint, running.last.cost) == ("small", "chat.completions", SMALL)
    async with scripted(UNSURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        reply = await running.ask("POST", "/v1/messages", body)
        assert reply.json["content"][0]["text"] == "it is 4"
        asides, record = lines(running)
        assert ([each.cost for each in asides], record.cost, reply.headers["penstock-cost-usd"]) == ([SMALL], LARGE, "0.000220000")


@on_loop
async def test_a_rule_that_forbids_the_cheap_tier_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    rule = '[[rules]]\nwhere = { data = "secret" }\nonly = ["large"]\n'
    async with scripted(SURE) as small, scripted(DEAR) as large, rig(cascade(small, large, more=rule)) as running:
        reply = await running.chat(model="auto", headers={"penstock-tag-data": "secret"})
        assert (reply.status, reply.headers["penstock-route"], small.asked) == (200, "large", [])


@on_loop
async def test_the_journal_has_the_lines_before_the_record_or_the_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(UNSURE) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        assert (await running.chat(model="auto")).status == 200
        assert [each.purpose for each in running.records] == ["draft", None]
        ids = {each.id for each in running.journal.reservations}
        assert ids == {running.last.id}, "one reservation, of the request"
        running.journal.failing = True
        assert (await running.chat("again", model="auto")).status == 503
        assert len(running.records) == 2


@on_loop
async def test_a_ladder_of_three_is_climbed_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    for mid, route, cost in ((SURE, "small>mid", SMALL + MID), (UNSURE, "small>mid>large", SMALL + MID + LARGE)):
        async with scripted(UNSURE) as first, scripted(mid) as second, scripted(DEAR) as third:
            config = ladder(first.url, second.url, third.url, steps=3)
            async with rig(config) as running:
                reply = await running.chat(model="auto")
                assert (reply.headers["penstock-route"], float(reply.headers["penstock-cost-usd"])) == (route, cost / 10**9)
                assert sum(each.cost or 0 for each in running.records) == cost
                assert running.last.route_decision is not None
                assert [">".join(stage.tiers) for stage in running.last.route_decision.stages] == route.split(">")


@on_loop
async def test_tool_calls_that_are_kept_are_passed_on_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = judged_by_words(monkeypatch)
    monkeypatch.setattr(Stage, "share", lambda self, stratum: 1.0)
    body = completion("", reason="tool_calls")
    call = {"id": "call_1", "type": "function", "function": {"name": "open_gate", "arguments": '{"gate": 4}'}}
    body["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
    async with scripted(answer(body)) as small, scripted(DEAR) as large, rig(cascade(small, large)) as running:
        tools = [{"type": "function", "function": {"name": "open_gate"}}]
        reply = await running.chat(model="auto", tools=tools, n=1)
        assert (reply.json, reply.headers["penstock-tier"], seen) == (body, "small", [[None]])
        assert running.last.finish_reason == "tool_calls"


@on_loop
async def test_a_cache_that_has_the_answer_meanwhile_calls_the_drafts_off_and_they_are_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pipeline does when a look-up beside the call finds an answer: it cancels the walk."""
    judged_by_words(monkeypatch)
    patient = 'timeout = { connect = "1s", first_token = "9s", idle = "9s" }'

    async def called_off(gateway: Gateway, x: Exchange) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(walk(gateway, x), 0.2)
        assert [each.purpose for each in x.asides] == ["draft"] and not x.helpers
        raise Refusal(503, "limit", "called off")

    monkeypatch.setattr("penstock.gateway.semantic.hedging.walk", called_off)
    async with (
        scripted(hanging()) as small,
        scripted(DEAR) as large,
        rig(ladder(small.url, small.url, large.url, upstream=patient)) as running,
    ):
        assert (await running.chat(model="auto")).status == 503
        assert [each.purpose for each in running.records] == ["draft", None] and running.records[0].wasted_cost


@on_loop
async def test_what_a_judge_asks_is_in_its_own_words_and_not_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str | None] = []

    async def judge(gateway: Gateway, x: Exchange, stage: Stage, drafts: Sequence[Draft]) -> Verdict:
        first = drafts[0].candidate
        asked = [
            await ask(gateway, x, first, "sample", streamed=False),
            await ask(gateway, x, first, "verifier", body={"messages": [{"role": "user", "content": "is it right?"}], "max_tokens": 3}),
        ]
        texts.extend(each.text for each in asked)
        assert all(each.ok and each.error is None for each in asked)
        book(gateway, x, asked[0], "sample")
        return Verdict((Sign("words", 1.0),), None)

    monkeypatch.setattr("penstock.gateway.routing.walking.judge", judge)
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True}
    headers = {"x-custom": "mine", "anthropic-version": "1"}
    async with (
        scripted(stream(stream_events("4")), answer(completion("four")), answer(completion("yes"))) as small,
        scripted(DEAR) as large,
        rig(cascade(small, large)) as running,
    ):
        reply = await running.chat(model="auto", headers=headers, **more)
        assert (reply.whole, reply.text, texts) == (True, "4", ["four", "yes"])
        draft, sample, verifier = small.asked
        assert (draft.json["stream"], sample.json["stream"], "stream_options" in sample.json) == (True, False, False)
        assert sample.json["messages"] == draft.json["messages"]
        question = {"role": "user", "content": "is it right?"}
        assert verifier.json == {"model": "small-model", "max_tokens": 3, "messages": [question]}
        assert ("x-custom" in sample.headers, "x-custom" in verifier.headers) == (True, False)
        asides, record = lines(running)
        assert [(each.purpose, each.streamed) for each in asides] == [("sample", False), ("verifier", False)], "booked at the end, too"
        assert reply.chunks[-1]["penstock"]["cost_usd"] == "0.000060000"
        assert record.cost == SMALL and len(record.attempts) == 0


@on_loop
async def test_a_model_that_a_rule_forbids_is_not_asked_by_a_judge_either(monkeypatch: pytest.MonkeyPatch) -> None:
    drafts_seen: list[Draft] = []

    async def judge(gateway: Gateway, x: Exchange, stage: Stage, drafts: Sequence[Draft]) -> Verdict:
        drafts_seen.append(await ask(gateway, x, gateway.targets.candidate("mid-model"), "verifier", body={"messages": []}))
        return Verdict((), None)

    monkeypatch.setattr("penstock.gateway.routing.walking.judge", judge)
    rule = '[[rules]]\nwhere = { data = "secret" }\nonly = ["small", "large"]\n'
    async with (
        scripted(SURE) as small,
        scripted(SURE) as mid,
        scripted(DEAR) as large,
        rig(ladder(small.url, mid.url, large.url, more=rule)) as running,
    ):
        assert (await running.chat(model="auto", headers={"penstock-tag-data": "secret"})).status == 200
        (draft,) = drafts_seen
        assert (draft.ok, mid.asked) == (False, []) and "rule" in (draft.error or "")


@on_loop
async def test_two_tiers_at_an_upstream_with_one_place_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(answer(completion("4"))) as shared, scripted(DEAR) as large:
        config = ladder(shared.url, shared.url, large.url, "gate").replace('upstream = "mid"', 'upstream = "small"')
        async with rig(config.replace("[upstreams.small]", "[upstreams.small]\nmax_concurrent = 1")) as running:
            reply = await running.chat(model="auto")
            assert (reply.headers["penstock-route"], len(shared.asked)) == ("small+mid", 2)
