"""What looking by meaning costs: paid with the request that looked, on hits and misses, priced like every call, and never taken for 0."""

import pytest

from penstock.domain.ledger.record import booked_of, is_unbooked, provisional_of
from tests.integration.gateway_rig import on_loop, one_upstream
from tests.integration.semantic_rig import ON, WordEmbedder, semantic
from tests.integration.test_semantic import ASKED, MEANT, OTHER, WORDED, told
from tests.integration.upstream_rig import scripted

BUDGET = '[[budgets]]\nname = "cap"\nlimit = "{limit} USD / month"\nat_limit = "refuse"\n'
FLEET = '[fleets.f]\nupstream = "{upstream}"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\n'


def vectors(price: str = "price = { input = 100 }", more: str = "") -> str:
    """Config of a model `vectors` at an upstream of its own: 100 USD per million tokens."""
    return f'{ON}[upstreams.v]\nbase_urls = ["http://127.0.0.1:9/v1"]\n[models.vectors]\nupstream = "v"\n{price}\n{more}'


@on_loop
async def test_the_embedding_is_paid_with_the_request_that_looked() -> None:
    plug = WordEmbedder(tokens=7)
    async with (
        scripted(*told("one", "two")) as upstream,
        semantic(one_upstream(upstream.url, more=vectors()), embedder=plug, model="vectors") as rig,
    ):
        for text in (ASKED, ASKED, WORDED, MEANT, OTHER):
            await rig.ask(text)
        told_of = [(record.cache, record.cost, record.embedding_cost) for record in rig.running.records]
        assert told_of == [
            ("miss", 720_000, 700_000), ("exact", 0, 0), ("normalised", 0, 0), ("semantic", 700_000, 700_000), ("miss", 720_000, 700_000),
        ]  # fmt: skip
        assert all(record.wasted_cost == 0 and record.cost_basis == "measured" for record in rig.running.records)
        assert [record.list_cost for record in rig.running.records] == [20_000] * 5
        assert plug.asked == [ASKED, MEANT, OTHER], "texts that no request pays for are not embedded"


@on_loop
async def test_the_client_is_told_of_it() -> None:
    async with (
        scripted(*told("one")) as upstream,
        semantic(one_upstream(upstream.url, more=vectors()), embedder=WordEmbedder(tokens=7), model="vectors") as rig,
    ):
        assert (await rig.running.chat(ASKED)).headers["penstock-cost-usd"] == "0.000720000"
        await rig.meaning.learned()
        assert (await rig.running.chat(MEANT)).headers["penstock-cost-usd"] == "0.000700000"
        streamed = await rig.running.chat(MEANT + "!", stream=True, stream_options={"include_usage": True})
        assert streamed.headers["penstock-cache"] == "semantic" and streamed.chunks[-1]["penstock"] == {"cost_usd": "0.000700000"}


@pytest.mark.parametrize(("price", "tokens"), [("", 7), ("price = { input = 100 }", None)], ids=["no price", "no tokens told"])
@on_loop
async def test_an_embedding_without_a_price_is_unknown(price: str, tokens: int | None) -> None:
    plug = WordEmbedder(tokens=tokens)
    async with (
        scripted(*told("one")) as upstream,
        semantic(one_upstream(upstream.url, more=vectors(price)), embedder=plug, model="vectors") as rig,
    ):
        reply = await rig.running.chat(ASKED)
        await rig.meaning.learned()
        assert reply.headers["penstock-cost-usd"] == "unknown"
        assert await rig.ask(MEANT) == "semantic"
        for record in rig.running.records:
            assert (record.cost, record.embedding_cost, record.cost_basis) == (None, None, "unknown")


@on_loop
async def test_an_unknown_part_is_not_taken_for_work_of_an_own_fleet() -> None:
    more = vectors("", FLEET.format(upstream="main"))
    async with (
        scripted(*told("one")) as upstream,
        semantic(one_upstream(upstream.url, more=more), embedder=WordEmbedder(tokens=7), model="vectors") as rig,
    ):
        assert [await rig.ask(each) for each in (ASKED, MEANT)] == ["miss", "semantic"]
        assert all(record.fleet == "f" and not is_unbooked(record) for record in rig.running.records)
        assert [booked_of(record) for record in rig.running.records] == [None, None]


