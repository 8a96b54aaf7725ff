"""Keys for certain tiers: no route, fallback, cheaper tier or replayed answer leads them anywhere else."""

import msgspec
import pytest

from penstock.gateway.exchange import begin
from penstock.gateway.ladder import below
from penstock.gateway.steps.identify import identify
from penstock.ports.key_store import ApiKey, fingerprint
from penstock.wire.message import Request
from tests.integration.gateway_rig import Rig, chat_body, on_loop, rig
from tests.integration.upstream_rig import Scripted, answer, completion, resetting, scripted

GOOD = answer(completion())


def three(small: Scripted, large: Scripted, more: str = "") -> str:
    return f"""
version = 1
[upstreams.s]
base_urls = ["{small.url}"]
retries = 0
[upstreams.l]
base_urls = ["{large.url}"]
retries = 0
[models.s]
upstream = "s"
price = {{ input = 1, output = 2 }}
[models.m]
upstream = "s"
price = {{ input = 2, output = 4 }}
[models.l]
upstream = "l"
price = {{ input = 10, output = 20 }}
[models.bare]
upstream = "s"
[tiers]
small = {{ model = "s" }}
middle = {{ model = "m", complexity = "> 0.98" }}
large = {{ model = "l", complexity = "> 0.99" }}
[routes.auto]
strategy = "by_complexity"
tiers = ["small", "middle", "large"]
[routes.first]
tiers = ["large"]
fallback = ["small"]
[routes.big]
tiers = ["large"]
{more}
"""


def key(*tiers: str, **more: object) -> ApiKey:
    return msgspec.convert(
        {"id": "key_ann", "prefix": "psk_a", "sha256": fingerprint("psk_ann"), "created_ns": 1, "tiers": tiers, **more}, ApiKey
    )


ANN = {"authorization": "Bearer psk_ann"}


async def asked(running: Rig, model: str, text: str = "hi") -> tuple[int, str | None]:
    reply = await running.chat(text, ANN, model=model)
    return reply.status, running.last.tier


@on_loop
async def test_a_key_gets_only_its_tiers() -> None:
    async with scripted(GOOD) as small, scripted(GOOD) as large, rig(three(small, large), keys=[key("small")]) as running:
        assert await asked(running, "auto") == (200, "small")
        assert await asked(running, "first") == (200, "small"), "the fallback is of its tier, the first choice is not"
        assert await asked(running, "s", "by name") == (200, "small")
        for model in ("big", "l", "m", "bare"):
            reply = await running.chat(headers=ANN, model=model)
            assert (reply.status, reply.headers["penstock-error"]) == (403, "auth"), model
            assert running.last.outcome == "refused"
        form = {**ANN, "content-type": "multipart/form-data; boundary=b"}
        assert (await running.ask("POST", "/v1/images/generations", b"--b", form)).status == 403, "no way round by calls without a model"
        listed = await running.ask("GET", "/v1/models", headers=ANN)
        assert [model["id"] for model in listed.json["data"]] == ["s", "auto", "first"]
        assert large.asked == []


@pytest.mark.parametrize(("tiers", "chosen"), [(("large",), "large"), (("middle", "large"), "middle"), (("small", "large"), "small")])
@on_loop
async def test_a_route_that_would_choose_another_tier_takes_the_next_that_is_allowed(tiers: tuple[str, ...], chosen: str) -> None:
    async with scripted(GOOD) as small, scripted(GOOD) as large, rig(three(small, large), keys=[key(*tiers)]) as running:
        assert await asked(running, "auto") == (200, chosen)


@on_loop
async def test_a_failure_leads_to_no_other_tier() -> None:
    async with scripted(resetting()) as broken, scripted(GOOD) as large:
        more = '[routes.safe]\ntiers = ["small"]\nfallback = ["large"]\n'
        async with rig(three(broken, large, more), keys=[key("small")]) as running:
            reply = await running.chat(headers=ANN, model="safe")
            assert (reply.status, large.asked) == (502, [])


@on_loop
async def test_an_answer_of_another_tier_is_not_replayed() -> None:
    whole = key(tags={"tenant": "t"})
    bound = msgspec.structs.replace(key("small", tags={"tenant": "t"}), id="key_bob", sha256=fingerprint("psk_bob"))
    async with scripted(GOOD) as small, scripted(GOOD) as large, rig(three(small, large), keys=[whole, bound]) as running:
        assert await asked(running, "first") == (200, "large")
        reply = await running.chat("hi", ANN, model="first")
        assert (reply.headers["penstock-cache"], len(large.asked)) == ("exact", 1)
        reply = await running.chat("hi", {"authorization": "Bearer psk_bob"}, model="first")
        assert (reply.status, reply.headers["penstock-cache"], running.last.tier) == (200, "miss", "small")


@on_loop
async def test_the_ladder_ends_where_the_tiers_of_the_key_do() -> None:
    async with scripted(GOOD) as small, scripted(GOOD) as large, rig(three(small, large), keys=[key("small", "large")]) as running:
        headers = [(b"authorization", b"Bearer psk_ann")]
        request = Request("POST", "/v1/chat/completions", "/v1/chat/completions", "", headers, chat_body(model="l"))
        x = begin("chat.completions", request, None)  # type: ignore[arg-type]
        await identify(running.gateway, x)
        assert x.target is not None and x.key is not None and x.key.account == "key_ann"
        assert [candidate.tier for candidate in below(running.gateway, x, x.target.primaries[0])] == ["small"]


@on_loop
async def test_a_key_in_the_place_of_another_shares_its_cache() -> None:
    new = msgspec.structs.replace(key(account="key_ann"), id="key_new", sha256=fingerprint("psk_new"))
    async with scripted(GOOD) as small, scripted(GOOD) as large, rig(three(small, large), keys=[key(), new]) as running:
        await running.chat("same", ANN, model="s")
        reply = await running.chat("same", {"authorization": "Bearer psk_new"}, model="s")
        assert (reply.headers["penstock-cache"], running.last.key_id) == ("exact", "key_new")
