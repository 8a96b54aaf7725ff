"""What goes wrong around the semantic cache: requests go on, nobody waits for long, and it is said."""

import asyncio
import random
import time

import msgspec
import numpy as np
import pytest

from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Looked
from penstock.gateway.semantic import embedding, shelf
from penstock.ports.answer_store import AnswerStore, AnswerStoreError, Entry, Removal, Told, Used, Vouched
from tests.integration.gateway_rig import on_loop, one_upstream
from tests.integration.semantic_rig import DIMENSIONS, ON, SemanticRig, StoreInMemory, WordEmbedder, semantic
from tests.integration.test_semantic import ASKED, MEANT, OTHER, WORDED, told
from tests.integration.upstream_rig import scripted, simulated

LONG_TAIL = " and tell me of the heron"


def why(rig: SemanticRig) -> tuple[str, str | None]:
    decision = rig.running.last.cache_decision
    assert decision is not None
    return decision.verdict, decision.reason


@on_loop
async def test_a_dead_embedder_leaves_the_same_words() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        rig.embedder.failing = True
        assert [await rig.ask(text) for text in (ASKED, WORDED, MEANT)] == ["miss", "normalised", "miss"]
        assert why(rig) == ("unavailable", "the embedder failed")
        for number in range(6):
            await rig.ask(f"{OTHER} {number}")
        assert why(rig) == ("unavailable", "the embedder failed of late")
        asked = len(rig.embedder.asked)
        await rig.ask(f"{OTHER} again")
        assert len(rig.embedder.asked) == asked, "it is left alone for a while"
        (line,) = [line for line in rig.running.log if "embedder" in line]
        assert "the embedder is dead" in line and "hint: start it again" in line
        await rig.until(lambda: len(rig.store.of(Entry)) == 9)
        assert all(entry.vector is None and entry.embedder is None for entry in rig.store.of(Entry))


@on_loop
async def test_a_slow_embedder_is_not_waited_for() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON), budget_s=0.05) as rig:
        rig.embedder.pause_s = 5
        began = time.monotonic()
        reply = await rig.running.chat(ASKED)
        assert reply.status == 200 and time.monotonic() - began < 0.5
        assert why(rig) == ("unavailable", "the embedder was too slow")
        rig.embedder.pause_s = 0
        await rig.meaning.learned()


@on_loop
async def test_it_finds_its_way_back_to_the_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.gateway.breaker.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("penstock.gateway.breaker.FAILURES_TO_OPEN", 2)
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        rig.embedder.failing = True
        for number in range(3):
            await rig.ask(f"{OTHER} {number}")
        rig.embedder.failing = False
        await asyncio.sleep(0.06)
        assert [await rig.ask(text) for text in (ASKED, MEANT)] == ["miss", "semantic"]
        assert "the embedder of the semantic cache answers again" in rig.running.log


@on_loop
async def test_a_bug_of_the_embedder_fails_no_request() -> None:
    class Broken(WordEmbedder):
        async def embed(self, texts: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError("a bug")

    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON), embedder=Broken()) as rig:  # type: ignore[arg-type]
        assert await rig.ask(ASKED) == "miss"
        assert why(rig) == ("unavailable", "it failed: ZeroDivisionError")
        assert any("a bug" in line for line in rig.running.log)


@on_loop
async def test_entries_of_another_embedder_serve_the_same_words_only() -> None:
    store = StoreInMemory()
    async with scripted(*told("one")) as upstream:
        text = one_upstream(upstream.url, more=ON)
        async with semantic(text, store=store, embedder=WordEmbedder("before")) as rig:
            assert [await rig.ask(each) for each in (ASKED, MEANT)] == ["miss", "semantic"]
        async with semantic(text, store=store, embedder=WordEmbedder("after")) as rig:
            assert [await rig.ask(each) for each in (MEANT, WORDED)] == ["miss", "normalised"]
            assert await rig.ask("Please " + MEANT) in ("semantic", "normalised")


