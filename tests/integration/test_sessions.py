"""A conversation stays with the tier that answered it, and only goes up."""

from tests.integration.gateway_rig import on_loop
from tests.integration.test_presets import HARD, SIMPLE, running, why

ROUTE = 'strategy = "by_complexity"\nerror_budget = 0.05\nshadow = 0.0\nsticky = "10m"\nfallback = ["large"]'


@on_loop
async def test_a_named_conversation_goes_up_and_stays_there() -> None:
    async with running(ROUTE) as (gateway, _):
        named = {"penstock-session": "one"}
        tiers = [(await gateway.chat(text, named, model="auto")).headers["penstock-tier"] for text in (SIMPLE, HARD, "Label: good")]
        assert tiers == ["small", "large", "large"]
        decision = gateway.last.route_decision
        assert decision is not None
        assert decision.session is not None
        assert "the conversation stays with large or above" in why(gateway.last)
        assert (await gateway.chat("Label: fair", {"penstock-session": "two"}, model="auto")).headers["penstock-tier"] == "small"
        assert (await gateway.chat("Label: fine", model="auto")).headers["penstock-tier"] == "small"


@on_loop
async def test_a_conversation_is_known_by_how_it_began() -> None:
    async with running(ROUTE) as (gateway, _):
        first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": HARD}]
        assert (await gateway.chat(model="auto", messages=first)).headers["penstock-tier"] == "large"
        further = [*first, {"role": "assistant", "content": "QED"}, {"role": "user", "content": SIMPLE}]
        assert (await gateway.chat(model="auto", messages=further)).headers["penstock-tier"] == "large"
        other = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "QED"}, {"role": "user", "content": SIMPLE}]
        assert (await gateway.chat(model="auto", messages=other)).headers["penstock-tier"] == "small"


@on_loop
async def test_a_prompt_cache_key_names_a_conversation_too() -> None:
    async with running(ROUTE) as (gateway, _):
        tiers = [(await gateway.chat(text, model="auto", prompt_cache_key="k")).headers["penstock-tier"] for text in (HARD, SIMPLE)]
        assert tiers == ["large", "large"]


@on_loop
async def test_the_tier_of_a_fallback_is_stayed_with() -> None:
    async with running(ROUTE) as (gateway, upstreams):
        upstreams["small"].plays = [b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", upstreams["small"].plays[0]]
        headers = {"penstock-session": "one"}
        assert (await gateway.chat(SIMPLE, headers, model="auto")).headers["penstock-route"] == "small>large"
        assert (await gateway.chat("Label: good", headers, model="auto")).headers["penstock-route"] == "large"


@on_loop
async def test_an_answer_of_the_cache_warms_no_tier() -> None:
    async with running(ROUTE) as (gateway, _):
        await gateway.chat(HARD, {"penstock-session": "one"}, model="auto")
        replayed = await gateway.chat(HARD, {"penstock-session": "two"}, model="auto")
        assert (replayed.headers["penstock-cache"], replayed.headers["penstock-tier"]) == ("exact", "large")
        assert (await gateway.chat(SIMPLE, {"penstock-session": "two"}, model="auto")).headers["penstock-tier"] == "small"


@on_loop
async def test_without_the_setting_nothing_stays() -> None:
    async with running(ROUTE.replace('sticky = "10m"\n', "")) as (gateway, _):
        tiers = [(await gateway.chat(text, {"penstock-session": "one"}, model="auto")).headers["penstock-tier"] for text in (HARD, SIMPLE)]
        assert tiers == ["large", "small"]