@pytest.mark.parametrize("own", [False, True], ids=["of a provider", "of an own fleet"])
@on_loop
async def test_an_embedding_is_booked_where_its_answer_is_not(own: bool) -> None:
    fleets = FLEET.format(upstream="main") + (FLEET.format(upstream="v").replace("fleets.f", "fleets.v") if own else "")
    async with scripted(*told("one", "two")) as upstream:
        text = one_upstream(upstream.url, more=vectors(more=fleets)).replace("price = { input = 1, output = 2 }\n", "")
        async with semantic(text, embedder=WordEmbedder(tokens=7), model="vectors") as rig:
            assert [await rig.ask(each) for each in (ASKED, OTHER, MEANT)] == ["miss", "miss", "semantic"]
            *misses, hit = rig.running.records
            for record in misses:
                assert (record.fleet, record.cost, record.wasted_cost, record.embedding_cost) == ("f", None, 0, 700_000)
                assert is_unbooked(record) and (booked_of(record), provisional_of(record)) == (700_000, own * 700_000)
            assert (hit.cost, booked_of(hit), provisional_of(hit)) == (700_000, 700_000, own * 700_000)


@on_loop
async def test_an_embedding_that_was_given_up_is_estimated() -> None:
    plug = WordEmbedder(tokens=7)
    async with (
        scripted(*told("one")) as upstream,
        semantic(one_upstream(upstream.url, more=vectors()), embedder=plug, model="vectors", budget_s=0.02) as rig,
    ):
        plug.pause_s = 1
        assert await rig.ask(ASKED) == "miss"
        record = rig.running.last
        assert record.embedding_cost is not None and record.embedding_cost > 0 and record.cost_basis == "estimated"
        assert record.cost == 20_000 + record.embedding_cost


@pytest.mark.parametrize("of_answers", [False, True])
@pytest.mark.parametrize("of_vectors", [False, True])
@on_loop
async def test_work_of_own_fleets_is_kept_apart_from_what_is_billed(of_answers: bool, of_vectors: bool) -> None:
    fleets = [name for name, there in (("main", of_answers), ("v", of_vectors)) if there]
    more = "".join(FLEET.format(upstream=name).replace("fleets.f", f"fleets.{name}") for name in fleets)
    async with scripted(*told("one")) as upstream:
        text = one_upstream(upstream.url, more=vectors(more=more))
        async with semantic(text, embedder=WordEmbedder(tokens=7), model="vectors") as rig:
            assert [await rig.ask(each) for each in (ASKED, MEANT)] == ["miss", "semantic"]
            miss, hit = rig.running.records
            assert provisional_of(miss) == of_answers * 20_000 + of_vectors * 700_000
            assert (provisional_of(hit), booked_of(hit)) == (of_vectors * 700_000, 700_000)


@on_loop
async def test_caps_count_what_hits_cost() -> None:
    text = one_upstream("{url}", more=vectors() + BUDGET.format(limit="0.1"))
    async with (
        scripted(*told("one")) as upstream,
        semantic(text.replace("{url}", upstream.url), embedder=WordEmbedder(tokens=7), model="vectors", spent={}) as rig,
    ):
        assert [await rig.ask(each) for each in (ASKED, MEANT, WORDED)] == ["miss", "semantic", "normalised"]
        assert rig.running.gateway.purses is not None
        (purse,) = rig.running.gateway.purses.all()
        assert purse.spent == sum(record.cost or 0 for record in rig.running.records) == 1_420_000


@on_loop
async def test_an_embedding_does_not_pass_a_cap() -> None:
    plug = WordEmbedder(tokens=7)
    text = one_upstream("{url}", more=vectors() + BUDGET.format(limit="0.005"))
    async with (
        scripted(*told("one")) as upstream,
        semantic(text.replace("{url}", upstream.url), embedder=plug, model="vectors", spent={}) as rig,
    ):
        assert await rig.ask(ASKED) == "miss"
        decision = rig.running.last.cache_decision
        assert decision is not None and (decision.verdict, decision.reason) == ("unavailable", "a budget has no room for the embedding")
        assert plug.asked == [] and rig.running.last.cost == 20_000, "its 60 bytes may be 60 tokens, that is 0.006 USD"
        assert await rig.ask(WORDED) == "normalised"


@on_loop
async def test_without_a_price_no_embedding_is_made_under_a_cap() -> None:
    plug = WordEmbedder(tokens=7)
    text = one_upstream("{url}", more=vectors("") + BUDGET.format(limit="5"))
    async with (
        scripted(*told("one")) as upstream,
        semantic(text.replace("{url}", upstream.url), embedder=plug, model="vectors", spent={}) as rig,
    ):
        assert [await rig.ask(each) for each in (ASKED, MEANT)] == ["miss", "miss"]
        assert plug.asked == [] and rig.running.last.cost == 20_000


@on_loop
async def test_an_embedder_of_this_process_costs_nothing() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert [await rig.ask(each) for each in (ASKED, MEANT)] == ["miss", "semantic"]
        assert [(record.cost, record.embedding_cost) for record in rig.running.records] == [(20_000, 0), (0, 0)]