@on_loop
async def test_an_answer_that_is_gone_is_forgotten() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        await rig.until(lambda: bool(rig.store.answers))
        async with semantic(one_upstream(upstream.url, more=ON), store=rig.store) as other:
            rig.store.answers.clear()
            assert await other.ask(MEANT) == "miss"
            assert why(other) == ("unavailable", "its answer is gone")
            await other.until(lambda: bool(rig.store.answers))


@on_loop
async def test_a_store_that_is_away_stops_nobody() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        await rig.until(lambda: bool(rig.store.answers))
        rig.store.away = True
        await rig.until(lambda: not rig.meaning.gauges()["store_up"])
        assert [await rig.ask(each) for each in (WORDED, MEANT, OTHER)] == ["normalised", "semantic", "miss"], "what is in memory goes on"
        assert await rig.ask(OTHER + "!") == "normalised", "and so does what is new"
        await asyncio.sleep(0.5)
        assert len([line for line in rig.running.log if "is away" in line]) == 1, "it is said once"
        rig.store.away = False
        await rig.until(lambda: len(rig.store.of(Entry)) == 2)
        assert "the store of the semantic cache answers again" in rig.running.log


@on_loop
async def test_a_store_that_cannot_be_opened_is_tried_again() -> None:
    kept, shut = StoreInMemory(), True

    def open_store() -> AnswerStore:
        if shut:
            raise AnswerStoreError("no such host", "name another one")
        return kept

    async with (
        scripted(*told("one")) as upstream,
        semantic(one_upstream(upstream.url, more=ON), open_store=open_store, ready=False) as rig,
    ):
        assert [await rig.ask(text) for text in (ASKED, WORDED)] == ["miss", "miss"]
        assert why(rig) == ("unavailable", "the store is still being read")
        shut = False
        await rig.until(lambda: rig.meaning.ready)
        assert await rig.ask(MEANT) == "semantic"
        await rig.until(lambda: len(kept.of(Entry)) >= 1)


@on_loop
async def test_a_slow_store_makes_no_client_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "PATIENCE_S", 0.05)
    store = StoreInMemory()
    async with scripted(*told("one")) as upstream:
        text = one_upstream(upstream.url, more=ON)
        async with semantic(text, store=store) as rig:
            assert await rig.ask(ASKED) == "miss"
        async with semantic(text, store=store) as rig:
            store.pause_s = 0.3
            began = time.monotonic()
            assert (await rig.running.chat(MEANT)).headers["penstock-cache"] == "miss"
            assert time.monotonic() - began < 0.25
            assert why(rig)[0] == "unavailable" and "0.05 s" in (why(rig)[1] or "")
            store.pause_s = 0


@on_loop
async def test_a_log_that_begins_anew_is_read_from_its_beginning() -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        await rig.until(lambda: bool(rig.store.of(Entry)))
        await _taken_in(rig)
        rig.store.log, rig.store.answers, rig.store.begun_anew = [], {}, True
        await rig.until(lambda: rig.meaning.gauges()["entries"] == 0 and rig.meaning.ready)
        assert any("begun anew" in line for line in rig.running.log)
        assert [await rig.ask(text) for text in (MEANT, WORDED)] == ["miss", "semantic"]


