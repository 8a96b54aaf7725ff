"""The semantic cache through the whole gateway: who gets an answer in other words, in which form, and what is never kept."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
import pytest

from penstock.domain.dialects.tokens import NO_TOKENS
from penstock.ports.answer_store import Entry, Evidence, Removal, Told, Used
from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.dialect_bodies import DIALECTS, body, config, said
from tests.integration.gateway_rig import fallback, on_loop, one_upstream
from tests.integration.semantic_rig import ON, StoreInMemory, WordEmbedder, semantic
from tests.integration.upstream_rig import answer, completion, scripted, simulated

ASKED = "how do I open the big sluice gate near the old mill by hand?"
WORDED = "How do I  open the big sluice gate near the old mill by hand"
MEANT = "how do I really open the big sluice gate near the old mill by hand?"
OTHER = "what colour has the heron that stands upon our weir each evening?"
FORMS: dict[str, Mapping[str, Any]] = {"plain": {}, "stream": {"stream": True}}


def told(*texts: str) -> list[bytes]:
    return [answer(completion(text)) for text in texts]


def shadow(config: str) -> str:
    return config + 'mode = "shadow"\n'


@pytest.mark.parametrize("second", [False, True], ids=["then whole", "then streamed"])
@pytest.mark.parametrize("first", [False, True], ids=["first whole", "first streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
@on_loop
async def test_hits_come_in_the_form_that_is_asked_for(dialect: str, first: bool, second: bool) -> None:
    async with simulated() as url, semantic(config(url, rest=ON)) as rig:
        for text, outcome in ((ASKED, "miss"), (WORDED, "normalised"), (MEANT, "semantic")):
            form = first if outcome == "miss" else second
            raw = orjson.dumps(body(dialect, text, stream=form))
            reply = await rig.running.ask("POST", f"/v1/{dialect.replace('.', '/')}", raw)
            await rig.meaning.learned()
            assert reply.whole and reply.headers["penstock-cache"] == outcome
            if outcome == "miss":
                made = said(dialect, reply)
                continue
            assert said(dialect, reply) == made != ""
            origin, hit = rig.running.records[0], rig.running.last
            assert (hit.cache, hit.cache_source, hit.cost, hit.tokens, hit.recalled) == (outcome, origin.id, 0, NO_TOKENS, origin.tokens)
            assert (hit.list_cost, hit.embedding_cost, hit.finish_reason, hit.model) == (origin.cost, 0, origin.finish_reason, "m")
            assert reply.headers["penstock-cache-source"] == origin.id
            decision = hit.cache_decision
            assert decision is not None and (decision.verdict, decision.mode, decision.entry) == ("served", "zero-trust", origin.id)
            if outcome == "semantic":
                assert decision.similarity is not None and 0.95 <= decision.similarity < 1 and decision.embedding_us is not None
                assert reply.headers["penstock-cache-similarity"] == f"{decision.similarity:.4f}"
            else:
                assert "penstock-cache-similarity" not in reply.headers


@on_loop
async def test_the_very_same_request_is_the_exact_layers() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert [await rig.ask(ASKED) for _ in range(2)] == ["miss", "exact"]
        assert rig.running.last.cache_decision is None and rig.embedder.asked == [ASKED]


@on_loop
async def test_it_works_without_the_exact_layer() -> None:
    more = f"{ON}[cache.exact]\nenabled = false"
    async with simulated() as url, semantic(one_upstream(url, more=more)) as rig:
        assert [await rig.ask(text, stream=True) for text in (ASKED, ASKED, MEANT)] == ["miss", "normalised", "semantic"]


@on_loop
async def test_what_is_not_near_enough_is_asked_and_learned_from() -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert [await rig.ask(text) for text in (ASKED, OTHER)] == ["miss", "miss"]
        first, second = rig.running.records
        assert first.cache_decision is not None and first.cache_decision.verdict == "nothing"
        assert second.cache_decision is not None and second.cache_decision.verdict == "refused"
        await rig.until(lambda: len(rig.store.of(Entry)) == 2)
        entry = rig.store.of(Entry)[0]
        assert (entry.id, entry.text, entry.scope, entry.embedder, entry.worth) == (first.id, ASKED, ("keyless",), "words", first.cost)
        assert entry.expires_ns - entry.at_ns == 86_400 * 10**9 and entry.user is None


@on_loop
async def test_wishes_of_the_client_are_honoured() -> None:
    async with scripted(*told("one", "two", "three", "four", "five")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        assert await rig.ask(WORDED, {"penstock-cache": "exact"}) == "miss"
        assert await rig.ask(MEANT, {"penstock-cache": "exact"}) == "miss"
        assert await rig.ask(MEANT + " ", {"penstock-cache": "no-store"}) == "bypass"
        assert await rig.ask(MEANT + "  ", {"penstock-cache": "no-cache"}) == "bypass"
        assert await rig.ask(MEANT.upper()) in ("normalised", "semantic")
        assert len(upstream.asked) == 5
        await rig.until(lambda: len(rig.store.of(Entry)) == 2)
        assert {entry.text for entry in rig.store.of(Entry)} == {ASKED, MEANT + "  "}, "`exact` and `no-store` keep nothing by meaning"


@pytest.mark.parametrize("wish", ["1.5", "-0.1", "nan", "inf", "some", "0,1", "1e400", "0x1"])
@on_loop
async def test_a_bound_that_is_no_share_is_refused(wish: str) -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        reply = await rig.running.chat(ASKED, {"penstock-cache-max-error": wish})
        assert (reply.status, reply.headers["penstock-error"]) == (400, "input") and "max-error" in reply.error["message"]
        assert await rig.ask(ASKED, {"penstock-cache-max-error": "0.001"}) == "miss"
        assert await rig.ask(ASKED, {"penstock-cache-max-error": "1e-3"}) == "exact"


@on_loop
async def test_a_request_may_tighten_the_bound() -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        strict = {"penstock-cache-max-error": "0", "penstock-cache": ""}
        assert [await rig.ask(text, strict) for text in (WORDED, MEANT)] == ["normalised", "miss"], "the same words carry no risk"
        assert [await rig.ask(text, {"penstock-cache-max-error": "1"}) for text in (OTHER, MEANT + " ")] == ["miss", "normalised"]


@on_loop
async def test_a_route_says_how_far_its_answers_go_and_how_long() -> None:
    more = (
        f'{ON}[tiers]\nt = {{ model = "m" }}\n[routes.same]\ntiers = ["t"]\ncache = "exact"\n[routes.none]\ntiers = ["t"]\ncache = "off"\n'
        '[routes.short]\ntiers = ["t"]\ncache_ttl = "300ms"\n'
    )
    now = "how high is the water at the old mill by the big gate right now?"
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=more)) as rig:
        assert [await rig.ask(text, model="same") for text in (ASKED, ASKED, WORDED)] == ["miss", "exact", "miss"]
        assert [await rig.ask(text, model="none") for text in (ASKED, ASKED)] == ["bypass", "bypass"]
        assert [await rig.ask(text, model="m") for text in (now, now.upper())] == ["miss", "miss"]
        decision = rig.running.last.cache_decision
        assert decision is not None and (decision.verdict, decision.reason) == ("unfit", "time-bound")
        assert [await rig.ask(text, model="short") for text in (now, now, now.upper())] == ["miss", "exact", "normalised"]
        await asyncio.sleep(0.31)
        assert [await rig.ask(text, model="short") for text in (now, now.upper())] == ["miss", "normalised"]


@on_loop
async def test_another_form_of_the_question_is_another_partition() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        fields: list[dict[str, Any]] = [{"temperature": 0.5}, {"max_tokens": 5}, {"seed": 1}, {"response_format": {"type": "json_object"}}]
        for more in fields:
            assert await rig.ask(MEANT, **more) == "miss"
        assert await rig.ask(WORDED, {"accept-language": "de"}) == "miss"
        turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": WORDED}]
        assert await rig.ask(messages=turns) == "miss"
        assert await rig.ask(MEANT) == "semantic"


NEVER: dict[str, dict[str, Any]] = {
    "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    "several answers": {"n": 2},
    "details wanted": {"logprobs": True},
}


@pytest.mark.parametrize("reason", NEVER)
@on_loop
async def test_some_requests_are_never_answered_by_meaning(reason: str) -> None:
    async with simulated() as url, semantic(one_upstream(url, more=ON)) as rig:
        assert [await rig.ask(text, **NEVER[reason]) for text in (ASKED, WORDED)] == ["miss", "miss"]
        decision = rig.running.last.cache_decision
        assert decision is not None and (decision.verdict, decision.reason) == ("unfit", reason)
        assert not rig.store.of(Entry) and not rig.embedder.asked


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls"])
@on_loop
async def test_answers_without_a_regular_end_are_not_kept(reason: str) -> None:
    async with scripted(answer(completion("one", reason=reason))) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert [await rig.ask(text) for text in (ASKED, WORDED, MEANT)] == ["miss", "miss", "miss"]
        assert not rig.store.of(Entry)


@on_loop
async def test_the_answer_of_a_fallback_is_not_kept() -> None:
    down = answer({"error": {"message": "no"}}, 503)
    async with (
        scripted(down, *told("cheap")) as first,
        scripted(*told("dear")) as second,
        semantic(fallback(first.url, second.url) + ON) as rig,
    ):
        assert [await rig.ask(text, model="auto") for text in (ASKED, WORDED, MEANT)] == ["miss", "miss", "semantic"]
        assert (await rig.running.chat(MEANT + "?", model="auto")).json["choices"][0]["message"]["content"] == "cheap"


@on_loop
async def test_rules_hold_for_answers_and_for_the_embedder() -> None:
    more = f"""{ON}
