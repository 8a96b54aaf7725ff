"""The model that ships: equal to sentence-transformers, off the event loop, in batches that grow, and anew after a failure."""

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.embedders.minilm import MOST_TEXTS, OrtEmbedder
from penstock.adapters.embedders.model import Model
from penstock.adapters.embedders.upstream import UpstreamEmbedder
from penstock.adapters.embedders.weights import find
from penstock.adapters.upstreams.api import ApiReplica, ApiUpstream
from penstock.ports.embedder import EmbedderError, Vectors
from penstock.wire.client import Timeouts
from tests.golden.embedder.make import VECTORS, by_sentence_transformers, texts
from tests.integration.gateway_rig import on_loop
from tests.integration.upstream_rig import Play, answer, dead_url, hanging, scripted, simulated
from tests.unit.embedders.tiny_bert import opened, weights, write

EQUAL = 1e-5
MINILM = find("minilm", Path("nowhere"), {})


@pytest.fixture(scope="module")
def model() -> Model:
    return opened(MINILM)


@pytest.fixture(scope="module")
def golden() -> Vectors:
    vectors: Vectors = np.load(VECTORS)["vectors"]
    return vectors


@contextlib.asynccontextmanager
async def embedder(folder: Path = MINILM, kept: int = 0) -> AsyncIterator[OrtEmbedder]:
    opened = OrtEmbedder(folder, kept=kept)
    try:
        yield opened
    finally:
        await opened.close()


def in_order(model: Model, of: Sequence[str]) -> Vectors:
    found = np.zeros((len(of), model.bert.hidden), np.float32)
    for places, vectors in model.vectors(of):
        found[places] = vectors
    return found


def test_vectors_are_those_of_sentence_transformers(model: Model, golden: Vectors) -> None:
    assert len(golden) == len(texts())
    assert np.abs(in_order(model, texts()) - golden).max() < EQUAL


@pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
def test_vectors_are_those_of_sentence_transformers_here(model: Model) -> None:
    assert np.abs(in_order(model, texts()) - by_sentence_transformers(str(MINILM), texts())).max() < EQUAL


@settings(max_examples=10)
@given(chosen=st.lists(st.integers(0, len(texts()) - 1), min_size=1, max_size=20))
def test_what_else_is_in_a_batch_changes_nothing(model: Model, golden: Vectors, chosen: list[int]) -> None:
    assert np.abs(in_order(model, [texts()[place] for place in chosen]) - golden[chosen]).max() < EQUAL


@on_loop
async def test_the_event_loop_runs_on_while_many_texts_are_embedded() -> None:
    async with embedder() as opened:
        gaps: list[float] = []

        async def watch() -> None:
            last = time.perf_counter()
            while True:
                await asyncio.sleep(0.001)
                now = time.perf_counter()
                gaps.append(now - last)
                last = now

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        gaps.clear()
        began = time.perf_counter()
        await asyncio.gather(*(opened.embed([f"how do I get {n} of the {n * n} things that were promised to me"]) for n in range(64)))
        took = time.perf_counter() - began
        watching.cancel()
        assert max(gaps) < max(0.03, took / 3), f"{took:.3f} s in all"


@on_loop
async def test_a_huge_prompt_takes_no_longer_than_a_long_one() -> None:
    async with embedder() as opened:
        began = time.process_time()
        made = (await opened.embed(["water rises " * 100_000, "water rises " * 400])).vectors
        assert time.process_time() - began < 3
        assert np.abs(made[0] - made[1]).max() < EQUAL