@on_loop
async def test_what_is_queued_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.gateway.semantic.following.MOST_WAITING", 2)
    async with scripted(*told("one", "two", "three", "four", "five")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        rig.store.away = True
        for number in range(5):
            assert await rig.ask(f"{number} " * 20) == "miss"
        gauges = rig.meaning.gauges()
        assert (gauges["waiting"], gauges["dropped"], gauges["entries"]) == (2, 3, 2)
        assert len([line for line in rig.running.log if "forgets what is new" in line]) == 1
        rig.store.away = False
        await rig.until(lambda: rig.meaning.gauges()["waiting"] == 0)


@on_loop
async def test_what_was_counted_while_the_store_is_away_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.gateway.semantic.following.MOST_WAITING", 1)
    monkeypatch.setattr("penstock.gateway.semantic.meaning.TALLY_S", 0.02)
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        rig.store.away = True
        assert [await rig.ask(ASKED) for _ in range(4)] == ["miss", "exact", "exact", "exact"]
        await asyncio.sleep(0.1)
        assert (rig.meaning.gauges()["waiting"], rig.meaning.gauges()["dropped"]) == (1, 0), "nothing is lost"
        rig.store.away = False
        await rig.until(lambda: sum(used.scopes["keyless"].requests for used in rig.store.of(Used)) == 4)


@on_loop
async def test_not_more_is_learned_at_once_than_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.gateway.semantic.meaning.LEARNING_AT_ONCE", 1)
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        rig.embedder.pause_s = 0.05
        fresh = {"penstock-cache": "no-cache"}
        await asyncio.gather(*(rig.running.chat(f"{number} " * 20, fresh) for number in range(4)))
        await rig.meaning.learned()
        assert (rig.meaning.gauges()["dropped"], rig.meaning.gauges()["entries"]) == (3, 1)


@on_loop
async def test_a_full_cache_takes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.gateway.semantic.meaning.TALLY_S", 0.02)
    more = ON + 'max_bytes = "1 KB"\n'
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=more)) as rig:
        assert await rig.ask(ASKED) == "miss"
        await asyncio.sleep(0.1)
        assert [await rig.ask(each) for each in (OTHER, OTHER + "!", MEANT)] == ["miss", "miss", "semantic"]
        await rig.until(lambda: len(rig.store.of(Entry)) == 1)
        assert rig.meaning.gauges()["entries"] == 1 and rig.meaning.gauges()["waiting"] == 0


@on_loop
async def test_what_people_change_is_heeded() -> None:
    more = ON.replace("users = 1", "users = 2")
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=more)) as rig:
        ada, bob = {"penstock-tag-user": "ada"}, {"penstock-tag-user": "bob"}
        assert await rig.ask(ASKED, ada) == "miss"
        entry = rig.running.last.id
        await rig.until(lambda: bool(rig.store.of(Entry)))
        rig.store.append([Vouched(at_ns=1, entry=entry, curated=True)])
        rig.store.append([Told(id="r", at_ns=1, entry=entry, right=True, source="operator", scope=("keyless",))])
        rig.store.append([Used(at_ns=1, worker="w", scopes={"keyless": Looked(requests=3)})])
        await _taken_in(rig)
        assert await rig.ask(MEANT, bob) == "semantic", "a person vouches for it"
        rig.store.append([Removal(at_ns=2, entries=(entry,), reason="purged")])
        await rig.until(lambda: rig.meaning.gauges()["entries"] == 0)
        assert await rig.ask(MEANT + LONG_TAIL, bob) == "miss"


@on_loop
async def test_an_event_that_cannot_be_taken_in_keeps_no_other_out() -> None:
    store = StoreInMemory()
    bad = np.full(DIMENSIONS, np.nan, "<f4").tobytes()
    now_ns = time.time_ns()
    put = Entry(
        id="bad", at_ns=now_ns, expires_ns=now_ns + 10**12, partition=b"p" * 16, scope=("keyless",), wording=b"w" * 16, text="x",
        vector=bad[:-1], embedder="words", model="m", upstream="main", tier=None, user=None,
    )  # fmt: skip
    store.append([put, msgspec.structs.replace(put, id="good", vector=None)])
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON), store=store) as rig:
        assert rig.meaning.gauges()["entries"] >= 1 and await rig.ask(ASKED) == "miss"


