"""The model asked while the cache looks: who is first, what a call that was called off leaves, and what a client may still get."""

import asyncio
from typing import Any

import pytest

from penstock.ports.answer_store import Entry
from tests.integration.gateway_rig import Reply, message, on_loop, one_upstream
from tests.integration.gateway_rig import chat_body as chat
from tests.integration.semantic_rig import ON, SemanticRig, WordEmbedder, semantic
from tests.integration.test_semantic import ASKED, MEANT, OTHER, WORDED, told
from tests.integration.upstream_rig import Play, answer, hanging, in_pieces, resetting, scripted, stream, stream_events

HEDGED = f"{ON}hedge = true\n"
BUDGET = '[[budgets]]\nname = "cap"\nlimit = "{limit} USD / month"\nat_limit = "refuse"\n'


async def _answer(rig: SemanticRig, text: str, **fields: Any) -> Reply:
    reply = await rig.running.chat(text, **fields)
    await rig.meaning.learned()
    return reply


@pytest.mark.parametrize("streamed", [False, True])
@on_loop
async def test_a_hit_calls_the_model_off(streamed: bool) -> None:
    plays: list[Play] = [*told("one"), hanging()]
    async with scripted(*plays) as upstream, semantic(one_upstream(upstream.url, more=HEDGED)) as rig:
        rig.embedder.pause_s = 0.05
        assert await rig.ask(ASKED) == "miss"
        reply = await _answer(rig, MEANT, stream=streamed)
        assert reply.whole and reply.headers["penstock-cache"] == "semantic"
        await asyncio.wait_for(upstream.left.wait(), 2)
        hit = rig.running.last
        assert (hit.outcome, hit.cache, hit.cache_source) == ("ok", "semantic", rig.running.records[0].id)
        (attempt,) = hit.attempts
        assert (attempt.status, attempt.error) == (None, "called off: the cache had the answer")
        assert hit.wasted_cost is not None and hit.cost == hit.wasted_cost > 0 and hit.cost_basis == "estimated"
        assert hit.tokens.total == 0 and hit.recalled == rig.running.records[0].tokens


@on_loop
async def test_a_hit_of_the_same_words_calls_nobody() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=HEDGED)) as rig:
        assert [await rig.ask(text) for text in (ASKED, WORDED)] == ["miss", "normalised"]
        assert len(upstream.asked) == 1


@on_loop
async def test_a_quick_model_is_not_waited_for() -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=HEDGED)) as rig:
        assert await rig.ask(ASKED) == "miss"
        rig.embedder.pause_s = 0.2
        reply = await rig.running.chat(MEANT)
        assert reply.headers["penstock-cache"] == "miss" and reply.json["choices"][0]["message"]["content"] == "two"
        record = rig.running.last
        assert record.duration_us < 150_000 and record.cost == rig.running.records[0].cost
        assert record.cache_decision is not None and record.cache_decision.reason == "the model answered first"
        await rig.meaning.learned()
        await rig.until(lambda: len(rig.store.of(Entry)) == 2)
        assert all(entry.vector is not None for entry in rig.store.of(Entry)), "what came too late is learned from all the same"


@on_loop
async def test_what_the_client_has_begun_to_read_is_read_to_its_end() -> None:
    events = stream_events("fr", "esh")
    slow = in_pieces(stream(events)[:400], stream(events)[400:], pause_s=0.3)
    async with scripted(*told("one"), slow) as upstream, semantic(one_upstream(upstream.url, more=HEDGED)) as rig:
        assert await rig.ask(ASKED) == "miss"
        rig.embedder.pause_s = 0.1
        reply = await _answer(rig, MEANT, stream=True)
        assert reply.whole and reply.text == "fresh" and rig.running.last.cache == "miss"
        assert len(upstream.asked) == 2 and rig.running.last.would_cache is None


@on_loop
async def test_a_miss_takes_no_longer_than_the_model() -> None:
    slow = in_pieces(b"", *told("two"), pause_s=0.15)
    async with scripted(*told("one"), slow) as upstream, semantic(one_upstream(upstream.url, more=HEDGED)) as rig:
        assert await rig.ask(ASKED) == "miss"
        rig.embedder.pause_s = 0.1
        assert await rig.ask(OTHER) == "miss"
        record = rig.running.last
        assert 150_000 <= record.duration_us < 230_000, "the look-up and the call went on side by side"
        assert record.cache_decision is not None and record.cache_decision.verdict == "refused"


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("down", [answer({"error": {"message": "no"}}, 503), answer({"error": {"message": "no"}}, 400), resetting()])
@on_loop
async def test_a_hit_is_served_though_the_upstream_fails(down: Play, retries: int) -> None:
    async with scripted(*told("one"), down) as upstream:
        text = one_upstream(upstream.url, more=HEDGED, upstream=f"retries = {retries}")
        async with semantic(text) as rig:
            assert await rig.ask(ASKED) == "miss"
            rig.embedder.pause_s = 0.05
            assert await rig.ask(MEANT) == "semantic"
            record = rig.running.last
            assert (record.outcome, record.status, record.error) == ("ok", 200, None) and record.attempts
            missed = await rig.running.chat(OTHER)
            assert missed.status != 200 and rig.running.last.outcome == "error", "what nobody can answer is an error as it was"