[upstreams.elsewhere]
base_urls = ["http://127.0.0.1:9/v1"]
[models.vectors]
upstream = "elsewhere"
price = {{ input = 1 }}
[[rules]]
where = {{ data = "restricted" }}
only = ["main"]
[[rules]]
where = {{ data = "secret" }}
only = ["elsewhere"]
[tags]
declared = ["data"]
"""
    async with scripted(*told("one")) as upstream:
        async with semantic(one_upstream(upstream.url, more=more), embedder=WordEmbedder(tokens=10), model="vectors") as rig:
            assert await rig.ask(MEANT, {"penstock-tag-data": "restricted"}) == "miss"
            decision = rig.running.last.cache_decision
            assert decision is not None and (decision.verdict, rig.embedder.asked) == ("unavailable", [])
            assert "rule" in (decision.reason or "") and rig.running.last.embedding_cost == 0
        async with semantic(one_upstream(upstream.url, more=more)) as rig:
            assert await rig.ask(ASKED) == "miss"
            for text in (WORDED, MEANT):
                assert (await rig.running.chat(text, {"penstock-tag-data": "secret"})).status == 403


def key(name: str, **tags: str) -> ApiKey:
    return ApiKey(id=f"key_{name}", name=name, sha256=fingerprint(f"psk_{name}"), prefix="psk_", created_ns=0, tags=tags)


def by(name: str, user: str | None = None) -> dict[str, str]:
    return {"authorization": f"Bearer psk_{name}", **({"penstock-tag-user": user} if user is not None else {})}


@on_loop
async def test_others_get_an_answer_only_after_enough_users_have_got_it() -> None:
    more = ON.replace("users = 1", "users = 3")
    async with scripted(*told("open it with the crank")) as upstream, semantic(one_upstream(upstream.url, more=more)) as rig:
        users = [{"penstock-tag-user": name} for name in ("ada", "bob", "cyd", "dan")]
        assert await rig.ask(ASKED, users[0]) == "miss"
        assert await rig.ask(WORDED, users[0]) == "normalised", "one's own answer needs nobody's word"
        assert await rig.ask(WORDED + "!", users[1]) == "miss"
        assert await rig.ask(MEANT, users[2]) == "miss"
        decision = rig.running.last.cache_decision
        assert decision is not None and decision.verdict == "nothing", "nothing that this user may have"
        assert await rig.ask(MEANT + "!!", users[3]) == "normalised"
        assert await rig.ask(ASKED + "!!", users[3]) == "normalised"
        assert len(upstream.asked) == 3
        await rig.until(lambda: bool(rig.store.of(Removal)))
        (removal,) = rig.store.of(Removal)
        assert removal.reason == "replaced" and removal.entries == (rig.running.records[0].id,)
        users_told = sorted(user for entry in rig.store.of(Entry) for user in (entry.user, *entry.users))
        assert users_told == [" ada", " ada", " bob", " bob", " cyd"]


@on_loop
async def test_answers_that_differ_confirm_nobody() -> None:
    more = ON.replace("users = 1", "users = 2")
    texts = ["the answer is 17", "the answer is 18", "the answer is 19"]
    async with scripted(*told(*texts)) as upstream, semantic(one_upstream(upstream.url, more=more)) as rig:
        for number, name in enumerate(("ada", "bob", "cyd")):
            assert await rig.ask(ASKED + " " * number, {"penstock-tag-user": name}) == "miss"
        assert await rig.ask(WORDED, {"penstock-tag-user": "dan"}) == "miss"


@on_loop
async def test_asking_again_at_once_is_taken_as_a_complaint() -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        ada = {"penstock-tag-user": "ada"}
        assert [await rig.ask(text, ada) for text in (ASKED, MEANT)] == ["miss", "semantic"]
        hit = rig.running.last
        assert await rig.ask(MEANT, ada) == "miss"
        assert rig.running.last.cache_decision is not None and rig.running.last.cache_decision.entry is None
        await rig.until(lambda: bool(rig.store.of(Told)))
        (complaint,) = rig.store.of(Told)
        assert (complaint.id, complaint.entry, complaint.right, complaint.source) == (hit.id, hit.cache_source, False, "regenerate")
        assert await rig.ask(MEANT, ada) == "exact"


@on_loop
async def test_callers_without_a_name_are_not_taken_to_complain() -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert [await rig.ask(text) for text in (ASKED, MEANT, MEANT)] == ["miss", "semantic", "semantic"]
        assert await rig.ask(MEANT, {"penstock-cache": "no-cache"}) == "bypass"
        await rig.until(lambda: bool(rig.store.of(Told)))


@on_loop
async def test_a_key_alone_is_not_taken_to_complain() -> None:
    keys = [key("app", tenant="acme")]
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), keys=keys) as rig:
        assert [await rig.ask(text, by("app")) for text in (ASKED, MEANT, MEANT)] == ["miss", "semantic", "semantic"]
        assert await rig.ask(MEANT, {**by("app"), "penstock-cache": "no-cache"}) == "bypass"
        await rig.until(lambda: bool(rig.store.of(Told)))
        assert len(rig.store.of(Told)) == 1


@on_loop
async def test_users_of_two_applications_are_two_users_whatever_their_names() -> None:
    more, keys = ON.replace("users = 1", "users = 2"), [key("shop", tenant="acme"), key("desk", tenant="acme")]
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=more), keys=keys) as rig:
        assert await rig.ask(ASKED, by("shop", "1")) == "miss"
        assert await rig.ask(WORDED, by("shop", "1")) == "normalised", "one's own answer needs nobody's word"
        assert await rig.ask(WORDED + "!", by("desk", "1")) == "miss", "that is somebody else"
        assert await rig.ask(MEANT, by("desk", "2")) == "semantic", "two have said the same"


@on_loop
async def test_shadow_serves_nothing_and_says_what_it_would_have() -> None:
    async with scripted(*told("one", "one", "one", "three")) as upstream, semantic(shadow(one_upstream(upstream.url, more=ON))) as rig:
        rig.trust("shadow", 0.9)
        asked = [await rig.ask(text) for text in (ASKED, WORDED, MEANT, OTHER)]
        assert asked == ["miss"] * 4 and len(upstream.asked) == 4
        assert [record.would_cache for record in rig.running.records] == [None, "normalised", "semantic", None]
        decisions = [record.cache_decision for record in rig.running.records]
        assert [decision and (decision.verdict, decision.mode) for decision in decisions] == [
            ("nothing", "shadow"), ("probe", "shadow"), ("probe", "shadow"), ("refused", "shadow"),
        ]  # fmt: skip
        await rig.until(lambda: len(rig.store.of(Evidence)) >= 2)
        evidence = {each.id: each for each in rig.store.of(Evidence)}
        meant = evidence[rig.running.records[2].id]
        assert meant.propensity == 1.0 and meant.fits and meant.chosen in {record.id for record in rig.running.records[:2]}


@on_loop
async def test_a_probe_goes_to_the_model_and_is_compared() -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), draw=0.0) as rig:
        assert [await rig.ask(text) for text in (ASKED, MEANT)] == ["miss", "miss"]
        first, probe = rig.running.records
        assert probe.cache_decision is not None and (probe.cache_decision.verdict, probe.would_cache) == ("probe", "semantic")
        await rig.until(lambda: bool(rig.store.of(Evidence)))
        (evidence,) = rig.store.of(Evidence)
        assert (evidence.id, evidence.chosen, evidence.fits) == (probe.id, first.id, True)
        assert evidence.propensity == pytest.approx(0.02) and evidence.risk == probe.cache_decision.risk
        assert [(each.entry, each.agreed) for each in evidence.compared] == [(first.id, 0.0)]


@on_loop
async def test_what_was_looked_at_is_told_to_the_log() -> None:
    store = StoreInMemory()
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), store=store) as rig:
        for text in (ASKED, ASKED, WORDED, MEANT, OTHER):
            await rig.ask(text)
        entry = rig.running.records[0].id
    used = store.of(Used)
    looked = [msgspec.structs.astuple(each.scopes["keyless"]) for each in used]
    assert [sum(each) for each in zip(*looked, strict=True)][:5] == [5, 1, 1, 1, 0]
    assert sum(each.served.get(entry, 0) for each in used) == 2 and {each.worker for each in used} == {"worker-1"}


@on_loop
async def test_what_could_never_be_answered_by_meaning_is_no_request_of_which_a_share_may_be_wrong() -> None:
    store, tools = StoreInMemory(), [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), store=store) as rig:
        asked = [await rig.ask(ASKED, tools=tools) for _ in range(3)] + [await rig.ask(OTHER) for _ in range(2)]
        assert asked == ["miss", "exact", "exact", "miss", "exact"]
    counts = [used.scopes["keyless"] for used in store.of(Used)]
    assert (sum(each.requests for each in counts), sum(each.exact for each in counts)) == (2, 3)


@on_loop
async def test_workers_share_what_they_learn() -> None:
    store = StoreInMemory()
    async with scripted(*told("one")) as upstream:
        text = one_upstream(upstream.url, more=ON)
        async with semantic(text, store=store) as first, semantic(text, store=store) as second:
            assert await first.ask(ASKED) == "miss"
            await second.until(lambda: second.meaning.gauges()["entries"] == 1)
            assert [await second.ask(each) for each in (WORDED, MEANT)] == ["normalised", "semantic"]
        async with semantic(text, store=store) as later:
            assert await later.ask(MEANT) == "semantic", "a worker that starts reads what others have learned"
            assert len(upstream.asked) == 1
