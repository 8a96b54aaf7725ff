"""A gate: two cheap tiers are asked at once; what both say is kept, else the last tier is asked."""

import asyncio

import pytest

from tests.integration.gateway_rig import on_loop, rig
from tests.integration.upstream_rig import USAGE, Play, Scripted, answer, completion, hanging, scripted, stream, stream_events
from tests.integration.walking_rig import LARGE, MID, SMALL, judged_by_words, ladder

FOUR, FIVE, DEAR = (answer(completion(text)) for text in ("4", "5", "it is 4"))


def gate(small: Scripted, mid: Scripted, large: Scripted) -> str:
    return ladder(small.url, mid.url, large.url, "gate")


@pytest.mark.parametrize("streamed", [False, True])
@on_loop
async def test_what_both_say_is_kept_and_the_vote_paid_for(streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    play = stream(stream_events("4")) if streamed else FOUR
    async with scripted(play) as small, scripted(play) as mid, scripted(DEAR) as large, rig(gate(small, mid, large)) as running:
        reply = await running.chat(model="auto", stream=streamed)
        assert (reply.status, reply.headers["penstock-route"], reply.headers["penstock-tier"]) == (200, "small+mid", "small")
        assert large.asked == []
        vote, record = running.records
        assert (vote.purpose, vote.cost, vote.model, vote.parent, vote.counterfactual) == ("vote", MID, "mid-model", record.id, 0)
        assert (record.cost, record.model, record.route) == (SMALL, "small-model", "small+mid")
        assert sorted(each.model for each in record.attempts) == ["mid-model", "small-model"]
        assert record.route_decision is not None
        (stage,) = record.route_decision.stages
        assert (stage.kind, stage.tiers, stage.stratum, stage.kept) == ("gate", ("small", "mid"), "agree", True)
        if not streamed:
            assert reply.headers["penstock-cost-usd"] == "0.000080000", "of both"


@on_loop
async def test_where_they_differ_the_last_tier_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(FOUR) as small, scripted(FIVE) as mid, scripted(DEAR) as large, rig(gate(small, mid, large)) as running:
        reply = await running.chat(model="auto")
        assert (reply.headers["penstock-route"], reply.headers["penstock-cost-usd"]) == ("small+mid>large", "0.000280000")
        draft, vote, record = running.records
        assert [(each.purpose, each.cost) for each in (draft, vote, record)] == [("draft", SMALL), ("vote", MID), (None, LARGE)]
        assert {draft.parent, vote.parent} == {record.id} and len({draft.id, vote.id, record.id}) == 3
        assert record.route_decision is not None
        assert [each.stratum for each in record.route_decision.stages] == ["differ", "direct"]


@on_loop
async def test_both_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    both = asyncio.Barrier(2)

    async def when_both_are_there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await both.wait()
        writer.write(FOUR)
        await writer.drain()

    async with (
        scripted(when_both_are_there) as small,
        scripted(when_both_are_there) as mid,
        scripted(DEAR) as large,
        rig(gate(small, mid, large)) as running,
    ):
        assert (await running.chat(model="auto")).headers["penstock-route"] == "small+mid"


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("play", [answer({"error": {"message": "no"}}, 500), hanging()])
@on_loop
async def test_one_that_cannot_answer_leaves_the_decision_to_the_last_tier(place: int, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    plays: list[Play] = [FOUR, FOUR]
    plays[place] = play
    async with scripted(plays[0]) as small, scripted(plays[1]) as mid, scripted(DEAR) as large, rig(gate(small, mid, large)) as running:
        reply = await running.chat(model="auto")
        assert (reply.status, reply.headers["penstock-route"], reply.json["choices"][0]["message"]["content"]) == (
            200, "small+mid>large", "it is 4",
        )  # fmt: skip
        record = running.last
        assert record.route_decision is not None
        assert record.route_decision.stages[0].stratum == "failed"
        assert ("small", "mid")[place] in record.route_decision.stages[0].signs[0].said
        assert len(record.attempts) == 3
        worked = [each.purpose for each in running.records if each.purpose is not None and each.wasted_cost == 0]
        assert worked == [("vote", "draft")[place]], "the other one's answer is paid for"


@on_loop
async def test_a_key_that_lacks_one_of_the_tiers_goes_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    rule = '\n[[rules]]\nwhere = { data = "secret" }\nonly = ["small", "large"]\n'
    async with scripted(FOUR) as small, scripted(FOUR) as mid, scripted(DEAR) as large, rig(gate(small, mid, large) + rule) as running:
        reply = await running.chat(model="auto", headers={"penstock-tag-data": "secret"})
        assert (reply.status, mid.asked) == (200, [])
        assert reply.headers["penstock-tier"] == "large" or running.last.route_decision is not None


@on_loop
async def test_a_client_that_leaves_calls_both_off_and_both_are_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    slow = 'timeout = { connect = "1s", first_token = "9s", idle = "9s" }'
    async with (
        scripted(hanging()) as small,
        scripted(hanging()) as mid,
        scripted(DEAR) as large,
        rig(ladder(small.url, mid.url, large.url, "gate", upstream=slow)) as running,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running.chat(model="auto"), 0.3)
        await running.settled()
        draft, vote, record = running.records
        assert (record.outcome, record.status, record.cost) == ("client_closed", 499, 0)
        assert [(each.purpose, each.outcome) for each in (draft, vote)] == [("draft", "client_closed"), ("vote", "client_closed")]
        assert all(each.cost and each.cost == each.wasted_cost and each.cost_basis == "estimated" for each in (draft, vote))
        assert (await asyncio.wait_for(small.left.wait(), 1), await asyncio.wait_for(mid.left.wait(), 1)) == (True, True)
        assert [each.error for each in record.attempts] == ["the client went away"] * 2


@on_loop
async def test_usage_of_the_kept_answer_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    more = answer(completion("4", usage={**USAGE, "completion_tokens": 9}))
    async with scripted(FOUR) as small, scripted(more) as mid, scripted(DEAR) as large, rig(gate(small, mid, large)) as running:
        reply = await running.chat(model="auto")
        assert (reply.json["usage"]["completion_tokens"], running.last.tokens.output, running.records[0].tokens.output) == (5, 5, 9)