@on_loop
async def test_a_judge_that_fails_stops_nobody_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fails(_: object, text: str, *__: object) -> None:
        asked.append(text)
        raise ValueError(f"in other words each time: {len(asked)}")

    monkeypatch.setattr(Decider, "decide", fails)
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert [await rig.ask(f"{OTHER} {number}") for number in range(9)] == ["miss"] * 9
        assert why(rig) == ("unavailable", "it failed: ValueError") and len(asked) == 18
        assert await rig.ask(f"{OTHER} 8".upper()) == "normalised", "what needs no judge goes on"
        faults = [line for line in rig.running.log if line.startswith("error")]
        assert len(faults) == 1 and "Traceback" in faults[0] and "each time: 1\n" in faults[0]


@on_loop
async def test_an_index_that_fails_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise IndexError("the index is broken")

    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON)) as rig:
        assert await rig.ask(ASKED) == "miss"
        for name in ("search", "add", "remove"):
            monkeypatch.setattr(f"penstock.gateway.semantic.entries.Shard.{name}", fails)
        assert [await rig.ask(each) for each in (MEANT, OTHER, WORDED)] == ["miss", "miss", "normalised"]
        monkeypatch.setattr("penstock.gateway.semantic.entries.Entries.same_words", fails)
        monkeypatch.setattr("penstock.gateway.semantic.asking.normalised", fails)
        assert await rig.ask(ASKED + LONG_TAIL) == "miss" and why(rig) == ("unavailable", "it failed: IndexError")
        assert len([line for line in rig.running.log if line.startswith("error")]) <= 4


async def _taken_in(rig: SemanticRig) -> None:
    """Waits until the log has been read to its end."""
    marker = Removal(at_ns=3, entries=("none",), reason="purged")
    rig.store.append([marker])
    await asyncio.sleep(0.5)


def test_the_budget_is_what_the_design_says() -> None:
    assert embedding.BUDGET_S == 0.25


@pytest.mark.parametrize("hedge", [False, True])
@on_loop
async def test_much_at_once_with_everything_failing_now_and_then(hedge: bool) -> None:
    more = ON + "hedge = true\n" * hedge + '[[budgets]]\nname = "cap"\nlimit = "5 USD / month"\nat_limit = "refuse"\n'
    rolls = random.Random(7)
    async with simulated(speed=20) as url, semantic(one_upstream(url, more=more), spent={}, budget_s=0.05) as rig:

        async def ask(number: int) -> int:
            await asyncio.sleep(rolls.random() * 1.5)
            text = " ".join(rolls.choices(["gate", "mill", "heron", "weir", "sluice"], k=3)) + "?" * rolls.randrange(3)
            headers = {"penstock-tag-user": rolls.choice(["ada", "bob"]), "penstock-cache": rolls.choice(["", "", "", "no-cache", "exact"])}
            asking = asyncio.create_task(rig.running.chat(text, headers, stream=rolls.random() < 0.5))
            if rolls.random() < 0.15:
                await asyncio.wait((asking,), timeout=rolls.random() * 0.03)
                asking.cancel()
            done, _ = await asyncio.wait((asking,))
            (told,) = done
            return 0 if told.cancelled() else told.result().status

        async def trouble() -> None:
            while True:
                rig.store.away, rig.embedder.failing = rolls.random() < 0.3, rolls.random() < 0.3
                rig.embedder.pause_s = rolls.choice([0, 0.01, 0.1])
                await asyncio.sleep(0.05)

        troubling = asyncio.create_task(trouble())
        statuses = await asyncio.gather(*(ask(number) for number in range(300)))
        troubling.cancel()
        rig.store.away = rig.embedder.failing = False
        assert set(statuses) <= {0, 200}, "nobody but who left had to go without an answer"
        assert {record.cache for record in rig.running.records} >= {"miss", "exact", "normalised"}
        assert not [line for line in rig.running.log if "Traceback" in line], rig.running.log
        await rig.until(lambda: rig.meaning.gauges()["waiting"] == 0)
