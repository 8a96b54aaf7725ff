"""What a judged route must not take for good: answers proven for others, calls of another tool, texts that only look alike."""

import gc
import json
import time
from typing import Any

import pytest

from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy
from penstock.domain.units import format_usd
from penstock.gateway.exchange import Exchange
from penstock.gateway.routing import classifying
from tests.integration.gateway_rig import Rig, on_loop, rig
from tests.integration.judging_rig import LARGE, TOOLS, asides, config, signs, told
from tests.integration.test_presets import SIMPLE, running
from tests.integration.upstream_rig import DONE, event, hanging, piece, scripted, stream, usage_chunk
from tests.integration.walking_rig import ladder

CACHED = "[cache.exact]\nenabled = true\n"


def opened(gateway: Rig, feature: str) -> None:
    """As if the controller had proven the small tier for one feature, and nothing for others."""
    cheap = TagPolicy(
        tag=feature,
        labels=100,
        state="proven",
        course=Course((Stage("direct", ("small",)),), "as measured"),
        at_most=0.01,
        expected_loss=0.004,
    )
    models = {name: f"{name}-model" for name in ("small", "mid", "large")}
    policy = RoutePolicy(route="auto", at_ns=time.time_ns(), error_budget=0.03, models=models, tags={feature: cheap})
    gateway.gateway.policies.hear([policy])


@on_loop
async def test_an_answer_proven_for_one_tag_is_not_replayed_for_another() -> None:
    async with running('strategy = "learned"\nerror_budget = 0.03\nshadow = 0.0', CACHED) as (gateway, _):
        opened(gateway, "chat")
        replies = [
            await gateway.chat(SIMPLE, {"penstock-tag-feature": feature}, model="auto")
            for feature in ("chat", "chat", "legal", "legal", "chat")
        ]
        got = [(reply.headers["penstock-tier"], reply.headers["penstock-cache"]) for reply in replies]
        assert got == [("small", "miss"), ("small", "exact"), ("large", "miss"), ("large", "exact"), ("small", "exact")]


@on_loop
async def test_an_answer_that_a_check_has_not_seen_is_not_replayed_where_it_must_be_passed() -> None:
    check = '[checks.digits]\nkind = "regex"\npattern = "^[0-9]+$"\nwhere = { data = "sums" }\n'
    async with (
        scripted(told("four")) as small,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["digits"]', check + CACHED)) as gateway,
    ):
        plain = await gateway.chat(model="auto")
        sums = await gateway.chat(model="auto", headers={"penstock-tag-data": "sums"})
        assert [plain.headers["penstock-tier"], sums.headers["penstock-tier"]] == ["small", "large"]


@pytest.mark.parametrize(("called", "tier"), [("f", "small"), ("g", "large")])
@on_loop
async def test_the_tool_that_must_be_called_is(called: str, tier: str) -> None:
    other = {"type": "function", "function": {"name": "g", "parameters": TOOLS["tools"][0]["function"]["parameters"]}}
    asked: dict[str, Any] = {"tools": [*TOOLS["tools"], other], "tool_choice": {"type": "function", "function": {"name": "f"}}}
    calls = [{"id": "1", "type": "function", "function": {"name": called, "arguments": json.dumps({"n": 4})}}]
    play = told("", reason="tool_calls", content=None, tool_calls=calls)
    async with scripted(play) as small, scripted(LARGE) as large, rig(config(small, large)) as gateway:
        assert (await gateway.chat(model="auto", **asked)).headers["penstock-tier"] == tier
        assert signs(gateway)["tool_calls"].fails is (tier == "large")


@on_loop
async def test_tool_calls_and_words_are_no_agreement() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"n": 4})}}]
    play = told("", reason="tool_calls", content=None, tool_calls=calls)
    async with (
        scripted(play) as small,
        scripted(told("calls {n: 4}")) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, mid=mid.url, strategy="gate")) as gateway,
    ):
        assert (await gateway.chat(model="auto", **TOOLS)).headers["penstock-tier"] == "large"
        assert [each.purpose for each in asides(gateway)] == ["draft", "vote"]


@pytest.mark.parametrize("route", ["", 'stream = "continue"'])
@pytest.mark.parametrize("strategy", ["cascade", "gate"])
@on_loop
async def test_drafts_are_gone_with_their_request(strategy: str, route: str) -> None:
    """Answers may be large: they must not wait in memory for the garbage collector, which looks at the old ones once in a long while."""
    play = stream(b"".join(map(event, [piece("5"), piece(reason="stop"), usage_chunk()])) + DONE)
    async with (
        scripted(play) as small,
        scripted(play) as large,
        rig(config(small, large, route, strategy=strategy)) as gateway,
    ):
        gc.collect()
        gc.disable()
        try:
            for number in range(5):
                await gateway.chat(str(number), model="auto", stream=True)
            await gateway.settled()
            assert not [each for each in gc.get_objects() if isinstance(each, Exchange)]
        finally:
            gc.enable()


@on_loop
async def test_a_classifier_that_is_late_stands_in_the_cost_that_a_stream_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifying, "TIMEOUT_S", 0.2)
    play = stream(b"".join(map(event, [piece("5"), piece(reason="stop"), usage_chunk()])) + DONE)
    patient = 'timeout = { connect = "1s", first_token = "5s", idle = "5s" }'
    route = 'strategy = "by_complexity"\nclassifier = "mid-model"\n'
    async with scripted(play) as small, scripted(hanging()) as mid, scripted(play) as large:
        text = ladder(small.url, mid.url, large.url, upstream=patient).replace('strategy = "cascade"\n', route)
        async with rig(text) as gateway:
            reply = await gateway.chat(model="auto", stream=True, stream_options={"include_usage": True})
            assert sorted(each.purpose or "" for each in gateway.records) == ["", "classifier"]
            told_usd = next(chunk["penstock"]["cost_usd"] for chunk in reply.chunks if chunk.get("usage"))
            assert told_usd == format_usd(sum(each.cost or 0 for each in gateway.records))
