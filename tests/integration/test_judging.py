"""What real answers show, and what becomes of them: kept, or answered anew by the next tier."""

import re
from typing import Any

import pytest

from penstock.domain.ledger.routed import Sign
from tests.integration.gateway_rig import on_loop, rig
from tests.integration.judging_rig import CHECK, FORMAT, LARGE, REFUSED, TOOLS, config, odds, signs, stage, told
from tests.integration.upstream_rig import DONE, dead_url, event, piece, scripted, stream, usage_chunk


@on_loop
async def test_an_answer_that_is_sure_of_its_tokens_is_kept_and_the_client_does_not_see_how_sure() -> None:
    async with scripted(told()) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        reply = await running.chat(model="auto")
        assert (reply.headers["penstock-tier"], reply.json["choices"][0]["logprobs"]) == ("small", None)
        assert reply.json["choices"][0]["message"]["content"] == "4"
        assert (small.asked[0].json["logprobs"], small.asked[0].json["top_logprobs"]) == (True, 5)
        assert (stage(running).stratum, signs(running)["logprobs"].value) == ("confident", 0.99)
        assert signs(running)["finish"] == Sign("finish")


@on_loop
async def test_one_that_is_not_sure_is_answered_anew_without_asking_the_last_tier_for_odds() -> None:
    async with scripted(told(sure=0.6)) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        assert stage(running).stratum == "unsure" and stage(running).confidence == pytest.approx(0.6)
        assert "logprobs" not in large.asked[0].json


@on_loop
async def test_a_client_that_asks_for_odds_gets_its_own() -> None:
    async with scripted(told()) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        reply = await running.chat(model="auto", logprobs=True, top_logprobs=2)
        assert len(reply.json["choices"][0]["logprobs"]["content"]) == 8
        assert small.asked[0].json["top_logprobs"] == 2 and stage(running).stratum == "confident"


@on_loop
async def test_streams_are_kept_without_odds_too() -> None:
    pieces = [piece("4", logprobs=None)]
    pieces[0]["choices"][0]["logprobs"] = odds(0.97)
    events = b"".join(map(event, [*pieces, piece(reason="stop"), usage_chunk()])) + DONE
    async with scripted(stream(events)) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        reply = await running.chat(model="auto", stream=True)
        assert (reply.text, reply.headers["penstock-tier"]) == ("4", "small")
        assert [choice["logprobs"] for chunk in reply.chunks for choice in chunk["choices"]] == [None, None]
        assert signs(running)["logprobs"].value == pytest.approx(0.97)


@pytest.mark.parametrize("streamed", [False, True])
@on_loop
async def test_what_the_cache_keeps_has_no_odds(streamed: bool) -> None:
    first = piece("4")
    first["choices"][0]["logprobs"] = odds(0.97)
    play = stream(b"".join(map(event, [first, piece(reason="stop"), usage_chunk()])) + DONE) if streamed else told()
    cached = "[cache.exact]\nenabled = true\n"
    async with scripted(play) as small, scripted(LARGE) as large, rig(config(small, large, more=cached)) as running:
        await running.chat(model="auto", stream=streamed)
        reply = await running.chat(model="auto", stream=streamed)
        assert reply.headers["penstock-cache"] == "exact" and b'"token"' not in reply.body


@on_loop
async def test_an_upstream_that_refuses_odds_is_asked_without_them_from_then_on() -> None:
    async with scripted(REFUSED, told(sure=None)) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        assert ["logprobs" in each.json for each in small.asked] == [True, False]
        assert signs(running)["logprobs"] == Sign("logprobs", said="no logprobs") and stage(running).stratum == "unsure"
        await running.chat("again", model="auto")
        assert ["logprobs" in each.json for each in small.asked] == [True, False, False]


@on_loop
async def test_a_call_that_is_refused_for_something_else_says_nothing_of_odds() -> None:
    async with scripted(REFUSED, REFUSED, told()) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        assert (await running.chat("again", model="auto")).headers["penstock-tier"] == "small"
        assert ["logprobs" in each.json for each in small.asked] == [True, False, True]


@on_loop
async def test_a_route_may_do_without_odds() -> None:
    async with scripted(told(sure=None)) as small, scripted(LARGE) as large, rig(config(small, large, "logprobs = false")) as running:
        await running.chat(model="auto")
        assert "logprobs" not in small.asked[0].json and "logprobs" not in signs(running)


@pytest.mark.parametrize(
    ("play", "asked", "name", "said"),
    [
        (told(reason="length"), {}, "finish", "cut off"),
        (told(reason="content_filter"), {}, "finish", "filtered"),
        (told(" "), {}, "finish", "empty"),
        (told("I'm sorry, but I can't help with that."), {}, "refusal", "declines"),
        (told("", refusal="No."), {}, "refusal", "declines"),
        (told("4"), FORMAT, "schema", "'n'|object"),
        (told('{"n": "4"}'), FORMAT, "schema", "integer"),
        (told('```json\n{"n": 4}\n```'), FORMAT, "schema", "no JSON"),
        (told('{"n": 4'), {"response_format": {"type": "json_object"}}, "schema", "no JSON"),
        (told("4"), {**TOOLS, "tool_choice": "required"}, "tool_calls", "must"),
        (told("[" * 1_000_000), FORMAT, "schema", "no JSON"),
    ],
)
@on_loop
async def test_what_speaks_against_an_answer(play: bytes, asked: dict[str, Any], name: str, said: str) -> None:
    async with scripted(play) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        assert (await running.chat(model="auto", **asked)).headers["penstock-tier"] == "large"
        assert stage(running).stratum == "failed" and signs(running)[name].fails
        assert re.search(said, signs(running)[name].said), signs(running)[name].said


