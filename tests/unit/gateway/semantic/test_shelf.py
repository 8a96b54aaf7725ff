"""Answers at hand: bounded in bytes, fetched once, and not waited for where the store is away."""

import pytest
import uvloop

from penstock.domain.dialects.tokens import NO_TOKENS
from penstock.gateway.semantic.shelf import OVERHEAD_BYTES, Shelf
from penstock.ports.answer_store import AnswerStoreError
from penstock.ports.cache import CachedAnswer
from tests.integration.semantic_rig import StoreInMemory


def kept(name: str, size: int = 100) -> CachedAnswer:
    return CachedAnswer(
        request_id=name, model="m", upstream="u", tier=None, streamed=False, body=b"x" * size, usage=None, tokens=NO_TOKENS,
        tokens_estimated=False,
    )  # fmt: skip


def test_answers_are_fetched_once_and_the_oldest_go() -> None:
    store, asked = StoreInMemory(), list[str]()
    store.answers = {name: kept(name) for name in "abc"}

    class Counting(StoreInMemory):
        def answer(self, entry: str) -> CachedAnswer | None:
            asked.append(entry)
            return store.answers.get(entry)

    async def scenario() -> None:
        shelf = Shelf(Counting, most_bytes=2 * (100 + OVERHEAD_BYTES))
        for name in "aabbacaab":
            assert await shelf.get(name) == store.answers[name]
        assert await shelf.get("none") is None
        shelf.forget("a")
        shelf.forget("a")
        assert await shelf.get("a") is not None
        shelf.keep("huge", kept("huge", 10_000))
        assert asked == ["a", "b", "c", "b", "none", "a"]
        await shelf.close()

    uvloop.run(scenario())


def test_a_store_that_is_away_is_left_alone() -> None:
    async def scenario() -> None:
        store = StoreInMemory()
        shelf = Shelf(lambda: store)
        store.away = True
        said = []
        for _ in range(7):
            with pytest.raises(AnswerStoreError) as problem:
                await shelf.get("a")
            said.append(str(problem.value))
        assert said[0] == "the store is away" and said[-1] == "it did not answer of late"
        shelf.keep("b", kept("b"))
        assert await shelf.get("b") is not None
        await shelf.close()

    uvloop.run(scenario())
