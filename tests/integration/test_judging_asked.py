"""What is asked of models to judge an answer: verifiers, further samples, a second tier; and what programs say of it as evidence."""

from collections.abc import Sequence
from typing import Any

import pytest

from penstock.domain.routing.course import Stage
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing import judging, walking
from penstock.gateway.routing.asides import Draft
from penstock.gateway.routing.judging import Verdict
from tests.integration.gateway_rig import on_loop, rig
from tests.integration.judging_rig import CHECK, LARGE, LONG, OTHER, REFUSED, VERIFIER, asides, config, says, signs, stage, told
from tests.integration.upstream_rig import answer, dead_url, hanging, scripted


@pytest.mark.parametrize(
    ("play", "tier", "said", "value"),
    [
        (says("Yes", 0.95), "small", "95%", 0.95),
        (says("Yes", 0.7), "large", "70%", 0.7),
        (says("No", 0.2), "large", "20%", 0.2),
        (says("Yes.", None), "small", "says yes", 1.0),
        (says("**No**", None), "large", "says no", None),
        (says("Perhaps", None), "large", "neither yes nor no", None),
        (answer({"error": {"message": "busy"}}, 503), "large", "gave no answer", None),
        (hanging(), "large", "longer", None),
    ],
)
@on_loop
async def test_a_verifier_is_asked_and_paid(play: Any, tier: str, said: str, value: float | None) -> None:
    async with scripted(told(sure=0.99)) as small, scripted(play) as mid, scripted(LARGE) as large:
        slow = 'timeout = { connect = "1s", first_token = "5s", idle = "5s" }'
        async with rig(config(small, large, 'checks = ["second"]', VERIFIER, mid=mid.url, upstream=slow)) as running:
            reply = await running.chat("2+2?", model="auto")
            sign = signs(running)["check:second"]
            assert reply.headers["penstock-tier"] == tier and said in sign.said
            assert sign.value == (None if value is None else pytest.approx(value))
            asked = mid.asked[0].json
            assert "2+2?" in asked["messages"][0]["content"] and "4" in asked["messages"][0]["content"] and asked["logprobs"] is True
            if isinstance(play, bytes) and play.startswith(b"HTTP/1.1 200"):
                line = next(each for each in asides(running) if each.purpose == "verifier")
                assert (line.model, line.cost, line.parent) == ("mid-model", 60_000, running.last.id)


@on_loop
async def test_neither_verifier_nor_samples_are_paid_for_an_answer_that_declines() -> None:
    route = 'checks = ["second"]\nsamples = 3'
    async with (
        scripted(told("I cannot help with that.")) as small,
        scripted(says("Yes", 0.95)) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, route, VERIFIER, mid=mid.url)) as running,
    ):
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        assert (mid.asked, len(small.asked)) == ([], 1)


@on_loop
async def test_a_rule_keeps_a_request_from_a_verifier_and_says_nothing_against_it() -> None:
    more = VERIFIER + '[[rules]]\nwhere = { data = "secret" }\nonly = ["small", "large"]\n'
    secret = {"penstock-tag-data": "secret"}
    async with (
        scripted(told()) as small,
        scripted(says("Yes", 0.95)) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["second"]', more, mid=mid.url)) as running,
    ):
        for number in range(6):
            assert (await running.chat(f"{number}?", model="auto", headers=secret)).headers["penstock-tier"] == "large"
        assert mid.asked == [] and "a rule keeps" in signs(running)["check:second"].said
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "small"


@on_loop
async def test_a_verifier_that_refuses_odds_is_asked_without_them() -> None:
    async with (
        scripted(told()) as small,
        scripted(REFUSED, says("yes", None)) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["second"]', VERIFIER, mid=mid.url)) as running,
    ):
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "small"
        await running.chat("again", model="auto")
        assert ["logprobs" in each.json for each in mid.asked] == [True, False, False]


@on_loop
async def test_a_verifier_is_not_asked_where_something_fails_before() -> None:
    async with (
        scripted(told("four")) as small,
        scripted(says("Yes", 0.95)) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, 'checks = ["second", "digits"]', VERIFIER + CHECK, mid=mid.url)) as running,
    ):
        assert (await running.chat(model="auto")).headers["penstock-tier"] == "large"
        assert mid.asked == []


@pytest.mark.parametrize(
    ("plays", "tier", "value"),
    [
        ([told("4", None), told("The answer is 4.", None), told("4.0", None)], "small", 1.0),
        ([told("4", None), told("5", None), told("4", None)], "large", 2 / 3),
        ([told(LONG, None), told(OTHER, None), told(LONG, None)], "large", 2 / 3),
        ([told("4", None), answer({}, 503), answer({}, 503)], "large", 1 / 3),
    ],
)
@on_loop
async def test_samples(plays: list[bytes], tier: str, value: float) -> None:
    async with scripted(*plays) as small, scripted(LARGE) as large, rig(config(small, large, "samples = 3")) as running:
        assert (await running.chat("How much is 2+2?", model="auto")).headers["penstock-tier"] == tier
        assert signs(running)["samples"].value == pytest.approx(value)
        paid = sum(play.startswith(b"HTTP/1.1 200") for play in plays[1:])
        assert [each.cost for each in asides(running) if each.purpose == "sample"] == [20_000] * paid


@pytest.mark.parametrize(
    ("one", "other", "tier"),
    [
        (told("42"), told("The answer is **42**."), "small"),
        (told("42"), told("43"), "large"),
        (told("It is in the north, in a town."), told("Nobody has ever known where it was, or when."), "large"),
        (told("I cannot help with that."), told("I cannot help with that."), "large"),
    ],
)
@on_loop
async def test_a_gate(one: bytes, other: bytes, tier: str) -> None:
    async with (
        scripted(one) as small,
        scripted(other) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, mid=mid.url, strategy="gate")) as running,
    ):
        assert (await running.chat("How many?", model="auto")).headers["penstock-tier"] == tier
        assert stage(running).kind == "gate"


@pytest.mark.parametrize(
    ("play", "checks", "expected"),
    [
        (told("4"), '["digits"]', (1.0, "digits")),
        (told("four"), '["digits"]', (0.0, "digits")),
        (told("4"), "[]", (None, None)),
        (told("4", reason="length"), "[]", (0.0, "finish")),
        (told("4"), '["digits", "lost"]', (None, None)),
        (told("4"), '["digits", "likely"]', (0.75, "likely")),
        (told("4"), '["second"]', (None, None)),
    ],
)
@on_loop
async def test_quality_is_what_programs_say(
    play: bytes, checks: str, expected: tuple[float | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[float | None, str | None]] = []

    async def judge(gateway: Gateway, x: Exchange, stage: Stage, drafts: Sequence[Draft]) -> Verdict:
        found.append(await judging.quality(gateway, x, drafts[0]))
        return await judging.judge(gateway, x, stage, drafts)

    monkeypatch.setattr(walking, "judge", judge)
    more = CHECK + VERIFIER + f'[checks.lost]\nkind = "http"\nurl = "{dead_url()}"\n'
    more += '[checks.likely]\nkind = "python"\ncallable = "tests.integration.checks_of_a_user:likely"\n'
    async with (
        scripted(play) as small,
        scripted(says("Yes", 0.95)) as mid,
        scripted(LARGE) as large,
        rig(config(small, large, f"checks = {checks}", more, mid=mid.url)) as running,
    ):
        await running.chat(model="auto")
    assert found == [expected]