class Slow:
    """Stands before a model: counts what comes together, waits for leave, and fails when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[str]] = []
        self.opened = 0
        self.failure: Exception | None = None
        inner, opening = Model.vectors, Model.__init__

        def vectors(model: Model, of: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
            self.batches.append(list(of))
            time.sleep(0.02)
            if self.failure is not None:
                raise self.failure
            yield from inner(model, of)

        def opened(model: Model, *args: Any) -> None:
            self.opened += 1
            opening(model, *args)
            self.batches.clear()

        monkeypatch.setattr(Model, "vectors", vectors)
        monkeypatch.setattr(Model, "__init__", opened)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


@on_loop
async def test_what_comes_while_a_batch_is_computed_is_the_next(slow: Slow, tmp_path: Path) -> None:
    async with embedder(write(tmp_path / "m")) as opened:
        alone = asyncio.create_task(opened.embed(["gate"]))
        while not slow.batches:
            await asyncio.sleep(0.001)
        assert slow.batches == [["gate"]], "a lone text waits for nobody"
        others = [asyncio.create_task(opened.embed([f"water {n}"])) for n in range(100)]
        await asyncio.gather(alone, *others)
        assert [len(batch) for batch in slow.batches] == [1, MOST_TEXTS, 100 - MOST_TEXTS]
        await asyncio.gather(*(opened.embed(["night"]) for _ in range(10)))
        assert slow.batches[3:] == [["night"]], "what many ask for at once is computed once"


@on_loop
async def test_nobody_computes_for_who_has_gone(slow: Slow, tmp_path: Path) -> None:
    async with embedder(write(tmp_path / "m")) as opened:
        first = asyncio.create_task(opened.embed(["gate"]))
        while not slow.batches:
            await asyncio.sleep(0.001)
        gone = [asyncio.create_task(opened.embed([f"gone {n}", "gone too"])) for n in range(5)]
        stays = asyncio.create_task(opened.embed(["water"]))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(first, stays)
        assert slow.batches == [["gate"], ["water"]]


@on_loop
async def test_a_failure_is_told_and_the_next_batch_is_tried_anew(slow: Slow, tmp_path: Path) -> None:
    async with embedder(write(tmp_path / "m")) as opened:
        right = (await opened.embed(["gate"])).vectors
        slow.failure = RuntimeError("out of luck")
        for _ in range(2):
            told = await asyncio.gather(*(opened.embed([text]) for text in ("water", "night")), return_exceptions=True)
            assert [type(each) for each in told] == [EmbedderError] * 2
            assert "out of luck" in str(told[0])
        slow.failure = None
        assert (await opened.embed(["gate"])).vectors.tolist() == right.tolist()
        assert slow.opened >= 2, "the model was loaded anew"


@on_loop
async def test_a_model_whose_files_are_gone_comes_back_with_them(slow: Slow, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    async with embedder(folder) as opened:
        slow.failure = EmbedderError("lost", "find it")
        with pytest.raises(EmbedderError, match="lost") as told:
            await opened.embed(["gate"])
        assert told.value.hint == "find it"
        slow.failure = None
        folder.rename(tmp_path / "away")
        with pytest.raises(EmbedderError, match=r"has no config\.json"):
            await opened.embed(["gate"])
        (tmp_path / "away").rename(folder)
        assert len((await opened.embed(["gate"])).vectors) == 1


@on_loop
async def test_another_model_in_the_place_of_the_old_is_not_taken_for_it(slow: Slow, tmp_path: Path) -> None:
    folder = write(tmp_path / "m")
    async with embedder(folder) as opened:
        slow.failure = RuntimeError("out of luck")
        with pytest.raises(EmbedderError, match="out of luck"):
            await opened.embed(["gate"])
        slow.failure = None
        folder.rename(tmp_path / "away")
        write(folder, held=weights(seed=2))
        with pytest.raises(EmbedderError, match="another model than at the start"):
            await opened.embed(["gate"])


@on_loop
async def test_who_waits_at_the_end_is_told(slow: Slow, tmp_path: Path) -> None:
    opened = OrtEmbedder(write(tmp_path / "m"))
    waiting = [asyncio.create_task(opened.embed([f"water {n}"])) for n in range(2 * MOST_TEXTS)]
    await asyncio.sleep(0)
    await opened.close()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(each, EmbedderError) and "was closed" in str(each) for each in told)
    with pytest.raises(EmbedderError, match="was closed"):
        await opened.embed(["gate"])


def test_a_loop_that_has_gone_harms_no_other(slow: Slow, tmp_path: Path) -> None:
    opened = OrtEmbedder(write(tmp_path / "m"), kept=0)

    async def gives_up() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(opened.embed(["gate"]), 0.005)

    async def stays() -> None:
        assert len((await opened.embed(["water"])).vectors) == 1
        await opened.close()

    asyncio.run(gives_up())
    asyncio.run(stays())


@on_loop
async def test_what_was_embedded_of_late_is_remembered(slow: Slow, tmp_path: Path) -> None:
    async with embedder(write(tmp_path / "m"), kept=10) as opened:
        first = (await opened.embed(["gate", "water"])).vectors
        assert ((await opened.embed(["water", "gate", "night"])).vectors[1] == first[0]).all()
        assert slow.batches == [["gate", "water"], ["night"]]


@contextlib.asynccontextmanager
async def over(*urls: str) -> AsyncIterator[UpstreamEmbedder]:
    replicas = [ApiReplica(url, b"authorization: Bearer k\r\n", Timeouts(1, 1, 1), 5, 10**6, None) for url in urls]
    upstream = ApiUpstream("engine", replicas)
    try:
        yield UpstreamEmbedder("mini", upstream, timeout_s=0.3)
    finally:
        await upstream.close()


def vectors(*rows: object, usage: object = None, **more: object) -> bytes:
    return answer({"data": [{"embedding": row, **more} for row in rows], "usage": usage})


@on_loop
async def test_an_upstreams_vectors_over_http() -> None:
    async with scripted(vectors([3, 4], [0, 2], usage={"total_tokens": 5})) as upstream, over(upstream.url) as opened:
        made = await opened.embed(["a", "b\ud83d"])
        assert np.abs(made.vectors - [[0.6, 0.8], [0, 1]]).max() < 1e-6
        assert (made.tokens, opened.stamp, opened.dimensions) == (5, "upstream:mini:2", 2)
        assert upstream.asked[0].path == "/v1/embeddings"
        assert upstream.asked[0].headers["authorization"] == "Bearer k"
        assert upstream.asked[0].json == {"model": "mini", "input": ["a", "b?"], "encoding_format": "float"}


@on_loop
async def test_the_simulated_engine_makes_vectors() -> None:
    async with simulated() as url, over(url) as opened:
        made = await opened.embed(["water rises", "the gate"])
        assert made.vectors.shape == (2, opened.dimensions)
        assert made.tokens is not None
        assert made.tokens > 0


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (answer({"error": {"message": "no"}}, status=404), "answered 404"),
        (answer(b"<html>"), "are no vectors"),
        (answer({"data": None}), "are no vectors"),
        (vectors("AAAA"), "are no vectors"),
        (vectors(), "0 vectors for 1 texts"),
        (vectors([1, 2], [3, 4]), "2 vectors for 1 texts"),
        (vectors([1, 2], index=7), "1 vectors for 1 texts"),
        (vectors([]), "of 0 dimensions"),
        (vectors([0, 0, 0]), "no direction"),
        (vectors([1e300, 1]), "no direction"),
        (hanging(), "no vectors within"),
    ],
)
def test_an_upstream_that_gives_no_vectors(play: Play, reason: str) -> None:
    @on_loop
    async def test() -> None:
        async with scripted(play) as upstream, over(upstream.url) as opened:
            with pytest.raises(EmbedderError, match=reason):
                await opened.embed(["a"])

    test()


@on_loop
async def test_an_upstream_whose_vectors_change_their_length_is_refused() -> None:
    async with scripted(vectors([1, 2, 2]), vectors([1, 1])) as upstream, over(upstream.url) as opened:
        await opened.embed(["a"])
        with pytest.raises(EmbedderError, match="vectors of 2, 3 dimensions"):
            await opened.embed(["b"])
        assert opened.stamp == "upstream:mini:3"


@on_loop
async def test_an_upstream_that_is_not_there() -> None:
    async with over(dead_url()) as opened:
        with pytest.raises(EmbedderError, match="cannot be asked for vectors"):
            await opened.embed(["a"])