@on_loop
async def test_a_full_budget_does_not_keep_a_hit_away() -> None:
    text = one_upstream("{url}", more=HEDGED + BUDGET.format(limit="0.00036"))
    async with scripted(*told("one", "two")) as upstream, semantic(text.replace("{url}", upstream.url), spent={}) as rig:
        assert await rig.ask(ASKED) == "miss"
        rig.embedder.pause_s = 0.05
        refused = await rig.running.chat(OTHER)
        assert refused.status == 402, refused.body
        assert (await _answer(rig, MEANT)).headers["penstock-cache"] == "semantic"
        assert rig.running.last.outcome == "ok" and rig.running.last.cost == 0


@on_loop
async def test_a_client_that_leaves_ends_both() -> None:
    async with scripted(*told("one"), hanging()) as upstream, semantic(one_upstream(upstream.url, more=HEDGED)) as rig:
        assert await rig.ask(ASKED) == "miss"
        rig.embedder.pause_s = 0.2
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.running.port)
        writer.write(message("POST", "/v1/chat/completions", chat(MEANT)))
        await rig.until(lambda: len(upstream.asked) == 2)
        writer.transport.abort()
        await asyncio.wait_for(upstream.left.wait(), 2)
        await rig.running.settled()
        record = rig.running.last
        assert (record.outcome, record.cache) == ("client_closed", "miss") and record.cost is not None and record.cost > 0
        del reader


@on_loop
async def test_tokens_of_an_embedding_are_paid_for_by_either() -> None:
    more = f'{HEDGED}[models.vectors]\nupstream = "main"\nprice = {{ input = 100 }}\n'
    plug = WordEmbedder(tokens=7)
    async with (
        scripted(*told("one", "two"), hanging()) as upstream,
        semantic(one_upstream(upstream.url, more=more), embedder=plug, model="vectors") as rig,
    ):
        plug.pause_s = 0.05
        assert await rig.ask(ASKED) == "miss"
        assert await rig.ask(OTHER) == "miss"
        for record in rig.running.records:
            assert (record.embedding_cost, record.cost) == (700_000, 700_000 + 20_000)
            assert record.cache_decision is not None and record.cache_decision.verdict != "unavailable", "its cost had to be waited for"
        assert await rig.ask(MEANT) == "semantic"
        hit = rig.running.last
        assert hit.wasted_cost is not None and hit.cost == 700_000 + hit.wasted_cost


@pytest.mark.parametrize("hedge", [False, True])
@pytest.mark.parametrize("mode", ["zero-trust", "learned", "shadow"])
@on_loop
async def test_who_asks_the_exact_layer_alone_looks_nowhere_else(mode: str, hedge: bool) -> None:
    more = (
        f'{ON}mode = "{mode}"\nhedge = {str(hedge).lower()}\n'
        '[tiers]\nt = { model = "m" }\n[routes.same]\ntiers = ["t"]\ncache = "exact"\n[routes.all]\ntiers = ["t"]\n'
    )
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=more)) as rig:
        assert [await rig.ask(text, model="same") for text in (ASKED, ASKED, WORDED, MEANT)] == ["miss", "exact", "miss", "miss"]
        assert [await rig.ask(text, {"penstock-cache": "exact"}, model="all") for text in (ASKED, WORDED)] == ["miss", "miss"]
        assert rig.embedder.asked == [] and rig.meaning.gauges()["entries"] == 0 and len(upstream.asked) == 5
        assert {(record.cache_decision, record.would_cache) for record in rig.running.records} == {(None, None)}
        watched = [await rig.ask(text, model="all") for text in (OTHER, OTHER + "!")]
        assert watched == (["miss", "miss"] if mode == "shadow" else ["miss", "normalised"])
        assert (rig.running.last.would_cache == "normalised") is (mode == "shadow")
        assert len(rig.embedder.asked) <= 2 and not rig.running.log