@on_loop
async def test_the_form_that_was_asked_for_is_kept() -> None:
    async with scripted(told('{"n": 4}')) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        assert (await running.chat(model="auto", **FORMAT)).headers["penstock-tier"] == "small"
        assert signs(running)["schema"] == Sign("schema")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("f", '{"n": 4}', ""),
        ("f", '{"n": "four"}', "integer"),
        ("f", "{}", "'n'"),
        ("f", '{"n": 4', "no JSON"),
        ("g", '{"n": 4}', "none of the tools"),
    ],
)
@on_loop
async def test_tool_calls_are_held_against_their_schemas(name: str, arguments: str, said: str) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    play = told("", reason="tool_calls", content=None, tool_calls=calls)
    async with scripted(play) as small, scripted(LARGE) as large, rig(config(small, large)) as running:
        tier = (await running.chat(model="auto", **TOOLS)).headers["penstock-tier"]
        sign = signs(running)["tool_calls"]
        assert (tier, sign.fails) == (("large", True) if said else ("small", False)) and said in sign.said


@pytest.mark.parametrize(
    ("text", "sure", "tags", "tier", "stratum"),
    [
        ("4", None, {}, "small", "confident"),
        ("four", 0.99, {}, "large", "failed"),
        ("4", 0.6, {}, "large", "unsure"),
        ("four", 0.99, {"penstock-tag-feature": "prose"}, "small", "confident"),
    ],
)
@on_loop
async def test_a_check_must_be_passed(text: str, sure: float | None, tags: dict[str, str], tier: str, stratum: str) -> None:
    check = CHECK + 'where = { feature = "sums" }\n'
    headers = tags or {"penstock-tag-feature": "sums"}
    async with (
        scripted(told(text, sure)) as small,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["digits"]', check)) as running,
    ):
        assert (await running.chat(model="auto", headers=headers)).headers["penstock-tier"] == tier
        assert stage(running).stratum == stratum and ("check:digits" in signs(running)) is not bool(tags)


@pytest.mark.parametrize(
    ("text", "asked", "schema", "found"),
    [
        ('{"n": 4}', FORMAT, "", 1.0),
        ('{"n": 4}', {}, "", None),
        ('{"n": 4}', {}, 'schema = { required = ["n"] }', 1.0),
        ('```\n{"n": 4}\n```', {}, 'schema = { required = ["n"] }', 1.0),
    ],
)
@on_loop
async def test_a_schema_to_check_is_the_checks_own_or_the_requests(
    text: str, asked: dict[str, Any], schema: str, found: float | None
) -> None:
    more = f'[checks.form]\nkind = "json_schema"\n{schema}\n'
    async with (
        scripted(told(text, None)) as small,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["form"]', more)) as running,
    ):
        assert (await running.chat(model="auto", **asked)).headers["penstock-tier"] == ("large" if found is None else "small")
        assert stage(running).confidence == found and ("check:form" in signs(running)) is (found is not None)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ('kind = "http"\nurl = "{dead}"', "no connection"),
        ('kind = "python"\ncallable = "tests.integration.checks_of_a_user:raises"', "ZeroDivisionError"),
        ('kind = "python"\ncallable = "tests.integration.checks_of_a_user:hangs"\ntimeout = "300ms"', "longer"),
        ('kind = "python"\ncallable = "no.such:thing"', "cannot be imported"),
        ('kind = "regex"\npattern = "^(4|44)+$"\ntimeout = "300ms"', "longer"),
    ],
)
@on_loop
async def test_a_check_that_fails_itself_is_not_passed(check: str, said: str) -> None:
    more = f"[checks.mine]\n{check.replace('{dead}', dead_url())}\n"
    async with (
        scripted(told("4" * 60 + "!")) as small,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["mine"]', more)) as running,
    ):
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        sign = signs(running)["check:mine"]
        assert sign.fails and said in sign.said and "the check itself failed" in sign.said


@on_loop
async def test_a_check_that_keeps_failing_is_left_alone_and_said_once() -> None:
    more = f'[checks.mine]\nkind = "http"\nurl = "{dead_url()}"\n'
    async with scripted(told()) as small, scripted(LARGE) as large, rig(config(small, large, 'checks = ["mine"]', more)) as running:
        for number in range(7):
            await running.chat(f"question {number}", model="auto")
        assert "left alone" in signs(running)["check:mine"].said
        assert [line for line in running.log if "`mine`" in line] and sum("`mine`" in line for line in running.log) == 1
        running.log.clear()
